// Signals that were handed out: acknowledged, or coming back.
#include <memory>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {

using DeliveryState = Delivery::State;

// Takes the locks that giving these back needs, besides `more` and those that are held: of their
// names, and of the polls that get them.
void Poller::WidenFor(Step& step, const std::vector<WaitResult>& signals, ShardSet more) {
  ShardSet needed = more;
  for (const WaitResult& each : signals) needed |= SetOf(each.desc->shard());
  do {
    static_cast<void>(step.Widen(needed));  // what it shows is looked at now, anew if need be
    for (const WaitResult& each : signals) {
      if (!Lives(each.desc, each.generation)) continue;
      if (step.units_left() == 0) break;  // what this does not find, the count will
      each.desc->Settle(step);
      const Mode mode = each.side == Side::kRead ? Mode::kRead : Mode::kWrite;
      static_cast<void>(each.desc->NeededFor(step, mode, false, true, &needed));
    }
  } while (!step.Holds(needed));
}

// After WidenFor: signals that reached nobody come back. False: none did.
bool Poller::GiveBack(Step& step, const std::vector<WaitResult>& signals) {
  bool any = false;
  for (const WaitResult& each : signals) {
    if (!Lives(each.desc, each.generation)) continue;  // it went with its life
    if (each.desc->kind() == Kind::kLatch) continue;   // it was not used up
    any |= each.desc->Return(step, each);
  }
  return any;
}

// Nobody has the answer: until then somebody may come for it; where too many wait for that, the
// time is over at once. Under the locks of its signals.
void Poller::Keep(Step& step, const std::shared_ptr<Remembered>& answer, Instant until) {
  for (const WaitResult& each : SignalsOf(answer->value)) {
    if (!Lives(each.desc, each.generation) || each.desc->kind() == Kind::kLatch) continue;
    const AccountRef& account = answer->record->account;
    const bool full = MayHold(each.desc, each.side, account.get(), 1).over;
    const Instant alarm = full ? step.now().mono : until;
    each.desc->Deliver(each, DeliveryState::kKept, alarm, account).answer = answer;
    answer->kept = true;
  }
  if (!answer->kept) return;
  Shard& home = shard(answer->shard);
  home.mutex().AssertHeld();
  Unage(home.env, *answer->record);
}

// The name of one of its signals was closed: nobody waits for that any more. Under its home's lock.
void Poller::AgeKept(Step& step, Remembered& answer) {
  if (answer.record == nullptr || answer.record->bytes > 0) return;
  Shard& home = shard(answer.shard);
  home.mutex().AssertHeld();
  home.env.unsaved.Touch(*answer.record);  // since when it can be forgotten is saved
  Age(step, home.env, *answer.record, SizeOf(answer.value), step.now().mono);
}

// Somebody has come. Under the same locks.
void Poller::Unkeep(Step& step, Shard& home, Remembered& answer) {
  home.mutex().AssertHeld();
  home.env.unsaved.Touch(*answer.record);
  home.env.unsaved.Changed();
  answer.kept = false;
  AgeKept(step, answer);
  for (const WaitResult& each : SignalsOf(answer.value)) {
    if (!Lives(each.desc, each.generation)) continue;
    Delivery* const kept = each.desc->FindDelivery(each.side, each.delivery);
    if (kept == nullptr || kept->state != DeliveryState::kKept) continue;
    each.desc->NoteUse(step.now().mono);
    each.desc->EndDelivery(*kept);
  }
}

void Poller::Unwritten(const WaitCall& call, Nanos linger) {
  UnwrittenSignals(call, linger, call.result());
}

void Poller::Unwritten(const PollCall& call, Nanos linger) {
  UnwrittenSignals(call, linger, call.result());
}

// By its id somebody may come for them yet, or who came already has them. Else they come back, and
// the id is forgotten in the same step, unless a Reset or a Close has forgotten the signals.
template <class R>
void Poller::UnwrittenSignals(const Parkable& call, Nanos linger, const Result<R>& result) {
  const R* const told = std::get_if<R>(&result);
  if (told == nullptr) return;
  const std::vector<WaitResult> signals = SignalsOf(*told);
  if (signals.empty()) return;
  Remembered* const answer = call.answer_.get();
  Step step(*this);
  if (answer == nullptr) {
    WidenFor(step, signals);
    GiveBack(step, signals);
    return;
  }
  Shard& home = shard(call.shard_);
  step.Lock(SetOf(home.index()));
  home.mutex().AssertHeld();
  if (answer->holders > 1 || answer->acks) {
    --answer->holders;
    return;
  }
  WidenFor(step, signals, SetOf(home.index()));
  if (--answer->holders > 0) return;  // somebody came while no lock was held
  if (answer->record != nullptr && linger > Nanos(0)) {
    home.env.unsaved.Touch(*answer->record);
    home.env.unsaved.Changed();
    Keep(step, call.answer_, SaturatingAdd(step.now().mono, linger));
    return;
  }
  if (GiveBack(step, signals) && answer->record != nullptr) Forget(home, *answer->record);
  LinkAll(step);
}

