// A session with a link that a test holds in its hands, under a clock that stands still until told.
#include "server/session/session.h"

#include <google/protobuf/arena.h>
#include <grpcpp/impl/codegen/proto_buffer_reader.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <bit>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/journal.h"
#include "core/saved.h"

namespace waitd::server {
namespace {

void FinishNow(const std::shared_ptr<Session>& session) { session->Finish(); }

// As a stream does it, which was let in before.
std::optional<Error> Receive(const core::Clock& clock, Session& session, const Link& link,
                             const v1::SessionRequest& message, google::protobuf::Arena& arena) {
  const core::Instant received = clock.Read().mono;
  for (int next = 0;;) {
    auto error = session.Receive(link, message, arena, received, false, &next);
    if (error.has_value() || next == message.operations_size()) return error;
  }
}

using std::chrono::seconds;

class ManualClock final : public core::Clock {
 public:
  core::Now Read() const override { return now; }
  core::Now now{core::Instant(seconds(1000)), core::WallTime(seconds(1'000'000))};
};

// Keeps what is written; the test says when a write has ended.
class FakeLink final : public Link {
 public:
  bool Write(const grpc::ByteBuffer& bytes) override {
    EXPECT_FALSE(writing) << "two writes at once";
    EXPECT_FALSE(ended);
    writing = true;
    grpc::ByteBuffer copy = bytes;
    grpc::ProtoBufferReader reader(&copy);
    EXPECT_TRUE(written.emplace_back().ParseFromZeroCopyStream(&reader));
    return true;
  }
  void End(const std::optional<Error>& with) override {
    EXPECT_FALSE(ended) << "ended twice";
    ended = true;
    error = with;
  }
  void Break() override { broken = true; }

  std::vector<v1::SessionResponse> written;
  bool writing = false;
  bool ended = false;
  bool broken = false;
  std::optional<Error> error;
};

class SessionTest : public testing::Test {
 protected:
  SessionTest() : session_(Begin()) {
    EXPECT_TRUE(session_->Attach(link_, false, 0, &none_));
    EXPECT_FALSE(none_.has_value());
    Drain();
  }

  ~SessionTest() override { session_->End(std::nullopt); }

  std::shared_ptr<Session> Begin() {
    v1::SessionHello hello;
    hello.set_client("test");
    return std::make_shared<Session>(context_, 1, Visitor{}, hello, "token", seconds(30),
                                     core::Charge());
  }

  // Every write that is under way ends well, and what follows from it.
  void Drain() {
    while (link_->writing) {
      link_->writing = false;
      session_->Written(*link_, true);
    }
  }

  std::optional<Error> Send(const v1::SessionRequest& message) {
    google::protobuf::Arena arena;
    return Receive(clock_, *session_, *link_, message, arena);
  }

  static v1::SessionRequest WaitFor(uint64_t id, const std::string& name) {
    v1::SessionRequest message;
    auto& operation = *message.add_operations();
    operation.set_id(id);
    operation.mutable_wait()->set_name(name);
    operation.mutable_wait()->mutable_open_if_missing();
    return message;
  }

  static v1::SessionRequest ReadyFor(uint64_t id, const std::string& name) {
    v1::SessionRequest message;
    auto& operation = *message.add_operations();
    operation.set_id(id);
    operation.mutable_ready()->set_name(name);
    operation.mutable_ready()->mutable_open_if_missing();
    return message;
  }

  void Pass(core::Nanos by) {
    clock_.now.mono += by;
    clock_.now.wall += by;
    session_->Tick(clock_.now.mono);
  }

  bool HasOpen(std::string_view name) {
    struct Call final : core::GetCall {
      void Done() override {}
    } call;
    poller_.Get({name}, call);
    return std::holds_alternative<core::DescriptorInfo>(call.result());
  }

  // Whether a READY stands on the name.
  bool HasReady(std::string_view name) {
    struct Call final : core::GetCall {
      void Done() override {}
    } call;
    poller_.Get({name}, call);
    return std::get<core::DescriptorInfo>(call.result()).side[0].state ==
           core::SemaphoreState::kReady;
  }

