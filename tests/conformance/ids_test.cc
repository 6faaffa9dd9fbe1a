// Ids, and what comes back of what never arrived, through the core.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/recovery.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

class Ids : public testing::Test {
 protected:
  Ids() { Ok(t.Open("a")); }

  Table t{{.unwritten_for = Nanos(0)}};
};

TEST_F(Ids, C66_ALaterCallTakesTheParkedWaitOver) {
  const auto first = t.Wait(WaitAs("w1"));
  t.Advance(seconds(1));
  const auto second = t.Wait(WaitAs("w1", "a", seconds(1)));
  EXPECT_EQ(RefusedAs(first), Reason::kTakenOver);
  EXPECT_FALSE(second->done());
  EXPECT_EQ(t.poller().waiters(), 1U);
  t.poller().Cancel(*first);
  t.poller().Abandon(*first);
  EXPECT_FALSE(second->done()) << "the former call's end touches nothing";
  Ok(t.Ready("a", Mode::kRead, "x"));
  EXPECT_EQ(*ResultOf(second).signal, "x");
  EXPECT_EQ(ResultOf(second).parked, seconds(1)) << "it is the same wait";
}

TEST_F(Ids, C66_TheInstantStays) {
  WaitArgs args = WaitAs("w1");
  args.timeout = seconds(5);
  const auto first = t.Wait(args);
  t.Advance(seconds(3));
  args.timeout = seconds(50);
  const auto second = t.Wait(args);
  t.Advance(seconds(2) - Nanos(1));
  EXPECT_FALSE(second->done());
  t.Advance(Nanos(1));
  EXPECT_EQ(OutcomeOf(second), Outcome::kTimedOut);
}

TEST_F(Ids, C66_ThePlaceInTheQueueStays) {
  Ok(t.Open("q", Kind::kFifo));
  const auto first = t.Wait(WaitAs("w1", "q"));
  const auto other = t.Wait(WaitAs("w2", "q"));
  const auto again = t.Wait(WaitAs("w1", "q"));
  Ok(t.Ready("q"));
  EXPECT_EQ(OutcomeOf(again), Outcome::kReady);
  EXPECT_FALSE(other->done());
}

TEST_F(Ids, C66_ATimeoutThatIsDueIsTheOutcomeOfTheRetry) {
  WaitArgs args = WaitAs("w1");
  args.timeout = seconds(5);
  const auto first = t.Wait(args);
  t.Pass(seconds(6));  // its timer has not run yet
  const auto second = t.Wait(args);
  EXPECT_EQ(OutcomeOf(first), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(second), Outcome::kTimedOut);
}

TEST_F(Ids, C66_APollIsTakenOver) {
  Ok(t.Open("b"));
  const PollArgs args{.targets = {{.name = "a"}, {.name = "b"}}, .retry = {.id = "p"}};
  const auto first = t.Poll(args);
  const auto second = t.Poll(args);
  EXPECT_TRUE(first->done());
  EXPECT_EQ(ReasonOf(first->result()), Reason::kTakenOver);
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(second), Outcome::kReady);
  const auto third = t.Poll(args);
  EXPECT_EQ(OutcomeOf(third), Outcome::kReady);
  EXPECT_EQ(std::get<PollResult>(third->result()).targets[0].index, 1U);
  EXPECT_EQ(t.Try("b").outcome, Outcome::kTimedOut) << "the READY was used once";
}

TEST_F(Ids, C67_TheSameIdGetsTheSameOutcome) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto first = t.Wait(WaitAs("w1"));
  const auto again = t.Wait(WaitAs("w1"));
  EXPECT_EQ(ResultOf(first).delivery, ResultOf(again).delivery);
  EXPECT_EQ(*ResultOf(again).signal, "x");
  EXPECT_EQ(t.poller().waiters(), 0U);
  Ok(t.Close("a"));
  EXPECT_EQ(*ResultOf(t.Wait(WaitAs("w1"))).signal, "x") << "after Close";
  Ok(t.Open("a"));
  EXPECT_EQ(*ResultOf(t.Wait(WaitAs("w1"))).signal, "x") << "in a new life";
  EXPECT_EQ(OutcomeOf(t.Wait(WaitAs("w1"))), Outcome::kReady);
}

