// The deadlines of a descriptor: setting them, their timers, and what happens when they fire.
#include <array>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/step.h"

namespace waitd::core {

/// After a clear max-wait alone bounds waits: the timers that were set aside are armed again.
class PollDesc::RebindWork final : public Work {
 public:
  RebindWork(PollDesc& desc, Side side) : desc_(desc), side_(side) {}

  PollDesc* desc() const override { return &desc_; }

  bool Run(Step& step) override {
    SideState& side = desc_.at(side_);
    while (Place* const place = side.extra->rebind) {
      if (!step.Spend(1)) return false;
      side.extra->rebind = side.waits.Next(*place);
      Waiter& waiter = place->waiter();
      const Instant from = side.extra->rebind_from;
      if (!waiter.armed() && waiter.until() <= from) desc_.env_.timers.Arm(waiter, from);
    }
    side.extra->rebinding = false;
    return true;
  }

 private:
  PollDesc& desc_;
  const Side side_;
};

void PollDesc::RebindMaxWaits(Side s, Instant now) {
  SideState& side = at(s);
  if (side.extra == nullptr || !std::exchange(side.extra->max_waits_aside, false)) return;
  side.extra->rebind = side.waits.first();
  side.extra->rebind_from = now;
  if (std::exchange(side.extra->rebinding, true)) return;
  env_.work.Push(std::make_unique<RebindWork>(*this, s));
}

// The state first, then the timers, then those who wait: whoever looks in between finds the side
// expired.
void PollDesc::ExpireSides(Step& step, bool read, bool write) {
  Touch(/*waited=*/false);
  const std::pair<Side, bool> both[] = {{Side::kRead, read}, {Side::kWrite, write}};
  for (const auto& [s, expires] : both) {
    if (expires) at(s).deadline.state = Deadline::State::kExpired;
  }
  SyncTimers();
  const size_t others = step.unfinished.size();
  for (const auto& [s, expires] : both) {
    // An open latch is open: what stands there are polls that lack others, and they keep it.
    if (!expires || (kind_ == Kind::kLatch && side(s).ready)) continue;
    ReleaseAll(step, s, Outcome::kTimedOut, side(s).deadline.at, true);
  }
  step.unfinished.resize(others);  // nobody's answer waits for time's own releases
}

void PollDesc::SetDeadline(Step& step, Mode mode, const NewDeadline& asked,
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
    const DeadlineEffect effect = JudgeDeadline(deadline, to, condition);
    result.effect[Index(s)] = effect;
    if (effect == DeadlineEffect::kRefused) continue;
    result.applied = true;
    if (effect == DeadlineEffect::kUnchanged) continue;
    Touch();
    expires[Index(s)] = effect == DeadlineEffect::kExpired;
    was_armed[Index(s)] = CanExpire(deadline);
    deadline = to;
  }
  SyncTimers();
  for (const Side s : kSides) {
    const SideState& side = this->side(s);
    result.deadline[Index(s)] = side.deadline;
    if (!Includes(mode, s)) continue;
    // An open latch is open: what stands there are polls that lack others, and they keep it.
    if (expires[Index(s)] && !(kind_ == Kind::kLatch && side.ready)) {
      result.woken +=
          ReleaseAll(step, s, Outcome::kTimedOut, side.deadline.at, was_armed[Index(s)]);
    }
    if (was_armed[Index(s)] && !CanExpire(side.deadline)) RebindMaxWaits(s, step.now().mono);
    Recount(step, s);
  }
}

DeadlineEffect JudgeDeadline(const Deadline& from, const Deadline& to,
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

void PollDesc::DeadlineImpl(Step& step, uint32_t sequence, Mode sides) {
  const bool read = Includes(sides, Side::kRead);
  const bool write = Includes(sides, Side::kWrite);
  const Side s = read ? Side::kRead : Side::kWrite;
  if (sequence != this->sequence(s)) {
    ++env_.counters.stale_timers;
    return;
  }
  WAITD_CHECK(!read || CanExpire(side(Side::kRead).deadline), "a read timer without a deadline");
  WAITD_CHECK(!write || CanExpire(side(Side::kWrite).deadline), "a write timer without a deadline");
  if (side(s).deadline.at > step.now().mono) {
    SyncTimers();  // the deadline was extended: now the timer follows
    return;
  }
  Settle(step);
}

}  // namespace waitd::core
