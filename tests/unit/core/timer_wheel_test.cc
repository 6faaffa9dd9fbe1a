#include "core/timer_wheel.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>

namespace waitd::core {
namespace {

Instant At(int64_t ns) { return Instant(Nanos(ns)); }

// Goal: what fires, and when, is exactly what an ordered map says. Method: random arms, cancels and
// steps of time over nine orders of magnitude, against that map, for several seeds.
TEST(TimerWheel, FiresExactlyWhatAnOrderedMapSays) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    TimerWheel wheel;
    std::deque<Timer> timers;
    for (int i = 0; i < 200; ++i) timers.emplace_back(TimerUse::kWait);
    std::map<Timer*, int64_t> armed;
    int64_t now = static_cast<int64_t>(random() >> 20);
    for (int step = 0; step < 5000; ++step) {
      Timer& timer = timers[random() % timers.size()];
      switch (random() % 3) {
        case 0:
          if (armed.contains(&timer)) break;
          armed[&timer] = now + static_cast<int64_t>(random() >> (20 + random() % 44));
          wheel.Arm(timer, At(armed[&timer]));
          break;
        case 1:
          wheel.Cancel(timer);
          armed.erase(&timer);
          break;
        case 2: {
          now += static_cast<int64_t>(random() >> (20 + random() % 44));
          int64_t last = 0;
          FiredTimer fired[3];
          while (wheel.soonest() <= At(now)) {
            const size_t count = wheel.PopDue(At(now), fired);
            for (size_t i = 0; i < count; ++i) {
              ASSERT_TRUE(armed.contains(fired[i].timer)) << "fired twice, or cancelled";
              ASSERT_LE(armed[fired[i].timer], now) << "early";
              ASSERT_GE(armed[fired[i].timer], last) << "out of order";
              last = armed[fired[i].timer];
              armed.erase(fired[i].timer);
            }
          }
          for (const auto& [each, at] : armed) ASSERT_GT(at, now) << "forgotten";
          break;
        }
      }
      ASSERT_EQ(wheel.size(), armed.size());
      for (const auto& [each, at] : armed) ASSERT_LE(wheel.soonest(), At(at));
    }
  }
}

TEST(TimerWheel, DueWhenArmedFiresAtOnce) {
  TimerWheel wheel;
  Timer first(TimerUse::kWait);
  Timer second(TimerUse::kWait);
  FiredTimer fired[2];
  wheel.Arm(first, At(1000));
  ASSERT_EQ(wheel.PopDue(At(5000), fired), 1U);
  second.Renew();
  wheel.Arm(second, At(10));  // by somebody whose clock was read before
  ASSERT_EQ(wheel.PopDue(At(5000), fired), 1U);
  EXPECT_EQ(fired[0].timer, &second);
  EXPECT_EQ(fired[0].sequence, second.sequence());
  EXPECT_EQ(wheel.soonest(), kNever);
}

TEST(TimerWheel, AStepIsBoundedWhateverIsDue) {
  TimerWheel wheel;
  std::deque<Timer> timers;
  for (int i = 0; i < 10'000; ++i) {
    timers.emplace_back(TimerUse::kWait);
    wheel.Arm(timers.back(), At(1'000'000'000));
  }
  FiredTimer fired[64];
  size_t total = 0;
  int calls = 0;
  while (wheel.soonest() <= At(2'000'000'000)) {
    total += wheel.PopDue(At(2'000'000'000), fired);
    ++calls;
  }
  EXPECT_EQ(total, timers.size());
  EXPECT_GT(calls, 100);
}

}  // namespace
}  // namespace waitd::core
