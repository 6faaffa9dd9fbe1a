// The machine of one descriptor: sequence numbers and timers (C48 to C51), slots (C3, C4, C11).
#include "core/poll_desc.h"

#include <set>

#include "core/poll_cache.h"
#include "core/shard.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

class PollDescTest : public testing::Test {
 protected:
  PollDescTest() { desc_.Init("a", Kind::kFifo, 1, now_); }

  void Set(Mode mode, Nanos after) {
    Moment m{now_};
    PollDesc::NewDeadline to;
    to.state = Deadline::State::kArmed;
    to.at = now_.mono + after;
    to.wall = now_.wall + after;
    SetDeadlineResult result;
    desc_.SetDeadline(m, mode, to, DeadlineCondition::kAlways, result);
  }
  void Clear(Mode mode) {
    Moment m{now_};
    SetDeadlineResult result;
    desc_.SetDeadline(m, mode, {}, DeadlineCondition::kAlways, result);
  }
  uint32_t Sequence(Side side) const { return desc_.sequence(side); }
  bool Expired(Side side) const {
    return desc_.side(side).deadline.state == Deadline::State::kExpired;
  }
  std::vector<FiredTimer> Pop() {
    std::array<FiredTimer, 16> fired;
    return {fired.begin(), fired.begin() + static_cast<long>(env_.timers.PopDue(now_.mono, fired))};
  }

  Now now_{Instant(hours(1)), WallTime(hours(1000))};
  DescEnv env_;
  PollDesc desc_{env_};
};

TEST_F(PollDescTest, C49_ExtendingKeepsTheEntryAndItsNumber) {
  Set(Mode::kRead, seconds(1));
  const uint32_t number = Sequence(Side::kRead);
  Set(Mode::kRead, seconds(5));
  EXPECT_EQ(Sequence(Side::kRead), number);
  EXPECT_EQ(env_.timers.size(), 1U);
  EXPECT_LE(env_.timers.soonest(), now_.mono + seconds(1)) << "at or before its instant";
  now_.mono += seconds(1);
  const auto fired = Pop();
  ASSERT_EQ(fired.size(), 1U);
  Moment m{now_};
  EXPECT_FALSE(desc_.ReadDeadline(m, fired[0].sequence));
  EXPECT_EQ(env_.counters.stale_timers, 0U) << "moved, neither stale nor counted";
  EXPECT_EQ(env_.timers.size(), 1U);
  EXPECT_EQ(env_.timers.soonest(), now_.mono + seconds(4));
}

TEST_F(PollDescTest, C49_TheNumberChangesWhenTheTimerServesSomethingElse) {
  std::set<uint32_t> numbers = {Sequence(Side::kRead)};
  const auto changed = [&] { return numbers.insert(Sequence(Side::kRead)).second; };
  Set(Mode::kRead, seconds(1));
  EXPECT_TRUE(changed()) << "armed";
  Set(Mode::kRead, milliseconds(1));
  EXPECT_FALSE(changed()) << "shortened: the same timer, moved";
  Set(Mode::kWrite, milliseconds(1));
  EXPECT_TRUE(changed()) << "serves both sides now";
  Set(Mode::kWrite, seconds(9));
  EXPECT_TRUE(changed()) << "serves one side again";
  Clear(Mode::kRead);
  EXPECT_TRUE(changed()) << "cleared";
  Set(Mode::kRead, seconds(1));
  changed();
  now_.mono += seconds(1);
  Moment m{now_};
  desc_.Settle(m);
  EXPECT_TRUE(changed()) << "expired";
  desc_.Evict(m);
  EXPECT_TRUE(changed()) << "closed";
  desc_.Init("b", Kind::kFifo, 2, now_);
  Set(Mode::kRead, seconds(1));
  EXPECT_TRUE(changed()) << "C3: numbers go on in a new life";
}

TEST_F(PollDescTest, C49_AStaleEntryChangesNothingAndIsCounted) {
  Set(Mode::kRead, seconds(1));
  now_.mono += seconds(1);
  const auto fired = Pop();  // on its way
  ASSERT_EQ(fired.size(), 1U);
  Clear(Mode::kRead);
  Set(Mode::kRead, seconds(7));
  Moment m{now_};
  EXPECT_FALSE(desc_.ReadDeadline(m, fired[0].sequence));
  EXPECT_EQ(env_.counters.stale_timers, 1U);
  EXPECT_FALSE(Expired(Side::kRead));
  EXPECT_EQ(env_.timers.size(), 1U);
}

TEST_F(PollDescTest, C49_ShortenedWhileTheEntryIsOnItsWay) {
  Set(Mode::kRead, seconds(1));
  now_.mono += seconds(1);
  const auto fired = Pop();
  Set(Mode::kRead, seconds(5));
  Set(Mode::kRead, seconds(2));
  EXPECT_EQ(env_.timers.size(), 1U);
  Moment m{now_};
  desc_.ReadDeadline(m, fired[0].sequence);
  EXPECT_FALSE(Expired(Side::kRead));
  EXPECT_EQ(env_.timers.size(), 1U);
  EXPECT_EQ(env_.timers.soonest(), now_.mono + seconds(2));
}

