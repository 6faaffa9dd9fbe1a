// A session by its instants, and what becomes of a READY whose answer is on its way: with links
// that are no streams, and the clock in hand.
#include "server/session.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/sessions.h"
#include "tests/unit/core/fixture.h"

namespace waitd::server {
namespace {

using core::Nanos;
using std::chrono::seconds;

constexpr Nanos kTick(1);
constexpr Nanos kKeepalive = seconds(30);
constexpr Nanos kLinger = seconds(100);

class TableClock final : public core::Clock {
 public:
  explicit TableClock(const core::Table& table) : table_(table) {}
  core::Now Read() const override { return table_.now(); }

 private:
  const core::Table& table_;
};

// Keeps what is written; a test says when a write has ended.
class FakeLink final : public Link {
 public:
  void Write(const grpc::ByteBuffer& bytes) override {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(bytes.Dump(&slices).ok());
    std::string all;
    for (const grpc::Slice& slice : slices) {
      all.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    EXPECT_TRUE(written.emplace_back().ParseFromString(all));
  }
  void End(const std::optional<Error>& /*error*/) override { ended = true; }
  void Break() override { broken = true; }

  std::vector<v1::SessionResponse> written;
  bool ended = false;
  bool broken = false;
};

class SessionTest : public testing::Test {
 protected:
  SessionTest() {
    EXPECT_TRUE(std::holds_alternative<core::OpenResult>(table_.Open("a")));
    link_ = Connect();
  }

  // A link of the session, welcomed.
  std::shared_ptr<FakeLink> Connect() {
    auto link = std::make_shared<FakeLink>();
    v1::SessionRequest first;
    first.mutable_hello()->set_resume_token(token_);
    EXPECT_FALSE(sessions_.Begin(link, first, &session_).has_value());
    EXPECT_EQ(link->written.size(), 1U);
    token_ = link->written.front().welcome().resume_token();
    session_->Written(*link, true);
    return link;
  }

  void Say(const v1::SessionRequest& message) {
    google::protobuf::Arena arena;
    EXPECT_FALSE(session_->Receive(*link_, message, arena, false).has_value());
  }

  void Wait(uint64_t id) {
    v1::SessionRequest message;
    v1::Operation& operation = *message.add_operations();
    operation.set_id(id);
    operation.mutable_wait()->set_name("a");
    Say(message);
  }

  void PassAndTick(Nanos by) {
    table_.Advance(by);
    sessions_.Tick();
  }

  void Break() { session_->Broken(*link_); }

  core::Table table_;
  TableClock clock_{table_};
  RpcMetrics metrics_;
  Sessions sessions_{{.poller = table_.poller(),
                      .clock = clock_,
                      .metrics = metrics_,
                      .payload_bytes_max = 1000,
                      .parked_max = 10,
                      .unacked_max = 10,
                      .keepalive = kKeepalive,
                      .ended = nullptr},
                     10,
                     kLinger};
  std::string token_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<FakeLink> link_;
};

TEST_F(SessionTest, SaysSomethingWhenItSaidNothingForAKeepalive) {
  PassAndTick(kKeepalive - kTick);
  EXPECT_EQ(link_->written.size(), 1U);
  PassAndTick(kTick);
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_EQ(link_->written.back().ByteSizeLong(), 0U);
  PassAndTick(kTick);
  EXPECT_EQ(link_->written.size(), 2U) << "once, and not while it is being written";
}

TEST_F(SessionTest, APeerThatIsSilentForTwoKeepalivesIsBrokenOff) {
  PassAndTick(2 * kKeepalive);
  EXPECT_FALSE(link_->broken);
  PassAndTick(kTick);
  EXPECT_TRUE(link_->broken);
  EXPECT_EQ(sessions_.size(), 1U) << "its session lingers";
}

TEST_F(SessionTest, APeerThatSaysAnEmptyMessageIsNotSilent) {
  for (int i = 0; i < 5; ++i) {
    PassAndTick(2 * kKeepalive);
    Say({});
  }
  EXPECT_FALSE(link_->broken);
}

TEST_F(SessionTest, APeerThatIsNotReadIsNotSilent) {
  Wait(1);
  v1::Signal large;
  large.set_data(std::string(5 << 20, 'x'));
  table_.Ready("a", core::Mode::kRead, large.SerializeAsString());
  ASSERT_TRUE(session_->congested());
  for (int i = 0; i < 5; ++i) PassAndTick(2 * kKeepalive);
  EXPECT_FALSE(link_->broken);
  session_->Written(*link_, true);
  PassAndTick(2 * kKeepalive);
  EXPECT_FALSE(link_->broken);
  PassAndTick(kTick);
  EXPECT_TRUE(link_->broken) << "now it is read, and says nothing";
}

TEST_F(SessionTest, C75_AHalfOpenPeersWaitsLeaveAndSpendNothing) {
  Wait(1);
  EXPECT_EQ(table_.poller().waiters(), 1U);
  PassAndTick(2 * kKeepalive + kTick);
  ASSERT_TRUE(link_->broken);
  Break();
  PassAndTick(kLinger - kTick);
  EXPECT_EQ(table_.poller().waiters(), 1U);
  PassAndTick(kTick);
  EXPECT_EQ(table_.poller().waiters(), 0U);
  EXPECT_EQ(sessions_.size(), 0U);
  EXPECT_TRUE(std::holds_alternative<core::ReadyResult>(table_.Ready("a")));
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kReady);
}

TEST_F(SessionTest, C71_AReadyWhoseWriteNeverEndedGoesBack) {
  Wait(1);
  table_.Ready("a", core::Mode::kRead, "x");
  ASSERT_EQ(link_->written.back().results_size(), 1);
  Break();
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kTimedOut) << "somebody may resume";
  PassAndTick(kLinger);
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kReady);
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kTimedOut);
}

TEST_F(SessionTest, C71_AReadyThatWasWrittenIsSpent) {
  Wait(1);
  table_.Ready("a", core::Mode::kRead, "x");
  session_->Written(*link_, true);
  Break();
  PassAndTick(kLinger);
  EXPECT_EQ(sessions_.size(), 0U);
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kTimedOut);
}

TEST_F(SessionTest, C74_WhatWasBeingWrittenComesAgainAndIsSpentOnce) {
  Wait(1);
  table_.Ready("a", core::Mode::kRead, "x");
  const v1::SessionResponse said = link_->written.back();
  const auto former = link_;
  link_ = Connect();
  EXPECT_TRUE(former->broken) << "the former one is broken off first";
  ASSERT_EQ(link_->written.size(), 2U);
  EXPECT_EQ(link_->written.back().SerializeAsString(), said.SerializeAsString());
  session_->Written(*former, true);
  session_->Written(*link_, true);
  session_->Broken(*former);
  PassAndTick(kLinger);
  EXPECT_EQ(sessions_.size(), 1U) << "the end of the former one is not the end of this one";
  Break();
  PassAndTick(kLinger);
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kTimedOut);
}

TEST_F(SessionTest, C74_AMessageByTheFormerLinkIsPassedOver) {
  const auto former = link_;
  link_ = Connect();
  v1::SessionRequest message;
  v1::Operation& operation = *message.add_operations();
  operation.set_id(1);
  operation.mutable_ready()->set_name("a");
  google::protobuf::Arena arena;
  EXPECT_FALSE(session_->Receive(*former, message, arena, false).has_value());
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kTimedOut);
  Say(message);
  EXPECT_EQ(table_.Try("a").outcome, core::Outcome::kReady);
}

}  // namespace
}  // namespace waitd::server
