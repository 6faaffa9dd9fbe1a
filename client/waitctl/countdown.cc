#include "client/waitctl/countdown.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/time/clock.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {

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
  std::fputs("\r\033[K", stderr);
}

void Countdown::Run(const std::string& what, absl::Time end) {
  const absl::Time begin = absl::Now();
  std::unique_lock lock(mutex_);
  while (!over_) {
    const bool bounded = end != absl::InfiniteFuture();
    const absl::Duration shown = absl::Floor(
        std::max(bounded ? end - absl::Now() : absl::Now() - begin, absl::ZeroDuration()),
        absl::Seconds(1));
    std::fprintf(stderr, "\r\033[Kwaiting for %s, %s%s", what.c_str(), Show(shown).c_str(),
                 bounded ? " left" : "");
    std::fflush(stderr);
    changed_.wait_for(lock, std::chrono::seconds(1), [this] { return over_; });
  }
}

}  // namespace waitd::ctl