  ManualClock clock_;
  core::Poller poller_{{}, clock_, nullptr, nullptr};
  RpcMetrics metrics_;
  Gate gate_{AuthMode::kNone, 0, poller_.budget()};
  int ended_ = 0;
  SessionContext context_{.poller = poller_,
                          .clock = clock_,
                          .metrics = metrics_,
                          .gate = gate_,
                          .signals = {10'000, poller_.budget()},
                          .parked_max = 10,
                          .unacked_max = 4,
                          .ended = [this](Session&) { ++ended_; },
                          .finish = FinishNow};
  std::shared_ptr<FakeLink> link_ = std::make_shared<FakeLink>();
  std::optional<Error> none_;
  std::shared_ptr<Session> session_;
};

TEST_F(SessionTest, WhatIsReadyWhileAMessageIsWrittenLeavesTogether) {
  for (uint64_t id = 1; id <= 3; ++id) {
    EXPECT_FALSE(Send(ReadyFor(id, "n" + std::to_string(id))).has_value());
  }
  ASSERT_EQ(link_->written.size(), 2U) << "the welcome, and the first result at once";
  EXPECT_EQ(link_->written[1].results_size(), 1);
  Drain();
  ASSERT_EQ(link_->written.size(), 3U);
  EXPECT_EQ(link_->written[2].results_size(), 2);
  EXPECT_EQ(link_->written[2].sequence(), 2U);
}

// Another session of the same server.
class TwoSessionsTest : public SessionTest {
 protected:
  TwoSessionsTest() {
    v1::SessionHello hello;
    hello.set_client("other");
    other_ = std::make_shared<Session>(context_, 2, Visitor{}, hello, "other", seconds(30),
                                       core::Charge());
    EXPECT_TRUE(other_->Attach(other_link_, false, 0, &none_));
    EndOther();
  }
  ~TwoSessionsTest() override { other_->End(std::nullopt); }

  void EndOther() {
    other_link_->writing = false;
    other_->Written(*other_link_, true);
  }

