#include "server/api/validate.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/api/convert.h"

namespace waitd::server {
namespace {

constexpr size_t kNameBytesMax = 512;
constexpr size_t kIdBytesMax = 128;
constexpr size_t kLabelsMax = 16;
constexpr size_t kLabelKeyBytesMax = 63;
constexpr size_t kLabelValueBytesMax = 256;
constexpr int64_t kDurationSecondsMax = 315'576'000'000;   // 10,000 years, as protobuf has it
constexpr int64_t kTimestampSecondsMin = -62'135'596'800;  // the year 1
constexpr int64_t kTimestampSecondsMax = 253'402'300'799;  // the end of the year 9999

Error Bad(std::string_view reason, std::string_view field, std::string message) {
  return {.reason = reason, .message = std::move(message), .field = std::string(field)};
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// The control characters of ASCII, and those from U+0080 to U+009F, as UTF-8 writes them.
bool HasControlCharacter(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return true;
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      return true;
    }
  }
  return false;
}

// seconds and nanos in one number, held at the ends of the range.
core::Nanos Saturated(int64_t seconds, int32_t nanos) {
  int64_t sum = 0;
  if (__builtin_mul_overflow(seconds, kNanosPerSecond, &sum) ||
      __builtin_add_overflow(sum, int64_t{nanos}, &sum)) {
    return seconds < 0 ? core::Nanos::min() : core::Nanos::max();
  }
  return core::Nanos(sum);
}

}  // namespace

Fault CheckName(std::string_view name, std::string_view field) {
  if (name.empty()) return Bad("BAD_NAME", field, "a name is needed");
  if (name.size() > kNameBytesMax) {
    return Bad(
        "BAD_NAME", field,
        absl::StrCat("a name has at most ", kNameBytesMax, " bytes, this one ", name.size()));
  }
  if (HasControlCharacter(name)) {
    return Bad("BAD_NAME", field, "a name has no control characters");
  }
  return std::nullopt;
}

Fault CheckPrefix(std::string_view prefix, std::string_view field) {
  if (prefix.empty()) return std::nullopt;
  return CheckName(prefix, field);
}

bool IsLabelValue(std::string_view value) {
  return value.size() <= kLabelValueBytesMax && !HasControlCharacter(value);
}

Fault CheckId(std::string_view id, std::string_view field) {
  if (id.size() <= kIdBytesMax) return std::nullopt;
  return Bad("BAD_ID", field,
             absl::StrCat("an id has at most ", kIdBytesMax, " bytes, this one ", id.size()));
}

Fault ToMode(v1::Mode mode, std::string_view field, core::Mode* to) {
  switch (mode) {
    case v1::MODE_UNSPECIFIED:
    case v1::MODE_READ:
      *to = core::Mode::kRead;
      return std::nullopt;
    case v1::MODE_WRITE:
      *to = core::Mode::kWrite;
      return std::nullopt;
    case v1::MODE_READ_WRITE:
      *to = core::Mode::kReadWrite;
      return std::nullopt;
    default:
      return Bad("BAD_MODE", field,
                 absl::StrCat("no mode has the number ", static_cast<int>(mode)));
  }
}

Fault ToSide(v1::Mode mode, std::string_view field, core::Side* to) {
  core::Mode sides = core::Mode::kRead;
  if (Fault fault = ToMode(mode, field, &sides)) return fault;
  if (sides == core::Mode::kReadWrite) {
    return Bad("BAD_MODE", field, "this takes one side: READ or WRITE");
  }
  *to = sides == core::Mode::kRead ? core::Side::kRead : core::Side::kWrite;
  return std::nullopt;
}

Fault ToNanos(const google::protobuf::Duration& duration, std::string_view field, core::Nanos* to) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  const bool valid = seconds >= -kDurationSecondsMax && seconds <= kDurationSecondsMax &&
                     nanos > -kNanosPerSecond && nanos < kNanosPerSecond &&
                     !(seconds > 0 && nanos < 0) && !(seconds < 0 && nanos > 0);
  if (!valid) {
    return Bad("BAD_TIME", field,
               "not a Duration: at most 10,000 years, nanos below a second and of the same sign");
  }
  *to = Saturated(seconds, nanos);
  return std::nullopt;
}

Fault ToSentAgo(const google::protobuf::Duration& duration, core::Nanos* to) {
  if (Fault fault = ToNanos(duration, "first_sent_ago", to)) return fault;
  if (*to >= core::Nanos(0)) return std::nullopt;
  return Bad("BAD_TIME", "first_sent_ago", "the first attempt is not in the future");
}

Fault ToAckTimeout(const google::protobuf::Duration& duration, core::Nanos max, core::Nanos* to) {
  constexpr std::string_view kField = "ack_timeout";
  if (Fault fault = ToNanos(duration, kField, to)) return fault;
  if (*to <= core::Nanos(0))
    return Bad("BAD_TIME", kField, "an ack_timeout is longer than nothing");
  if (*to <= max) return std::nullopt;
  return Bad("BAD_TIME", kField,
             absl::StrCat("an ack_timeout is at most ",
                          absl::FormatDuration(absl::Nanoseconds(max.count())),
                          " here; ask for less, or raise --max-ack-timeout"));
}

