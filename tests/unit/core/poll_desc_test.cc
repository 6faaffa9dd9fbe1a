// The machine of one descriptor: sequence numbers and timers (C48 to C51), slots (C3, C4, C11).
#include "core/poll_desc.h"

#include <set>

#include "core/poll_cache.h"
#include "core/shard.h"
#include "core/step.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

class PollDescTest : public testing::Test {
 protected:
  /// A step that holds no lock: the name here belongs to no shard.
  struct Alone : Step {
    explicit Alone(Poller& poller) : Step(poller) { Lock(0); }
  };

  PollDescTest() { desc_.Init("a", Kind::kFifo, 1, now_); }

  void Set(Mode mode, Nanos after) {
    Alone step(table_.poller());
    NewDeadline to;
    to.state = Deadline::State::kArmed;
    to.at = now_.mono + after;
    to.wall = now_.wall + after;
    SetDeadlineResult result;
    desc_.SetDeadline(step, mode, to, DeadlineCondition::kAlways, result);
  }
  void Clear(Mode mode) {
    Alone step(table_.poller());
    SetDeadlineResult result;
    desc_.SetDeadline(step, mode, {}, DeadlineCondition::kAlways, result);
  }
  uint32_t Sequence(Side side) const { return desc_.sequence(side); }
  bool Expired(Side side) const {
    return desc_.side(side).deadline.state == Deadline::State::kExpired;
  }
  std::vector<FiredTimer> Pop() {
    std::array<FiredTimer, 16> fired;
    return {fired.begin(), fired.begin() + static_cast<long>(env_.timers.PopDue(now_.mono, fired))};
  }

  Table table_;
  Now& now_ = table_.clock().now;
  Budget budget_;
  DescEnv env_{0, seconds(90), budget_, nullptr};
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
  Alone step(table_.poller());
  desc_.DeadlineImpl(step, fired[0].sequence, Mode::kRead);
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
  Alone step(table_.poller());
  desc_.Settle(step);
  EXPECT_TRUE(changed()) << "expired";
  desc_.Evict(step);
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
  Alone step(table_.poller());
  desc_.DeadlineImpl(step, fired[0].sequence, Mode::kRead);
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
  Alone step(table_.poller());
  desc_.DeadlineImpl(step, fired[0].sequence, Mode::kRead);
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
  Alone step(table_.poller());
  desc_.DeadlineImpl(step, fired[0].sequence, Mode::kReadWrite);
  EXPECT_FALSE(Expired(Side::kRead) || Expired(Side::kWrite));
  ASSERT_LE(env_.timers.soonest(), now_.mono) << "the read side has a timer of its own again";
  const auto again = Pop();
  ASSERT_EQ(again.size(), 1U);
  desc_.DeadlineImpl(step, again[0].sequence, Mode::kRead);
  EXPECT_TRUE(Expired(Side::kRead));
  now_.mono += seconds(3);
  const auto write = Pop();
  ASSERT_EQ(write.size(), 1U);
  Alone later(table_.poller());
  desc_.DeadlineImpl(later, write[0].sequence, Mode::kWrite);
  EXPECT_TRUE(Expired(Side::kWrite));
}

TEST(Expiry, C50_IsPublishedBeforeAnybodyHearsOfItAndHappensOnce) {
  struct Looks : TestWait {
    void Done() override {
      TestWait::Done();
      state = Ok(table->Get("a")).side[0].deadline.state;  // outside the lock
    }
    Table* table = nullptr;
    Deadline::State state = Deadline::State::kNone;
  };
  Table table;
  Ok(table.Open("a"));
  Looks wait;
  wait.table = &table;
  table.poller().Wait(table.now().mono, {.name = "a"}, wait);
  Ok(table.In("a", seconds(1)));
  table.Advance(seconds(1));
  EXPECT_EQ(wait.state, Deadline::State::kExpired);
  table.Advance(seconds(1));
  EXPECT_EQ(table.poller().Count().timeouts[0][static_cast<size_t>(TimeoutCause::kDeadline)], 1U);
}

TEST_F(PollDescTest, ATimerOfIdleTtlOnItsWayCountsInItsOwnLifeOnly) {
  desc_.ArmIdle(seconds(1), now_.mono);
  now_.mono += seconds(1);
  const auto fired = Pop();
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_EQ(fired[0].sequence, fired[0].timer->sequence());
  Alone step(table_.poller());
  desc_.Evict(step);
  EXPECT_NE(fired[0].sequence, fired[0].timer->sequence());
  desc_.Init("b", Kind::kFifo, 2, now_);
  EXPECT_EQ(desc_.idle_ttl(), kForever);
  desc_.ArmIdle(seconds(1), now_.mono);
  now_.mono += seconds(1);
  const auto again = Pop();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].sequence, again[0].timer->sequence());
}

