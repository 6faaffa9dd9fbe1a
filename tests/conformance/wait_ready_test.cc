// Conformance C13 to C34 and C44a, through the core with a manual clock.
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

TEST(Order, C13_AnExpiredDeadlineGoesBeforeReadyWhichStays) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "kept"));
  Ok(t.In("a", seconds(-1)));
  const auto wait = t.Wait("a");
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(std::get<WaitResult>(wait->result()).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(Ok(t.Get("a")).side[0].state, SemaphoreState::kReady);
}

TEST(Order, C13_AnOpenLatchIsOpenWhateverItsDeadline) {
  Table t;
  Ok(t.Open("a", Kind::kLatch));
  Ok(t.In("a", Nanos(0)));
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kTimedOut);
  const auto ready = Ok(t.Ready("a"));
  EXPECT_EQ(ready.effect, ReadyEffect::kRemembered);
  EXPECT_TRUE(ready.expired);
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kReady);
}

TEST(Order, C14_AfterTheDeadlineMovesTheNextWaitGetsThatReadyOnce) {
  Table t;
  for (const bool clear : {true, false}) {
    Ok(t.Open("a"));
    Ok(t.In("a", Nanos(0)));
    Ok(t.Ready("a", Mode::kRead, "kept"));
    EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kTimedOut);
    Ok(clear ? t.Clear("a") : t.In("a", hours(1)));
    const auto wait = t.Wait("a");
    EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
    EXPECT_EQ(*std::get<WaitResult>(wait->result()).signal, "kept");
    const auto next = t.Wait("a");
    EXPECT_FALSE(next->done());
    Ok(t.Close("a"));
  }
}

TEST(Order, C15_OneSideExpiredLeavesTheOther) {
  Table t;
  for (const Side expired : kSides) {
    const Side other = expired == Side::kRead ? Side::kWrite : Side::kRead;
    Ok(t.Open("a"));
    const auto wait = t.Wait("a", other);
    Ok(t.In("a", Nanos(0), expired == Side::kRead ? Mode::kRead : Mode::kWrite));
    EXPECT_EQ(OutcomeOf(t.Wait("a", expired)), Outcome::kTimedOut);
    EXPECT_FALSE(wait->done());
    Ok(t.Close("a"));
  }
}

TEST(Settle, C16_AWaitNeverParksPastItsSidesInstant) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(1)));
  t.Pass(seconds(1));  // no timer has run
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kTimedOut);
}

TEST(Settle, C16_ReadyAtTheInstantFindsTheSideExpired) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  Ok(t.In("a", seconds(1)));
  t.Pass(seconds(1));
  const auto ready = Ok(t.Ready("a"));
  EXPECT_EQ(ready.effect, ReadyEffect::kRemembered);
  EXPECT_TRUE(ready.expired);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(ReasonOf(t.SetDeadline({.name = "a",
                                    .what = SetDeadlineArgs::What::kTimeout,
                                    .timeout = Nanos(0),
                                    .condition = DeadlineCondition::kArmOrExtend})),
            Reason::kBadTime);
  EXPECT_FALSE(Ok(t.In("a", hours(1), Mode::kRead, DeadlineCondition::kOnlyLater)).applied);
  EXPECT_FALSE(Ok(t.Reset("a")).reset);
}

TEST(Settle, C16_AWaitsOwnInstantGoesFirstWhereItCameFirst) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const auto early = t.Wait("a", seconds(1));
  const auto tied = t.Wait("a", seconds(2));
  const auto late = t.Wait("a", seconds(3));
  Ok(t.In("a", seconds(2)));
  t.Pass(seconds(5));
  Ok(t.Ready("a"));
  EXPECT_EQ(std::get<WaitResult>(early->result()).cause, TimeoutCause::kWait);
  EXPECT_EQ(std::get<WaitResult>(early->result()).late, seconds(4));
  EXPECT_EQ(std::get<WaitResult>(tied->result()).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(std::get<WaitResult>(late->result()).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(std::get<WaitResult>(late->result()).late, seconds(3));
}

TEST(Settle, C16_AReadyPassesByAWaitWhoseOwnTimeIsOver) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const auto over = t.Wait("a", seconds(1));
  const auto next = t.Wait("a");
  t.Pass(seconds(1));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(over), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(next), Outcome::kReady);
}

TEST(Settle, C16_AnExclusiveSideIsFreeWhenItsWaitsTimeIsOver) {
  Table t;
  Ok(t.Open("a"));
  const auto over = t.Wait("a", seconds(1));
  t.Pass(seconds(1));
  const auto next = t.Wait("a");
  EXPECT_EQ(OutcomeOf(over), Outcome::kTimedOut);
  EXPECT_FALSE(next->done());
  Ok(t.Close("a"));
}

