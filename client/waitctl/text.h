#ifndef WAITD_CLIENT_WAITCTL_TEXT_H_
#define WAITD_CLIENT_WAITCTL_TEXT_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>

#include "absl/time/time.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::ctl {

/// "250ms", "10s", "1h30m", "-5s", "0"; nothing else, and nothing beyond 10,000 years.
std::optional<absl::Duration> ParseDuration(const std::string& text);

/// When a deadline is to be: after this long, then, or never.
struct Clear {};
using When = std::variant<absl::Duration, absl::Time, Clear>;

/// A duration, a time as RFC 3339, "now" or "clear", and nothing else.
std::optional<When> ParseWhen(const std::string& text);

/// KEY=VALUE. False: it is not.
bool ParseLabel(const std::string& text, std::string* key, std::string* value);

/// A whole number in decimal that fits into T, and nothing else.
template <class T>
std::optional<T> ParseWhole(const std::string& text) {
  T value;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

/// The same text, with control characters and what is not UTF-8 as \n, \x1b or \u009b: what comes
/// from others must not move a terminal's cursor, or write to its clipboard.
std::string Printable(std::string_view text);

google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time at);
absl::Duration FromProto(const google::protobuf::Duration& duration);
absl::Time FromProto(const google::protobuf::Timestamp& at);

/// To the second from a minute on, to the millisecond below.
std::string Show(absl::Duration duration);
/// RFC 3339, UTC, to the millisecond.
std::string Show(absl::Time at);
/// READ of MODE_READ: the name without its type, in lower case.
std::string Show(v1::Kind kind);
std::string Show(v1::DeadlineEffect effect);
std::string Show(v1::ReadyEffect effect);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_TEXT_H_
