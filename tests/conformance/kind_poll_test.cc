// Conformance C56 to C65 and C76, through the core with a manual clock.
#include <algorithm>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

const PollResult& Polled(const std::unique_ptr<TestPoll>& poll) {
  EXPECT_TRUE(poll->done());
  return std::get<PollResult>(poll->result());
}

std::vector<uint32_t> Indexes(const PollResult& result) {
  std::vector<uint32_t> indexes;
  for (const auto& target : result.targets) indexes.push_back(target.index);
  return indexes;
}

using Taken = std::vector<uint32_t>;

TEST(Fifo, C56_WakesInTheOrderOfArrivalAndSkipsTheCancelled) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const auto one = t.Wait("a");
  const auto two = t.Wait("a");
  const auto three = t.Wait("a");
  t.poller().Cancel(*two);
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "1")).woken, 1U);
  EXPECT_TRUE(one->done());
  EXPECT_FALSE(three->done());
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "3")).woken, 1U);
  EXPECT_EQ(*std::get<WaitResult>(one->result()).signal, "1");
  EXPECT_EQ(*std::get<WaitResult>(three->result()).signal, "3");
  EXPECT_LT(std::get<WaitResult>(one->result()).delivery,
            std::get<WaitResult>(three->result()).delivery);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
}

TEST(Fifo, C57_OneDeadlineEndsAllAndEachTimeoutItsOwn) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const auto own = t.Wait("a", seconds(1));
  const auto one = t.Wait("a");
  const auto two = t.Wait("a");
  Ok(t.In("a", seconds(2)));
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(own), Outcome::kTimedOut);
  EXPECT_FALSE(one->done());
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(one), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(two), Outcome::kTimedOut);
}

TEST(Latch, C58_OneReadyWakesAllAndStaysUntilReset) {
  Table t;
  Ok(t.Open("a", Kind::kLatch));
  std::vector<std::unique_ptr<TestWait>> waits;
  for (int i = 0; i < 10; ++i) waits.push_back(t.Wait("a"));
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "open")).woken, 10U);
  for (const auto& wait : waits) EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*t.Try("a").signal, "open");
  EXPECT_EQ(Ok(t.Ready("a", Mode::kRead, "again")).effect, ReadyEffect::kCoalesced);
  EXPECT_EQ(*t.Try("a").signal, "again");
  Ok(t.Reset("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

class EveryKind : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind,
                         testing::Values(Kind::kExclusive, Kind::kFifo, Kind::kLatch));

TEST_P(EveryKind, C59_DeadlinesCloseAndCancelHoldForEveryKind) {
  Table t;
  Ok(t.Open("a", GetParam()));
  const auto timed_out = t.Wait("a");
  Ok(t.In("a", seconds(1)));
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(timed_out), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(t.Wait("a")), Outcome::kTimedOut);
  Ok(t.Clear("a"));
  const auto cancelled = t.Wait("a");
  t.poller().Cancel(*cancelled);
  EXPECT_EQ(OutcomeOf(cancelled), Outcome::kCancelled);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kCoalesced);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
  EXPECT_EQ(t.Try("a").outcome, GetParam() == Kind::kLatch ? Outcome::kReady : Outcome::kTimedOut);
  Ok(t.Reset("a"));
  const auto closed = t.Wait("a");
  Ok(t.Close("a"));
  EXPECT_EQ(OutcomeOf(closed), Outcome::kClosed);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

TEST(Timeout, C59a_ZeroOrLessOnlyTries) {
  Table t;
  Ok(t.Open("a"));
  for (const Nanos timeout : {Nanos(0), Nanos(-1), Nanos::min()}) {
    const auto wait = t.Wait("a", timeout);
    EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
    EXPECT_EQ(std::get<WaitResult>(wait->result()).cause, TimeoutCause::kWait);
    Ok(t.Ready("a"));
    EXPECT_EQ(OutcomeOf(t.Wait("a", timeout)), Outcome::kReady);
  }
  const auto parked = t.Wait("a");
  EXPECT_EQ(OutcomeOf(t.Wait("a", Nanos(0))), Outcome::kTimedOut)
      << "no double wait: it never parks";
  const auto over = t.Wait({.name = "a", .timeout = seconds(5), .retry = {.sent_ago = seconds(5)}});
  EXPECT_EQ(OutcomeOf(over), Outcome::kTimedOut) << "its limit counts from the first attempt";
  Ok(t.Close("a"));
}