  std::shared_ptr<FakeLink> other_link_ = std::make_shared<FakeLink>();
  std::shared_ptr<Session> other_;
};

TEST_F(TwoSessionsTest, WhatAMessageEndsInAnotherSessionLeavesTogether) {
  v1::SessionRequest waits;
  v1::SessionRequest readies;
  for (uint64_t id = 1; id <= 8; ++id) {
    *waits.add_operations() = WaitFor(id, "n" + std::to_string(id)).operations(0);
    *readies.add_operations() = ReadyFor(2 * id, "n" + std::to_string(id)).operations(0);
    v1::Operation& poll = *readies.add_operations();  // which is carried out by itself
    poll.set_id(2 * id + 1);
    poll.mutable_poll()->add_targets()->set_name("n1");
    poll.mutable_poll()->mutable_timeout();
  }
  google::protobuf::Arena arena;
  EXPECT_FALSE(Receive(clock_, *other_, *other_link_, waits, arena).has_value());
  EXPECT_EQ(other_link_->written.size(), 1U) << "the welcome";
  EXPECT_FALSE(Send(readies).has_value());
  ASSERT_EQ(other_link_->written.size(), 2U);
  EXPECT_EQ(other_link_->written[1].results_size(), 8);
  EndOther();
  EXPECT_FALSE(other_link_->writing);
}

TEST_F(TwoSessionsTest, WhatOneRunOfTheTimersEndsLeavesTogether) {
  v1::SessionRequest waits;
  for (uint64_t id = 1; id <= 8; ++id) {
    v1::Operation& wait = *waits.add_operations();
    wait = WaitFor(id, "n" + std::to_string(id)).operations(0);
    wait.mutable_wait()->mutable_timeout()->set_seconds(1);
  }
  google::protobuf::Arena arena;
  EXPECT_FALSE(Receive(clock_, *other_, *other_link_, waits, arena).has_value());
  Pass(seconds(1));
  {
    core::EffectBatch batch;
    poller_.RunTimers(&batch);
    EXPECT_EQ(other_link_->written.size(), 1U) << "before the batch has ended";
  }
  ASSERT_EQ(other_link_->written.size(), 2U);
  EXPECT_EQ(other_link_->written[1].results_size(), 8);
}

TEST_F(SessionTest, AMessageHasSoManyOperationsAndNotOneMore) {
  v1::SessionRequest message;
  for (int i = 1; i <= Session::kOperationsMax; ++i) {
    v1::Operation& operation = *message.add_operations();
    operation.set_id(static_cast<uint64_t>(i));
    operation.set_cancel(1'000'000);
  }
  v1::Operation& one_more = *message.add_operations();
  one_more = ReadyFor(1'000'000, "a").operations(0);
  std::optional<Error> error = Send(message);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->reason, "BAD_SESSION");
  EXPECT_EQ(link_->written.size(), 1U) << "none was carried out";
  message.mutable_operations()->RemoveLast();
  context_.unacked_max = 100'000;
  EXPECT_EQ(Send(message), std::nullopt);
}

TEST_F(SessionTest, ResultsOfOneMessageCountAgainstTheLimitWhileTheyWait) {
  v1::SessionRequest message;
  for (uint64_t id = 1; id <= 4000; ++id) {
    *message.add_operations() = ReadyFor(id, "a").operations(0);
  }
  const std::optional<Error> error = Send(message);
  ASSERT_TRUE(error.has_value()) << "four results may be unacknowledged";
  EXPECT_EQ(error->reason, "LIMIT_UNACKED");
}

TEST_F(SessionTest, WhatOneMessageAsksForIsAnsweredTogether) {
  v1::SessionRequest message = ReadyFor(1, "a");
  *message.add_operations() = ReadyFor(2, "").operations(0);  // refused before the core hears of it
  message.add_operations()->set_id(3);                        // asks for nothing
  EXPECT_FALSE(Send(message).has_value());
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_EQ(link_->written[1].results_size(), 3);
}

TEST_F(SessionTest, AStreamEndsWithItsSessionWhenItsLastWriteHasEndedWell) {
  EXPECT_FALSE(Send(ReadyFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "b")).has_value());
  session_->End(Error{.reason = "DRAINING", .message = "the test says so", .field = {}});
  EXPECT_FALSE(link_->ended);
  Drain();
  EXPECT_TRUE(link_->ended);
  ASSERT_TRUE(link_->error.has_value());
  EXPECT_EQ(link_->error->reason, "DRAINING");
  EXPECT_EQ(link_->written.size(), 2U) << "nothing more is written";
  EXPECT_EQ(ended_, 1);
}

TEST_F(SessionTest, AFailedWriteIsTheEndOfItsStream) {
  EXPECT_FALSE(Send(ReadyFor(1, "a")).has_value());
  session_->Written(*link_, false);
  EXPECT_FALSE(session_->connected());
  EXPECT_FALSE(Send(ReadyFor(2, "b")).has_value());
  EXPECT_FALSE(HasOpen("b")) << "it is passed over";
  link_ = std::make_shared<FakeLink>();
  EXPECT_TRUE(session_->Attach(link_, true, 0, &none_));
  Drain();
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_EQ(link_->written[0].welcome().received_through(), 1U);
  EXPECT_EQ(link_->written[1].sequence(), 1U);
}

TEST_F(SessionTest, AfterTheEndThereIsNothingToResume) {
  session_->End(std::nullopt);
  EXPECT_FALSE(session_->Attach(std::make_shared<FakeLink>(), true, 0, &none_));
  EXPECT_FALSE(none_.has_value());
}

TEST_F(SessionTest, WhatWasNeverWrittenCannotBeAcknowledged) {
  context_.unacked_max = 1 << 20;
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "b")).has_value());
  ASSERT_TRUE(link_->writing);
  v1::SessionRequest many = ReadyFor(3, "a");
  for (uint64_t id = 4; id < 4 + Outbox::kBatch; ++id) {
    *many.add_operations() = ReadyFor(id, "b").operations(0);
  }
  EXPECT_FALSE(Send(many).has_value()) << "the READY of 1 is in a response that is not written";
  v1::SessionRequest acknowledges;
  acknowledges.set_acked_sequence(2);
  const std::optional<Error> error = Send(acknowledges);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->reason, "BAD_SESSION");
  session_->End(error);
  EXPECT_TRUE(HasReady("a"));
}

TEST_F(SessionTest, AQuietStreamIsKeptAliveAndASilentOneIsBrokenOff) {
  Pass(seconds(29));
  EXPECT_EQ(link_->written.size(), 1U);
  Pass(seconds(1));
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_EQ(link_->written[1].sequence(), 0U);
  Drain();
  EXPECT_FALSE(Send(v1::SessionRequest()).has_value());
  Pass(seconds(60));
  EXPECT_FALSE(link_->broken);
  Pass(core::Nanos(1));
  EXPECT_TRUE(link_->broken);
}

