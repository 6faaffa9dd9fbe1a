// Waits, and their ends that come from outside: cancel, a client that has gone, drain.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

// Stands in for a call whose client has gone: what ends it is remembered under its id.
template <class Base>
class AbsentCall final : public Base {
 public:
  explicit AbsentCall(std::string_view client) : client_(client) {}
  std::string_view client() const override { return client_; }
  bool connected() const override { return false; }
  void Done() override { delete this; }

 private:
  const std::string client_;
};

}  // namespace

bool Poller::ReserveWaiter() {
  if (waiters_.fetch_add(1, std::memory_order_relaxed) < options_.max_waiters) return true;
  ReleaseWaiter();
  return false;
}

void Poller::ReleaseWaiter() { waiters_.fetch_sub(1, std::memory_order_relaxed); }

// The instant at which a wait ends by itself.
void Poller::Bound(const Now& now, std::optional<Nanos> timeout, Nanos sent_ago,
                   Waiter& waiter) const {
  waiter.begin = now.mono;
  waiter.bound = timeout.has_value() ? TimeoutCause::kWait : TimeoutCause::kMaxWait;
  waiter.set_when(
      SaturatingAdd(now.mono, SaturatingSubtract(timeout.value_or(options_.max_wait), sent_ago)));
}

// What an ended wait is told instead of its outcome.
void Poller::Refuse(Waiter& waiter, Reason reason) {
  if (waiter.poll) {
    static_cast<PollWaiter&>(waiter).call->result() = Refusal{.reason = reason};
  } else {
    static_cast<SingleWaiter&>(waiter).call->result() = Refusal{.reason = reason};
  }
}

const Parkable& Poller::CallOf(const Waiter& waiter) {
  if (waiter.poll) return *static_cast<const PollWaiter&>(waiter).call;
  return *static_cast<const SingleWaiter&>(waiter).call;
}

Refusal Poller::DoubleWait(const Now& now, const Waiter& holder, uint64_t generation) {
  const Parkable& call = CallOf(holder);
  return {.reason = Reason::kDoubleWait,
          .generation = generation,
          .waiter = std::string(call.client()),
          .waiting_since = WallOf(now, holder.begin),
          .waiter_connected = call.connected()};
}

// Before the wait is anywhere. Null: refused, and nothing was changed.
PollDesc* Poller::ResolveWait(Step& step, Shard& home, PollDesc* found, const WaitArgs& args,
                              bool may_park, Refusal& refusal) {
  home.mutex().AssertHeld();
  // MO[draining]: acquire; pairs with RefuseWaits, which EndWaits follows lock by lock.
  if (draining_.load(std::memory_order_acquire)) {
    refusal.reason = Reason::kDraining;
    return nullptr;
  }
  if (args.ack_timeout.has_value() &&
      (found == nullptr ? KindToOpen(args.open_if_missing) : found->kind()) == Kind::kLatch) {
    refusal.reason = Reason::kBadOptions;
    return nullptr;
  }
  if (found == nullptr && !may_park && args.generation == 0 && args.open_if_missing != nullptr) {
    refusal = {.reason = Reason::kLimitWaiters, .limit = options_.max_waiters};
    return nullptr;
  }
  return Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
}

void Poller::Once(Step& step, Locks& locks, Shard& home, const WaitArgs& args, WaitCall& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const bool has_id = !args.retry.id.empty();
  const uint64_t content = has_id ? ContentOf(args) : 0;
  if (has_id && RecallWait(step, locks, home, args, content, call)) return;
  if (Refuses(true, call)) return step.Answer(home, call, 0);
  const WaitMode mode = WaitModeOf(args.side);
  SingleWaiter& waiter = home.waits.Get();
  Bound(step.moment.now, args.timeout, args.retry.sent_ago, waiter);
  const bool park = waiter.until() > step.moment.now.mono;
  const bool slot = park && ReserveWaiter();
  Refusal refusal;
  PollDesc* const found = home.Find(args.name);
  PollDesc* const desc = ResolveWait(step, home, found, args, slot || !park, refusal);
  auto blocked = PollDesc::Blocked::kEnded;
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    waiter.call = &call;
    waiter.ignore_deadline = args.ignore_deadline;
    waiter.desc = desc;
    waiter.side = args.side;
    const Waiter* holder = nullptr;
    blocked = desc->Block(step.moment, waiter, slot, &holder);
    if (blocked == PollDesc::Blocked::kDoubleWait) {
      call.result() = DoubleWait(step.moment.now, *holder, desc->generation());
    } else if (blocked == PollDesc::Blocked::kEnded) {
      const WaitResult& result = std::get<WaitResult>(call.result());
      const bool took = result.outcome == Outcome::kReady && desc->kind() != Kind::kLatch;
      if (took) step.Changed(home, *desc);
      if (park && !slot && ByItsOwnBound(result)) {
        call.result() = Refusal{.reason = Reason::kLimitWaiters, .limit = options_.max_waiters};
      }
    }
  }
  if (has_id && (blocked == PollDesc::Blocked::kParked ||
                 std::holds_alternative<WaitResult>(call.result()))) {
    IdRecord& record = home.ids.Insert(KeyOf(IdUse::kWait, args.name, args.retry), content);
    record.ack_timeout = args.ack_timeout.value_or(Nanos(0));
    Knows(home, record, waiter, call);
  }
  if (blocked == PollDesc::Blocked::kParked) {
    call.waiter_ = &waiter;
    call.life_ = waiter.life();
    call.shard_ = static_cast<uint8_t>(home.index());
    home.Park(waiter, mode);
    step.Leave(locks.held());
    return;
  }
  home.CountEnd(mode, call.result());
  waiter.Recycle();
  home.waits.Put(waiter);
  if (slot) ReleaseWaiter();
  uint64_t number = Step::NumberFor(home, desc != nullptr ? desc : found);
  if (call.record_ != nullptr) {
    number = std::max(number, Remember(step, home, call, call.result()));
  }
  step.Leave(locks.held());
  step.Answer(home, call, number);
}

