#ifndef WAITD_CLIENT_WAITCTL_INTERRUPTS_H_
#define WAITD_CLIENT_WAITCTL_INTERRUPTS_H_

#include <signal.h>
#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <mutex>

#include "absl/time/time.h"

namespace waitd::ctl {

/// SIGINT and SIGTERM, and what they are to end: the call under way, or a pause. They are blocked
/// in every thread and awaited in one, so that nothing runs inside a signal handler. One that the
/// parent had ignored stays so. The second one ends the process at once, whatever it hangs in.
///
/// Threads:  one thread of its own; the rest by the caller's, before which it is made.
/// Lifetime: never destroyed, as that thread stays until the process ends.
class Interrupts {
 public:
  /// For how long what a signal ends may take its leave of a server, which may not answer: people
  /// who press Ctrl-C do not wait. What is said by then is on its way, and gets there.
  static constexpr absl::Duration kPatience = absl::Milliseconds(40);

  /// `forwards`: a program is to be run, which gets the other signals that people send, too. No
  /// SIGPIPE ends the process then, as it would leave the program behind.
  explicit Interrupts(bool forwards);
  ~Interrupts() = delete;
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// The exit code that a signal asks for, or 0.
  int code();

  /// What the process blocked before: what a program is to begin with.
  const sigset_t& former_mask() const { return former_mask_; }

  /// While this lives, a signal calls `react`, on the other thread; at once when it came before.
  class Reaction {
   public:
    Reaction(Interrupts& interrupts, std::function<void()> react);
    ~Reaction();
    Reaction(const Reaction&) = delete;
    Reaction& operator=(const Reaction&) = delete;

   private:
    Interrupts& interrupts_;
  };

  /// While this lives, a signal ends the process at once: what it waits for may never return, and
  /// there is nothing to clean up.
  class Abrupt {
   public:
    explicit Abrupt(Interrupts& interrupts);

   private:
    Reaction reaction_;
  };

  /// While this lives, signals go to a program, and mean nothing here. That it has ended is to be
  /// known before its number may be another's: this ends before it is reaped.
  class Forwarding {
   public:
    Forwarding(Interrupts& interrupts, pid_t program);
    ~Forwarding();
    Forwarding(const Forwarding&) = delete;
    Forwarding& operator=(const Forwarding&) = delete;

   private:
    Interrupts& interrupts_;
  };

  /// The process ends with this code, by itself or at the latest after kPatience.
  static void EndSoon(int code);

  /// Returns after this long, or at a signal.
  void Pause(absl::Duration duration);

 private:
  void Await();
  void Came(const siginfo_t& info);

  sigset_t awaited_ = {};
  sigset_t former_mask_ = {};
  std::mutex mutex_;
  std::condition_variable came_;
  std::function<void()> react_;  // guarded by mutex_
  pid_t program_ = 0;            // guarded by mutex_
  int code_ = 0;                 // guarded by mutex_
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_INTERRUPTS_H_
