#ifndef WAITD_TESTS_BENCH_LOAD_SESSION_H_
#define WAITD_TESTS_BENCH_LOAD_SESSION_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/bench/batch.h"
#include "tests/bench/event.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::bench {

/// The completion queue of a load program, and the one thread that serves it.
class Loop {
 public:
  Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  grpc::CompletionQueue& queue() { return queue_; }
  /// Handles events until `done`, which is asked after each of them; fails after `limit_s` seconds.
  void RunUntil(const std::function<bool()>& done, double limit_s = 60);
  /// Handles events for so long.
  void RunFor(double seconds);

 private:
  grpc::CompletionQueue queue_;
};

/// A connection of its own, to a server on this machine.
std::shared_ptr<grpc::Channel> Connect(const std::string& target);

/// A client's end of one Session, on the generated code alone. Operations that are added while a
/// message is being written leave together in the next one; responses are acknowledged with what is
/// sent anyway, else after some.
///
/// Threads:  the loop's alone.
/// Lifetime: its destructor cancels the stream, and waits until it has ended.
class Session {
 public:
  using Results = std::function<void(const v1::SessionResponse&)>;

  /// Says hello and waits for the welcome.
  Session(const std::string& target, Loop& loop, Results results);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// An operation for the next message. `number`, below 2^kNumberBits, comes back as NumberOf the
  /// result's id.
  v1::Operation& Add(uint32_t number);
  static constexpr int kNumberBits = 21;
  static uint32_t NumberOf(uint64_t id) { return id & ((1U << kNumberBits) - 1); }

  /// Sends what was added, unless a message is being written; then it goes afterwards.
  void Flush();
  /// Tells the server now that everything that came has come.
  void Acknowledge();
  /// How many results have come.
  size_t results() const { return count_; }
  bool writing() const { return writing_; }
  void OnResults(Results results) { results_ = std::move(results); }

 private:
  void Write();
  void Started(bool ok);
  void Read(bool ok);
  void Written(bool ok);
  void Ended(bool ok);

  Loop& loop_;
  Results results_;
  std::unique_ptr<v1::WaitService::Stub> stub_;
  grpc::ClientContext context_;
  Batch<v1::SessionRequest> pending_;
  Batch<v1::SessionResponse> response_;
  uint64_t next_ = 1;  // the upper bits of the next operation's id
  uint64_t seen_ = 0;  // the last response
  size_t count_ = 0;
  int unacked_ = 0;  // results that came since the last acknowledgement
  bool writing_ = false;
  bool welcome_ = false;
  bool closing_ = false;
  int events_left_ = 0;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::SessionRequest, v1::SessionResponse>> stream_;
  To<Session, &Session::Started> started_event_{*this};
  To<Session, &Session::Read> read_event_{*this};
  To<Session, &Session::Written> written_event_{*this};
  To<Session, &Session::Ended> ended_event_{*this};
};

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_LOAD_SESSION_H_
