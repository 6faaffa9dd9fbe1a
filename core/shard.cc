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

size_t Shard::HashName::operator()(std::string_view name) const {
  return absl::HashOf(absl::string_view(name.data(), name.size()));
}

PollDesc* Shard::Find(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : *found;
}

PollDesc& Shard::Create(std::string_view name, Kind kind, uint64_t generation, const Now& now) {
  PollDesc& desc = descs.Get(env);
  desc.Init(name, kind, generation, now);
  by_name_.insert(&desc);
  ordered.insert(&desc);
  ++env.counters.descriptors[static_cast<size_t>(kind)];
  return desc;
}

void Shard::Remove(PollDesc& desc) {
  WAITD_CHECK(desc.closing(), "a descriptor is removed that is open");
  by_name_.erase(&desc);
  ordered.erase(&desc);
  --env.counters.descriptors[static_cast<size_t>(desc.kind())];
  unsaved.descs.Remove(desc);
  if (std::exchange(desc.stored, false)) unsaved.closed.emplace_back(desc.name());
  descs.Put(desc);
}

void Shard::Park(Waiter& waiter, WaitMode mode) {
  waiter.older = newest;
  waiter.newer = nullptr;
  (newest == nullptr ? oldest : newest->newer) = &waiter;
  newest = &waiter;
  if (waiter.until() != kNever) env.timers.Arm(waiter, waiter.until());
  ++env.counters.waiters[static_cast<size_t>(mode)];
}

void Shard::Unpark(Waiter& waiter, WaitMode mode) {
  (waiter.older == nullptr ? oldest : waiter.older->newer) = waiter.newer;
  (waiter.newer == nullptr ? newest : waiter.newer->older) = waiter.older;
  env.timers.Cancel(waiter);
  WAITD_CHECK(env.counters.waiters[static_cast<size_t>(mode)] > 0, "more waits end than parked");
  --env.counters.waiters[static_cast<size_t>(mode)];
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
  counters.lateness.Observe(ended->late);
}

}  // namespace waitd::core
