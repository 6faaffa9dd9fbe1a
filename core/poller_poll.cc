// Polls.
#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

constexpr size_t kTargetsMax = 1000;

// Whether the poll is well formed: some targets, none twice, and no more needed than there are.
bool WellFormed(const PollArgs& args, Refusal& refusal) {
  refusal.reason = Reason::kBadPoll;
  const std::vector<PollTarget>& targets = args.targets;
  if (targets.empty() || targets.size() > kTargetsMax || args.need > targets.size()) return false;
  std::vector<uint32_t> order(targets.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto key = [&](uint32_t i) { return std::pair(targets[i].name, targets[i].side); };
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
  const auto twice = std::adjacent_find(order.begin(), order.end(),
                                        [&](uint32_t a, uint32_t b) { return key(a) == key(b); });
  if (twice == order.end()) return true;
  refusal.target = *std::next(twice);
  return false;
}

}  // namespace

// Everything that can refuse a poll, before it has any effect; under the locks of all targets.
// Fills in the names that are open, settled. `full`: the limit that keeps it from parking.
bool Poller::CheckTargets(Step& step, const PollArgs& args, const Budget::Verdict& full,
                          PollWaiter& poll, Account* account, Refusal& refusal) {
  std::vector<std::string_view> missing;
  for (uint32_t i = 0; i < args.targets.size(); ++i) {
    const PollTarget& target = args.targets[i];
    Shard& home = shard(ShardOf(target.name));
    home.mutex().AssertHeld();
    PollDesc* const desc = home.Find(target.name);
    poll.targets()[i].desc = desc;
    refusal.target = i;
    refusal.generation = desc == nullptr ? 0 : desc->generation();
    if (desc == nullptr && (target.generation != 0 || args.open_if_missing == nullptr)) {
      refusal.reason = Reason::kNoDescriptor;
      return false;
    }
    const Kind kind = desc != nullptr ? desc->kind() : KindToOpen(args.open_if_missing);
    if (args.ack_timeout.has_value() && kind == Kind::kLatch) {
      refusal.reason = Reason::kBadOptions;
      return false;
    }
    if (desc == nullptr) {
      missing.push_back(target.name);
    } else if (target.generation != 0 && target.generation != desc->generation()) {
      refusal.reason = Reason::kStaleGeneration;
      return false;
    } else if (args.open_if_missing != nullptr && args.open_if_missing->kind.has_value() &&
               *args.open_if_missing->kind != desc->kind()) {
      refusal.reason = Reason::kKindMismatch;
      return false;
    }
  }
  if (args.ack_timeout.has_value() && !MayDeliver(step, poll, account, refusal)) return false;
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (!missing.empty() && full.over) {
    SetLimit(Reason::kLimitWaiters, full, refusal);
    return false;
  }
  const bool parks = !full.over && poll.until() > step.now().mono;
  if (parks && !FreeFor(step, args, poll, refusal)) return false;
  refusal.generation = 0;
  Amount opens;
  for (const std::string_view name : missing) {
    const Amount one = AmountOf(name, args.open_if_missing->labels);
    opens = {opens.things + one.things, opens.bytes + one.bytes};
  }
  return missing.empty() || ReserveDescriptors(opens, account, refusal);
}

// Whether the limits of deliveries let it begin: or it takes signals that came back and no others,
// so that no more are held.
bool Poller::MayDeliver(Step& step, PollWaiter& poll, Account* account, Refusal& refusal) {
  for (const PollWaiter::Target& target : poll.targets()) {
    const Budget::Verdict held = MayHold(target.desc, target.side, account, poll.targets().size());
    if (!held.over) continue;
    uint32_t taken = 0;
    for (const PollWaiter::Target& each : poll.targets()) {
      if (taken == poll.need) break;
      if (each.desc == nullptr) continue;
      each.desc->Settle(step);
      if (each.desc->CheckErr(each.side, false) != PollDesc::Check::kReady) continue;
      if (!each.desc->side(each.side).HasReturned()) break;
      ++taken;
    }
    if (taken == poll.need) return true;
    SetLimit(Reason::kLimitDeliveries, held, refusal);
    refusal.generation = target.desc == nullptr ? 0 : target.desc->generation();
    refusal.target = poll.index(target);
    return false;
  }
  return true;
}

// Whether nobody stands where this poll would, if it would stand anywhere.
bool Poller::FreeFor(Step& step, const PollArgs& args, PollWaiter& poll, Refusal& refusal) {
  uint32_t ready = 0;
  uint32_t lost = 0;
  for (PollWaiter::Target& target : poll.targets()) {
    if (target.desc == nullptr) continue;
    target.desc->Settle(step);
    const auto check = target.desc->CheckErr(target.side, false);
    if (check == PollDesc::Check::kReady) ++ready;
    if (check == PollDesc::Check::kExpired) ++lost;
  }
  const uint32_t need = std::max(args.need, 1U);
  if (ready >= need || poll.targets().size() - lost < need) return true;
  for (PollWaiter::Target& target : poll.targets()) {
    if (target.desc == nullptr ||
        target.desc->CheckErr(target.side, false) == PollDesc::Check::kExpired) {
      continue;
    }
    const Waiter* const holder = target.desc->Occupant(step, target.side);
    if (holder == nullptr) continue;
    refusal = DoubleWait(step.now(), *holder, target.desc->generation());
    refusal.target = poll.index(target);
    return false;
  }
  return true;
}

