// Goal: every call is answered exactly once, whatever many threads, a stream that is cut at random
// and stops at random do. Method: an echoing server played by the client's thread, behind a
// transport that is handed messages by whoever writes; run it under ThreadSanitizer.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>

#include "client/engine/engine.h"
#include "tests/unit/client/fake_stream.h"

namespace waitd::internal {
namespace {

class RealClock final : public Clock {
 public:
  Instant Now() const override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

/// Events of the stream, in a queue that the client's thread works off.
class EchoTransport final : public Transport {
 public:
  void Open() override {
    Post([](Engine& engine) { engine.OnOpened(); });
  }
  void Encode(const OutMessage& message) override {
    encoded_ = {.hello = message.hello, .operations = {}, .last = message.last};
    for (const Attempt& each : message.attempts) {
      encoded_.operations.push_back({each.id, *each.request, each.timeout, each.first_sent_ago});
    }
  }
  void Send() override {
    Post([this, message = std::move(encoded_)](Engine& engine) { Arrived(engine, message); });
  }
  void Break() override {
    Post([](Engine& engine) { engine.OnClosed(absl::CancelledError("")); });
  }
  void Wake() override {
    Post([](Engine& engine) { engine.OnWoken(); });
  }

  void Run(Engine& engine) {
    const RealClock clock;
    while (true) {
      const Instant next = engine.Tick();
      if (engine.Finished()) return;
      std::function<void(Engine&)> event;
      {
        std::unique_lock lock(mutex_);
        const auto pause = std::min(next - clock.Now(), absl::Seconds(1));
        came_.wait_for(lock, absl::ToChronoNanoseconds(pause), [this] { return !events_.empty(); });
        if (events_.empty()) continue;
        event = std::move(events_.front());
        events_.pop_front();
      }
      event(engine);
    }
  }

  /// One message in so many cuts the stream: before it arrives, or after, unanswered; the session
  /// is then resumed, or lost, by turns.
  int cut_each = 0;

 private:
  void Post(std::function<void(Engine&)> event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    came_.notify_one();
  }

  // On the client's thread: the server.
  void Arrived(Engine& engine, const WrittenMessage& message) {
    if (message.hello.has_value()) {
      engine.OnWritten(true);
      const bool resumed = !message.hello->resume_token.empty() && lives_ % 2 == 1;
      ++lives_;
      if (!resumed) received_ = sequence_ = 0;
      const uint64_t acked = message.hello->acked_sequence;
      while (!unacked_.empty() && (!resumed || unacked_.front().sequence <= acked)) {
        unacked_.pop_front();
      }
      engine.OnMessage(
          {.welcome =
               Welcome{.resume_token = "t", .resumed = resumed, .received_through = received_},
           .results = {},
           .sequence = 0});
      for (const InMessage& each : std::deque<InMessage>(unacked_)) engine.OnMessage(each);
      return;
    }
    ++messages_;
    const bool cut = cut_each > 0 && messages_ % cut_each == 0;
    if (cut && messages_ % 2 == 0) {
      engine.OnClosed(absl::UnavailableError("cut"));
      engine.OnWritten(false);
      return;
    }
    InMessage answer;
    for (const Written& each : message.operations) {
      ASSERT_GT(each.id, received_) << "ids grow";
      received_ = each.id;
      Echo(each, answer.results);
    }
    engine.OnWritten(true);
    if (!answer.results.empty()) {
      answer.sequence = ++sequence_;
      unacked_.push_back(answer);
      if (!cut) engine.OnMessage(answer);
    }
    if (cut || message.last) {
      engine.OnClosed(cut ? absl::UnavailableError("cut") : absl::OkStatus());
    }
  }

  static void Echo(const Written& each, std::vector<Answered>& results) {
    if (std::holds_alternative<ReadyCall>(each.request.what)) {
      results.push_back({each.id, Answer(ReadyResult{.woken = 1})});
    } else if (each.request.cancels()) {
      results.push_back({each.cancels(), absl::CancelledError("cancelled")});
      results.push_back({each.id, Answer()});
    } else if (each.request.name != "parks") {
      results.push_back({each.id, Answer(ReadyWith(each.request.name))});
    }
  }

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::function<void(Engine&)>> events_;  // guarded by mutex_

