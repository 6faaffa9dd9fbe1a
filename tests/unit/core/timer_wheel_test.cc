#include "core/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace waitd::core {

// Sees what a wheel is made of.
class TimerWheelInspector {
 public:
  static constexpr uint64_t kLeafMax = TimerWheel::kLeafMax;
  static constexpr unsigned kBits = TimerWheel::kBits;

  static uint64_t LookedAt(const TimerWheel& wheel) { return wheel.looked_at_; }
  static size_t Nodes(const TimerWheel& wheel) { return wheel.nodes_.size(); }

  // The invariants 1 to 4 of the header, and that the tree holds as many timers as it says.
  static void Check(const TimerWheel& wheel) {
    EXPECT_EQ(CheckNode(wheel.root_, nullptr), wheel.size());
  }

 private:
  static size_t CheckNode(const TimerWheel::Node& node, const TimerWheel::Node* parent) {
    EXPECT_EQ(node.parent, parent);
    EXPECT_TRUE(parent == nullptr || std::popcount(node.used) >= 2);
    EXPECT_EQ(node.nodes & ~node.used, 0);
    size_t timers = 0;
    for (size_t slot = 0; slot < node.slots.size(); ++slot) {
      const TimerLink& list = node.slots[slot];
      EXPECT_EQ(list.next != &list, (node.used >> slot & 1U) != 0);
      if (!node.HoldsNode(slot)) {
        timers += CheckLeaf(node, slot);
        continue;
      }
      EXPECT_EQ(list.next, list.prev);
      EXPECT_EQ(node.Child(slot).next, &list);
      EXPECT_TRUE(node.Covers(node.Child(slot).inside));
      EXPECT_EQ(node.SlotOf(node.Child(slot).inside), slot);
      EXPECT_LT(node.Child(slot).shift, node.shift);
      timers += CheckNode(node.Child(slot), &node);
    }
    return timers;
  }

  static size_t CheckLeaf(const TimerWheel::Node& node, size_t slot) {
    const TimerLink& list = node.slots[slot];
    size_t timers = 0;
    std::set<Instant> instants;
    for (const TimerLink* link = list.next; link != &list; link = link->next, ++timers) {
      EXPECT_EQ(link->next->prev, link);
      const Instant when = TimerWheel::TimerOf(*link).when();
      const uint64_t ticks = static_cast<uint64_t>(when.time_since_epoch().count()) ^ (1ULL << 63U);
      EXPECT_TRUE(node.Covers(ticks));
      EXPECT_EQ(node.SlotOf(ticks), slot);
      instants.insert(when);
    }
    if (node.counts[slot] == TimerWheel::kOneInstant) {
      EXPECT_EQ(instants.size(), 1U);
    } else {
      EXPECT_LE(timers, node.counts[slot]);
      EXPECT_LE(node.counts[slot], kLeafMax);
    }
    return timers;
  }
};

namespace {

using Inspector = TimerWheelInspector;

constexpr size_t kBatch = 64;  // what RunTimers takes at once
constexpr int64_t kSecond = 1'000'000'000;

Instant At(int64_t ns) { return Instant(Nanos(ns)); }

struct TestTimer : Timer {
  TestTimer() : Timer(TimerUse::kWait) {}
};

// An ordered map beside a wheel: each call goes to both, and what the wheel does is compared.
class Pair {
 public:
  void Arm(Timer& timer, int64_t when) {
    armed_.emplace(std::pair(when, ++order_), &timer);
    orders_[&timer] = order_;
    wheel.Arm(timer, At(when));
  }

  void Cancel(Timer& timer) {
    armed_.erase({timer.when().time_since_epoch().count(), orders_[&timer]});
    wheel.Cancel(timer);
  }

  // One PopDue: it returns what is due first, as many as fit, and looks at few others.
  void Pop(int64_t now) {
    std::array<FiredTimer, 3> fired;
    const uint64_t before = Inspector::LookedAt(wheel);
    const bool reached = wheel.soonest() <= At(now);
    const size_t count = wheel.PopDue(At(now), fired);
    EXPECT_LE(Inspector::LookedAt(wheel) - before, fired.size() + Inspector::kLeafMax);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_FALSE(armed_.empty()) << "fired twice, or cancelled";
      EXPECT_LE(armed_.begin()->first.first, now) << "early";
      EXPECT_EQ(fired[i].timer, armed_.begin()->second) << "out of order";
      armed_.erase(armed_.begin());
    }
    EXPECT_TRUE(count == fired.size() || First() > At(now) || First() == kNever) << "late";
    EXPECT_TRUE(!reached || wheel.soonest() == First()) << "wakes up for nothing";
  }

  Instant First() const { return armed_.empty() ? kNever : At(armed_.begin()->first.first); }

  TimerWheel wheel;

 private:
  std::map<std::pair<int64_t, uint64_t>, Timer*> armed_;
  std::map<Timer*, uint64_t> orders_;
  uint64_t order_ = 0;
};

