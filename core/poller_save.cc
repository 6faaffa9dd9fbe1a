// What is to be saved, and what may be seen when it is.
#include <utility>

#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/saved.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

// Shards that were changed in one step are cut under all their locks: so the whole of the step is
// in what is saved, or nothing of it. To cut is O(1); what is in the cut is copied shard by shard.
// A shard is in a cut once: what is forgotten or closed is erased before the rest is written, and
// could not undo what was collected of it before.
bool Poller::Collect(ShardSet& dirty, Changes& to, Cut& cut) {
  if (cut.copying_ != 0) {
    Changes piece;
    const size_t index = First(cut.copying_);
    {
      const MutexLock lock(shard(index).mutex());
      if (!shard(index).env.unsaved.Copy(options_.units_max, piece)) cut.copying_ &= ~SetOf(index);
    }
    to.Append(std::move(piece));
    return cut.copying_ != 0 || (dirty & ~cut.seen_) != 0;
  }
  const ShardSet left = dirty & ~cut.seen_;
  if (left == 0) return false;
  Step step(*this);
  ShardSet needed = SetOf(First(left));
  do {
    static_cast<void>(step.Widen(needed));
    for (ShardSet held = step.held(); held != 0; held &= held - 1) {
      Shard& each = shard(First(held));
      each.mutex().AssertHeld();
      needed |= each.env.unsaved.linked();
    }
  } while (!step.Holds(needed));
  cut.seen_ |= step.held();
  if ((step.held() & cut.shards_) != 0) return true;  // with the next cut
  for (ShardSet held = step.held(); held != 0; held &= held - 1) {
    Shard& each = shard(First(held));
    each.mutex().AssertHeld();
    if (!each.env.unsaved.held()) continue;
    each.env.unsaved.PutOff(step.held());
    dirty &= ~step.held();
    return true;
  }
  for (ShardSet held = step.held(); held != 0; held &= held - 1) {
    Shard& each = shard(First(held));
    each.mutex().AssertHeld();
    cut.number_[each.index()] = each.env.unsaved.Cut(each.Save());
  }
  cut.shards_ |= step.held();
  cut.copying_ |= step.held();
  dirty &= ~step.held();
  return true;
}

bool Poller::Saved(Cut& cut, EffectBatch* batch) {
  if (cut.shards_ == 0) return false;
  Shard& each = shard(First(cut.shards_));
  EffectList free;
  {
    const MutexLock lock(each.mutex());
    each.env.unsaved.Saved(cut.number_[each.index()]);
    uint32_t count = 0;
    while (Effect* const effect =
               count < options_.units_max ? each.line.Pop(each.env.unsaved.saved()) : nullptr) {
      free.Push(*effect, 0);
      ++count;
    }
    if (count < options_.units_max) cut.shards_ &= ~SetOf(each.index());
  }
  free.LetGo(batch);
  return cut.shards_ != 0;
}

void Poller::FailStore(EffectBatch* batch) {
  // MO[room]: release; pairs with Refuses and with Step::Answer.
  room_.store(Room::kFailed, std::memory_order_release);
  while (EndWaits(Reason::kStoreFailed, batch)) {
  }
  for (const auto& each : shards_) {
    EffectList failed;
    EffectList told;
    {
      const MutexLock lock(each->mutex());
      while (Effect* const effect = each->line.Pop(UINT64_MAX)) failed.Push(*effect, 0);
    }
    while (Effect* const effect = failed.Pop(0)) {
      effect->Fail(Reason::kStoreFailed);
      told.Push(*effect, 0);
    }
    told.LetGo(batch);
  }
}

void Poller::SetFull(bool full) {
  // Relaxed: nothing else is told by it. A failure is final.
  Room from = full ? Room::kEnough : Room::kFull;
  room_.compare_exchange_strong(from, full ? Room::kFull : Room::kEnough,
                                std::memory_order_relaxed);
}

}  // namespace waitd::core
