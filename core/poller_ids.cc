// Ids and hand-offs: what makes a repeated call the same call, and a READY come back.
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

using State = IdRecord::State;

// How much longer than its first attempt a retry may have been under way: first attempts are
// refused that seem so much younger than what was forgotten, so that none is carried out twice.
constexpr Nanos kDelayMax = std::chrono::seconds(5);

bool IsReady(const WaitResult& result) { return result.outcome == Outcome::kReady; }
bool IsReady(const PollResult& result) { return result.outcome == Outcome::kReady; }

bool IsCancelled(const WaitResult& result) { return result.outcome == Outcome::kCancelled; }
bool IsCancelled(const PollResult& result) { return result.outcome == Outcome::kCancelled; }
bool IsCancelled(const Refusal& /*refusal*/) { return true; }

}  // namespace

// Whether an id whose first attempt was so long ago may have been forgotten.
bool Poller::Forgotten(Shard& home, const Now& now, Nanos sent_ago) const {
  if (sent_ago <= Nanos(0)) return false;
  home.mutex().AssertHeld();
  const Instant first = SaturatingAdd(now.mono, -sent_ago);
  return first < home.ids.horizon() || sent_ago > options_.retention;
}

// What is known of an id; null: nothing, and this is its first attempt. False: refused.
bool Poller::Recall(Shard& home, const IdKey& key, uint64_t content, const Retry& retry,
                    const Now& now, IdRecord** record, Refusal& refusal) {
  home.mutex().AssertHeld();
  *record = home.ids.Find(key);
  if (*record != nullptr && (*record)->content != content) {
    refusal.reason = Reason::kIdReused;
    return false;
  }
  if (*record == nullptr && Forgotten(home, now, retry.sent_ago)) {
    refusal.reason = Reason::kOutcomeUnknown;
    return false;
  }
  return true;
}

// True: the call is answered, or stands in the place of the one that had its id before.
bool Poller::RecallWait(Step& step, Locks& locks, Shard& home, const WaitArgs& args,
                        uint64_t content, WaitCall& call) {
  home.mutex().AssertHeld();
  const IdKey key = KeyOf(IdUse::kWait, args.name, args.retry);
  IdRecord* const known = home.ids.Find(key);
  if (known != nullptr && known->state != State::kParked) {
    for (const Handed& each : HandedOver(*known, args)) {
      TakeBackOverdue(step, locks, home, each.key);
    }
  } else if (known != nullptr && !known->poll) {
    auto& waiter = static_cast<SingleWaiter&>(*known->waiter);
    PollDesc& desc = *waiter.desc;
    if (desc.Settle(step.moment)) step.Expired(home, desc);
    desc.ExpireWait(step.moment, waiter);
    step.Leave(SetOf(home.index()));
  }
  IdRecord* record = nullptr;
  Refusal refusal;
  if (!Recall(home, key, content, args.retry, step.moment.now, &record, refusal)) {
    call.result() = std::move(refusal);
    step.Answer(home, call, Step::NumberFor(home, nullptr));
    return true;
  }
  if (record == nullptr) return false;
  if (record->state == State::kParked) {
    TakeOver(step, home, *record, static_cast<SingleWaiter&>(*record->waiter), call);
  } else {
    Repeat(step, home, *record, Spent(*record, HandedOver(*record, args)), call);
  }
  step.Leave(SetOf(home.index()));
  return true;
}