// Goal: what fires, and when, is exactly what an ordered map says. Method: random arms, cancels and
// steps of time, against that map, for several seeds. Distances are spread over all orders of
// magnitude; one in eight timers is armed in the past, and some share an instant. Time begins
// before the clock's zero, and in some seeds at the end of what an instant can hold.
TEST(TimerWheel, FiresExactlyWhatAnOrderedMapSays) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const auto distance = [&] {
      return static_cast<int64_t>(random() >> (seed % 20 + random() % 44));
    };
    const bool crowded = seed % 4 == 2;  // at few instants, each with more timers than a leaf has
    Pair pair;
    std::deque<TestTimer> timers(crowded || seed % 3 == 0 ? 2000 : 200);
    int64_t now = seed % 5 == 0   ? std::numeric_limits<int64_t>::min()
                  : seed % 5 == 1 ? std::numeric_limits<int64_t>::max() - kSecond
                                  : -static_cast<int64_t>(random() >> 20);
    int64_t recent = now;
    for (int step = 0; step < 5000; ++step) {
      Timer& timer = timers[random() % timers.size()];
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const Nanos by(random() % 8 == 0 ? -distance() : distance());
          if (random() % (crowded ? 100 : 2) == 0)
            recent = SaturatingAdd(At(now), by).time_since_epoch().count();
          if (!timer.armed() && At(recent) != kNever) pair.Arm(timer, recent);
          break;
        }
        case 4:
        case 5:
          if (timer.armed()) pair.Cancel(timer);
          break;
        case 6:
          now = SaturatingAdd(At(now), Nanos(distance() >> (random() % 8 == 0 ? 0 : 10)))
                    .time_since_epoch()
                    .count();
          break;
        default:
          pair.Pop(now);
          break;
      }
      ASSERT_LE(pair.wheel.soonest(), pair.First());
      if (step % 50 == 0) Inspector::Check(pair.wheel);
      if (testing::Test::HasFailure()) return;
    }
    while (pair.First() != kNever && !testing::Test::HasFailure()) {
      pair.Pop(std::numeric_limits<int64_t>::max());
    }
    EXPECT_EQ(pair.wheel.size(), 0U);
    Inspector::Check(pair.wheel);
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

