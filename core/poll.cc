// Polls: waits that stand on several sides, perhaps in several shards.
#include <algorithm>
#include <memory>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/release.h"
#include "core/step.h"

namespace waitd::core {
namespace {

using Target = PollWaiter::Target;

// The target ends before its poll does, or ends it. It delivers nothing.
void Lose(Target& target, const WaitResult& end) {
  target.lost = true;
  if (std::exchange(target.reserved, false)) {
    target.desc->EndReservation(target.side, target.poll->record->account);
  }
  target.outcome = end.outcome;
  target.cause = end.cause;
  target.generation = end.generation;
  target.parked = end.parked;
  target.late = end.late;
}

// What a poll is told that lost too many targets: those.
PollResult LostBy(const PollWaiter& poll, const WaitResult& last) {
  PollResult result{
      .outcome = last.outcome, .cause = last.cause, .parked = last.parked, .late = last.late};
  for (const Target& target : poll.targets()) {
    if (!target.lost) continue;
    result.targets.emplace_back(poll.index(target), WaitResult{.outcome = target.outcome,
                                                               .cause = target.cause,
                                                               .generation = target.generation,
                                                               .parked = target.parked,
                                                               .late = target.late});
  }
  return result;
}

}  // namespace

/// Hands out and counts what is left of a side's signal.
class PollDesc::RecountWork final : public Work {
 public:
  RecountWork(PollDesc& desc, Side side) : desc_(desc), side_(side) {}

  PollDesc* desc() const override { return &desc_; }

  ShardSet Needs() const override {
    const Place* const place = desc_.extra(side_).recount;
    return place == nullptr ? 0 : static_cast<const Target*>(place)->poll->shards;
  }

  bool Run(Step& step) override {
    SideExtra& counts = desc_.extra(side_);
    if (!desc_.closing()) {
      uint32_t woken = 0;
      if (std::exchange(counts.serve, false) && desc_.side(side_).HasReady()) {
        desc_.Serve(step, side_, &woken);
        counts.serve |= woken > 0;  // there may be more signals than one
      }
      if (!desc_.Recount(step, side_) || counts.serve) return false;
    }
    counts.recounting = false;
    return true;
  }