// The same for a poll, under the locks of all its targets.
bool Poller::RecallPoll(Step& step, Locks& locks, Shard& home, const PollArgs& args,
                        uint64_t content, PollCall& call) {
  home.mutex().AssertHeld();
  const IdKey key = KeyOf(IdUse::kWait, args.targets.front().name, args.retry);
  if (const IdRecord* const known = home.ids.Find(key);
      known != nullptr && known->state != State::kParked) {
    for (const Handed& each : HandedOver(*known, args)) {
      TakeBackOverdue(step, locks, shard(ShardOf(each.name)), each.key);
    }
  }
  IdRecord* record = nullptr;
  Refusal refusal;
  if (!Recall(home, key, content, args.retry, step.moment.now, &record, refusal)) {
    call.result() = std::move(refusal);
    step.Answer(home, call, Step::NumberFor(home, nullptr));
    return true;
  }
  if (record == nullptr) return false;
  if (record->state != State::kParked) {
    Repeat(step, home, *record, Spent(*record, HandedOver(*record, args)), call);
    step.Leave(locks.held());
    return true;
  }
  auto& poll = static_cast<PollWaiter&>(*record->waiter);
  if (SettlePoll(step, locks, poll, poll.life())) {
    TakeOver(step, home, *record, poll, call);
    step.Leave(locks.held());
    return true;
  }
  if (std::visit([](const auto& r) { return IsCancelled(r); }, poll.call->result())) {
    // It is about to leave its places as if it had never been, and so does its id.
    poll.call->record_ = nullptr;
    Forget(home, *record);
    step.Leave(locks.held());
    if (!Forgotten(home, step.moment.now, args.retry.sent_ago)) return false;
    call.result() = Refusal{.reason = Reason::kOutcomeUnknown};
    step.Answer(home, call, Step::NumberFor(home, nullptr));
    return true;
  }
  // Decided, and about to leave its places: whoever decided it answers this call, too.
  if (PollCall* const before = std::exchange(record->next, &call); before != nullptr) {
    before->result() = Refusal{.reason = Reason::kTakenOver};
    step.Answer(home, *before, Step::NumberFor(home, nullptr));
  }
  step.Leave(locks.held());
  return true;
}

// The waiter, its place and its instant stay; only who is told of the end changes.
template <class W, class C>
void Poller::TakeOver(Step& step, Shard& home, IdRecord& record, W& waiter, C& call) {
  C& former = *waiter.call;
  ClearAlarm(home, record);
  Replace(home, waiter, call);
  former.result() = Refusal{.reason = Reason::kTakenOver};
  step.Answer(home, former, Step::NumberFor(home, nullptr));
}

template <class W, class C>
void Poller::Replace(Shard& home, W& waiter, C& call) {
  home.mutex().AssertHeld();
  Parkable& former = *waiter.call;
  call.waiter_ = &waiter;
  call.life_ = waiter.life();
  call.shard_ = former.shard_;
  call.record_ = std::exchange(former.record_, nullptr);
  call.record_life_ = former.record_life_;
  waiter.call = &call;
}

template void Poller::Replace(Shard&, SingleWaiter&, WaitCall&);
template void Poller::Replace(Shard&, PollWaiter&, PollCall&);

// The same answer again, or why it is its call's no more.
template <class C>
void Poller::Repeat(Step& step, Shard& home, IdRecord& record, std::optional<Reason> spent,
                    C& call) {
  home.mutex().AssertHeld();
  using R = typename C::Answer;
  if (spent.has_value()) {
    call.result() = Refusal{.reason = *spent};
  } else {
    const R& answer = std::get<R>(*record.answer);
    call.result() = answer;
    call.record_ = &record;
    call.record_life_ = record.life;
    call.shard_ = static_cast<uint8_t>(home.index());
    if (answer.given != nullptr) ++answer.given->calls;
    if (record.state == State::kKept) {
      Keep(*record.answer, -1, step.moment.now.mono);
      ClearAlarm(home, record);
      record.state = State::kAnswered;
      step.Changed(home, record);
      Age(step, home, record);
    }
  }
  step.Answer(home, call, Step::NumberFor(home, nullptr));
}

