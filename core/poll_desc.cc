// The machine of one name: waits on its sides, signals, and its end.
#include "core/poll_desc.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/release.h"
#include "core/step.h"

namespace waitd::core {

const SideState PollDesc::kUntouched;

void PollDesc::Init(std::string_view name, Kind kind, uint64_t generation, const Now& now) {
  WAITD_CHECK(closing_ && read_.waiters() == 0 && side(Side::kWrite).waiters() == 0,
              "a slot is handed out that is in use");
  name_.Set(name);
  kind_ = kind;
  generation_ = generation;
  open_time_ = now.wall;
  closing_ = false;
  idle_since = now.mono;
}

Amount AmountOf(std::string_view name, const Labels& labels) {
  constexpr size_t kIndexes = 48;  // its entries in both, which are not full
  size_t bytes = sizeof(PollDesc) + kIndexes + name.size();
  for (const auto& [key, value] : labels) {
    bytes += sizeof(Labels::value_type) + key.size() + value.size();
  }
  return Amount::Whole(bytes);  // a poll is charged at once for those that it opens
}

Amount PollDesc::amount() const {
  static const Labels kNone;
  return AmountOf(name(), options == nullptr ? kNone : options->labels);
}

Half& PollDesc::Write() {
  if (write_ == nullptr) write_ = std::make_unique<Half>(TimerUse::kWriteSide, *this);
  return *write_;
}

SideExtra& PollDesc::extra(Side s) {
  SideState& side = at(s);
  if (side.extra == nullptr) side.extra = std::make_unique<SideExtra>();
  return *side.extra;
}

void PollDesc::ArmIdle(Nanos ttl, Instant since) {
  if (ttl == kForever) return;
  if (idle_ == nullptr) idle_ = std::make_unique<Idle>(*this);
  idle_->ttl = ttl;
  const Instant at = SaturatingAdd(since, ttl);
  if (at != kNever) env_.timers.Arm(*idle_, at);
}

std::vector<Place*> SideState::First(size_t count) const {
  std::vector<Place*> places;
  const auto add = [&](const PlaceList& list) {
    size_t left = count;
    for (Place* place = list.first(); place != nullptr && left > 0; --left) {
      places.push_back(place);
      place = list.Next(*place);
    }
  };
  add(waits);
  if (extra != nullptr) {
    add(extra->ignoring);
    add(extra->polls);
  }
  std::sort(places.begin(), places.end(),
            [](const Place* a, const Place* b) { return a->Before(*b); });
  if (places.size() > count) places.resize(count);
  return places;
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
    const Deliveries* const out = s.deliveries();
    return s.waiters() == 0 && !s.HasReady() && s.deadline.state == Deadline::State::kNone &&
           (out == nullptr || out->pending + out->kept == 0);
  });
}

bool PollDesc::busy() const {
  return std::any_of(kSides.begin(), kSides.end(), [this](Side each) {
    const auto& extra = side(each).extra;
    return extra != nullptr && (extra->recounting || extra->rebinding || !extra->releases.empty());
  });
}

void PollDesc::SettleArmed(Step& step) {
  if (closing_) return;
  const Instant now = step.now().mono;
  const auto due = [&](Side s) {
    return side(s).deadline.state == Deadline::State::kArmed && side(s).deadline.at <= now;
  };
  const bool read = due(Side::kRead);
  const bool write = due(Side::kWrite);
  if (!read && !write) return;
  const Instant read_at = side(Side::kRead).deadline.at;
  const Instant write_at = side(Side::kWrite).deadline.at;
  if (read && write && read_at != write_at) {
    const bool read_first = read_at < write_at;
    ExpireSides(step, read_first, !read_first);
    ExpireSides(step, !read_first, read_first);
  } else {
    ExpireSides(step, read, write);
  }
}

