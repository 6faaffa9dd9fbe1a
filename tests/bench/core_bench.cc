// What the core costs, without gRPC: one thread, the real clock, which each operation reads under
// its lock.
#include <benchmark/benchmark.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "core/poll_cache.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/step.h"

namespace waitd::core {
namespace {

template <class Base>
struct Call : Base {
  void Done() override {}
};
struct Wait : WaitCall {
  void Done() override {}
  std::string_view client() const override { return "bench"; }
};

struct PollingCall : PollCall {
  void Done() override {}
  std::string_view client() const override { return "bench"; }
};

Poller::Options ManyOptions() {
  Poller::Options options;
  options.max_descriptors = 1 << 22;
  options.max_waiters = 1 << 22;
  return options;
}

class Table {
 public:
  explicit Table(int64_t names) {
    for (int64_t i = 0; i < names; ++i) {
      names_.push_back("bench/descriptor/" + std::to_string(1'000'000 + i));
      Call<OpenCall> call;
      poller.Open(kWhenCarriedOut, {.name = names_.back()}, call);
    }
    // Far from the order of creation, as names come in life; the same for every run.
    for (size_t i = names_.size() - 1; i > 0; --i) {
      std::swap(names_[i], names_[(i * 2654435761U) % (i + 1)]);
    }
  }

  const std::string& Next() {
    if (++at_ == names_.size()) at_ = 0;
    return names_[at_];
  }

  RealClock clock;

  Poller poller{ManyOptions(), clock, nullptr, nullptr};

