#include "client/countdown.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/text.h"
#include "client/time_text.h"

namespace waitd::ctl {
namespace {

constexpr std::string_view kWipe = "\r\033[K";

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

size_t Columns() {
  winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string CountdownText(std::string_view what, absl::Duration waited,
                          std::optional<absl::Duration> timeout, size_t columns) {
  const std::string count =
      timeout ? absl::StrCat(ShortDuration(*timeout - waited), " left, waited ",
                             ShortDuration(waited))
              : absl::StrCat("waited ", ShortDuration(waited));
  std::string name = Printable(what);
  // A line that wraps could not be wiped, so a long name loses its middle's end; whole characters.
  const size_t rest = count.size() + std::string_view("waiting for : ").size() + 4;
  const size_t room = columns > rest + 8 ? columns - rest : 8;
  if (name.size() > room) {
    size_t cut = room;
    while (cut > 0 && (static_cast<uint8_t>(name[cut]) & 0xc0) == 0x80) --cut;
    name = absl::StrCat(name.substr(0, cut), "...");
  }
  return absl::StrCat("waiting for ", name, ": ", count);
}

Countdown::Countdown(std::string what, std::optional<absl::Duration> timeout, bool terminal)
    : what_(std::move(what)), timeout_(timeout), terminal_(terminal) {
  if (terminal_) thread_ = std::thread([this] { Run(); });
}

Countdown::~Countdown() {
  if (!terminal_) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  done_.notify_one();
  thread_.join();
  Print(kWipe);
}

void Countdown::Say(std::string_view line) {
  const std::lock_guard lock(mutex_);
  Print(absl::StrCat(terminal_ ? View(kWipe) : "", "waitctl: ", Printable(line), "\n"));
  if (terminal_) DrawLocked();
}

void Countdown::Run() {
  std::unique_lock lock(mutex_);
  auto next = begin_;
  do {
    DrawLocked();
    next += std::chrono::seconds(1);
  } while (!done_.wait_until(lock, next, [this] { return stop_; }));
}

void Countdown::DrawLocked() {
  const absl::Duration waited = absl::FromChrono(std::chrono::steady_clock::now() - begin_);
  Print(absl::StrCat(View(kWipe), CountdownText(what_, waited, timeout_, Columns())));
}

}  // namespace waitd::ctl