TEST(Timeout, C60_TheEarlierLimitEndsItAndOnlyTheDeadlineExpiresTheSide) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(5)));
  auto wait = t.Wait("a", seconds(1));
  t.Advance(seconds(1));
  EXPECT_EQ(std::get<WaitResult>(wait->result()).cause, TimeoutCause::kWait);
  EXPECT_EQ(Ok(t.Get("a")).side[0].deadline.state, Deadline::State::kArmed);
  wait = t.Wait("a", seconds(10));
  t.Advance(seconds(4));
  EXPECT_EQ(std::get<WaitResult>(wait->result()).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(Ok(t.Get("a")).side[0].deadline.state, Deadline::State::kExpired);
}

TEST(Poll, C61_AnyUsesOneTargetsReadyAndLeavesTheOthers) {
  Table t;
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  Ok(t.Ready("b"));
  Ok(t.Ready("c"));
  const auto poll = t.Poll({{"a"}, {"b"}, {"c"}});
  EXPECT_EQ(Indexes(Polled(poll)), Taken{1});
  EXPECT_EQ(t.Try("c").outcome, Outcome::kReady);
  const auto parked = t.Poll({{"a"}, {"b"}, {"c"}});
  EXPECT_FALSE(parked->done());
  EXPECT_EQ(Ok(t.Ready("c")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(Indexes(Polled(parked)), Taken{2});
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(Poll, C62_NeedTakesAllInOneStepAndHoldsNothingBefore) {
  Table t;
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  const auto poll = t.Poll({{"a"}, {"b"}, {"c"}}, 2);
  EXPECT_EQ(Ok(t.Ready("c")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(t.Try("c").outcome, Outcome::kReady) << "a single wait takes it before the poll";
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  EXPECT_TRUE(Ok(t.Reset("a")).forgot);
  Ok(t.Ready("a", Mode::kRead, "A"));
  EXPECT_FALSE(poll->done());
  EXPECT_EQ(Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting})).effect,
            ReadyEffect::kRefused);
  const auto completing = Ok(t.Ready("c", Mode::kRead, "C"));
  EXPECT_EQ(completing.effect, ReadyEffect::kWoke);
  EXPECT_EQ(completing.woken, 1U);
  EXPECT_EQ(Indexes(Polled(poll)), (Taken{0, 2}));
  EXPECT_EQ(*Polled(poll).targets[0].result(Nanos(0)).signal, "A");
  EXPECT_EQ(*Polled(poll).targets[1].result(Nanos(0)).signal, "C");
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(t.Try("c").outcome, Outcome::kTimedOut);
}

TEST(Poll, C62_AWaitThatIsBehindAPollInTheQueueGetsWhatThePollCannotUse) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  const auto poll = t.Poll({{"a"}, {"b"}}, 2);
  const auto wait = t.Wait("a");
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  EXPECT_FALSE(poll->done());
  Ok(t.Close("a"));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kClosed);
}

TEST(Poll, C62_TwoPollsOverTheSameTargetsDoNotBlockEachOther) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  const auto first = t.Poll({{"a"}, {"b"}}, 2);
  const auto second = t.Poll({{"b"}, {"a"}}, 2);
  Ok(t.Ready("a"));
  Ok(t.Ready("b"));
  EXPECT_EQ(first->done() + second->done(), 1);
  Ok(t.Ready("b"));
  Ok(t.Ready("a"));
  EXPECT_TRUE(first->done() && second->done());
}

TEST(Poll, C62_BothSidesOfOneName) {
  Table t;
  Ok(t.Open("a"));
  const auto poll = t.Poll({{"a", Side::kRead}, {"a", Side::kWrite}}, 2);
  const auto ready = Ok(t.Ready("a", Mode::kReadWrite));
  EXPECT_EQ(ready.effect, ReadyEffect::kWoke);
  EXPECT_EQ(ready.woken, 1U);
  EXPECT_EQ(Polled(poll).targets.size(), 2U);
}

