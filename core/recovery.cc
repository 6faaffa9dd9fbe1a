#include "core/recovery.h"

#include <algorithm>
#include <memory>
#include <variant>

#include "core/poll_desc.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

Recovery::Recovery(Poller& poller) : poller_(poller), now_(poller.clock_.Read()) {}

PollDesc* Recovery::Find(uint64_t generation) const {
  const auto found = by_generation_.find(generation);
  return found == by_generation_.end() ? nullptr : found->second;
}

bool Recovery::Restore(const SavedDesc& saved) {
  Shard& home = poller_.shard(ShardOf(saved.name));
  const MutexLock lock(home.mutex());
  if (saved.ephemeral) {
    home.env.unsaved.Erase(ClosedDesc{saved.name, saved.generation});
    return true;
  }
  PollDesc& desc = home.Restore(saved.name, saved.kind, saved.generation, now_);
  desc.Restore(saved);
  desc.stored = true;
  poller_.budget_.Add(Held::kDescriptors, nullptr, desc.amount());  // whose it was is not known
  if (!by_generation_.emplace(saved.generation, &desc).second) return false;
  desc.ArmIdle(saved.idle_ttl, now_.mono);
  return true;
}

bool Recovery::Restore(SavedId saved) {
  if (saved.shard >= kShards) return false;
  Shard& home = poller_.shard(saved.shard);
  Step step(poller_);
  ShardSet set = SetOf(saved.shard);
  // A signal that may come back has to know where to.
  const auto point = [&](WaitResult result) {
    const bool ready = result.outcome == Outcome::kReady;
    result.desc = ready ? Find(result.generation) : nullptr;
    if (result.desc != nullptr) set |= SetOf(result.desc->shard());
    return result;
  };
  if (auto* const wait = std::get_if<WaitResult>(&saved.answer)) *wait = point(*wait);
  if (auto* const poll = std::get_if<PollResult>(&saved.answer)) {
    for (PollResult::Target& target : poll->targets) {
      target = PollResult::Target(target.index, point(target.result(poll->parked)));
    }
  }
  step.Lock(set);
  home.mutex().AssertHeld();
  for (const WaitResult& each : SignalsOf(saved.answer)) {
    if (each.desc->kind() != Kind::kLatch && each.delivery > each.desc->side(each.side).delivery) {
      return false;
    }
    if (saved.kept && each.desc->FindDelivery(each.side, each.delivery) != nullptr) return false;
  }
  const IdKey key{saved.key.use, saved.key.name, saved.key.caller, saved.key.id};
  if (home.ids.Find(key) != nullptr) return false;
  IdRecord& record = home.ids.Insert(key, saved.content);
  if (key.caller != 0) record.account = poller_.budget_.Open(key.caller);
  record.ack_timeout = saved.ack_timeout;
  record.stored = true;
  record.answer = std::make_shared<Remembered>(std::move(saved.answer));
  record.answer->record = &record;
  record.answer->shard = static_cast<uint8_t>(saved.shard);
  record.answer->acks = saved.ack_timeout > Nanos(0);
  record.answer->stale = saved.stale;
  // Who had the answer is not known: a signal is used once at most. But what nobody had has linger
  // from now on, for the restart may have taken up what was left of it.
  record.answer->holders = saved.kept ? 0 : 1;
  if (saved.kept) {
    poller_.Keep(step, record.answer, SaturatingAdd(now_.mono, poller_.options_.linger));
  }
  if (!record.answer->kept)
    aged_.push_back({saved.recorded, &record, saved.shard,
                     static_cast<uint32_t>(SizeOf(record.answer->value))});
  ++ids_;
  return true;
}

bool Recovery::Restore(SavedDelivery saved) {
  if (saved.shard >= kShards || saved.state == Delivery::State::kKept) return false;
  Shard& home = poller_.shard(saved.shard);
  const MutexLock lock(home.mutex());
  PollDesc* const desc = Find(saved.key.generation);
  if (desc == nullptr) {  // it went with its name
    home.env.unsaved.Erase(saved.key);
    return true;
  }
  if (desc->shard() != saved.shard || saved.key.number > desc->side(saved.key.side).delivery ||
      desc->FindDelivery(saved.key.side, saved.key.number) != nullptr) {
    return false;
  }
  if (saved.state == Delivery::State::kReturned &&
      desc->WasReset(saved.key.side, saved.key.number)) {
    if (!saved.acknowledgeable) {
      home.env.unsaved.Erase(saved.key);
      return true;
    }
    saved.state = Delivery::State::kStale;
    saved.signal = nullptr;
    saved.recorded = now_.mono;
  }
  Delivery& delivery = desc->Restore(std::move(saved));
  if (delivery.state == Delivery::State::kAcked || delivery.state == Delivery::State::kStale) {
    aged_.push_back({delivery.recorded, &delivery, static_cast<uint32_t>(desc->shard()),
                     static_cast<uint32_t>(sizeof(Delivery))});
  }
  return true;
}

bool Recovery::Restore(const SavedShard& saved) {
  if (saved.shard >= kShards) return false;
  Shard& home = poller_.shard(saved.shard);
  const MutexLock lock(home.mutex());
  home.ids.MoveHorizon(saved.horizon);
  home.lives = std::max(home.lives, saved.lives);
  return true;
}

// An answer meets the deliveries that wait for its Ack.
void Recovery::FindDeliveries(const std::shared_ptr<Remembered>& answer) {
  if (!answer->acks) return;
  for (const WaitResult& each : SignalsOf(answer->value)) {
    Delivery* const delivery = each.desc->FindDelivery(each.side, each.delivery);
    if (delivery != nullptr && delivery->state == Delivery::State::kPending) {
      delivery->answer = answer;
    }
  }
}

void Recovery::Finish(bool fresh) {
  std::sort(aged_.begin(), aged_.end(),
            [](const Aged& a, const Aged& b) { return a.recorded < b.recorded; });
  for (const Aged& each : aged_) {
    Shard& home = poller_.shard(each.shard);
    Step step(poller_);
    step.Lock(SetOf(each.shard));
    home.mutex().AssertHeld();
    poller_.Age(step, home.env, *each.item, each.bytes, std::min(each.recorded, now_.mono));
    if (!each.item->delivery) FindDeliveries(static_cast<IdRecord*>(each.item)->answer);
  }
  if (!fresh) return;
  // A new store: what was answered from another one, or from none, is not known here.
  for (size_t i = 0; i < kShards; ++i) {
    Shard& each = poller_.shard(i);
    const MutexLock lock(each.mutex());
    each.ids.MoveHorizon(now_.mono);
    each.env.unsaved.TouchShard();
  }
}

}  // namespace waitd::core
