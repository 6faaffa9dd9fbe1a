// For how long a lock is held by what grows with n: on a latch, a close, a deadline, polls,
// deliveries, what is saved. Each case prints its wall time and its longest hold.
//
// A hold that changes something reads the clock once, as it begins. So the longest time between two
// readings is no less than the longest hold; of Collect and Saved it is the longest call, for these
// take a lock once.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/poller.h"
#include "core/saved.h"

namespace waitd::core {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::hours;
using std::chrono::seconds;

// A clock that the test moves, and that tells how far apart in real time its readings are.
class WatchedClock final : public Clock {
 public:
  Now Read() const override {
    Lap();
    return now;
  }
  void Lap() const {
    const SteadyClock::time_point at = SteadyClock::now();
    longest = std::max<Nanos>(longest, at - last);
    last = at;
  }
  void Start() const {
    last = SteadyClock::now();
    longest = Nanos(0);
  }

  Now now{Instant(hours(1)), WallTime(hours(24) * 365 * 50)};
  mutable SteadyClock::time_point last;
  mutable Nanos longest{0};
};

template <class Base>
struct Plain : Base {
  void Done() override { done = true; }
  bool done = false;
};
template <class Base>
struct Waits : Plain<Base> {
  std::string_view client() const override { return "bench"; }
};
using Wait = Waits<WaitCall>;

struct Dirty : Journal {
  void Changed(ShardSet shards) override { dirty |= shards; }
  ShardSet dirty = 0;
};

struct Bench {
  explicit Bench(bool saves = false) : poller(Options(), clock, saves ? &journal : nullptr, {}) {}

  static Poller::Options Options() {
    Poller::Options options;
    options.max_descriptors = options.max_waiters = uint64_t{1} << 24;
    options.max_deliveries = options.max_deliveries_of_side = uint64_t{1} << 24;
    options.max_outcomes = uint64_t{1} << 24;
    options.retention = options.max_wait = hours(24 * 365);
    return options;
  }

  void Open(std::string_view name, Kind kind) {
    Plain<OpenCall> call;
    OpenArgs args{.name = name};
    args.options.kind = kind;
    poller.Open(clock.now.mono, args, call);
  }
  void Park(std::string_view name, size_t count) {
    std::vector<Wait>& some = waits.emplace_back(count);
    clock.last = SteadyClock::now();  // what the calls themselves take is none of it
    for (Wait& wait : some) poller.Wait(clock.now.mono, {.name = name}, wait);
  }
  void Ready(std::string_view name) {
    poller.Ready(clock.now.mono, {.name = name}, readys.emplace_back());
  }
  void Set(std::string_view name, SetDeadlineArgs::What what, Nanos timeout) {
    Plain<SetDeadlineCall>& call = *sets.emplace_back(std::make_unique<Plain<SetDeadlineCall>>());
    poller.SetDeadline(clock.now.mono, {.name = name, .what = what, .timeout = timeout}, call);
  }
  void RunTimers() {
    while (poller.RunTimers() <= clock.now.mono) {
    }
  }
  void Pass(Nanos by) {
    clock.now.mono += by;
    clock.now.wall += by;
  }