// After CheckTargets, which reserved what is missing: nothing is refused any more.
void Poller::OpenTargets(Step& step, const PollArgs& args, PollWaiter& poll, Account* account) {
  for (uint32_t i = 0; i < args.targets.size(); ++i) {
    const PollTarget& from = args.targets[i];
    PollWaiter::Target& target = poll.targets()[i];
    Shard& home = shard(ShardOf(from.name));
    home.mutex().AssertHeld();
    if (target.desc == nullptr) target.desc = home.Find(from.name);  // opened for another side
    if (target.desc == nullptr) {
      target.desc =
          &Create(step, home, from.name, *args.open_if_missing, options_.default_idle_ttl, account);
    }
    target.desc->NoteUse(step.now().mono);
    target.desc->Settle(step);
  }
}

void Poller::Poll(Instant received, const PollArgs& args, PollCall& call, EffectBatch* batch) {
  Step step(*this, received, batch);
  DoPoll(step, args, call);
}

// Parks the poll: true. Or ends it at once: then the call has its result. `full`: the limit that
// keeps it from parking, if one does.
bool Poller::BeginPoll(Step& step, const PollArgs& args, const Budget::Verdict& full,
                       PollWaiter& poll, PollCall& call) {
  MakeTargets(args, poll);
  const bool parks = !full.over && poll.until() > step.now().mono;
  Refusal refusal;
  if (!CheckTargets(step, args, full, poll, call.account(), refusal)) {
    call.result() = std::move(refusal);
    return false;
  }
  OpenTargets(step, args, poll, call.account());
  PollResult result;
  if (PollDesc::BlockAll(step, poll, parks, &result) == PollDesc::Blocked::kParked) return true;
  if (full.over && ByItsOwnBound(result)) {
    SetLimit(Reason::kLimitWaiters, full, call.result().template emplace<Refusal>());
  } else {
    call.result() = std::move(result);
  }
  return false;
}

void Poller::DoPoll(Step& step, const PollArgs& args, PollCall& call) {
  Refusal refusal;
  const bool well_formed = WellFormed(args, refusal);
  Shard& home = shard(well_formed ? ShardOf(args.targets.front().name) : 0);
  ShardSet set = SetOf(home.index());
  if (well_formed) {
    for (const PollTarget& target : args.targets) set |= SetOf(ShardOf(target.name));
  }
  step.Lock(set);
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const bool has_id = well_formed && !args.retry.id.empty();
  const IdKey key = has_id ? KeyOf(IdUse::kWait, args.targets.front().name, args.retry) : IdKey();
  const uint64_t content = has_id ? ContentOf(args) : 0;
  if (has_id && RecallParking<PollWaiter>(step, home, key, content, args.retry,
                                          args.targets.front().name, call))
    return;
  if (Refuses(true, call)) return step.Answer(home, call, 0);
  PollWaiter& poll = home.polls.Get();
  Bound(step, args.timeout, args.retry.sent_ago, poll);
  poll.need = std::max(args.need, 1U);
  poll.shards = set;
  const bool park = poll.until() > step.now().mono;
  const Amount places = WaitsOf(well_formed ? args.targets.size() : 0);
  const auto full = park ? budget_.Take(Held::kWaits, call.account(), places) : Budget::Verdict();
  // MO[draining]: acquire; as in Wait.
  const bool draining = draining_.load(std::memory_order_acquire);
  if (draining) refusal.reason = Reason::kDraining;
  const bool begins = well_formed && !draining;
  if (!begins) call.result() = std::move(refusal);
  const bool parked = begins && BeginPoll(step, args, full, poll, call);
  if (has_id && (parked || std::holds_alternative<PollResult>(call.result()))) {
    poll.record = &home.ids.Insert(key, content);
    poll.record->account = AccountRef(call.account());
    poll.record->ack_timeout = args.ack_timeout.value_or(Nanos(0));
    poll.record->waiter = &poll;
  }
  if (parked) {
    poll.call = &call;
    if (args.ack_timeout.has_value()) {
      for (PollWaiter::Target& each : poll.targets()) {
        each.reserved = !each.lost;
        if (each.reserved) each.desc->ReserveDelivery(each.side, poll.record->account);
      }
    }
    Parked(home, poll, call);
    home.Park(poll);
    home.env.counters.waiters[static_cast<size_t>(WaitMode::kPoll)] += poll.targets().size();
    return;
  }
  if (park && !full.over) budget_.Give(Held::kWaits, call.account(), places);
  home.CountEnd(call.result());
  uint64_t number = 0;
  if (poll.record != nullptr) {
    call.shard_ = static_cast<uint8_t>(home.index());
    number = RememberEnd(step, home, poll, true, call.result(), &call.answer_);
  }
  if (begins) number = std::max(number, step.Link(poll, home));
  poll.Recycle();
  home.polls.Put(poll);
  const auto* const refused = std::get_if<Refusal>(&call.result());
  const size_t at = refused == nullptr ? 0 : refused->target;
  step.Answer(home, call, number, at < args.targets.size() ? args.targets[at].name : "");
}

void Poller::MakeTargets(const PollArgs& args, PollWaiter& poll) {
  poll.MakeTargets(args.targets.size());
  for (uint32_t i = 0; i < args.targets.size(); ++i) {
    poll.targets()[i].poll = &poll;
    poll.targets()[i].side = args.targets[i].side;
  }
}

// Takes the locks of all the poll's targets and lets happen what is due there and to the poll, in
// the order of the instants. True: this life of the poll goes on.
bool Poller::SettlePoll(Step& step, PollWaiter& poll, uint32_t life) {
  while (poll.life() == life && !step.Widen(poll.shards)) {
  }
  if (poll.life() != life || !PollDesc::SettleTargets(step, poll)) return false;
  const Instant now = step.now().mono;
  if (poll.until() > now) return true;
  PollDesc::EndPoll(step, poll,
                    PollResult{.outcome = Outcome::kTimedOut,
                               .cause = poll.bound,
                               .parked = now - poll.begin,
                               .late = now - std::max(poll.until(), poll.begin)});
  return false;
}

}  // namespace waitd::core