TEST(Poll, C63_MalformedOnesAreRefused) {
  Table t;
  Ok(t.Open("a"));
  EXPECT_EQ(ReasonOf(t.Poll(PollArgs{})->result()), Reason::kBadPoll);
  EXPECT_EQ(ReasonOf(t.Poll({{"a"}, {"a"}})->result()), Reason::kBadPoll);
  EXPECT_EQ(ReasonOf(t.Poll({{"a"}}, 2)->result()), Reason::kBadPoll);
  std::vector<std::string> names;
  for (int i = 0; i < 1001; ++i) names.push_back("n" + std::to_string(i));
  const OpenOptions open;
  PollArgs args{.open_if_missing = &open};
  for (int i = 0; i < 1000; ++i) args.targets.push_back({names[static_cast<size_t>(i)]});
  const auto most = t.Poll(args);
  EXPECT_FALSE(most->done());
  t.poller().Cancel(*most);
  args.targets.push_back({names[1000]});
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kBadPoll);
}

TEST(Poll, C63_ADoubleWaitLeavesNothingParkedAndOpensNothing) {
  Table t;
  Ok(t.Open("busy"));
  Ok(t.Open("free"));
  const auto holder = t.Wait("busy");
  const auto poll = t.Poll({{"free"}, {"busy"}});
  EXPECT_EQ(ReasonOf(poll->result()), Reason::kDoubleWait);
  EXPECT_EQ(std::get<Refusal>(poll->result()).target, 1U);
  EXPECT_EQ(Ok(t.Get("free")).side[0].waiters, 0U);
  const auto wait = t.Wait("free");
  EXPECT_FALSE(wait->done());
  const OpenOptions any;
  const auto opening = t.Poll({.targets = {{"missing"}, {"free"}}, .open_if_missing = &any});
  EXPECT_EQ(ReasonOf(opening->result()), Reason::kDoubleWait);
  EXPECT_EQ(ReasonOf(t.Get("missing")), Reason::kNoDescriptor);
  Ok(t.Close("busy"));
  Ok(t.Close("free"));
  EXPECT_EQ(OutcomeOf(holder), Outcome::kClosed);
}

TEST(Poll, C63_AnExclusiveSideWithAPollTakesNoOtherWaiter) {
  Table t;
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  const auto poll = t.Poll({{"a"}, {"b"}}, 2);
  EXPECT_EQ(ReasonOf(t.Wait("a")->result()), Reason::kDoubleWait);
  EXPECT_EQ(ReasonOf(t.Poll({{"c"}, {"b"}})->result()), Reason::kDoubleWait);
  EXPECT_EQ(Ok(t.Get("a")).side[0].waiters, 1U);
  EXPECT_EQ(Ok(t.Get("c")).side[0].waiters, 0U);
  Ok(t.Ready("a"));
  EXPECT_EQ(Ok(t.Ready("b")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Indexes(Polled(poll)), (Taken{0, 1}));
}

TEST(Poll, C64_ResultsNameTheTargetThatEndedIt) {
  Table t;
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  const auto poll = t.Poll({{"a"}, {"b"}, {"c"}}, 2);
  Ok(t.Close("b"));
  EXPECT_FALSE(poll->done()) << "one can be spared";
  Ok(t.In("c", seconds(1)));
  t.Advance(seconds(3));
  const PollResult& result = Polled(poll);
  EXPECT_EQ(result.outcome, Outcome::kTimedOut);
  EXPECT_EQ(result.cause, TimeoutCause::kDeadline);
  EXPECT_EQ(result.late, seconds(2));
  ASSERT_EQ(Indexes(result), (Taken{1, 2}));
  EXPECT_EQ(result.targets[0].result(Nanos(0)).outcome, Outcome::kClosed);
  EXPECT_EQ(result.targets[1].result(Nanos(0)).outcome, Outcome::kTimedOut);
  const auto again = t.Wait("a");
  EXPECT_FALSE(again->done()) << "the poll has left every place";
  Ok(t.Close("a"));
}

TEST(Poll, C64_ATargetThatEndedStaysEndedForThePoll) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Open("b"));
  const auto poll = t.Poll({{"a"}, {"b"}});
  Ok(t.In("a", Nanos(0)));
  Ok(t.Clear("a"));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(Ok(t.Ready("b")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Indexes(Polled(poll)), Taken{1});
}

