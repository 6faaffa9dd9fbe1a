#include "client/waitctl/text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace waitd::ctl {
namespace {

constexpr absl::Duration kDurationMax =
    absl::Hours(24 * int64_t{3'652'500});  // what protobuf can hold

// The part of an enum value's name behind its type's, in lower case.
std::string Short(const std::string& name, size_t prefix) {
  return absl::AsciiStrToLower(name.substr(prefix));
}

// The bytes of the character that begins `text`, or 0 where none does. RFC 3629.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Too long a form of a smaller number; a surrogate; beyond the last character.
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
      (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const size_t length = std::max<size_t>(Utf8Length(text), 1);
    const auto first = static_cast<unsigned char>(text.front());
    if (text.front() == '\n') {
      shown += "\\n";
    } else if (first < 0x20 || first == 0x7F || (length == 1 && first >= 0x80)) {
      absl::StrAppend(&shown, "\\x", absl::Hex(first, absl::kZeroPad2));
    } else if (first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0) {
      absl::StrAppend(&shown, "\\u00", absl::Hex(static_cast<unsigned char>(text[1])));
    } else {
      shown.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return shown;
}

std::optional<absl::Duration> ParseDuration(const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration)) return std::nullopt;
  if (duration > kDurationMax || duration < -kDurationMax) return std::nullopt;
  return duration;
}

std::optional<When> ParseWhen(const std::string& text) {
  if (text == "clear") return Clear();
  if (text == "now") return absl::ZeroDuration();
  if (const auto duration = ParseDuration(text)) return *duration;
  absl::Time at;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &at, &error)) return std::nullopt;
  // Words of Abseil.
  if (at == absl::InfiniteFuture() || at == absl::InfinitePast()) return std::nullopt;
  return at;
}

bool ParseLabel(const std::string& text, std::string* key, std::string* value) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return false;
  *key = text.substr(0, equals);
  *value = text.substr(equals + 1);
  return true;
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return proto;
}

google::protobuf::Timestamp ToProto(absl::Time at) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(at);
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(at - absl::FromUnixSeconds(seconds))));
  return proto;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Time FromProto(const google::protobuf::Timestamp& at) {
  return absl::FromUnixSeconds(at.seconds()) + absl::Nanoseconds(at.nanos());
}

std::string Show(absl::Duration duration) {
  const bool coarse = absl::AbsDuration(duration) >= absl::Minutes(1);
  return absl::FormatDuration(
      absl::Trunc(duration, coarse ? absl::Seconds(1) : absl::Milliseconds(1)));
}

std::string Show(absl::Time at) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", at, absl::UTCTimeZone());
}

std::string Show(v1::Kind kind) { return Short(v1::Kind_Name(kind), sizeof("KIND_") - 1); }
std::string Show(v1::DeadlineEffect effect) {
  return Short(v1::DeadlineEffect_Name(effect), sizeof("DEADLINE_EFFECT_") - 1);
}
std::string Show(v1::ReadyEffect effect) {
  return Short(v1::ReadyEffect_Name(effect), sizeof("READY_EFFECT_") - 1);
}

}  // namespace waitd::ctl
