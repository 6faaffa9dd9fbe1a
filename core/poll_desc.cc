#include "core/poll_desc.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/check.h"

namespace waitd::core {
namespace {

using Claimed = Waiter::Claimed;

Nanos NotNegative(Nanos d) { return std::max(d, Nanos(0)); }

// Under the lock of a place, by who won the claim; the call is its own from now on.
WaitResult& Finish(Moment& m, SingleWaiter& waiter, Claimed how, Outcome outcome) {
  WaitResult& result = waiter.call->result().emplace<WaitResult>();
  result.outcome = outcome;
  result.generation = waiter.desc->generation();
  if (how == Claimed::kParked) {
    result.parked = NotNegative(m.now.mono - waiter.begin);
    if (m.ended_first == nullptr) {
      m.ended_first = &waiter;
    } else {
      m.ended_last->next = &waiter;
    }
    m.ended_last = &waiter;
  }
  return result;
}

PollResult& Finish(Moment& m, PollWaiter& poll, Claimed how, Outcome outcome) {
  PollResult& result = poll.call->result().emplace<PollResult>();
  result.outcome = outcome;
  if (how == Claimed::kParked) {
    result.parked = NotNegative(m.now.mono - poll.begin);
    poll.next_claimed = m.claimed;
    m.claimed = &poll;
  }
  return result;
}

template <class R>
void TimedOut(const Moment& m, const Waiter& waiter, TimeoutCause cause, Instant due, R& result) {
  result.cause = cause;
  result.late = NotNegative(m.now.mono - std::max(due, waiter.begin));
}

// Whether a poll stands there that needs more than one READY.
bool IsCounted(const Place& place) {
  return place.target && static_cast<const PollWaiter::Target&>(place).poll->need > 1;
}

// Max-wait bounds a single wait only where no deadline can end it.
bool BoundCounts(const Waiter& waiter, bool armed) {
  return waiter.bound == TimeoutCause::kWait || waiter.poll || waiter.ignore_deadline || !armed;
}

}  // namespace

void PollDesc::Init(std::string_view name, Kind kind, uint64_t generation, const Now& now) {
  WAITD_CHECK(closing_ && read_.places == 0 && side(Side::kWrite).places == 0,
              "a slot is handed out that is in use");
  name_.Set(name);
  kind_ = kind;
  generation_ = generation;
  open_time_ = now.wall;
  closing_ = false;
  idle_since = now.mono;
}

const PollDesc::SideState PollDesc::kUntouched;

PollDesc::Half& PollDesc::Write() {
  if (write_ == nullptr) write_ = std::make_unique<Half>(TimerUse::kWriteSide, *this);
  return *write_;
}

void PollDesc::ArmIdle(Nanos ttl, Instant since) {
  if (ttl == kForever) return;
  if (idle_ == nullptr) idle_ = std::make_unique<Idle>(*this);
  idle_->ttl = ttl;
  const Instant at = SaturatingAdd(since, ttl);
  if (at != kNever) env_.timers.Arm(*idle_, at);
}

PollDesc::Check PollDesc::CheckErr(Side s, bool ignore_deadline) const {
  const SideState& side = this->side(s);
  if (closing_) return Check::kClosed;
  const bool ready = side.HasReady();
  if (ready && (kind_ == Kind::kLatch || ignore_deadline)) return Check::kReady;
  if (!ignore_deadline && side.deadline.state == Deadline::State::kExpired) return Check::kExpired;
  return ready ? Check::kReady : Check::kPark;
}

bool PollDesc::idle() const {
  return std::all_of(kSides.begin(), kSides.end(), [this](Side each) {
    const SideState& s = side(each);
    const bool out = s.hand_offs != nullptr && s.hand_offs->unacked + s.hand_offs->kept > 0;
    return s.places == 0 && !s.HasReady() && !out && s.deadline.state == Deadline::State::kNone;
  });
}

bool PollDesc::Settle(Moment& m) {
  const auto due = [&](Side s) {
    return side(s).deadline.state == Deadline::State::kArmed && side(s).deadline.at <= m.now.mono;
  };
  const bool read = due(Side::kRead);
  const bool write = due(Side::kWrite);
  if (!read && !write) return false;
  const Instant read_at = side(Side::kRead).deadline.at;
  const Instant write_at = side(Side::kWrite).deadline.at;
  if (read && write && write_at < read_at) {
    ExpireSides(m, false, true);
    ExpireSides(m, true, false);
  } else if (read && write && read_at < write_at) {
    ExpireSides(m, true, false);
    ExpireSides(m, false, true);
  } else {
    ExpireSides(m, read, write);
  }
  return true;
}

PollDesc::Blocked PollDesc::Block(Moment& m, SingleWaiter& waiter, bool park,
                                  const Waiter** holder) {
  const Side s = waiter.side;
  // True: the wait ends here, by the check that was made.
  const auto ends = [&](Check check, Claimed how) {
    if (check == Check::kReady) {
      TakeReady(s, Finish(m, waiter, how, Outcome::kReady));
    } else if (check == Check::kClosed) {
      Finish(m, waiter, how, Outcome::kClosed);
    } else if (check == Check::kExpired) {
      WaitResult& result = Finish(m, waiter, how, Outcome::kTimedOut);
      TimedOut(m, waiter, TimeoutCause::kDeadline, at(s).deadline.at, result);
    }
    return check != Check::kPark;
  };
  if (ends(CheckErr(s, waiter.ignore_deadline), Claimed::kBeforePark)) return Blocked::kEnded;
  if (!park) {
    WaitResult& result = Finish(m, waiter, Claimed::kBeforePark, Outcome::kTimedOut);
    TimedOut(m, waiter, waiter.bound, waiter.until(), result);
    return Blocked::kEnded;
  }
  if (const Waiter* occupant = Occupant(m, s); occupant != nullptr) {
    *holder = occupant;
    return Blocked::kDoubleWait;
  }
  if (m.probe != nullptr) m.probe->At(Probe::Point::kChecked);
  waiter.Publish(0);
  Link(waiter);
  if (m.probe != nullptr) m.probe->At(Probe::Point::kPublished);
  // Whoever came in between has done the opposite: changed the side, then looked for waiters. One
  // of the two sees the other.
  const Check again = CheckErr(s, waiter.ignore_deadline);
  if (again != Check::kPark && waiter.Claim() != Claimed::kNo) ends(again, Claimed::kBeforePark);
  if (waiter.CommitPark()) return Blocked::kParked;
  Unlink(waiter);
  return Blocked::kEnded;
}

PollDesc::Blocked PollDesc::BlockAll(Moment& m, PollWaiter& poll, bool park, const Waiter** holder,
                                     uint32_t* at) {
  const auto targets = static_cast<uint32_t>(poll.targets.size());
  poll.Publish(targets - poll.need);
  DecideAll(m, poll);
  if (!park && poll.Claim() != Claimed::kNo) {
    PollResult& result = Finish(m, poll, Claimed::kBeforePark, Outcome::kTimedOut);
    TimedOut(m, poll, poll.bound, poll.until(), result);
  }
  if (poll.claimed()) return Blocked::kEnded;
  for (uint32_t i = 0; i < targets; ++i) {
    PollWaiter::Target& target = poll.targets[i];
    *holder = target.lost ? nullptr : target.desc->Occupant(m, target.side);
    if (*holder == nullptr) continue;
    *at = i;
    return Blocked::kDoubleWait;
  }
  if (m.probe != nullptr) m.probe->At(Probe::Point::kChecked);
  for (PollWaiter::Target& target : poll.targets) {
    if (!target.lost) target.desc->Link(target);
  }
  if (m.probe != nullptr) m.probe->At(Probe::Point::kPublished);
  DecideAll(m, poll);
  if (poll.CommitPark()) return Blocked::kParked;
  for (PollWaiter::Target& target : poll.targets) target.desc->Unlink(target);
  return Blocked::kEnded;
}

// Takes what the poll needs if it is there, and loses the targets that have ended.
void PollDesc::DecideAll(Moment& m, PollWaiter& poll) {
  uint32_t ready = 0;
  for (PollWaiter::Target& target : poll.targets) {
    if (target.lost) continue;
    switch (target.desc->CheckErr(target.side, false)) {
      case Check::kPark:
        break;
      case Check::kReady:
        ++ready;
        break;
      case Check::kClosed:
        target.desc->EndPlace(m, target, Outcome::kClosed, TimeoutCause::kNone, m.now.mono);
        break;
      case Check::kExpired:
        target.desc->EndPlace(m, target, Outcome::kTimedOut, TimeoutCause::kDeadline,
                              target.desc->at(target.side).deadline.at);
        break;
    }
  }
  if (ready < poll.need) return;
  if (const Claimed how = poll.Claim(); how != Claimed::kNo) Take(m, poll, how);
}

// Whether a poll can take this target's READY. Needs the target's lock.
bool PollDesc::Available(const PollWaiter::Target& target, Instant now) {
  if (target.lost || target.desc->CheckErr(target.side, false) != Check::kReady) return false;
  // Due on another shard and not settled there yet: as good as expired.
  const Deadline& deadline = target.desc->side(target.side).deadline;
  return target.desc->kind_ == Kind::kLatch || deadline.state != Deadline::State::kArmed ||
         deadline.at > now;
}

// By who won the claim, with as many READYs there as the poll needs, under all their locks.
void PollDesc::Take(Moment& m, PollWaiter& poll, Claimed how) {
  PollResult& result = Finish(m, poll, how, Outcome::kReady);
  for (uint32_t i = 0; i < poll.targets.size() && result.targets.size() < poll.need; ++i) {
    PollWaiter::Target& target = poll.targets[i];
    if (!Available(target, m.now.mono)) continue;
    WaitResult& taken = result.targets.emplace_back(PollResult::Target{i, {}}).result;
    taken.generation = target.desc->generation_;
    taken.parked = result.parked;
    target.desc->TakeReady(target.side, taken);
  }
}

PollDesc::Unblocked PollDesc::Unblock(Moment& m, Side s, Payload signal, ReadyCondition condition) {
  SideState& side = at(s);
  Unblocked unblocked;
  unblocked.expired = side.deadline.state == Deadline::State::kExpired;
  if (condition == ReadyCondition::kNotExpired && unblocked.expired) return unblocked;
  const bool coalesces = side.ready;
  // Whoever stands beside a READY lacks others, and one more here does not help.
  if (condition == ReadyCondition::kWaiting && side.HasReady()) return unblocked;
  side.coalesced = coalesces ? side.coalesced + 1 : 0;
  side.signal = std::move(signal);
  side.ready_time = m.now.wall;
  if (coalesces) {
    unblocked.effect = ReadyEffect::kCoalesced;
    return unblocked;
  }
  side.ready = true;
  if (kind_ == Kind::kLatch) ++side.delivery;
  unblocked.woken = Serve(m, s);
  if (unblocked.woken > 0) {
    unblocked.effect = ReadyEffect::kWoke;
  } else if (condition != ReadyCondition::kWaiting) {
    unblocked.effect = ReadyEffect::kRemembered;
  } else if (kind_ == Kind::kLatch) {
    --side.delivery;
  }
  if (condition == ReadyCondition::kWaiting) {
    side.ready = false;
    side.signal = nullptr;
  }
  return unblocked;
}

// Hands the READY of this side to those who wait, in order, as long as it lasts.
uint32_t PollDesc::Serve(Moment& m, Side s) {
  SideState& side = at(s);
  uint32_t woken = 0;
  Place* next = side.first;
  for (uint32_t left = side.places; left > 0 && side.HasReady(); --left) {
    Place& place = *std::exchange(next, next->next);
    if (place.target) {
      ServePoll(m, s, static_cast<PollWaiter::Target&>(place), &woken);
      continue;
    }
    auto& waiter = static_cast<SingleWaiter&>(place);
    if (OwnBoundDue(waiter, side, m.now.mono)) {
      EndPlace(m, place, Outcome::kTimedOut, waiter.bound, waiter.until());
    } else {
      Unlink(place);
      const Claimed how = waiter.Claim();
      if (how == Claimed::kNo) continue;
      TakeReady(s, Finish(m, waiter, how, Outcome::kReady));
      ++woken;
    }
  }
  return woken;
}

void PollDesc::ServePoll(Moment& m, Side s, PollWaiter::Target& target, uint32_t* woken) {
  PollWaiter& poll = *target.poll;
  if (poll.until() <= m.now.mono) {
    // It only leaves: its other targets' instants may come first, and its timer sees to them.
    Unlink(target);
    return;
  }
  if (poll.need > 1 && !poll.claimed()) {
    const auto available =
        std::count_if(poll.targets.begin(), poll.targets.end(),
                      [&](const PollWaiter::Target& t) { return Available(t, m.now.mono); });
    if (available < poll.need) return;
  }
  Unlink(target);
  const Claimed how = poll.Claim();
  if (how == Claimed::kNo) return;
  ++*woken;
  if (poll.need > 1) {
    Take(m, poll, how);
    return;
  }
  const auto index = static_cast<uint32_t>(&target - poll.targets.data());
  PollResult& result = Finish(m, poll, how, Outcome::kReady);
  WaitResult& taken = result.targets.emplace_back(PollResult::Target{index, {}}).result;
  taken.generation = generation_;
  taken.parked = result.parked;
  TakeReady(s, taken);
}

void PollDesc::TakeReady(Side s, WaitResult& result) {
  SideState& side = at(s);
  result.desc = this;
  result.side = s;
  if (side.hand_offs != nullptr && !side.hand_offs->returned.empty()) {
    Token& token = side.hand_offs->returned.front();
    result.signal = std::move(token.signal);
    result.ready_time = token.ready_time;
    result.coalesced = token.coalesced;
    result.attempt = token.attempt;
    result.delivery = ++side.delivery;
    side.hand_offs->returned.erase(side.hand_offs->returned.begin());
    --env_.counters.returned;
    if (result.attempt > 1) ++env_.counters.redeliveries;
    return;
  }
  result.ready_time = side.ready_time;
  result.coalesced = side.coalesced;
  if (kind_ == Kind::kLatch) {
    result.signal = side.signal;
    result.delivery = side.delivery;
    return;
  }
  result.signal = std::move(side.signal);
  result.delivery = ++side.delivery;
  side.signal = nullptr;
  side.ready = false;
}

ShardSet PollDesc::CountedShards(Mode mode) const {
  ShardSet shards = 0;
  for (const Side s : kSides) {
    const SideState& side = this->side(s);
    if (!Includes(mode, s) || side.counted == 0) continue;
    const Place* place = side.first;
    for (uint32_t left = side.places; left > 0; --left, place = place->next) {
      if (place->target) shards |= static_cast<const PollWaiter::Target&>(*place).poll->shards;
    }
  }
  return shards;
}

bool PollDesc::Reset(Side s, bool* forgot) {
  SideState& side = at(s);
  if (side.deadline.state == Deadline::State::kExpired) return false;
  *forgot = *forgot || side.HasReady();
  ForgetReady(side);
  return true;
}

void PollDesc::ForgetReady(SideState& side) {
  side.ready = false;
  side.signal = nullptr;
  if (side.hand_offs == nullptr) return;
  env_.counters.returned -= side.hand_offs->returned.size();
  side.hand_offs->returned.clear();
}

void PollDesc::PutBack(Moment& m, Side s, Token token) {
  SideState& side = at(s);
  if (side.hand_offs == nullptr) side.hand_offs = std::make_unique<HandOffs>();
  std::vector<Token>& returned = side.hand_offs->returned;
  const auto before = std::find_if(returned.begin(), returned.end(), [&](const Token& other) {
    return other.delivery > token.delivery;
  });
  returned.insert(before, std::move(token));
  ++env_.counters.returned;
  Serve(m, s);
}

void PollDesc::AddUnacked(Side s, int by) {
  SideState& side = at(s);
  if (side.hand_offs == nullptr) side.hand_offs = std::make_unique<HandOffs>();
  side.hand_offs->unacked += static_cast<uint32_t>(by);
  env_.counters.unacked += static_cast<uint64_t>(static_cast<int64_t>(by));
}

void PollDesc::AddKept(Side s, int by) {
  SideState& side = at(s);
  if (side.hand_offs == nullptr) side.hand_offs = std::make_unique<HandOffs>();
  side.hand_offs->kept += static_cast<uint32_t>(by);
}

uint32_t PollDesc::Evict(Moment& m) {
  closing_ = true;
  SyncTimers();
  if (idle_ != nullptr) {
    env_.timers.Cancel(*idle_);
    idle_->Renew();  // as below
    idle_->ttl = kForever;
  }
  uint32_t woken = 0;
  for (const Side s : kSides) {
    if (s == Side::kWrite && write_ == nullptr) continue;
    Half& side = at(s);
    side.timer.Renew();  // one on its way here is of a former life
    ForgetReady(side);
    if (side.hand_offs != nullptr) env_.counters.unacked -= side.hand_offs->unacked;
    side.hand_offs.reset();
    woken += EndPlaces(m, s, SaturatingAdd(m.now.mono, Nanos(1)), CanExpire(side.deadline),
                       Outcome::kClosed, m.now.mono);
    side.deadline = {};
    side.delivery = 0;
  }
  options.reset();
  return woken;
}

bool PollDesc::ExpireWait(Moment& m, SingleWaiter& waiter) {
  if (!waiter.standing()) return false;
  if (!OwnBoundDue(waiter, at(waiter.side), m.now.mono)) return false;
  return EndPlace(m, waiter, Outcome::kTimedOut, waiter.bound, waiter.until());
}

bool PollDesc::Withdraw(Moment& m, SingleWaiter& waiter, Outcome outcome) {
  if (!waiter.standing()) return false;
  return EndPlace(m, waiter, outcome, TimeoutCause::kNone, m.now.mono);
}

// Ends what stands on a side but the waits that ignore the deadline, if that is what ends them:
// first, in the order of their instants, those whose own bound came before. `was_armed`: a deadline
// stood, so that max-wait bound only those that ignore it. Returns how many waits got `outcome`.
uint32_t PollDesc::EndPlaces(Moment& m, Side s, Instant own_before, bool was_armed, Outcome outcome,
                             Instant due) {
  SideState& side = at(s);
  std::vector<Place*> own;
  std::vector<Place*> rest;
  Place* place = side.first;
  for (uint32_t left = side.places; left > 0; --left, place = place->next) {
    const Waiter& waiter = place->waiter();
    if (BoundCounts(waiter, was_armed) && waiter.until() < own_before &&
        waiter.until() <= m.now.mono) {
      own.push_back(place);
    } else if (outcome == Outcome::kClosed || !waiter.ignore_deadline) {
      rest.push_back(place);
    }
  }
  std::stable_sort(own.begin(), own.end(),
                   [](Place* a, Place* b) { return a->waiter().until() < b->waiter().until(); });
  for (Place* ended : own) {
    if (ended->target) {
      Unlink(*ended);
    } else {
      const Waiter& waiter = ended->waiter();
      EndPlace(m, *ended, Outcome::kTimedOut, waiter.bound, waiter.until());
    }
  }
  const TimeoutCause cause =
      outcome == Outcome::kTimedOut ? TimeoutCause::kDeadline : TimeoutCause::kNone;
  uint32_t count = 0;
  for (Place* ended : rest) count += EndPlace(m, *ended, outcome, cause, due) ? 1 : 0;
  return count;
}

// True: this ended the whole wait.
bool PollDesc::EndPlace(Moment& m, Place& place, Outcome outcome, TimeoutCause cause, Instant due) {
  Unlink(place);
  if (!place.target) {
    auto& waiter = static_cast<SingleWaiter&>(place);
    const Claimed how = waiter.Claim();
    if (how == Claimed::kNo) return false;
    WaitResult& result = Finish(m, waiter, how, outcome);
    if (outcome == Outcome::kTimedOut) TimedOut(m, waiter, cause, due, result);
    return true;
  }
  auto& target = static_cast<PollWaiter::Target&>(place);
  PollWaiter& poll = *target.poll;
  const Claimed how = poll.Lose();
  if (how == Claimed::kNo) return false;
  target.lost = true;
  target.end.outcome = outcome;
  target.end.generation = generation_;
  target.end.parked = NotNegative(m.now.mono - poll.begin);
  if (outcome == Outcome::kTimedOut) TimedOut(m, poll, cause, due, target.end);
  if (how == Claimed::kSpared) return false;
  PollResult& result = Finish(m, poll, how, outcome);
  result.cause = target.end.cause;
  result.late = target.end.late;
  return true;
}

bool PollDesc::EndPoll(Moment& m, PollWaiter& poll, Outcome outcome, TimeoutCause cause) {
  const Claimed how = poll.Claim();
  if (how == Claimed::kNo) return false;
  PollResult& result = Finish(m, poll, how, outcome);
  if (outcome == Outcome::kTimedOut) TimedOut(m, poll, cause, poll.until(), result);
  return true;
}

void PollDesc::Gather(PollWaiter& poll) {
  auto* const result = std::get_if<PollResult>(&poll.call->result());
  if (result == nullptr) return;
  const bool by_target =
      result->outcome == Outcome::kClosed ||
      (result->outcome == Outcome::kTimedOut && result->cause == TimeoutCause::kDeadline);
  if (!by_target) return;
  for (uint32_t i = 0; i < poll.targets.size(); ++i) {
    if (poll.targets[i].lost) result->targets.push_back({i, poll.targets[i].end});
  }
}

bool PollDesc::OwnBoundDue(const Waiter& waiter, const SideState& side, Instant now) const {
  if (waiter.until() > now) return false;
  return BoundCounts(waiter, CanExpire(side.deadline));
}

// Who keeps others from this side; null on the kinds where any number may wait. Those whose time is
// over leave first.
const Waiter* PollDesc::Occupant(Moment& m, Side s) {
  if (kind_ != Kind::kExclusive) return nullptr;
  SideState& side = at(s);
  while (side.places > 0) {
    Place& place = *side.first;
    const Waiter& waiter = place.waiter();
    const bool due = OwnBoundDue(waiter, side, m.now.mono);
    if (!waiter.claimed() && !due) return &waiter;
    if (waiter.claimed() || waiter.poll) {
      Unlink(place);
    } else {
      EndPlace(m, place, Outcome::kTimedOut, waiter.bound, waiter.until());
    }
  }
  return nullptr;
}

void PollDesc::Link(Place& place) {
  SideState& side = at(place.side);
  if (side.first == nullptr) {
    place.prev = place.next = side.first = &place;
  } else {
    place.prev = side.first->prev;
    place.next = side.first;
    place.prev->next = &place;
    side.first->prev = &place;
  }
  ++side.places;
  if (IsCounted(place)) ++side.counted;
}

void PollDesc::Unlink(Place& place) {
  if (!place.standing()) return;
  SideState& side = at(place.side);
  if (place.next == &place) {
    side.first = nullptr;
  } else {
    place.prev->next = place.next;
    place.next->prev = place.prev;
    if (side.first == &place) side.first = place.next;
  }
  place.prev = place.next = nullptr;
  --side.places;
  if (IsCounted(place)) --side.counted;
}

}  // namespace waitd::core
