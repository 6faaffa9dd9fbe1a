#include "core/recovery.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>

#include "core/shard.h"
#include "tests/unit/core/world.h"

namespace waitd::core {
namespace {

using std::chrono::minutes;

class RecoveryTest : public testing::Test {
 protected:
  static SavedDesc Desc(const std::string& name, uint64_t generation) {
    SavedDesc desc;
    desc.name = name;
    desc.generation = generation;
    desc.side[0].delivery = 9;
    return desc;
  }

  // Of a signal of the name of that generation, handed to the wait "w".
  static SavedDelivery Pending(size_t shard, uint64_t generation) {
    SavedDelivery saved;
    saved.key = {.generation = generation, .number = 1};
    saved.shard = static_cast<uint32_t>(shard);
    saved.acknowledgeable = true;
    saved.signal = Bytes("x");
    saved.wait_id = "w";
    return saved;
  }

  Table t;
  Recovery recovery{t.poller()};
};

TEST_F(RecoveryTest, NamesOfOneGenerationContradictEachOther) {
  EXPECT_TRUE(recovery.Restore(Desc("a", 1)));
  EXPECT_FALSE(recovery.Restore(Desc("b", 1)));
}

TEST_F(RecoveryTest, ADeliveryIsOfTheShardOfItsName) {
  ASSERT_TRUE(recovery.Restore(Desc("a", 1)));
  EXPECT_FALSE(recovery.Restore(Pending((ShardOf("a") + 1) % kShards, 1)));
  EXPECT_TRUE(recovery.Restore(Pending(ShardOf("a"), 1)));
  recovery.Finish(false);
  EXPECT_EQ(recovery.descriptors(), 1U);
  EXPECT_EQ(Ok(t.Get("a")).side[0].unacked, 1U);
}

TEST_F(RecoveryTest, ADeliveryWithoutItsNameIsForgotten) {
  EXPECT_TRUE(recovery.Restore(Pending(0, 1)));
  EXPECT_FALSE(recovery.Restore(Pending(kShards, 1))) << "there is no such shard";
}

// The monotonic clock begins with the machine: what was due while that was off is before its zero.
TEST_F(RecoveryTest, InstantsFromBeforeTheMachineStartedAreDue) {
  SavedDesc desc = Desc("a", 1);
  desc.side[0].deadline = {Instant(-hours(1)), WallTime(hours(1)), Deadline::State::kArmed};
  ASSERT_TRUE(recovery.Restore(desc));
  SavedDelivery pending = Pending(ShardOf("a"), 1);
  pending.alarm = Instant(-hours(2));
  ASSERT_TRUE(recovery.Restore(pending));
  SavedId answered;
  answered.key.id = "i";
  answered.recorded = Instant(-hours(3));
  answered.answer = WaitResult{.outcome = Outcome::kTimedOut};
  ASSERT_TRUE(recovery.Restore(answered));
  recovery.Finish(false);
  t.RunTimers();
  EXPECT_EQ(Count(t).outcomes, 0U);
  EXPECT_EQ(Ok(t.Get("a")).side[0].returned, 1U);
  EXPECT_EQ(t.Try("a").cause, TimeoutCause::kDeadline);
}

TEST_F(RecoveryTest, WhatCameBackIsCounted) {
  ASSERT_TRUE(recovery.Restore(Desc("a", 1)));
  SavedDelivery returned = Pending(ShardOf("a"), 1);
  returned.state = Delivery::State::kReturned;
  returned.attempt = 2;
  ASSERT_TRUE(recovery.Restore(returned));
  recovery.Finish(false);
  EXPECT_EQ(Count(t).returned, 1U);
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(Count(t).returned, 0U);
}

// What recovery keeps of ids, and of the promise that none is carried out twice.

TEST(RecoveredIds, ALongerRetentionAfterARestartCarriesNothingOutTwice) {
  World w({.retention = minutes(10)});
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .retry = {.id = "r"}});
  const auto wait = w.t().Wait({.name = "a", .timeout = Nanos(0)});
  w.Save();
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  w.t().Advance(minutes(11));
  w.Save();
  w.Crash({.retention = hours(1)}, Nanos(0));
  EXPECT_EQ(ReasonOf(w.t().Ready({.name = "a", .retry = {.id = "r", .sent_ago = minutes(11)}})),
            Reason::kOutcomeUnknown);
}

