// What is to be saved, and what may be seen when it is.
#include <memory>
#include <utility>

#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/saved.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

SavedId Save(const IdRecord& record, size_t shard) {
  SavedId saved;
  saved.key = {record.use, record.name, record.caller, record.id};
  saved.shard = static_cast<uint32_t>(shard);
  saved.state = record.state;
  saved.content = record.content;
  saved.recorded = record.recorded;
  if (record.alarm != nullptr) saved.alarm = record.alarm->when();
  saved.ack_timeout = record.ack_timeout;
  if (record.answer != nullptr) saved.answer = *record.answer;
  if (record.hand_off != nullptr) {
    const HandOff& hand_off = *record.hand_off;
    saved.hand_off = {hand_off.generation, hand_off.side, hand_off.token};
  }
  return saved;
}

}  // namespace

// Shards that were changed in one step are collected under all their locks: so the whole of the
// step is in what is saved, or nothing of it. A shard is in a cut once: what is forgotten or closed
// is erased before the rest is written, and could not undo what was collected of it before.
ShardSet Poller::Collect(ShardSet shards, Changes& to, Cut& cut) {
  ShardSet later = 0;
  while (shards != 0) {
    Locks locks(*this, SetOf(First(shards)));
    ShardSet needed = 0;
    bool half = false;
    do {
      needed = locks.held();
      half = false;
      for (ShardSet left = locks.held(); left != 0; left &= left - 1) {
        Shard& each = shard(First(left));
        each.mutex().AssertHeld();
        needed |= each.unsaved.linked;
        half = half || each.unsaved.halves > 0;
      }
    } while (!locks.Widen(needed));
    const bool waits = half || (locks.held() & cut.shards) != 0;
    if (waits) later |= locks.held() & shards;
    for (ShardSet left = waits ? 0 : locks.held(); left != 0; left &= left - 1) {
      CollectFrom(shard(First(left)), to, cut);
    }
    shards &= ~locks.held();
  }
  // After the rest: no generation that it holds is missing.
  to.next_generation = next_generation_.load(std::memory_order_relaxed);
  return later;
}

void Poller::CollectFrom(Shard& from, Changes& to, Cut& cut) {
  from.mutex().AssertHeld();
  Unsaved& unsaved = from.unsaved;
  std::move(unsaved.closed.begin(), unsaved.closed.end(), std::back_inserter(to.closed));
  unsaved.closed.clear();
  for (PollDesc* const desc : unsaved.descs.Take()) {
    desc->stored = true;
    to.descs.push_back(desc->Save());
  }
  std::move(unsaved.forgotten.begin(), unsaved.forgotten.end(), std::back_inserter(to.forgotten));
  unsaved.forgotten.clear();
  for (IdRecord* const record : unsaved.ids.Take()) {
    record->stored = true;
    to.ids.push_back(Save(*record, from.index()));
  }
  if (std::exchange(unsaved.horizon, false)) {
    to.horizons.push_back({static_cast<uint32_t>(from.index()), from.ids.horizon()});
  }
  unsaved.told = false;
  unsaved.linked = 0;
  cut.shards |= SetOf(from.index());
  cut.number[from.index()] = unsaved.number;
}

void Poller::Saved(const Cut& cut) {
  for (ShardSet left = cut.shards; left != 0; left &= left - 1) {
    Shard& each = shard(First(left));
    EffectList free;
    {
      const MutexLock lock(each.mutex());
      each.unsaved.saved = cut.number[each.index()];
      while (Effect* const effect = each.line.Pop(each.unsaved.saved)) free.Push(*effect, 0);
    }
    while (Effect* const effect = free.Pop(0)) effect->Done();
  }
}

void Poller::FailStore(const Now& now) {
  // MO[room]: release; pairs with Refuses and with Step::Answer.
  room_.store(Room::kFailed, std::memory_order_release);
  EndWaits(now, Reason::kStoreFailed);
  for (const auto& each : shards_) {
    EffectList failed;
    {
      const MutexLock lock(each->mutex());
      while (Effect* const effect = each->line.Pop(UINT64_MAX)) failed.Push(*effect, 0);
    }
    while (Effect* const effect = failed.Pop(0)) {
      effect->Fail(Reason::kStoreFailed);
      effect->Done();
    }
  }
}

void Poller::SetFull(bool full) {
  // Relaxed: nothing else is told by it. A failure is final.
  Room from = full ? Room::kEnough : Room::kFull;
  room_.compare_exchange_strong(from, full ? Room::kFull : Room::kEnough,
                                std::memory_order_relaxed);
}

}  // namespace waitd::core
