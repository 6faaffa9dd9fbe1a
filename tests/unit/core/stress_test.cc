// Goal: C25 to C27 with real threads and real time, under ThreadSanitizer too: Readys handed out
// are no more than were accepted, every wait ends once, at rest nobody is parked. Method: eight
// threads wait, poll, signal, move deadlines, cancel and close on few names; one runs the timers,
// and another takes the right to one name away from everybody, again and again; what they saw is
// added up at the end.
#include <atomic>
#include <random>
#include <thread>

#include "core/denial.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

constexpr int kThreads = 8;
constexpr int kNames = 6;

std::string NameOf(uint64_t n) { return "s" + std::to_string(n % kNames); }

struct Tally {
  std::atomic<uint64_t> accepted{0};    // Readys that a side took in, coalesced ones left out
  std::atomic<uint64_t> handed_out{0};  // READYs that waits and polls got
  std::atomic<uint64_t> ended{0};
};

// A call that counts what it got. Its owner may free it once it is done.
template <class Base>
class Counted : public Base {
 public:
  explicit Counted(Tally& tally) : tally_(tally) {}
  void Done() override {
    EXPECT_FALSE(ending_.exchange(true)) << "ended twice";
    if (const auto* wait = std::get_if<0>(&this->result())) {
      if constexpr (requires { wait->targets; }) {
        if (wait->outcome == Outcome::kReady) tally_.handed_out += wait->targets.size();
      } else {
        if (wait->outcome == Outcome::kReady) ++tally_.handed_out;
      }
    }
    ++tally_.ended;
    done_ = true;
  }
  std::string_view client() const override { return "stress"; }
  bool done() const { return done_; }

 private:
  Tally& tally_;
  std::atomic<bool> ending_{false};
  std::atomic<bool> done_{false};
};

// The right to the first name is gone.
class NoFirst final : public Denial {
 protected:
  bool Concerns(uint64_t /*caller*/) const override { return true; }
  bool Denies(uint64_t /*caller*/, std::string_view name) const override {
    return name == NameOf(0);
  }
};

TEST(Stress, NoReadyIsUsedTwiceAndEveryWaitEndsC25C26C27) {
  const RealClock clock;
  Poller poller({}, clock, nullptr, nullptr);
  Tally tally;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> started{0};
  const OpenOptions fifo{.kind = Kind::kFifo};
  std::thread timers([&] {
    while (!stop) poller.RunTimers();
  });
  // At least one that is denied, however soon the rest ends.
  Counted<WaitCall> first(tally);
  ++started;
  poller.Wait(kWhenCarriedOut, {.name = NameOf(0), .open_if_missing = &fifo}, first);
  size_t denied = 0;
  std::thread denials([&] {
    do {
      NoFirst denial;
      while (denial.EndSome(poller)) {
      }
      denied += denial.ended();
      std::this_thread::sleep_for(milliseconds(1));
    } while (!stop);
  });
  while (!first.done()) std::this_thread::yield();
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    // The calls live as long as the thread, so that a late cancel finds them.
    std::vector<std::unique_ptr<Counted<WaitCall>>> waits;
    std::vector<std::unique_ptr<Counted<PollCall>>> polls;
    for (int i = 0; i < 6000; ++i) {
      const std::string name = NameOf(random());
      const Instant now = clock.Read().mono;
      switch (random() % 12) {
        case 0:
        case 1:
        case 2: {
          auto& call = waits.emplace_back(std::make_unique<Counted<WaitCall>>(tally));
          ++started;
          poller.Wait(
              now,
              {.name = name,
               .timeout = random() % 2 == 0 ? std::optional<Nanos>(microseconds(random() % 900))
                                            : std::nullopt,
               .open_if_missing = &fifo},
              *call);
          break;
        }
        case 3:
        case 4: {
          const std::string other = NameOf(random());
          if (other == name) break;
          auto& call = polls.emplace_back(std::make_unique<Counted<PollCall>>(tally));
          ++started;
          PollArgs args{.targets = {{name}, {other}},
                        .need = static_cast<uint32_t>(random() % 2 + 1),
                        .open_if_missing = &fifo};
          if (random() % 2 == 0) args.timeout = microseconds(random() % 900);
          poller.Poll(now, args, *call);
          break;
        }
        case 5:
        case 6:
        case 7:
        case 8: {
          Answered<ReadyCall> call;
          poller.Ready(now, {.name = name, .open_if_missing = &fifo}, call);
          call.Await();
          const ReadyEffect effect = Ok(call.result()).effect;
          if (effect != ReadyEffect::kCoalesced) ++tally.accepted;
          break;
        }
        case 9: {
          Answered<SetDeadlineCall> call;
          const bool clears = random() % 3 == 0;
          poller.SetDeadline(
              now,
              {.name = name,
               .what = clears ? SetDeadlineArgs::What::kClear : SetDeadlineArgs::What::kTimeout,
               .timeout = microseconds(static_cast<int>(random() % 2000) - 100),
               .open_if_missing = &fifo},
              call);
          call.Await();
          break;
        }
        case 10:
          if (!waits.empty()) poller.Cancel(*waits[random() % waits.size()]);
          if (!polls.empty()) poller.Cancel(*polls[random() % polls.size()]);
          break;
        case 11:
          if (random() % 8 == 0) {
            Answered<CloseCall> call;
            poller.Close(now, {.name = name}, call);
            call.Await();
          }
          break;
      }
    }
    // Nothing outlives its thread's calls: cancel what is left, and wait for what others are
    // ending.
    for (const auto& call : waits) poller.Cancel(*call);
    for (const auto& call : polls) poller.Cancel(*call);
    for (const auto& call : waits)
      while (!call->done()) std::this_thread::yield();
    for (const auto& call : polls)
      while (!call->done()) std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) threads.emplace_back(work, t + 1);
  for (auto& thread : threads) thread.join();
  stop = true;
  timers.join();
  denials.join();
  EXPECT_GT(denied, 0U);
  EXPECT_EQ(tally.ended, started);
  EXPECT_LE(tally.handed_out, tally.accepted);
  EXPECT_EQ(poller.waiters(), 0U);
  const Counters counted = poller.Count();
  for (const uint64_t parked : counted.waiters) EXPECT_EQ(parked, 0U);
  EXPECT_GT(tally.handed_out, 1000U) << "the run was too quiet to show anything";
}

}  // namespace
}  // namespace waitd::core
