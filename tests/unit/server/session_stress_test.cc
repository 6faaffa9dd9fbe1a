// Goal: sessions, outbox and committer with real threads and without gRPC between, under
// ThreadSanitizer too: each operation gets one result, in responses without a gap, whatever streams
// break; and no READY is handed out twice. Method: each session has a thread that sends, one that
// takes what is written, acknowledges and breaks streams off; beside them run the timers, the ticks
// and, with a store, the committer. All of them share a few names.
#include <google/protobuf/arena.h>
#include <grpcpp/impl/codegen/proto_buffer_reader.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/session/session.h"
#include "server/store/committer.h"

namespace waitd::server {
namespace {

void FinishNow(const std::shared_ptr<Session>& session) { session->Finish(); }

// As a stream does it, which was let in before.
std::optional<Error> Receive(Session& session, const Link& link, const v1::SessionRequest& message,
                             google::protobuf::Arena& arena) {
  const core::Instant received = core::RealClock().Read().mono;
  for (int next = 0;;) {
    auto error = session.Receive(link, message, arena, received, false, &next);
    if (error.has_value() || next == message.operations_size()) return error;
  }
}

constexpr int kSessions = 3;
constexpr int kMessages = 1500;
constexpr int kNames = 5;

// What is written to it waits for the client's other thread.
class Wire final : public Link {
 public:
  explicit Wire(int number) : number_(number) {}
  int number() const { return number_; }

  bool Write(const grpc::ByteBuffer& bytes) override {
    const std::lock_guard lock(mutex_);
    if (cut_) return false;
    EXPECT_FALSE(std::exchange(writing_, true)) << "two writes at once";
    bytes_ = bytes;
    changed_.notify_one();
    return true;
  }
  void End(const std::optional<Error>& error) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(std::exchange(ended_, true)) << "ended twice";
    EXPECT_FALSE(error.has_value()) << error->message;
    changed_.notify_one();
  }
  void Break() override {}

  /// Nothing is written any more. Whether a write is under way, which fails.
  bool Cut() {
    const std::lock_guard lock(mutex_);
    cut_ = true;
    return std::exchange(writing_, false);
  }

  /// What is being written; null: the session has ended, or nothing came for a moment.
  std::optional<v1::SessionResponse> Take(bool* ended) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(5), [this] { return writing_ || ended_; });
    *ended = ended_ && !writing_;
    if (!std::exchange(writing_, false)) return std::nullopt;
    grpc::ProtoBufferReader reader(&bytes_);
    v1::SessionResponse response;
    EXPECT_TRUE(response.ParseFromZeroCopyStream(&reader));
    return response;
  }

 private:
  const int number_;
  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ByteBuffer bytes_;
  bool writing_ = false;
  bool ended_ = false;
  bool cut_ = false;
};

// A client: what it asked, and what it was answered.
class Client {
 public:
  Client(const SessionContext& context, uint32_t seed) : seed_(seed) {
    v1::SessionHello hello;
    hello.set_client("stress");
    session_ = std::make_shared<Session>(context, seed, Visitor{}, hello, "token",
                                         std::chrono::seconds(30), core::Charge());
    Attach(false);
  }

  void Start() {
    sender_ = std::thread([this] { Send(); });
    taker_ = std::thread([this] { Take(); });
  }

  void Join() {
    sender_.join();
    taker_.join();
  }

  Session& session() { return *session_; }

  /// By the id of the operation; after Join.
  std::map<uint64_t, v1::OperationResult> results;
  std::atomic<bool> all_sent{false};
  uint64_t sent = 0;  // operations; of the sender until Join

 private:
  void Attach(bool resumed) {
    auto wire = std::make_shared<Wire>(breaks_);
    std::optional<Error> error;
    const uint64_t acked = acked_;
    ASSERT_TRUE(session_->Attach(wire, resumed, acked, &error));
    ASSERT_FALSE(error.has_value());
    const std::lock_guard lock(mutex_);
    wire_ = std::move(wire);
  }

