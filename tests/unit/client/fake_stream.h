#ifndef WAITD_TESTS_UNIT_CLIENT_FAKE_STREAM_H_
#define WAITD_TESTS_UNIT_CLIENT_FAKE_STREAM_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/engine/engine.h"
#include "client/engine/op.h"
#include "client/engine/status.h"
#include "client/engine/transport.h"
#include "waitd/status.h"

namespace waitd::internal {

/// A time that only the test moves.
class ManualClock final : public Clock {
 public:
  Instant Now() const override { return now; }
  Instant now = absl::Hours(1);
};

class SeededEntropy final : public Entropy {
 public:
  uint64_t Bits() override { return bits_(); }

 private:
  std::mt19937_64 bits_{1};
};

/// One operation as it was written, kept after the engine has forgotten it.
struct Written {
  uint64_t id = 0;
  Request request;
  absl::Duration timeout;
  absl::Duration first_sent_ago;

  uint64_t cancels() const { return std::get<CancelCall>(request.what).target; }
};

struct WrittenMessage {
  std::optional<Hello> hello;
  std::vector<Written> operations;
  uint64_t acked_sequence = 0;
  bool last = false;
};

/// A stream that the test plays the other end of, on one thread.
class FakeTransport final : public Transport {
 public:
  void Open() override { ++opened; }
  void Encode(const OutMessage& message) override {
    EXPECT_FALSE(encoded_) << "a second message while one was on its way";
    encoded_ = true;
    next_ = {.hello = message.hello,
             .operations = {},
             .acked_sequence = message.acked_sequence,
             .last = message.last};
    for (const Attempt& each : message.attempts) {
      next_.operations.push_back({each.id, *each.request, each.timeout, each.first_sent_ago});
    }
  }
  void Send() override {
    EXPECT_TRUE(encoded_);
    encoded_ = false;
    sent.push_back(std::move(next_));
  }
  void Break() override { ++broken; }
  void Wake() override { ++woken; }

  int opened = 0;
  int broken = 0;
  int woken = 0;
  std::vector<WrittenMessage> sent;

 private:
  bool encoded_ = false;
  WrittenMessage next_;
};

/// A wait as Client::Wait makes it.
inline Request Waiting(std::string name, WaitOptions options, std::stop_token stop = {}) {
  return {.name = std::move(name),
          .id = std::string(options.wait_id),
          .what = WaitCall(options),
          .stop = std::move(stop)};
}

/// Keeps the answer of one call.
class Answered1 final : public Completion {
 public:
  void Done(absl::StatusOr<Answer> given) override {
    ++times;
    answer = std::move(given);
  }
  bool done() const { return times > 0; }
  template <class T>
  const T& As() const {
    return std::get<T>(*answer);
  }
  absl::StatusCode code() const { return answer.status().code(); }

  int times = 0;
  absl::StatusOr<Answer> answer = absl::UnknownError("not answered");
};

/// An engine and the far end of its stream, with the words that tests are written in. `Settle` is
/// the client's thread.
class Stage {
 public:
  explicit Stage(EngineOptions options = {})
      : engine("tester", transport, clock, entropy, std::move(options)) {}
  ~Stage() {
    Close();
    clock.now += Engine::kCloseWait;
    Settle();
    if (!engine.Finished()) {
      if (writing()) engine.OnWritten(false);
      engine.OnClosed(absl::CancelledError("broken"));
      Settle();
    }
    EXPECT_TRUE(engine.Finished());
  }

  void Submit(Completion& completion, std::string name, decltype(Request::what) what,
              absl::Duration allowance = absl::Seconds(30)) {
    Request request{.name = std::move(name), .id = {}, .what = std::move(what)};
    engine.Submit(std::make_unique<Op>(engine, std::move(request), allowance), completion);
  }

  void Submit(Completion& completion, std::string name, WaitOptions options,
              std::stop_token stop = {}) {
    engine.Submit(std::make_unique<Op>(engine, Waiting(std::move(name), options, std::move(stop)),
                                       absl::Seconds(30)),
                  completion);
  }

  /// And the client's thread has been woken.
  void Close() {
    engine.Close();
    engine.OnWoken();
  }

  Instant Settle() {
    Instant next = engine.Tick();
    while (next <= clock.now && !engine.Finished()) next = engine.Tick();
    return next;
  }

  /// Moves the time on, with all that falls due on the way.
  void Pass(absl::Duration time) {
    const Instant end = clock.now + time;
    while (true) {
      const Instant next = Settle();
      if (next > end) break;
      clock.now = std::max(clock.now, next);
    }
    clock.now = end;
    Settle();
  }

  /// The stream is open and the hello has been written.
  void Greet() {
    Settle();
    engine.OnOpened();
    ASSERT_FALSE(transport.sent.empty());
    Written();
  }

  void BeUp(Welcome welcome = {.resume_token = "token"}) {
    Greet();
    engine.OnMessage({.welcome = std::move(welcome), .results = {}, .sequence = 0});
    Settle();
  }

  /// The message on its way has been taken by the network.
  void Written() {
    ++written_;
    engine.OnWritten(true);
    Settle();
  }

  bool writing() const { return written_ < transport.sent.size(); }

  void Answer(uint64_t id, absl::StatusOr<internal::Answer> answer) {
    std::vector<Answered> results;
    results.push_back({id, std::move(answer)});
    engine.OnMessage({.welcome = {}, .results = std::move(results), .sequence = ++sequence});
    Settle();
  }

  void BreakOff(absl::Status why = absl::UnavailableError("cut")) {
    if (writing()) {
      ++written_;
      engine.OnWritten(false);
    }
    engine.OnClosed(std::move(why));
    Settle();
  }

  const WrittenMessage& last() const { return transport.sent.back(); }

  ManualClock clock;
  SeededEntropy entropy;
  FakeTransport transport;
  Engine engine;
  uint64_t sequence = 0;

 private:
  size_t written_ = 0;
};

inline absl::Status Refused(absl::StatusCode code, std::string_view reason) {
  return Refusal(code, reason, "", "refused by the test");
}

inline WaitResult ReadyWith(std::string data) {
  WaitResult result;
  result.outcome = Outcome::kReady;
  result.signal.data = std::move(data);
  return result;
}

}  // namespace waitd::internal

#endif  // WAITD_TESTS_UNIT_CLIENT_FAKE_STREAM_H_
