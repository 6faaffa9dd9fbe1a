// Waits: how they begin, what they take, how they and polls end.
#include <algorithm>

#include "core/shard.h"
#include "tests/unit/core/model.h"

namespace waitd::core {
namespace {

std::string ContentOfWait(const WaitArgs& args) {
  return "wait" + std::to_string(args.generation) + "/" + std::to_string(Index(args.side)) +
         (args.ignore_deadline ? "i" : "") + TextOf(args.open_if_missing) +
         (args.ack_timeout ? std::to_string(args.ack_timeout->count()) : "");
}

}  // namespace

bool Model::HasReturned(const SideOf& side) {
  return std::any_of(side.out.begin(), side.out.end(), [](const auto& each) {
    return each.second.state == Delivery::State::kReturned;
  });
}

bool Model::HasReady(const SideOf& side) { return side.ready || HasReturned(side); }

Model::SideOf& Model::At(const Target& target) {
  return descs_.at(target.name).side[Index(target.side)];
}

// Whether the life of the name goes on that the target was in.
bool Model::IsThere(const Target& target) const {
  const auto found = descs_.find(target.name);
  return found != descs_.end() && found->second.generation == target.generation;
}

std::vector<Model::WaitingRef> Model::Standing(const std::string& name, Side side) const {
  std::vector<WaitingRef> standing;
  for (const WaitingRef& each : waits_) {
    for (const Target& target : each->targets) {
      if (target.lost || target.left || target.name != name || target.side != side) continue;
      standing.push_back(each);
    }
  }
  return standing;
}

// Max-wait bounds a single wait only where no deadline can end it.
bool Model::IsBoundByItself(const Waiting& waiting) {
  if (waiting.bound == TimeoutCause::kWait || waiting.poll || waiting.ignore_deadline) return true;
  return !CanExpire(At(waiting.targets.front()).deadline);
}

bool Model::OwnBoundDue(const Waiting& waiting) {
  return waiting.until <= now_ && IsBoundByItself(waiting);
}

void Model::EndOwnBound(const WaitingRef& waiting) {
  TimeOut(waiting, waiting->bound, waiting->until);
}

void Model::TimeOut(const WaitingRef& waiting, TimeoutCause cause, Instant due) {
  const Nanos parked = ParkedFor(*waiting);
  const Nanos late = now_ - std::min(now_, std::max(due, waiting->begin));
  std::vector<Expected::Need> needs;
  if (waiting->poll) {
    PollResult result;
    result.outcome = Outcome::kTimedOut;
    result.cause = cause;
    result.parked = parked;
    result.late = late;
    End(waiting, std::move(result), needs);
  } else {
    const Target& target = waiting->targets.front();
    WaitResult result;
    result.outcome = Outcome::kTimedOut;
    result.cause = cause;
    result.parked = parked;
    result.late = late;
    result.generation = target.generation;
    result.side = target.side;
    if (cause == TimeoutCause::kDeadline) {
      needs.push_back({ShardOf(target.name), At(target).deadline_step});
    }
    End(waiting, std::move(result), needs);
  }
}

void Model::LimitFrom(Instant received, std::optional<Nanos> timeout, Nanos sent_ago,
                      Waiting& waiting) const {
  waiting.begin = std::min(received, now_);
  waiting.bound = timeout.has_value() ? TimeoutCause::kWait : TimeoutCause::kMaxWait;
  waiting.until =
      SaturatingAdd(received, SaturatingSubtract(timeout.value_or(options_.max_wait), sent_ago));
}

// Lets happen what is due on both sides, a tie at once.
void Model::Settle(const std::string& name) {
  Desc& desc = descs_.at(name);
  const auto due = [&](Side s) {
    const Deadline& deadline = desc.side[Index(s)].deadline;
    return deadline.state == Deadline::State::kArmed && deadline.at <= now_;
  };
  std::vector<Side> sides;
  for (const Side s : kSides) {
    if (due(s)) sides.push_back(s);
  }
  const auto at = [&](Side s) { return desc.side[Index(s)].deadline.at; };
  if (sides.size() == 2 && at(Side::kRead) == at(Side::kWrite)) {
    for (const Side s : sides) desc.side[Index(s)].deadline.state = Deadline::State::kExpired;
  } else if (sides.size() == 2 && at(Side::kWrite) < at(Side::kRead)) {
    std::swap(sides[0], sides[1]);
  }
  for (const Side s : sides) {
    desc.side[Index(s)].deadline.state = Deadline::State::kExpired;
    EndSide(name, s, Outcome::kTimedOut, at(s), true);
  }
}

// False: that ended the poll.
bool Model::SettleTargets(const WaitingRef& poll) {
  std::vector<std::pair<Instant, std::string>> due;
  for (const Target& target : poll->targets) {
    if (target.lost || !IsThere(target) || !CanExpire(At(target).deadline)) continue;
    due.emplace_back(At(target).deadline.at, target.name);
  }
  std::sort(due.begin(), due.end());
  for (const auto& [at, name] : due) {
    Settle(name);
    if (poll->over) return false;
  }
  return true;
}

// Whoever stands on the side ends so, but for those that ignore the deadline, if that is it; first
// of all those whose own bound came before. Returns how many it ended.
uint32_t Model::EndSide(const std::string& name, Side s, Outcome outcome, Instant own_before,
                        bool was_armed) {
  const Desc& desc = descs_.at(name);
  const SideOf& side = desc.side[Index(s)];
  if (outcome == Outcome::kTimedOut && desc.kind == Kind::kLatch && side.ready) return 0;
  const Instant due = outcome == Outcome::kTimedOut ? side.deadline.at : now_;
  std::vector<WaitingRef> own;
  std::vector<WaitingRef> rest;
  for (const WaitingRef& each : Standing(name, s)) {
    if (outcome == Outcome::kTimedOut && each->ignore_deadline) continue;
    const bool counts =
        each->bound == TimeoutCause::kWait || each->poll || each->ignore_deadline || !was_armed;
    if (counts && each->until < own_before && each->until <= now_) {
      own.push_back(each);
    } else {
      rest.push_back(each);
    }
  }
  std::stable_sort(own.begin(), own.end(),
                   [](const auto& a, const auto& b) { return a->until < b->until; });
  for (const WaitingRef& each : own) LeaveOrEnd(each, name, s);
  uint32_t ended = 0;
  for (const WaitingRef& each : rest) {
    for (Target& target : each->targets) {
      if (each->over || target.lost || target.name != name || target.side != s) continue;
      ended += Lose(each, target, outcome, due) ? 1 : 0;
    }
  }
  return ended;
}

// A target of a wait ends. True: and so does the wait.
bool Model::Lose(const WaitingRef& waiting, Target& target, Outcome outcome, Instant due) {
  const size_t shard = ShardOf(target.name);
  WaitResult& end = target.end;
  end.outcome = outcome;
  end.generation = target.generation;
  end.side = target.side;
  end.parked = ParkedFor(*waiting);
  std::vector<Expected::Need> needs;
  if (outcome == Outcome::kTimedOut) {
    end.cause = TimeoutCause::kDeadline;
    end.late = now_ - std::max(due, waiting->begin);
    needs.push_back({shard, At(target).deadline_step});
  } else {
    needs.push_back({shard, step_});
  }
  target.lost = true;
  const auto left =
      static_cast<uint32_t>(std::count_if(waiting->targets.begin(), waiting->targets.end(),
                                          [](const Target& each) { return !each.lost; }));
  if (left >= waiting->need) return false;
  if (!waiting->poll) {
    End(waiting, end, needs);
    return true;
  }
  PollResult result;
  result.outcome = outcome;
  result.cause = end.cause;
  result.parked = end.parked;
  result.late = end.late;
  for (uint32_t i = 0; i < waiting->targets.size(); ++i) {
    if (waiting->targets[i].lost) result.targets.emplace_back(i, waiting->targets[i].end);
  }
  End(waiting, std::move(result), needs);
  return true;
}

// Of a wait whose own bound is due: a poll only leaves the side.
void Model::LeaveOrEnd(const WaitingRef& waiting, const std::string& name, Side s) {
  if (!waiting->poll) return EndOwnBound(waiting);
  for (Target& target : waiting->targets) {
    target.left = target.left || (target.name == name && target.side == s);
  }
}

// Who stands on an exclusive side; those whose time is over leave first.
bool Model::Occupied(const std::string& name, Side s) {
  if (descs_.at(name).kind != Kind::kExclusive) return false;
  for (const WaitingRef& each : Standing(name, s)) {
    if (!OwnBoundDue(*each)) return true;
    LeaveOrEnd(each, name, s);
  }
  return false;
}

// Whether a poll can take the signal of this target.
bool Model::Available(const Target& target) {
  if (target.lost || target.left || !IsThere(target)) return false;
  const SideOf& side = At(target);
  const bool open = descs_.at(target.name).kind == Kind::kLatch;
  return HasReady(side) && (open || side.deadline.state != Deadline::State::kExpired);
}

bool Model::CanTake(const Waiting& waiting) {
  const auto there = std::count_if(waiting.targets.begin(), waiting.targets.end(),
                                   [this](const Target& target) { return Available(target); });
  return static_cast<uint32_t>(there) >= waiting.need;
}

WaitResult Model::TakeFrom(const std::string& name, Side s) {
  Desc& desc = descs_.at(name);
  SideOf& side = desc.side[Index(s)];
  WaitResult taken;
  taken.generation = desc.generation;
  taken.side = s;
  desc.idle_since = std::max(desc.idle_since, SaturatingAdd(now_, options_.unwritten_for));
  const auto back = std::find_if(side.out.begin(), side.out.end(), [](const auto& each) {
    return each.second.state == Delivery::State::kReturned;
  });
  Signal signal = side.signal;
  if (back != side.out.end()) {
    Out& out = back->second;
    signal = out.signal;
    taken.attempt = out.attempt + (out.acknowledgeable ? 1 : 0);
    seen_[kRedelivered] += out.acknowledgeable ? 1 : 0;
    if (out.acknowledgeable) {
      Retire(out, Delivery::State::kStale);
    } else {
      side.out.erase(back);
    }
  } else if (desc.kind != Kind::kLatch) {
    side.ready = false;
  }
  if (desc.kind != Kind::kLatch) {
    ++side.delivery;
    Touch(desc);
  }
  taken.delivery = side.delivery;
  taken.signal = std::make_shared<const std::string>(signal.data);
  taken.coalesced = signal.coalesced;
  taken.ready_time = signal.at;
  return taken;
}

// With as many signals there as it needs: takes the first ones.
void Model::Take(const WaitingRef& waiting) {
  std::vector<WaitResult> taken;
  std::vector<Expected::Need> needs;
  PollResult polled;
  polled.parked = ParkedFor(*waiting);
  for (uint32_t i = 0; i < waiting->targets.size() && taken.size() < waiting->need; ++i) {
    const Target& target = waiting->targets[i];
    if (waiting->poll && !Available(target)) continue;
    taken.push_back(TakeFrom(target.name, target.side));
    taken.back().parked = polled.parked;
    needs.push_back({ShardOf(target.name), descs_.at(target.name).step});
    polled.targets.emplace_back(i, taken.back());
  }
  if (waiting->poll) {
    ++seen_[kPolled];
    End(waiting, std::move(polled), needs);
  } else {
    End(waiting, taken.front(), needs);
  }
}

// Hands the signals of this side to those who wait, in order, as long as they last.
uint32_t Model::Serve(const std::string& name, Side s) {
  uint32_t woken = 0;
  for (const WaitingRef& each : Standing(name, s)) {
    if (each->over) continue;
    if (!HasReady(descs_.at(name).side[Index(s)])) break;
    if (each->poll) {
      if (each->until <= now_ || !CanTake(*each) || !SettleTargets(each) || !CanTake(*each)) {
        continue;
      }
    } else if (OwnBoundDue(*each)) {
      EndOwnBound(each);
      continue;
    }
    Take(each);
    ++woken;
  }
  seen_[kWoken] += woken;
  return woken;
}

std::pair<ReadyEffect, uint32_t> Model::ReadyOne(const std::string& name, Side s,
                                                 const ReadyArgs& args) {
  SideOf& side = descs_.at(name).side[Index(s)];
  const bool latch = descs_.at(name).kind == Kind::kLatch;
  const bool expired = side.deadline.state == Deadline::State::kExpired;
  const bool only_waiting = args.condition == ReadyCondition::kWaiting;
  if (args.condition == ReadyCondition::kNotExpired && expired) return {ReadyEffect::kRefused, 0};
  if (only_waiting && HasReady(side)) return {ReadyEffect::kRefused, 0};
  const bool coalesces = side.ready;
  side.signal = {*args.signal, wall_, coalesces ? side.signal.coalesced + 1 : 0};
  if (coalesces) return {ReadyEffect::kCoalesced, 0};
  side.ready = true;
  if (latch) ++side.delivery;
  if (latch &&
      !Standing(name, s).empty()) {  // it counts as handed out, though polls may lack others
    Instant& idle_since = descs_.at(name).idle_since;
    idle_since = std::max(idle_since, SaturatingAdd(now_, options_.unwritten_for));
  }
  const uint32_t woken = Serve(name, s);
  ReadyEffect effect = woken > 0 ? ReadyEffect::kWoke : ReadyEffect::kRemembered;
  if (only_waiting) {
    if (latch && woken == 0) --side.delivery;
    if (woken == 0) effect = ReadyEffect::kRefused;
    side.ready = false;
  }
  return {effect, woken};
}

// Whether more than one thing ends the poll now, so that any of them may be told.
bool Model::EndsByMany(const Waiting& poll) const {
  size_t reasons = poll.until <= now_ ? 1 : 0;
  for (const Target& target : poll.targets) {
    const auto found = descs_.find(target.name);
    if (target.lost || found == descs_.end()) {
      ++reasons;
      continue;
    }
    const Deadline& deadline = found->second.side[Index(target.side)].deadline;
    reasons += CanExpire(deadline) && deadline.at <= now_ ? 1 : 0;
  }
  return reasons > 1;
}

// A wait has its outcome, or is refused one.
void Model::End(const WaitingRef& waiting, AnyAnswer answer, std::vector<Expected::Need> needs) {
  waiting->over = true;
  for (const Target& target : waiting->targets) {
    if (target.lost || target.left || !IsThere(target)) continue;
    Desc& desc = descs_.at(target.name);
    desc.idle_since = std::max(desc.idle_since, now_);
  }
  const bool parked = std::erase(waits_, waiting) > 0;
  const bool absent = parked && waiting->call == 0;
  auto expected = std::make_shared<Expected>();
  expected->answer = std::move(answer);
  expected->needs = std::move(needs);
  const auto* const polled = std::get_if<PollResult>(&expected->answer);
  expected->loose = parked && polled != nullptr && polled->outcome != Outcome::kReady &&
                    polled->outcome != Outcome::kCancelled && EndsByMany(*waiting);
  if (waiting->key.has_value()) {
    expected->has_id = true;
    RememberWait(*waiting, expected, absent);
  }
  if (waiting->call != 0) Answer(waiting->call, expected);
}

void Model::Wait(Instant received, const WaitArgs& args, CallId call) {
  const std::string name(args.name);
  Begin(SetOf(ShardOf(name)));
  if (Refuses(false, call)) return;
  auto waiting = std::make_shared<Waiting>();
  waiting->call = call;
  waiting->ignore_deadline = args.ignore_deadline;
  waiting->ack_timeout = args.ack_timeout;
  if (!args.retry.id.empty()) {
    waiting->key = Key{true, name, args.retry.caller, std::string(args.retry.id)};
    waiting->content = ContentOfWait(args);
    if (RecallWait(*waiting->key, waiting->content, received, args.retry, call)) return;
  }
  if (Refuses(true, call)) return;
  LimitFrom(received, args.timeout, args.retry.sent_ago, *waiting);
  Refusal why;
  if (!BeginWait(args, waiting, why)) {
    const Desc* const desc = Find(name);
    return Answer(call, why,
                  desc == nullptr ? std::vector<Expected::Need>{}
                                  : std::vector<Expected::Need>{{ShardOf(name), desc->step}});
  }
}

// False: refused.
bool Model::BeginWait(const WaitArgs& args, const WaitingRef& waiting, Refusal& why) {
  const std::string name(args.name);
  const bool park = waiting->until > now_;
  const bool slot = park && waiters() < options_.max_waiters.things;
  if (draining_) {
    why.reason = Reason::kDraining;
    return false;
  }
  const Desc* const found = Find(name);
  const Kind kind = found == nullptr ? KindToOpen(args.open_if_missing) : found->kind;
  if (args.ack_timeout.has_value() && kind == Kind::kLatch) {
    why.reason = Reason::kBadOptions;
    return false;
  }
  const bool takes_one = found != nullptr && HasReturned(found->side[Index(args.side)]);
  if (args.ack_timeout.has_value() && !takes_one && DeliveriesFull(name, args.side, 1)) {
    why.reason = Reason::kLimitDeliveries;
    return false;
  }
  if (found == nullptr && park && !slot && args.generation == 0 && args.open_if_missing) {
    why.reason = Reason::kLimitWaiters;
    return false;
  }
  Desc* const desc = Resolve(name, args.generation, args.open_if_missing, why);
  if (desc == nullptr) return false;
  waiting->targets = {{name, args.side, desc->generation, false, false, {}}};
  const SideOf& side = desc->side[Index(args.side)];
  const bool ready = HasReady(side);
  const bool ready_first = desc->kind == Kind::kLatch || args.ignore_deadline;
  const bool expired = !args.ignore_deadline && side.deadline.state == Deadline::State::kExpired;
  if (ready && (ready_first || !expired)) {
    Take(waiting);
  } else if (expired) {
    EndAtOnce(waiting, TimeoutCause::kDeadline, side.deadline.at);
  } else if (!park) {
    EndAtOnce(waiting, waiting->bound, waiting->until);
  } else if (!slot) {
    why.reason = Reason::kLimitWaiters;
    return false;
  } else if (Occupied(name, args.side)) {
    why.reason = Reason::kDoubleWait;
    return false;
  } else {
    Park(waiting);
  }
  return true;
}

// The wait ends without having parked.
void Model::EndAtOnce(const WaitingRef& waiting, TimeoutCause cause, Instant due) {
  TimeOut(waiting, cause, due);
}

void Model::Park(const WaitingRef& waiting) {
  waits_.push_back(waiting);
  waiting->parked = true;
  if (!waiting->key.has_value()) return;
  Record& record = records_[*waiting->key];
  record.serial = ++serial_;
  record.content = waiting->content;
  record.parked = waiting;
}

// For how long it has been parked.
Nanos Model::ParkedFor(const Waiting& waiting) const {
  return waiting.parked ? now_ - waiting.begin : Nanos(0);
}

Model::WaitingRef Model::WaitOf(CallId call) const {
  const auto found = std::find_if(waits_.begin(), waits_.end(),
                                  [&](const auto& each) { return each->call == call; });
  return found == waits_.end() ? nullptr : *found;
}

// Lets happen what is due. False: that ended the wait.
bool Model::StillWaits(const WaitingRef& waiting) {
  if (waiting->poll) {
    ShardSet shards = 0;
    for (const Target& target : waiting->targets) shards |= SetOf(ShardOf(target.name));
    Widen(shards);
    if (!SettleTargets(waiting)) return false;
  } else {
    Settle(waiting->targets.front().name);
  }
  if (!waiting->over && OwnBoundDue(*waiting)) EndOwnBound(waiting);
  return !waiting->over;
}

void Model::EndCancelled(const WaitingRef& waiting) {
  const Nanos parked = ParkedFor(*waiting);
  if (waiting->poll) {
    PollResult result;
    result.outcome = Outcome::kCancelled;
    result.parked = parked;
    return End(waiting, std::move(result), {});
  }
  WaitResult result;
  result.outcome = Outcome::kCancelled;
  result.parked = parked;
  result.generation = waiting->targets.front().generation;
  result.side = waiting->targets.front().side;
  End(waiting, std::move(result), {});
}

void Model::Cancel(CallId call) {
  const WaitingRef waiting = WaitOf(call);
  if (waiting == nullptr) return;
  Begin(SetOf(ShardOf(waiting->targets.front().name)));
  if (StillWaits(waiting)) EndCancelled(waiting);
}

void Model::Abandon(CallId call) {
  const WaitingRef waiting = WaitOf(call);
  if (waiting == nullptr) return;
  Begin(SetOf(ShardOf(waiting->targets.front().name)));
  if (!StillWaits(waiting)) return;
  if (!waiting->key.has_value()) return EndCancelled(waiting);
  waiting->call = 0;
  waiting->absent_until = SaturatingAdd(now_, options_.linger);
  if (waiting->poll) {
    PollResult result;
    result.outcome = Outcome::kCancelled;
    return Answer(call, std::move(result));
  }
  WaitResult result;
  result.outcome = Outcome::kCancelled;
  Answer(call, std::move(result));
}

// Its client has been gone for too long.
void Model::FireAbsent(const WaitingRef& waiting) {
  if (StillWaits(waiting)) EndCancelled(waiting);
}

void Model::EndWaits() {
  for (const WaitingRef& each : std::vector(waits_)) {
    Begin(SetOf(ShardOf(each->targets.front().name)));
    End(each, Refusal{.reason = Reason::kDraining}, {});
  }
}

uint64_t Model::waiters() const {
  uint64_t count = 0;
  for (const WaitingRef& each : waits_) count += each->targets.size();
  return count;
}

}  // namespace waitd::core