TEST(Poll, C64_AReadyOfATargetThatEndedDoesNotCountForThePoll) {
  Table t;
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name));
  const auto poll = t.Poll({{"a"}, {"b"}, {"c"}}, 2);
  Ok(t.In("a", Nanos(0)));
  Ok(t.Clear("a"));
  Ok(t.Ready("a"));
  EXPECT_EQ(Ok(t.Ready("b")).effect, ReadyEffect::kRemembered);
  EXPECT_FALSE(poll->done());
  EXPECT_EQ(Ok(t.Ready("c")).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Indexes(Polled(poll)), (Taken{1, 2}));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady) << "its READY is for the next wait";
}

TEST(Poll, C64_ItsOwnLimitAgainstItsTargetsDeadlines) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(2)));
  auto poll = t.Poll({.targets = {{"a"}}, .timeout = seconds(1)});
  t.Advance(seconds(5));
  EXPECT_EQ(Polled(poll).cause, TimeoutCause::kWait);
  EXPECT_EQ(Polled(poll).late, seconds(4));
  EXPECT_TRUE(Polled(poll).targets.empty());
  Ok(t.In("a", seconds(1)));
  poll = t.Poll({.targets = {{"a"}}, .timeout = seconds(1)});
  t.Advance(seconds(5));
  EXPECT_EQ(Polled(poll).cause, TimeoutCause::kDeadline) << "a tie goes to the deadline";
}

TEST(MaxWait, C65_BoundsWhatNothingElseBounds) {
  Poller::Options options;
  options.max_wait = hours(24);
  Table t(options);
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  const auto plain = t.Wait("a");
  const auto longer = t.Wait("a", hours(48));
  Ok(t.In("b", hours(30)));
  const auto bound = t.Wait("b");
  const auto ignoring = t.Wait({.name = "b", .ignore_deadline = true});
  const auto poll = t.Poll({{"b"}});
  t.Advance(hours(24) - Nanos(1));
  EXPECT_FALSE(plain->done() || ignoring->done() || poll->done());
  t.Advance(Nanos(1));
  EXPECT_EQ(std::get<WaitResult>(plain->result()).cause, TimeoutCause::kMaxWait);
  EXPECT_EQ(std::get<WaitResult>(ignoring->result()).cause, TimeoutCause::kMaxWait);
  EXPECT_EQ(Polled(poll).cause, TimeoutCause::kMaxWait);
  EXPECT_FALSE(longer->done());
  EXPECT_FALSE(bound->done()) << "a deadline can end it";
  t.Advance(hours(6));
  EXPECT_EQ(std::get<WaitResult>(bound->result()).cause, TimeoutCause::kDeadline);
  t.Advance(hours(18));
  EXPECT_EQ(std::get<WaitResult>(longer->result()).cause, TimeoutCause::kWait);
}

TEST(MaxWait, C65_CountsAgainWhenTheDeadlineIsClearedAndWakesNobodyInTheClear) {
  Poller::Options options;
  options.max_wait = hours(24);
  Table t(options);
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.In("a", hours(48)));
  const auto early = t.Wait("a");
  t.Advance(hours(1));
  Ok(t.Clear("a"));
  t.Advance(hours(23) - Nanos(1));
  EXPECT_FALSE(early->done());
  t.Advance(Nanos(1));
  EXPECT_EQ(std::get<WaitResult>(early->result()).cause, TimeoutCause::kMaxWait);
  Ok(t.In("a", hours(48)));
  const auto late = t.Wait("a");
  t.Advance(hours(30));
  EXPECT_FALSE(late->done());
  EXPECT_EQ(Ok(t.Clear("a")).woken, 0U);
  EXPECT_FALSE(late->done());
  t.RunTimers();
  EXPECT_EQ(std::get<WaitResult>(late->result()).cause, TimeoutCause::kMaxWait);
  EXPECT_EQ(std::get<WaitResult>(late->result()).late, Nanos(0));
}

