#include "client/waitctl/countdown.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/time/clock.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

constexpr const char* kClear = "\r\033[K";  // the line of a terminal in which the cursor is

}  // namespace

Countdown::Countdown(const std::string& what, absl::Time end) {
  if (isatty(STDERR_FILENO) == 0) return;
  thread_ = std::thread([this, what, end] { Run(what, end); });
}

Countdown::~Countdown() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
  std::fputs(kClear, stderr);
}

void Countdown::Interject(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable()) std::fputs(kClear, stderr);
  Say(line);
}

void Countdown::Run(const std::string& what, absl::Time end) {
  const absl::Time begin = absl::Now();
  std::unique_lock lock(mutex_);
  while (!over_) {
    const bool bounded = end != absl::InfiniteFuture();
    const absl::Duration shown = absl::Floor(
        std::max(bounded ? end - absl::Now() : absl::Now() - begin, absl::ZeroDuration()),
        absl::Seconds(1));
    std::fprintf(stderr, "%swaiting for %s, %s%s", kClear, Printable(what).c_str(),
                 Show(shown).c_str(), bounded ? " left" : "");
    std::fflush(stderr);
    changed_.wait_for(lock, std::chrono::seconds(1), [this] { return over_; });
  }
}

}  // namespace waitd::ctl