TEST_F(SessionTest, ARefusalSaysOfWhichNameItIs) {
  v1::SessionRequest message = ReadyFor(1, "there");
  const auto add = [&]() -> v1::Operation& {
    v1::Operation& operation = *message.add_operations();
    operation.set_id(static_cast<uint64_t>(message.operations_size()));
    return operation;
  };
  add().mutable_ready()->set_name("");  // refused before the core hears of it
  add().mutable_ready()->set_name("one");
  v1::PollRequest& poll = *add().mutable_poll();
  poll.add_targets()->set_name("there");
  poll.add_targets()->set_name("two");
  add().mutable_wait()->set_name("three");
  EXPECT_FALSE(Send(message).has_value());
  Drain();
  std::map<uint64_t, std::string> said;
  for (const v1::SessionResponse& response : link_->written) {
    for (const v1::OperationResult& result : response.results()) {
      said[result.id()] = result.error().message();
    }
  }
  ASSERT_EQ(said.size(), 5U);
  EXPECT_NE(said[3].find("'one'"), std::string::npos) << said[3];
  EXPECT_NE(said[4].find("'two'"), std::string::npos) << said[4];
  EXPECT_NE(said[5].find("'three'"), std::string::npos) << said[5];
}

TEST_F(SessionTest, WhoHasHalfClosedIsNotSilent) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  session_->HalfClosed(*link_);
  Drain();
  Pass(seconds(1000));
  EXPECT_FALSE(link_->broken);
  EXPECT_FALSE(link_->ended) << "the rest is to be answered";
}

TEST_F(SessionTest, AHalfCloseEndsWellWhenTheRestIsAnswered) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  session_->HalfClosed(*link_);
  EXPECT_FALSE(link_->ended);
  Drain();
  EXPECT_TRUE(link_->ended);
  EXPECT_FALSE(link_->error.has_value());
  EXPECT_EQ(ended_, 1);
}

TEST_F(SessionTest, WhoNeverAcknowledgesIsRefusedAndThenEnded) {
  for (uint64_t id = 1; id <= 8; ++id) {
    EXPECT_FALSE(Send(ReadyFor(id, "a")).has_value());
    Drain();
  }
  EXPECT_EQ(link_->written.back().results(0).error().reason(), "LIMIT_UNACKED");
  const auto error = Send(ReadyFor(9, "a"));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->reason, "LIMIT_UNACKED");
}

TEST_F(SessionTest, LargeResultsThatAreNotAcknowledgedCountAsSeveral) {
  const auto large = [&](uint64_t id) {
    v1::SessionRequest message = ReadyFor(id, "a");
    message.mutable_operations(0)->mutable_ready()->mutable_signal()->set_data(
        std::string(5000, 'x'));
    EXPECT_FALSE(Send(message).has_value());
    Drain();
  };
  large(1);
  EXPECT_FALSE(Send(WaitFor(2, "a")).has_value());
  Drain();
  EXPECT_TRUE(link_->written.back().results(0).has_wait());
  EXPECT_FALSE(Send(WaitFor(3, "a")).has_value()) << "five KiB, where four are let be";
  Drain();
  EXPECT_EQ(link_->written.back().results(0).error().reason(), "LIMIT_UNACKED");
}

TEST_F(SessionTest, AnAcknowledgementMakesRoomAgain) {
  for (uint64_t id = 1; id <= 5; ++id) {
    EXPECT_FALSE(Send(ReadyFor(id, "a")).has_value());
    Drain();
  }
  EXPECT_EQ(link_->written.back().results(0).error().reason(), "LIMIT_UNACKED");
  v1::SessionRequest next = ReadyFor(6, "a");
  next.set_acked_sequence(link_->written.back().sequence());
  EXPECT_FALSE(Send(next).has_value());
  Drain();
  EXPECT_TRUE(link_->written.back().results(0).has_ready());
}

TEST_F(SessionTest, AReadyThatWasNeverWrittenGoesBackWhenTheSessionHasLingered) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  ASSERT_TRUE(link_->writing);
  session_->Written(*link_, false);
  session_->Broken(*link_);
  EXPECT_FALSE(session_->connected());
  Pass(seconds(29));
  EXPECT_FALSE(HasReady("a")) << "a resume may ask for it";
  Pass(seconds(1));
  EXPECT_TRUE(HasReady("a"));
  EXPECT_EQ(ended_, 1);
}

TEST_F(SessionTest, AReadyThatWasWrittenIsSpent) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  Drain();
  session_->Broken(*link_);
  Pass(seconds(30));
  EXPECT_FALSE(HasReady("a"));
}