TEST_F(Ids, C67_AfterACancelItWaitsAnew) {
  const auto first = t.Wait(WaitAs("w1"));
  t.poller().Cancel(*first);
  EXPECT_EQ(OutcomeOf(first), Outcome::kCancelled);
  const auto second = t.Wait(WaitAs("w1"));
  EXPECT_FALSE(second->done());
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(second), Outcome::kReady);
}

TEST_F(Ids, C67_OtherContentIsRefused) {
  const auto parked = t.Wait(WaitAs("w1"));
  WaitArgs other = WaitAs("w1");
  other.ignore_deadline = true;
  EXPECT_EQ(RefusedAs(t.Wait(other)), Reason::kIdReused);
  EXPECT_FALSE(parked->done());
  Ok(t.Ready({.name = "a", .signal = Bytes("x"), .retry = {.id = "r1"}}));
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .signal = Bytes("y"), .retry = {.id = "r1"}})),
            Reason::kIdReused);
  EXPECT_EQ(ReasonOf(t.SetDeadline({.name = "a", .retry = {.id = "r1"}})), Reason::kIdReused);
}

TEST_F(Ids, C67_IdsOfOtherNamesAreOthers) {
  Ok(t.Open("b"));
  Ok(t.Ready("a"));
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(t.Wait(WaitAs("w1", "a"))), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(t.Wait(WaitAs("w1", "b"))), Outcome::kReady);
  EXPECT_EQ(t.Try("b").outcome, Outcome::kTimedOut);
}

TEST_F(Ids, C68_ALimitCountsFromTheFirstAttempt) {
  WaitArgs args = WaitAs("w1", "a", seconds(4));
  args.timeout = seconds(10);
  const auto wait = t.Wait(args);
  t.Advance(seconds(6) - Nanos(1));
  EXPECT_FALSE(wait->done());
  t.Advance(Nanos(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
}

TEST(IdMemory, C69_AnIdFromBeforeWhatIsRememberedIsUnknown) {
  Table t({.retention = seconds(60)});
  Ok(t.Open("a"));
  EXPECT_EQ(RefusedAs(t.Wait(WaitAs("w1", "a", seconds(60) + Nanos(1)))), Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .retry = {"r1", seconds(60) + Nanos(1)}})),
            Reason::kOutcomeUnknown);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "nothing happened";
  Ok(t.Ready({.name = "a", .retry = {"r1", seconds(60)}}));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(IdMemory, C69_AServerKnowsNoFirstAttemptFromBeforeItBegan) {
  Table t;
  Recovery(t.poller()).Finish(true);
  Ok(t.Open("a"));
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .retry = {"r1", Nanos(1)}})), Reason::kOutcomeUnknown);
  t.Advance(seconds(1));
  Ok(t.Ready({.name = "a", .retry = {"r1", seconds(1)}}));
}

TEST(IdMemory, C69_NoIdIsForgottenWhileItsRetryIsAccepted) {
  Table t({.retention = seconds(60)});
  Ok(t.Open("a"));
  Ok(t.Ready({.name = "a", .retry = {.id = "r1"}}));
  for (int second = 1; second <= 80; ++second) {
    t.Advance(seconds(1));
    const auto again = t.Ready({.name = "a", .retry = {"r1", seconds(second)}});
    if (const auto* const refusal = std::get_if<Refusal>(&again)) {
      EXPECT_EQ(refusal->reason, Reason::kOutcomeUnknown);
      EXPECT_GT(second, 60);
    } else {
      EXPECT_EQ(std::get<ReadyResult>(again).effect, ReadyEffect::kRemembered)
          << "the first answer";
    }
  }
  EXPECT_EQ(Count(t).outcomes, 0U);
}