PollDesc::Blocked PollDesc::Block(Step& step, SingleWaiter& waiter, bool park, WaitResult* result,
                                  const Waiter** holder) {
  const Side s = waiter.side;
  SideState& side = at(s);
  result->generation = generation_;
  result->side = s;
  const Check check = CheckErr(s, waiter.ignore_deadline);
  const auto timed_out = [&](TimeoutCause cause, Instant due) {
    result->outcome = Outcome::kTimedOut;
    result->cause = cause;
    result->late = step.now().mono - std::min(step.now().mono, std::max(due, waiter.begin));
    return Blocked::kEnded;
  };
  switch (check) {
    case Check::kReady:
      result->outcome = Outcome::kReady;
      TakeReady(step, s, *result);
      Recount(step, s);
      return Blocked::kEnded;
    case Check::kClosed:
      result->outcome = Outcome::kClosed;
      return Blocked::kEnded;
    case Check::kExpired:
      return timed_out(TimeoutCause::kDeadline, side.deadline.at);
    case Check::kPark:
      break;
  }
  if (!park) return timed_out(waiter.bound, waiter.until());
  *holder = Occupant(step, s);
  if (*holder != nullptr) return Blocked::kDoubleWait;
  Link(waiter);
  return Blocked::kParked;
}

// Who gets a signal of this side: the first in line that can take it, or null. A poll can when it
// lacks no other. Waits whose own bound is over end, and polls leave that to their timers. False:
// this hold has done enough; the next one goes on from there.
bool PollDesc::FindTaker(Step& step, Side s, Place** taker) {
  SideState& side = at(s);
  const Instant now = step.now().mono;
  if (side.NeedsNoMore(now)) {
    *taker = side.waits.first();
    return true;
  }
  *taker = nullptr;
  for (PlaceList* const list : {&side.waits, side.extra ? &side.extra->ignoring : nullptr}) {
    if (list == nullptr) continue;
    while (Place* const place = list->first()) {
      if (!OwnBoundDue(place->waiter(), now)) {
        if (*taker == nullptr || place->Before(**taker)) *taker = place;
        break;
      }
      if (step.units_left() == 0) return false;
      step.Charge(1);
      TimeOut(step, static_cast<SingleWaiter&>(*place));
    }
  }
  if (side.polls() == 0) return true;
  SideExtra& polls = *side.extra;
  if (!std::exchange(polls.scanning, true)) polls.scan = polls.polls.first();
  for (bool first = true; Place* const place = polls.scan; first = false) {
    if (*taker != nullptr && (*taker)->Before(*place)) return true;
    if (!first && step.units_left() == 0) return false;
    step.Charge(1);
    const PollWaiter& poll = *static_cast<PollWaiter::Target*>(place)->poll;
    if (poll.until() > now && !place->counted && poll.missing() <= 1) {
      *taker = place;
      return true;
    }
    polls.scan = polls.polls.Next(*place);
  }
  return true;
}

bool PollDesc::NeededFor(Step& step, Mode mode, bool all, bool anew, ShardSet* needed) {
  for (const Side s : kSides) {
    if (!Includes(mode, s) || side(s).waiters() == 0) continue;
    if (anew && side(s).extra != nullptr) side(s).extra->scanning = false;
    if (all || kind_ == Kind::kLatch || mode == Mode::kReadWrite) {
      if (side(s).polls() == 0) continue;
      const PlaceList& polls = at(s).extra->polls;
      for (Place* place = polls.first(); place != nullptr; place = polls.Next(*place)) {
        if (!step.Spend(1)) break;
        *needed |= static_cast<PollWaiter::Target*>(place)->poll->shards;
      }
      continue;
    }
    for (;;) {
      Place* taker = nullptr;
      if (!FindTaker(step, s, &taker)) return false;
      if (taker == nullptr || !taker->target) break;
      PollWaiter& poll = *static_cast<PollWaiter::Target*>(taker)->poll;
      *needed |= poll.shards;
      if (!step.Holds(poll.shards)) break;
      // What is due on its other targets happens first: then it may be somebody else's signal.
      if (CompletePoll(step, poll) == Completed::kNot && poll.missing() <= 1) break;
      if (step.units_left() == 0) return false;
    }
  }
  return true;
}

