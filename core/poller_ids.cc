// Ids: what makes a repeated call the same call.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

// How much longer than its first attempt a retry may have been under way: first attempts are
// refused that seem so much younger than what was forgotten, so that none is carried out twice.
constexpr Nanos kDelayMax = std::chrono::seconds(5);

// --max-outcomes counts each KiB begun.
Amount OutcomeAmount(const Aging& item) {
  return {(uint64_t{item.bytes} + 1023) / 1024, item.bytes};
}

// An end that is as if there had been no wait: the same id waits anew.
bool IsNothing(const auto& result) {
  return result.outcome == Outcome::kCancelled || result.cause == TimeoutCause::kMaxWait;
}

}  // namespace

// Whether an id whose first attempt was so long ago may have been forgotten.
bool Poller::Forgotten(const Step& step, Shard& home, const Retry& retry) const {
  if (retry.sent_ago <= Nanos(0)) return false;
  home.mutex().AssertHeld();
  const Instant first = SaturatingAdd(step.received(), -retry.sent_ago);
  return first < home.ids.horizon(retry.caller) || retry.sent_ago > options_.retention;
}

// Whether the call may be carried out, or answered by what is known, which is the `same` call's.
// False: refused.
bool Poller::Recall(const Step& step, Shard& home, const IdRecord* known, bool same,
                    const Retry& retry, Refusal& refusal) const {
  if (known != nullptr && !same) {
    refusal.reason = Reason::kIdReused;
    return false;
  }
  if (known == nullptr && Forgotten(step, home, retry)) {
    refusal.reason = Reason::kOutcomeUnknown;
    return false;
  }
  return true;
}

// True: the call is answered, or has adopted the wait that had its id before. Of a poll, under the
// locks of all its targets. Whenever locks may have been let go, it is looked up anew.
template <class W, class C>
bool Poller::RecallParking(Step& step, Shard& home, const IdKey& key, uint64_t content,
                           const Retry& retry, std::string_view name, C& call) {
  for (;;) {
    home.mutex().AssertHeld();
    IdRecord* const known = home.ids.Find(key);
    const bool same = known != nullptr && known->IsOf<typename C::Answer>(content);
    Refusal refusal;
    if (!Recall(step, home, known, same, retry, refusal)) {
      call.result() = std::move(refusal);
      step.Answer(home, call, Step::NumberFor(home, nullptr), name);
      return true;
    }
    if (known == nullptr) return false;
    if (known->parked()) {
      auto& waiter = static_cast<W&>(*known->waiter);
      if (!StillWaits(step, waiter)) continue;
      Adopt(step, home, *known, waiter, call);
      return true;
    }
    const std::vector<WaitResult> signals = SignalsOf(known->answer->value);
    ShardSet shards = 0;
    for (const WaitResult& each : signals) shards |= SetOf(each.desc->shard());
    if (!step.Widen(shards)) continue;
    if (known->answer->acks && ExpireOverdue(step, signals)) continue;
    Repeat(step, home, *known, name, call);
    return true;
  }
}

template bool Poller::RecallParking<SingleWaiter>(Step&, Shard&, const IdKey&, uint64_t,
                                                  const Retry&, std::string_view, WaitCall&);
template bool Poller::RecallParking<PollWaiter>(Step&, Shard&, const IdKey&, uint64_t, const Retry&,
                                                std::string_view, PollCall&);

// The waiter, its place and its instant stay; only who is told of the end changes.
template <class W, class C>
void Poller::Adopt(Step& step, Shard& home, IdRecord& record, W& waiter, C& call) {
  home.mutex().AssertHeld();
  C* const former = std::exchange(waiter.call, &call);
  Parked(home, waiter, call);
  if (former == nullptr) return EndAbsent(home, record);
  former->result() = Refusal{.reason = Reason::kTakenOver};
  step.Answer(home, *former, Step::NumberFor(home, nullptr));
}

void Poller::EndAbsent(Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  if (record.absent == nullptr) return;
  home.env.timers.Cancel(*record.absent);
  home.ids.EndAbsent(record);
}

// The same answer again, unless another wait gets one of its signals. Under the locks of these.
template <class C>
void Poller::Repeat(Step& step, Shard& home, IdRecord& record, std::string_view name, C& call) {
  home.mutex().AssertHeld();
  using R = typename C::Answer;
  Remembered& answer = *record.answer;
  if (answer.stale) {
    call.result() = Refusal{.reason = Reason::kStaleDelivery};
  } else {
    call.result() = std::get<R>(answer.value);
    ++answer.holders;
    call.answer_ = record.answer;
    call.shard_ = static_cast<uint8_t>(home.index());
    if (answer.kept) Unkeep(step, home, answer);
  }
  step.Answer(home, call, Step::NumberFor(home, nullptr), name);
}