void Poller::Cancel(const Now& now, Parkable& call) { Withdraw(now, call, false); }
void Poller::Abandon(const Now& now, Parkable& call) { Withdraw(now, call, true); }

// Ends a parked call, or leaves its wait behind when it has an id and `may_linger`.
void Poller::Withdraw(const Now& now, Parkable& call, bool may_linger) {
  Waiter* const waiter = call.waiter_;
  if (waiter == nullptr) return;  // it never parked
  Step step(*this, now);
  Shard& home = shard(call.shard_);
  {
    Locks locks(*this, SetOf(home.index()));
    home.mutex().AssertHeld();
    if (StandsFor(step, locks, *waiter, call)) {
      if (may_linger && call.record_ != nullptr) {
        if (waiter->poll) {
          Linger(step, home, static_cast<PollWaiter&>(*waiter));
        } else {
          Linger(step, home, static_cast<SingleWaiter&>(*waiter));
        }
      } else {
        End(step, *waiter);
      }
    }
    step.Leave(locks.held());
  }
  step.Finish();
}

// Ends a parked wait as cancelled. False: it has its outcome.
bool Poller::End(Step& step, Waiter& waiter) {
  if (waiter.poll) {
    auto& poll = static_cast<PollWaiter&>(waiter);
    return PollDesc::EndPoll(step.moment, poll, Outcome::kCancelled, TimeoutCause::kNone);
  }
  auto& single = static_cast<SingleWaiter&>(waiter);
  return single.desc->Withdraw(step.moment, single, Outcome::kCancelled);
}

// Lets happen what is due, and tells whether the waiter is still parked for this call. Under the
// home shard's lock; of a poll, under all its locks afterwards.
bool Poller::StandsFor(Step& step, Locks& locks, Waiter& waiter, const Parkable& call) {
  if (waiter.life() != call.life_ || &CallOf(waiter) != &call) return false;
  if (waiter.poll) {
    auto& poll = static_cast<PollWaiter&>(waiter);
    return SettlePoll(step, locks, poll, call.life_) && &CallOf(waiter) == &call;
  }
  auto& single = static_cast<SingleWaiter&>(waiter);
  PollDesc& desc = *single.desc;
  if (desc.Settle(step.moment)) step.Expired(shard(desc.shard()), desc);
  return single.standing() && !desc.ExpireWait(step.moment, single);
}

template <class W>
void Poller::Linger(Step& step, Shard& home, W& waiter) {
  home.mutex().AssertHeld();
  auto& former = *waiter.call;
  using CallType = std::remove_reference_t<decltype(former)>;
  CallType& absent = *new AbsentCall<CallType>(former.client());  // until its Done
  absent.absent_ = true;
  Replace(home, waiter, absent);
  using R = typename CallType::Answer;
  former.result() = R{.outcome = Outcome::kCancelled};
  step.Answer(home, former, Step::NumberFor(home, nullptr));
  SetAlarm(home, *absent.record_, SaturatingAdd(step.moment.now.mono, options_.linger));
}

void Poller::RefuseWaits() {
  // MO[draining]: release; pairs with Wait and Poll, which look under their shard's lock: one that
  // saw false has parked before EndWaits takes that lock.
  draining_.store(true, std::memory_order_release);
}

void Poller::EndWaits(const Now& now, Reason reason) {
  constexpr int kEndsMax = 256;  // under one hold of the lock
  for (size_t i = 0; i < kShards; ++i) {
    Shard& home = shard(i);
    for (bool more = true; more;) {
      Step step(*this, now);
      {
        const Locks locks(*this, SetOf(i));
        home.mutex().AssertHeld();
        Waiter* waiter = home.oldest;
        for (int ends = 0; waiter != nullptr && ends < kEndsMax; ++ends) {
          if (End(step, *waiter)) Refuse(*waiter, reason);
          waiter = waiter->newer;
        }
        more = waiter != nullptr;
        step.Leave(SetOf(i));
      }
      step.Finish();
    }
  }
}

}  // namespace waitd::core