TEST(Wait, C17_ParkThenReady) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  t.Pass(milliseconds(30));
  const auto ready = Ok(t.Ready("a"));
  EXPECT_EQ(ready.effect, ReadyEffect::kWoke);
  EXPECT_EQ(ready.woken, 1U);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  EXPECT_EQ(std::get<WaitResult>(wait->result()).parked, milliseconds(30));
  EXPECT_EQ(std::get<WaitResult>(wait->result()).ready_time, t.now().wall);
  EXPECT_EQ(Ok(t.Get("a")).side[0].state, SemaphoreState::kNil);
}

TEST(Wait, C18_ReadyThenWaitAndTheNextOneParks) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kReady);
  const auto next = t.Wait("a");
  EXPECT_FALSE(next->done());
  Ok(t.Close("a"));
}

TEST(Wait, C19_ReadySaturates) {
  Table t;
  Ok(t.Open("a"));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kCoalesced);
  const auto wait = t.Wait("a");
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  EXPECT_EQ(std::get<WaitResult>(wait->result()).coalesced, 5U);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(Wait, C20_ReadyOfBothSidesGivesEachOne) {
  Table t;
  Ok(t.Open("a"));
  const auto read = t.Wait("a", Side::kRead);
  const auto both = Ok(t.Ready("a", Mode::kReadWrite));
  EXPECT_EQ(both.effect, ReadyEffect::kWoke);
  EXPECT_EQ(both.woken, 1U);
  EXPECT_EQ(OutcomeOf(read), Outcome::kReady);
  EXPECT_EQ(t.Try("a", Side::kWrite).outcome, Outcome::kReady);
  Ok(t.Ready("a", Mode::kRead));
  EXPECT_EQ(t.Try("a", Side::kWrite).outcome, Outcome::kTimedOut);
  EXPECT_EQ(Ok(t.Ready("a", Mode::kReadWrite)).effect, ReadyEffect::kRemembered);
}

TEST(Wait, C21_TwoReadysOneParkedWait) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "first")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "second")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(*std::get<WaitResult>(wait->result()).signal, "first");
  EXPECT_EQ(*t.Try("a").signal, "second");
}

TEST(Wait, C23_ASecondWaitOnAnExclusiveSideIsRefused) {
  Table t;
  Ok(t.Open("a"));
  TestWait first("10.0.0.1:5");
  t.poller().Wait(t.now().mono, {.name = "a"}, first);
  const WallTime began = t.now().wall;
  t.Pass(seconds(3));
  const auto second = t.Wait("a");
  ASSERT_TRUE(second->done());
  const Refusal& refusal = std::get<Refusal>(second->result());
  EXPECT_EQ(refusal.reason, Reason::kDoubleWait);
  EXPECT_EQ(refusal.waiter, "10.0.0.1:5");
  EXPECT_EQ(refusal.waiting_since, began);
  EXPECT_FALSE(first.done());
  const auto write = t.Wait("a", Side::kWrite);
  EXPECT_FALSE(write->done());
  EXPECT_EQ(t.poller().Count().double_waits, 1U);
  Ok(t.Ready("a"));
  EXPECT_TRUE(first.done());
  Ok(t.Close("a"));
}

TEST(Wait, C24_TimeoutsAndCloseNeitherMakeNorUseAReady) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  Ok(t.In("a", seconds(1)));
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  Ok(t.Clear("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  Ok(t.Ready("a"));
  Ok(t.In("a", seconds(1)));
  t.Advance(seconds(1));
  Ok(t.Clear("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(Wait, C26_ACancelledWaitSpendsNoReady) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  t.poller().Cancel(*wait);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kCancelled);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(Wait, C26_ALateCancelTouchesNothing) {
  Table t;
  Ok(t.Open("a"));
  const auto first = t.Wait("a");
  Ok(t.Ready("a"));
  const auto second = t.Wait("a");  // in the slot of the first
  t.poller().Cancel(*first);
  EXPECT_EQ(OutcomeOf(first), Outcome::kReady);
  EXPECT_FALSE(second->done());
  Ok(t.Close("a"));
}

TEST(Wait, C28_ACoalescedReadyCarriesTheNewestPayloadAlsoWhenEmpty) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "old"));
  Ok(t.Ready("a", Mode::kRead, "new"));
  EXPECT_EQ(*t.Try("a").signal, "new");
  Ok(t.Ready("a", Mode::kRead, "old"));
  Ok(t.Ready("a", Mode::kRead));
  const WaitResult result = t.Try("a");
  EXPECT_EQ(result.outcome, Outcome::kReady);
  EXPECT_EQ(result.signal, nullptr);
}

