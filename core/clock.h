#ifndef WAITD_CORE_CLOCK_H_
#define WAITD_CORE_CLOCK_H_

#include <chrono>

namespace waitd::core {

using Nanos = std::chrono::nanoseconds;

/// The time line of the monotonic clock that armed deadlines live on.
struct Monotonic {
  using duration = Nanos;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Monotonic, duration>;
  static constexpr bool is_steady = true;
};

/// A point on the monotonic clock, in nanoseconds.
using Instant = Monotonic::time_point;

/// A point on the wall clock, in nanoseconds since 1970 UTC; good until the year 2262.
using WallTime = std::chrono::sys_time<Nanos>;

/// An instant that never comes: what lies beyond the range saturates to it.
inline constexpr Instant kNever = Instant::max();

/// A duration without an end, such as the idle_ttl of a descriptor that stays for ever.
inline constexpr Nanos kForever = Nanos::max();

/// Both clocks, read together: once for each hold of a shard's lock, so that what happens in a hold
/// happens at one instant.
struct Now {
  Instant mono;
  WallTime wall;
};

/// a + b, held at the ends of the range instead of wrapping round.
constexpr Nanos SaturatingAdd(Nanos a, Nanos b) {
  Nanos::rep sum = 0;
  if (__builtin_add_overflow(a.count(), b.count(), &sum)) {
    return b.count() < 0 ? Nanos::min() : Nanos::max();
  }
  return Nanos(sum);
}

/// a - b, held at the ends of the range.
constexpr Nanos SaturatingSubtract(Nanos a, Nanos b) {
  Nanos::rep difference = 0;
  if (__builtin_sub_overflow(a.count(), b.count(), &difference)) {
    return b.count() < 0 ? Nanos::max() : Nanos::min();
  }
  return Nanos(difference);
}

constexpr Instant SaturatingAdd(Instant at, Nanos by) {
  return Instant(SaturatingAdd(at.time_since_epoch(), by));
}
constexpr WallTime SaturatingAdd(WallTime at, Nanos by) {
  return WallTime(SaturatingAdd(at.time_since_epoch(), by));
}
constexpr Nanos SaturatingSubtract(WallTime a, WallTime b) {
  return SaturatingSubtract(a.time_since_epoch(), b.time_since_epoch());
}

/// The wall time at which the monotonic clock will show, or showed, `at`, if the wall clock is not
/// stepped in between.
constexpr WallTime WallOf(const Now& now, Instant at) {
  return at == kNever ? WallTime::max() : SaturatingAdd(now.wall, at - now.mono);
}

/// Reads the time. Threads: Read may be called by anyone at any time.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Now Read() const = 0;
};

/// The machine's clocks. Nothing else in the project reads them to decide about a wait.
class RealClock final : public Clock {
 public:
  Now Read() const override;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_CLOCK_H_
