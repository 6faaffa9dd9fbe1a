// Conformance C35 to C55, through the core with a manual clock.
#include <limits>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

using Effect = DeadlineEffect;
using Condition = DeadlineCondition;

SetDeadlineArgs At(std::string_view name, WallTime at, Condition condition = Condition::kAlways) {
  return {.name = name, .what = SetDeadlineArgs::What::kAt, .at = at, .condition = condition};
}

TimeoutCause CauseOf(const std::unique_ptr<TestWait>& wait) {
  return std::get<WaitResult>(wait->result()).cause;
}

TEST(Deadline, C35_AFutureOneBindsAParkedWait) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  EXPECT_EQ(Ok(t.In("a", seconds(1))).effect[0], Effect::kArmed);
  t.Advance(seconds(1) - Nanos(1));
  EXPECT_FALSE(wait->done());
  t.Advance(Nanos(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(CauseOf(wait), TimeoutCause::kDeadline);
  EXPECT_EQ(std::get<WaitResult>(wait->result()).late, Nanos(0));
}

TEST(Deadline, C35_NowOrThePastExpiresAtOnce) {
  for (const Nanos timeout : {Nanos(0), Nanos(-1), Nanos::min()}) {
    Table t;
    Ok(t.Open("a"));
    const auto wait = t.Wait("a");
    const auto set = Ok(t.In("a", timeout));
    EXPECT_EQ(set.effect[0], Effect::kExpired);
    EXPECT_EQ(set.woken, 1U);
    EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
    EXPECT_EQ(std::get<WaitResult>(wait->result()).late, Nanos(0));
  }
  Table t;
  Ok(t.Open("a"));
  EXPECT_EQ(Ok(t.SetDeadline(At("a", t.now().wall))).effect[0], Effect::kExpired);
  Ok(t.Open("b"));
  EXPECT_EQ(Ok(t.SetDeadline(At("b", WallTime::min()))).effect[0], Effect::kExpired);
}

TEST(Deadline, C36_ExpiredIsAState) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(1)));
  t.Advance(hours(5));
  for (int i = 0; i < 3; ++i) {
    const auto wait = t.Wait("a");
    EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
    EXPECT_EQ(std::get<WaitResult>(wait->result()).late, Nanos(0)) << "it had just begun";
    EXPECT_FALSE(Ok(t.Reset("a")).reset);
  }
}

TEST(Deadline, C37_ClearRemovesAnArmedOrAnExpiredOneAndWakesNobody) {
  Table t;
  Ok(t.Open("a"));
  auto wait = t.Wait("a");
  Ok(t.In("a", seconds(1)));
  const auto cleared = Ok(t.Clear("a"));
  EXPECT_EQ(cleared.effect[0], Effect::kCleared);
  EXPECT_EQ(cleared.woken, 0U);
  t.Advance(hours(1));
  EXPECT_FALSE(wait->done());
  Ok(t.In("a", Nanos(0)));
  EXPECT_EQ(Ok(t.Clear("a")).effect[0], Effect::kCleared);
  EXPECT_EQ(Ok(t.Clear("a")).effect[0], Effect::kUnchanged);
  wait = t.Wait("a");
  EXPECT_FALSE(wait->done());
  Ok(t.Close("a"));
}

TEST(Deadline, C38_AFutureOneRevivesAnExpiredSide) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", Nanos(0)));
  EXPECT_EQ(Ok(t.In("a", seconds(1))).effect[0], Effect::kArmed);
  const auto wait = t.Wait("a");
  EXPECT_FALSE(wait->done());
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
}