 private:
  std::vector<std::string> names_;
  size_t at_ = 0;
};

// A wait parks and a Ready wakes it: two operations by name, and a wake between them.
void BM_BlockUnblock(benchmark::State& state) {
  Table table(state.range(0));
  for (auto _ : state) {
    const std::string& name = table.Next();
    Wait wait;
    table.poller.Wait(kWhenCarriedOut, {.name = name}, wait);
    Call<ReadyCall> ready;
    table.poller.Ready(kWhenCarriedOut, {.name = name}, ready);
    benchmark::DoNotOptimize(wait.result());
  }
}
BENCHMARK(BM_BlockUnblock)->Arg(1)->Arg(1'000'000);

// The wake alone: from the Ready to the wait's answer, with so many waits parked beforehand. A few
// fit into the processor's caches, many do not.
void BM_Wake(benchmark::State& state) {
  const auto batch = static_cast<size_t>(state.range(0));
  Table table(state.range(0));
  std::vector<Wait> waits;
  while (state.KeepRunningBatch(static_cast<int64_t>(batch))) {
    state.PauseTiming();
    waits = std::vector<Wait>(batch);
    std::vector<const std::string*> names;
    for (Wait& wait : waits) {
      names.push_back(&table.Next());
      table.poller.Wait(kWhenCarriedOut, {.name = *names.back()}, wait);
    }
    state.ResumeTiming();
    for (const std::string* name : names) {
      Call<ReadyCall> ready;
      table.poller.Ready(kWhenCarriedOut, {.name = *name}, ready);
    }
  }
}
BENCHMARK(BM_Wake)->Arg(256)->Arg(4096)->Arg(100'000);

// A poll parks on so many names and ends: by one Ready, or by one for each.
void BM_Poll(benchmark::State& state, bool all) {
  const auto targets = static_cast<size_t>(state.range(0));
  Table table(state.range(0));
  PollArgs args;
  for (size_t i = 0; i < targets; ++i) args.targets.push_back({.name = table.Next()});
  args.need = all ? static_cast<uint32_t>(targets) : 1;
  for (auto _ : state) {
    PollingCall poll;
    table.poller.Poll(kWhenCarriedOut, args, poll);
    for (size_t i = 0; i < args.need; ++i) {
      Call<ReadyCall> ready;
      table.poller.Ready(kWhenCarriedOut, {.name = args.targets[i].name}, ready);
    }
    benchmark::DoNotOptimize(poll.result());
  }
}
BENCHMARK_CAPTURE(BM_Poll, one, false)->Arg(2)->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(BM_Poll, all, true)->Arg(2)->Arg(64)->Arg(1000);

// Each deadline later than the one before, as a heartbeat moves it, among so many others that are
// armed; on one descriptor by its name.
void BM_SetDeadlineByName(benchmark::State& state) {
  Table table(state.range(0));
  for (int64_t i = 0; i < state.range(0); ++i) {
    Call<SetDeadlineCall> call;
    table.poller.SetDeadline(kWhenCarriedOut,
                             {.name = table.Next(),
                              .what = SetDeadlineArgs::What::kTimeout,
                              .timeout = std::chrono::hours(1)},
                             call);
  }
  const std::string name = table.Next();
  for (auto _ : state) {
    Call<SetDeadlineCall> call;
    table.poller.SetDeadline(
        kWhenCarriedOut,
        {.name = name, .what = SetDeadlineArgs::What::kTimeout, .timeout = std::chrono::hours(1)},
        call);
    benchmark::DoNotOptimize(call.result());
  }
}
BENCHMARK(BM_SetDeadlineByName)->Arg(1)->Arg(1'000'000);

// The same on a descriptor at hand, under a lock, as Go's SetReadDeadline has it: cleared and armed
// in turn, or extended; alone, or among a million armed timers, of which each is moved in turn.
class Descriptors {
 public:
  explicit Descriptors(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      PollDesc& desc = cache_.Get(env);
      desc.Init("d", Kind::kExclusive, static_cast<uint64_t>(i), clock.Read());
      all.push_back(&desc);
      Set(desc, true);
    }
  }

  void Set(PollDesc& desc, bool arm) {
    const MutexLock lock(mutex);
    step.Lock(0);  // that of no shard, but the time is read
    NewDeadline to;
    if (arm) {
      to.state = Deadline::State::kArmed;
      to.at = step.now().mono + std::chrono::hours(1);
      to.wall = step.now().wall + std::chrono::hours(1);
    }
    SetDeadlineResult result;
    desc.SetDeadline(step, Mode::kRead, to, DeadlineCondition::kAlways, result);
    benchmark::DoNotOptimize(result);
  }

  RealClock clock;
  Poller poller{ManyOptions(), clock, nullptr, nullptr};
  Step step{poller};  // one for many, as a message with many operations has it
  Mutex mutex;
  Budget budget;
  DescEnv env{0, std::chrono::seconds(90), budget, nullptr};
  std::vector<PollDesc*> all;

 private:
  PollCache<PollDesc> cache_;
};

void BM_SetDeadlineArmed(benchmark::State& state) {
  Descriptors descriptors(state.range(0));
  size_t at = 0;
  for (auto _ : state) {
    PollDesc& desc = *descriptors.all[at];
    descriptors.Set(desc, false);
    descriptors.Set(desc, true);
    if (++at == descriptors.all.size()) at = 0;
  }
  state.SetItemsProcessed(2 * state.iterations());
}
BENCHMARK(BM_SetDeadlineArmed)->Arg(1)->Arg(1'000'000);

void BM_SetDeadlineExtended(benchmark::State& state) {
  Descriptors descriptors(state.range(0));
  size_t at = 0;
  for (auto _ : state) {
    descriptors.Set(*descriptors.all[at], true);
    if (++at == descriptors.all.size()) at = 0;
  }
}
BENCHMARK(BM_SetDeadlineExtended)->Arg(1)->Arg(1'000'000);

// A name found among a million, as every operation does it.
void BM_LookUp(benchmark::State& state) {
  Table table(state.range(0));
  for (auto _ : state) {
    Call<ResetCall> call;
    table.poller.Reset(kWhenCarriedOut, {.name = table.Next()}, call);
    benchmark::DoNotOptimize(call.result());
  }
}
BENCHMARK(BM_LookUp)->Arg(1)->Arg(1'000'000);

// The machine's clock, moved so that it shows a multiple of 2^36 ns in six seconds.
class ClockBeforeABoundary final : public Clock {
 public:
  ClockBeforeABoundary() {
    const Instant start = clock_.Read().mono;
    const Nanos then = start.time_since_epoch() + std::chrono::seconds(6);
    ahead_ = kApart - then % kApart;
    boundary_ = Instant(then + ahead_);
  }
  Now Read() const override {
    const Now now = clock_.Read();
    return {now.mono + ahead_, now.wall + ahead_};
  }
  Instant boundary() const { return boundary_; }
  /// What the machine's clock shows then.
  Instant Machine(Instant at) const { return at - ahead_; }