TEST(MaxWait, EndsAWaitWithinASecondOfTheClearThatLetsItCountAgain) {
  Table table({.max_wait = seconds(10)});
  table.Open("a");
  const auto wait = table.Wait({.name = "a"});
  table.In("a", seconds(100));
  for (int i = 0; i < 15; ++i) table.Advance(seconds(1));
  table.Clear("a");
  EXPECT_FALSE(wait->done());
  table.Advance(seconds(1));
  EXPECT_EQ(ResultOf(wait).outcome, Outcome::kTimedOut);
  EXPECT_EQ(ResultOf(wait).cause, TimeoutCause::kMaxWait);
}

// More waits are over than one hold ends, and their timers have not run.
class OverdueWaits : public testing::Test {
 protected:
  OverdueWaits() {
    Ok(t.Open("a", Kind::kFifo));
    for (int i = 0; i < 2500; ++i) waits.push_back(t.Wait("a", seconds(1)));
  }

  Table t;
  std::vector<std::unique_ptr<TestWait>> waits;
};

TEST_F(OverdueWaits, ASignalGoesToWhoStandsBehindThem) {
  const auto behind = t.Wait("a");
  t.Pass(seconds(1));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  t.RunTimers();
  for (const auto& wait : waits) ASSERT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(behind), Outcome::kReady);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST_F(OverdueWaits, SoDoesOneThatIsNotRemembered) {
  const auto behind = t.Wait("a");
  t.Pass(seconds(1));
  const auto ready = Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting}));
  t.RunTimers();
  EXPECT_EQ(behind->done(), ready.effect == ReadyEffect::kWoke) << "it was told that it woke";
  EXPECT_EQ(ready.effect, ReadyEffect::kWoke);
  t.poller().Cancel(*behind);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "nothing is remembered";
}

TEST_F(OverdueWaits, ASignalThatWakesNobodyIsRemembered) {
  t.Pass(seconds(1));
  const auto ready = Ok(t.Ready("a"));
  t.RunTimers();
  EXPECT_EQ(ready.woken, 0U);
  EXPECT_EQ(ready.effect, ReadyEffect::kRemembered);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST_F(OverdueWaits, ANewWaitDoesNotOvertakeThoseWhoStandBehindThem) {
  const auto behind = t.Wait("a");
  t.Pass(seconds(1));
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a"}, ready);
  const auto later = t.Wait("a");
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(behind), Outcome::kReady);
  EXPECT_FALSE(later->done());
  t.poller().Cancel(*later);
}

TEST_F(OverdueWaits, NorDoesANewPoll) {
  Ok(t.Open("b"));
  const auto behind = t.Wait("a");
  t.Pass(seconds(1));
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a"}, ready);
  const auto later = t.Poll({{"a"}, {"b"}});
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(behind), Outcome::kReady);
  EXPECT_FALSE(later->done());
  t.poller().Cancel(*later);
}

using PollDescDeathTest = PollDescTest;

TEST_F(PollDescDeathTest, C51_ABrokenInvariantStopsTheProcessInEveryBuild) {
  Alone step(table_.poller());
  EXPECT_DEATH(desc_.DeadlineImpl(step, Sequence(Side::kRead), Mode::kRead),
               "a read timer without a deadline");
  EXPECT_DEATH(desc_.Init("b", Kind::kFifo, 2, now_), "a slot is handed out that is in use");
}

TEST(PollCache, C4_SlotsAreRecycledAndNoneIsHandedOutTwice) {
  Budget budget;
  DescEnv env(0, seconds(90), budget, nullptr);
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
  t.poller().Close(t.now().mono, {.name = "a"}, close);
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
  t.poller().Cancel(*three);
  const PollArgs args{
      .targets = {{"c"}, {"x"}, {"y"}}, .timeout = Nanos(0), .open_if_missing = &open};
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
  while (t.poller().EndWaits()) {
  }
  for (size_t i = 1; i < waits.size(); ++i) {
    ASSERT_TRUE(waits[i]->done());
    EXPECT_EQ(ReasonOf(waits[i]->result()), Reason::kDraining);
  }
  EXPECT_EQ(ReasonOf(poll->result()), Reason::kDraining);
  EXPECT_EQ(t.poller().waiters(), 0U);
  EXPECT_EQ(t.poller().Count().waiters[0], 0U);
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
