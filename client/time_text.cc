#include "client/time_text.h"

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "client/text.h"

namespace waitd::ctl {
namespace {

struct Unit {
  std::string_view name;
  int64_t nanos;
};

// From the largest to the smallest, which is also the order that a text must keep.
constexpr std::array kUnits = {
    Unit{"d", 86'400'000'000'000}, Unit{"h", 3'600'000'000'000}, Unit{"m", 60'000'000'000},
    Unit{"s", 1'000'000'000},      Unit{"ms", 1'000'000},        Unit{"us", 1'000},
    Unit{"ns", 1},
};

// Nanoseconds of the longest duration need more than 64 bits.
__extension__ typedef __int128 Wide;
constexpr Wide kMaxNanos = Wide{kMaxDurationSeconds} * 1'000'000'000;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

absl::Status Bad(std::string_view text, std::string_view kind, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", View(Printable(text)), "' is no ", View(kind), ": ", View(why)));
}

// One number with its unit, at the front of a text. Works on integers alone: a fraction of a
// second in binary would not be the one that was written.
class Component {
 public:
  // An empty string, or what is wrong.
  std::string_view Read(std::string_view* rest) {
    size_t at = 0;
    bool digits = false;
    for (; at < rest->size() && (IsDigit((*rest)[at]) || ((*rest)[at] == '.' && scale_ == 0));
         ++at) {
      if ((*rest)[at] == '.') {
        scale_ = 1;
        continue;
      }
      digits = true;
      if (value_ > kMaxNanos) return "it is too long; 3652500d is the most";
      value_ = value_ * 10 + ((*rest)[at] - '0');
      if (scale_ == kMaxScale) return "it is finer than a nanosecond";
      if (scale_ > 0) scale_ *= 10;
    }
    if (!digits) return "expected a number, as in 250ms, 10s or 1h30m";
    const size_t unit = at;
    while (at < rest->size() && !IsDigit((*rest)[at]) && (*rest)[at] != '.') ++at;
    const std::string_view name = rest->substr(unit, at - unit);
    rest->remove_prefix(at);
    if (scale_ == 0) scale_ = 1;
    return Convert(name);
  }

  Wide nanos() const { return nanos_; }
  size_t unit() const { return unit_; }

 private:
  static constexpr int64_t kMaxScale = 1'000'000'000'000'000'000;

  std::string_view Convert(std::string_view name) {
    for (unit_ = 0; unit_ < kUnits.size(); ++unit_) {
      if (kUnits[unit_].name == name) break;
    }
    if (unit_ == kUnits.size()) {
      if (name.empty() && value_ == 0) {
        unit_ = kUnits.size() - 1;
        return "";
      }
      return name.empty() ? "a unit is missing, as in 250ms, 10s or 1h30m"
                          : "the units are d, h, m, s, ms, us and ns";
    }
    const Wide scaled = value_ * kUnits[unit_].nanos;
    if (scaled % scale_ != 0) return "it is finer than a nanosecond";
    nanos_ = scaled / scale_;
    return "";
  }

  Wide value_ = 0;
  int64_t scale_ = 0;  // 0: no point was seen; then the power of ten to divide by
  Wide nanos_ = 0;
  size_t unit_ = 0;
};

// The digits of an RFC 3339 instant, read from the front.
class Digits {
 public:
  explicit Digits(std::string_view text) : rest_(text) {}

  // Exactly `count` digits; -1 when they are not there.
  int Number(size_t count) {
    if (rest_.size() < count) return Fail();
    int value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!IsDigit(rest_[i])) return Fail();
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }

  // True and past it, when the next character is one of `any`.
  bool Accept(std::string_view any) {
    if (rest_.empty() || any.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void Expect(std::string_view any) {
    if (!Accept(any)) Fail();
  }

  // The digits after a point, as nanoseconds.
  absl::Duration Fraction() {
    int64_t nanos = 0;
    int digits = 0;
    for (; !rest_.empty() && IsDigit(rest_.front()) && digits < 10; ++digits) {
      nanos = nanos * 10 + (rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    if (digits == 0 || digits > 9) Fail();
    for (; digits < 9; ++digits) nanos *= 10;
    return absl::Nanoseconds(nanos);
  }

  bool good() const { return good_; }
  bool done() const { return rest_.empty(); }

 private:
  int Fail() {
    good_ = false;
    return -1;
  }

  std::string_view rest_;
  bool good_ = true;
};

// Seconds east of UTC.
int ReadZone(Digits* digits) {
  if (digits->Accept("Zz")) return 0;
  const bool west = digits->Accept("-");
  if (!west) digits->Expect("+");
  const int hours = digits->Number(2);
  digits->Expect(":");
  const int minutes = digits->Number(2);
  if (hours > 23 || minutes > 59) return 86'400;
  return (west ? -1 : 1) * (hours * 3600 + minutes * 60);
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  if (text.empty()) return Bad(text, "duration", "it is empty");
  if (text.front() == '-' || text.front() == '+') {
    return Bad(text, "duration", "it has a sign, and durations have none");
  }
  Wide sum = 0;
  size_t next_unit = 0;
  for (std::string_view rest = text; !rest.empty();) {
    Component component;
    if (const std::string_view why = component.Read(&rest); !why.empty()) {
      return Bad(text, "duration", why);
    }
    if (component.unit() < next_unit) {
      return Bad(text, "duration", "the larger unit comes first, and each one once, as in 1h30m");
    }
    next_unit = component.unit() + 1;
    sum += component.nanos();
    if (sum > kMaxNanos) return Bad(text, "duration", "it is too long; 3652500d is the most");
  }
  return absl::Seconds(static_cast<int64_t>(sum / 1'000'000'000)) +
         absl::Nanoseconds(static_cast<int64_t>(sum % 1'000'000'000));
}

absl::StatusOr<absl::Time> ParseInstant(std::string_view text) {
  Digits digits(text);
  const int year = digits.Number(4);
  digits.Expect("-");
  const int month = digits.Number(2);
  digits.Expect("-");
  const int day = digits.Number(2);
  digits.Expect("Tt");
  const int hour = digits.Number(2);
  digits.Expect(":");
  const int minute = digits.Number(2);
  digits.Expect(":");
  const int second = digits.Number(2);
  const absl::Duration fraction = digits.Accept(".") ? digits.Fraction() : absl::ZeroDuration();
  const int zone = ReadZone(&digits);
  if (!digits.good() || !digits.done()) {
    return Bad(text, "instant", "expected one as in 2027-01-31T08:30:00Z");
  }
  const absl::CivilSecond civil(year, month, day, hour, minute, second);
  // Civil times carry over, so a field that is out of its range comes back as another number.
  if (civil.month() != month || civil.day() != day || civil.hour() != hour ||
      civil.minute() != minute || civil.second() != second || zone == 86'400) {
    return Bad(text, "instant", "there is no such day or time");
  }
  const absl::Time time =
      absl::FromCivil(civil, absl::UTCTimeZone()) - absl::Seconds(zone) + fraction;
  const auto utc_year = absl::ToCivilYear(time, absl::UTCTimeZone()).year();
  if (utc_year < 1 || utc_year > 9999) return Bad(text, "instant", "its year is not 1 to 9999");
  return time;
}

absl::StatusOr<When> ParseWhen(std::string_view text) {
  if (text == "clear") return When{.kind = When::Kind::kClear, .after = {}, .at = {}};
  if (text == "now") return When{.kind = When::Kind::kAfter, .after = {}, .at = {}};
  // Only an instant has a dash behind its year.
  if (text.size() > 4 && text[4] == '-') {
    absl::StatusOr<absl::Time> at = ParseInstant(text);
    if (!at.ok()) return at.status();
    return When{.kind = When::Kind::kAt, .after = {}, .at = *at};
  }
  absl::StatusOr<absl::Duration> after = ParseDuration(text);
  if (after.ok()) return When{.kind = When::Kind::kAfter, .after = *after, .at = {}};
  return absl::InvalidArgumentError(
      absl::StrCat(after.status().message(),
                   "; a deadline is a duration, an instant as in 2027-01-31T08:30:00Z, clear or "
                   "now"));
}

std::string ShortDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) return "0s";
  const absl::Duration unit = duration < absl::Seconds(1) ? absl::Milliseconds(1) : absl::Seconds(1);
  const absl::Duration cut = absl::Trunc(duration, unit);
  return cut == absl::ZeroDuration() ? "0s" : absl::FormatDuration(cut);
}

std::string InstantText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

}  // namespace waitd::ctl
