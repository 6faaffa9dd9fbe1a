#include "core/step.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitd::core {
namespace {

// Whether a poll's end tells of what happened to its targets.
bool TellsOfTargets(const Result<PollResult>& result) {
  const auto* const ended = std::get_if<PollResult>(&result);
  if (ended == nullptr) return false;
  return ended->outcome == Outcome::kReady || ended->outcome == Outcome::kClosed ||
         (ended->outcome == Outcome::kTimedOut && ended->cause == TimeoutCause::kDeadline);
}

}  // namespace

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

void Step::Tell(Shard& shard) {
  shard.mutex().AssertHeld();
  if (poller_.journal_ == nullptr || std::exchange(shard.unsaved.told, true)) return;
  poller_.journal_->Changed(SetOf(shard.index()));
}

void Step::Changed(Shard& shard, PollDesc& desc) {
  if (poller_.journal_ == nullptr) return;
  Expired(shard, desc);
  shard.mutex().AssertHeld();
  desc.changed = ++shard.unsaved.number;
}

void Step::Expired(Shard& shard, PollDesc& desc) {
  if (poller_.journal_ == nullptr) return;
  shard.mutex().AssertHeld();
  shard.unsaved.descs.Add(desc);
  Tell(shard);
}

uint64_t Step::Changed(Shard& shard, IdRecord& record) {
  if (poller_.journal_ == nullptr) return 0;
  shard.mutex().AssertHeld();
  shard.unsaved.ids.Add(record);
  Tell(shard);
  return ++shard.unsaved.number;
}

uint64_t Step::Link(Shard& home, ShardSet shards) {
  if (poller_.journal_ == nullptr) return 0;
  for (ShardSet left = shards; left != 0; left &= left - 1) {
    Shard& shard = poller_.shard(First(left));
    shard.mutex().AssertHeld();
    shard.unsaved.linked |= shards;
  }
  home.mutex().AssertHeld();
  Tell(home);
  return ++home.unsaved.number;
}

// The READYs that a poll has got, under their locks. With `half`, they are not saved before the
// poll has left its places.
void Step::Took(PollWaiter& poll, const Result<PollResult>& result, bool half) {
  const auto* const ended = std::get_if<PollResult>(&result);
  if (poller_.journal_ == nullptr || ended == nullptr) return;
  for (const PollResult::Target& target : ended->targets) {
    if (target.result.outcome != Outcome::kReady) continue;
    PollDesc& desc = *target.result.desc;
    Shard& shard = poller_.shard(desc.shard());
    shard.mutex().AssertHeld();
    if (desc.kind() != Kind::kLatch) Changed(shard, desc);
    if (!half || (poll.halves & SetOf(shard.index())) != 0) continue;
    ++shard.unsaved.halves;
    poll.halves |= SetOf(shard.index());
  }
}

uint64_t Step::Ended(Shard& home, PollWaiter& poll, const Result<PollResult>& result) {
  Took(poll, result, false);
  for (ShardSet left = poll.shards; left != 0; left &= left - 1) {
    Shard& shard = poller_.shard(First(left));
    shard.mutex().AssertHeld();
    if (shard.unsaved.number > shard.unsaved.saved) return Link(home, poll.shards);
  }
  return 0;
}

uint64_t Step::NumberFor(Shard& shard, const PollDesc* desc) {
  shard.mutex().AssertHeld();
  return desc != nullptr ? desc->changed : shard.unsaved.number;
}

void Step::Answer(Shard& shard, Effect& effect, uint64_t number) {
  shard.mutex().AssertHeld();
  if (number <= shard.unsaved.saved) {
    free_.Push(effect, number);
  } else if (poller_.StoreFailed()) {
    effect.Fail(Reason::kStoreFailed);
    free_.Push(effect, number);
  } else {
    shard.line.Push(effect, number);
  }
}

void Step::Leave(ShardSet shards) {
  while (PollWaiter* const poll = moment.claimed) {
    moment.claimed = std::exchange(poll->next_claimed, detaching_);
    detaching_ = poll;
    Took(*poll, poll->call->result(), true);
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
}

void Step::LeaveSingles() {
  Place* place = std::exchange(moment.ended_first, nullptr);
  while (place != nullptr) {
    auto& waiter = static_cast<SingleWaiter&>(*place);
    place = std::exchange(place->next, nullptr);
    WaitCall& call = *waiter.call;
    Shard& shard = poller_.shard(call.shard_);
    shard.mutex().AssertHeld();
    const WaitMode mode = WaitModeOf(waiter.side);
    PollDesc& desc = *waiter.desc;
    desc.idle_since = moment.now.mono;
    shard.Unpark(waiter, mode);
    shard.CountEnd(mode, call.result());
    uint64_t number = desc.changed;
    if (call.record_ != nullptr) {
      number = std::max(number, poller_.Remember(*this, shard, call, call.result()));
    }
    waiter.Recycle();
    shard.waits.Put(waiter);
    poller_.waiters_.fetch_sub(1, std::memory_order_relaxed);
    Answer(shard, call, number);
  }
}

// The winner of a poll's claim alone gets here. It goes round by all the poll's shards, and so
// waits out whoever lost the claim and is still under one of their locks.
void Step::Detach(PollWaiter& poll) {
  if (moment.probe != nullptr) moment.probe->At(Probe::Point::kClaimed);
  const ShardSet shards = poll.shards;
  PollCall& call = *poll.call;
  // What is saved is saved as one; and what nobody got stands at its targets from now on.
  const bool linked =
      (poller_.journal_ != nullptr || call.absent_) && TellsOfTargets(call.result());
  const ShardSet last = linked ? shards : SetOf(call.shard_);
  const auto unlink = [&](ShardSet set) {
    for (PollWaiter::Target& target : poll.targets) {
      if ((SetOf(target.shard) & set) != 0) target.desc->Unlink(target);
    }
    poller_.HandOver(*this, set, poll);
  };
  for (ShardSet left = shards & ~last; left != 0; left &= left - 1) {
    const ShardSet one = SetOf(First(left));
    const Poller::Locks locks(poller_, one);
    unlink(one);
    Leave(one);
  }
  const Poller::Locks locks(poller_, last);
  unlink(last);
  PollDesc::Gather(poll);
  Shard& shard = poller_.shard(call.shard_);
  shard.mutex().AssertHeld();
  shard.Unpark(poll, WaitMode::kPoll);
  shard.CountEnd(call.result());
  for (ShardSet left = std::exchange(poll.halves, 0); left != 0; left &= left - 1) {
    Shard& at = poller_.shard(First(left));
    at.mutex().AssertHeld();
    --at.unsaved.halves;
  }
  poll.Recycle();
  shard.polls.Put(poll);
  poller_.waiters_.fetch_sub(1, std::memory_order_relaxed);
  uint64_t number = linked ? Link(shard, last) : 0;
  if (call.record_ != nullptr) {
    IdRecord& record = *call.record_;
    PollCall* const next = std::exchange(record.next, nullptr);
    number = std::max(number, poller_.Remember(*this, shard, call, call.result()));
    if (next != nullptr) poller_.AnswerToo(*this, shard, call, *next, number);
  }
  Answer(shard, call, number);
  Leave(last);
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
