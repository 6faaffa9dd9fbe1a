#include "core/shard.h"

#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/fingerprint.h"

namespace waitd::core {

size_t ShardOf(std::string_view name) {
  const size_t open = name.find('{');
  if (open != std::string_view::npos) {
    const size_t close = name.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) {
      name = name.substr(open + 1, close - open - 1);
    }
  }
  return Fingerprint().Add(name).value() % kShards;
}

size_t Shard::ByName::Hash(std::string_view name) {
  return absl::HashOf(absl::string_view(name.data(), name.size()));
}

PollDesc* Shard::Find(std::string_view name) { return by_name_.Find(name); }

PollDesc& Shard::Insert(std::string_view name, Kind kind, uint64_t generation, const Now& now) {
  PollDesc& desc = descs.Get(env);
  desc.Init(name, kind, generation, now);
  by_name_.Insert(desc);
  ordered.insert(&desc);
  ++env.counters.descriptors[static_cast<size_t>(kind)];
  return desc;
}

PollDesc& Shard::Create(std::string_view name, Kind kind, const Now& now) {
  PollDesc& desc = Insert(name, kind, ++lives * kShards + env.shard, now);
  env.unsaved.TouchShard();
  desc.Touch();
  return desc;
}

PollDesc& Shard::Restore(std::string_view name, Kind kind, uint64_t generation, const Now& now) {
  lives = std::max(lives, generation / kShards + 1);
  return Insert(name, kind, generation, now);
}

void Shard::Remove(PollDesc& desc) {
  WAITD_CHECK(desc.closing(), "a name is removed that is open");
  by_name_.Erase(desc);
  ordered.erase(&desc);
  --env.counters.descriptors[static_cast<size_t>(desc.kind())];
  env.unsaved.Gone(desc);
  desc.options.reset();
  if (!desc.busy()) descs.Put(desc);
}

void Shard::EndWork() {
  const std::unique_ptr<Work> work = env.work.Pop();
  PollDesc* const desc = work->desc();
  if (desc != nullptr && desc->closing() && !desc->busy()) descs.Put(*desc);
}

void Shard::Park(Waiter& waiter) {
  waiter.older = newest;
  waiter.newer = nullptr;
  (newest == nullptr ? oldest : newest->newer) = &waiter;
  newest = &waiter;
  if (waiter.until() != kNever) env.timers.Arm(waiter, waiter.until());
}

void Shard::Unpark(Waiter& waiter) {
  (waiter.older == nullptr ? oldest : waiter.older->newer) = waiter.newer;
  (waiter.newer == nullptr ? newest : waiter.newer->older) = waiter.older;
  env.timers.Cancel(waiter);
}

void Shard::CountEnd(WaitMode mode, const Result<WaitResult>& result) { CountEndOf(mode, result); }
void Shard::CountEnd(const Result<PollResult>& result) { CountEndOf(WaitMode::kPoll, result); }

template <class R>
void Shard::CountEndOf(WaitMode mode, const Result<R>& result) {
  const auto m = static_cast<size_t>(mode);
  Counters& counters = env.counters;
  const R* const ended = std::get_if<R>(&result);
  if (ended == nullptr) {
    ++counters.waits[m][Counters::kRefused];
    if (std::get<Refusal>(result).reason == Reason::kDoubleWait) ++counters.double_waits;
    return;
  }
  const auto end = static_cast<size_t>(ended->outcome);
  static_assert(static_cast<size_t>(Outcome::kReady) == Counters::kReady);
  static_assert(static_cast<size_t>(Outcome::kTimedOut) == Counters::kTimedOut);
  static_assert(static_cast<size_t>(Outcome::kClosed) == Counters::kClosed);
  static_assert(static_cast<size_t>(Outcome::kCancelled) == Counters::kCancelled);
  ++counters.waits[m][end];
  counters.wait_duration[end].Observe(ended->parked);
  if (ended->outcome != Outcome::kTimedOut) return;
  ++counters.timeouts[m][static_cast<size_t>(ended->cause)];
  // Max-wait may come late after a clear, and decides nothing.
  if (ended->cause != TimeoutCause::kMaxWait) counters.lateness.Observe(ended->late);
}

}  // namespace waitd::core
