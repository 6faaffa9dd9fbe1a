// Polls: what refuses them, what they count, and what is due at their targets.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

const OpenOptions kAny;

bool IsOpen(Table& t, std::string_view name) {
  return std::holds_alternative<DescriptorInfo>(t.Get(name));
}

TEST(PollRefusal, OfADoubleWaitOpensNothing) {
  Table t;
  Ok(t.Open("busy"));
  const auto holder = t.Wait("busy");
  const auto poll = t.Poll({.targets = {{"missing"}, {"busy"}}, .open_if_missing = &kAny});
  ASSERT_TRUE(poll->done());
  EXPECT_EQ(ReasonOf(poll->result()), Reason::kDoubleWait);
  EXPECT_EQ(std::get<Refusal>(poll->result()).target, 1U);
  EXPECT_FALSE(IsOpen(t, "missing"));
  t.poller().Cancel(*holder);
}

TEST(PollRefusal, OfALimitOrAContradictionOpensNothing) {
  Table t(
      {.max_descriptors = 3, .max_waiters = 2, .max_deliveries = 4, .max_deliveries_of_side = 4});
  OpenArgs latch{.name = "latch"};
  latch.options.kind = Kind::kLatch;
  Ok(t.Open(latch));
  Ok(t.Open("a"));
  OpenOptions fifo;
  fifo.kind = Kind::kFifo;
  const PollTarget missing{.name = "missing"};
  const std::pair<PollArgs, Reason> refused[] = {
      {{.targets = {missing, {"b"}, {"c"}}, .open_if_missing = &kAny}, Reason::kLimitWaiters},
      {{.targets = {missing, {"b"}}, .open_if_missing = &kAny}, Reason::kLimitDescriptors},
      {{.targets = {missing, {.name = "a", .generation = 1}}, .open_if_missing = &kAny},
       Reason::kStaleGeneration},
      {{.targets = {missing, {"a"}}, .open_if_missing = &fifo}, Reason::kKindMismatch},
      {{.targets = {missing, {.name = "b", .generation = 1}}, .open_if_missing = &kAny},
       Reason::kNoDescriptor},
      {{.targets = {missing, {"latch"}},
        .open_if_missing = &kAny,
        .ack_timeout = seconds(1),
        .retry = {.id = "w"}},
       Reason::kBadOptions},
      {{.targets = {missing, missing}, .open_if_missing = &kAny}, Reason::kBadPoll},
      {{.targets = {missing}, .need = 2, .open_if_missing = &kAny}, Reason::kBadPoll},
  };
  for (const auto& [args, reason] : refused) {
    const auto poll = t.Poll(args);
    ASSERT_TRUE(poll->done());
    EXPECT_EQ(ReasonOf(poll->result()), reason);
    EXPECT_FALSE(IsOpen(t, "missing")) << static_cast<int>(reason);
    EXPECT_EQ(t.poller().waiters(), 0U);
  }
  t.poller().RefuseWaits();
  const auto drained = t.Poll({.targets = {missing}, .open_if_missing = &kAny});
  EXPECT_EQ(ReasonOf(drained->result()), Reason::kDraining);
  EXPECT_FALSE(IsOpen(t, "missing"));
}