  WatchedClock clock;
  Dirty journal;
  Poller poller;
  std::deque<std::vector<Wait>> waits;
  std::deque<Plain<ReadyCall>> readys;
  std::vector<std::unique_ptr<Plain<SetDeadlineCall>>> sets;
};

// Measures what `run` does, until nothing of it is left.
void Measure(const char* what, size_t n, Bench& bench, const std::function<void()>& run) {
  const auto begin = SteadyClock::now();
  bench.clock.Start();
  run();
  bench.RunTimers();
  bench.clock.Lap();
  const std::chrono::duration<double, std::milli> took = SteadyClock::now() - begin;
  const std::chrono::duration<double, std::milli> hold = bench.clock.longest;
  std::printf("| %s | %zu | %.2f | %.3f |\n", what, n, took.count(), hold.count());
  std::fflush(stdout);
}

constexpr Nanos kFar = hours(1);

void Releases(size_t n) {
  const auto with = [n](const char* what, Kind kind, const std::function<void(Bench&)>& run,
                        bool armed = false) {
    Bench bench;
    bench.Open("a", kind);
    if (armed) bench.Set("a", SetDeadlineArgs::What::kTimeout, seconds(1));
    bench.Park("a", n);
    Measure(what, n, bench, [&] { run(bench); });
  };
  with("Ready on a latch", Kind::kLatch, [](Bench& b) { b.Ready("a"); });
  with("SetDeadline in the past", Kind::kFifo,
       [](Bench& b) { b.Set("a", SetDeadlineArgs::What::kTimeout, Nanos(0)); });
  with(
      "a deadline fires", Kind::kFifo, [](Bench& b) { b.Pass(seconds(2)); }, true);
  with("SetDeadline that arms", Kind::kFifo,
       [](Bench& b) { b.Set("a", SetDeadlineArgs::What::kTimeout, kFar); });
  with(
      "SetDeadline that clears", Kind::kFifo,
      [](Bench& b) { b.Set("a", SetDeadlineArgs::What::kClear, Nanos(0)); }, true);
  Plain<CloseCall> close;
  with("Close", Kind::kFifo,
       [&close](Bench& b) { b.poller.Close(b.clock.now.mono, {.name = "a"}, close); });
}

void Polls(size_t n) {
  Bench one;
  for (const char* name : {"a", "b"}) one.Open(name, Kind::kFifo);
  Waits<PollCall> poll;
  one.poller.Poll(one.clock.now.mono, {.targets = {{"a"}, {"b"}}, .need = 2}, poll);
  one.Park("a", n);
  Measure("a Ready for one of n waits, beside a poll that lacks another", n, one,
          [&] { one.Ready("a"); });
  Measure("a Ready for each of these", n, one, [&] {
    for (size_t i = 1; i < n; ++i) one.Ready("a");
  });
  Bench many;
  for (const char* name : {"a", "b"}) many.Open(name, Kind::kFifo);
  std::vector<Waits<PollCall>> polls(n);
  for (auto& each : polls) {
    many.poller.Poll(many.clock.now.mono, {.targets = {{"a"}, {"b"}}, .need = 2}, each);
  }
  Measure("a Ready beside n polls that lack another", n, many, [&] { many.Ready("a"); });
}

void TakenSignals(size_t n) {
  Bench bench;
  bench.Open("a", Kind::kFifo);
  std::vector<Wait> waits(n);
  for (size_t i = 0; i < n; ++i) {
    const std::string id = std::to_string(i);
    bench.poller.Wait(bench.clock.now.mono,
                      {.name = "a", .ack_timeout = seconds(1), .retry = {.id = id}}, waits[i]);
    bench.Ready("a");
  }
  Measure("n deliveries are overdue at once", n, bench, [&] { bench.Pass(seconds(2)); });
  Measure("n waits take n signals that came back", n, bench, [&] { bench.Park("a", n); });
}

void Saving(size_t n) {
  Bench bench(/*saves=*/true);
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) names.push_back("{k}" + std::to_string(i));
  Nanos worst{0};
  std::deque<Plain<OpenCall>> opens;
  for (const std::string& name : names) {
    const auto begin = SteadyClock::now();
    bench.poller.Open(bench.clock.now.mono, {.name = name}, opens.emplace_back());
    worst = std::max<Nanos>(worst, SteadyClock::now() - begin);
  }
  std::printf("| the worst Open of n | %zu | | %.3f |\n", n,
              static_cast<double>(worst.count()) / 1e6);
  Changes changes;
  Poller::Cut cut;
  ShardSet dirty = bench.journal.dirty;
  Measure("Collect, n names of a shard", n, bench, [&] {
    while (bench.poller.Collect(dirty, changes, cut)) bench.clock.Lap();
  });
  Measure("Saved, n answers of a shard", n, bench, [&] {
    while (bench.poller.Saved(cut)) bench.clock.Lap();
  });
  Plain<ListCall> list;
  Measure("a page of 1000 of n names in a shard", n, bench,
          [&] { bench.poller.List({.page_size = 1000}, list); });
}

}  // namespace
}  // namespace waitd::core

int main() {
  std::puts("| what | n | wall ms | longest hold ms |\n|---|---|---|---|");
  for (const size_t n : {1000, 10'000, 100'000, 1'000'000}) {
    waitd::core::Releases(n);
    waitd::core::Polls(n);
    waitd::core::TakenSignals(n);
    waitd::core::Saving(n);
  }
}