TEST(Deadline, C39_ExtendingDoesNotWakeAndShorteningTakesEffectAtOnce) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  Ok(t.In("a", seconds(1)));
  EXPECT_EQ(Ok(t.In("a", seconds(5))).effect[0], Effect::kExtended);
  t.Advance(seconds(4));
  EXPECT_FALSE(wait->done());
  Ok(t.In("a", hours(24 * 365)));
  t.alarms().clear();
  EXPECT_EQ(Ok(t.In("a", milliseconds(1))).effect[0], Effect::kShortened);
  ASSERT_EQ(t.alarms().size(), 1U) << "the timer thread sleeps towards a far instant";
  EXPECT_EQ(t.alarms()[0], t.now().mono + milliseconds(1));
  t.Advance(milliseconds(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
}

TEST(Deadline, C40_EachModeTouchesItsOwnSides) {
  Table t;
  Ok(t.Open("a"));
  const auto only_read = Ok(t.In("a", seconds(1), Mode::kRead));
  EXPECT_EQ(only_read.effect[0], Effect::kArmed);
  EXPECT_EQ(only_read.effect[1], Effect::kNone);
  EXPECT_EQ(only_read.deadline[1].state, Deadline::State::kNone);
  const auto only_write = Ok(t.In("a", seconds(2), Mode::kWrite));
  EXPECT_EQ(only_write.deadline[0].at, t.now().mono + seconds(1));
  const auto both = Ok(t.In("a", seconds(3), Mode::kReadWrite));
  EXPECT_EQ(both.deadline[0].at, t.now().mono + seconds(3));
  EXPECT_EQ(both.deadline[1].at, t.now().mono + seconds(3));
}

TEST(Deadline, C41_BeyondTheRangeItNeverComes) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  const auto set = Ok(t.In("a", Nanos::max()));
  EXPECT_EQ(set.effect[0], Effect::kArmed);
  EXPECT_EQ(set.deadline[0].at, kNever);
  t.Advance(hours(24) * 365 * 100);
  EXPECT_FALSE(wait->done() && CauseOf(wait) == TimeoutCause::kDeadline);
  EXPECT_EQ(Ok(t.SetDeadline(At("a", WallTime::max()))).effect[0], Effect::kUnchanged);
}

TEST(Deadline, C42_TheValueItHasReArmsNothing) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(5)));
  EXPECT_EQ(Ok(t.In("a", seconds(5))).effect[0], Effect::kUnchanged);
  const WallTime at = t.now().wall + seconds(9);
  Ok(t.SetDeadline(At("a", at)));
  t.alarms().clear();
  t.Pass(seconds(1));
  t.StepWall(microseconds(3));
  EXPECT_EQ(Ok(t.SetDeadline(At("a", at))).effect[0], Effect::kUnchanged);
  EXPECT_TRUE(t.alarms().empty());
}

TEST(Deadline, C42_AClockStepMovesNoArmedDeadline) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  Ok(t.SetDeadline(At("a", t.now().wall + seconds(5))));
  t.StepWall(hours(1));
  t.RunTimers();
  EXPECT_FALSE(wait->done());
  t.StepWall(-hours(2));
  t.Advance(seconds(5));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
}

// What each condition makes of each change: none (-), armed at 10 s (A), expired (X), to none,
// 5 s, 10 s, 20 s, and now.
struct ConditionCase {
  Condition condition;
  char from;
  int to_seconds;  // -1: clear
  Effect effect;
};

class Conditions : public testing::TestWithParam<ConditionCase> {};