// The record's call has this answer. Returns the number that it waits for.
uint64_t Poller::Remember(Step& step, Shard& home, IdRecord& record,
                          std::shared_ptr<Remembered> answer) {
  home.mutex().AssertHeld();
  record.waiter = nullptr;
  record.answer = std::move(answer);
  record.answer->record = &record;
  record.answer->shard = static_cast<uint8_t>(home.index());
  home.env.unsaved.Touch(record);
  Age(step, home.env, record, SizeOf(record.answer->value), step.now().mono);
  return home.env.unsaved.Changed();
}

// A wait with an id has ended. `heard`: a call has the result. One that was cancelled or refused,
// or ended by max-wait, is as if it had never been. Returns the number that its answer waits for.
template <class R>
uint64_t Poller::RememberEnd(Step& step, Shard& home, Waiter& waiter, bool heard, Result<R>& result,
                             std::shared_ptr<Remembered>* to) {
  home.mutex().AssertHeld();
  IdRecord& record = *waiter.record;
  const Instant gone_until = record.absent != nullptr ? record.absent->when() : kNever;
  EndAbsent(home, record);
  const R* const ended = std::get_if<R>(&result);
  if (ended == nullptr || IsNothing(*ended)) {
    Forget(home, record);
    return 0;
  }
  const uint64_t number = Remember(step, home, record, std::make_shared<Remembered>(*ended));
  const std::shared_ptr<Remembered>& answer = record.answer;
  if (ended->outcome != Outcome::kReady) return number;
  answer->holders = heard ? 1 : 0;
  answer->acks = record.ack_timeout > Nanos(0);
  if (answer->acks) {
    const Instant alarm = SaturatingAdd(step.now().mono, record.ack_timeout);
    for (const WaitResult& each : SignalsOf(answer->value)) {
      Delivery& delivery =
          each.desc->Deliver(each, Delivery::State::kPending, alarm, record.account);
      delivery.answer = answer;
      delivery.wait_id = record.id;
      delivery.caller = record.caller;
    }
  } else if (!heard) {
    Keep(step, answer, gone_until);
  }
  if (heard) *to = answer;
  return number;
}

template uint64_t Poller::RememberEnd(Step&, Shard&, Waiter&, bool, Result<WaitResult>&,
                                      std::shared_ptr<Remembered>*);
template uint64_t Poller::RememberEnd(Step&, Shard&, Waiter&, bool, Result<PollResult>&,
                                      std::shared_ptr<Remembered>*);

// Can be forgotten from now on, when there is no more room or its time is over.
void Poller::Age(Step& step, DescEnv& env, Aging& item, size_t bytes, Instant recorded) {
  item.recorded = recorded;
  item.bytes = static_cast<uint32_t>(bytes);
  const Amount amount = OutcomeAmount(item);
  env.counters.outcomes += amount.things;
  env.aging.Add(item);
  Account* const account = item.account.get();
  if (account != nullptr) account->outcomes[env.shard].Add(item);
  const Budget::Verdict over = budget_.Add(Held::kOutcomes, account, amount);
  if (over.over) step.DropOutcomes(over.own ? item.account : AccountRef());
  if (env.retention.armed()) return;
  const Instant at = SaturatingAdd(recorded, SaturatingAdd(options_.retention, kDelayMax));
  if (at != kNever) env.timers.Arm(env.retention, at);
}

void Poller::Unage(DescEnv& env, Aging& item) {
  if (item.bytes == 0) return;
  const Amount amount = OutcomeAmount(item);
  env.counters.outcomes -= amount.things;
  env.aging.Remove(item);
  Account* const account = item.account.get();
  if (account != nullptr) account->outcomes[env.shard].Remove(item);
  budget_.Give(Held::kOutcomes, account, amount);
  item.bytes = 0;
}

// As if the id had never been.
void Poller::Forget(Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  Unage(home.env, record);
  EndAbsent(home, record);
  home.env.unsaved.Gone(record);
  home.ids.Erase(record);
}

