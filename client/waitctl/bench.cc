#include "client/waitctl/bench.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

using Clock = std::chrono::steady_clock;

// How long wakes took, in buckets whose bounds grow by a sixteenth of a doubling: a percentile is
// right to three hundredths, and the memory the same for any number of wakes.
class Latencies {
 public:
  void Add(Clock::duration latency) {
    const double nanos = std::max(1.0, std::chrono::duration<double, std::nano>(latency).count());
    const auto bucket = static_cast<size_t>(std::log2(nanos) * kPerDoubling);
    ++buckets_[std::min(bucket, buckets_.size() - 1)];
    ++count_;
    most_ = std::max(most_, nanos);
  }

  uint64_t count() const { return count_; }

  absl::Duration Percentile(double share) const {
    const auto rank = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
    uint64_t passed = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      passed += buckets_[i];
      if (passed < rank) continue;
      const double middle = std::exp2((static_cast<double>(i) + 0.5) / kPerDoubling);
      return absl::Nanoseconds(std::min(middle, most_));
    }
    return absl::ZeroDuration();
  }

 private:
  static constexpr size_t kPerDoubling = 16;
  std::array<uint64_t, 64 * kPerDoubling> buckets_ = {};
  uint64_t count_ = 0;
  double most_ = 0;
};

// What the callbacks share with the one that waits for them, which may be gone before the last.
struct Round {
  std::mutex mutex;
  std::condition_variable changed;
  size_t left = 0;                         // guarded by mutex, like all below
  std::vector<Clock::time_point> readied;  // when each Ready was called
  Latencies latencies;
  absl::Status failure;

  template <class T>
  void Answered(const absl::StatusOr<T>& answer) {
    if (!answer.ok() && failure.ok()) failure = answer.status();
    if (--left == 0 || !failure.ok()) changed.notify_all();
  }

  // Until all is answered, something failed, or a signal came.
  bool Await(Interrupts& interrupts) {
    const Interrupts::Reaction reaction(interrupts, [this] {
      const std::lock_guard lock(mutex);
      if (failure.ok()) failure = absl::CancelledError("interrupted");
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return left == 0 || !failure.ok(); });
    return failure.ok();
  }
};

// Parks a wait on each name, and then readies each: in this order on one stream, so that each finds
// its wait.
bool WakeAll(Caller& caller, const std::vector<std::string>& names,
             const std::shared_ptr<Round>& round) {
  {
    const std::lock_guard lock(round->mutex);
    round->left = 2 * names.size();
  }
  for (size_t i = 0; i < names.size(); ++i) {
    // Closed with the session, whatever ends this.
    caller.client()
        .Wait(names[i], {.open_if_missing = OpenOptions{.ephemeral = true}})
        .Then([round, i](const absl::StatusOr<WaitResult>& result) {
          const Clock::time_point now = Clock::now();
          const std::lock_guard lock(round->mutex);
          if (result.ok()) round->latencies.Add(now - round->readied[i]);
          round->Answered(result);
        });
  }
  for (size_t i = 0; i < names.size(); ++i) {
    {
      const std::lock_guard lock(round->mutex);
      round->readied[i] = Clock::now();
    }
    caller.client().Ready(names[i]).Then([round](const absl::StatusOr<ReadyResult>& result) {
      const std::lock_guard lock(round->mutex);
      round->Answered(result);
    });
  }
  return round->Await(caller.interrupts);
}

bool CloseAll(Caller& caller, const std::vector<std::string>& names,
              const std::shared_ptr<Round>& round) {
  {
    const std::lock_guard lock(round->mutex);
    round->left = names.size();
  }
  for (const std::string& name : names) {
    caller.client().Close(name).Then([round](const absl::StatusOr<CloseResult>& result) {
      const std::lock_guard lock(round->mutex);
      round->Answered(result);
    });
  }
  return round->Await(caller.interrupts);
}

std::string Report(const Args& args, double seconds, const Latencies& latencies) {
  const double rate = static_cast<double>(latencies.count()) / seconds;
  const auto at = [&](double share) { return latencies.Percentile(share); };
  if (args.json()) {
    return absl::StrFormat(
        R"({"waits":%d,"seconds":%.3f,"wakes":%d,"wakesPerSecond":%.0f,"latencySeconds":)"
        R"({"p50":%.9f,"p90":%.9f,"p99":%.9f,"max":%.9f}})"
        "\n",
        args.waits, seconds, latencies.count(), rate, absl::ToDoubleSeconds(at(0.5)),
        absl::ToDoubleSeconds(at(0.9)), absl::ToDoubleSeconds(at(0.99)),
        absl::ToDoubleSeconds(at(1)));
  }
  const auto show = [&](double share) {
    return absl::FormatDuration(absl::Trunc(at(share), absl::Microseconds(1)));
  };
  return absl::StrFormat(
      "%d waits in one session: %.0f wakes/s over %.1fs; a wake took p50 %s, p90 %s, p99 %s, "
      "max %s\n",
      args.waits, rate, seconds, show(0.5), show(0.9), show(0.99), show(1));
}

}  // namespace

int Bench(Caller& caller) {
  const Args& args = caller.args;
  const std::string prefix =
      absl::StrCat(args.name.empty() ? "waitctl-bench" : args.name, "/", getpid(), "/");
  std::vector<std::string> names;
  for (uint32_t i = 0; i < args.waits; ++i) names.push_back(absl::StrCat(prefix, i));
  const auto round = std::make_shared<Round>();
  round->readied.resize(names.size());
  // The first one opens the names, and is not counted.
  bool well = WakeAll(caller, names, round);
  round->latencies = Latencies();
  const Clock::time_point begin = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  while (well && passed() < args.seconds) well = WakeAll(caller, names, round);
  const double seconds = passed();
  if (!well || !CloseAll(caller, names, round)) {
    caller.Disconnect();  // the names go with the session, and not a linger later
    return caller.Fail(round->failure);
  }
  return Print(args, Report(args, seconds, round->latencies), kDone);
}

}  // namespace waitd::ctl