TEST(IgnoreDeadline, C29_ParksOnAnExpiredSideAndOnlyReadyOrCloseEndIt) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", Nanos(0)));
  const auto wait = t.Wait({.name = "a", .ignore_deadline = true});
  EXPECT_FALSE(wait->done());
  Ok(t.In("a", seconds(1)));
  t.Advance(seconds(2));
  EXPECT_FALSE(wait->done());
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  const auto closed = t.Wait({.name = "a", .ignore_deadline = true});
  Ok(t.Close("a"));
  EXPECT_EQ(OutcomeOf(closed), Outcome::kClosed);
}

TEST(IgnoreDeadline, C30_TakesARememberedReadyExpiredOrNot) {
  Table t;
  Ok(t.Open("a"));
  for (const bool expired : {false, true}) {
    Ok(t.Ready("a"));
    if (expired) Ok(t.In("a", Nanos(0)));
    EXPECT_EQ(OutcomeOf(t.Wait({.name = "a", .ignore_deadline = true})), Outcome::kReady);
    const auto next = t.Wait({.name = "a", .ignore_deadline = true});
    EXPECT_FALSE(next->done());
    t.poller().Cancel(*next);
  }
}

TEST(Reset, C31_ForgetsReadyAndNothingElse) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kReadWrite));
  Ok(t.In("a", seconds(9)));
  const auto reset = Ok(t.Reset("a"));
  EXPECT_TRUE(reset.reset);
  EXPECT_TRUE(reset.forgot);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(t.Try("a", Side::kWrite).outcome, Outcome::kReady);
  const auto wait = t.Wait("a");
  t.Advance(seconds(9));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(t.poller().Count().stale_timers, 0U);
}

TEST(Reset, C32_OnAnExpiredSideItLeavesReadyAlone) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a"));
  Ok(t.In("a", Nanos(0)));
  const auto reset = Ok(t.Reset("a"));
  EXPECT_FALSE(reset.reset);
  EXPECT_FALSE(reset.forgot);
  Ok(t.Clear("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(Reset, C33_WithAWaitParkedItChangesNothing) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  const auto reset = Ok(t.Reset("a"));
  EXPECT_TRUE(reset.reset);
  EXPECT_FALSE(reset.forgot);
  EXPECT_FALSE(wait->done());
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}

TEST(Reset, C34_ClosesALatch) {
  Table t;
  Ok(t.Open("a", Kind::kLatch));
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kReady);
  EXPECT_TRUE(Ok(t.Reset("a")).forgot);
  const auto wait = t.Wait("a");
  EXPECT_FALSE(wait->done());
  Ok(t.Ready("a"));
  EXPECT_EQ(std::get<WaitResult>(wait->result()).delivery, 2U) << "a latch counts its openings";
}

TEST(Ready, C44a_ConditionsThatDoNotHoldChangeNothing) {
  Table t;
  Ok(t.Open("a"));
  EXPECT_EQ(Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting})).effect,
            ReadyEffect::kRefused);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  Ok(t.In("a", Nanos(0)));
  EXPECT_EQ(Ok(t.Ready({.name = "a", .condition = ReadyCondition::kNotExpired})).effect,
            ReadyEffect::kRefused);
  EXPECT_EQ(Ok(t.Get("a")).side[0].state, SemaphoreState::kNil);
  const auto kept = Ok(t.Ready("a"));
  EXPECT_EQ(kept.effect, ReadyEffect::kRemembered);
  EXPECT_TRUE(kept.expired);
  Ok(t.Clear("a"));
  EXPECT_FALSE(Ok(t.Ready("a")).expired);
}

TEST(Ready, C44a_ConditionsThatHoldWake) {
  Table t;
  Ok(t.Open("a"));
  auto wait = t.Wait("a");
  EXPECT_EQ(Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting})).effect,
            ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  Ok(t.In("a", seconds(1)));
  wait = t.Wait("a");
  EXPECT_EQ(Ok(t.Ready({.name = "a", .condition = ReadyCondition::kNotExpired})).effect,
            ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}

TEST(Ready, C44a_WaitingOpensNoNameAndLeavesALatchClosed) {
  Table t;
  const OpenOptions open;
  const auto refused =
      Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting, .open_if_missing = &open}));
  EXPECT_EQ(refused.effect, ReadyEffect::kRefused);
  EXPECT_EQ(ReasonOf(t.Get("a")), Reason::kNoDescriptor);
  Ok(t.Open("l", Kind::kLatch));
  const auto one = t.Wait("l");
  const auto two = t.Wait("l");
  EXPECT_EQ(Ok(t.Ready({.name = "l", .condition = ReadyCondition::kWaiting})).woken, 2U);
  EXPECT_EQ(OutcomeOf(one), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(two), Outcome::kReady);
  EXPECT_EQ(t.Try("l").outcome, Outcome::kTimedOut);
}

}  // namespace
}  // namespace waitd::core