TEST(RecoveredIds, ASignalThatAClientMayHaveIsNotGivenBack) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .signal = Bytes("once")});
  const auto wait = w.t().Wait(WaitAs("w"));
  w.Save();
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);  // written to its client
  w.Crash();
  const auto again = w.t().Wait(WaitAs("w", "a", milliseconds(1)));
  EXPECT_EQ(OutcomeOf(again), Outcome::kReady);
  w.poller().Unwritten(*again, seconds(1));
  w.t().Advance(seconds(2));
  w.Save();
  EXPECT_EQ(w.t().Try("a").outcome, Outcome::kTimedOut) << "the client of the first call has it";
}

TEST(RecoveredIds, AgeInTheOrderInWhichTheyWereRecorded) {
  World w({.max_outcomes = 3});
  const auto [x, y] = Apart();
  SavedOpen(w, x);
  SavedOpen(w, y);
  // Ids in an order that neither their names nor their shards have.
  const std::pair<std::string, std::string> order[] = {{x, "c"}, {y, "a"}, {x, "b"}};
  for (const auto& [name, id] : order) {
    SavedReady(w, {.name = name, .retry = {.id = id}});
    w.t().Advance(seconds(2));
  }
  w.Crash();
  for (size_t i = 0; i < 2; ++i) {
    const std::string id = "new" + std::to_string(i);
    SavedReady(w, {.name = x, .retry = {.id = id}});
    EXPECT_EQ(Count(w.t()).outcomes, 3U);
    w.t().Advance(seconds(2));
  }
  // The youngest of the former three is the one that is left.
  w.Crash();
  EXPECT_EQ(Ok(w.t().Ready({.name = x, .retry = {.id = "b", .sent_ago = seconds(6)}})).effect,
            ReadyEffect::kCoalesced);
  EXPECT_EQ(ReasonOf(w.t().Ready({.name = y, .retry = {.id = "a", .sent_ago = seconds(9)}})),
            Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(w.t().Ready({.name = x, .retry = {.id = "c", .sent_ago = seconds(11)}})),
            Reason::kOutcomeUnknown);
}

TEST(RecoveredIds, OneThatIsForgottenDoesNotComeBack) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .retry = {.id = "r"}});
  w.Crash();
  EXPECT_EQ(w.disk().ids.size(), 1U);
  w.t().Advance(minutes(11));
  w.Save();
  EXPECT_TRUE(w.disk().ids.empty());
}

TEST(RecoveredStore, ANewOneKnowsNoFirstAttemptFromBefore) {
  Table t;
  Recovery recovery(t.poller());
  recovery.Finish(/*fresh=*/true);
  Ok(t.Open("a"));
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .retry = {.id = "r", .sent_ago = milliseconds(1)}})),
            Reason::kOutcomeUnknown);
  Ok(t.Ready({.name = "a", .retry = {.id = "r"}}));
}

TEST(RecoveredStore, TheHorizonOfANewOneIsSaved) {
  World w;
  w.Crash();
  SavedOpen(w, "a");
  EXPECT_EQ(ReasonOf(w.t().Ready({.name = "a", .retry = {.id = "r", .sent_ago = minutes(1)}})),
            Reason::kOutcomeUnknown);
}

