#include "core/recovery.h"

#include <gtest/gtest.h>

#include <string>

#include "core/shard.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

class RecoveryTest : public testing::Test {
 protected:
  static SavedDesc Desc(const std::string& name, uint64_t generation) {
    SavedDesc desc;
    desc.name = name;
    desc.generation = generation;
    return desc;
  }

  // Of a READY that was handed over on the descriptor of that generation.
  static SavedId HandOff(size_t shard, const std::string& id, uint64_t generation) {
    SavedId saved;
    saved.key = {.use = IdUse::kReadHandOff, .name = 1, .id = id};
    saved.shard = static_cast<uint32_t>(shard);
    saved.state = IdRecord::State::kPending;
    saved.hand_off = SavedId::SavedHandOff{.generation = generation};
    return saved;
  }

  Table t;
  Recovery recovery{t.poller(), t.now()};
};

TEST_F(RecoveryTest, DescriptorsOfOneGenerationContradictEachOther) {
  EXPECT_TRUE(recovery.Restore(Desc("a", 1)));
  EXPECT_FALSE(recovery.Restore(Desc("b", 1)));
}

TEST_F(RecoveryTest, AHandOffIsOfTheShardOfItsDescriptor) {
  ASSERT_TRUE(recovery.Restore(Desc("a", 1)));
  EXPECT_FALSE(recovery.Restore(HandOff((ShardOf("a") + 1) % kShards, "w", 1)));
  EXPECT_TRUE(recovery.Restore(HandOff(ShardOf("a"), "w", 1)));
  EXPECT_FALSE(recovery.Restore(HandOff(ShardOf("a"), "w", 1))) << "twice";
  recovery.Finish(2);
  EXPECT_EQ(recovery.descriptors(), 1U);
  EXPECT_EQ(Ok(t.Get("a")).side[0].unacked, 1U);
}

TEST_F(RecoveryTest, AHandOffWithoutItsDescriptorIsForgotten) {
  EXPECT_TRUE(recovery.Restore(HandOff(0, "w", 1)));
  EXPECT_FALSE(recovery.Restore(HandOff(kShards, "w", 1))) << "there is no such shard";
}

// The monotonic clock begins with the machine: what was due while that was off is before its zero.
TEST_F(RecoveryTest, InstantsFromBeforeTheMachineStartedAreDue) {
  SavedDesc desc = Desc("a", 1);
  desc.side[0].deadline = {Instant(-hours(1)), WallTime(hours(1)), Deadline::State::kArmed};
  ASSERT_TRUE(recovery.Restore(desc));
  SavedId pending = HandOff(ShardOf("a"), "w", 1);
  pending.alarm = Instant(-hours(2));
  ASSERT_TRUE(recovery.Restore(pending));
  SavedId answered;
  answered.key.id = "i";
  answered.recorded = Instant(-hours(3));
  answered.answer = WaitResult{.outcome = Outcome::kTimedOut};
  ASSERT_TRUE(recovery.Restore(answered));
  recovery.Finish(2);
  t.RunTimers();
  EXPECT_EQ(Count(t).outcomes, 1U) << "that the hand-off was taken back";
  EXPECT_EQ(Ok(t.Get("a")).side[0].returned, 1U);
  EXPECT_EQ(t.Try("a").cause, TimeoutCause::kDeadline);
}

TEST_F(RecoveryTest, WhatWasTakenBackIsCounted) {
  SavedDesc desc = Desc("a", 1);
  desc.side[0].returned.push_back({.signal = Bytes("x"), .attempt = 2, .delivery = 1});
  ASSERT_TRUE(recovery.Restore(desc));
  recovery.Finish(2);
  EXPECT_EQ(Count(t).returned, 1U);
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(Count(t).returned, 0U);
}

}  // namespace
}  // namespace waitd::core
