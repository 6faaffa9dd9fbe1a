// What happens when a timer fires, and the work that operations have left.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

// Timers are taken from the wheel under the lock, and each is handled under a hold of its own, so
// that other operations get in between; what they change there makes a timer stale.
Instant Poller::RunTimers(EffectBatch* batch) {
  std::array<FiredTimer, 64> fired;
  Instant next = kNever;
  for (const auto& each : shards_) {
    size_t count = 0;
    {
      const MutexLock lock(each->mutex());
      each->latest = std::max(each->latest, clock_.Read().mono);
      count = each->env.timers.PopDue(each->latest, fired);
    }
    for (size_t i = 0; i < count; ++i) Fire(*each, fired[i], batch);
    RunWork(*each, batch);
    const MutexLock lock(each->mutex());
    each->announced = each->Soonest();
    next = std::min(next, each->announced);
  }
  return next;
}

void Poller::Fire(Shard& home, const FiredTimer& fired, EffectBatch* batch) {
  Step step(*this, kWhenCarriedOut, batch);
  step.Lock(SetOf(home.index()));
  home.mutex().AssertHeld();
  switch (fired.use) {
    case TimerUse::kReadSide:
    case TimerUse::kWriteSide: {
      PollDesc& desc = static_cast<DescTimer*>(fired.timer)->desc;
      const Mode sides = fired.use == TimerUse::kWriteSide ? Mode::kWrite
                         : desc.ServesBoth()               ? Mode::kReadWrite
                                                           : Mode::kRead;
      desc.DeadlineImpl(step, fired.sequence, sides);
      break;
    }
    case TimerUse::kIdle:
      FireIdle(step, home, *static_cast<DescTimer*>(fired.timer), fired.sequence);
      break;
    case TimerUse::kWait:
      FireWait(step, home, *static_cast<SingleWaiter*>(static_cast<Waiter*>(fired.timer)),
               fired.sequence);
      break;
    case TimerUse::kPoll: {
      auto& poll = *static_cast<PollWaiter*>(static_cast<Waiter*>(fired.timer));
      if (poll.life() != fired.sequence) {
        ++home.env.counters.stale_timers;
      } else {
        SettlePoll(step, poll, fired.sequence);
      }
      break;
    }
    case TimerUse::kAbsent:
      FireAbsent(step, *static_cast<Absent*>(fired.timer), fired.sequence);
      break;
    case TimerUse::kDelivery:
      FireDelivery(step, *static_cast<Delivery*>(fired.timer), fired.sequence);
      break;
    case TimerUse::kRetention:
      FireRetention(step, home);
      break;
  }
}

// A piece of the work of this shard.
void Poller::RunWork(Shard& home, EffectBatch* batch) {
  const ShardSet set = SetOf(home.index());
  Step step(*this, kWhenCarriedOut, batch);
  step.Lock(set);
  home.mutex().AssertHeld();
  for (;;) {
    Work* const work = home.env.work.first();
    if (work == nullptr) return;
    if (!step.Widen(set | work->Needs())) continue;
    if (!work->Run(step)) return;
    home.EndWork();
    if (step.units_left() == 0) return;
  }
}

// The timer stays where it was armed while calls come: only when it fires is it seen how long
// nothing has happened.
void Poller::FireIdle(Step& step, Shard& home, DescTimer& timer, uint32_t sequence) {
  home.mutex().AssertHeld();
  if (timer.sequence() != sequence) {
    ++home.env.counters.stale_timers;
    return;
  }
  PollDesc& desc = timer.desc;
  const Instant now = step.now().mono;
  desc.Settle(step);
  const Instant since = desc.idle() ? desc.idle_since : now;
  if (SaturatingAdd(since, desc.idle_ttl()) > now) {
    desc.ArmIdle(desc.idle_ttl(), since);
    return;
  }
  desc.Evict(step);
  Remove(home, desc);
  ++home.env.counters.idle_closed;
}

void Poller::FireWait(Step& step, Shard& home, SingleWaiter& waiter, uint32_t sequence) {
  home.mutex().AssertHeld();
  if (waiter.life() != sequence) {
    ++home.env.counters.stale_timers;
    return;
  }
  // A deadline may bound it instead of max-wait: when that is cleared, this is armed again.
  if (waiter.desc->StillWaits(step, waiter)) waiter.desc->SetMaxWaitAside(waiter.side);
}

}  // namespace waitd::core
