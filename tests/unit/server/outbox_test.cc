// Each transition of a result on its way to the client: see the table in outbox.h.
#include "server/session/outbox.h"

#include <grpcpp/impl/codegen/proto_buffer_reader.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace waitd::server {
namespace {

class StillClock final : public core::Clock {
 public:
  core::Now Read() const override {
    return {core::Instant(std::chrono::seconds(1000)), core::WallTime(std::chrono::seconds(1000))};
  }
};

class Nobody final : public OperationOwner {
 public:
  void Completed(SessionOperation& /*operation*/, core::EffectBatch& /*batch*/) override {}
  std::string_view client() const override { return "nobody"; }
  bool connected() const override { return true; }
  uint64_t owner() const override { return 0; }
  core::Account* account() const override { return nullptr; }
};

// A wait with its signal: one that may go back.
class Taken final : public ShownCall<core::WaitCall> {
 public:
  Taken(OperationOwner& owner, uint64_t id, size_t size) : ShownCall(owner, id), size_(size) {}
  void Done() override {}
  void Write(const core::Now& /*now*/, RpcMetrics& /*metrics*/, v1::OperationResult& to) override {
    to.mutable_wait()->mutable_signal()->set_data(std::string(size_, 'x'));
  }
  size_t size() const override { return kSmall + size_; }

 private:
  const size_t size_;
};

class OutboxTest : public testing::Test {
 protected:
  void Add(uint64_t id, size_t size = 0) { outbox_.Add(std::make_unique<Taken>(owner_, id, size)); }
  void AddPlain(uint64_t id) { outbox_.Add(std::make_unique<EmptyOperation>(owner_, id)); }

  // The link is there, and its welcome is written.
  void Begin(const void* link) {
    outbox_.Begin(link, {});
    EXPECT_EQ(Next(), 0U);
    outbox_.Written(link, true);
  }

  // The number of what is to be written; none: nothing.
  std::optional<uint64_t> Next() {
    std::optional<grpc::ByteBuffer> bytes = outbox_.Next();
    if (!bytes.has_value()) return std::nullopt;
    grpc::ProtoBufferReader reader(&*bytes);
    last_.Clear();
    EXPECT_TRUE(last_.ParseFromZeroCopyStream(&reader));
    return last_.sequence();
  }

  // The ids of the last response.
  std::vector<uint64_t> Ids() const {
    std::vector<uint64_t> ids;
    for (const v1::OperationResult& each : last_.results()) ids.push_back(each.id());
    return ids;
  }

  static std::vector<uint64_t> Ids(const Outbox::Operations& operations) {
    std::vector<uint64_t> ids;
    for (const auto& each : operations) ids.push_back(each->id());
    return ids;
  }

  bool Acknowledge(uint64_t sequence) {
    std::vector<Outbox::Response> gone;
    return outbox_.Acknowledge(sequence, &gone);
  }

  using These = std::vector<uint64_t>;

