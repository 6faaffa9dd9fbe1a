// What happens when timers fire.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

// A thread that read the clock earlier may get the lock later.
TEST(Time, DoesNotGoBackWithinAShard) {
  Table t;
  const Instant first = Ok(t.Open("{k}a")).decided;
  t.Pass(-milliseconds(5));
  EXPECT_EQ(Ok(t.Open("{k}b")).decided, first);
  t.poller().RunTimers();
  EXPECT_EQ(Ok(t.Open("{k}c")).decided, first);
  t.Pass(milliseconds(6));
  EXPECT_EQ(Ok(t.Open("{k}d")).decided, first + milliseconds(1));
}

TEST(Time, OfTheTimersIsThatOfTheOperations) {
  Table t;
  Ok(t.Open("{k}a"));
  const auto wait = t.Wait("{k}a", milliseconds(1));
  t.Pass(milliseconds(1));
  Ok(t.Open("{k}b"));
  t.Pass(-milliseconds(1));
  EXPECT_FALSE(wait->done());
  t.poller().RunTimers();
  EXPECT_EQ(ResultOf(wait).late, Nanos(0)) << "in this shard its instant has come";
}

/// A wait whose Done takes a second.
struct SlowWait final : WaitCall {
  explicit SlowWait(Table& table) : t(table) {}
  std::string_view client() const override { return "slow"; }
  void Done() override { t.Pass(seconds(1)); }
  Table& t;
};

TEST(Timers, LateIsCountedToTheDecisionAndNotToThePass) {
  Table t;
  Ok(t.Open("{k}a"));
  Ok(t.Open("{k}b"));
  SlowWait slow(t);
  t.poller().Wait(t.now().mono, {.name = "{k}a", .timeout = seconds(1)}, slow);
  const auto wait = t.Wait("{k}b", seconds(1));
  t.Pass(seconds(1));
  t.poller().RunTimers();
  EXPECT_EQ(ResultOf(wait).late, seconds(1));
  EXPECT_EQ(ResultOf(wait).parked, seconds(2));
}

TEST(Timers, AThousandClearedWaitsEndByMaxWaitWithinASecond) {
  constexpr size_t kWaits = 5000;
  Table t({.max_wait = seconds(10)});
  Ok(t.Open("a", Kind::kFifo));
  std::vector<std::unique_ptr<TestWait>> waits;
  for (size_t i = 0; i < kWaits; ++i) waits.push_back(t.Wait("a"));
  Ok(t.In("a", seconds(100)));
  t.Advance(seconds(15));
  for (const auto& wait : waits) ASSERT_FALSE(wait->done()) << "the deadline bounds it";
  const uint64_t holds = t.clock().reads;
  Ok(t.Clear("a"));
  EXPECT_LE(t.clock().reads - holds, 1U) << "a clear is O(1)";
  for (const auto& wait : waits) ASSERT_FALSE(wait->done()) << "a clear wakes nobody";
  t.Advance(seconds(1));
  for (const auto& wait : waits) {
    ASSERT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
    ASSERT_EQ(ResultOf(wait).cause, TimeoutCause::kMaxWait);
    ASSERT_LE(ResultOf(wait).late, seconds(6));
  }
  EXPECT_EQ(Count(t).lateness.counts()[10], 0U) << "that cause is left out";
  EXPECT_EQ(t.poller().waiters(), 0U);
}

TEST(Timers, OwnBoundsEndInTheOrderOfTheirInstants) {
  struct Noted final : WaitCall {
    Noted(std::vector<int>& to, int number) : order(to), n(number) {}
    std::string_view client() const override { return ""; }
    void Done() override { order.push_back(n); }
    std::vector<int>& order;
    int n;
  };
  Table t;
  Ok(t.Open("f", Kind::kFifo));
  std::vector<int> order;
  Noted one(order, 1);
  Noted two(order, 2);
  t.poller().Wait(t.now().mono, {.name = "f", .timeout = seconds(2)}, two);
  t.poller().Wait(t.now().mono, {.name = "f", .timeout = seconds(1)}, one);
  Ok(t.In("f", seconds(3)));
  t.Pass(seconds(4));
  Ok(t.Get("f"));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

// One call takes a bounded part of what is due, whatever its number.
TEST(Timers, OneCallHandlesABoundedNumber) {
  constexpr size_t kWaits = 5000;
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  std::vector<std::unique_ptr<TestWait>> waits;
  for (size_t i = 0; i < kWaits; ++i) waits.push_back(t.Wait("a", seconds(1)));
  t.Pass(seconds(1));
  size_t before = 0;
  while (before < kWaits) {
    const Instant next = t.poller().RunTimers();
    size_t done = 0;
    for (const auto& wait : waits) done += wait->done() ? 1 : 0;
    ASSERT_GT(done, before);
    ASSERT_LE(done - before, kUnitsMax);
    if (done < kWaits) {
      ASSERT_LE(next, t.now().mono) << "it is to be called again at once";
    }
    before = done;
  }
}

}  // namespace
}  // namespace waitd::core
