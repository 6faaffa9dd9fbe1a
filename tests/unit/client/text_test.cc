#include "client/waitctl/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace waitd::ctl {
namespace {

TEST(TextTest, DurationsAreRead) {
  const std::vector<std::pair<std::string, absl::Duration>> cases = {
      {"250ms", absl::Milliseconds(250)}, {"10s", absl::Seconds(10)},
      {"1h30m", absl::Minutes(90)},       {"1.5s", absl::Milliseconds(1500)},
      {"-5s", absl::Seconds(-5)},         {"0", absl::ZeroDuration()},
      {"1us", absl::Microseconds(1)},     {"1ns", absl::Nanoseconds(1)},
  };
  for (const auto& [text, wanted] : cases) EXPECT_EQ(ParseDuration(text), wanted) << text;
}

TEST(TextTest, WhatIsNoDurationIsRefused) {
  for (const char* text : {"", "5", "s", "5 s", "5s ", "soon", "inf", "-inf", "nan", "1d", "5s6",
                           "87660001h", "-87660001h", "99999999999999999999h"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
  EXPECT_TRUE(ParseDuration("87660000h").has_value());
  EXPECT_TRUE(ParseDuration("-87660000h").has_value());
}

TEST(TextTest, InstantsAreReadInAnyOffset) {
  const std::vector<std::pair<std::string, std::pair<int64_t, int32_t>>> cases = {
      {"2026-01-02T15:04:05Z", {1767366245, 0}},
      {"2026-01-02T15:04:05.25Z", {1767366245, 250'000'000}},
      {"2026-01-02T15:04:05.123456789Z", {1767366245, 123'456'789}},
      {"2026-01-02T17:04:05+02:00", {1767366245, 0}},
      {"2026-01-02T09:34:05.5-05:30", {1767366245, 500'000'000}},
      {"1969-12-31T23:59:59.75Z", {-1, 750'000'000}},
  };
  for (const auto& [text, wanted] : cases) {
    const auto when = ParseWhen(text);
    ASSERT_TRUE(when.has_value()) << text;
    const auto at = ToProto(std::get<absl::Time>(*when));
    EXPECT_EQ(at.seconds(), wanted.first) << text;
    EXPECT_EQ(at.nanos(), wanted.second) << text;
  }
}

TEST(TextTest, WhenIsADurationNowOrClear) {
  EXPECT_EQ(std::get<absl::Duration>(*ParseWhen("-1500ms")), absl::Milliseconds(-1500));
  EXPECT_EQ(std::get<absl::Duration>(*ParseWhen("now")), absl::ZeroDuration());
  EXPECT_TRUE(std::holds_alternative<Clear>(*ParseWhen("clear")));
}

TEST(TextTest, WhatIsNoTimeIsRefused) {
  for (const char* text : {"", "tomorrow", "15:04", "2026-01-02", "2026-01-02T15:04:05",
                           "2026-01-02 15:04:05Z", "2026-13-02T15:04:05Z", "2026-02-30T15:04:05Z",
                           "infinite-future", "infinite-past", "2026-01-02T15:04:05Zx", "Now"}) {
    EXPECT_FALSE(ParseWhen(text).has_value()) << text;
  }
}

TEST(TextTest, ALabelIsAKeyAndAValue) {
  std::string key;
  std::string value;
  ASSERT_TRUE(ParseLabel("k=v=w", &key, &value));
  EXPECT_EQ(key, "k");
  EXPECT_EQ(value, "v=w");
  ASSERT_TRUE(ParseLabel("k=", &key, &value));
  EXPECT_EQ(value, "");
  EXPECT_FALSE(ParseLabel("k", &key, &value));
  EXPECT_FALSE(ParseLabel("=v", &key, &value));
  EXPECT_FALSE(ParseLabel("", &key, &value));
}

TEST(TextTest, AWholeNumberIsDecimalAndWithinItsType) {
  EXPECT_EQ(ParseWhole<int32_t>("-2147483648"), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(ParseWhole<int32_t>("2147483648"), std::nullopt);
  EXPECT_EQ(ParseWhole<int32_t>("010"), 10);
  EXPECT_EQ(ParseWhole<uint64_t>("18446744073709551615"), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(ParseWhole<uint64_t>("18446744073709551616"), std::nullopt);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "0x1", "1.5", "1e3", "abc"}) {
    EXPECT_EQ(ParseWhole<uint64_t>(text), std::nullopt) << text;
  }
}

TEST(TextTest, DurationsSurviveProto) {
  for (const absl::Duration each : {absl::ZeroDuration(), absl::Nanoseconds(-1),
                                    absl::Milliseconds(1500), absl::Milliseconds(-1500)}) {
    EXPECT_EQ(FromProto(ToProto(each)), each);
    EXPECT_GE(int64_t{ToProto(each).nanos()} * (each < absl::ZeroDuration() ? -1 : 1), 0);
  }
}

TEST(TextTest, DurationsAndTimesAreShownToAUsefulDigit) {
  EXPECT_EQ(Show(absl::Microseconds(9'500'600)), "9.5s");
  EXPECT_EQ(Show(absl::Milliseconds(61'900)), "1m1s");
  EXPECT_EQ(Show(absl::Milliseconds(-61'900)), "-1m1s");
  EXPECT_EQ(Show(absl::ZeroDuration()), "0");
  EXPECT_EQ(Show(absl::FromUnixMillis(1767366245007)), "2026-01-02T15:04:05.007Z");
}

TEST(TextTest, EnumsAreShownWithoutTheirType) {
  EXPECT_EQ(Show(v1::KIND_LATCH), "latch");
  EXPECT_EQ(Show(v1::DEADLINE_EFFECT_EXTENDED), "extended");
  EXPECT_EQ(Show(v1::READY_EFFECT_WOKE), "woke");
}

TEST(TextTest, ControlCharactersAreShownAndNotObeyed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"plain", "plain"},
      {"\x1b[2J\a", R"(\x1b[2J\x07)"},
      {"a\nb\r\tc\x7f", R"(a\nb\x0d\x09c\x7f)"},
      {"\u009b2J", R"(\u009b2J)"},
      {"\u00a0é€😀", "\u00a0é€😀"},
      {std::string("\0", 1), R"(\x00)"},
      {"\x9b", R"(\x9b)"},                          // no UTF-8: a lone continuation
      {"\xc3", R"(\xc3)"},                          // cut short
      {"\xc0\x9b", R"(\xc0\x9b)"},                  // overlong
      {"\xe0\x80\x9b", R"(\xe0\x80\x9b)"},          // overlong
      {"\xed\xa0\x80", R"(\xed\xa0\x80)"},          // a surrogate
      {"\xf4\x90\x80\x80", R"(\xf4\x90\x80\x80)"},  // beyond the last
  };
  for (const auto& [text, wanted] : cases) EXPECT_EQ(Printable(text), wanted);
}

}  // namespace
}  // namespace waitd::ctl