TEST_P(Conditions, C43_ComparesAndSetsInOneStep) {
  const ConditionCase& c = GetParam();
  Table t;
  Ok(t.Open("a"));
  if (c.from == 'A') Ok(t.In("a", seconds(10)));
  if (c.from == 'X') Ok(t.In("a", Nanos(0)));
  const Deadline before = Ok(t.Get("a")).side[0].deadline;
  const auto set =
      Ok(c.to_seconds < 0 ? t.Clear("a", Mode::kRead, c.condition)
                          : t.In("a", seconds(c.to_seconds), Mode::kRead, c.condition));
  EXPECT_EQ(set.effect[0], c.effect);
  EXPECT_EQ(set.applied, c.effect != Effect::kRefused);
  const Deadline after = Ok(t.Get("a")).side[0].deadline;
  if (c.effect == Effect::kRefused || c.effect == Effect::kUnchanged) {
    EXPECT_EQ(after.state, before.state);
    EXPECT_EQ(after.at, before.at);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Conditions,
    testing::Values(ConditionCase{Condition::kOnlyLater, '-', 20, Effect::kRefused},
                    ConditionCase{Condition::kOnlyLater, '-', -1, Effect::kUnchanged},
                    ConditionCase{Condition::kOnlyLater, '-', 0, Effect::kRefused},
                    ConditionCase{Condition::kOnlyLater, 'A', 20, Effect::kExtended},
                    ConditionCase{Condition::kOnlyLater, 'A', 10, Effect::kUnchanged},
                    ConditionCase{Condition::kOnlyLater, 'A', 5, Effect::kRefused},
                    ConditionCase{Condition::kOnlyLater, 'A', -1, Effect::kCleared},
                    ConditionCase{Condition::kOnlyLater, 'A', 0, Effect::kRefused},
                    ConditionCase{Condition::kOnlyLater, 'X', 20, Effect::kRefused},
                    ConditionCase{Condition::kOnlyLater, 'X', -1, Effect::kRefused},
                    ConditionCase{Condition::kOnlyEarlier, '-', 20, Effect::kArmed},
                    ConditionCase{Condition::kOnlyEarlier, '-', -1, Effect::kRefused},
                    ConditionCase{Condition::kOnlyEarlier, '-', 0, Effect::kExpired},
                    ConditionCase{Condition::kOnlyEarlier, 'A', 20, Effect::kRefused},
                    ConditionCase{Condition::kOnlyEarlier, 'A', 5, Effect::kShortened},
                    ConditionCase{Condition::kOnlyEarlier, 'A', -1, Effect::kRefused},
                    ConditionCase{Condition::kOnlyEarlier, 'A', 0, Effect::kExpired},
                    ConditionCase{Condition::kOnlyEarlier, 'X', 20, Effect::kRefused},
                    ConditionCase{Condition::kOnlyEarlier, 'X', 0, Effect::kUnchanged},
                    ConditionCase{Condition::kArmOrExtend, '-', 20, Effect::kArmed},
                    ConditionCase{Condition::kArmOrExtend, 'A', 20, Effect::kExtended},
                    ConditionCase{Condition::kArmOrExtend, 'A', 10, Effect::kUnchanged},
                    ConditionCase{Condition::kArmOrExtend, 'A', 5, Effect::kRefused},
                    ConditionCase{Condition::kArmOrExtend, 'X', 20, Effect::kRefused}));

TEST(Deadline, C43_AHeartbeatNeedsATimeToCome) {
  Table t;
  Ok(t.Open("a"));
  EXPECT_EQ(ReasonOf(t.In("a", Nanos(0), Mode::kRead, Condition::kArmOrExtend)), Reason::kBadTime);
  EXPECT_EQ(ReasonOf(t.In("a", Nanos(-1), Mode::kRead, Condition::kArmOrExtend)), Reason::kBadTime);
  EXPECT_EQ(ReasonOf(t.Clear("a", Mode::kRead, Condition::kArmOrExtend)), Reason::kBadTime);
  EXPECT_EQ(ReasonOf(t.SetDeadline(At("a", t.now().wall, Condition::kArmOrExtend))),
            Reason::kBadTime);
  const auto late = Ok(t.SetDeadline({.name = "a",
                                      .what = SetDeadlineArgs::What::kTimeout,
                                      .timeout = seconds(5),
                                      .condition = Condition::kArmOrExtend,
                                      .retry = {.sent_ago = seconds(6)}}));
  EXPECT_EQ(late.effect[0], Effect::kRefused);
  EXPECT_FALSE(late.applied);
  EXPECT_EQ(Ok(t.Get("a")).side[0].deadline.state, Deadline::State::kNone);
}

TEST(Deadline, C43_EachSideByItself) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(10), Mode::kRead));
  Ok(t.In("a", seconds(30), Mode::kWrite));
  const auto set = Ok(t.In("a", seconds(20), Mode::kReadWrite, Condition::kOnlyLater));
  EXPECT_TRUE(set.applied);
  EXPECT_EQ(set.effect[0], Effect::kExtended);
  EXPECT_EQ(set.effect[1], Effect::kRefused);
  EXPECT_EQ(set.deadline[1].at, t.now().mono + seconds(30));
}