  std::shared_ptr<Wire> wire() {
    const std::lock_guard lock(mutex_);
    return wire_;
  }

  void Send() {
    std::mt19937 random(seed_);
    for (int i = 0; i < kMessages; ++i) {
      google::protobuf::Arena arena;
      auto& message = *google::protobuf::Arena::CreateMessage<v1::SessionRequest>(&arena);
      for (auto n = random() % 6 + 1; n > 0; --n) Add(random, message);
      message.set_acked_sequence(acked_);
      // As when a stream broke and the client resumed: what the server has not taken is sent again.
      bool taken = false;
      while (!taken) {
        const std::shared_ptr<Wire> by = wire();
        const std::optional<Error> error = Receive(*session_, *by, message, arena);
        ASSERT_FALSE(error.has_value()) << error->message;
        taken = by->number() == breaks_;
        if (!taken && ReceivedThrough() >= sent) taken = true;
      }
    }
    all_sent = true;
  }

  // The welcome that came last says what was taken.
  uint64_t ReceivedThrough() {
    while (!welcomed_.load()) std::this_thread::yield();
    return received_through_;
  }

  void Add(std::mt19937& random, v1::SessionRequest& message) {
    v1::Operation& operation = *message.add_operations();
    operation.set_id(++sent);
    const std::string name = "s" + std::to_string(random() % kNames);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        auto& wait = *operation.mutable_wait();
        wait.set_name(name);
        wait.mutable_timeout()->set_nanos(static_cast<int>(random() % 20'000'000));
        if (random() % 2 == 0)
          wait.set_wait_id(std::to_string(sent) + "/" + std::to_string(random()));
        break;
      }
      case 3:
      case 4:
      case 5: {
        auto& ready = *operation.mutable_ready();
        ready.set_name(name);
        break;
      }
      case 6: {
        auto& poll = *operation.mutable_poll();
        poll.add_targets()->set_name(name);
        poll.add_targets()->set_name("s" + std::to_string(kNames));
        poll.set_need(1);
        poll.mutable_timeout()->set_nanos(static_cast<int>(random() % 20'000'000));
        break;
      }
      case 7:
        operation.set_cancel(sent - std::min<uint64_t>(sent - 1, random() % 8));
        break;
    }
  }

  void Take() {
    std::mt19937 random(seed_ + 100);
    for (bool ended = false; !ended;) {
      const std::shared_ptr<Wire> by = wire();
      if (const auto response = by->Take(&ended)) {
        // One that is cut off while it is being written may have come, or not.
        const bool breaks = random() % 12 == 0 && !all_sent;
        const bool came = !breaks || random() % 2 == 0;
        if (came) Keep(*response);
        if (!breaks) {
          session_->Written(*by, true);
        } else {
          welcomed_ = false;
          ++breaks_;
          // The end of the link and of its last write are told in any order.
          const bool write_first = random() % 2 == 0;
          if (write_first) session_->Written(*by, came);
          session_->Broken(*by);
          Attach(true);
          if (!write_first) session_->Written(*by, came);
          if (by->Cut()) session_->Written(*by, false);
        }
      }
      if (all_sent && results.size() == sent && !std::exchange(closing_, true)) {
        session_->HalfClosed(*wire());
      }
    }
  }

  void Keep(const v1::SessionResponse& response) {
    if (response.has_welcome()) {
      received_through_ = response.welcome().received_through();
      welcomed_ = true;
    }
    if (response.sequence() <= acked_) return;  // seen before, or without results
    EXPECT_EQ(response.sequence(), acked_ + 1) << "a response is missing";
    for (const v1::OperationResult& result : response.results()) {
      EXPECT_TRUE(results.emplace(result.id(), result).second) << "two results for one operation";
    }
    acked_ = response.sequence();
  }

  const uint32_t seed_;
  std::shared_ptr<Session> session_;
  std::mutex mutex_;
  std::shared_ptr<Wire> wire_;
  std::atomic<uint64_t> acked_{0};
  std::atomic<int> breaks_{0};
  std::atomic<bool> welcomed_{false};
  std::atomic<uint64_t> received_through_{0};
  bool closing_ = false;
  std::thread sender_;
  std::thread taker_;
};

