#ifndef WAITD_CLIENT_WAITCTL_COUNTDOWN_H_
#define WAITD_CLIENT_WAITCTL_COUNTDOWN_H_

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"

namespace waitd::ctl {

/// A line on a terminal's stderr that says, each second, how long is left, or without an end how
/// long it has lasted. Nothing where stderr is no terminal. Threads: one of its own while it lives.
class Countdown {
 public:
  Countdown(const std::string& what, absl::Time end);
  ~Countdown();
  Countdown(const Countdown&) = delete;
  Countdown& operator=(const Countdown&) = delete;

  /// Says one line on stderr, in place of what stands there.
  void Interject(const std::string& line);

 private:
  void Run(const std::string& what, absl::Time end);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_COUNTDOWN_H_
