#include "server/access/denials.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/mutex.h"
#include "server/access/tokens.h"

namespace waitd::server {
namespace {

// The line of an ACL file that allows no more than this.
std::string RuleFor(std::string_view identity, Right right, std::string_view name) {
  const size_t slash = name.rfind('/');
  const bool in_folder = right != Right::kAdmin && slash != std::string_view::npos;
  std::string rule(identity);
  rule += ' ';
  rule += in_folder ? name.substr(0, slash + 1) : "*";
  rule += ' ';
  rule += NameOf(right);
  return rule;
}

// Bounds the lines of a second: somebody who is denied again and again fills no disk.
class LineLimit {
 public:
  // Whether this line is written; then `missing` is how many were not since the last one that was.
  bool Passes(uint64_t* missing) {
    constexpr uint64_t kLinesMax = 100;
    constexpr std::chrono::seconds kInterval{1};
    const auto now = std::chrono::steady_clock::now();
    const core::MutexLock lock(mutex_);
    if (now - began_ >= kInterval) {
      began_ = now;
      lines_ = 0;
    }
    if (++lines_ > kLinesMax) {
      ++missing_;
      return false;
    }
    *missing = std::exchange(missing_, 0);
    return true;
  }

 private:
  core::Mutex mutex_;
  std::chrono::steady_clock::time_point began_ ABSL_GUARDED_BY(mutex_);
  uint64_t lines_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t missing_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

void LogDenied(std::string_view identity, Right right, std::string_view name) {
  static LineLimit limit;
  uint64_t missing = 0;
  if (!limit.Passes(&missing)) return;
  if (missing > 0) spdlog::warn("denied: {} more calls, which are not shown", missing);
  spdlog::warn("denied: identity={} right={} name='{}' missing rule: {}", identity, NameOf(right),
               name, RuleFor(identity, right, name));
}

LostRights::LostRights(const Rules& former, const Rules& now) : now_(now) {
  for (const std::string& each : former.ChangedIn(now)) {
    Identity identity = MakeIdentity(each);
    losers_[identity.number].identity = std::move(identity.name);
  }
}

bool LostRights::Denies(uint64_t caller, std::string_view name) const {
  Loser& loser = losers_.at(caller);
  if (now_.Allow(loser.identity, Right::kWait, name)) return false;
  if (loser.waits++ == 0) loser.name = name;
  return true;
}

void LostRights::Log() const {
  for (const auto& [number, loser] : losers_) {
    if (loser.waits == 0) continue;
    spdlog::warn(
        "rights were taken away: identity={} waits ended={} the first on '{}' missing rule: {}",
        loser.identity, loser.waits, loser.name, RuleFor(loser.identity, Right::kWait, loser.name));
  }
}

}  // namespace waitd::server
