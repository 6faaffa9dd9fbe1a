// The C++ client library against the real server: what ids, sessions and hand-offs promise, while
// connections are cut, and the server is killed, frozen, and restarted.

#include <waitd/client.h>
#include <waitd/ephemeral_descriptor.h>
#include <waitd/heartbeat.h>

#include <functional>
#include <future>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "tests/integration/real_server.h"

namespace waitd {
namespace {

using absl::StatusCode;

// Until a wait is parked on a name: one more is refused then, and takes nothing.
void AwaitParked(Client& client, const std::string& name) {
  const auto parked = [&] {
    return ReasonOf(client.Wait(name, {.timeout = absl::Milliseconds(1)}).Get().status()) ==
           "DOUBLE_WAIT";
  };
  while (!parked()) {
  }
}

const std::vector<std::string> kDurable = {"--store", "rocksdb"};

std::future<absl::StatusOr<WaitResult>> Park(Client& client, const std::string& name,
                                             WaitOptions options = {}, std::stop_token stop = {}) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<WaitResult>>>();
  auto future = promise->get_future();
  client.Wait(name, options, std::move(stop)).Then([promise](absl::StatusOr<WaitResult> result) {
    promise->set_value(std::move(result));
  });
  return future;
}

TEST(ClientLibraryTest, WaitIsWokenAndLearnsAllThatTheReadyCarried) {
  RealServer server;
  Client client(server.address());
  auto wait = Park(client, "a", {.mode = Mode::kWrite});
  while (client.Ready("a", "early", {.mode = Mode::kWrite, .condition = ReadyCondition::kWaiting})
             .Get()
             ->effect == ReadyEffect::kRefused) {
  }
  EXPECT_EQ(wait.get()->signal.data, "early");
  Signal signal = Signal::Failed(3, "bad");
  signal.content_type = "text/plain";
  signal.attributes["traceparent"] = "00";
  EXPECT_EQ(client.Ready("a", "first").Get()->effect, ReadyEffect::kRemembered);
  EXPECT_EQ(client.Ready("a", signal).Get()->effect, ReadyEffect::kCoalesced);
  const auto result = client.Wait("a").Get();
  EXPECT_EQ(result->signal.failure->code, 3);
  EXPECT_EQ(result->signal.failure->message, "bad");
  EXPECT_EQ(result->signal.content_type, "text/plain");
  EXPECT_EQ(result->signal.attributes.at("traceparent"), "00");
  EXPECT_EQ(result->coalesced, 1U);
  EXPECT_EQ(result->attempt, 1U);
  EXPECT_GT(result->generation, 0U);
  EXPECT_LT(absl::AbsDuration(absl::Now() - result->ready_time), absl::Minutes(1));
}

TEST(ClientLibraryTest, TimeoutsAndDeadlinesAreAnswersOfTheServer) {
  RealServer server;
  Client client(server.address());
  const auto tried = client.Wait("a", {.timeout = absl::ZeroDuration()}).Get();
  EXPECT_EQ(tried->outcome, Outcome::kTimedOut);
  EXPECT_EQ(tried->timeout_cause, TimeoutCause::kWait);
  auto wait = Park(client, "a");
  const auto set = client.SetDeadline("a", absl::Milliseconds(1)).Get();
  EXPECT_EQ(set->read_effect, DeadlineEffect::kArmed);
  EXPECT_EQ(wait.get()->timeout_cause, TimeoutCause::kDeadline);
  EXPECT_EQ(client.ClearDeadline("a").Get()->read_effect, DeadlineEffect::kCleared);
  EXPECT_EQ(client.SetDeadline("a", absl::Now() - absl::Seconds(1)).Get()->read_effect,
            DeadlineEffect::kExpired);
  EXPECT_EQ(Heartbeat::Start(client, "a", absl::Seconds(1)).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST(ClientLibraryTest, RefusalsSayWhy) {
  RealServer server;
  Client client(server.address());
  EXPECT_EQ(ReasonOf(client.Wait("a", {.open_if_missing = std::nullopt}).Get().status()),
            "NO_DESCRIPTOR");
  EXPECT_TRUE(client.Create("a").Get().ok());
  EXPECT_EQ(ReasonOf(client.Create("a").Get().status()), "EXISTS");
  auto wait = Park(client, "a");
  AwaitParked(client, "a");
  EXPECT_EQ(ReasonOf(client.Wait("a", {.generation = 1}).Get().status()), "STALE_GENERATION");
  EXPECT_EQ(client.Close("a").Get()->woken, 1U);
  EXPECT_EQ(wait.get()->outcome, Outcome::kClosed);
  EXPECT_EQ(ReasonOf(client.Ready("a", std::string(100'000, 'x')).Get().status()),
            "PAYLOAD_TOO_LARGE");
}

TEST(ClientLibraryTest, PollTakesWhatItNeeds) {
  RealServer server;
  Client client(server.address());
  client.Ready("a", "1").Get().IgnoreError();
  client.Ready("c", "3").Get().IgnoreError();
  const auto result = client.Poll({{.name = "a"}, {.name = "b"}, {.name = "c"}}, {.need = 2}).Get();
  ASSERT_EQ(result->targets.size(), 2U);
  EXPECT_EQ(result->targets[0].result.signal.data, "1");
  EXPECT_EQ(result->targets[1].index, 2U);
  EXPECT_EQ(result->targets[1].result.name, "c");
}

TEST(ClientLibraryTest, HandOffThatIsNotAcknowledgedComesBack) {
  RealServer server;
  Client client(server.address());
  client.Ready("a", "once").Get().IgnoreError();
  const auto first = client.Wait("a", {.ack_timeout = absl::Milliseconds(1)}).Get();
  EXPECT_EQ(first->attempt, 1U);
  const auto second = client.Wait("a", {.ack_timeout = absl::Minutes(1)}).Get();
  EXPECT_EQ(second->attempt, 2U);
  EXPECT_EQ(second->signal.data, "once");
  EXPECT_EQ(ReasonOf(client.Ack(*first).Get().status()), "STALE_DELIVERY");
  EXPECT_TRUE(client.Ack(*second).Get().ok());
  EXPECT_TRUE(client.Ack(*second).Get().ok()) << "again is as good";
}

TEST(ClientLibraryTest, StoppedWaitTakesNoReady) {
  RealServer server;
  Client client(server.address());
  std::stop_source stop;
  auto wait = Park(client, "a", {}, stop.get_token());
  AwaitParked(client, "a");
  stop.request_stop();
  EXPECT_EQ(wait.get().status().code(), StatusCode::kCancelled);
  EXPECT_EQ(client.Ready("a").Get()->effect, ReadyEffect::kRemembered);
}

TEST(ClientLibraryTest, WaitOutlastsTheServersBoundOnWaits) {
  RealServer server({"--max-wait", "100ms"});
  Client client(server.address());
  auto ready = Park(client, "a");
  auto closed = Park(client, "b");
  EXPECT_EQ(ready.wait_for(std::chrono::milliseconds(350)), std::future_status::timeout);
  client.Ready("a", "at last").Get().IgnoreError();
  EXPECT_EQ(ready.get()->signal.data, "at last");
  client.Close("b").Get().IgnoreError();
  EXPECT_EQ(closed.get()->outcome, Outcome::kClosed);
}

TEST(ClientLibraryTest, FrozenServerDoesNotHoldATimedCall) {
  RealServer server;
  Client client(server.address(), {.call_timeout = absl::Milliseconds(200)});
  while (!client.Open("a").Get().ok()) {
  }
  server.Freeze();
  auto wait = Park(client, "a", {.timeout = absl::Milliseconds(10)});
  EXPECT_EQ(client.Ready("b").Get().status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(wait.get().status().code(), StatusCode::kDeadlineExceeded);
  server.Thaw();
  while (!client.Open("c").Get().ok()) {
  }
}

TEST(ClientLibraryTest, FrozenServerDoesNotHoldUpTheEnd) {
  RealServer server;
  std::future<absl::StatusOr<WaitResult>> wait;
  {
    Client client(server.address());
    EXPECT_TRUE(client.Open("a").Get().ok());
    wait = Park(client, "a");
    server.Freeze();
  }
  EXPECT_EQ(wait.get().status().code(), StatusCode::kCancelled);
}

TEST(ClientLibraryTest, WaitsGoOnOnAServerThatHasForgottenThem) {
  RealServer server;
  Client client(server.address());
  auto wait = Park(client, "a", {.timeout = absl::Minutes(1)});
  AwaitParked(client, "a");
  for (int round = 0; round < 3; ++round) {
    server.Kill();
    server.Start();
    AwaitParked(client, "a");
  }
  client.Ready("a", "after all").Get().IgnoreError();
  EXPECT_EQ(wait.get()->signal.data, "after all");
}

TEST(ClientLibraryTest, WaitsParkAgainOnAServerThatRemembers) {
  RealServer server(kDurable);
  Client client(server.address());
  auto wait = Park(client, "a", {.timeout = absl::Minutes(1)});
  AwaitParked(client, "a");
  const uint64_t life = client.Open("a").Get()->generation;
  for (int round = 0; round < 3; ++round) {
    server.Kill();
    server.Start();
    AwaitParked(client, "a");
  }
  EXPECT_EQ(client.Open("a").Get()->generation, life);
  client.Ready("a", "after all").Get().IgnoreError();
  EXPECT_EQ(wait.get()->signal.data, "after all");
}

TEST(ClientLibraryTest, ReadyThatWasAnsweredIsThereAfterAKill) {
  RealServer server(kDurable);
  Client client(server.address());
  EXPECT_EQ(client.Ready("a", "x").Get()->effect, ReadyEffect::kRemembered);
  server.Kill();
  auto wait = Park(client, "a");
  server.Start();
  EXPECT_EQ(wait.get()->signal.data, "x");
}

TEST(ClientLibraryTest, HandOffIsAcknowledgedAfterAKill) {
  RealServer server(kDurable);
  Client client(server.address());
  client.Ready("a", "once").Get().IgnoreError();
  const auto result = client.Wait("a", {.ack_timeout = absl::Minutes(1)}).Get();
  server.Kill();
  server.Start();
  EXPECT_TRUE(client.Ack(*result).Get().ok());
  EXPECT_EQ(client.Wait("a", {.timeout = absl::ZeroDuration()}).Get()->outcome, Outcome::kTimedOut);
}

TEST(ClientLibraryTest, HeartbeatGoesOnInItsLifeOnAServerThatRemembers) {
  RealServer server(kDurable);
  Client client(server.address());
  auto beat = Heartbeat::Start(client, "a", absl::Milliseconds(2400));
  const uint64_t life = beat->generation();
  auto bound = Heartbeat::Start(client, "a", absl::Milliseconds(2400), {.generation = life});
  server.Kill();
  server.Start();
  const auto deadline = [&] {  // looks, and changes nothing
    return *client.SetDeadline("a", absl::Hours(1), {.condition = DeadlineCondition::kOnlyEarlier})
                .Get()
                ->read.at;
  };
  const absl::Time then = deadline();
  while (deadline() <= then) {
  }
  EXPECT_EQ(beat->generation(), life);
  EXPECT_TRUE(beat->status().ok() && bound->status().ok());
  EXPECT_FALSE(beat->Forgotten());
}

TEST(ClientLibraryTest, HeartbeatGoesOnOnAServerThatHasForgottenItAndNotOnceItIsClosed) {
  RealServer server;
  Client client(server.address());
  auto any = Heartbeat::Start(client, "a", absl::Milliseconds(2400));
  const uint64_t first = any->generation();
  auto bound = Heartbeat::Start(client, "a", absl::Milliseconds(2400), {.generation = first});
  EXPECT_FALSE(any->Forgotten());
  server.Kill();
  server.Start();
  while (any->generation() == first && !any->lost().stop_requested()) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(any->status().ok()) << any->status();
  while (!bound->lost().stop_requested()) std::this_thread::yield();
  EXPECT_EQ(bound->generation(), first);
  EXPECT_EQ(client.Close("a", {.generation = any->generation()}).Get()->woken, 0U);
  EXPECT_FALSE(any->Forgotten());
  while (!any->lost().stop_requested()) std::this_thread::yield();
  EXPECT_EQ(any->status().code(), StatusCode::kNotFound);
  EXPECT_EQ(client.Wait("a", {.open_if_missing = std::nullopt}).Get().status().code(),
            StatusCode::kNotFound)
      << "what was closed is not opened again";
}

TEST(ClientLibraryTest, EphemeralDescriptorGoesWithItsClient) {
  RealServer server;
  Client other(server.address());
  std::future<absl::StatusOr<WaitResult>> wait;
  {
    Client client(server.address());
    // Left to the end of the session, not closed by an object of its own.
    EXPECT_TRUE(client.Create("mine", {.ephemeral = true}).Get().ok());
    wait = Park(other, "mine", {.open_if_missing = std::nullopt});
    AwaitParked(other, "mine");
  }
  EXPECT_EQ(wait.get()->outcome, Outcome::kClosed);
}

TEST(ClientLibraryTest, ManyWaitsAreParkedAndReleasedByOneClient) {
  constexpr int kWaits = 20'000;
  RealServer server;
  std::latch released(kWaits);
  std::atomic<int> right = 0;
  Client client(server.address());
  for (int i = 0; i < kWaits; ++i) {
    const std::string name = "many/" + std::to_string(i);
    client.Wait(name).Then([&, name](const absl::StatusOr<WaitResult>& result) {
      if (result.ok() && result->signal.data == name) ++right;
      released.count_down();
    });
  }
  for (int i = 0; i < kWaits; ++i) {
    const std::string name = "many/" + std::to_string(i);
    client.Ready(name, name).Then([](const auto& /*result*/) {});
  }
  released.wait();
  EXPECT_EQ(right, kWaits);
}

constexpr int kThreads = 4;

// Several threads, each with names of its own, post and take numbered READYs in turn, while
// `meanwhile` does its worst; it is told how many were taken so far, until all are. Each call has
// one answer, no READY is lost and none comes twice.
void PostAndTake(Client& client, int rounds, const std::function<void(int)>& meanwhile) {
  std::atomic<int> taken_count = 0;
  std::latch done(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const std::string name = "numbers/" + std::to_string(t);
      const auto go_through = [&] {
        for (int i = 0; i < rounds; ++i) {
          const std::string number = std::to_string(i);
          // Parked before or after the post, by turns; never two READYs at once, so that none may
          // be replaced.
          std::future<absl::StatusOr<WaitResult>> wait;
          if (i % 2 == 0) wait = Park(client, name);
          const auto posted = client.Ready(name, number).Get();
          ASSERT_TRUE(posted.ok()) << posted.status();
          ASSERT_NE(posted->effect, ReadyEffect::kCoalesced) << i;
          const auto taken = i % 2 == 0 ? wait.get() : client.Wait(name).Get();
          ASSERT_TRUE(taken.ok()) << taken.status();
          ASSERT_EQ(taken->signal.data, number);
          ++taken_count;
        }
      };
      go_through();
      done.count_down();
    });
  }
  while (!done.try_wait()) meanwhile(taken_count);
  for (std::thread& each : threads) each.join();
}

void ExpectNothingLeft(Client& client) {
  for (int t = 0; t < kThreads; ++t) {
    const auto left =
        client.Wait("numbers/" + std::to_string(t), {.timeout = absl::ZeroDuration()}).Get();
    EXPECT_EQ(left->outcome, Outcome::kTimedOut) << "a READY came twice";
  }
}

// Goal: what PostAndTake says, whatever is cut. Method: a proxy that cuts the connection after a
// random number of bytes; the seed is printed.
void PostAndTakeThroughCuts(uint64_t seed, size_t bytes_max) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RealServer server;
  CutProxy proxy(server.socket(), seed, bytes_max);
  Client client(proxy.address(), {.call_timeout = absl::Minutes(1)});
  PostAndTake(client, 100, [](int) { std::this_thread::yield(); });
  EXPECT_GE(proxy.cuts(), 10) << "too few for the run to count";
  proxy.Heal();
  ExpectNothingLeft(client);
}

TEST(ClientLibraryTest, CutsBetweenMessagesLoseNothingAndRepeatNothing) {
  PostAndTakeThroughCuts(1, 8'000);
}

TEST(ClientLibraryTest, CutsInTheHandshakeToo) { PostAndTakeThroughCuts(2, 3'000); }

// Goal: the same over kills of a server that remembers. Method: it is killed each time that some
// more were taken, in the midst of the others.
TEST(ClientLibraryTest, KillsLoseNothingAndRepeatNothing) {
  constexpr int kBetweenKills = 20;
  RealServer server(kDurable);
  Client client(server.address(), {.call_timeout = absl::Minutes(1)});
  int kills = 0;
  PostAndTake(client, 30, [&](int taken) {
    std::this_thread::yield();
    if (taken < (kills + 1) * kBetweenKills) return;
    ++kills;
    server.Kill();
    server.Start();
  });
  EXPECT_GE(kills, 4) << "too few for the run to count";
  ExpectNothingLeft(client);
}

}  // namespace
}  // namespace waitd