TEST_F(PollDescTest, C48_ACombinedTimerInFlightIsDroppedWholeAndNoExpiryIsLost) {
  Set(Mode::kReadWrite, seconds(1));
  now_.mono += seconds(1);
  const auto fired = Pop();
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_TRUE(desc_.ServesBoth());
  Set(Mode::kWrite, seconds(3));  // the sides part while the timer is on its way
  Moment m{now_};
  EXPECT_FALSE(desc_.BothDeadline(m, fired[0].sequence));
  EXPECT_FALSE(Expired(Side::kRead) || Expired(Side::kWrite));
  ASSERT_LE(env_.timers.soonest(), now_.mono) << "the read side has a timer of its own again";
  const auto again = Pop();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_TRUE(desc_.ReadDeadline(m, again[0].sequence));
  EXPECT_TRUE(Expired(Side::kRead));
  now_.mono += seconds(3);
  const auto write = Pop();
  ASSERT_EQ(write.size(), 1U);
  Moment later{now_};
  EXPECT_TRUE(desc_.WriteDeadline(later, write[0].sequence));
  EXPECT_TRUE(Expired(Side::kWrite));
}

TEST_F(PollDescTest, C50_ExpiryIsPublishedBeforeTheWaiterIsLookedForAndHappensOnce) {
  TestWait call;
  SingleWaiter waiter;
  waiter.call = &call;
  waiter.begin = now_.mono;
  waiter.desc = &desc_;
  Moment m{now_};
  const Waiter* holder = nullptr;
  ASSERT_EQ(desc_.Block(m, waiter, true, &holder), PollDesc::Blocked::kParked);
  Set(Mode::kRead, seconds(1));
  now_.mono += seconds(1);
  const uint32_t number = Sequence(Side::kRead);
  Moment first{now_};
  EXPECT_TRUE(desc_.ReadDeadline(first, number));
  EXPECT_EQ(first.ended_first, &waiter);
  EXPECT_FALSE(call.done()) << "its continuation runs outside the lock, by whoever holds it";
  Moment second{now_};
  EXPECT_FALSE(desc_.ReadDeadline(second, number));
  EXPECT_EQ(second.ended_first, nullptr);
}

TEST_F(PollDescTest, ATimerOfIdleTtlOnItsWayCountsInItsOwnLifeOnly) {
  desc_.ArmIdle(seconds(1), now_.mono);
  now_.mono += seconds(1);
  const auto fired = Pop();
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_EQ(fired[0].sequence, fired[0].timer->sequence());
  Moment m{now_};
  desc_.Evict(m);
  EXPECT_NE(fired[0].sequence, fired[0].timer->sequence());
  desc_.Init("b", Kind::kFifo, 2, now_);
  EXPECT_EQ(desc_.idle_ttl(), kForever);
  desc_.ArmIdle(seconds(1), now_.mono);
  now_.mono += seconds(1);
  const auto again = Pop();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].sequence, again[0].timer->sequence());
}

// The timer thread read its clock before the deadline was cleared: what it takes from the wheel is
// not due any more, and must not have been the only timer of the wait.
TEST(MaxWait, ThatCountsAgainEndsTheWaitThoughItsTimerComesLate) {
  Table table({.max_wait = seconds(10)});
  table.Open("a");
  const auto wait = table.Wait({.name = "a"});
  table.In("a", seconds(100));
  table.Pass(seconds(15));
  const Now before = table.now();
  table.Pass(seconds(5));
  table.Clear("a");
  table.poller().RunTimers(before);
  EXPECT_FALSE(wait->done()) << "it is bound from the clear on";
  table.RunTimers();
  ASSERT_TRUE(wait->done());
  const WaitResult& result = std::get<WaitResult>(wait->result());
  EXPECT_EQ(result.outcome, Outcome::kTimedOut);
  EXPECT_EQ(result.cause, TimeoutCause::kMaxWait);
  EXPECT_EQ(result.late, Nanos(0));
}

using PollDescDeathTest = PollDescTest;

TEST_F(PollDescDeathTest, C51_ABrokenInvariantStopsTheProcessInEveryBuild) {
  Moment m{now_};
  EXPECT_DEATH(desc_.ReadDeadline(m, Sequence(Side::kRead)), "a read timer without a deadline");
  EXPECT_DEATH(desc_.Init("b", Kind::kFifo, 2, now_), "a slot is handed out that is in use");
}

TEST(PollCache, C4_SlotsAreRecycledAndNoneIsHandedOutTwice) {
  DescEnv env;
  PollCache<PollDesc> cache;
  std::set<PollDesc*> used;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(used.insert(&cache.Get(env)).second);
  for (PollDesc* desc : used) cache.Put(*desc);
  std::set<PollDesc*> again;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(again.insert(&cache.Get(env)).second);
  EXPECT_EQ(again, used) << "type-stable: the same hundred slots";
  EXPECT_EQ(cache.size(), 100U);
}

