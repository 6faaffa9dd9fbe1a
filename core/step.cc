#include "core/step.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitd::core {

bool Poller::Locks::Widen(ShardSet more) {
  if ((more & ~held_) == 0) return true;
  Unlock();
  held_ |= more;
  Lock();
  return false;
}

Step::Step(Poller& poller, const Now& now) : poller_(poller) {
  moment.now = now;
  moment.probe = poller.options_.probe;
}

void Step::Changed(ShardSet shards, PollDesc* desc) {
  changed_ = true;
  number_ = poller_.journal_.Append(shards);
  for (ShardSet left = shards; left != 0; left &= left - 1) {
    Shard& shard = poller_.shard(First(left));
    shard.mutex().AssertHeld();
    shard.last_change = number_;
  }
  if (desc != nullptr) desc->changed = number_;
}

void Step::Took(const PollWaiter& poll, ShardSet shards) {
  Changed(shards, nullptr);
  for (const PollWaiter::Target& target : poll.targets) {
    // The shard first: what became of a target is guarded by its lock.
    if ((SetOf(target.shard) & shards) != 0 && !target.lost) target.desc->changed = number_;
  }
}

uint64_t Step::NumberFor(Shard& shard, const PollDesc* desc) const {
  shard.mutex().AssertHeld();
  return desc != nullptr ? desc->changed : shard.last_change;
}

void Step::Answer(Shard& shard, Effect& effect, uint64_t number) {
  shard.mutex().AssertHeld();
  if (number <= poller_.journal_.Committed()) {
    free_.Push(effect, number);
  } else {
    shard.line.Push(effect, number);
  }
}

void Step::Leave(ShardSet shards) {
  if (moment.ended_first != nullptr && !changed_) Changed(shards, nullptr);
  while (PollWaiter* const poll = moment.claimed) {
    moment.claimed = std::exchange(poll->next_claimed, detaching_);
    detaching_ = poll;
    Took(*poll, shards);
    poll->number = number_;
  }
  LeaveSingles();
  for (ShardSet left = shards; left != 0; left &= left - 1) {
    Shard& shard = poller_.shard(First(left));
    shard.mutex().AssertHeld();
    const Instant soonest = shard.env.timers.soonest();
    if (soonest >= shard.announced) continue;
    shard.announced = soonest;
    alarm_ = std::min(alarm_, soonest);
  }
  changed_ = false;
}

void Step::LeaveSingles() {
  Place* place = std::exchange(moment.ended_first, nullptr);
  while (place != nullptr) {
    auto& waiter = static_cast<SingleWaiter&>(*place->waiter);
    place = std::exchange(place->next, nullptr);
    WaitCall& call = *waiter.call;
    Shard& shard = poller_.shard(call.shard_);
    shard.mutex().AssertHeld();
    const WaitMode mode = WaitModeOf(waiter.place.side);
    waiter.place.desc->idle_since = moment.now.mono;
    shard.Unpark(waiter, mode);
    shard.CountEnd(mode, call.result);
    if (call.record_ != nullptr) poller_.Remember(*this, shard, call, call.result);
    waiter.Recycle();
    shard.waits.Put(waiter);
    poller_.waiters_.fetch_sub(1, std::memory_order_relaxed);
    Answer(shard, call, number_);
  }
}

// The winner of a poll's claim alone gets here. It goes round by all the poll's shards, and so
// waits out whoever lost the claim and is still under one of their locks.
void Step::Detach(PollWaiter& poll) {
  if (moment.probe != nullptr) moment.probe->At(Probe::Point::kClaimed);
  const ShardSet shards = poll.shards;
  const ShardSet home = SetOf(poll.call->shard_);
  const auto unlink = [&](ShardSet set) {
    for (PollWaiter::Target& target : poll.targets) {
      if ((SetOf(target.shard) & set) != 0) target.desc->Unlink(target);
    }
    poller_.HandOver(*this, set, poll);
  };
  for (ShardSet left = shards & ~home; left != 0; left &= left - 1) {
    const ShardSet one = SetOf(First(left));
    const Poller::Locks locks(poller_, one);
    unlink(one);
    Leave(one);
  }
  const Poller::Locks locks(poller_, home);
  unlink(home);
  PollDesc::Gather(poll);
  PollCall& call = *poll.call;
  Shard& shard = poller_.shard(call.shard_);
  shard.mutex().AssertHeld();
  shard.Unpark(poll, WaitMode::kPoll);
  shard.CountEnd(call.result);
  poll.Recycle();
  const uint64_t number = poll.number;
  shard.polls.Put(poll);
  poller_.waiters_.fetch_sub(1, std::memory_order_relaxed);
  if (call.record_ != nullptr) {
    IdRecord& record = *call.record_;
    PollCall* const next = std::exchange(record.next, nullptr);
    poller_.Remember(*this, shard, call, call.result);
    if (next != nullptr) poller_.AnswerToo(*this, shard, call, *next, number);
  }
  Answer(shard, call, number);
  Leave(home);
}

void Step::Finish() {
  while (PollWaiter* const poll = detaching_) {
    detaching_ = poll->next_claimed;
    Detach(*poll);
  }
  if (alarm_ != kNever && poller_.alarm_) poller_.alarm_(alarm_);
  while (Effect* const effect = free_.Pop(UINT64_MAX)) effect->Done();
}

}  // namespace waitd::core
