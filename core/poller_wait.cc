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

// The instant at which a wait ends by itself.
void Poller::Bound(const Step& step, std::optional<Nanos> timeout, Nanos sent_ago,
                   Waiter& waiter) const {
  waiter.begin = std::min(step.received(), step.now().mono);
  waiter.bound = timeout.has_value() ? TimeoutCause::kWait : TimeoutCause::kMaxWait;
  waiter.set_when(SaturatingAdd(step.received(),
                                SaturatingSubtract(timeout.value_or(options_.max_wait), sent_ago)));
}

// Null: nobody is there to receive the outcome.
Parkable* Poller::CallOf(const Waiter& waiter) {
  if (waiter.poll) return static_cast<const PollWaiter&>(waiter).call;
  return static_cast<const SingleWaiter&>(waiter).call;
}

// Who is charged for it: with an id, whoever came first.
Account* Poller::AccountOf(const Waiter& waiter) {
  return waiter.record != nullptr ? waiter.record->account.get() : CallOf(waiter)->account();
}

Refusal Poller::DoubleWait(const Now& now, const Waiter& holder, uint64_t generation) {
  const Parkable* const call = CallOf(holder);
  return {.reason = Reason::kDoubleWait,
          .generation = generation,
          .waiter = std::string(call != nullptr ? call->client() : holder.record->absent->client),
          .waiting_since = WallOf(now, holder.begin),
          .waiter_connected = call != nullptr && call->connected()};
}

void Poller::SetLimit(Reason reason, const Budget::Verdict& verdict, Refusal& refusal) {
  refusal.reason = reason;
  refusal.limit = verdict.limit;
  refusal.limit_is_bytes = verdict.bytes;
  refusal.limit_is_own = verdict.own;
}

// Whether a limit keeps so many more signals of this side from being held for somebody.
Budget::Verdict Poller::MayHold(const PollDesc* desc, Side side, Account* account,
                                uint64_t more) const {
  const uint64_t of_side = desc == nullptr ? 0 : desc->deliveries_held(side);
  if (of_side >= options_.max_deliveries_of_side) {
    return {.over = true, .limit = options_.max_deliveries_of_side};
  }
  return budget_.Over(Held::kDeliveries, account, {.things = more, .bytes = 0});
}

// Before the wait is anywhere. Null: refused, with no effect. `full`: the limit that keeps it from
// parking, if one does.
PollDesc* Poller::ResolveWait(Step& step, Shard& home, PollDesc* found, const WaitArgs& args,
                              const Budget::Verdict& full, Account* account, Refusal& refusal) {
  home.mutex().AssertHeld();
  // MO[draining]: acquire; pairs with RefuseWaits, which EndWaits follows lock by lock.
  if (draining_.load(std::memory_order_acquire)) {
    refusal.reason = Reason::kDraining;
    return nullptr;
  }
  if (args.ack_timeout.has_value()) {
    if ((found == nullptr ? KindToOpen(args.open_if_missing) : found->kind()) == Kind::kLatch) {
      refusal.reason = Reason::kBadOptions;
      return nullptr;
    }
    // Then no more are held.
    const bool takes_one = found != nullptr && found->side(args.side).HasReturned();
    const Budget::Verdict held =
        takes_one ? Budget::Verdict() : MayHold(found, args.side, account, 1);
    if (held.over) {
      refusal.generation = found == nullptr ? 0 : found->generation();
      SetLimit(Reason::kLimitDeliveries, held, refusal);
      return nullptr;
    }
  }
  if (found == nullptr && full.over && args.generation == 0 && args.open_if_missing != nullptr) {
    SetLimit(Reason::kLimitWaiters, full, refusal);
    return nullptr;
  }
  return Resolve(step, home, found, args.name, args.generation, args.open_if_missing, account,
                 refusal);
}

// The waiter is parked for this call.
template <class C>
void Poller::Parked(Shard& home, Waiter& waiter, C& call) {
  home.mutex().AssertHeld();
  call.waiter_ = &waiter;
  call.life_ = waiter.life();
  call.shard_ = static_cast<uint8_t>(home.index());
}

template void Poller::Parked(Shard&, Waiter&, WaitCall&);
template void Poller::Parked(Shard&, Waiter&, PollCall&);