TEST(Slots, C11_ASlotIsNotRecycledBeforeItsWaitsHaveTheirOutcome) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  std::vector<std::unique_ptr<TestWait>> waits;
  for (int i = 0; i < 50; ++i) waits.push_back(t.Wait("a"));
  Answered<CloseCall> close;
  t.poller().Close(t.now(), {.name = "a"}, close);
  Ok(t.Open("a", Kind::kFifo));  // in the same slot
  for (const auto& wait : waits) EXPECT_EQ(OutcomeOf(wait), Outcome::kClosed);
  EXPECT_EQ(Ok(t.Get("a")).side[0].waiters, 0U);
}

TEST(Limits, EachAtItsValueAndOneAbove) {
  Poller::Options options;
  options.max_descriptors = 3;
  options.max_waiters = 2;
  Table t(options);
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  EXPECT_EQ(ReasonOf(t.Open("d")), Reason::kLimitDescriptors);
  const OpenOptions open;
  EXPECT_EQ(ReasonOf(t.Ready({.name = "d", .open_if_missing = &open})), Reason::kLimitDescriptors);
  const auto one = t.Wait("a");
  const auto two = t.Poll({{"b"}});
  EXPECT_EQ(ReasonOf(t.Wait("c")->result()), Reason::kLimitWaiters);
  EXPECT_EQ(ReasonOf(t.Poll({{"c"}})->result()), Reason::kLimitWaiters);
  EXPECT_EQ(t.Try("c").outcome, Outcome::kTimedOut) << "a try parks nowhere";
  Ok(t.Ready("c"));
  EXPECT_EQ(OutcomeOf(t.Wait("c")), Outcome::kReady) << "nor does a wait that finds a READY";
  Ok(t.Close("a"));
  const auto three = t.Wait("c");
  EXPECT_FALSE(three->done());
  t.poller().Cancel(t.now(), *three);
  PollArgs args{.targets = {{"c"}, {"x"}, {"y"}}, .open_if_missing = &open};
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kLimitDescriptors);
  EXPECT_EQ(Ok(t.List({})).descriptors.size(), 2U) << "and opened nothing";
  Ok(t.Close("b"));
  Ok(t.Close("c"));
}

TEST(List, PagesInOrderWithPrefixLabelsAndWaiters) {
  Table t;
  std::vector<std::string> names;
  for (int i = 0; i < 250; ++i) {
    names.push_back("p/" + std::to_string(1000 + i));
    Ok(t.Open({.name = names.back(), .options = {.labels = {{"odd", i % 2 == 0 ? "0" : "1"}}}}));
  }
  Ok(t.Open("other"));
  std::vector<std::string> seen;
  std::string after;
  do {
    ListArgs args{.prefix = "p/", .after = after, .page_size = 7};
    const auto page = Ok(t.List(args));
    EXPECT_LE(page.descriptors.size(), 7U);
    for (const auto& each : page.descriptors) seen.push_back(each.name);
    after = page.next_after;
  } while (!after.empty());
  EXPECT_EQ(seen, names);
  EXPECT_EQ(Ok(t.List({.page_size = 1000, .labels = {{"odd", "1"}}})).descriptors.size(), 125U);
  const auto wait = t.Wait("p/1007");
  const auto waiting = Ok(t.List({.waiting_only = true}));
  ASSERT_EQ(waiting.descriptors.size(), 1U);
  EXPECT_EQ(waiting.descriptors[0].name, "p/1007");
  Ok(t.Close("p/1007"));
}

TEST(Drain, RefusesNewWaitsAndEndsTheParkedOnes) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b"));
  std::vector<std::unique_ptr<TestWait>> waits;
  for (int i = 0; i < 600; ++i) waits.push_back(t.Wait("a"));
  const auto poll = t.Poll({{"a"}, {"b"}});
  t.poller().RefuseWaits();
  EXPECT_EQ(ReasonOf(t.Wait("a")->result()), Reason::kDraining);
  EXPECT_EQ(ReasonOf(t.Poll({{"a"}})->result()), Reason::kDraining);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke) << "others go on";
  EXPECT_EQ(OutcomeOf(waits[0]), Outcome::kReady);
  t.poller().EndWaits(t.now());
  for (size_t i = 1; i < waits.size(); ++i) {
    ASSERT_TRUE(waits[i]->done());
    EXPECT_EQ(ReasonOf(waits[i]->result()), Reason::kDraining);
  }
  EXPECT_EQ(ReasonOf(poll->result()), Reason::kDraining);
  EXPECT_EQ(t.poller().waiters(), 0U);
  EXPECT_EQ(t.poller().Count(t.now()).waiters[0], 0U);
}

TEST(Shards, NamesWithTheSameBracesAreKeptTogether) {
  EXPECT_EQ(ShardOf("job/{42}/done"), ShardOf("job/{42}/started"));
  EXPECT_EQ(ShardOf("{42}"), ShardOf("42"));
  std::set<size_t> used;
  for (int i = 0; i < 2000; ++i) used.insert(ShardOf("name/" + std::to_string(i)));
  EXPECT_EQ(used.size(), kShards) << "and others are spread";
}

}  // namespace
}  // namespace waitd::core