Unblocked PollDesc::Unblock(Step& step, Side s, const Payload& signal, ReadyCondition condition) {
  SideState& side = at(s);
  Unblocked unblocked;
  unblocked.expired = side.deadline.state == Deadline::State::kExpired;
  if (condition == ReadyCondition::kNotExpired && unblocked.expired) return unblocked;
  const bool only_waiting = condition == ReadyCondition::kWaiting;
  // Whoever stands beside a signal lacks others, and one more here does not help.
  if (only_waiting && (side.HasReady() || side.waiters() == 0)) return unblocked;
  Touch();
  const bool coalesces = side.ready;
  side.coalesced = coalesces ? side.coalesced + 1 : 0;
  side.signal = signal;
  side.ready_time = step.now().wall;
  if (coalesces) {
    unblocked.effect = ReadyEffect::kCoalesced;
    return unblocked;
  }
  side.ready = true;
  const size_t others = step.unfinished.size();
  if (kind_ == Kind::kLatch) {
    ++side.delivery;
    const Instant own_before = SaturatingAdd(step.now().mono, Nanos(1));
    unblocked.woken = ReleaseAll(step, s, Outcome::kReady, own_before, CanExpire(side.deadline));
  } else {
    Serve(step, s, &unblocked.woken);
  }
  const bool woke = unblocked.woken > 0 || step.unfinished.size() > others;
  if (woke) {
    unblocked.effect = ReadyEffect::kWoke;
  } else if (!only_waiting) {
    unblocked.effect = ReadyEffect::kRemembered;
  }
  if (only_waiting) {
    Touch();  // the latch is closed again, and does not tell the rest of the release what opened it
    if (kind_ == Kind::kLatch && !woke) --side.delivery;
    side.ready = false;
    side.signal = nullptr;
  }
  Recount(step, s);
  return unblocked;
}

// Hands a signal of this side to whoever gets it, if anybody does. What NeededFor did not foresee
// is left to the count: then the signal stands.
void PollDesc::Serve(Step& step, Side s, uint32_t* woken) {
  for (bool served = false; !served;) {
    Place* taker = nullptr;
    if (!FindTaker(step, s, &taker)) return RecountLater(s, true);
    if (taker == nullptr) break;
    if (!taker->target) {
      auto& waiter = static_cast<SingleWaiter&>(*taker);
      Unlink(waiter);
      Result<WaitResult> result;
      auto& taken = std::get<WaitResult>(result);
      taken.generation = generation_;
      taken.parked = step.now().mono - waiter.begin;
      TakeReady(step, s, taken);
      step.End(waiter, std::move(result));
      served = true;
    } else {
      PollWaiter& poll = *static_cast<PollWaiter::Target*>(taker)->poll;
      if (!step.Holds(poll.shards)) return RecountLater(s, true);
      // When it cannot take it after all, it is counted, and somebody else gets it; so is it when
      // it took others that were there for it.
      const uint64_t handed_out = side(s).delivery;
      served = CompletePoll(step, poll) == Completed::kTook && side(s).delivery != handed_out;
    }
    if (served) ++*woken;
  }
  if (side(s).extra != nullptr) side(s).extra->scanning = false;
}

void PollDesc::TakeReady(Step& step, Side s, WaitResult& result) {
  SideState& side = at(s);
  result.desc = this;
  result.side = s;
  NoteUse(SaturatingAdd(step.now().mono, env_.unwritten_for));
  const Deliveries* const out = side.deliveries();
  if (out != nullptr && !out->returned.empty()) {
    Touch();
    Delivery& first = *out->returned.begin()->second;
    result.signal = first.signal;
    result.ready_time = first.ready_time;
    result.coalesced = first.coalesced;
    result.attempt = first.attempt + (first.acknowledgeable ? 1 : 0);
    result.delivery = ++side.delivery;
    if (first.acknowledgeable) ++env_.counters.redeliveries;
    Retire(step, first, Delivery::State::kStale);
    return;
  }
  result.ready_time = side.ready_time;
  result.coalesced = side.coalesced;
  if (kind_ == Kind::kLatch) {
    result.signal = side.signal;
    result.delivery = side.delivery;
    return;
  }
  Touch();
  result.signal = std::move(side.signal);
  result.delivery = ++side.delivery;
  side.ready = false;
}