// Why a wait's READYs may be another's by now; none: each is its answer's, or went with its life.
// Under their shards' locks. A poll's hand-offs may be forgotten before itself, in other shards:
// then one went with its life only where nothing was forgotten that ended after the poll.
std::optional<Reason> Poller::Spent(const IdRecord& wait, const std::vector<Handed>& handed) {
  const Instant ended = SaturatingAdd(wait.recorded, kDelayMax);
  for (const Handed& each : handed) {
    Shard& at = shard(ShardOf(each.name));
    at.mutex().AssertHeld();
    const IdRecord* const record = at.ids.Find(each.key);
    const uint64_t generation = each.ready->generation;
    if (record == nullptr || record->hand_off->generation != generation) {
      const bool forgot = at.ids.horizon() > ended;
      if (forgot || Lives(each.ready->desc, generation)) return Reason::kOutcomeUnknown;
    } else if (record->state == State::kStale) {
      return Reason::kStaleDelivery;
    }
  }
  return std::nullopt;
}

// A call that came while the poll was leaving its places gets the same.
void Poller::AnswerToo(Step& step, Shard& home, const PollCall& from, PollCall& to,
                       uint64_t number) {
  home.mutex().AssertHeld();
  if (from.record_ != nullptr && from.record_->life == from.record_life_) {
    return Repeat(step, home, *from.record_, std::nullopt, to);
  }
  to.result() = from.result();  // and forgotten already, for want of room
  to.shard_ = from.shard_;
  const auto* const answer = std::get_if<PollResult>(&to.result());
  if (answer != nullptr && answer->given != nullptr) ++answer->given->calls;
  step.Answer(home, to, number);
}

// From now on the call and the record of its id know each other.
void Poller::Knows(Shard& home, IdRecord& record, Waiter& waiter, Parkable& call) {
  home.mutex().AssertHeld();
  record.state = State::kParked;
  record.waiter = &waiter;
  record.poll = waiter.poll;
  call.record_ = &record;
  call.record_life_ = record.life;
  call.shard_ = static_cast<uint8_t>(home.index());
}

// A wait with an id has ended. One that was cancelled or refused is as if it had never been.
// Returns the number that its answer waits for.
template <class R>
uint64_t Poller::Remember(Step& step, Shard& home, Parkable& call, Result<R>& result) {
  home.mutex().AssertHeld();
  IdRecord& record = *call.record_;
  const bool nothing = std::visit([](const auto& r) { return IsCancelled(r); }, result);
  if (nothing) {
    Forget(home, record);
    call.record_ = nullptr;
    return 0;
  }
  R& answer = std::get<R>(result);
  if (IsReady(answer)) {
    answer.given = std::make_shared<Given>(
        Given{.calls = call.absent_ ? 0U : 1U, .handed_off = record.ack_timeout > Nanos(0)});
  }
  record.waiter = nullptr;
  record.answer = std::make_unique<const IdAnswer>(answer);
  if (call.absent_ && IsReady(answer) && record.ack_timeout == Nanos(0)) {
    record.state = State::kKept;  // until the alarm that was set when its client went
    Keep(*record.answer, 1, step.moment.now.mono);
    if (record.alarm != nullptr && !record.alarm->armed()) {
      SetAlarm(home, record, step.moment.now.mono);  // it came while the poll was decided and here
    }
    return step.Changed(home, record);
  }
  ClearAlarm(home, record);
  record.state = State::kAnswered;
  if constexpr (std::is_same_v<R, WaitResult>) HandOver(step, home, answer, record);
  const uint64_t number = step.Changed(home, record);
  Age(step, home, record);
  return number;
}

template uint64_t Poller::Remember(Step&, Shard&, Parkable&, Result<WaitResult>&);
template uint64_t Poller::Remember(Step&, Shard&, Parkable&, Result<PollResult>&);

// The record can be forgotten from now on, when there is no more room or its time is over.
void Poller::Age(Step& step, Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  if (!record.forgettable) {
    outcomes_.fetch_add(1, std::memory_order_relaxed);
    ++home.env.counters.outcomes;
  }
  const Instant now = step.moment.now.mono;
  home.ids.Age(record, now);
  if (!home.retention.armed()) {
    home.env.timers.Arm(home.retention, SaturatingAdd(now, options_.retention + kDelayMax));
  }
  while (outcomes_.load(std::memory_order_relaxed) > options_.max_outcomes) {
    IdRecord& oldest = *home.ids.oldest();
    ++home.env.counters.outcomes_dropped;
    const bool last = &oldest == &record;
    Forget(home, oldest, true);
    if (last) break;
  }
}

