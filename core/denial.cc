#include "core/denial.h"

#include <algorithm>
#include <optional>
#include <type_traits>

#include "core/ids.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"
#include "core/waiter.h"

namespace waitd::core {
namespace {

// Who waits there, also after the call has gone and only its id is left. Nothing: the slot is free.
template <class W>
std::optional<uint64_t> CallerOf(const W& waiter) {
  if (waiter.call != nullptr) return waiter.call->caller();
  if (waiter.record != nullptr) return waiter.record->caller;
  return std::nullopt;
}

}  // namespace

// Of a wait that goes on. Of a poll under all its locks: a target that is lost is waited for no
// more.
template <class W>
bool Denial::Ends(Step& step, W& waiter) const {
  const uint64_t caller = *CallerOf(waiter);
  if constexpr (std::is_same_v<W, SingleWaiter>) {
    return Denies(caller, waiter.desc->name());
  } else {
    step.Charge(waiter.targets().size());
    return std::ranges::any_of(waiter.targets(), [&](const PollWaiter::Target& target) {
      return target.standing() && Denies(caller, target.desc->name());
    });
  }
}

// False: the slots of the shard are all seen. Else the hold is over.
template <class W>
bool Denial::EndSomeOf(Step& step, Poller& poller, PollCache<W>& slots) {
  const ShardSet home = step.held();
  while (next_ < slots.size()) {
    if (!step.Spend(1)) return true;
    W& waiter = slots.at(next_++);
    const std::optional<uint64_t> caller = CallerOf(waiter);
    if (!caller.has_value() || !Concerns(*caller)) continue;
    if (poller.StillWaits(step, waiter) && Ends(step, waiter)) {
      Poller::End(step, waiter, Reason::kForbidden);
      ++ended_;
    }
    if (step.held() != home) return true;
  }
  return false;
}

bool Denial::EndSome(Poller& poller) {
  Step step(poller);
  step.Lock(SetOf(shard_));
  Shard& home = poller.shard(shard_);
  home.mutex().AssertHeld();
  if (!at_polls_) {
    if (EndSomeOf(step, poller, home.waits)) return true;
    at_polls_ = true;
    next_ = 0;
  }
  if (EndSomeOf(step, poller, home.polls)) return true;
  at_polls_ = false;
  next_ = 0;
  return ++shard_ < kShards;
}

}  // namespace waitd::core
