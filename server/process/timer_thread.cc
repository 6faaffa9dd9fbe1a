#include "server/process/timer_thread.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace waitd::server {

void TimerThread::Start(core::Poller& poller) {
  thread_ = std::thread([this, &poller] { Run(poller); });
}

void TimerThread::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void TimerThread::Alarm(core::Instant at) {
  {
    const std::lock_guard lock(mutex_);
    if (at >= next_) return;
    next_ = at;
  }
  changed_.notify_one();
}

void TimerThread::Run(core::Poller& poller) {
  // The kernel may wake a sleeper 50 µs late to save power; here that would be lateness.
  prctl(PR_SET_TIMERSLACK, 1);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (next_ == core::kNever) {
      changed_.wait(lock);
      continue;
    }
    if (clock_.Read().mono < next_) {
      changed_.wait_until(lock, std::chrono::steady_clock::time_point(next_.time_since_epoch()));
      continue;
    }
    next_ = core::kNever;
    lock.unlock();
    core::Instant again;
    {
      core::EffectBatch batch;
      again = poller.RunTimers(&batch);
    }
    lock.lock();
    next_ = std::min(next_, again);
  }
}

}  // namespace waitd::server