TEST_F(SessionTest, AResumeSaysEverythingAgainThatWasNotAcknowledged) {
  EXPECT_FALSE(Send(ReadyFor(1, "a")).has_value());
  Drain();
  EXPECT_FALSE(Send(ReadyFor(2, "b")).has_value());
  Drain();
  const std::vector<v1::SessionResponse> before = link_->written;
  const auto former = link_;
  link_ = std::make_shared<FakeLink>();
  EXPECT_TRUE(session_->Attach(link_, true, 1, &none_));
  EXPECT_TRUE(former->broken) << "the former stream is ended first";
  Drain();
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_TRUE(link_->written[0].welcome().resumed());
  EXPECT_EQ(link_->written[0].welcome().received_through(), 2U);
  EXPECT_EQ(link_->written[1].SerializeAsString(), before.back().SerializeAsString());
  google::protobuf::Arena arena;
  EXPECT_FALSE(Receive(clock_, *session_, *former, ReadyFor(3, "c"), arena).has_value());
  Drain();
  EXPECT_EQ(link_->written.size(), 2U) << "what comes by the former stream is passed over";
}

TEST_F(SessionTest, ReadsNoMoreWhenItIsToldSoAndFinishesWhatItHas) {
  EXPECT_FALSE(session_->congested());
  EXPECT_EQ(Send(WaitFor(1, "n")), std::nullopt);
  session_->StopReading();
  EXPECT_TRUE(session_->congested());
  EXPECT_FALSE(session_->flushed()) << "a wait is in flight";
  poller_.RefuseWaits();
  while (poller_.EndWaits()) {
  }
  EXPECT_FALSE(session_->flushed()) << "its result is being written";
  Drain();
  EXPECT_TRUE(session_->flushed());
  EXPECT_TRUE(session_->congested());
}

// Says nothing by itself: the test lets what waits for the store go.
class HeldJournal final : public core::Journal {
 public:
  void Changed(core::ShardSet shards) override { changed_ |= shards; }
  // On a thread that holds no results back.
  void Save(core::Poller& poller) { SaveOf(poller, changed_); }

  // Of one shard.
  void SaveFirst(core::Poller& poller) { SaveOf(poller, changed_ & (~changed_ + 1)); }

  core::ShardSet changed() const { return changed_; }

 private:
  void SaveOf(core::Poller& poller, core::ShardSet dirty) {
    changed_ &= ~dirty;
    core::Changes changes;
    core::Poller::Cut cut;
    while (poller.Collect(dirty, changes, cut)) {
    }
    EXPECT_EQ(dirty, 0U);
    while (poller.Saved(cut)) {
    }
  }

  core::ShardSet changed_ = 0;
};

class HeldSessionTest : public SessionTest {
 protected:
  HeldSessionTest() {
    v1::SessionHello hello;
    held_ = std::make_shared<Session>(held_context_, 1, Visitor{}, hello, "held", seconds(30),
                                      core::Charge());
    EXPECT_TRUE(held_->Attach(held_link_, false, 0, &none_));
    EndWrite();
  }
  ~HeldSessionTest() override {
    if (held_ != nullptr) held_->End(std::nullopt);
    journal_.Save(held_poller_);
  }

  void EndWrite() {
    held_link_->writing = false;
    held_->Written(*held_link_, true);
  }
  void SendHeld(const v1::SessionRequest& message) {
    google::protobuf::Arena arena;
    EXPECT_FALSE(Receive(clock_, *held_, *held_link_, message, arena).has_value());
  }

  HeldJournal journal_;
  core::Poller held_poller_{{}, clock_, &journal_, nullptr};
  SessionContext held_context_{.poller = held_poller_,
                               .clock = clock_,
                               .metrics = metrics_,
                               .gate = gate_,
                               .signals = {1000, held_poller_.budget()},
                               .parked_max = 10,
                               .unacked_max = 1 << 20,
                               .ended = [](Session&) {},
                               .finish = FinishNow};
  std::shared_ptr<FakeLink> held_link_ = std::make_shared<FakeLink>();
  std::shared_ptr<Session> held_;
};

TEST_F(HeldSessionTest, OutlivesItsLastResultThoughAllOthersHaveLetItGo) {
  SendHeld(ReadyFor(1, "a"));
  held_->End(std::nullopt);
  EXPECT_TRUE(held_link_->ended);
  const std::weak_ptr<Session> gone = held_;
  held_.reset();
  ASSERT_FALSE(gone.expired()) << "the store has its operation";
  journal_.Save(held_poller_);
  EXPECT_TRUE(gone.expired());
}

