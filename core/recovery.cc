#include "core/recovery.h"

#include <algorithm>
#include <memory>
#include <variant>

#include "core/poll_desc.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

using State = IdRecord::State;

PollDesc* Recovery::Find(uint64_t generation) const {
  const auto found = by_generation_.find(generation);
  return found == by_generation_.end() ? nullptr : found->second;
}

bool Recovery::Restore(const SavedDesc& saved) {
  Shard& home = poller_.shard(ShardOf(saved.name));
  const MutexLock lock(home.mutex());
  if (saved.ephemeral) {
    Step step(poller_, now_);
    home.unsaved.closed.push_back(saved.name);
    step.Tell(home);
    return true;
  }
  PollDesc& desc = home.Create(saved.name, saved.kind, saved.generation, now_);
  desc.Restore(saved);
  desc.stored = true;
  if (!by_generation_.emplace(saved.generation, &desc).second) return false;
  desc.ArmIdle(saved.idle_ttl, now_.mono);
  return true;
}

// A READY that may go back has to know where to.
void Recovery::PointAt(WaitResult& ready) const {
  ready.desc = ready.outcome == Outcome::kReady ? Find(ready.generation) : nullptr;
}

bool Recovery::Restore(SavedId saved) {
  if (saved.shard >= kShards) return false;
  Shard& home = poller_.shard(saved.shard);
  const MutexLock lock(home.mutex());
  const IdKey key{saved.key.use, saved.key.name, saved.key.caller, saved.key.id};
  if (home.ids.Find(key) != nullptr || saved.state == State::kParked) return false;
  PollDesc* const owner = saved.hand_off.has_value() ? Find(saved.hand_off->generation) : nullptr;
  if (owner != nullptr && owner->shard() != saved.shard) return false;
  if (saved.state == State::kPending && owner == nullptr) {
    // It went with its descriptor.
    Step step(poller_, now_);
    home.unsaved.forgotten.push_back(saved.key);
    step.Tell(home);
    return true;
  }
  IdRecord& record = home.ids.Insert(key, saved.content);
  record.state = saved.state;
  record.ack_timeout = saved.ack_timeout;
  record.stored = true;
  ++ids_;
  if (saved.answer.has_value()) {
    const auto given = [&](Outcome outcome) {
      if (outcome != Outcome::kReady) return std::shared_ptr<Given>();
      return std::make_shared<Given>(Given{.handed_off = saved.ack_timeout > Nanos(0)});
    };
    if (auto* const wait = std::get_if<WaitResult>(&*saved.answer)) {
      PointAt(*wait);
      wait->given = given(wait->outcome);
    }
    if (auto* const poll = std::get_if<PollResult>(&*saved.answer)) {
      for (PollResult::Target& target : poll->targets) PointAt(target.result);
      poll->given = given(poll->outcome);
    }
    record.answer = std::make_unique<const IdAnswer>(std::move(*saved.answer));
    if (saved.state == State::kKept) Keep(*record.answer, 1, now_.mono);
  }
  if (saved.hand_off.has_value()) {
    const SavedId::SavedHandOff& from = *saved.hand_off;
    record.hand_off =
        std::make_unique<HandOff>(HandOff{owner, from.generation, from.side, from.token});
    if (saved.state == State::kPending) owner->AddUnacked(from.side, 1);
  }
  if (saved.state == State::kKept || saved.state == State::kPending) {
    // Its client had linger from when it went; the restart may have taken up all of that.
    const Instant at = saved.state == State::kPending
                           ? saved.alarm
                           : SaturatingAdd(now_.mono, poller_.options_.linger);
    poller_.SetAlarm(home, record, at);
  } else {
    aged_.push_back({saved.recorded, &record, saved.shard});
  }
  return true;
}

void Recovery::MoveHorizon(uint32_t shard, Instant at) {
  Shard& home = poller_.shard(shard % kShards);
  const MutexLock lock(home.mutex());
  home.ids.MoveHorizon(at);
}

void Recovery::Finish(uint64_t next_generation) {
  std::sort(aged_.begin(), aged_.end(),
            [](const Aged& a, const Aged& b) { return a.recorded < b.recorded; });
  for (const Aged& each : aged_) {
    Shard& home = poller_.shard(each.shard);
    const MutexLock lock(home.mutex());
    Step step(poller_, {each.recorded, now_.wall});
    poller_.Age(step, home, *each.record);
  }
  poller_.descriptors_.store(by_generation_.size(), std::memory_order_relaxed);
  if (next_generation > 0) {
    poller_.next_generation_.store(next_generation, std::memory_order_relaxed);
    return;
  }
  // A new store: what was answered from another one, or from none, is not known here.
  for (size_t i = 0; i < kShards; ++i) {
    Shard& each = poller_.shard(i);
    const MutexLock lock(each.mutex());
    Step step(poller_, now_);
    each.ids.MoveHorizon(now_.mono);
    each.unsaved.horizon = true;
    step.Tell(each);
  }
}

}  // namespace waitd::core