 private:
  PollDesc& desc_;
  const Side side_;
};

void PollDesc::RecountLater(Side s, bool serve) {
  SideExtra& counts = extra(s);
  counts.serve = counts.serve || serve;
  if (std::exchange(counts.recounting, true)) return;
  env_.work.Push(std::make_unique<RecountWork>(*this, s));
}

// A poll goes on standing on a latch whose release had it.
void PollDesc::StandAgain(Target& target) {
  Link(target);
  SideExtra& counts = extra(target.side);
  if (counts.poll_count == 1) counts.open = CheckErr(target.side, false) == Check::kReady;
  if (!counts.open) return;
  target.counted = target.poll->CountSignal();
  if (!target.counted) RecountLater(target.side);
}

// Whether a poll can take the signal of this target. Under its lock.
bool PollDesc::OpenTo(const Target& target) const {
  return target.standing() && CheckErr(target.side, false) == Check::kReady &&
         ReleaseOf(target) == nullptr;
}

PollDesc::Blocked PollDesc::BlockAll(Step& step, PollWaiter& poll, bool park, PollResult* result) {
  const auto targets = static_cast<uint32_t>(poll.targets().size());
  const Instant now = step.now().mono;
  uint32_t ready = 0;
  uint32_t lost = 0;
  for (Target& target : poll.targets()) {
    const Check check = target.desc->CheckErr(target.side, false);
    target.counted = check == Check::kReady;
    if (target.counted) ++ready;
    if (check != Check::kExpired || lost > targets - poll.need) continue;
    const Instant due = target.desc->side(target.side).deadline.at;
    const WaitResult end{.outcome = Outcome::kTimedOut,
                         .cause = TimeoutCause::kDeadline,
                         .generation = target.desc->generation_,
                         .late = now - std::max(due, poll.begin)};
    Lose(target, end);
    if (++lost <= targets - poll.need) continue;
    *result = LostBy(poll, end);
  }
  if (lost > targets - poll.need) return Blocked::kEnded;
  if (ready >= poll.need) {
    TakeAll(step, poll, nullptr, nullptr, result);
    RecountTargets(step, poll);
    return Blocked::kEnded;
  }
  if (!park) {
    *result = {.outcome = Outcome::kTimedOut,
               .cause = poll.bound,
               .late = now - std::min(now, std::max(poll.until(), poll.begin))};
    return Blocked::kEnded;
  }
  poll.SetCounts(poll.need - ready, targets - poll.need - lost);
  for (Target& target : poll.targets()) {
    if (target.lost) continue;
    target.desc->Link(target);
    SideExtra& counts = target.desc->extra(target.side);
    if (counts.poll_count == 1) counts.open = target.counted;
  }
  return Blocked::kParked;
}

// Signals of these targets may have been taken, which other polls count.
void PollDesc::RecountTargets(Step& step, const PollWaiter& poll) {
  for (const Target& target : poll.targets()) {
    if (target.counted) target.desc->Recount(step, target.side);
  }
}

// Takes as many signals as the poll needs, in the order of its targets. Those of `from` come `with`
// a release, which has opened it.
void PollDesc::TakeAll(Step& step, PollWaiter& poll, const Place* from, const WaitResult* with,
                       PollResult* result) {
  result->outcome = Outcome::kReady;
  for (Target& target : poll.targets()) {
    if (result->targets.size() == poll.need) break;
    WaitResult taken;
    if (&target == from) {
      taken = *with;
    } else if (target.counted) {
      taken.generation = target.desc->generation_;
      target.desc->TakeReady(step, target.side, taken);
    } else {
      continue;
    }
    taken.parked = result->parked;
    result->targets.emplace_back(poll.index(target), taken);
  }
}

bool PollDesc::SettleTargets(Step& step, PollWaiter& poll) {
  const uint32_t life = poll.life();
  const Instant now = step.now().mono;
  std::vector<std::pair<Instant, PollDesc*>> due;
  for (const Target& target : poll.targets()) {
    const Deadline& deadline = target.desc->side(target.side).deadline;
    if (CanExpire(deadline) && deadline.at <= now) due.emplace_back(deadline.at, target.desc);
  }
  std::sort(due.begin(), due.end());
  for (const auto& [at, desc] : due) {
    desc->Settle(step);
    if (poll.life() != life) return false;
  }
  return true;
}

PollDesc::Completed PollDesc::CompletePoll(Step& step, PollWaiter& poll, const Place* from,
                                           const WaitResult* with) {
  step.Charge(poll.targets().size());
  if (!SettleTargets(step, poll)) return Completed::kOver;
  const uint32_t opened = from == nullptr ? 0 : 1;
  uint32_t ready = opened;
  for (Target& target : poll.targets()) {
    target.counted = target.desc->OpenTo(target);
    if (target.counted) ++ready;
  }
  if (ready < poll.need) {
    poll.SetCounts(poll.need + opened - ready, poll.spare());
    return Completed::kNot;
  }
  PollResult result{.parked = step.now().mono - poll.begin};
  TakeAll(step, poll, from, with, &result);
  std::vector<std::pair<PollDesc*, Side>> taken;
  for (const Target& target : poll.targets()) {
    if (target.counted) taken.emplace_back(target.desc, target.side);
  }
  EndPoll(step, poll, std::move(result));
  for (const auto& [desc, side] : taken) desc->Recount(step, side);
  return Completed::kTook;
}

void PollDesc::EndPoll(Step& step, PollWaiter& poll, Result<PollResult> result) {
  WAITD_CHECK(step.Holds(poll.shards), "a poll ends without its locks");
  for (Target& target : poll.targets()) {
    if (!target.standing()) continue;  // the slot of a lost one may be another name's
    target.desc->Unlink(target);
    target.desc->NoteUse(step.now().mono);
  }
  step.End(poll, std::move(result));
}

// A target times out or is closed. False: that ends the poll, whose locks are not held.
bool PollDesc::LosePoll(Step& step, Target& target, const WaitResult& end) {
  PollWaiter& poll = *target.poll;
  const bool last = !poll.LoseTarget();
  if (last && !step.Holds(poll.shards)) return false;
  Lose(target, end);
  target.desc->Unlink(target);
  if (last) EndPoll(step, poll, LostBy(poll, end));
  return true;
}

bool PollDesc::RecountPolls(Step& step, Side s) {
  SideExtra& counts = *at(s).extra;
  const bool open = CheckErr(s, false) == Check::kReady;
  const bool changes = std::exchange(counts.open, open) != open;
  if (!changes && !counts.recounting) return true;
  if (changes || counts.recount == nullptr) counts.recount = counts.polls.first();
  while (Place* const place = counts.recount) {
    auto& target = static_cast<Target&>(*place);
    if (!step.Spend(1)) break;
    if (open && !target.counted && target.poll->until() > step.now().mono) {
      if (!target.poll->CountSignal()) {
        if (!step.Holds(target.poll->shards)) break;
        CompletePoll(step, *target.poll);
        if (counts.recount != place)
          return Recount(step, s);  // it has left; else it is counted now
      } else {
        target.counted = true;
      }
    } else if (!open && target.counted) {
      target.counted = false;
      target.poll->UncountSignal();
    }
    counts.recount = counts.polls.Next(*place);
  }
  if (counts.recount == nullptr) return true;
  RecountLater(s);
  return false;
}

}  // namespace waitd::core