void Poller::Unage(Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  if (!record.forgettable) return;
  outcomes_.fetch_sub(1, std::memory_order_relaxed);
  --home.env.counters.outcomes;
  home.ids.Unage(record);
}

// `early`: somebody may ask for it yet; who asks for what ended by then is refused.
void Poller::Forget(Shard& home, IdRecord& record, bool early) {
  home.mutex().AssertHeld();
  if (early) {
    home.ids.MoveHorizon(SaturatingAdd(record.recorded, kDelayMax));
    home.unsaved.horizon = true;
  }
  Unage(home, record);
  ClearAlarm(home, record);
  home.unsaved.ids.Remove(record);
  if (record.stored)
    home.unsaved.forgotten.push_back({record.use, record.name, record.caller, record.id});
  home.ids.Erase(record);
}

void Poller::FireRetention(Step& step, Shard& home) {
  home.mutex().AssertHeld();
  constexpr int kForgetMax = 256;  // under one hold of the lock
  const Nanos kept = options_.retention + kDelayMax;
  for (int i = 0; i < kForgetMax; ++i) {
    IdRecord* const oldest = home.ids.oldest();
    if (oldest == nullptr || SaturatingAdd(oldest->recorded, kept) > step.moment.now.mono) break;
    Forget(home, *oldest);
    step.Tell(home);
  }
  const IdRecord* const next = home.ids.oldest();
  home.env.timers.Cancel(home.retention);  // armed anew while this was on its way
  if (next != nullptr) {
    home.env.timers.Arm(home.retention, SaturatingAdd(next->recorded, kept));
  }
}

void Poller::SetAlarm(Shard& home, IdRecord& record, Instant at) {
  home.mutex().AssertHeld();
  ClearAlarm(home, record);
  if (at == kNever) return;
  home.env.timers.Arm(home.ids.GetAlarm(record), at);
}

void Poller::ClearAlarm(Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  if (record.alarm == nullptr) return;
  home.env.timers.Cancel(*record.alarm);
  home.ids.PutAlarm(record);  // if it is on its way here it is stale
}

// A READY is handed over that waits for its Ack. Under the lock of its descriptor.
void Poller::HandOver(Step& step, Shard& home, const WaitResult& result, const IdRecord& wait) {
  home.mutex().AssertHeld();
  if (!IsReady(result) || wait.ack_timeout == Nanos(0)) return;
  PollDesc& desc = *result.desc;
  if (!Lives(&desc, result.generation)) return;  // it went with it
  const IdKey key = HandOffKeyOf(result.side, desc.name(), result.delivery, wait.caller, wait.id);
  // That delivery of a former life of the name, whose READY went with it.
  if (IdRecord* const former = home.ids.Find(key); former != nullptr) {
    Forget(home, *former, former->state == State::kStale);
  }
  IdRecord& record = home.ids.Insert(key, 0);
  record.state = State::kPending;
  record.hand_off = std::make_unique<HandOff>(HandOff{
      &desc,
      result.generation,
      result.side,
      {result.signal, result.ready_time, result.coalesced, result.attempt + 1, result.delivery}});
  desc.AddUnacked(result.side, 1);
  desc.changed = step.Changed(home, record);
  SetAlarm(home, record, SaturatingAdd(step.moment.now.mono, wait.ack_timeout));
}

// Those of a poll's READYs that are of these shards, under their locks.
void Poller::HandOver(Step& step, ShardSet shards, const PollWaiter& poll) {
  if (poll.call->record_ == nullptr) return;
  const auto* const result = std::get_if<PollResult>(&poll.call->result());
  if (result == nullptr) return;
  for (const PollResult::Target& target : result->targets) {
    if (!IsReady(target.result)) continue;
    const size_t at = target.result.desc->shard();
    if ((SetOf(at) & shards) != 0) {
      HandOver(step, shard(at), target.result, *poll.call->record_);
    }
  }
}