TEST(RecoveredStore, ANewGenerationIsAboveAllThatWereGiven) {
  World w;
  SavedOpen(w, "{k}a");
  uint64_t last = Ok(w.t().Get("{k}a")).generation;
  for (int i = 0; i < 3; ++i) {
    Answered<CloseCall> close;
    w.poller().Close(w.t().now().mono, {.name = "{k}a"}, close);
    w.Save();
    w.Crash();
    SavedOpen(w, "{k}a");
    const uint64_t next = Ok(w.t().Get("{k}a")).generation;
    EXPECT_GT(next, last);
    EXPECT_EQ(next % kShards, ShardOf("{k}a"));
    last = next;
  }
}

TEST(RecoveredStore, ANameOfAnOlderStoreHasTheHighestGenerationToBeat) {
  Table t;
  Recovery recovery(t.poller());
  SavedDesc desc;
  desc.name = "{k}a";
  desc.generation = 1'000'003;  // of another shard's numbers
  ASSERT_TRUE(recovery.Restore(desc));
  EXPECT_TRUE(recovery.Restore(SavedShard{.shard = static_cast<uint32_t>(ShardOf("{k}a"))}));
  recovery.Finish(false);
  EXPECT_GT(Ok(t.Open("{k}b")).descriptor.generation, 1'000'003U);
}

TEST(RecoveredDelivery, MoreThanTheLimitAreLoaded) {
  World w;
  SavedOpen(w, "a", Kind::kFifo);
  for (const char* id : {"1", "2", "3"}) {
    SavedReady(w, {.name = "a"});
    WaitArgs args = WaitAs(id);
    args.ack_timeout = hours(1);
    const auto wait = w.t().Wait(args);
    w.Save();
    ASSERT_TRUE(wait->done());
  }
  w.Crash({.max_deliveries_of_side = 1}, Nanos(0));
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].unacked, 3U);
  WaitArgs args = WaitAs("4");
  args.ack_timeout = hours(1);
  EXPECT_EQ(RefusedAs(w.t().Wait(args)), Reason::kLimitDeliveries);
}

// Before the restart the answer was repeated, for nobody else has its signal.
TEST(RecoveredDelivery, AnAnswerWhoseSignalWasResetIsRepeatedYet) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .signal = Bytes("x")});
  WaitArgs args = WaitAs("w");
  args.ack_timeout = seconds(5);
  const auto wait = w.t().Wait(args);
  w.Save();
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = "a"}, reset);
  w.t().Advance(seconds(5));
  w.Save();
  args.retry.sent_ago = seconds(5);
  EXPECT_EQ(*ResultOf(w.t().Wait(args)).signal, "x");
  w.Crash();
  const auto again = w.t().Wait(args);
  ASSERT_TRUE(std::holds_alternative<WaitResult>(again->result())) << "as before the restart";
  EXPECT_EQ(*ResultOf(again).signal, "x");
}

TEST(RecoveredDelivery, WhatAResetHasForgottenDoesNotComeBack) {
  constexpr int kMany = 3000;
  World w;
  SavedOpen(w, "a", Kind::kFifo);
  for (int i = 0; i < kMany; ++i) {
    const std::string id = std::to_string(i);
    Answered<ReadyCall> ready;
    w.poller().Ready(w.t().now().mono, {.name = "a"}, ready);
    WaitArgs args = WaitAs(id);
    args.ack_timeout = seconds(5);
    const auto wait = w.t().Wait(args);
    w.Save();
  }
  w.t().Advance(seconds(5));
  w.Save();
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = "a"}, reset);
  w.Save();
  if (!reset.done()) return;  // then it may not have happened
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].returned, 0U) << "the Reset was answered";
}

TEST(RecoveredDelivery, AResetIsNotForgottenByARestart) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .signal = Bytes("x")});
  const auto wait = w.t().Wait(WaitAs("w"));
  w.Save();
  w.poller().Unwritten(*wait, seconds(30));
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = "a"}, reset);
  w.Save();
  w.Crash();
  w.t().Advance(seconds(31));
  EXPECT_EQ(w.t().Try("a").outcome, Outcome::kTimedOut);
}

}  // namespace
}  // namespace waitd::core
