#ifndef WAITD_CLIENT_COUNTDOWN_H_
#define WAITD_CLIENT_COUNTDOWN_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/time/time.h"

namespace waitd::ctl {

/// The text of a countdown: what is waited for, how long it has taken, and how long is left.
std::string CountdownText(std::string_view what, absl::Duration waited,
                          std::optional<absl::Duration> timeout, size_t columns);

/// A line on standard error that counts while a wait is parked, drawn at once and then each second,
/// and wiped away when it ends. Without a terminal it does nothing.
///
/// Threads: draws from a thread of its own, and writes nothing after its destructor.
class Countdown {
 public:
  Countdown(std::string what, std::optional<absl::Duration> timeout, bool terminal);
  ~Countdown();
  Countdown(const Countdown&) = delete;
  Countdown& operator=(const Countdown&) = delete;

  /// Prints a line above the count, with a terminal or without.
  void Say(std::string_view line);

 private:
  void Run();
  void DrawLocked();

  const std::string what_;
  const std::optional<absl::Duration> timeout_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable done_;
  bool stop_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_COUNTDOWN_H_