TEST(MaxWait, C65_ForEverWhenThereIsNone) {
  Poller::Options options;
  options.max_wait = kForever;
  Table t(options);
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  t.Advance(hours(24) * 365 * 50);
  EXPECT_FALSE(wait->done());
  Ok(t.Close("a"));
}

TEST(IdleTtl, C76_ClosesWhatNobodyUsesAndNothingStandsOn) {
  Poller::Options options;
  options.default_idle_ttl = hours(1);
  Table t(options);
  const OpenOptions open;
  Ok(t.Open("kept"));
  Ok(t.Ready({.name = "a", .open_if_missing = &open}));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
  t.Advance(hours(1) - Nanos(1));
  Ok(t.Get("a"));  // a call on it
  t.Advance(hours(1) - Nanos(1));
  EXPECT_EQ(t.poller().Count().descriptors[0], 2U);
  t.Advance(Nanos(1));
  EXPECT_EQ(ReasonOf(t.Get("a")), Reason::kNoDescriptor);
  EXPECT_EQ(t.poller().Count().idle_closed, 1U);
  t.Advance(hours(24 * 365));
  Ok(t.Get("kept"));
}

TEST(IdleTtl, C76_DoesNotRunWhileSomethingStands) {
  for (const int what : {0, 1, 2, 3}) {
    Table t({.unwritten_for = Nanos(0)});
    Ok(t.Open({.name = "a", .options = {.idle_ttl = hours(1)}}));
    std::unique_ptr<TestWait> wait;
    if (what == 0) wait = t.Wait("a", hours(5));
    if (what == 1) Ok(t.In("a", hours(5)));
    if (what == 2) Ok(t.Ready("a"));
    if (what == 3) Ok(t.In("a", Nanos(0)));
    t.Advance(hours(5) - Nanos(1));
    EXPECT_EQ(t.poller().Count().descriptors[0], 1U) << what;
    t.Advance(Nanos(1));  // where it was a wait, it leaves
    if (what != 0) {
      t.Advance(hours(10));
      EXPECT_EQ(t.poller().Count().descriptors[0], 1U) << what;
    }
    if (what == 2) {
      EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
    }
    if (what == 1 || what == 3) Ok(t.Clear("a"));
    t.Advance(hours(1) - Nanos(1));
    EXPECT_EQ(t.poller().Count().descriptors[0], 1U) << what;
    t.Advance(Nanos(1));
    EXPECT_EQ(t.poller().Count().descriptors[0], 0U) << what;
  }
}

TEST(IdleTtl, C76_NorWhileAnAnswerMayStillBeFoundUnwritten) {
  Table t({.unwritten_for = seconds(90)});
  Ok(t.Open({.name = "a", .options = {.idle_ttl = seconds(1)}}));
  Ok(t.Ready("a"));
  const auto wait = t.Wait("a");
  t.Advance(seconds(91) - Nanos(1));
  t.poller().Unwritten(*wait, Nanos(0));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady) << "its answer did not arrive";
  t.Advance(seconds(91));
  EXPECT_EQ(ReasonOf(t.Get("a")), Reason::kNoDescriptor);
}

TEST(MaxWait, C65_ARetryThatComesAfterItsBoundIsToldSo) {
  Table t({.max_wait = seconds(60)});
  Ok(t.Open("a"));
  const auto w = t.Wait(WaitAs("w1", "a", seconds(60)));
  EXPECT_EQ(ResultOf(w).cause, TimeoutCause::kMaxWait);
  const auto p = t.Poll({.targets = {{"a"}}, .retry = {"p", seconds(60)}});
  EXPECT_EQ(Ok(p->result()).cause, TimeoutCause::kMaxWait);
}

}  // namespace
}  // namespace waitd::core