TEST(PollLimit, APollCountsByItsTargets) {
  Table t({.max_waiters = 3});
  for (const char* name : {"a", "b", "c", "d"}) Ok(t.Open(name, Kind::kFifo));
  const auto tooMany = t.Poll({{"a"}, {"b"}, {"c"}, {"d"}});
  EXPECT_EQ(ReasonOf(tooMany->result()), Reason::kLimitWaiters);
  EXPECT_EQ(std::get<Refusal>(tooMany->result()).limit, 3U);
  const auto poll = t.Poll({{"a"}, {"b"}, {"c"}});
  EXPECT_FALSE(poll->done());
  EXPECT_EQ(t.poller().waiters(), 3U);
  EXPECT_EQ(Count(t).waiters[static_cast<size_t>(WaitMode::kPoll)], 3U);
  EXPECT_EQ(RefusedAs(t.Wait("d")), Reason::kLimitWaiters);
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
  EXPECT_EQ(t.poller().waiters(), 0U);
  const auto two = t.Poll({{"a"}, {"b"}});
  const auto one = t.Wait("d");
  EXPECT_EQ(RefusedAs(t.Wait("c")), Reason::kLimitWaiters);
  t.poller().Cancel(*two);
  EXPECT_EQ(t.poller().waiters(), 1U);
  t.poller().Cancel(*one);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

TEST(PollLimit, APollThatFindsItsSignalsNeedsNoRoom) {
  Table t({.max_waiters = 1});
  Ok(t.Open("a"));
  Ok(t.Open("b"));
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(t.Poll({{"a"}, {"b"}})), Outcome::kReady);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

// One clock reading is older than another, and its operation gets the lock later.
TEST(PollTime, AReadingThatComesLateLosesNoWake) {
  const auto [near, far] = Apart();
  const std::pair<std::string, std::string> pairs[] = {{near, far}, {"{k}x", "{k}y"}};
  for (const auto& [x, y] : pairs) {
    Table t;
    Ok(t.Open(x, Kind::kFifo));
    Ok(t.Open(y, Kind::kFifo));
    const auto poll = t.Poll({{x}, {y}}, 2);
    Ok(t.Ready(x));
    Ok(t.In(x, milliseconds(10)));
    t.Pass(milliseconds(10));
    EXPECT_EQ(Ok(t.Ready(y)).effect, ReadyEffect::kRemembered)
        << "x is expired, and does not count";
    t.Pass(-Nanos(1));
    Ok(t.In(x, seconds(100)));  // it would be before the instant
    t.Advance(seconds(5));
    Ok(t.Ready(y));
    Ok(t.Ready(x));
    const auto end = [&](std::string_view name) { return Ok(t.Get(name)).side[0]; };
    const bool both_there = end(x).state == SemaphoreState::kReady &&
                            end(x).deadline.state != Deadline::State::kExpired &&
                            end(y).state == SemaphoreState::kReady;
    EXPECT_TRUE(poll->done() || !both_there) << "a lost wake";
    EXPECT_TRUE(poll->done());
  }
}

TEST(PollTime, ALateHeartbeatDoesNotReviveWhatHasExpired) {
  Table t;
  const auto [x, y] = Apart();
  Ok(t.Open(x, Kind::kFifo));
  Ok(t.Open(y, Kind::kLatch));
  const auto poll = t.Poll({{x}, {y}}, 2);
  Ok(t.Ready(x));
  Ok(t.In(x, milliseconds(10)));
  t.Pass(milliseconds(10));
  Ok(t.Ready(y));
  t.Pass(-Nanos(1));
  const auto beat = Ok(t.In(x, seconds(100), Mode::kRead, DeadlineCondition::kArmOrExtend));
  EXPECT_FALSE(beat.applied) << "time does not go back within a shard";
  EXPECT_EQ(beat.effect[0], DeadlineEffect::kRefused);
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut) << "x has expired, and both are needed";
}

TEST(PollTime, AtExactlyItsLimitItTakesNothing) {
  Table t;
  Ok(t.Open("a"));
  const auto poll = t.Poll({.targets = {{"a"}}, .timeout = seconds(1)});
  t.Pass(seconds(1));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
}

TEST(PollTime, AtItsLimitASignalThatComesBackPassesItBy) {
  Table t;
  const auto [x, y] = Apart();
  Ok(t.Open(x));
  Ok(t.Open(y, Kind::kFifo));
  const auto poll = t.Poll({.targets = {{x}, {y}}, .need = 2, .timeout = seconds(1)});
  Ok(t.Ready(x));
  t.Pass(seconds(1));
  const auto wait = t.Wait(y);
  EXPECT_EQ(Ok(t.Ready(y)).effect, ReadyEffect::kWoke) << "the wait behind it";
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut);
}

