#ifndef WAITD_SERVER_PROCESS_TIMER_THREAD_H_
#define WAITD_SERVER_PROCESS_TIMER_THREAD_H_

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/clock.h"
#include "core/poller.h"

namespace waitd::server {

/// The thread that runs the core's timers, when they are due and not before.
///
/// Threads:  Alarm by anyone; the rest by the owner.
/// Lifetime: made before the poller, for the poller's alarm is this one's Alarm; Stop before the
///           poller goes.
class TimerThread {
 public:
  explicit TimerThread(const core::Clock& clock) : clock_(clock) {}

  void Start(core::Poller& poller);
  void Stop();

  /// Timers have to run at this instant, earlier than was known.
  void Alarm(core::Instant at);

 private:
  void Run(core::Poller& poller);

  const core::Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  core::Instant next_ = core::kNever;  // guarded by mutex_
  bool stopping_ = false;              // guarded by mutex_
  std::thread thread_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_PROCESS_TIMER_THREAD_H_