TEST(Deadline, C43_ARefusedConditionOpensNoName) {
  Table t;
  const OpenOptions open;
  const auto set = Ok(t.SetDeadline({.name = "a",
                                     .what = SetDeadlineArgs::What::kTimeout,
                                     .timeout = seconds(1),
                                     .condition = Condition::kOnlyLater,
                                     .open_if_missing = &open}));
  EXPECT_FALSE(set.applied);
  EXPECT_EQ(ReasonOf(t.Get("a")), Reason::kNoDescriptor);
}

TEST(Deadline, C44_TheStickyPastDoesNotLeak) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", Nanos(0), Mode::kWrite));
  Ok(t.In("a", Nanos(0), Mode::kRead));
  EXPECT_EQ(Ok(t.In("a", Nanos(0), Mode::kReadWrite)).effect[0], Effect::kUnchanged);
  Ok(t.Clear("a", Mode::kReadWrite));
  EXPECT_EQ(t.Try("a", Side::kRead).cause, TimeoutCause::kWait);
  EXPECT_EQ(t.Try("a", Side::kWrite).cause, TimeoutCause::kWait);
}

TEST(OneTimer, C45_BothSidesAtOneInstantAreOneTimer) {
  Table t;
  Ok(t.Open("a"));
  const auto read = t.Wait("a", Side::kRead);
  const auto write = t.Wait("a", Side::kWrite);
  Ok(t.In("a", seconds(1), Mode::kReadWrite));
  // Each wait has its max-wait timer besides.
  EXPECT_EQ(t.poller().Count().timers, 3U);
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(read), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(write), Outcome::kTimedOut);
  EXPECT_EQ(t.poller().Count().timers, 0U);
}

TEST(OneTimer, C46_ThenOneSideMoves) {
  for (const int move : {0, 1, 2, 3}) {
    Table t;
    Ok(t.Open("a"));
    const auto read = t.Wait("a", Side::kRead);
    const auto write = t.Wait("a", Side::kWrite);
    Ok(t.In("a", seconds(10), Mode::kReadWrite));
    if (move == 0) Ok(t.In("a", seconds(20), Mode::kWrite));
    if (move == 1) Ok(t.Clear("a", Mode::kRead));
    if (move == 2) Ok(t.Clear("a", Mode::kWrite));
    if (move == 3) Ok(t.In("a", Nanos(0), Mode::kWrite));
    EXPECT_EQ(write->done(), move == 3);
    t.Advance(seconds(10) - Nanos(1));
    EXPECT_FALSE(read->done());
    t.Advance(Nanos(1));
    EXPECT_EQ(read->done(), move != 1) << move;
    EXPECT_EQ(write->done(), move == 1 || move == 3) << move;
    t.Advance(seconds(10));
    EXPECT_EQ(write->done(), move != 2) << move;
    Ok(t.Close("a"));
  }
}

TEST(OneTimer, C47_TwoTimersSetToOneInstantMerge) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(10), Mode::kRead));
  Ok(t.In("a", seconds(20), Mode::kWrite));
  EXPECT_EQ(t.poller().Count().timers, 2U);
  Ok(t.In("a", seconds(30), Mode::kReadWrite));
  EXPECT_EQ(t.poller().Count().timers, 1U);
  Ok(t.In("a", seconds(40), Mode::kWrite));
  EXPECT_EQ(t.poller().Count().timers, 2U);
  Ok(t.In("a", seconds(30), Mode::kWrite));
  EXPECT_EQ(t.poller().Count().timers, 1U);
  t.Advance(seconds(30));
  EXPECT_EQ(t.Try("a", Side::kRead).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(t.Try("a", Side::kWrite).cause, TimeoutCause::kDeadline);
}