// The time for its Ack is over: its READY stands for the next wait, and its own wait's id is stale.
void Poller::TakeBack(Step& step, Locks& locks, Shard& home, IdRecord& record) {
  home.mutex().AssertHeld();
  const HandOff hand_off = *record.hand_off;
  const uint32_t life = record.life;
  PollDesc& desc = *hand_off.desc;
  WidenFor(locks, {{.side = hand_off.side, .desc = &desc}});
  if (record.life != life || record.state != State::kPending) return;  // while no lock was held
  ClearAlarm(home, record);
  if (!Lives(&desc, hand_off.generation)) {
    Forget(home, record);
    return;
  }
  record.state = State::kStale;
  step.Changed(home, record);
  Age(step, home, record);
  desc.AddUnacked(hand_off.side, -1);
  PutBack(step, desc, hand_off.side, hand_off.token);
}

// Before anybody is told that it was: its alarm may be still to come.
void Poller::TakeBackOverdue(Step& step, Locks& locks, Shard& home, const IdKey& hand_off) {
  home.mutex().AssertHeld();
  IdRecord* const record = home.ids.Find(hand_off);
  if (record == nullptr || record->state != State::kPending) return;
  if (record->alarm == nullptr || record->alarm->when() > step.moment.now.mono) return;
  TakeBack(step, locks, home, *record);
  step.Leave(locks.held());
}

// After WidenFor.
void Poller::PutBack(Step& step, PollDesc& desc, Side side, Token token) {
  desc.Settle(step.moment);
  desc.idle_since = step.moment.now.mono;
  desc.PutBack(step.moment, side, std::move(token));
  step.Changed(shard(desc.shard()), desc);
}

// Takes the locks that giving these back needs, besides those that are held.
void Poller::WidenFor(Locks& locks, const std::vector<WaitResult>& readys) {
  ShardSet needed = 0;
  do {
    needed = locks.held();
    for (const WaitResult& ready : readys) {
      const PollDesc& desc = *ready.desc;
      const ShardSet own = SetOf(desc.shard());
      // Which polls stand there is seen under its lock only, and so perhaps the next time round.
      if ((locks.held() & own) != 0) {
        needed |= desc.PollShards(ready.side == Side::kRead ? Mode::kRead : Mode::kWrite);
      }
      needed |= own;
    }
  } while (!locks.Widen(needed));
}

// After WidenFor: READYs that were handed to nobody stand for the next wait, in front.
void Poller::GiveBack(Step& step, Locks& locks, const std::vector<WaitResult>& readys) {
  for (const WaitResult& ready : readys) {
    PollDesc& desc = *ready.desc;
    if (!Lives(&desc, ready.generation)) continue;  // it went with it
    if (desc.kind() == Kind::kLatch) continue;      // which was not used up
    PutBack(step, desc, ready.side,
            {ready.signal, ready.ready_time, ready.coalesced, ready.attempt, ready.delivery});
  }
  step.Leave(locks.held());
}

void Poller::Unwritten(const Now& now, const WaitCall& call, Nanos linger) {
  const auto* const result = std::get_if<WaitResult>(&call.result());
  if (result != nullptr) UnwrittenReadys(now, call, linger, result->given.get(), ReadysOf(*result));
}

void Poller::Unwritten(const Now& now, const PollCall& call, Nanos linger) {
  const auto* const result = std::get_if<PollResult>(&call.result());
  if (result != nullptr) UnwrittenReadys(now, call, linger, result->given.get(), ReadysOf(*result));
}