void Poller::Once(Step& step, Shard& home, const WaitArgs& args, WaitCall& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const bool has_id = !args.retry.id.empty();
  const IdKey key = has_id ? KeyOf(IdUse::kWait, args.name, args.retry) : IdKey();
  const uint64_t content = has_id ? ContentOf(args) : 0;
  if (has_id && RecallParking<SingleWaiter>(step, home, key, content, args.retry, args.name, call))
    return;
  if (Refuses(true, call)) return step.Answer(home, call, 0);
  Account* const account = call.account();
  SingleWaiter& waiter = home.waits.Get();
  Bound(step, args.timeout, args.retry.sent_ago, waiter);
  const bool park = waiter.until() > step.now().mono;
  const auto full = park ? budget_.Take(Held::kWaits, account, WaitsOf(1)) : Budget::Verdict();
  const bool slot = park && !full.over;
  Refusal refusal;
  PollDesc* const found = home.Find(args.name);
  PollDesc* const desc = ResolveWait(step, home, found, args, full, account, refusal);
  auto blocked = PollDesc::Blocked::kEnded;
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    waiter.ignore_deadline = args.ignore_deadline;
    waiter.desc = desc;
    waiter.side = args.side;
    const Waiter* holder = nullptr;
    WaitResult result;
    blocked = desc->Block(step, waiter, slot, &result, &holder);
    if (blocked == PollDesc::Blocked::kDoubleWait) {
      call.result() = DoubleWait(step.now(), *holder, desc->generation());
    } else if (blocked == PollDesc::Blocked::kEnded) {
      if (full.over && ByItsOwnBound(result)) {
        SetLimit(Reason::kLimitWaiters, full, call.result().template emplace<Refusal>());
      } else {
        call.result() = std::move(result);
      }
    }
  }
  const bool parked = blocked == PollDesc::Blocked::kParked;
  if (has_id && (parked || std::holds_alternative<WaitResult>(call.result()))) {
    waiter.record = &home.ids.Insert(key, content);
    waiter.record->account = AccountRef(account);
    waiter.record->ack_timeout = args.ack_timeout.value_or(Nanos(0));
    waiter.record->waiter = &waiter;
  }
  if (parked) {
    waiter.call = &call;
    if (args.ack_timeout.has_value()) desc->ReserveDelivery(args.side, waiter.record->account);
    Parked(home, waiter, call);
    home.Park(waiter);
    ++home.env.counters.waiters[static_cast<size_t>(WaitModeOf(args.side))];
    return;
  }
  if (slot) budget_.Give(Held::kWaits, account, WaitsOf(1));
  home.CountEnd(WaitModeOf(args.side), call.result());
  uint64_t number = Step::NumberFor(home, desc != nullptr ? desc : found);
  if (waiter.record != nullptr) {
    call.shard_ = static_cast<uint8_t>(home.index());
    number = std::max(number, RememberEnd(step, home, waiter, true, call.result(), &call.answer_));
  }
  waiter.Recycle();
  home.waits.Put(waiter);
  step.Answer(home, call, number, args.name);
}

void Poller::Cancel(Parkable& call, EffectBatch* batch, std::optional<Reason> refused) {
  Withdraw(call, false, batch, refused);
}
void Poller::Abandon(Parkable& call) { Withdraw(call, true, nullptr, std::nullopt); }

// Ends a parked call, or leaves its wait behind when it has an id and `may_linger`.
void Poller::Withdraw(Parkable& call, bool may_linger, EffectBatch* batch,
                      std::optional<Reason> refused) {
  Waiter* const waiter = call.waiter_;
  if (waiter == nullptr) return;  // it never parked
  Step step(*this, kWhenCarriedOut, batch);
  Shard& home = shard(call.shard_);
  step.Lock(SetOf(home.index()));
  home.mutex().AssertHeld();
  const auto for_call = [&] { return waiter->life() == call.life_ && CallOf(*waiter) == &call; };
  if (!for_call() || !StillWaits(step, *waiter) || !for_call()) return;
  if (!may_linger || waiter->record == nullptr) {
    End(step, *waiter, refused);
  } else if (waiter->poll) {
    Linger(step, home, static_cast<PollWaiter&>(*waiter));
  } else {
    Linger(step, home, static_cast<SingleWaiter&>(*waiter));
  }
}

// Ends a parked wait as cancelled, or with a refusal. Of a poll, under all its locks.
void Poller::End(Step& step, Waiter& waiter, std::optional<Reason> refused) {
  const auto result = [&]<class R>(R cancelled) -> Result<R> {
    if (refused.has_value()) return Refusal{.reason = *refused};
    return cancelled;
  };
  if (waiter.poll) {
    auto& poll = static_cast<PollWaiter&>(waiter);
    PollDesc::EndPoll(
        step, poll,
        result(PollResult{.outcome = Outcome::kCancelled, .parked = step.now().mono - poll.begin}));
    return;
  }
  auto& single = static_cast<SingleWaiter&>(waiter);
  single.desc->EndWait(step, single, result(WaitResult{.outcome = Outcome::kCancelled}));
}

// Lets happen what is due, and tells whether this life of the waiter goes on. Under the home
// shard's lock; of a poll, under all its locks afterwards.
bool Poller::StillWaits(Step& step, Waiter& waiter) {
  if (waiter.poll) return SettlePoll(step, static_cast<PollWaiter&>(waiter), waiter.life());
  auto& single = static_cast<SingleWaiter&>(waiter);
  return single.desc->StillWaits(step, single);
}

// The client of a wait with an id has gone.
template <class W>
void Poller::Linger(Step& step, Shard& home, W& waiter) {
  home.mutex().AssertHeld();
  auto& former = *std::exchange(waiter.call, nullptr);
  Absent& absent = home.ids.MakeAbsent(*waiter.record, former.client());
  const Instant at = SaturatingAdd(step.now().mono, options_.linger);
  absent.set_when(at);
  if (at != kNever) home.env.timers.Arm(absent, at);
  using R = typename std::remove_reference_t<decltype(former)>::Answer;
  former.result() = R{.outcome = Outcome::kCancelled};
  step.Answer(home, former, Step::NumberFor(home, nullptr));
}

void Poller::RefuseWaits() {
  // MO[draining]: release; pairs with Wait and Poll, which look under their shard's lock: one that
  // saw false has parked before EndWaits takes that lock.
  draining_.store(true, std::memory_order_release);
}

bool Poller::EndWaits(Reason reason, EffectBatch* batch) {
  for (size_t i = 0; i < kShards; ++i) {
    Step step(*this, kWhenCarriedOut, batch);
    step.Lock(SetOf(i));
    Shard& home = shard(i);
    home.mutex().AssertHeld();
    bool any = false;
    while (Waiter* const waiter = home.oldest) {
      if (!step.Spend(1)) return true;
      any = true;
      if (StillWaits(step, *waiter)) End(step, *waiter, reason);
      if (step.held() != SetOf(i)) return true;
    }
    if (any) return true;
  }
  return false;
}

}  // namespace waitd::core