// A disk that takes a moment, and keeps nothing.
class SlowStore final : public Store {
 public:
  absl::StatusOr<Loaded> Load(const OnRow& /*on_row*/) override { return Loaded{}; }
  absl::Status Commit(const core::Changes& /*changes*/, size_t* bytes) override {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    *bytes = 0;
    return absl::OkStatus();
  }
  uint64_t Bytes() const override { return 0; }
  absl::StatusOr<uint64_t> FreeBytes() const override { return 1 << 30; }
  absl::Status Backup(const std::string& /*path*/) override { return absl::OkStatus(); }
};

struct Opened final : core::OpenCall {
  void Done() override { done = true; }
  std::atomic<bool> done{false};
};

class SessionStress : public testing::TestWithParam<bool> {};

TEST_P(SessionStress, EachOperationHasOneResult) {
  const core::RealClock clock;
  Committer committer(clock, {.free_bytes_min = 1, .failing = [] {}, .failed = [] {}});
  core::Poller poller({.linger = std::chrono::milliseconds(20)}, clock,
                      GetParam() ? &committer : nullptr, nullptr);
  SlowStore store;
  if (GetParam()) committer.Start(poller, store);
  RpcMetrics metrics;
  Gate gate(AuthMode::kNone, 0, poller.budget());
  std::atomic<int> ended{0};
  const SessionContext context{.poller = poller,
                               .clock = clock,
                               .metrics = metrics,
                               .gate = gate,
                               .signals = {1000, poller.budget()},
                               .parked_max = 1000,
                               .unacked_max = 100'000,
                               .ended = [&](Session&) { ++ended; },
                               .finish = FinishNow};
  for (int n = 0; n <= kNames; ++n) {
    const std::string name = "s" + std::to_string(n);
    Opened call;
    poller.Open(core::kWhenCarriedOut, {.name = name, .options = {.kind = core::Kind::kFifo}},
                call);
    while (!call.done) std::this_thread::yield();
  }
  std::vector<std::unique_ptr<Client>> clients;
  for (unsigned i = 1; i <= kSessions; ++i) clients.push_back(std::make_unique<Client>(context, i));
  std::atomic<bool> stop{false};
  std::thread timers([&] {
    while (!stop) {
      {
        core::EffectBatch batch;
        poller.RunTimers(&batch);
      }
      for (auto& client : clients) client->session().Tick(clock.Read().mono);
      std::this_thread::yield();
    }
  });
  for (auto& client : clients) client->Start();
  for (auto& client : clients) client->Join();
  stop = true;
  timers.join();
  committer.Stop();
  EXPECT_EQ(ended, kSessions);
  EXPECT_EQ(poller.waiters(), 0U);
  uint64_t accepted = 0;
  uint64_t taken = 0;
  for (const auto& client : clients) {
    EXPECT_EQ(client->results.size(), client->sent);
    for (const auto& [id, result] : client->results) {
      if (result.has_ready() && result.ready().effect() != v1::READY_EFFECT_COALESCED) ++accepted;
      if (result.has_wait() && result.wait().outcome() == v1::OUTCOME_READY) ++taken;
      if (result.has_poll() && result.poll().outcome() == v1::OUTCOME_READY) ++taken;
    }
  }
  EXPECT_LE(taken, accepted);
  EXPECT_GT(taken, 100U) << "the run was too quiet to show anything";
}

INSTANTIATE_TEST_SUITE_P(Stores, SessionStress, testing::Bool(),
                         [](const auto& store) { return store.param ? "Saved" : "Memory"; });

}  // namespace
}  // namespace waitd::server
