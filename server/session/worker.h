#ifndef WAITD_SERVER_SESSION_WORKER_H_
#define WAITD_SERVER_SESSION_WORKER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace waitd::server {

/// A thread for what may take long, one after the other: it would hold up everybody whose events
/// come from the same queue.
///
/// Threads:  any, but Drain: not from what it does itself.
/// Lifetime: what it was given has been done when it goes.
class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Do(std::function<void()> task);

  /// Returns when nothing is left to do.
  void Drain();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // guarded by it; the first one is under way
  bool stopping_ = false;                    // guarded by it
  std::thread thread_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_WORKER_H_