  StillClock clock_;
  RpcMetrics metrics_;
  Nobody owner_;
  Outbox outbox_{clock_, metrics_};
  v1::SessionResponse last_;
  const int links_[3] = {};
  const void* const one_ = &links_[0];
  const void* const two_ = &links_[1];
  const void* const three_ = &links_[2];
};

TEST_F(OutboxTest, ComposesAsFarAsThereIsRoom) {
  const auto charged = [this] {
    const OutboxAmounts amounts = outbox_.amounts();
    return amounts.waits.bytes + amounts.calls.bytes + amounts.results.bytes;
  };
  Begin(one_);
  Add(1, 1000);
  Add(2, 1000);
  AddPlain(3);
  const OutboxAmounts waiting = outbox_.amounts();
  EXPECT_EQ(waiting.waits.bytes, 2 * core::WaitsOf(1).bytes) << "they share their signals";
  EXPECT_EQ(waiting.calls.bytes, core::WaitsOf(1).bytes);
  EXPECT_EQ(waiting.results.bytes, 0U);
  EXPECT_FALSE(outbox_.Next([](size_t) { return false; }).has_value());
  EXPECT_TRUE(outbox_.held_back());
  EXPECT_EQ(charged(), 3 * core::WaitsOf(1).bytes);
  EXPECT_TRUE(outbox_.Next([](size_t bytes) { return bytes < 2000; }).has_value());
  EXPECT_FALSE(outbox_.held_back()) << "it is being written";
  EXPECT_EQ(outbox_.amounts().waits.bytes, core::WaitsOf(1).bytes) << "the first one alone";
  EXPECT_GT(outbox_.amounts().results.bytes, 1000U + core::WaitsOf(1).bytes);
  outbox_.Written(one_, true);
  EXPECT_TRUE(outbox_.held_back()) << "there may be no room";
  EXPECT_EQ(Next(), 2U);
  EXPECT_EQ(Ids(), (These{2, 3}));
  outbox_.Written(one_, true);
  EXPECT_FALSE(outbox_.held_back());
  EXPECT_TRUE(Acknowledge(2));
  EXPECT_EQ(charged(), 0U);
}

TEST_F(OutboxTest, ChargesResultsWhatTheyTake) {
  constexpr size_t kMany = 1000;
  auto open = std::make_unique<SessionCall<OpenMethod>>(owner_, 1);
  core::OpenResult opened;
  opened.descriptor.labels = {{std::string(63, 'k'), std::string(256, 'v')}};
  open->result() = opened;
  EXPECT_GT(open->size(), 63U + 256U);
  outbox_.Add(std::move(open));
  EXPECT_GT(outbox_.amounts().calls.bytes, sizeof(core::OpenResult) + 63 + 256);
  auto poll = std::make_unique<SessionCall<PollMethod>>(owner_, 2);
  core::PollResult polled;
  for (uint32_t i = 0; i < kMany; ++i) polled.targets.emplace_back(i, core::WaitResult());
  poll->set_result(std::move(polled));
  outbox_.Add(std::move(poll));
  EXPECT_GT(outbox_.amounts().waits.bytes, kMany * sizeof(core::PollResult::Target));
  outbox_.Add(std::make_unique<RefusedOperation>(
      owner_, 3, Error{.reason = "BAD_NAME", .message = std::string(kMany, 'm'), .field = {}}));
  EXPECT_GT(outbox_.amounts().calls.bytes, sizeof(core::OpenResult) + 63 + 256 + kMany);
  (void)outbox_.TakeBack();
}

TEST_F(OutboxTest, ChargesNothingForWhatWentBack) {
  Begin(one_);
  Add(1);
  EXPECT_EQ(Next(), 1U);
  Add(2);
  AddPlain(3);
  EXPECT_EQ(Ids(outbox_.TakeBack()), (These{2, 3}));
  EXPECT_EQ(outbox_.amounts().waits.bytes + outbox_.amounts().calls.bytes, 0U);
  EXPECT_EQ(Ids(outbox_.Written(one_, false).back), (These{1}));
  EXPECT_TRUE(Acknowledge(1));
  EXPECT_EQ(outbox_.amounts().results.bytes, 0U);
}

TEST_F(OutboxTest, ComposesWhatWaitsWhenNothingIsBeingWritten) {
  Begin(one_);
  EXPECT_EQ(Next(), std::nullopt) << "nothing waits";
  Add(1);
  AddPlain(2);
  EXPECT_FALSE(outbox_.written());
  EXPECT_EQ(Next(), 1U);
  EXPECT_EQ(Ids(), These({1, 2}));
  EXPECT_TRUE(outbox_.writing());
}

TEST_F(OutboxTest, WhatComesDuringAWriteLeavesTogetherInTheNext) {
  Begin(one_);
  Add(1);
  EXPECT_EQ(Next(), 1U);
  Add(2);
  Add(3);
  EXPECT_EQ(Next(), std::nullopt) << "one write at a time";
  outbox_.Written(one_, true);
  EXPECT_EQ(Next(), 2U);
  EXPECT_EQ(Ids(), These({2, 3}));
}

TEST_F(OutboxTest, WithoutALinkNothingIsWrittenAndOnlyFullBatchesAreComposed) {
  for (uint64_t id = 1; id < Outbox::kBatch; ++id) AddPlain(id);
  EXPECT_EQ(Next(), std::nullopt);
  EXPECT_EQ(outbox_.bytes().unwritten, 0U);
  AddPlain(Outbox::kBatch);
  EXPECT_EQ(Next(), std::nullopt);
  EXPECT_GT(outbox_.bytes().unwritten, 0U);
  EXPECT_EQ(outbox_.bytes().waiting, 0U);
  EXPECT_FALSE(outbox_.written());
  Begin(one_);
  EXPECT_EQ(Next(), 1U);
  EXPECT_EQ(Ids().size(), Outbox::kBatch);
}

TEST_F(OutboxTest, AMessageWithoutANumberGoesFirst) {
  Begin(one_);
  Add(1);
  outbox_.Say({});
  EXPECT_EQ(Next(), 0U);
  outbox_.Written(one_, true);
  EXPECT_EQ(Next(), 1U);
  outbox_.Say({});
  outbox_.Lose();
  outbox_.Written(one_, false);
  Begin(two_);
  EXPECT_EQ(Next(), 1U) << "what was to be said on the former link is not said on this one";
}

TEST_F(OutboxTest, AWriteThatEndsWellSpendsItsSignals) {
  Begin(one_);
  Add(1);
  Next();
  const Outbox::Decided decided = outbox_.Written(one_, true);
  EXPECT_EQ(Ids(decided.spent), These({1}));
  EXPECT_TRUE(decided.back.empty());
  EXPECT_TRUE(outbox_.written());
  EXPECT_TRUE(outbox_.TakeBack().empty());
}

TEST_F(OutboxTest, AFailedWriteDecidesNothingBeforeTheEnd) {
  Begin(one_);
  Add(1);
  Next();
  const Outbox::Decided decided = outbox_.Written(one_, false);
  EXPECT_TRUE(decided.spent.empty());
  EXPECT_TRUE(decided.back.empty());
  outbox_.Lose();
  EXPECT_EQ(Ids(outbox_.TakeBack()), These({1}));
}

TEST_F(OutboxTest, ANewLinkIsToldEverythingThatIsNotAcknowledged) {
  Begin(one_);
  for (uint64_t id = 1; id <= 3; ++id) {
    Add(id);
    EXPECT_EQ(Next(), id);
    if (id < 3) outbox_.Written(one_, true);
  }
  EXPECT_TRUE(Acknowledge(1));
  outbox_.Lose();
  EXPECT_EQ(Next(), std::nullopt);
  Begin(two_);
  EXPECT_EQ(Next(), 2U);
  EXPECT_EQ(Ids(), These({2}));
  outbox_.Written(two_, true);
  EXPECT_EQ(Next(), 3U);
  EXPECT_EQ(Ids(), These({3}));
}

TEST_F(OutboxTest, TheWriteOfALostLinkSpendsItsSignalsAndIsWrittenAgain) {
  Begin(one_);
  Add(1);
  Next();
  Begin(two_);
  EXPECT_EQ(Ids(outbox_.Written(one_, true).spent), These({1}));
  EXPECT_FALSE(outbox_.written()) << "nobody knows whether it arrived";
  EXPECT_EQ(Next(), 1U);
  EXPECT_TRUE(outbox_.TakeBack().empty());
}

TEST_F(OutboxTest, EachOfTwoLostLinksMaySpendTheSameSignal) {
  Begin(one_);
  Add(1);
  Next();
  Begin(two_);
  EXPECT_EQ(Next(), 1U);
  Begin(three_);
  EXPECT_EQ(Ids(outbox_.Written(one_, true).spent), These({1}));
  EXPECT_TRUE(outbox_.Written(two_, false).back.empty());
  EXPECT_TRUE(outbox_.TakeBack().empty());
}

TEST_F(OutboxTest, AnAcknowledgementLetsResponsesGo) {
  Begin(one_);
  for (uint64_t id = 1; id <= 2; ++id) {
    Add(id);
    Next();
    outbox_.Written(one_, true);
  }
  EXPECT_EQ(outbox_.unacked(), 2U);
  EXPECT_TRUE(Acknowledge(0));
  EXPECT_EQ(outbox_.unacked(), 2U);
  EXPECT_TRUE(Acknowledge(1));
  EXPECT_EQ(outbox_.unacked(), 1U);
  EXPECT_TRUE(Acknowledge(2));
  EXPECT_TRUE(Acknowledge(1)) << "an older one comes late";
  EXPECT_EQ(outbox_.unacked(), 0U);
  Begin(two_);
  EXPECT_EQ(Next(), std::nullopt);
}

TEST_F(OutboxTest, AnAcknowledgementMayComeBeforeTheWriteHasEnded) {
  Begin(one_);
  Add(1);
  Next();
  EXPECT_TRUE(Acknowledge(1));
  Add(2);
  EXPECT_EQ(Next(), std::nullopt) << "the write is still under way";
  EXPECT_TRUE(outbox_.Written(one_, true).spent.empty());
  EXPECT_EQ(Next(), 2U);
}

TEST_F(OutboxTest, WhatWasNeverWrittenCannotBeAcknowledged) {
  EXPECT_FALSE(Acknowledge(1));
  Begin(one_);
  Add(1);
  EXPECT_EQ(Next(), 1U);
  for (uint64_t id = 2; id < 2 + Outbox::kBatch; ++id) Add(id);
  EXPECT_EQ(Next(), std::nullopt);
  EXPECT_EQ(outbox_.bytes().waiting, 0U);
  EXPECT_FALSE(Acknowledge(2)) << "it is composed";
  EXPECT_TRUE(Acknowledge(1)) << "its write has begun";
  outbox_.Written(one_, true);
  EXPECT_EQ(Ids(outbox_.TakeBack()).size(), Outbox::kBatch);
}

TEST_F(OutboxTest, WhatWasWrittenOnAFormerLinkCanBeAcknowledgedOnTheNext) {
  Begin(one_);
  Add(1);
  Next();
  outbox_.Lose();
  EXPECT_TRUE(Acknowledge(1));
  Begin(two_);
  EXPECT_EQ(Next(), std::nullopt);
  EXPECT_TRUE(outbox_.Written(one_, false).back.empty()) << "the client has it";
}

TEST_F(OutboxTest, TakesBackWhatWaitsAndWhatIsComposed) {
  Begin(one_);
  for (uint64_t id = 1; id <= Outbox::kBatch; ++id) Add(id);
  outbox_.Say({});
  EXPECT_EQ(Next(), 0U);
  Add(1000);
  const Outbox::Operations back = outbox_.TakeBack();
  ASSERT_EQ(back.size(), Outbox::kBatch + 1);
  EXPECT_EQ(back.back()->id(), 1000U);
  outbox_.Written(one_, true);
  EXPECT_EQ(Next(), std::nullopt) << "the session has ended";
  EXPECT_TRUE(outbox_.TakeBack().empty()) << "once";
}

TEST_F(OutboxTest, WhatIsBeingWrittenAtTheEndGoesBackWhenItsLastWriteFails) {
  Begin(one_);
  Add(1);
  Next();
  Begin(two_);
  EXPECT_EQ(Next(), 1U);
  EXPECT_TRUE(outbox_.TakeBack().empty());
  EXPECT_TRUE(outbox_.Written(one_, false).back.empty()) << "the other one may end well";
  EXPECT_EQ(Ids(outbox_.Written(two_, false).back), These({1}));
}

TEST_F(OutboxTest, WhatIsBeingWrittenAtTheEndIsSpentWhenThatEndsWell) {
  Begin(one_);
  Add(1);
  Next();
  outbox_.Lose();
  EXPECT_TRUE(outbox_.TakeBack().empty());
  const Outbox::Decided decided = outbox_.Written(one_, true);
  EXPECT_EQ(Ids(decided.spent), These({1}));
  EXPECT_TRUE(decided.back.empty());
}

TEST_F(OutboxTest, KnowsItsBytesInEachState) {
  constexpr size_t kSignal = 5000;
  const auto bytes = [&] { return outbox_.bytes(); };
  Begin(one_);
  Add(1, kSignal);
  EXPECT_GE(bytes().waiting, kSignal);
  EXPECT_EQ(bytes().unwritten + bytes().written + bytes().kept, 0U);
  Next();
  EXPECT_EQ(bytes().waiting, 0U);
  EXPECT_EQ(bytes().unwritten, last_.ByteSizeLong());
  EXPECT_GE(bytes().kept, kSignal);
  outbox_.Written(one_, true);
  EXPECT_EQ(bytes().unwritten, 0U);
  EXPECT_EQ(bytes().written, last_.ByteSizeLong());
  EXPECT_EQ(bytes().kept, 0U);
  const size_t size = last_.ByteSizeLong();
  Begin(two_);
  EXPECT_EQ(bytes().unwritten, size) << "it is written again";
  EXPECT_EQ(bytes().written, 0U);
  Next();
  EXPECT_TRUE(Acknowledge(1));
  EXPECT_EQ(bytes().unwritten + bytes().written + bytes().kept, 0U);
  outbox_.Written(two_, true);
  Add(2, kSignal);
  Next();
  outbox_.Written(two_, true);
  EXPECT_TRUE(Acknowledge(2));
  Add(3, kSignal);
  outbox_.TakeBack();
  EXPECT_EQ(bytes().waiting + bytes().unwritten + bytes().written + bytes().kept, 0U);
}

TEST_F(OutboxTest, ResultsCountAsUnacknowledgedWhileTheyWait) {
  AddPlain(1);
  AddPlain(2);
  EXPECT_EQ(outbox_.unacked(), 2U);
  Add(3, 10 * 1024);
  EXPECT_EQ(outbox_.unacked(), 10U) << "large ones count as several";
}

TEST_F(OutboxTest, ALargeResponseIsWrittenInParts) {
  constexpr size_t kSignal = size_t{300} << 10;
  Begin(one_);
  for (uint64_t id = 1; id <= 6; ++id) Add(id, kSignal);
  EXPECT_EQ(Next(), 1U);
  EXPECT_EQ(Ids(), These({1, 2, 3, 4}));
  outbox_.Written(one_, true);
  EXPECT_EQ(Next(), 2U);
  EXPECT_EQ(Ids(), These({5, 6}));
}

TEST(CompletedOperationsTest, AreTakenInTheirOrderAndTheFirstIsKnown) {
  Nobody owner;
  EmptyOperation one(owner, 1);
  EmptyOperation two(owner, 2);
  EmptyOperation three(owner, 3);
  CompletedOperations completed;
  std::vector<uint64_t> taken;
  const auto take = [&](const SessionOperation& each) { taken.push_back(each.id()); };
  EXPECT_TRUE(completed.Add(one));
  EXPECT_FALSE(completed.Add(two));
  EXPECT_FALSE(completed.Add(three));
  completed.Take(take);
  EXPECT_EQ(taken, std::vector<uint64_t>({1, 2, 3}));
  EXPECT_TRUE(completed.Add(two)) << "the first since";
  completed.Take(take);
  EXPECT_EQ(taken, std::vector<uint64_t>({1, 2, 3, 2}));
  completed.Take(take);
  EXPECT_EQ(taken.size(), 4U);
}

}  // namespace
}  // namespace waitd::server
