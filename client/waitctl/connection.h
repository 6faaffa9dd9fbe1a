#ifndef WAITD_CLIENT_WAITCTL_CONNECTION_H_
#define WAITD_CLIENT_WAITCTL_CONNECTION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace waitd::ctl {

/// A channel with the keepalive that lets a call stay parked for hours, and that finds a server
/// again within a second of its return.
std::shared_ptr<grpc::Channel> Connect(const std::string& server);

/// What SIGINT and SIGTERM cancel: the call under way, or a pause. They are blocked in every thread
/// and awaited in one, so that nothing runs inside a signal handler. One that the parent had
/// ignored stays so. The second one ends the process at once, whatever it hangs in.
///
/// Threads:  one thread of its own; the rest by the caller's.
/// Lifetime: never destroyed, as that thread stays until the process ends.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts() = delete;
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

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

  /// While this lives, a signal ends the process at once: a read from a person or a pipe may never
  /// return, and there is nothing to clean up.
  class Reading {
   public:
    explicit Reading(Interrupts& interrupts);
    ~Reading();
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    Interrupts& interrupts_;
  };

  /// Returns after this long, or at a signal.
  void Pause(absl::Duration duration);

 private:
  void Await(const sigset_t& set);

  std::mutex mutex_;
  std::condition_variable came_;
  grpc::ClientContext* context_ = nullptr;  // guarded by mutex_
  bool reading_ = false;                    // guarded by mutex_
  int code_ = 0;                            // guarded by mutex_
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_CONNECTION_H_
