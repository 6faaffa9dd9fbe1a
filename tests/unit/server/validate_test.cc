// Each limit at its value, one below and one above.
#include "server/api/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

namespace waitd::server {
namespace {

using core::Nanos;
using google::protobuf::Duration;
using google::protobuf::Timestamp;

constexpr int64_t kYearsMax = 315'576'000'000;  // seconds of the longest Duration

#define EXPECT_FAULT(expression, reason_text, field_text) \
  do {                                                    \
    const Fault fault_found = (expression);               \
    ASSERT_TRUE(fault_found.has_value()) << #expression;  \
    EXPECT_EQ(fault_found->reason, reason_text);          \
    EXPECT_EQ(fault_found->field, field_text);            \
    EXPECT_FALSE(fault_found->message.empty());           \
  } while (false)

#define EXPECT_NO_FAULT(expression)                                \
  do {                                                             \
    const Fault fault_found = (expression);                        \
    EXPECT_FALSE(fault_found.has_value()) << fault_found->message; \
  } while (false)

Duration DurationOf(int64_t seconds, int32_t nanos) {
  Duration duration;
  duration.set_seconds(seconds);
  duration.set_nanos(nanos);
  return duration;
}

Timestamp TimestampOf(int64_t seconds, int32_t nanos) {
  Timestamp timestamp;
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(nanos);
  return timestamp;
}

TEST(ValidateName, HasOneTo512Bytes) {
  EXPECT_FAULT(CheckName("", "name"), "BAD_NAME", "name");
  EXPECT_NO_FAULT(CheckName("a", "name"));
  EXPECT_NO_FAULT(CheckName(std::string(511, 'a'), "name"));
  EXPECT_NO_FAULT(CheckName(std::string(512, 'a'), "name"));
  EXPECT_FAULT(CheckName(std::string(513, 'a'), "targets[1].name"), "BAD_NAME", "targets[1].name");
}

TEST(ValidateName, BytesCountNotCharacters) {
  std::string name;
  for (int i = 0; i < 256; ++i) name += "\xC3\xA9";
  EXPECT_NO_FAULT(CheckName(name, "name"));
  EXPECT_FAULT(CheckName(name + "x", "name"), "BAD_NAME", "name");
}

TEST(ValidateName, HasNoControlCharacters) {
  for (int c = 0; c < 0x20; ++c) {
    EXPECT_FAULT(CheckName(std::string("a") + static_cast<char>(c), "name"), "BAD_NAME", "name");
  }
  EXPECT_FAULT(CheckName("a\x7F", "name"), "BAD_NAME", "name");
  EXPECT_FAULT(CheckName("a\xC2\x80z", "name"), "BAD_NAME", "name");
  EXPECT_FAULT(CheckName("a\xC2\x9F", "name"), "BAD_NAME", "name");
  EXPECT_NO_FAULT(CheckName("a \xC2\xA0~", "name"));
}

TEST(ValidatePrefix, IsAsANameOrEmpty) {
  EXPECT_NO_FAULT(CheckPrefix("", "prefix"));
  EXPECT_NO_FAULT(CheckPrefix(std::string(512, 'a'), "prefix"));
  EXPECT_FAULT(CheckPrefix(std::string(513, 'a'), "prefix"), "BAD_NAME", "prefix");
  EXPECT_FAULT(CheckPrefix("a\n", "prefix"), "BAD_NAME", "prefix");
}

TEST(ValidateLabelValue, HasAtMost256BytesAndNoControlCharacters) {
  EXPECT_TRUE(IsLabelValue(""));
  EXPECT_TRUE(IsLabelValue(std::string(256, 'a')));
  EXPECT_FALSE(IsLabelValue(std::string(257, 'a')));
  EXPECT_FALSE(IsLabelValue("\x1b[31m"));
  EXPECT_FALSE(IsLabelValue("a\xC2\x80"));
}

TEST(ValidateMode, UnsetIsReadAndUnknownIsRefused) {
  core::Mode mode = core::Mode::kWrite;
  EXPECT_NO_FAULT(ToMode(v1::MODE_UNSPECIFIED, "mode", &mode));
  EXPECT_EQ(mode, core::Mode::kRead);
  EXPECT_NO_FAULT(ToMode(v1::MODE_READ_WRITE, "mode", &mode));
  EXPECT_EQ(mode, core::Mode::kReadWrite);
  EXPECT_FAULT(ToMode(static_cast<v1::Mode>(4), "mode", &mode), "BAD_MODE", "mode");
  EXPECT_FAULT(ToMode(static_cast<v1::Mode>(-1), "mode", &mode), "BAD_MODE", "mode");
}

TEST(ValidateMode, ASideIsNotBoth) {
  core::Side side = core::Side::kRead;
  EXPECT_NO_FAULT(ToSide(v1::MODE_WRITE, "mode", &side));
  EXPECT_EQ(side, core::Side::kWrite);
  EXPECT_NO_FAULT(ToSide(v1::MODE_UNSPECIFIED, "mode", &side));
  EXPECT_EQ(side, core::Side::kRead);
  EXPECT_FAULT(ToSide(v1::MODE_READ_WRITE, "mode", &side), "BAD_MODE", "mode");
}

TEST(ValidateDuration, KeepsProtobufsRange) {
  Nanos to{};
  EXPECT_NO_FAULT(ToNanos(DurationOf(kYearsMax, 999'999'999), "timeout", &to));
  EXPECT_FAULT(ToNanos(DurationOf(kYearsMax + 1, 0), "timeout", &to), "BAD_TIME", "timeout");
  EXPECT_NO_FAULT(ToNanos(DurationOf(-kYearsMax, -999'999'999), "timeout", &to));
  EXPECT_FAULT(ToNanos(DurationOf(-kYearsMax - 1, 0), "timeout", &to), "BAD_TIME", "timeout");
  EXPECT_FAULT(ToNanos(DurationOf(std::numeric_limits<int64_t>::min(), 0), "timeout", &to),
               "BAD_TIME", "timeout");
  EXPECT_FAULT(ToNanos(DurationOf(0, 1'000'000'000), "timeout", &to), "BAD_TIME", "timeout");
  EXPECT_FAULT(ToNanos(DurationOf(0, -1'000'000'000), "timeout", &to), "BAD_TIME", "timeout");
}

TEST(ValidateDuration, NanosHaveTheSignOfSeconds) {
  Nanos to{};
  EXPECT_FAULT(ToNanos(DurationOf(1, -1), "timeout", &to), "BAD_TIME", "timeout");
  EXPECT_FAULT(ToNanos(DurationOf(-1, 1), "timeout", &to), "BAD_TIME", "timeout");
  EXPECT_NO_FAULT(ToNanos(DurationOf(0, -1), "timeout", &to));
  EXPECT_EQ(to, Nanos(-1));
  EXPECT_NO_FAULT(ToNanos(DurationOf(-1, -1), "timeout", &to));
  EXPECT_EQ(to, Nanos(-1'000'000'001));
}

TEST(ValidateDuration, SaturatesBeyond292Years) {
  Nanos to{};
  EXPECT_NO_FAULT(ToNanos(DurationOf(9'223'372'036, 854'775'806), "timeout", &to));
  EXPECT_EQ(to, Nanos::max() - Nanos(1));
  EXPECT_NO_FAULT(ToNanos(DurationOf(9'223'372'036, 854'775'807), "timeout", &to));
  EXPECT_EQ(to, Nanos::max());
  EXPECT_NO_FAULT(ToNanos(DurationOf(9'223'372'036, 854'775'808), "timeout", &to));
  EXPECT_EQ(to, Nanos::max());
  EXPECT_NO_FAULT(ToNanos(DurationOf(kYearsMax, 0), "timeout", &to));
  EXPECT_EQ(to, Nanos::max());
  EXPECT_NO_FAULT(ToNanos(DurationOf(-kYearsMax, 0), "timeout", &to));
  EXPECT_EQ(to, Nanos::min());
}

TEST(ValidateSentAgo, IsNotNegative) {
  Nanos to{};
  EXPECT_NO_FAULT(ToSentAgo(DurationOf(0, 0), &to));
  EXPECT_NO_FAULT(ToSentAgo(DurationOf(0, 1), &to));
  EXPECT_EQ(to, Nanos(1));
  EXPECT_FAULT(ToSentAgo(DurationOf(0, -1), &to), "BAD_TIME", "first_sent_ago");
}

TEST(ValidateAckTimeout, IsAboveZeroAndAtMostTheOptions) {
  Nanos to{};
  const Nanos max = std::chrono::seconds(2);
  EXPECT_NO_FAULT(ToAckTimeout(DurationOf(0, 1), max, &to));
  EXPECT_EQ(to, Nanos(1));
  EXPECT_NO_FAULT(ToAckTimeout(DurationOf(2, 0), max, &to));
  EXPECT_FAULT(ToAckTimeout(DurationOf(2, 1), max, &to), "BAD_TIME", "ack_timeout");
  EXPECT_FAULT(ToAckTimeout(DurationOf(0, 0), max, &to), "BAD_TIME", "ack_timeout");
  EXPECT_FAULT(ToAckTimeout(DurationOf(-1, 0), max, &to), "BAD_TIME", "ack_timeout");
  EXPECT_NO_FAULT(ToAckTimeout(DurationOf(315'576'000'000, 0), core::kForever, &to));
}

TEST(ValidateTimestamp, KeepsProtobufsRangeAndSaturates) {
  core::WallTime to;
  EXPECT_NO_FAULT(ToWallTime(TimestampOf(1, 5), "at", &to));
  EXPECT_EQ(to.time_since_epoch(), Nanos(1'000'000'005));
  EXPECT_NO_FAULT(ToWallTime(TimestampOf(253'402'300'799, 999'999'999), "at", &to));
  EXPECT_EQ(to, core::WallTime::max());
  EXPECT_FAULT(ToWallTime(TimestampOf(253'402'300'800, 0), "at", &to), "BAD_TIME", "at");
  EXPECT_NO_FAULT(ToWallTime(TimestampOf(-62'135'596'800, 0), "at", &to));
  EXPECT_EQ(to, core::WallTime::min());
  EXPECT_FAULT(ToWallTime(TimestampOf(-62'135'596'801, 0), "at", &to), "BAD_TIME", "at");
  EXPECT_FAULT(ToWallTime(TimestampOf(0, -1), "at", &to), "BAD_TIME", "at");
  EXPECT_FAULT(ToWallTime(TimestampOf(0, 1'000'000'000), "at", &to), "BAD_TIME", "at");
}

TEST(ValidateLabels, AreSixteenAtMost) {
  LabelMap labels;
  core::Labels to;
  while (labels.size() < 16) labels[std::to_string(labels.size())] = "";
  EXPECT_NO_FAULT(ToLabels(labels, "options.labels", &to));
  EXPECT_EQ(to.size(), 16U);
  EXPECT_TRUE(std::is_sorted(to.begin(), to.end()));
  labels["more"] = "";
  EXPECT_FAULT(ToLabels(labels, "options.labels", &to), "BAD_LABELS", "options.labels");
}

TEST(ValidateLabels, KeysHave63BytesAndValues256) {
  core::Labels to;
  const auto with = [](size_t key, size_t value) {
    LabelMap labels;
    labels[std::string(key, 'k')] = std::string(value, 'v');
    return labels;
  };
  EXPECT_NO_FAULT(ToLabels(with(1, 0), "labels", &to));
  EXPECT_NO_FAULT(ToLabels(with(63, 256), "labels", &to));
  EXPECT_FAULT(ToLabels(with(0, 1), "labels", &to), "BAD_LABELS", "labels");
  EXPECT_FAULT(ToLabels(with(64, 1), "labels", &to), "BAD_LABELS", "labels");
  EXPECT_FAULT(ToLabels(with(1, 257), "labels", &to), "BAD_LABELS", "labels");
}

TEST(ValidateOpenOptions, KindIdleTtlAndEphemeral) {
  core::OpenOptions to;
  v1::OpenOptions from;
  EXPECT_NO_FAULT(ToOpenOptions(from, false, "options", &to));
  EXPECT_FALSE(to.kind.has_value());
  EXPECT_FALSE(to.idle_ttl.has_value());
  from.set_kind(v1::KIND_LATCH);
  *from.mutable_idle_ttl() = DurationOf(0, 1);
  EXPECT_NO_FAULT(ToOpenOptions(from, false, "options", &to));
  EXPECT_EQ(to.kind, core::Kind::kLatch);
  EXPECT_EQ(to.idle_ttl, Nanos(1));
  *from.mutable_idle_ttl() = DurationOf(0, 0);
  EXPECT_FAULT(ToOpenOptions(from, false, "options", &to), "BAD_TIME", "options.idle_ttl");
  from.clear_idle_ttl();
  from.set_kind(static_cast<v1::Kind>(4));
  EXPECT_FAULT(ToOpenOptions(from, false, "open_if_missing", &to), "BAD_KIND",
               "open_if_missing.kind");
  from.clear_kind();
  from.set_ephemeral(true);
  EXPECT_FAULT(ToOpenOptions(from, false, "options", &to), "BAD_OPTIONS", "options.ephemeral");
  EXPECT_NO_FAULT(ToOpenOptions(from, true, "options", &to));
  EXPECT_TRUE(to.ephemeral) << "in a session";
}

TEST(ValidateCondition, UnknownOnesAreRefused) {
  core::ReadyCondition ready{};
  EXPECT_NO_FAULT(ToReadyCondition(v1::READY_CONDITION_WAITING, &ready));
  EXPECT_EQ(ready, core::ReadyCondition::kWaiting);
  EXPECT_FAULT(ToReadyCondition(static_cast<v1::ReadyCondition>(3), &ready), "BAD_OPTIONS",
               "condition");
  core::DeadlineCondition deadline{};
  EXPECT_NO_FAULT(ToDeadlineCondition(v1::DEADLINE_CONDITION_ARM_OR_EXTEND, &deadline));
  EXPECT_EQ(deadline, core::DeadlineCondition::kArmOrExtend);
  EXPECT_FAULT(ToDeadlineCondition(static_cast<v1::DeadlineCondition>(4), &deadline), "BAD_OPTIONS",
               "condition");
}

TEST(ValidateId, AtTheLimitAndOneAbove) {
  EXPECT_NO_FAULT(CheckId("", "wait_id"));
  EXPECT_NO_FAULT(CheckId(std::string(128, 'i'), "wait_id"));
  EXPECT_FAULT(CheckId(std::string(129, 'i'), "wait_id"), "BAD_ID", "wait_id");
}

}  // namespace
}  // namespace waitd::server