// What this step changed in several shards is saved together.
void Poller::LinkAll(Step& step) {
  if (journal_ == nullptr) return;
  for (ShardSet left = step.held(); left != 0; left &= left - 1) {
    Shard& each = shard(First(left));
    each.mutex().AssertHeld();
    each.env.unsaved.Link(step.held());
  }
}

// The time for its Ack, or for somebody to come for the answer, is over: the signal waits for the
// next wait, and so do the others of an answer that nobody has. Lets locks go.
void Poller::Expire(Step& step, Delivery& delivery) {
  const uint32_t sequence = delivery.sequence();
  const std::shared_ptr<Remembered> answer = delivery.answer;
  const bool kept = delivery.state == DeliveryState::kKept;
  PollDesc& desc = *delivery.owner->desc;
  std::vector<WaitResult> signals = {{.generation = desc.generation(),
                                      .delivery = delivery.number,
                                      .side = delivery.side,
                                      .desc = &desc}};
  if (kept) signals = SignalsOf(answer->value);
  WidenFor(step, signals, answer == nullptr ? 0 : SetOf(answer->shard));
  if (delivery.sequence() != sequence) return;  // somebody came while no lock was held
  bool returned = false;
  for (const WaitResult& each : signals) {
    if (!Lives(each.desc, each.generation)) continue;
    Delivery* const found = each.desc->FindDelivery(each.side, each.delivery);
    if (found != nullptr && found->answer == answer) returned |= each.desc->Return(step, *found);
  }
  LinkAll(step);
  if (answer == nullptr || answer->record == nullptr) return;
  Shard& home = shard(answer->shard);
  home.mutex().AssertHeld();
  // An id whose signals are nobody else's, for a Reset has forgotten them, stays with its answer.
  if (kept && returned) {
    Forget(home, *answer->record);
  } else {
    home.env.unsaved.Touch(*answer->record);
    home.env.unsaved.Changed();
    answer->kept = false;
    AgeKept(step, *answer);
    answer->stale = answer->stale || returned;
  }
}

// Before anybody is told of them: those whose time is over come back now. True: there were some,
// and locks may have been let go.
bool Poller::ExpireOverdue(Step& step, const std::vector<WaitResult>& signals) {
  bool any = false;
  for (const WaitResult& each : signals) {
    if (!Lives(each.desc, each.generation)) continue;
    Delivery* const delivery = each.desc->FindDelivery(each.side, each.delivery);
    if (delivery == nullptr || delivery->state != DeliveryState::kPending) continue;
    if (delivery->when() > step.now().mono) continue;
    Expire(step, *delivery);
    any = true;
  }
  return any;
}

void Poller::FireDelivery(Step& step, Delivery& delivery, uint32_t sequence) {
  if (delivery.sequence() != sequence || delivery.owner->desc == nullptr) return;
  Expire(step, delivery);
}

void Poller::Once(Step& step, Shard& home, const AckArgs& args, AckCall& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const auto delivery = [&]() -> Delivery* {
    home.mutex().AssertHeld();
    const PollDesc* const desc = home.Find(args.name);
    if (desc == nullptr || desc->generation() != args.generation) return nullptr;
    Delivery* const found = desc->FindDelivery(args.side, args.delivery);
    const bool its = found != nullptr && found->acknowledgeable && found->wait_id == args.wait_id &&
                     found->caller == args.caller;
    return its ? found : nullptr;
  };
  Delivery* known = delivery();
  if (known != nullptr && known->state == DeliveryState::kPending &&
      known->when() <= step.now().mono) {
    Expire(step, *known);
    known = delivery();
  }
  const PollDesc* const desc = home.Find(args.name);
  if (known == nullptr) {
    const bool other_life =
        args.generation != 0 && desc != nullptr && desc->generation() != args.generation;
    call.result() =
        Refusal{.reason = other_life ? Reason::kStaleGeneration : Reason::kOutcomeUnknown,
                .generation = desc == nullptr ? 0 : desc->generation()};
  } else if (known->state == DeliveryState::kPending) {
    call.result() = AckResult{};
    known->owner->desc->NoteUse(step.now().mono);
    known->owner->desc->Retire(step, *known, DeliveryState::kAcked);
  } else if (known->state == DeliveryState::kAcked) {
    call.result() = AckResult{};
  } else {
    call.result() = Refusal{.reason = Reason::kStaleDelivery};
  }
  step.Answer(home, call, Step::NumberFor(home, nullptr), args.name);
}

}  // namespace waitd::core