TEST(Timers, C52_NeverEarlyNotOneNanosecond) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  std::vector<std::unique_ptr<TestWait>> waits;
  std::vector<Nanos> at;
  for (int i = 0; i < 500; ++i) {
    const Nanos after((i * 7919LL % 500) * 1'000'003 + 1);
    at.push_back(after);
    waits.push_back(t.Wait("a", after));
  }
  Nanos passed{0};
  for (int i = 0; i < 500; ++i) {
    const Nanos next(i * 1'000'003LL + 1);
    t.Advance(next - Nanos(1) - passed);
    passed = next - Nanos(1);
    for (size_t k = 0; k < waits.size(); ++k) ASSERT_EQ(waits[k]->done(), at[k] <= passed);
    t.Advance(Nanos(1));
    passed = next;
    for (size_t k = 0; k < waits.size(); ++k) ASSERT_EQ(waits[k]->done(), at[k] <= passed);
  }
}

TEST(Timers, C53_AMillionOnOneInstantAllExpireAndOthersGetInBetween) {
  constexpr int kMany = 1'000'000;
  Poller::Options options;
  options.max_descriptors = kMany + 1;
  Table t(options);
  for (int i = 0; i < kMany; ++i) {
    const std::string name = "d" + std::to_string(i);
    const OpenOptions open;
    t.SetDeadline({.name = name,
                   .what = SetDeadlineArgs::What::kTimeout,
                   .timeout = seconds(1),
                   .open_if_missing = &open});
  }
  t.Pass(seconds(1));
  int passes = 0;
  while (t.poller().RunTimers() <= t.now().mono) {
    // A pass is bounded, and the side that an operation touches is settled whatever remains.
    if (++passes == 3) {
      EXPECT_EQ(t.Try("d999999").cause, TimeoutCause::kDeadline);
    }
  }
  EXPECT_GT(passes, 100);
  EXPECT_EQ(t.poller().Count().timers, 0U);
  for (int i = 0; i < kMany; i += 9973) {
    EXPECT_EQ(t.Try("d" + std::to_string(i)).cause, TimeoutCause::kDeadline);
  }
}

TEST(Timers, C54_FarApartTheyAreKeptInOrder) {
  Table t;
  const std::vector<Nanos> afters = {Nanos(100), microseconds(1), milliseconds(1),      seconds(1),
                                     hours(1),   hours(24 * 365), hours(24) * 365 * 200};
  std::vector<std::unique_ptr<TestWait>> waits;
  Ok(t.Open("a", Kind::kFifo));
  for (const Nanos after : afters) waits.push_back(t.Wait("a", after));
  Nanos passed{0};
  for (size_t i = 0; i < afters.size(); ++i) {
    t.Advance(afters[i] - Nanos(1) - passed);
    EXPECT_FALSE(waits[i]->done());
    t.Advance(Nanos(1));
    EXPECT_TRUE(waits[i]->done());
    passed = afters[i];
    for (size_t k = i + 1; k < waits.size(); ++k) EXPECT_FALSE(waits[k]->done());
  }
}

TEST(Timers, C55_AClosedDescriptorLeavesNoTimerBehind) {
  Table t;
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = "n" + std::to_string(i % 7);
    t.Open(name);
    t.In(name, hours(1), Mode::kReadWrite);
    t.Close(name);
  }
  EXPECT_EQ(t.poller().Count().timers, 0U);
  t.Advance(hours(2));
  EXPECT_EQ(t.poller().Count().stale_timers, 0U);
}

TEST(WallClock, C52_AStepOfTheWallClockMakesNoOtherSidesDeadlineEarly) {
  Table t;
  Ok(t.Open("a"));
  const WallTime at = t.now().wall + hours(2);
  SetDeadlineArgs args{
      .name = "a", .mode = Mode::kRead, .what = SetDeadlineArgs::What::kAt, .at = at};
  Ok(t.SetDeadline(args));
  t.StepWall(-hours(1));
  args.mode = Mode::kWrite;
  Ok(t.SetDeadline(args));
  const auto wait = t.Wait("a", Side::kWrite);
  t.Advance(hours(2));
  EXPECT_FALSE(wait->done()) << "early by " << (at - t.now().wall).count();
  t.Advance(hours(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
}

}  // namespace
}  // namespace waitd::core
