#include "core/release.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "core/step.h"

namespace waitd::core {

void Release::Begin(Step& step, bool all) {
  SideState& side = desc_.at(side_);
  ++desc_.env_.releases;
  all_ = all;
  upto_ = side.tickets;
  waits_ = std::exchange(side.waits, {});
  uint32_t waits = side.waiting;
  if (side.extra != nullptr) {
    polls_ = std::exchange(side.extra->polls, {});
    side.extra->poll_count = 0;
    side.extra->recount = side.extra->rebind = side.extra->scan = nullptr;
    side.extra->scanning = false;
    if (all_) {
      ignoring_ = std::exchange(side.extra->ignoring, {});
      side.extra->ignoring_count = 0;
    }
    waits -= side.extra->ignoring_count;
  }
  side.waiting -= waits;
  count_ = waits;
  step.Uncount(desc_.env_, side_, waits);
  if (waits <= step.units_left()) EndOwnBounds(step);
}

void Release::Hold() {
  if (!std::exchange(holds_, true)) desc_.env_.unsaved.Hold();
}

bool Release::OwnBoundFirst(const Waiter& waiter) const {
  const bool counts = waiter.bound == TimeoutCause::kWait || waiter.poll ||
                      waiter.ignore_deadline || !decision_.was_armed;
  return counts && waiter.until() < decision_.own_before && waiter.until() <= decided_;
}

// Those whose own bound came first leave first, in the order of their instants.
void Release::EndOwnBounds(Step& step) {
  std::vector<SingleWaiter*> own;
  for (PlaceList* list : {&waits_, &ignoring_}) {
    for (Place* place = list->first(); place != nullptr; place = list->Next(*place)) {
      if (OwnBoundFirst(place->waiter())) own.push_back(static_cast<SingleWaiter*>(place));
    }
  }
  std::stable_sort(own.begin(), own.end(), [](const SingleWaiter* a, const SingleWaiter* b) {
    return a->until() < b->until();
  });
  step.Charge(own.size());
  for (SingleWaiter* const waiter : own) End(step, *waiter);
}

PlaceList& Release::ListOf(const Place& place) {
  if (place.target) return polls_;
  return static_cast<const SingleWaiter&>(place).ignore_deadline ? ignoring_ : waits_;
}

// The first of all lists, in the order of arrival.
Place* Release::First() const {
  Place* first = nullptr;
  for (const PlaceList* list : {&waits_, &ignoring_, &polls_}) {
    Place* const place = list->first();
    if (place != nullptr && (first == nullptr || place->Before(*first))) first = place;
  }
  return first;
}

bool Release::Has(const Place& place) const {
  if (static_cast<int32_t>(upto_ - place.ticket) < 0) return false;
  return all_ || place.target || !static_cast<const SingleWaiter&>(place).ignore_deadline;
}

void Release::Remove(Place& place) { ListOf(place).Remove(place); }

void Release::End(Step& step, SingleWaiter& waiter) {
  Remove(waiter);
  WaitResult result = decision_.result;
  const bool own = OwnBoundFirst(waiter);
  if (own) {
    result = {.outcome = Outcome::kTimedOut,
              .cause = waiter.bound,
              .generation = result.generation,
              .side = side_};
  } else {
    ++woken_;
  }
  const Instant now = step.now().mono;
  result.parked = now - waiter.begin;
  if (result.outcome == Outcome::kTimedOut) {
    result.late = now - std::max(own ? waiter.until() : decision_.due, waiter.begin);
  }
  step.End(waiter, std::move(result), false);
}

ShardSet Release::Needs() const {
  const Place* const first = First();
  return first == nullptr || !first->target
             ? 0
             : static_cast<const PollWaiter::Target*>(first)->poll->shards;
}

bool Release::Run(Step& step) {
  while (Place* const place = First()) {
    if (!place->target) {
      if (!step.Spend(1)) return false;
      End(step, static_cast<SingleWaiter&>(*place));
    } else if (!EndPoll(step, static_cast<PollWaiter::Target&>(*place))) {
      return false;
    }
  }
  if (SideExtra* const extra = desc_.at(side_).extra.get()) std::erase(extra->releases, this);
  --desc_.env_.releases;
  if (holds_) desc_.env_.unsaved.LetGo();
  if (conclusion_ != nullptr) conclusion_->Ended(step, woken_);
  return true;
}

// A poll's turn. False: this hold is not the one, for want of locks or of time.
bool Release::EndPoll(Step& step, PollWaiter::Target& target) {
  PollWaiter& poll = *target.poll;
  if (!step.Spend(step.Holds(poll.shards) ? poll.targets().size() : 1)) return false;
  if (OwnBoundFirst(poll)) {
    Uncount(target);
    Remove(target);  // its timer ends it
    return true;
  }
  if (decision_.result.outcome == Outcome::kReady) return OpenFor(step, target);
  WaitResult end = decision_.result;
  end.parked = step.now().mono - poll.begin;
  if (end.outcome == Outcome::kTimedOut) {
    end.late = step.now().mono - std::max(decision_.due, poll.begin);
  }
  const uint32_t life = poll.life();
  Uncount(target);
  if (!PollDesc::LosePoll(step, target, end)) return false;
  if (poll.life() != life) ++woken_;
  return true;
}

// The latch has opened for a poll: it takes what it needs, or goes on standing there.
bool Release::OpenFor(Step& step, PollWaiter::Target& target) {
  PollWaiter& poll = *target.poll;
  Uncount(target);
  if (poll.missing() <= 1) {
    if (!step.Holds(poll.shards)) return false;
    const auto completed = PollDesc::CompletePoll(step, poll, &target, &decision_.result);
    if (completed == PollDesc::Completed::kTook) ++woken_;
    if (completed != PollDesc::Completed::kNot) return true;
  }
  // What has come on the name since then holds for those who go on waiting.
  const PollDesc::Check check = desc_.CheckErr(side_, false);
  if (check == PollDesc::Check::kClosed || check == PollDesc::Check::kExpired) {
    const bool closed = check == PollDesc::Check::kClosed;
    const Instant now = step.now().mono;
    const Instant due = desc_.side(side_).deadline.at;
    return PollDesc::LosePoll(step, target,
                              {.outcome = closed ? Outcome::kClosed : Outcome::kTimedOut,
                               .cause = closed ? TimeoutCause::kNone : TimeoutCause::kDeadline,
                               .generation = decision_.result.generation,
                               .parked = now - poll.begin,
                               .late = closed ? Nanos(0) : now - std::max(due, poll.begin)});
  }
  Remove(target);
  desc_.StandAgain(target);
  return true;
}

void Release::Uncount(PollWaiter::Target& target) {
  if (std::exchange(target.counted, false)) target.poll->UncountSignal();
}

}  // namespace waitd::core
