#ifndef WAITD_CLIENT_INTERRUPT_H_
#define WAITD_CLIENT_INTERRUPT_H_

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "grpcpp/client_context.h"

namespace waitd::ctl {

/// SIGINT and SIGTERM: the first one cancels the call that is on its way, so that its answer or
/// the cancel decides how waitctl ends; without a call, and the second time, the process ends at
/// once with 128 and the signal's number.
///
/// Threads:  a thread of its own reads the signals, which are blocked everywhere else. Construct it
///           before any other thread; one in a process. The functions may be called by anyone.
/// A signal that the parent process had set to be ignored stays so, as a shell's background jobs
/// expect.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The signal that came, or 0.
  int signal() const;

  /// Sleeps; false, and at once, when a signal came.
  bool Sleep(absl::Duration duration);

  /// Makes a call cancellable while it lives. The context must outlive it.
  class Cancellable {
   public:
    Cancellable(Interrupt* interrupt, grpc::ClientContext* context);
    ~Cancellable();
    Cancellable(const Cancellable&) = delete;
    Cancellable& operator=(const Cancellable&) = delete;

   private:
    Interrupt* const interrupt_;
  };

  /// Ends the process as a signal does, but for what is still to be tidied by the caller's exit.
  static int ExitStatus(int signal) { return 128 + signal; }

 private:
  void Run(int signals);
  void Take(int signal);

  mutable std::mutex mutex_;
  std::condition_variable came_;
  int signal_ = 0;                          // under mutex_
  bool sleeping_ = false;                   // under mutex_
  grpc::ClientContext* context_ = nullptr;  // under mutex_
  int stop_ = -1;                           // an eventfd, written to by the destructor
  std::thread thread_;
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_INTERRUPT_H_
