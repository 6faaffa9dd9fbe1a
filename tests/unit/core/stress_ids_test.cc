// Goal: C71 with real threads and real time, under ThreadSanitizer too: each READY that was
// accepted is, in the end, with exactly one wait or still there, whatever calls were repeated,
// abandoned, never written, or not acknowledged. Method: each READY carries a number of its own;
// eight threads signal and run waits through all that can befall them; what was kept and what is
// left is added up.
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

constexpr int kThreads = 8;
constexpr int kNames = 4;
constexpr int kRounds = 2500;

std::string NameOf(uint64_t n) { return "s" + std::to_string(n % kNames); }

// Real time, until it is moved ahead.
class MovableClock final : public Clock {
 public:
  Now Read() const override {
    Now now = real_.Read();
    now.mono += ahead.load();
    now.wall += ahead.load();
    return now;
  }
  std::atomic<Nanos> ahead{Nanos(0)};

 private:
  const RealClock real_;
};

class Worker {
 public:
  Worker(Poller& poller, const Clock& clock, unsigned seed)
      : poller_(poller), clock_(clock), seed_(seed), random_(seed) {}

  void Run() {
    for (int i = 0; i < kRounds; ++i) {
      if (random_() % 2 == 0) {
        Signal(i);
      } else {
        Wait(i);
      }
    }
  }

  uint64_t accepted = 0;            // Readys, but those that replaced one
  std::multiset<std::string> kept;  // the numbers of the READYs that waits kept
  std::vector<std::unique_ptr<TestWait>>
      calls;  // until the end: an abandoned one may be named late

 private:
  void Signal(int i) {
    const std::string number = std::to_string(seed_) + "/" + std::to_string(i);
    const OpenOptions fifo{.kind = Kind::kFifo, .labels = {}, .owner = {}};
    const std::string name = NameOf(random_());
    const ReadyArgs args{
        .name = name, .signal = Bytes(number), .open_if_missing = &fifo, .retry = {.id = number}};
    ReadyEffect effect = ReadyEffect::kRefused;
    for (unsigned times = random_() % 2 + 1; times > 0; --times) {
      Answered<ReadyCall> call;
      poller_.Ready(clock_.Read().mono, args, call);
      effect = Ok(call.result()).effect;
    }
    if (effect != ReadyEffect::kCoalesced) ++accepted;
  }

  // One wait, by as many calls as it takes, until it has an outcome or is given up.
  void Wait(int i) {
    const std::string id = std::to_string(seed_) + "/" + std::to_string(i);
    const OpenOptions fifo{.kind = Kind::kFifo, .labels = {}, .owner = {}};
    const std::string name = NameOf(random_());
    WaitArgs args{.name = name,
                  .timeout = microseconds(random_() % 500),
                  .open_if_missing = &fifo,
                  .retry = {.id = id}};
    const bool acks = random_() % 3 == 0;
    if (acks) args.ack_timeout = microseconds(random_() % 300 + 1);
    const bool twice = random_() % 4 == 0;
    for (int attempt = 0; attempt < 3; ++attempt) {
      TestWait& call = Start(args);
      TestWait* const second = twice ? &Start(args) : nullptr;
      if (random_() % 3 == 0) poller_.Abandon(call);
      if (second != nullptr && random_() % 3 == 0) poller_.Abandon(*second);
      call.Await();
      if (second != nullptr) second->Await();
      if (Ends(args, acks, call, second)) return;
    }
  }

  TestWait& Start(const WaitArgs& args) {
    TestWait& call = *calls.emplace_back(std::make_unique<TestWait>());
    poller_.Wait(clock_.Read().mono, args, call);
    return call;
  }

  static const WaitResult* ReadyOf(const TestWait* call) {
    if (call == nullptr) return nullptr;
    const auto* const result = std::get_if<WaitResult>(&call->result());
    return result != nullptr && result->outcome == Outcome::kReady ? result : nullptr;
  }

  // What is done about the answers. True: the wait is over.
  bool Ends(const WaitArgs& args, bool acks, const TestWait& call, const TestWait* second) {
    const WaitResult* const one = ReadyOf(&call);
    const WaitResult* const two = ReadyOf(second);
    const WaitResult* const ready = one != nullptr ? one : two;
    if (ready == nullptr) {
      const auto* const result =
          std::get_if<WaitResult>(second == nullptr ? &call.result() : &second->result());
      return result != nullptr && result->outcome == Outcome::kTimedOut;
    }
    if (one != nullptr && two != nullptr) {
      EXPECT_EQ(one->delivery, two->delivery);
      EXPECT_EQ(*one->signal, *two->signal);
    }
    if (acks) {
      if (random_() % 4 == 0) return true;  // forgotten: it comes back
      AnsweredAck ack;
      poller_.Ack(AckOf(*ready, args.retry.id, args.name), ack);
      if (std::holds_alternative<AckResult>(ack.result())) kept.insert(*ready->signal);
      return true;
    }
    bool written = false;
    for (const TestWait* each : {&call, second}) {
      if (ReadyOf(each) == nullptr) continue;
      if (random_() % 2 == 0) {
        written = true;
      } else {
        poller_.Unwritten(*each, microseconds(random_() % 300));
      }
    }
    if (written) kept.insert(*ready->signal);
    return written || random_() % 2 == 0;
  }

  using AnsweredAck = Answered<AckCall>;

  Poller& poller_;
  const Clock& clock_;
  const unsigned seed_;
  std::mt19937 random_;
};

TEST(StressIds, EachReadyIsKeptOnceOrIsThereC71) {
  MovableClock clock;
  Poller poller({.linger = microseconds(200)}, clock, nullptr, nullptr);
  std::atomic<bool> stop{false};
  std::thread timers([&] {
    while (!stop) poller.RunTimers();
  });
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    workers.push_back(std::make_unique<Worker>(poller, clock, t + 1));
    threads.emplace_back([&worker = *workers.back()] { worker.Run(); });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  timers.join();
  // Everything that lingers or waits for an Ack is over a second later.
  clock.ahead = seconds(1);
  while (poller.RunTimers() <= clock.Read().mono) {
  }
  uint64_t accepted = 0;
  std::multiset<std::string> found;
  for (const auto& worker : workers) {
    accepted += worker->accepted;
    found.insert(worker->kept.begin(), worker->kept.end());
  }
  EXPECT_GT(found.size(), 1000U) << "the run was too quiet to show anything";
  EXPECT_EQ(poller.waiters(), 0U);
  for (int n = 0; n < kNames; ++n) {
    for (bool more = true; more;) {
      Parked<WaitCall> call;
      poller.Wait(clock.Read().mono,
                  {.name = NameOf(static_cast<uint64_t>(n)), .timeout = Nanos(0)}, call);
      const auto& result = Ok(call.result());
      more = result.outcome == Outcome::kReady;
      if (more) found.insert(*result.signal);
    }
  }
  EXPECT_EQ(found.size(), accepted);
  for (auto each = found.begin(); each != found.end(); each = found.upper_bound(*each)) {
    EXPECT_EQ(found.count(*each), 1U) << *each;
  }
  const Counters counted = poller.Count();
  EXPECT_GT(counted.redeliveries, 10U) << "no hand-off was taken back";
  EXPECT_EQ(counted.unacked, 0U);
  EXPECT_EQ(counted.returned, 0U);
}

}  // namespace
}  // namespace waitd::core