// Somebody may ask for it yet: who asks for what ended by then is refused. `own`: others, whose
// oldest are older, are not.
void Poller::ForgetOldest(const Step& step, Shard& home, Aging& oldest, bool own) {
  home.mutex().AssertHeld();
  const Instant through = SaturatingAdd(oldest.recorded, kDelayMax);
  const uint64_t caller = oldest.delivery ? static_cast<const Delivery&>(oldest).caller
                                          : static_cast<const IdRecord&>(oldest).caller;
  if (through > home.ids.horizon(caller)) {
    if (own && caller != 0) {
      home.ids.MoveHorizon(through, caller, step.now().mono - options_.retention);
    } else {
      home.ids.MoveHorizon(through);
    }
    home.env.unsaved.TouchShard();
  }
  if (oldest.delivery) {
    auto& delivery = static_cast<Delivery&>(oldest);
    Unage(home.env, delivery);
    PollDesc* const desc = delivery.owner->desc;
    if (desc != nullptr) desc->EndDelivery(delivery);  // else it is on its way out
  } else {
    Forget(home, static_cast<IdRecord&>(oldest));
  }
}

// Of the account: it has more than its share, and there is too much. Null: there is, of all.
bool Poller::TooManyOutcomes(const Account* own) const {
  const Budget::Verdict over = budget_.Over(Held::kOutcomes, own);
  return over.over && (own == nullptr || over.own);
}

// While there are more outcomes than may be, the oldest of all shards goes: of the account, if it
// has more than its share; else of all. In which shard that is was looked for a moment ago. One
// large outcome may cost many small ones: each hold of a lock is bounded, and each goes once.
void Poller::DropOutcomes(Account* own) {
  OldestShard& found = own == nullptr ? oldest_ : own->oldest;
  while (TooManyOutcomes(own)) {
    const Instant until(Nanos(found.until.load(std::memory_order_relaxed)));
    if (!DropFrom(found.shard.load(std::memory_order_relaxed), until, own)) continue;
    if (!FindOldest(found, own)) return;
  }
}

// False: there is none.
bool Poller::FindOldest(OldestShard& found, Account* own) {
  size_t victim = 0;
  Instant first = kNever;
  Instant second = clock_.Read().mono;  // whatever comes yet is not older
  for (size_t i = 0; i < kShards; ++i) {
    const MutexLock lock(shard(i).mutex());
    const Aging* const oldest = Oldest(shard(i), own);
    if (oldest == nullptr) continue;
    if (oldest->recorded < first) {
      second = std::min(second, first);
      first = oldest->recorded;
      victim = i;
    } else {
      second = std::min(second, oldest->recorded);
    }
  }
  if (first == kNever) return false;
  const Instant until = SaturatingAdd(std::max(first, second), std::chrono::seconds(1));
  found.shard.store(victim, std::memory_order_relaxed);
  found.until.store(until.time_since_epoch().count(), std::memory_order_relaxed);
  return true;
}

Aging* Poller::Oldest(Shard& home, Account* own) {
  home.mutex().AssertHeld();
  return own == nullptr ? home.env.aging.oldest() : own->outcomes[home.index()].oldest();
}

// Forgets what this shard has from before then, as long as there is too much. True: it has no more.
bool Poller::DropFrom(size_t victim, Instant until, Account* own) {
  Step step(*this);
  step.Lock(SetOf(victim));
  Shard& home = shard(victim);
  home.mutex().AssertHeld();
  for (uint32_t i = 0; i < options_.units_max; ++i) {
    if (!TooManyOutcomes(own)) return false;
    Aging* const oldest = Oldest(home, own);
    if (oldest == nullptr || oldest->recorded > until) return true;
    ++home.env.counters.outcomes_dropped;
    ForgetOldest(step, home, *oldest, own != nullptr);
  }
  return false;
}

void Poller::FireRetention(Step& step, Shard& home) {
  home.mutex().AssertHeld();
  const Nanos kept = SaturatingAdd(options_.retention, kDelayMax);
  const auto due = [&](const Aging& item) { return SaturatingAdd(item.recorded, kept); };
  for (uint32_t i = 0; i < options_.units_max; ++i) {
    Aging* const oldest = home.env.aging.oldest();
    if (oldest == nullptr || due(*oldest) > step.now().mono) break;
    ForgetOldest(step, home, *oldest, false);
  }
  const Aging* const next = home.env.aging.oldest();
  home.env.timers.Cancel(home.env.retention);  // armed anew while this was on its way
  if (next != nullptr && due(*next) != kNever) home.env.timers.Arm(home.env.retention, due(*next));
}

// A client has been gone for too long: its wait leaves as if cancelled.
void Poller::FireAbsent(Step& step, Absent& absent, uint32_t sequence) {
  if (absent.sequence() != sequence) return;
  Waiter& waiter = *absent.record->waiter;
  if (StillWaits(step, waiter) && absent.sequence() == sequence) End(step, waiter);
}

}  // namespace waitd::core