TEST_F(HeldSessionTest, OutlivesEachResultButTheLast) {
  SendHeld(ReadyFor(1, "a"));
  SendHeld(ReadyFor(2, "b"));
  ASSERT_GT(std::popcount(journal_.changed()), 1) << "two names of different shards";
  held_->End(std::nullopt);
  const std::weak_ptr<Session> gone = held_;
  held_.reset();
  journal_.SaveFirst(held_poller_);
  EXPECT_FALSE(gone.expired()) << "the store has another operation of it";
  journal_.Save(held_poller_);
  EXPECT_TRUE(gone.expired());
}

TEST_F(HeldSessionTest, ReadsNoMoreWhileTheStoreHasManyOfItsOperations) {
  constexpr int kOperations = 100'000;
  constexpr int kOfMessage = 1000;
  uint64_t id = 0;
  while (id < kOperations && !held_->congested()) {
    v1::SessionRequest message;
    for (int i = 0; i < kOfMessage; ++i)
      *message.add_operations() = ReadyFor(++id, "a").operations(0);
    SendHeld(message);
  }
  EXPECT_LT(id, kOperations);
  EXPECT_FALSE(held_link_->writing) << "nothing is answered";
  journal_.Save(held_poller_);
  while (held_link_->writing) EndWrite();
  EXPECT_FALSE(held_->congested());
}

TEST_F(SessionTest, AStreamThatTakesNothingIsBrokenOffAfterTheEnd) {
  EXPECT_FALSE(Send(ReadyFor(1, "a")).has_value());
  ASSERT_TRUE(link_->writing);
  session_->End(Error{.reason = "BAD_SESSION", .message = "the test says so", .field = {}});
  EXPECT_FALSE(link_->ended) << "a write is under way";
  EXPECT_EQ(ended_, 0) << "what it holds still counts";
  Pass(seconds(60));
  EXPECT_FALSE(link_->broken);
  Pass(core::Nanos(1));
  EXPECT_TRUE(link_->broken);
  session_->Broken(*link_);
  EXPECT_EQ(ended_, 1);
}

TEST_F(SessionTest, AReadyIsSpentWhoseWriteEndsWellAfterItsStreamBroke) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  ASSERT_TRUE(link_->writing);
  session_->Broken(*link_);
  session_->Written(*link_, true);
  Pass(seconds(30));
  EXPECT_EQ(ended_, 1);
  EXPECT_FALSE(HasReady("a"));
}

TEST_F(SessionTest, AReadyIsSpentWhoseWriteEndsWellAfterItsSessionEndedAndItsStreamBroke) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  session_->End(std::nullopt);
  session_->Broken(*link_);
  EXPECT_FALSE(HasReady("a")) << "it may have been written";
  session_->Written(*link_, true);
  EXPECT_FALSE(HasReady("a"));
}

TEST_F(SessionTest, AReadyGoesBackWhoseWriteFailsAfterItsSessionEndedAndItsStreamBroke) {
  EXPECT_FALSE(Send(WaitFor(1, "a")).has_value());
  EXPECT_FALSE(Send(ReadyFor(2, "a")).has_value());
  session_->End(std::nullopt);
  session_->Broken(*link_);
  session_->Written(*link_, false);
  EXPECT_TRUE(HasReady("a"));
}

TEST_F(SessionTest, KeepsNothingOfAnEphemeralDescriptorThatIsClosed) {
  constexpr int kNames = 20'000;
  uint64_t id = 0;
  const auto open = [&](const std::string& name, bool and_close) {
    v1::SessionRequest message;
    message.set_acked_sequence(link_->written.back().sequence());
    link_->written.clear();
    auto& opens = *message.add_operations();
    opens.set_id(++id);
    opens.mutable_open()->set_name(name);
    opens.mutable_open()->mutable_options()->set_ephemeral(true);
    if (and_close) {
      auto& closes = *message.add_operations();
      closes.set_id(++id);
      closes.mutable_close()->set_name(name);
    }
    EXPECT_FALSE(Send(message).has_value());
    Drain();
  };
  const auto come_and_go = [&](int from, int to) {
    for (int i = from; i < to; ++i) open(std::string(200, 'n') + std::to_string(i), true);
  };
  open("stays", false);
  come_and_go(0, kNames / 10);
  const size_t before = mallinfo2().uordblks;
  come_and_go(kNames / 10, kNames);
  EXPECT_LT(mallinfo2().uordblks, before + kNames * 10) << "not its name";
  EXPECT_TRUE(poller_.HasEphemeral("stays", 1));
  session_->End(std::nullopt);
  EXPECT_FALSE(poller_.HasEphemeral("stays", 1)) << "which is not forgotten with the others";
}
}  // namespace
}  // namespace waitd::server