TEST(IdMemory, C69_AnAnswerThatComesWhileAnotherIsBeingForgottenIsKept) {
  Table t({.retention = seconds(1)});
  Ok(t.Open("a"));
  Ok(t.Ready({.name = "a", .retry = {"r1"}}));
  Ok(t.Reset("a"));
  // Both timers are due in one round: the wait's end is remembered, then the Ready is forgotten.
  const Nanos kept = seconds(6);
  const auto wait = t.Wait({.name = "a", .timeout = kept - milliseconds(1), .retry = {"w1"}});
  t.Advance(kept);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(t.poller().Count().outcomes, 1U);
  t.Advance(kept);
  EXPECT_EQ(t.poller().Count().outcomes, 0U);
}

TEST(IdMemory, C69_TheBoundForgetsTheOldestAndTheirRetriesAreRefused) {
  Table t({.max_outcomes = 3});
  Ok(t.Open("a"));
  const std::vector<std::string> ids = {"r0", "r1", "r2", "r3", "r4"};
  for (const std::string& id : ids) {
    Ok(t.Ready({.name = "a", .retry = {.id = id}}));
    t.Advance(seconds(1));
  }
  EXPECT_EQ(Count(t).outcomes, 3U);
  EXPECT_EQ(Count(t).outcomes_dropped, 2U);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto ago = seconds(5 - static_cast<int>(i));
    const auto again = t.Ready({.name = "a", .retry = {ids[i], ago}});
    if (i < 2) {
      EXPECT_EQ(ReasonOf(again), Reason::kOutcomeUnknown) << i;
    } else {
      EXPECT_TRUE(std::holds_alternative<ReadyResult>(again)) << i;
    }
  }
  // A retry may have been under way for longer than its first attempt, and so seem younger.
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .retry = {ids[1], seconds(1)}})),
            Reason::kOutcomeUnknown);
}