bool PollDesc::Reset(Step& step, Side s, bool* forgot) {
  const SideState& before = side(s);
  if (before.deadline.state == Deadline::State::kExpired) return false;
  if (before.delivery > 0 && kind_ != Kind::kLatch) {
    SideExtra& marked = extra(s);
    if (marked.reset_through != before.delivery) {
      Touch();
      marked.reset_through = before.delivery;
    }
  }
  if (before.HasReady()) {
    *forgot = true;
    ForgetReady(step, s);
    Recount(step, s);
  }
  return true;
}

void PollDesc::ForgetReady(Step& step, Side s) {
  SideState& side = at(s);
  Touch();
  side.ready = false;
  side.signal = nullptr;
  if (side.HasReturned()) ForgetReturned(step, s);
}

bool PollDesc::OwnBoundDue(const Waiter& waiter, Instant now) const {
  if (waiter.until() > now) return false;
  // Max-wait bounds a single wait only where no deadline can end it.
  if (waiter.bound == TimeoutCause::kWait || waiter.poll || waiter.ignore_deadline) return true;
  const auto& single = static_cast<const SingleWaiter&>(waiter);
  return !CanExpire(side(single.side).deadline);
}

void PollDesc::TimeOut(Step& step, SingleWaiter& waiter) {
  EndWait(step, waiter,
          WaitResult{.outcome = Outcome::kTimedOut,
                     .cause = waiter.bound,
                     .late = step.now().mono - std::max(waiter.until(), waiter.begin)});
}

const Waiter* PollDesc::Occupant(Step& step, Side s) {
  if (kind_ != Kind::kExclusive) return nullptr;
  const SideState& side = this->side(s);
  while (side.waiters() > 0) {
    Place* place = side.waits.first();
    if (place == nullptr) place = side.extra->ignoring.first();
    if (place == nullptr) place = side.extra->polls.first();
    const Waiter& waiter = place->waiter();
    if (!OwnBoundDue(waiter, step.now().mono)) return &waiter;
    if (place->target) {
      Unlink(*place);  // its timer ends it
    } else {
      TimeOut(step, static_cast<SingleWaiter&>(*place));
    }
  }
  return nullptr;
}

bool PollDesc::StillWaits(Step& step, SingleWaiter& waiter) {
  if (Release* const release = ReleaseOf(waiter)) {
    release->End(step, waiter);
    return false;
  }
  const uint32_t life = waiter.life();
  Settle(step);
  if (waiter.life() != life) return false;
  if (Release* const release = ReleaseOf(waiter)) {
    release->End(step, waiter);
    return false;
  }
  if (!OwnBoundDue(waiter, step.now().mono)) return true;
  TimeOut(step, waiter);
  return false;
}

void PollDesc::EndWait(Step& step, SingleWaiter& waiter, Result<WaitResult> result) {
  Unlink(waiter);
  if (auto* const ended = std::get_if<WaitResult>(&result)) {
    ended->generation = generation_;
    ended->side = waiter.side;
    ended->parked = step.now().mono - waiter.begin;
  }
  step.End(waiter, std::move(result));
}

PlaceList& PollDesc::ListOf(const Place& place) {
  SideState& side = at(place.side);
  if (place.target) return extra(place.side).polls;
  const auto& waiter = static_cast<const SingleWaiter&>(place);
  return waiter.ignore_deadline ? extra(place.side).ignoring : side.waits;
}