  WrittenMessage encoded_;  // owned by whoever writes

  // The server's, on the client's thread.
  int messages_ = 0;
  int lives_ = 0;
  uint64_t received_ = 0;
  uint64_t sequence_ = 0;
  std::deque<InMessage> unacked_;
};

/// Counts itself, so that a second answer is seen.
class Counted final : public Completion {
 public:
  void Done(absl::StatusOr<Answer> given) override {
    const std::lock_guard lock(mutex_);
    ++times_;
    ok_ = given.ok();
    came_.notify_one();
  }
  bool Await() {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [this] { return times_ > 0; });
    return ok_;
  }
  int times() {
    const std::lock_guard lock(mutex_);
    return times_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  int times_ = 0;
  bool ok_ = false;
};

struct Running {
  explicit Running(int cut_each) {
    transport.cut_each = cut_each;
    thread = std::thread([this] { transport.Run(engine); });
  }
  ~Running() {
    engine.Close();
    thread.join();
  }

  void Submit(Completion& completion, std::string name, decltype(Request::what) what) {
    Request request{.name = std::move(name), .id = {}, .what = std::move(what)};
    engine.Submit(std::make_unique<Op>(engine, std::move(request), absl::Minutes(1)), completion);
  }

  void Submit(Completion& completion, std::string name, WaitOptions options,
              std::stop_token stop = {}) {
    engine.Submit(std::make_unique<Op>(engine, Waiting(std::move(name), options, std::move(stop)),
                                       absl::Minutes(1)),
                  completion);
  }

  RealClock clock;
  SeededEntropy entropy;
  EchoTransport transport;
  Engine engine{"threads", transport, clock, entropy};
  std::thread thread;
};

void CallFromManyThreads(int cut_each) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 300;
  std::vector<Counted> waits(kThreads * kCalls);
  std::vector<Counted> readies(kThreads * kCalls);
  {
    Running running(cut_each);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = t * kCalls; i < (t + 1) * kCalls; ++i) {
          std::stop_source stop;
          const bool parks = i % 3 == 0;
          running.Submit(waits[i], parks ? "parks" : "a", WaitOptions{}, stop.get_token());
          running.Submit(readies[i], "a", ReadyCall({}));
          if (parks) stop.request_stop();
          EXPECT_EQ(waits[i].Await(), !parks);
          EXPECT_TRUE(i % 16 != 0 || readies[i].Await());
        }
      });
    }
    for (std::thread& each : threads) each.join();
    for (Counted& each : readies) EXPECT_TRUE(each.Await());
  }
  for (Counted& each : waits) EXPECT_EQ(each.times(), 1);
  for (Counted& each : readies) EXPECT_EQ(each.times(), 1);
}

TEST(EngineThreadsTest, CallsOfManyThreadsAreAnsweredOnce) { CallFromManyThreads(0); }

TEST(EngineThreadsTest, StreamsThatAreCutLoseNoCallAndAnswerNoneTwice) { CallFromManyThreads(7); }

TEST(EngineThreadsTest, EndWithCallsPendingAnswersEachOnce) {
  for (int round = 0; round < 20; ++round) {
    std::vector<Counted> calls(200);
    std::stop_source stop;
    {
      Running running(round % 2 == 0 ? 0 : 5);
      std::thread stopper([&] { stop.request_stop(); });
      std::thread caller([&] {
        for (size_t i = 0; i < calls.size() / 2; ++i) {
          running.Submit(calls[i], "parks", WaitOptions{}, stop.get_token());
        }
      });
      for (size_t i = calls.size() / 2; i < calls.size(); ++i) {
        running.Submit(calls[i], i % 2 == 0 ? "parks" : "a", WaitOptions{});
      }
      stopper.join();
      caller.join();
    }
    for (Counted& each : calls) ASSERT_EQ(each.times(), 1);
  }
}

}  // namespace
}  // namespace waitd::internal