TEST(PollTime, AnotherTargetsDeadlineIsDueAndNotSettled) {
  Table t;
  const auto [x, y] = Apart();
  Ok(t.Open(x));
  Ok(t.Open(y));
  const auto poll = t.Poll({{x}, {y}}, 2);
  Ok(t.Ready(x));
  Ok(t.In(x, seconds(1)));
  t.Pass(seconds(1));
  EXPECT_EQ(Ok(t.Ready(y)).effect, ReadyEffect::kRemembered);
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut);
}

// A name that many polls stand on: the signal of one of them passes by those that lack another.
// The work of a piece each, until there is none; false: it does not end.
bool WorkEnds(Table& t) {
  for (int i = 0; i < 1000; ++i) {
    if (t.poller().RunTimers() > t.now().mono) return true;
  }
  return false;
}

TEST(PollHold, OneSignalBesideFiveThousandPollsIsCountedInPieces) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  std::vector<std::unique_ptr<TestPoll>> polls;
  for (int i = 0; i < 5000; ++i) polls.push_back(t.Poll({{"a"}, {"b"}}, 2));
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kRemembered);
  ASSERT_TRUE(WorkEnds(t));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady) << "no poll counts it any more";
  ASSERT_TRUE(WorkEnds(t));
  EXPECT_EQ(Ok(t.Ready("b")).effect, ReadyEffect::kRemembered);
  ASSERT_TRUE(WorkEnds(t));
  EXPECT_FALSE(polls.front()->done());
  EXPECT_EQ(Ok(t.Ready("a")).effect, ReadyEffect::kWoke);
  ASSERT_TRUE(WorkEnds(t));
  EXPECT_EQ(OutcomeOf(polls.front()), Outcome::kReady);
  EXPECT_FALSE(polls[1]->done());
  for (const auto& poll : polls) t.poller().Cancel(*poll);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

// What other polls and former lives of the slot have left must not be taken for what is there.
TEST(PollCount, ANewLifeOfANameBeginsWithoutSignals) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  Ok(t.Ready("a"));
  const auto former = t.Poll({{"a"}, {"b"}}, 2);
  EXPECT_FALSE(former->done());
  Ok(t.Close("a"));
  EXPECT_EQ(OutcomeOf(former), Outcome::kClosed);
  Ok(t.Open("a", Kind::kFifo));
  const auto poll = t.Poll({{"a"}, {"b"}}, 2);
  Ok(t.Ready("a"));
  EXPECT_FALSE(poll->done());
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
}

TEST(PollCount, ASignalThatAnotherPollTookIsThereNoMore) {
  Table t;
  for (const char* name : {"x", "y", "z", "w"}) Ok(t.Open(name, Kind::kFifo));
  const auto first = t.Poll({{"x"}, {"y"}}, 2);
  const auto second = t.Poll({{"x"}, {"z"}}, 2);
  Ok(t.Ready("x"));
  Ok(t.Ready("y"));
  EXPECT_EQ(OutcomeOf(first), Outcome::kReady);
  const auto third = t.Poll({{"x"}, {"w"}}, 2);
  Ok(t.Ready("x"));
  EXPECT_FALSE(third->done());
  Ok(t.Ready("w"));
  EXPECT_EQ(OutcomeOf(third), Outcome::kReady);
  EXPECT_FALSE(second->done());
  Ok(t.Ready("z"));
  EXPECT_FALSE(second->done()) << "the other one has its signal";
  Ok(t.Ready("x"));
  EXPECT_EQ(OutcomeOf(second), Outcome::kReady);
}