 private:
  static constexpr Nanos kApart{int64_t{1} << 36};
  RealClock clock_;
  Nanos ahead_{0};
  Instant boundary_;
};

void SleepUntil(Instant machine) {
  const int64_t at = machine.time_since_epoch().count();
  const timespec until{.tv_sec = at / 1'000'000'000, .tv_nsec = at % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

// The greatest of the late, and the one that 99 % do not exceed.
void Report(benchmark::State& state, const std::string& who, std::vector<Nanos> late) {
  std::sort(late.begin(), late.end());
  state.counters[who + "_p99_us"] = static_cast<double>(late[late.size() * 99 / 100].count()) / 1e3;
  state.counters[who + "_max_us"] = static_cast<double>(late.back().count()) / 1e3;
}

// How late waits time out while a million deadlines are armed, from just after these were armed on,
// and while the clock passes a boundary; and how late a thread is that only sleeps until then.
void BM_Lateness(benchmark::State& state) {
  constexpr int64_t kArmed = 1'000'000;
  constexpr int kWaits = 2000;
  for (auto _ : state) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < kArmed; ++i) names.push_back("late/" + std::to_string(i));
    const ClockBeforeABoundary clock;
    Poller poller(ManyOptions(), clock, nullptr, nullptr);
    const OpenOptions open;
    for (const std::string& name : names) {
      Call<SetDeadlineCall> call;
      poller.SetDeadline(kWhenCarriedOut,
                         {.name = name,
                          .what = SetDeadlineArgs::What::kTimeout,
                          .timeout = std::chrono::hours(1),
                          .open_if_missing = &open},
                         call);
    }
    std::vector<Wait> waits(kWaits);
    const Instant begin = clock.Read().mono;
    const Nanos apart = (clock.boundary() + std::chrono::seconds(1) - begin) / kWaits;
    const auto due = [&](int i) { return begin + apart * (i + 1); };
    for (int i = 0; i < kWaits; ++i) {
      poller.Wait(begin, {.name = names[static_cast<size_t>(i)], .timeout = due(i) - begin},
                  waits[static_cast<size_t>(i)]);
    }
    std::vector<Nanos> bare;
    std::thread sleeper([&] {
      prctl(PR_SET_TIMERSLACK, 1);
      for (int i = 0; i < kWaits; ++i) {
        SleepUntil(clock.Machine(due(i)));
        bare.push_back(clock.Read().mono - due(i));
      }
    });
    prctl(PR_SET_TIMERSLACK, 1);
    while (poller.waiters() > 0) {
      const Instant next = poller.RunTimers();
      if (poller.waiters() > 0) SleepUntil(clock.Machine(next));
    }
    sleeper.join();
    std::vector<Nanos> late;
    for (Wait& wait : waits) late.push_back(std::get<WaitResult>(wait.result()).late);
    Report(state, "late", late);
    Report(state, "bare", bare);
  }
}
BENCHMARK(BM_Lateness)->Iterations(1)->Unit(benchmark::kMillisecond);

// What the clock alone costs: it is read in each of the above.
void BM_ReadClock(benchmark::State& state) {
  const RealClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(clock.Read());
}
BENCHMARK(BM_ReadClock);

}  // namespace
}  // namespace waitd::core

BENCHMARK_MAIN();