// By its id somebody may come for them yet, or who came already has them. Else they go back, and
// the id is forgotten in the same step.
void Poller::UnwrittenReadys(const Now& now, const Parkable& call, Nanos linger, Given* given,
                             std::vector<WaitResult> readys) {
  if (readys.empty()) return;
  Step step(*this, now);
  Shard& home = shard(given == nullptr ? readys.front().desc->shard() : size_t{call.shard_});
  {
    Locks locks(*this, SetOf(home.index()));
    home.mutex().AssertHeld();
    WidenFor(locks, readys);
    IdRecord* const record = call.record_;
    if (given != nullptr && (--given->calls > 0 || given->handed_off)) {
      readys.clear();
    } else if (record != nullptr && record->life == call.record_life_) {
      if (record->state != State::kAnswered) {
        readys.clear();
      } else if (linger > Nanos(0)) {
        readys.clear();
        Unage(home, *record);
        record->state = State::kKept;
        Keep(*record->answer, 1, now.mono);
        step.Changed(home, *record);
        SetAlarm(home, *record, SaturatingAdd(now.mono, linger));
      } else {
        Forget(home, *record);
        step.Link(home, locks.held());
      }
    }
    GiveBack(step, locks, readys);
  }
  step.Finish();
}

void Poller::Once(Step& step, Locks& locks, Shard& home, const AckArgs& args, AckCall& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const IdKey key = HandOffKeyOf(args.side, args.name, args.delivery, args.caller, args.wait_id);
  const auto known = [&]() -> IdRecord* {
    home.mutex().AssertHeld();
    IdRecord* const record = home.ids.Find(key);
    if (record == nullptr) return nullptr;
    const HandOff& hand_off = *record->hand_off;
    if (args.generation != 0 && hand_off.generation != args.generation) return nullptr;
    const bool stands = Lives(hand_off.desc, hand_off.generation);
    return stands || record->state == State::kAcked ? record : nullptr;
  };
  TakeBackOverdue(step, locks, home, key);
  IdRecord* const record = known();
  PollDesc* const desc = home.Find(args.name);
  if (record == nullptr) {
    const bool other_life =
        args.generation != 0 && desc != nullptr && desc->generation() != args.generation;
    call.result() =
        Refusal{.reason = other_life ? Reason::kStaleGeneration : Reason::kOutcomeUnknown,
                .generation = desc == nullptr ? 0 : desc->generation()};
  } else if (record->state == State::kStale) {
    call.result() = Refusal{.reason = Reason::kStaleDelivery};
  } else {
    call.result() = AckResult{};
    if (record->state == State::kPending) {
      ClearAlarm(home, *record);
      record->state = State::kAcked;
      record->hand_off->token.signal = nullptr;
      PollDesc& owner = *record->hand_off->desc;
      owner.AddUnacked(record->hand_off->side, -1);
      owner.idle_since = step.moment.now.mono;
      owner.changed = step.Changed(home, *record);  // who sees that one less is pending waits, too
      Age(step, home, *record);
    }
  }
  step.Leave(locks.held());
  step.Answer(home, call, Step::NumberFor(home, nullptr));
}

void Poller::FireId(Step& step, Shard& home, IdAlarm& alarm, uint32_t sequence) {
  Locks locks(*this, SetOf(home.index()));
  home.mutex().AssertHeld();
  if (alarm.sequence() != sequence) {
    ++home.env.counters.stale_timers;
    return;
  }
  IdRecord& record = *alarm.record;
  switch (record.state) {
    case State::kParked: {
      // Its client has been gone for too long: it leaves as if cancelled.
      Waiter& waiter = *record.waiter;
      if (StandsFor(step, locks, waiter, CallOf(waiter)) && alarm.sequence() == sequence) {
        End(step, waiter);
      }
      break;
    }
    case State::kKept: {
      // Nobody came for it.
      const std::vector<WaitResult> readys = ReadysOf(*record.answer);
      WidenFor(locks, readys);
      if (alarm.sequence() != sequence) return;  // somebody came, while no lock was held
      Keep(*record.answer, -1, step.moment.now.mono);
      Forget(home, record);
      step.Link(home, locks.held());
      GiveBack(step, locks, readys);
      return;
    }
    case State::kPending:
      TakeBack(step, locks, home, record);
      break;
    case State::kAnswered:
    case State::kAcked:
    case State::kStale:
      WAITD_CHECK(false, "an alarm of an id that waits for nothing");
  }
  step.Leave(locks.held());
}

}  // namespace waitd::core