TEST(PollAnswer, ARepeatedOneIsEqualFieldByField) {
  Table t;
  const auto [x, y] = Apart();
  Ok(t.Open(x, Kind::kFifo));
  Ok(t.Open(y, Kind::kFifo));
  const PollArgs args{.targets = {{x}, {y, Side::kWrite}},
                      .need = 2,
                      .ack_timeout = hours(1),
                      .retry = {.id = "p"}};
  const auto poll = t.Poll(args);
  t.Pass(seconds(1));
  Ok(t.Ready(x, Mode::kRead, "one"));
  Ok(t.Ready(x, Mode::kRead, "two"));
  t.Pass(seconds(1));
  Ok(t.Ready(y, Mode::kWrite, "three"));
  ASSERT_TRUE(poll->done());
  t.Pass(seconds(1));
  PollArgs repeated = args;
  repeated.retry.sent_ago = seconds(3);
  const auto again = t.Poll(repeated);
  ASSERT_TRUE(again->done());
  const PollResult& a = Ok(poll->result());
  const PollResult& b = Ok(again->result());
  EXPECT_EQ(a.outcome, b.outcome);
  EXPECT_EQ(a.parked, seconds(2));
  EXPECT_EQ(a.parked, b.parked);
  ASSERT_EQ(a.targets.size(), 2U);
  ASSERT_EQ(b.targets.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(a.targets[i].index, b.targets[i].index);
    const WaitResult one = a.targets[i].result(a.parked);
    const WaitResult two = b.targets[i].result(b.parked);
    EXPECT_EQ(one.outcome, two.outcome);
    EXPECT_EQ(one.coalesced, i == 0 ? 1U : 0U);
    EXPECT_EQ(one.coalesced, two.coalesced);
    EXPECT_EQ(one.generation, two.generation);
    EXPECT_EQ(one.signal, two.signal) << "shared, not copied";
    EXPECT_EQ(one.parked, two.parked);
    EXPECT_EQ(one.delivery, two.delivery);
    EXPECT_EQ(one.attempt, two.attempt);
    EXPECT_EQ(one.side, two.side);
    EXPECT_EQ(one.ready_time, two.ready_time);
  }
}

// Three names of three shards: x is needed by the first poll, z by the second, y by both.
class Takers : public testing::Test {
 protected:
  Takers() {
    const size_t of_y = ShardOf(y);
    for (int i = 0; ShardOf(x) == of_y; ++i) x = "x" + std::to_string(i);
    for (int i = 0; ShardOf(z) == of_y || ShardOf(z) == ShardOf(x); ++i) {
      z = "z" + std::to_string(i);
    }
    for (const std::string& name : {x, y, z}) Ok(t.Open(name, Kind::kFifo));
    first = t.Poll({{x}, {y}}, 2);
    second = t.Poll({{z}, {y}}, 2);
    Ok(t.Ready(x));
    Ok(t.Ready(z));
    Ok(t.In(x, seconds(1)));
  }

  Table t;
  std::string x = "y", y = "y", z = "y";
  std::unique_ptr<TestPoll> first, second;
};

// Its other target is due, and nobody has looked: the signal is the next one's.
TEST_F(Takers, AReadyFindsWhoTakesItBehindAPollThatIsOver) {
  t.Pass(seconds(1));
  const auto ready = Ok(t.Ready({.name = y, .condition = ReadyCondition::kWaiting}));
  EXPECT_EQ(ready.effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(first), Outcome::kTimedOut);
  EXPECT_EQ(OutcomeOf(second), Outcome::kReady);
}

TEST_F(Takers, AReadyFindsWhoTakesItBehindAllPollsThatAreOver) {
  const auto wait = t.Wait(y);
  Ok(t.In(z, seconds(1)));
  t.Pass(seconds(1));
  EXPECT_EQ(Ok(t.Ready(y)).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}

// Two signals come back behind more polls than a hold looks at.
TEST(Poll, TwoSignalsThatComeBackAtOnceWakeTwo) {
  Table t({.units_max = 4});
  Ok(t.Open("y", Kind::kFifo));
  for (const char* id : {"1", "2"}) {
    Ok(t.Ready("y"));
    EXPECT_EQ(OutcomeOf(t.Wait({.name = "y", .ack_timeout = seconds(1), .retry = {.id = id}})),
              Outcome::kReady);
  }
  std::vector<std::unique_ptr<TestPoll>> polls;
  for (int i = 0; i < 10; ++i) {
    const std::string other = "o" + std::to_string(i);
    Ok(t.Open(other, Kind::kFifo));
    polls.push_back(t.Poll({{"y"}, {other}}, 2));
  }
  const auto one = t.Wait("y");
  const auto two = t.Wait("y");
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(one), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(two), Outcome::kReady);
}