Fault ToWallTime(const google::protobuf::Timestamp& at, std::string_view field,
                 core::WallTime* to) {
  if (at.seconds() < kTimestampSecondsMin || at.seconds() > kTimestampSecondsMax ||
      at.nanos() < 0 || at.nanos() >= kNanosPerSecond) {
    return Bad("BAD_TIME", field, "not a Timestamp: years 1 to 9999, nanos from 0 to 999,999,999");
  }
  *to = core::WallTime(Saturated(at.seconds(), at.nanos()));
  return std::nullopt;
}

Fault ToLabels(const LabelMap& labels, std::string_view field, core::Labels* to) {
  if (labels.size() > kLabelsMax) {
    return Bad("BAD_LABELS", field,
               absl::StrCat("at most ", kLabelsMax, " labels, these are ", labels.size()));
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kLabelKeyBytesMax || HasControlCharacter(key)) {
      return Bad("BAD_LABELS", field,
                 absl::StrCat("a label's key has 1 to ", kLabelKeyBytesMax,
                              " bytes and no control characters"));
    }
    if (!IsLabelValue(value)) {
      return Bad("BAD_LABELS", field,
                 absl::StrCat("the value of label '", key, "' has more than ", kLabelValueBytesMax,
                              " bytes, or control characters"));
    }
  }
  to->assign(labels.begin(), labels.end());
  std::sort(to->begin(), to->end());
  return std::nullopt;
}

Fault ToOpenOptions(const v1::OpenOptions& options, bool in_session, std::string_view field,
                    core::OpenOptions* to) {
  const auto path = [&](absl::string_view part) { return absl::StrCat(View(field), ".", part); };
  switch (options.kind()) {
    case v1::KIND_UNSPECIFIED:
      to->kind.reset();
      break;
    case v1::KIND_EXCLUSIVE:
      to->kind = core::Kind::kExclusive;
      break;
    case v1::KIND_FIFO:
      to->kind = core::Kind::kFifo;
      break;
    case v1::KIND_LATCH:
      to->kind = core::Kind::kLatch;
      break;
    default:
      return Bad("BAD_KIND", path("kind"),
                 absl::StrCat("no kind has the number ", static_cast<int>(options.kind())));
  }
  if (Fault fault = ToLabels(options.labels(), path("labels"), &to->labels)) return fault;
  if (options.has_idle_ttl()) {
    core::Nanos ttl{0};
    if (Fault fault = ToNanos(options.idle_ttl(), path("idle_ttl"), &ttl)) return fault;
    if (ttl <= core::Nanos(0)) {
      return Bad("BAD_TIME", path("idle_ttl"), "idle_ttl is above zero, or unset");
    }
    to->idle_ttl = ttl;
  }
  to->ephemeral = options.ephemeral();
  if (options.ephemeral() && !in_session) {
    return Bad("BAD_OPTIONS", path("ephemeral"),
               "only a session opens ephemeral descriptors; set idle_ttl instead");
  }
  return std::nullopt;
}

Fault ToReadyCondition(v1::ReadyCondition condition, core::ReadyCondition* to) {
  switch (condition) {
    case v1::READY_CONDITION_UNSPECIFIED:
      *to = core::ReadyCondition::kAlways;
      return std::nullopt;
    case v1::READY_CONDITION_NOT_EXPIRED:
      *to = core::ReadyCondition::kNotExpired;
      return std::nullopt;
    case v1::READY_CONDITION_WAITING:
      *to = core::ReadyCondition::kWaiting;
      return std::nullopt;
    default:
      return Bad("BAD_OPTIONS", "condition",
                 absl::StrCat("no condition has the number ", static_cast<int>(condition)));
  }
}

Fault ToDeadlineCondition(v1::DeadlineCondition condition, core::DeadlineCondition* to) {
  switch (condition) {
    case v1::DEADLINE_CONDITION_UNSPECIFIED:
      *to = core::DeadlineCondition::kAlways;
      return std::nullopt;
    case v1::DEADLINE_CONDITION_ONLY_LATER:
      *to = core::DeadlineCondition::kOnlyLater;
      return std::nullopt;
    case v1::DEADLINE_CONDITION_ONLY_EARLIER:
      *to = core::DeadlineCondition::kOnlyEarlier;
      return std::nullopt;
    case v1::DEADLINE_CONDITION_ARM_OR_EXTEND:
      *to = core::DeadlineCondition::kArmOrExtend;
      return std::nullopt;
    default:
      return Bad("BAD_OPTIONS", "condition",
                 absl::StrCat("no condition has the number ", static_cast<int>(condition)));
  }
}

}  // namespace waitd::server