TEST_F(Ids, C70_ARepeatedReadyIsOne) {
  const ReadyArgs args{.name = "a", .signal = Bytes("x"), .retry = {.id = "r1"}};
  EXPECT_EQ(Ok(t.Ready(args)).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(Ok(t.Ready(args)).effect, ReadyEffect::kRemembered) << "the first answer";
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(Ok(t.Ready(args)).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "others have used it up";
}

// Keeps the lock of its target as long as somebody looks at it there.
class Blocking final : public Parked<PollCall> {
 public:
  std::string_view client() const override {
    inside = true;
    while (!go) std::this_thread::yield();
    return "x";
  }
  mutable std::atomic<bool> inside{false};
  std::atomic<bool> go{false};
};

// Whoever comes in between, while a Ready has let its lock go to take those of a poll.
TEST(IdsOfPolls, C70_TwoReadysOfOneIdAtOnceAreOne) {
  const ManualClock clock;
  const Instant now = clock.now.mono;
  Poller poller({}, clock, nullptr, [](Instant) {});
  int i = 0;
  while (ShardOf("x" + std::to_string(i)) >= ShardOf("a")) ++i;
  const std::string low = "x" + std::to_string(i);
  const OpenOptions any;
  Blocking poll;
  poller.Poll(now, {.targets = {{"a"}, {low}}, .need = 2, .open_if_missing = &any}, poll);
  std::thread get([&] {
    Answered<GetCall> call;
    poller.Get({low}, call);
  });
  while (!poll.inside) std::this_thread::yield();
  Answered<ReadyCall> one, two;
  std::thread t1([&] { poller.Ready(now, {.name = "a", .retry = {"r"}}, one); });
  std::thread t2([&] { poller.Ready(now, {.name = "a", .retry = {"r"}}, two); });
  std::this_thread::sleep_for(milliseconds(100));
  poll.go = true;
  t1.join();
  t2.join();
  get.join();
  EXPECT_EQ(Ok(one.result()).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(Ok(two.result()).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(poller.Count().outcomes, 1U);
}

TEST_F(Ids, C70_SetDeadlineResetOpenAndCloseToo) {
  const SetDeadlineArgs in{.name = "a",
                           .what = SetDeadlineArgs::What::kTimeout,
                           .timeout = seconds(5),
                           .retry = {.id = "d1"}};
  EXPECT_EQ(Ok(t.SetDeadline(in)).effect[0], DeadlineEffect::kArmed);
  Ok(t.Clear("a"));
  EXPECT_EQ(Ok(t.SetDeadline(in)).effect[0], DeadlineEffect::kArmed) << "the first answer";
  EXPECT_EQ(Ok(t.Get("a")).side[0].deadline.state, Deadline::State::kNone);
  Ok(t.Ready("a"));
  EXPECT_TRUE(Ok(t.Reset({.name = "a", .retry = {.id = "s1"}})).forgot);
  Ok(t.Ready("a"));
  EXPECT_TRUE(Ok(t.Reset({.name = "a", .retry = {.id = "s1"}})).forgot);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady) << "the later one stays";
  const OpenArgs open{.name = "b", .must_create = true, .retry = {.id = "o1"}};
  const uint64_t generation = Ok(t.Open(open)).descriptor.generation;
  EXPECT_EQ(Ok(t.Open(open)).descriptor.generation, generation);
  EXPECT_TRUE(Ok(t.Open(open)).created);
  Ok(t.Close({.name = "b", .retry = {.id = "c1"}}));
  Ok(t.Open("b"));
  Ok(t.Close({.name = "b", .retry = {.id = "c1"}}));
  EXPECT_NE(Ok(t.Get("b")).generation, generation) << "the new life stays";
}

TEST_F(Ids, C70_ARefusedCallWasNoCall) {
  EXPECT_EQ(ReasonOf(t.Ready({.name = "b", .retry = {.id = "r1"}})), Reason::kNoDescriptor);
  Ok(t.Open("b"));
  EXPECT_EQ(Ok(t.Ready({.name = "b", .retry = {.id = "r1"}})).effect, ReadyEffect::kRemembered);
}

TEST_F(Ids, C71_AnAnswerNeverWrittenGivesItsReadyBackInFront) {
  Ok(t.Ready("a", Mode::kRead, "first"));
  const auto wait = t.Wait("a");
  Ok(t.Ready("a", Mode::kRead, "second"));
  t.poller().Unwritten(*wait, seconds(30));
  EXPECT_EQ(Count(t).returned, 1U);
  const WaitResult first = t.Try("a");
  EXPECT_EQ(*first.signal, "first");
  EXPECT_EQ(first.attempt, 1U) << "nobody had it";
  EXPECT_EQ(*t.Try("a").signal, "second");
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST_F(Ids, C71_WhatComesBackWakesWhoWaits) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto lost = t.Wait("a");
  const auto next = t.Wait("a");
  t.poller().Unwritten(*lost, seconds(30));
  EXPECT_EQ(*ResultOf(next).signal, "x");
}

TEST_F(Ids, C71_NothingComesBackToANewLife) {
  Ok(t.Ready("a"));
  const auto lost = t.Wait("a");
  Ok(t.Close("a"));
  Ok(t.Open("a"));
  t.poller().Unwritten(*lost, seconds(30));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST_F(Ids, C71_ALatchGivesNothingBack) {
  Ok(t.Open("l", Kind::kLatch));
  Ok(t.Ready("l"));
  const auto lost = t.Wait("l");
  Ok(t.Reset("l"));
  t.poller().Unwritten(*lost, seconds(30));
  EXPECT_EQ(t.Try("l").outcome, Outcome::kTimedOut);
}

TEST_F(Ids, C71_AReadyThatComesBackMayCompleteAPoll) {
  Ok(t.Open("b"));
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto lost = t.Wait("a");
  const auto poll = t.Poll({{.name = "a"}, {.name = "b"}}, 2);
  Ok(t.Ready("b"));
  EXPECT_FALSE(poll->done());
  t.poller().Unwritten(*lost, seconds(30));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
}

TEST_F(Ids, C75a_AWaitWithAnIdOutlivesItsCallForLinger) {
  const auto gone = t.Wait(WaitAs("w1"));
  t.poller().Abandon(*gone);
  EXPECT_EQ(OutcomeOf(gone), Outcome::kCancelled);
  EXPECT_EQ(t.poller().waiters(), 1U);
  EXPECT_FALSE(Ok(t.Get("a")).side[0].waiter_details[0].connected);
  EXPECT_EQ(RefusedAs(t.Wait("a")), Reason::kDoubleWait);
  t.Advance(seconds(30) - Nanos(1));
  EXPECT_EQ(t.poller().waiters(), 1U);
  t.Advance(Nanos(1));
  EXPECT_EQ(t.poller().waiters(), 0U);
  Ok(t.Ready("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady) << "no READY was spent";
}

TEST_F(Ids, C75a_WithoutAnIdItLeavesAtOnce) {
  const auto gone = t.Wait("a");
  t.poller().Abandon(*gone);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

TEST_F(Ids, C75a_ATakeOverEndsTheLinger) {
  const auto gone = t.Wait(WaitAs("w1"));
  t.poller().Abandon(*gone);
  t.Advance(seconds(20));
  const auto back = t.Wait(WaitAs("w1", "a", seconds(20)));
  t.Advance(hours(1));
  EXPECT_FALSE(back->done());
  EXPECT_TRUE(Ok(t.Get("a")).side[0].waiter_details[0].connected);
  Ok(t.Ready("a", Mode::kRead, "x"));
  EXPECT_EQ(*ResultOf(back).signal, "x");
}

TEST_F(Ids, C75a_AReadyDecidedMeanwhileIsThereForTheId) {
  const auto gone = t.Wait(WaitAs("w1"));
  t.poller().Abandon(*gone);
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "x")).effect, ReadyEffect::kWoke);
  t.Advance(seconds(29));
  EXPECT_EQ(*ResultOf(t.Wait(WaitAs("w1", "a", seconds(29)))).signal, "x");
  t.Advance(seconds(60));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "somebody came: it is spent";
}

TEST_F(Ids, C75a_AndGoesBackInFrontWhenNobodyComes) {
  const auto gone = t.Wait(WaitAs("w1"));
  t.poller().Abandon(*gone);
  Ok(t.Ready("a", Mode::kRead, "x"));
  Ok(t.Ready("a", Mode::kRead, "y"));
  t.Advance(seconds(30));
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(*t.Try("a").signal, "y");
  const auto anew = t.Wait(WaitAs("w1"));
  EXPECT_FALSE(anew->done()) << "as if cancelled";
}

TEST_F(Ids, C75a_AnAnswerNeverWrittenLingersForItsId) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto lost = t.Wait(WaitAs("w1"));
  t.poller().Unwritten(*lost, seconds(30));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  const auto again = t.Wait(WaitAs("w1"));
  EXPECT_EQ(*ResultOf(again).signal, "x");
  t.poller().Unwritten(*again, seconds(30));
  t.Advance(seconds(30));
  EXPECT_EQ(*t.Try("a").signal, "x");
}

TEST_F(Ids, C75a_NothingGoesBackThatOneOfTwoCallsWasWritten) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto first = t.Wait(WaitAs("w1"));
  const auto second = t.Wait(WaitAs("w1"));
  t.poller().Unwritten(*first, seconds(30));
  t.Advance(seconds(60));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "the second has it";
  t.poller().Unwritten(*second, seconds(30));
  t.Advance(seconds(30));
  EXPECT_EQ(*t.Try("a").signal, "x") << "now nobody has";
}

// Makes room by forgetting the oldest outcome.
void ForgetOne(Table& t, std::string_view name, std::string_view id = "r") {
  Ok(t.Ready({.name = name, .condition = ReadyCondition::kWaiting, .retry = {.id = id}}));
}

TEST(IdMemory, C71_WhatAnotherCallHasDoesNotGoBackThoughItIsForgotten) {
  Table t({.max_outcomes = 1});
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto w = t.Wait(WaitAs("w1"));
  const auto w2 = t.Wait(WaitAs("w1"));
  EXPECT_EQ(OutcomeOf(w2), Outcome::kReady);
  ForgetOne(t, "a", "r");
  t.poller().Unwritten(*w, Nanos(0));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(IdMemory, C71_WhatNoneOfTwoCallsWasWrittenGoesBackOnce) {
  Table t({.max_outcomes = 1});
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto w = t.Wait(WaitAs("w1"));
  const auto w2 = t.Wait(WaitAs("w1"));
  ForgetOne(t, "a", "r");
  t.poller().Unwritten(*w, Nanos(0));
  t.poller().Unwritten(*w2, Nanos(0));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(IdMemory, C71_WhatIsForgottenBeforeItIsWrittenGoesBack) {
  Table t({.max_outcomes = 1});
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto w = t.Wait(WaitAs("w1"));
  ForgetOne(t, "a", "r");
  t.poller().Unwritten(*w, Nanos(0));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST_F(Ids, C75a_APollLingersToo) {
  Ok(t.Open("b"));
  const PollArgs args{.targets = {{.name = "a"}, {.name = "b"}}, .need = 2, .retry = {.id = "p"}};
  const auto gone = t.Poll(args);
  t.poller().Abandon(*gone);
  EXPECT_EQ(OutcomeOf(gone), Outcome::kCancelled);
  Ok(t.Ready("a", Mode::kRead, "x"));
  Ok(t.Ready("b", Mode::kRead, "y"));
  t.Advance(seconds(30));
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(*t.Try("b").signal, "y");
  const auto left = t.Poll(args);
  t.poller().Abandon(*left);
  t.Advance(seconds(30));
  EXPECT_EQ(t.poller().waiters(), 0U);
}

// An idle_ttl shorter than linger, which is 30 s.
OpenOptions Brief() {
  OpenOptions options;
  options.idle_ttl = seconds(10);
  return options;
}

// The name stays for as long as the READY is kept for its wait, which is until `kept`, and goes
// afterwards.
void ExpectStands(Table& t, const std::string& name, Nanos kept) {
  for (; kept > Nanos(0); kept -= seconds(1)) t.Advance(seconds(1));
  EXPECT_EQ(*t.Try(name).signal, "x");
  t.Advance(seconds(10));
  EXPECT_EQ(ReasonOf(t.Get(name)), Reason::kNoDescriptor);
}

TEST_F(Ids, C76_IdleTtlDoesNotRunWhileAReadyIsKeptForWhoMayCome) {
  Ok(t.Open({.name = "i", .options = Brief()}));
  const auto gone = t.Wait(WaitAs("w1", "i"));
  t.poller().Abandon(*gone);
  Ok(t.Ready("i", Mode::kRead, "x"));
  ExpectStands(t, "i", seconds(31));
}

TEST_F(Ids, C76_NorWhileAnAnswerThatWasNeverWrittenIs) {
  Ok(t.Open({.name = "i", .options = Brief()}));
  Ok(t.Ready("i", Mode::kRead, "x"));
  const auto lost = t.Wait(WaitAs("w1", "i"));
  t.poller().Unwritten(*lost, seconds(30));
  ExpectStands(t, "i", seconds(31));
}

TEST_F(Ids, C76_ItRunsWhenSomebodyCame) {
  Ok(t.Open({.name = "i", .options = Brief()}));
  const auto gone = t.Wait(WaitAs("w1", "i"));
  t.poller().Abandon(*gone);
  Ok(t.Ready("i", Mode::kRead, "x"));
  t.Advance(seconds(20));
  EXPECT_EQ(*ResultOf(t.Wait(WaitAs("w1", "i", seconds(20)))).signal, "x");
  t.Advance(seconds(9));
  Ok(t.Get("i"));
  t.Advance(seconds(10));
  EXPECT_EQ(ReasonOf(t.Get("i")), Reason::kNoDescriptor);
}

TEST_F(Ids, C76_TheSameOfAPollsReadys) {
  const auto [first, other] = Apart();
  Ok(t.Close(first));
  for (const std::string& name : {first, other}) Ok(t.Open({.name = name, .options = Brief()}));
  const auto gone =
      t.Poll({.targets = {{.name = first}, {.name = other}}, .need = 2, .retry = {.id = "p"}});
  t.poller().Abandon(*gone);
  Ok(t.Ready(first, Mode::kRead, "x"));
  Ok(t.Ready(other, Mode::kRead, "x"));
  t.Advance(seconds(11));
  Ok(t.Get(first));
  ExpectStands(t, other, seconds(20));
}

}  // namespace
}  // namespace waitd::core
