#ifndef WAITD_CLIENT_WAITCTL_CALLER_H_
#define WAITD_CLIENT_WAITCTL_CALLER_H_

#include <google/protobuf/message.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/transport/dialer.h"
#include "client/waitctl/app.h"
#include "client/waitctl/interrupts.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/program.h"
#include "waitd/client.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::ctl {

using Stub = v1::WaitService::Stub;

/// Wrong use that only shows when a command is carried out: what is wrong with it.
struct Wrong {
  std::string what;
};

/// What a command works with, and how it says what came of it. Most calls go through the library's
/// client, which carries each out once; what it does not know, reads alone, goes over a channel.
class Caller {
 public:
  Caller(const Args& from, Interrupts& by);

  /// Says what went wrong, and returns its exit code.
  int Fail(const Problem& problem);
  /// The same, where a command was run, whose exit code nothing of ours must look like.
  int FailItself(const Problem& problem);
  /// Says what became of the command that was to be run, and returns its exit code.
  int FailProgram(const ProgramEnd& end) const;

  /// Prints the answer in the format that was asked for; `text` is for people. `code`, or what
  /// became of it.
  int Print(const google::protobuf::Message& response, std::string_view text, int code) const;

  /// The library's client, which connects when it is first asked for.
  Client& client();
  /// Ends it, with all that it has under way.
  void Disconnect() { client_.reset(); }

  /// The answer of a call that does not park. CANCELLED: a signal came first.
  template <class T>
  absl::StatusOr<T> Ask(waitd::Call<T> call) {
    const auto answer = Begin(std::move(call));
    const Interrupts::Reaction reaction(interrupts, [this] { Interrupt(); });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answer->has_value() || interrupted_; });
    if (answer->has_value()) return *std::move(*answer);
    return absl::CancelledError("interrupted");
  }

  /// The answer of a call that parks until `end` at most, which a signal ends by `stop`. When no
  /// server can be reached at the end, that is the answer, and nothing is waited for any longer.
  /// Nor is it after a signal, when the server does not say soon what became of the call:
  /// CANCELLED.
  template <class T>
  absl::StatusOr<T> Park(waitd::Call<T> call, std::stop_source stop, absl::Time end) {
    const auto answer = Begin(std::move(call));
    const Interrupts::Reaction reaction(interrupts, [this, &stop] {
      stop.request_stop();
      Interrupt();
    });
    std::unique_lock lock(mutex_);
    const auto over = [&] { return answer->has_value() || interrupted_; };
    if (!AwaitUntil(lock, end, over)) {
      changed_.wait(lock, [&] { return over() || !trouble_.ok(); });
      if (!over()) {
        lock.unlock();
        stop.request_stop();
        lock.lock();
        changed_.wait(lock, over);
      }
    }
    if (!AwaitUntil(lock, absl::Now() + Interrupts::kPatience,
                    [&] { return answer->has_value(); })) {
      return absl::CancelledError("interrupted");
    }
    const bool unheard = (*answer)->status().code() == absl::StatusCode::kCancelled ||
                         (*answer)->status().code() == absl::StatusCode::kDeadlineExceeded;
    if (unheard && !trouble_.ok()) return trouble_;
    return *std::move(*answer);
  }

  /// While this lives, `hear` is told, on the client's thread, that there is no connection, and
  /// why: each time. It does not block.
  class Listening {
   public:
    Listening(Caller& caller, std::function<void(const absl::Status&)> hear);
    ~Listening();
    Listening(const Listening&) = delete;
    Listening& operator=(const Listening&) = delete;

   private:
    Caller& caller_;
  };

  /// One call over the channel.
  template <class Request, class Response>
  grpc::Status Read(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    const Interrupts::Reaction reaction(interrupts, [&context] { context.TryCancel(); });
    Authorize(context);
    SetDeadline(context);
    return (stub.get()->*method)(&context, request, response);
  }

  /// The same. False: it failed, which is said, and `code` says how.
  template <class Request, class Response>
  bool Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response* response, int* code) {
    const grpc::Status status = Read(method, request, response);
    if (!status.ok()) *code = Fail(status);
    return status.ok();
  }

  /// Gives a call over the channel its token.
  void Authorize(grpc::ClientContext& context) const;
  /// Limits a call over the channel.
  static void SetDeadline(grpc::ClientContext& context);

  const Args& args;
  Interrupts& interrupts;
  internal::Dialer dialer;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<Stub> stub;

 private:
  // The place of an answer, guarded by mutex_. Shared, for a call that was interrupted is answered
  // when nobody waits for it any more.
  template <class T>
  std::shared_ptr<std::optional<absl::StatusOr<T>>> Begin(waitd::Call<T> call) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<T>>>();
    std::move(call).Then([this, answer](absl::StatusOr<T> result) {
      const std::lock_guard lock(mutex_);
      *answer = std::move(result);
      changed_.notify_all();
    });
    return answer;
  }

  bool AwaitUntil(std::unique_lock<std::mutex>& lock, absl::Time end,
                  const std::function<bool()>& happened);
  void Hear(const absl::Status& state);
  void Interrupt();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool interrupted_ = false;                       // guarded by mutex_
  absl::Status trouble_;                           // guarded by mutex_; OK while connected
  std::function<void(const absl::Status&)> hear_;  // guarded by mutex_
  std::optional<Client> client_;                   // last: its end still answers calls
};

/// What the flags said, for a call.
absl::Duration DurationOf(const std::string& text, const char* flag);
Kind KindOf(const Args& args);
Mode ModeOf(const Args& args);
std::optional<OpenOptions> OpenIfMissing(const Args& args);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_CALLER_H_
