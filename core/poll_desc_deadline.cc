// The deadlines of a descriptor: setting them, their timers, and what happens when they fire.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"

namespace waitd::core {
// The state first, then the timers, then those who wait: whoever looks in between finds the side
// expired.
void PollDesc::ExpireSides(Moment& m, bool read, bool write) {
  const std::pair<Side, bool> both[] = {{Side::kRead, read}, {Side::kWrite, write}};
  for (const auto& [s, expires] : both) {
    if (expires) at(s).deadline.state = Deadline::State::kExpired;
  }
  SyncTimers();
  for (const auto& [s, expires] : both) {
    if (!expires) continue;
    const SideState& side = at(s);
    // An open latch is open: what stands there are polls that lack others, and they keep it.
    if (kind_ == Kind::kLatch && side.ready) continue;
    EndPlaces(m, s, side.deadline.at, true, Outcome::kTimedOut, side.deadline.at);
  }
}

void PollDesc::SetDeadline(Moment& m, Mode mode, const NewDeadline& asked,
                           DeadlineCondition condition, SetDeadlineResult& result) {
  std::array<bool, 2> expires{};
  std::array<bool, 2> was_armed{};
  for (const Side s : kSides) {
    if (!Includes(mode, s)) continue;
    Deadline& deadline = at(s).deadline;
    Deadline to = asked;
    // The same wall time is the same deadline, though the clocks are read anew for each message.
    if (asked.absolute && CanExpire(to) && CanExpire(deadline) && deadline.wall == to.wall) {
      to.at = deadline.at;
    }
    const DeadlineEffect effect = Judge(deadline, to, condition);
    result.effect[Index(s)] = effect;
    if (effect == DeadlineEffect::kRefused) continue;
    result.applied = true;
    if (effect == DeadlineEffect::kUnchanged) continue;
    expires[Index(s)] = effect == DeadlineEffect::kExpired;
    was_armed[Index(s)] = CanExpire(deadline);
    if (!was_armed[Index(s)] && CanExpire(to)) EndMaxWaits(m, s);
    deadline = to;
  }
  SyncTimers();
  for (const Side s : kSides) {
    const SideState& side = this->side(s);
    // An open latch is open: what stands there are polls that lack others, and they keep it.
    if (expires[Index(s)] && !(kind_ == Kind::kLatch && side.ready)) {
      result.woken += EndPlaces(m, s, side.deadline.at, was_armed[Index(s)], Outcome::kTimedOut,
                                side.deadline.at);
    }
    if (was_armed[Index(s)] && !CanExpire(side.deadline)) BindMaxWaits(m, s);
    result.deadline[Index(s)] = side.deadline;
  }
}

DeadlineEffect PollDesc::Judge(const Deadline& from, const Deadline& to,
                               DeadlineCondition condition) {
  using State = Deadline::State;
  const bool same = from.state == to.state && (to.state != State::kArmed || from.at == to.at);
  const bool revives = from.state == State::kExpired && to.state != State::kExpired;
  // No deadline is the latest of all, an expired one the earliest.
  const bool later =
      revives || (from.state == State::kArmed &&
                  (to.state == State::kNone || (to.state == State::kArmed && to.at > from.at)));
  switch (condition) {
    case DeadlineCondition::kAlways:
      break;
    case DeadlineCondition::kOnlyLater:
      if (!same && (revives || !later)) return DeadlineEffect::kRefused;
      break;
    case DeadlineCondition::kOnlyEarlier:
      if (to.state == State::kNone || (!same && later)) return DeadlineEffect::kRefused;
      break;
    case DeadlineCondition::kArmOrExtend:
      if (from.state == State::kExpired || to.state != State::kArmed) {
        return DeadlineEffect::kRefused;
      }
      if (from.state == State::kArmed && !same && !later) return DeadlineEffect::kRefused;
      break;
  }
  if (same) return DeadlineEffect::kUnchanged;
  if (to.state == State::kNone) return DeadlineEffect::kCleared;
  if (to.state == State::kExpired) return DeadlineEffect::kExpired;
  if (from.state != State::kArmed) return DeadlineEffect::kArmed;
  return later ? DeadlineEffect::kExtended : DeadlineEffect::kShortened;
}

// Those whose max-wait is over end by it, before a deadline binds them instead.
void PollDesc::EndMaxWaits(Moment& m, Side s) {
  Place* next = at(s).first;
  for (uint32_t left = at(s).places; left > 0; --left) {
    Place& place = *std::exchange(next, next->next);
    if (!place.target) ExpireWait(m, static_cast<SingleWaiter&>(place));
  }
}

// A wait that only max-wait bounds was bound by the deadline instead. Now that there is none, its
// bound counts again, from now on if it has passed meanwhile.
void PollDesc::BindMaxWaits(Moment& m, Side s) {
  Place* place = at(s).first;
  for (uint32_t left = at(s).places; left > 0; --left, place = place->next) {
    Waiter& waiter = place->waiter();
    if (waiter.poll || waiter.ignore_deadline || waiter.bound != TimeoutCause::kMaxWait) continue;
    if (waiter.until() == kNever) continue;
    if (waiter.armed() && waiter.until() >= m.now.mono) continue;
    // Armed before now, it may be taken by who read the clock before, and would not be due then.
    env_.timers.Cancel(waiter);
    env_.timers.Arm(waiter, std::max(waiter.until(), m.now.mono));
  }
}

// Brings the timers in line with the deadlines. A timer keeps its number while it serves the same
// sides; a later instant leaves it where it is, to be moved when it fires; an earlier one moves it
// at once.
void PollDesc::SyncTimers() {
  const Deadline& write = side(Side::kWrite).deadline;
  const bool r = !closing_ && CanExpire(read_.deadline);
  const bool w = !closing_ && CanExpire(write);
  const bool shared = r && w && read_.deadline.at == write.at;
  const auto sync = [this](Half& side, Mode mode, bool armed) {
    const auto serves = armed ? static_cast<uint8_t>(mode) : uint8_t{0};
    if (side.serves != serves) {
      side.serves = serves;
      side.timer.Renew();
      env_.timers.Cancel(side.timer);
    }
    if (!armed || (side.timer.armed() && side.timer.when() <= side.deadline.at)) return;
    env_.timers.Cancel(side.timer);
    env_.timers.Arm(side.timer, side.deadline.at);
  };
  sync(read_, shared ? Mode::kReadWrite : Mode::kRead, r);
  if (write_ != nullptr) sync(*write_, Mode::kWrite, w && !shared);
}

uint32_t PollDesc::sequence(Side s) const {
  if (s == Side::kRead) return read_.timer.sequence();
  return write_ == nullptr ? 0 : write_->timer.sequence();
}

bool PollDesc::DeadlineImpl(Moment& m, uint32_t sequence, bool read, bool write) {
  const Side s = read ? Side::kRead : Side::kWrite;
  if (sequence != this->sequence(s)) {
    ++env_.counters.stale_timers;
    return false;
  }
  WAITD_CHECK(!read || CanExpire(side(Side::kRead).deadline), "a read timer without a deadline");
  WAITD_CHECK(!write || CanExpire(side(Side::kWrite).deadline), "a write timer without a deadline");
  if (side(s).deadline.at > m.now.mono) {
    SyncTimers();  // the deadline was extended: now the timer follows
    return false;
  }
  return Settle(m);
}

}  // namespace waitd::core
