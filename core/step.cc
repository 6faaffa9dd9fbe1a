#include "core/step.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitd::core {
namespace {

// Whether a poll's end tells of what happened to its targets.
bool TellsOfTargets(const PollResult& result) {
  return result.outcome == Outcome::kReady || result.outcome == Outcome::kClosed ||
         result.cause == TimeoutCause::kDeadline;
}

}  // namespace

Step::~Step() {
  Unlock();
  if (drops_) {
    for (const AccountRef& own : drops_of_) poller_.DropOutcomes(own.get());
    poller_.DropOutcomes(nullptr);
  }
  if (alarm_ != kNever && poller_.alarm_) poller_.alarm_(alarm_);
  free_.LetGo(batch_);
}

bool Step::Widen(ShardSet more) {
  if (Holds(more)) return true;
  const ShardSet set = held_ | more;
  Unlock();
  Lock(set);
  return false;
}

void Step::TakeLocks() {
  Instant latest = Instant::min();
  for (ShardSet left = held_; left != 0; left &= left - 1) {
    Shard& each = shard(First(left));
    each.mutex().Lock();
    latest = std::max(latest, each.latest);
  }
  units_ = 0;
  now_ = poller_.clock_.Read();
  now_.mono = std::max(now_.mono, latest);
  for (ShardSet left = held_; left != 0; left &= left - 1) shard(First(left)).latest = now_.mono;
}

void Step::LeaveLocks() {
  for (; held_ != 0; held_ &= held_ - 1) {
    Shard& each = shard(First(held_));
    const Instant soonest = each.Soonest();
    if (soonest < each.announced) {
      each.announced = soonest;
      alarm_ = std::min(alarm_, soonest);
    }
    each.mutex().Unlock();
  }
}

void Step::Uncount(DescEnv& env, Side side, uint32_t waits) {
  uint64_t& parked = env.counters.waiters[static_cast<size_t>(WaitModeOf(side))];
  WAITD_CHECK(parked >= waits, "more waits end than parked");
  parked -= waits;
  poller_.budget_.GiveOfAll(Held::kWaits, WaitsOf(waits));
}

void Step::End(SingleWaiter& waiter, Result<WaitResult>&& result, bool counted) {
  PollDesc& desc = *waiter.desc;
  Shard& home = shard(desc.shard());
  home.mutex().AssertHeld();
  desc.NoteUse(now_.mono);
  home.Unpark(waiter);
  if (counted) Uncount(home.env, waiter.side, 1);
  Budget::GiveOwn(Held::kWaits, Poller::AccountOf(waiter), WaitsOf(1));
  home.CountEnd(WaitModeOf(waiter.side), result);
  uint64_t number = desc.changed;
  std::shared_ptr<Remembered> answer;
  if (waiter.record != nullptr) {
    if (waiter.record->ack_timeout > Nanos(0)) {
      desc.EndReservation(waiter.side, waiter.record->account);
    }
    number = std::max(
        number, poller_.RememberEnd(*this, home, waiter, waiter.call != nullptr, result, &answer));
  }
  WaitCall* const call = waiter.call;
  waiter.Recycle();
  home.waits.Put(waiter);
  if (call == nullptr) return;
  call->answer_ = std::move(answer);
  call->set_result(std::move(result));
  Answer(home, *call, number);
}

void Step::End(PollWaiter& poll, Result<PollResult>&& result) {
  Shard& home = shard(poll.targets().front().desc->shard());
  home.mutex().AssertHeld();
  home.Unpark(poll);
  home.env.counters.waiters[static_cast<size_t>(WaitMode::kPoll)] -= poll.targets().size();
  home.CountEnd(result);
  poller_.budget_.Give(Held::kWaits, Poller::AccountOf(poll), WaitsOf(poll.targets().size()));
  uint64_t number = 0;
  std::shared_ptr<Remembered> answer;
  if (poll.record != nullptr) {
    for (PollWaiter::Target& each : poll.targets()) {
      if (std::exchange(each.reserved, false)) {
        each.desc->EndReservation(each.side, poll.record->account);
      }
    }
    number = poller_.RememberEnd(*this, home, poll, poll.call != nullptr, result, &answer);
  }
  const auto* const ended = std::get_if<PollResult>(&result);
  if (ended != nullptr && TellsOfTargets(*ended)) number = std::max(number, Link(poll, home));
  PollCall* const call = poll.call;
  poll.Recycle();
  home.polls.Put(poll);
  if (call == nullptr) return;
  call->answer_ = std::move(answer);
  call->set_result(std::move(result));
  Answer(home, *call, number);
}

uint64_t Step::Link(const PollWaiter& poll, Shard& home) {
  home.mutex().AssertHeld();
  bool unsaved = false;
  for (ShardSet left = poll.shards; left != 0; left &= left - 1) {
    Shard& each = shard(First(left));
    each.mutex().AssertHeld();
    unsaved = unsaved || each.env.unsaved.number() > each.env.unsaved.saved();
  }
  if (!unsaved) return 0;
  for (ShardSet left = poll.shards; left != 0; left &= left - 1) {
    Shard& each = shard(First(left));
    each.mutex().AssertHeld();
    each.env.unsaved.Link(poll.shards);
  }
  return home.env.unsaved.Changed();
}

uint64_t Step::NumberFor(Shard& shard, const PollDesc* desc) {
  shard.mutex().AssertHeld();
  return desc != nullptr ? desc->changed : shard.env.unsaved.number();
}

void Step::Answer(Shard& shard, Effect& effect, uint64_t number) {
  shard.mutex().AssertHeld();
  if (number <= shard.env.unsaved.saved()) {
    free_.Push(effect, number);
  } else if (poller_.StoreFailed()) {
    effect.Fail(Reason::kStoreFailed);
    free_.Push(effect, number);
  } else {
    shard.line.Push(effect, number);
  }
}

}  // namespace waitd::core