// Signals that come back to names where large polls stand: one hold completes few of these.
TEST(Poll, SignalsOfAPollComeBackInPieces) {
  constexpr size_t kMany = 20;
  Table t;
  std::vector<std::string> names;
  std::vector<PollTarget> all;
  for (size_t i = 0; i < kMany; ++i) names.push_back("n" + std::to_string(i));
  std::vector<std::string> others;
  for (int i = 0; i < 999; ++i) others.push_back("o" + std::to_string(i));
  for (const std::string& name : names) {
    Ok(t.Open(name, Kind::kFifo));
    Ok(t.Ready(name));
    all.push_back({name});
  }
  for (const std::string& other : others) Ok(t.Open(other, Kind::kFifo));
  const auto taken = t.Poll(all, kMany);
  ASSERT_EQ(OutcomeOf(taken), Outcome::kReady);
  std::vector<std::unique_ptr<TestPoll>> polls;
  for (const std::string& name : names) {
    std::vector<PollTarget> targets{{name}};
    for (const std::string& other : others) targets.push_back({other});
    polls.push_back(t.Poll(targets));
  }
  t.poller().Unwritten(*taken, Nanos(0));
  const auto done = [&] {
    return std::count_if(polls.begin(), polls.end(), [](const auto& each) { return each->done(); });
  };
  EXPECT_LE(done(), 2);
  const auto before = done();
  const uint64_t holds = t.clock().reads;
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = others[0]}, ready);  // it looks who is there to take it
  EXPECT_LE(static_cast<uint64_t>(done() - before), t.clock().reads - holds);
  t.RunTimers();
  EXPECT_EQ(done(), kMany);
}

// A poll that takes a signal which was there for it already leaves the new one to the next in line.
class TakesAnother : public testing::TestWithParam<std::tuple<Mode, ReadyCondition>> {};

TEST_P(TakesAnother, ThenTheNextInLineHasTheSignal) {
  const auto [mode, condition] = GetParam();
  Table t({.units_max = 4});
  for (const char* name : {"x", "y"}) Ok(t.Open(name, Kind::kFifo));
  Ok(t.Ready("x"));
  const auto taken = t.Wait("x");
  std::vector<std::unique_ptr<TestPoll>> polls;
  for (int i = 0; i < 10; ++i) {
    const std::string other = "o" + std::to_string(i);
    Ok(t.Open(other, Kind::kFifo));
    polls.push_back(t.Poll({{"x"}, {other}}, 2));
  }
  const auto poll = t.Poll({{"x"}, {"y"}});
  const auto wait = t.Wait("y");
  t.poller().Unwritten(*taken, Nanos(0));
  ASSERT_FALSE(poll->done()) << "that it has x's signal is left to work";
  Ok(t.Ready({.name = "y", .mode = mode, .condition = condition}));
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}
INSTANTIATE_TEST_SUITE_P(All, TakesAnother,
                         testing::Combine(testing::Values(Mode::kRead, Mode::kReadWrite),
                                          testing::Values(ReadyCondition::kAlways,
                                                          ReadyCondition::kWaiting)));

TEST(Poll, AReadyThatOnlyWakesFindsTheWaitBehindMany) {
  for (const bool one_behind : {true, false}) {
    Table t({.units_max = 4});
    Ok(t.Open("y", Kind::kFifo));
    std::vector<std::unique_ptr<TestPoll>> polls;
    const auto stand = [&](const std::string& other) {
      Ok(t.Open(other, Kind::kFifo));
      polls.push_back(t.Poll({{"y"}, {other}}, 2));
    };
    for (int i = 0; i < 10; ++i) stand("o" + std::to_string(i));
    const auto wait = t.Wait("y");
    if (one_behind) stand("last");
    const auto ready = Ok(t.Ready({.name = "y", .condition = ReadyCondition::kWaiting}));
    EXPECT_EQ(ready.effect, ReadyEffect::kWoke) << one_behind;
    EXPECT_EQ(OutcomeOf(wait), Outcome::kReady) << one_behind;
  }
}

}  // namespace
}  // namespace waitd::core
