#ifndef WAITD_TESTS_BENCH_EVENT_H_
#define WAITD_TESTS_BENCH_EVENT_H_

#include <grpcpp/grpcpp.h>

namespace waitd::bench {

/// An event that a completion queue hands back.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

/// An event that leads to a member function.
template <class Owner, void (Owner::*kMember)(bool)>
class To final : public Event {
 public:
  explicit To(Owner& owner) : owner_(owner) {}
  void Happened(bool ok) override { (owner_.*kMember)(ok); }

 private:
  Owner& owner_;
};

/// Serves a queue until it is shut down and empty.
inline void Serve(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
}

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_EVENT_H_
