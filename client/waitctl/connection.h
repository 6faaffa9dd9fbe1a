#ifndef WAITD_CLIENT_WAITCTL_CONNECTION_H_
#define WAITD_CLIENT_WAITCTL_CONNECTION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace waitd::ctl {

/// A channel with the keepalive that lets a call stay parked for hours.
std::shared_ptr<grpc::Channel> Connect(const std::string& server);

/// What SIGINT and SIGTERM cancel: the call under way, or a pause. They are blocked in every thread
/// and awaited in one, so that nothing runs inside a signal handler.
///
/// Threads: one thread of its own, for the whole life of the process; the rest by the caller's.
class Interrupts {
 public:
  Interrupts();

  /// The exit code that a signal asks for, or 0.
  int code();

  /// A call that a signal cancels while this lives.
  class Call {
   public:
    explicit Call(Interrupts& interrupts);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    grpc::ClientContext context;

   private:
    Interrupts& interrupts_;
  };

  /// Returns after this long, or at a signal.
  void Pause(absl::Duration duration);

 private:
  void Await();

  std::mutex mutex_;
  std::condition_variable came_;
  grpc::ClientContext* context_ = nullptr;  // guarded by mutex_
  int code_ = 0;                            // guarded by mutex_
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_CONNECTION_H_
