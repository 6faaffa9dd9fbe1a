#ifndef WAITD_CLIENT_TIME_TEXT_H_
#define WAITD_CLIENT_TIME_TEXT_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace waitd::ctl {

/// The longest duration that is read: what a google.protobuf.Duration can hold. The server takes
/// anything beyond 292 years as never.
inline constexpr int64_t kMaxDurationSeconds = 315'576'000'000;

/// Reads `250ms`, `1.5s`, `1h30m`: numbers with the units d, h, m, s, ms, us and ns, each at most
/// once and the larger one first; a zero needs no unit. Refused with INVALID_ARGUMENT, and a
/// message for the user: anything else, a sign, and what is longer than kMaxDurationSeconds. What
/// is finer than a nanosecond is refused as well, for it could not be kept.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

/// Reads an instant as RFC 3339 has it, such as `2027-01-31T08:30:00.5+01:00`, of the years 1 to
/// 9999 in UTC. Refused with INVALID_ARGUMENT and a message for the user: anything else, such as a
/// day that the month does not have, a missing zone, a leap second, or ten digits of a second.
absl::StatusOr<absl::Time> ParseInstant(std::string_view text);

/// What `waitctl deadline NAME WHEN` takes.
struct When {
  enum class Kind : uint8_t { kAfter, kAt, kClear };
  Kind kind = Kind::kClear;
  absl::Duration after;  ///< of kAfter; zero: now
  absl::Time at;         ///< of kAt
};

/// Reads a duration, an instant, `clear` or `now`.
absl::StatusOr<When> ParseWhen(std::string_view text);

/// For people: `1h30m0s`, `9m58s`, `250ms`. Whole seconds from one second on, cut and not rounded,
/// so that a countdown never shows more than is left; below one, whole milliseconds.
std::string ShortDuration(absl::Duration duration);

/// RFC 3339 in UTC with milliseconds.
std::string InstantText(absl::Time time);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_TIME_TEXT_H_
