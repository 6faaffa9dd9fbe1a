// What happens when a timer fires.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

// Timers are taken from the wheel under the lock, and each is handled under a lock of its own, so
// that other operations get in between; what they change there makes a timer stale.
Instant Poller::RunTimers(const Now& now) {
  std::array<FiredTimer, 64> fired;
  Instant next = kNever;
  for (const auto& each : shards_) {
    size_t count = 0;
    {
      const MutexLock lock(each->mutex());
      count = each->env.timers.PopDue(now.mono, fired);
    }
    for (size_t i = 0; i < count; ++i) Fire(now, *each, fired[i]);
    const MutexLock lock(each->mutex());
    each->announced = each->env.timers.soonest();
    next = std::min(next, each->announced);
  }
  return next;
}

void Poller::Fire(const Now& now, Shard& home, const FiredTimer& fired) {
  Step step(*this, now);
  const ShardSet set = SetOf(home.index());
  if (fired.use == TimerUse::kPoll) {
    FirePoll(step, home, *static_cast<PollWaiter*>(static_cast<Waiter*>(fired.timer)),
             fired.sequence);
  } else if (fired.use == TimerUse::kId) {
    FireId(step, home, *static_cast<IdAlarm*>(fired.timer), fired.sequence);
  } else {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    switch (fired.use) {
      case TimerUse::kReadSide:
      case TimerUse::kWriteSide: {
        PollDesc& desc = static_cast<DescTimer*>(fired.timer)->desc;
        const bool expired = fired.use == TimerUse::kWriteSide
                                 ? desc.WriteDeadline(step.moment, fired.sequence)
                             : desc.ServesBoth() ? desc.BothDeadline(step.moment, fired.sequence)
                                                 : desc.ReadDeadline(step.moment, fired.sequence);
        if (expired) step.Expired(home, desc);
        break;
      }
      case TimerUse::kIdle:
        FireIdle(step, home, *static_cast<DescTimer*>(fired.timer), fired.sequence);
        break;
      case TimerUse::kWait:
        FireWait(step, home, *static_cast<SingleWaiter*>(static_cast<Waiter*>(fired.timer)),
                 fired.sequence);
        break;
      case TimerUse::kRetention:
        FireRetention(step, home);
        break;
      case TimerUse::kPoll:
      case TimerUse::kId:
        break;
    }
    step.Leave(set);
  }
  step.Finish();
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
  const Instant now = step.moment.now.mono;
  desc.Settle(step.moment);
  const Instant since = desc.idle() ? desc.idle_since : now;
  if (SaturatingAdd(since, desc.idle_ttl()) > now) {
    desc.ArmIdle(desc.idle_ttl(), since);
    return;
  }
  desc.Evict(step.moment);
  step.Changed(home, desc);
  Remove(home, desc);
  ++home.env.counters.idle_closed;
}

void Poller::FireWait(Step& step, Shard& home, SingleWaiter& waiter, uint32_t sequence) {
  home.mutex().AssertHeld();
  if (waiter.life() != sequence) {
    ++home.env.counters.stale_timers;
    return;
  }
  PollDesc& desc = *waiter.desc;
  desc.Settle(step.moment);
  // Not due after all: a deadline bounds it instead of max-wait, and a clear arms this again.
  desc.ExpireWait(step.moment, waiter);
}

void Poller::FirePoll(Step& step, Shard& home, PollWaiter& poll, uint32_t sequence) {
  Locks locks(*this, SetOf(home.index()));
  home.mutex().AssertHeld();
  if (poll.life() == sequence) {
    SettlePoll(step, locks, poll, sequence);
  } else {
    ++home.env.counters.stale_timers;
  }
  step.Leave(locks.held());
}

}  // namespace waitd::core
