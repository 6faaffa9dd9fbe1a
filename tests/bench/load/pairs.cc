// One wake at a time: how long from the Ready being sent to the wait having returned.
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/load/scenarios.h"

namespace waitd::bench {
namespace {

constexpr int kWarmWakes = 20;  // after each that was idle

/// Two parties between which a wake can be measured again and again.
class Pair {
 public:
  virtual ~Pair() = default;
  /// Gets a wait parked.
  virtual void Park() = 0;
  /// Wakes it, and returns when it has returned: nanoseconds.
  virtual int64_t Wake() = 0;
};

class Sessions final : public Pair {
 public:
  Sessions(const Setup& setup, Loop& loop)
      : loop_(loop),
        waiter_(setup.target, loop, [this](const v1::SessionResponse& r) { Take(r); }),
        caller_(setup.target, loop, [this](const v1::SessionResponse& r) { Take(r); }) {}

  void Park() override {
    parked_ = false;
    SetName(waiter_.Add(0).mutable_open(), 0);
    SetName(waiter_.Add(0).mutable_wait(), 0);
    // Operations on one name take effect in order, so that its answer says that the wait is parked.
    v1::Operation& last = waiter_.Add(1);
    SetName(last.mutable_open(), 0);
    waiter_.Flush();
    loop_.RunUntil([this] { return parked_; });
  }

  int64_t Wake() override {
    woken_at_ = 0;
    answered_ = false;
    const int64_t began = NowNanos();
    SetName(caller_.Add(0).mutable_ready(), 0);
    caller_.Flush();
    loop_.RunUntil([this] { return woken_at_ != 0 && answered_; });
    return woken_at_ - began;
  }

 private:
  void Take(const v1::SessionResponse& response) {
    for (const v1::OperationResult& result : response.results()) {
      if (result.has_error()) Fail(result.error().message());
      if (result.has_wait()) woken_at_ = NowNanos();
      if (result.has_ready()) answered_ = true;
      if (result.has_open() && Session::NumberOf(result.id()) == 1) parked_ = true;
    }
  }

  Loop& loop_;
  bool parked_ = false;
  bool answered_ = false;
  int64_t woken_at_ = 0;
  Session waiter_;
  Session caller_;
};

/// The same path without a wake in it: a message there, and its answer back.
class Stream final : public Pair {
 public:
  Stream(const Setup& setup, Loop& loop)
      : loop_(loop), session_(setup.target, loop, [this](const v1::SessionResponse& r) {
          if (r.results_size() > 0) answered_at_ = NowNanos();
        }) {}

  void Park() override {}

  int64_t Wake() override {
    answered_at_ = 0;
    const int64_t began = NowNanos();
    SetName(session_.Add(0).mutable_ready(), 0);
    session_.Flush();
    loop_.RunUntil([this] { return answered_at_ != 0; });
    return answered_at_ - began;
  }

 private:
  Loop& loop_;
  int64_t answered_at_ = 0;
  Session session_;
};

class UnaryCalls final : public Pair {
 public:
  UnaryCalls(const Setup& setup, Loop& loop)
      : loop_(loop),
        waiter_(v1::WaitService::NewStub(Connect(setup.target))),
        caller_(v1::WaitService::NewStub(Connect(setup.target))) {}

  void Park() override {
    wait_context_.emplace();
    wait_context_->set_wait_for_ready(true);
    v1::WaitRequest request;
    SetName(&request, 0);
    request.mutable_open_if_missing();
    woken_at_ = 0;
    wait_call_ = waiter_->AsyncWait(&*wait_context_, request, &loop_.queue());
    wait_call_->Finish(&wait_response_, &wait_status_, &woken_event_);
    v1::GetPollDescriptorRequest get;
    SetName(&get, 0);
    v1::GetPollDescriptorResponse shown;
    do {
      loop_.RunFor(0.001);  // a call from before the connection goes out when its queue is served
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      waiter_->GetPollDescriptor(&context, get, &shown);
    } while (shown.poll_descriptor().read().waiters() == 0);
  }

  int64_t Wake() override {
    ready_context_.emplace();
    ready_context_->set_wait_for_ready(true);
    v1::ReadyRequest request;
    SetName(&request, 0);
    answered_ = false;
    const int64_t began = NowNanos();
    ready_call_ = caller_->AsyncReady(&*ready_context_, request, &loop_.queue());
    ready_call_->Finish(&ready_response_, &ready_status_, &answered_event_);
    loop_.RunUntil([this] { return woken_at_ != 0 && answered_; });
    if (!wait_status_.ok() || !ready_status_.ok()) Fail("a call failed");
    return woken_at_ - began;
  }

 private:
  void Woken(bool /*ok*/) { woken_at_ = NowNanos(); }
  void Answered(bool /*ok*/) { answered_ = true; }

  Loop& loop_;
  std::unique_ptr<v1::WaitService::Stub> waiter_;
  std::unique_ptr<v1::WaitService::Stub> caller_;
  std::optional<grpc::ClientContext> wait_context_;
  std::optional<grpc::ClientContext> ready_context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::WaitResponse>> wait_call_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ReadyResponse>> ready_call_;
  v1::WaitResponse wait_response_;
  v1::ReadyResponse ready_response_;
  grpc::Status wait_status_;
  grpc::Status ready_status_;
  int64_t woken_at_ = 0;
  bool answered_ = false;
  To<UnaryCalls, &UnaryCalls::Woken> woken_event_{*this};
  To<UnaryCalls, &UnaryCalls::Answered> answered_event_{*this};
};

int64_t Once(Pair& pair, Loop& loop, double idle_seconds) {
  pair.Park();
  if (idle_seconds > 0) loop.RunFor(idle_seconds);
  return pair.Wake();
}

void WarmUp(const Setup& setup, Pair& pair, Loop& loop) {
  const int64_t end = NowNanos() + static_cast<int64_t>(setup.warm_up_seconds() * 1e9);
  while (NowNanos() < end) Once(pair, loop, 0);
}

template <class Kind>
Report Warm(const Setup& setup) {
  Loop loop;
  Kind pair(setup, loop);
  WarmUp(setup, pair, loop);
  std::vector<int64_t> nanos;
  for (uint32_t i = 0; i < setup.count; ++i) nanos.push_back(Once(pair, loop, 0));
  Report report;
  report.AddLatencies("wake", std::move(nanos));
  return report;
}

template <class Kind>
Report Idle(const Setup& setup) {
  Loop loop;
  Kind pair(setup, loop);
  WarmUp(setup, pair, loop);
  // Runs are made at the same time, and are not to wake one another's processors in step.
  std::mt19937 random{std::random_device{}()};
  std::uniform_real_distribution<double> idle_seconds(1, 3);
  std::vector<int64_t> idle;
  std::vector<int64_t> warm;
  for (uint32_t i = 0; i < setup.count; ++i) {
    idle.push_back(Once(pair, loop, idle_seconds(random)));
    for (int j = 0; j < kWarmWakes; ++j) warm.push_back(Once(pair, loop, 0));
  }
  Report report;
  report.AddLatencies("idle", std::move(idle));
  report.AddLatencies("warm", std::move(warm));
  return report;
}

}  // namespace

Report SessionPair(const Setup& setup) { return Warm<Sessions>(setup); }
Report UnaryPair(const Setup& setup) { return Warm<UnaryCalls>(setup); }
Report PingPong(const Setup& setup) { return Warm<Stream>(setup); }
Report SessionIdle(const Setup& setup) { return Idle<Sessions>(setup); }
Report UnaryIdle(const Setup& setup) { return Idle<UnaryCalls>(setup); }

}  // namespace waitd::bench