TEST(TimerWheel, OneArmedInThePastMakesNoOtherEarly) {
  for (const int64_t at : {1, 63, 64, 65, 4095, 4096, 4097, 262'144, 300'000, 1'048'576}) {
    for (const int64_t back : {1, 63, 64, 100, 4096, 5000, 70'000}) {
      for (const int64_t ahead : {1, 5, 40, 64, 1000, 100'000}) {
        SCOPED_TRACE(testing::Message() << at << " - " << back << " + " << ahead);
        const int64_t now = 10'000'000 + at;
        TimerWheel wheel;
        TestTimer start;
        TestTimer past;
        TestTimer later;
        std::array<FiredTimer, 8> fired;
        wheel.Arm(start, At(now));
        ASSERT_EQ(wheel.PopDue(At(now), fired), 1U);
        wheel.Arm(later, At(now + ahead));
        wheel.Arm(past, At(now - back));
        ASSERT_EQ(wheel.PopDue(At(now), fired), 1U);
        EXPECT_EQ(fired[0].timer, &past);
        EXPECT_EQ(wheel.PopDue(At(now + ahead - 1), fired), 0U);
        EXPECT_EQ(wheel.PopDue(At(now + ahead), fired), 1U);
      }
    }
  }
}

TEST(TimerWheel, WhatWasCancelledMakesNoNodes) {
  TimerWheel wheel;
  std::array<TestTimer, 10> far;
  TestTimer timer;
  for (size_t i = 0; i < far.size(); ++i) wheel.Arm(far[i], At(static_cast<int64_t>(i) * kSecond));
  for (int64_t i = 0; i < 1000; ++i) {
    wheel.Arm(timer, At(i * 1000));
    wheel.Cancel(timer);
  }
  EXPECT_EQ(Inspector::Nodes(wheel), 0U);
  Inspector::Check(wheel);
}

TEST(TimerWheel, AStepIsBoundedWhateverIsDue) {
  TimerWheel wheel;
  std::deque<TestTimer> timers(10'000);
  for (Timer& timer : timers) wheel.Arm(timer, At(kSecond));
  std::array<FiredTimer, kBatch> fired;
  size_t total = 0;
  while (wheel.soonest() <= At(2 * kSecond)) {
    const uint64_t before = Inspector::LookedAt(wheel);
    const size_t count = wheel.PopDue(At(2 * kSecond), fired);
    EXPECT_LE(Inspector::LookedAt(wheel) - before, kBatch + Inspector::kLeafMax);
    EXPECT_EQ(count, std::min(kBatch, timers.size() - total));
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(fired[i].timer, &timers[total + i]) << "in order";
    total += count;
  }
  EXPECT_EQ(total, timers.size());
}

// How many timers are armed far ahead. Ten million take 400 MB and some seconds for each test,
// which is for a run by hand: WAITD_TEST_TIMERS=10000000.
size_t ManyTimers() {
  const char* const many = std::getenv("WAITD_TEST_TIMERS");
  return many != nullptr ? std::stoul(many) : 1'000'000;
}

// Many timers beside a few probes. Each call's work is compared to its bound, whatever is armed.
class TimerWheelBound : public testing::Test {
 protected:
  void Arm(Timer& timer, int64_t when) {
    const uint64_t before = Inspector::LookedAt(wheel_);
    wheel_.Arm(timer, At(when));
    ASSERT_LE(Inspector::LookedAt(wheel_) - before, Inspector::kLeafMax);
  }

  // Time passes to `now`. Until nothing is due, each call must return as much as fits, in order,
  // and look at a bounded number of timers.
  void Pass(int64_t now, size_t calls_max = std::numeric_limits<size_t>::max()) {
    std::array<FiredTimer, kBatch> fired;
    Instant last = Instant::min();
    for (size_t calls = 0; wheel_.soonest() <= At(now) && calls < calls_max; ++calls) {
      const uint64_t before = Inspector::LookedAt(wheel_);
      const size_t count = wheel_.PopDue(At(now), fired);
      ASSERT_LE(Inspector::LookedAt(wheel_) - before, kBatch + Inspector::kLeafMax);
      ASSERT_TRUE(count == kBatch || wheel_.soonest() > At(now)) << "what is due has to wait";
      for (size_t i = 0; i < count; ++i) {
        ASSERT_LE(fired[i].timer->when(), At(now)) << "early";
        ASSERT_GE(fired[i].timer->when(), last) << "out of order";
        last = fired[i].timer->when();
      }
    }
  }

  // One that is due beside no other is what the next call returns, and it is not early.
  void Probe(int64_t now) {
    Pass(now);
    TestTimer probe;
    Arm(probe, now);
    std::array<FiredTimer, kBatch> fired;
    ASSERT_EQ(wheel_.PopDue(At(now - 1), fired), 0U) << "early";
    ASSERT_EQ(wheel_.PopDue(At(now), fired), 1U) << "late";
    ASSERT_EQ(fired[0].timer, &probe);
  }

  std::mt19937_64 random_{1};
  std::deque<TestTimer> timers_{ManyTimers()};
  TimerWheel wheel_;
};

// Goal: nothing happens at a boundary of any level that a due timer could stand behind. Method: for
// each level, all timers move to a boundary of its slots: half to the slots around it, and half
// near it, so close that thousands share an instant. Then time passes across it, in steps and in a
// jump.
TEST_F(TimerWheelBound, HoldsAtTheBoundariesOfEveryLevel) {
  int64_t now = 5 * kSecond;
  for (unsigned level = 1; level * Inspector::kBits < 60; ++level) {
    SCOPED_TRACE(testing::Message() << "level " << level);
    const int64_t slot = int64_t{1} << (level * Inspector::kBits);
    const int64_t boundary = (now / slot + 2) * slot;
    for (Timer& timer : timers_) {
      const auto distance = static_cast<int64_t>(random_() % static_cast<uint64_t>(2 * slot));
      wheel_.Cancel(timer);
      Arm(timer, boundary + (random_() % 2 == 0 ? distance - slot : distance % 1000 - 300));
    }
    for (const int64_t at :
         {-slot, int64_t{-300}, int64_t{-2}, int64_t{-1}, int64_t{0}, int64_t{1}}) {
      now = boundary + at;
      Pass(now, 200);
    }
    Probe(now + 1);
    now = boundary + slot / 2 + 3;
    Pass(now, 200);
    if (HasFatalFailure()) return;
  }
  Inspector::Check(wheel_);
}

// The first that fires after a start, at which the past and the future were armed in any order.
TEST_F(TimerWheelBound, HoldsRightAfterAStart) {
  const int64_t now = 7 * kSecond + 123;
  const int64_t hour = 3600 * kSecond;
  for (Timer& timer : timers_) {
    Arm(timer,
        now + static_cast<int64_t>(random_() % static_cast<uint64_t>(2 * hour)) + 2 - hour / 10);
  }
  Pass(now, 10);
  Probe(now);
  Pass(now + hour);  // a pause of the whole process
  Probe(now + hour);
  EXPECT_GT(wheel_.size(), timers_.size() / 4);
}

// Deadlines a minute ahead, each moved again before it comes, as heartbeats move them: the tree
// goes with them and takes no more memory.
TEST_F(TimerWheelBound, HeartbeatsKeepTheTreeSmall) {
  int64_t now = 5 * kSecond;
  size_t nodes = 0;
  for (int round = 0; round < 5; ++round) {
    for (Timer& timer : timers_) {
      wheel_.Cancel(timer);
      Arm(timer, (now += 20'000) + 60 * kSecond);
    }
    if (round == 1) nodes = Inspector::Nodes(wheel_);
  }
  EXPECT_LE(Inspector::Nodes(wheel_), nodes + nodes / 4);
  EXPECT_LE(nodes, timers_.size() / 8);
  Probe(now);
  Inspector::Check(wheel_);
}

}  // namespace
}  // namespace waitd::core