void PollDesc::Link(Place& place) {
  SideState& side = at(place.side);
  place.ticket = ++side.tickets;
  ListOf(place).Append(place);
  if (place.target) {
    ++side.extra->poll_count;
    if (side.extra->scanning && side.extra->scan == nullptr) side.extra->scan = &place;
    return;
  }
  ++side.waiting;
  if (static_cast<SingleWaiter&>(place).ignore_deadline) ++side.extra->ignoring_count;
}

void PollDesc::Unlink(Place& place) {
  if (!place.standing()) return;
  if (Release* const release = ReleaseOf(place)) return release->Remove(place);
  SideState& side = at(place.side);
  PlaceList& list = ListOf(place);
  if (!place.target) {
    --side.waiting;
    if (side.extra != nullptr && side.extra->rebind == &place)
      side.extra->rebind = list.Next(place);
    if (static_cast<SingleWaiter&>(place).ignore_deadline) --side.extra->ignoring_count;
  } else {
    SideExtra& polls = *side.extra;
    --polls.poll_count;
    if (polls.recount == &place) polls.recount = list.Next(place);
    if (polls.scan == &place) polls.scan = list.Next(place);
    if (std::exchange(place.counted, false)) {
      static_cast<PollWaiter::Target&>(place).poll->UncountSignal();
    }
  }
  list.Remove(place);
}

uint32_t PollDesc::Evict(Step& step) {
  Touch();
  uint32_t woken = 0;
  const std::array<bool, 2> was_armed = {CanExpire(side(Side::kRead).deadline),
                                         CanExpire(side(Side::kWrite).deadline)};
  closing_ = true;
  SyncTimers();
  if (idle_ != nullptr) {
    env_.timers.Cancel(*idle_);
    idle_->Renew();  // as below
    idle_->ttl = kForever;
  }
  for (const Side s : kSides) {
    if (s == Side::kWrite && write_ == nullptr) continue;
    Half& side = at(s);
    side.timer.Renew();  // one on its way here is of a former life
    side.ready = false;
    side.signal = nullptr;
    Dispose(step, s);
    woken += ReleaseAll(step, s, Outcome::kClosed, SaturatingAdd(step.now().mono, Nanos(1)),
                        was_armed[Index(s)]);
    side.deadline = {};
    side.delivery = 0;
    if (side.extra != nullptr) side.extra->reset_through = 0;
  }
  Touch();  // the close is saved with the last of their outcomes
  return woken;
}

uint32_t PollDesc::ReleaseAll(Step& step, Side s, Outcome outcome, Instant own_before,
                              bool was_armed) {
  SideState& side = at(s);
  if (side.waiters() == 0) return 0;
  Release::Decision decision;
  decision.result.outcome = outcome;
  decision.result.generation = generation_;
  decision.result.side = s;
  decision.own_before = own_before;
  decision.was_armed = was_armed;
  if (outcome == Outcome::kReady) {
    TakeReady(step, s, decision.result);
  } else if (outcome == Outcome::kTimedOut) {
    decision.result.cause = TimeoutCause::kDeadline;
    decision.due = side.deadline.at;
  }
  const bool all = outcome != Outcome::kTimedOut;
  if (side.polls() == 0 && side.waiting <= step.units_left()) {
    Release release(*this, s, decision, step.now().mono);
    release.Begin(step, all);
    WAITD_CHECK(release.Run(step), "a short release is not done");
    return release.woken();
  }
  std::unique_ptr<Release> release = std::make_unique<Release>(*this, s, decision, step.now().mono);
  extra(s).releases.push_back(release.get());
  release->Begin(step, all);
  if (release->Run(step)) return release->woken();
  step.unfinished.push_back(release.get());
  env_.work.Push(std::move(release));
  return 0;
}

Release* PollDesc::FindRelease(const Place& place) const {
  const auto& extra = side(place.side).extra;
  if (extra == nullptr) return nullptr;
  const auto found = std::find_if(extra->releases.begin(), extra->releases.end(),
                                  [&](const Release* each) { return each->Has(place); });
  return found == extra->releases.end() ? nullptr : *found;
}

}  // namespace waitd::core
