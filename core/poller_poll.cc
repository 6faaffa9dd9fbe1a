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

// Everything that can refuse a poll before it stands anywhere, so that a refused one changed
// nothing: not even a missing name is opened. Under the locks of all targets.
bool Poller::CheckTargets(const PollArgs& args, bool may_park, Refusal& refusal) {
  std::vector<std::string_view> missing;
  for (uint32_t i = 0; i < args.targets.size(); ++i) {
    const PollTarget& target = args.targets[i];
    Shard& home = shard(ShardOf(target.name));
    home.mutex().AssertHeld();
    const PollDesc* const desc = home.Find(target.name);
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
  std::sort(missing.begin(), missing.end());
  const auto opens = static_cast<uint64_t>(
      std::distance(missing.begin(), std::unique(missing.begin(), missing.end())));
  refusal.generation = 0;
  if (opens > 0 && !may_park) {
    refusal.reason = Reason::kLimitWaiters;
    refusal.limit = options_.max_waiters;
    return false;
  }
  return opens == 0 || ReserveDescriptors(opens, refusal);
}

// After CheckTargets, which reserved what is missing: nothing is refused any more.
void Poller::OpenTargets(Step& step, const PollArgs& args, PollWaiter& poll) {
  poll.targets.clear();
  poll.targets.resize(args.targets.size());
  for (uint32_t i = 0; i < args.targets.size(); ++i) {
    const PollTarget& from = args.targets[i];
    PollWaiter::Target& target = poll.targets[i];
    Shard& home = shard(ShardOf(from.name));
    home.mutex().AssertHeld();
    Refusal none;
    PollDesc* const found = home.Find(from.name);
    target.desc =
        found != nullptr
            ? Resolve(step, home, found, from.name, from.generation, nullptr, none)
            : &Create(step, home, from.name, *args.open_if_missing, options_.default_idle_ttl);
    target.poll = &poll;
    target.side = from.side;
    target.shard = static_cast<uint32_t>(home.index());
  }
}

void Poller::Poll(const Now& now, const PollArgs& args, PollCall& call) {
  Step step(*this, now);
  DoPoll(step, args, call);
  step.Finish();
}

void Poller::DoPoll(Step& step, const PollArgs& args, PollCall& call) {
  Refusal refusal;
  const bool well_formed = WellFormed(args, refusal);
  Shard& home = shard(well_formed ? ShardOf(args.targets.front().name) : 0);
  ShardSet set = SetOf(home.index());
  for (const PollTarget& target : args.targets) set |= SetOf(ShardOf(target.name));
  Locks locks(*this, set);
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const bool has_id = well_formed && !args.retry.id.empty();
  const uint64_t content = has_id ? ContentOf(args) : 0;
  if (has_id && RecallPoll(step, locks, home, args, content, call)) return;
  if (Refuses(true, call)) return step.Answer(home, call, 0);
  PollWaiter& poll = home.polls.Get();
  Bound(step.moment.now, args.timeout, args.retry.sent_ago, poll);
  poll.call = &call;
  poll.need = std::max(args.need, 1U);
  poll.shards = set;
  const bool park = poll.until() > step.moment.now.mono;
  const bool slot = park && ReserveWaiter();
  // MO[draining]: acquire; as in Wait.
  const bool draining = draining_.load(std::memory_order_acquire);
  if (draining) refusal.reason = Reason::kDraining;
  auto blocked = PollDesc::Blocked::kEnded;
  if (!well_formed || draining || !CheckTargets(args, slot || !park, refusal)) {
    call.result() = std::move(refusal);
  } else {
    OpenTargets(step, args, poll);
    const Waiter* holder = nullptr;
    uint32_t at = 0;
    blocked = PollDesc::BlockAll(step.moment, poll, slot, &holder, &at);
    if (blocked == PollDesc::Blocked::kDoubleWait) {
      Refusal double_wait =
          DoubleWait(step.moment.now, *holder, poll.targets[at].desc->generation());
      double_wait.target = at;
      call.result() = std::move(double_wait);
    } else if (blocked == PollDesc::Blocked::kEnded) {
      PollDesc::Gather(poll);
      const PollResult& result = std::get<PollResult>(call.result());
      if (park && !slot && ByItsOwnBound(result)) {
        call.result() = Refusal{.reason = Reason::kLimitWaiters, .limit = options_.max_waiters};
      }
    }
  }
  if (has_id && (blocked == PollDesc::Blocked::kParked ||
                 std::holds_alternative<PollResult>(call.result()))) {
    const IdKey key = KeyOf(IdUse::kWait, args.targets.front().name, args.retry);
    IdRecord& record = home.ids.Insert(key, content);
    record.ack_timeout = args.ack_timeout.value_or(Nanos(0));
    Knows(home, record, poll, call);
  }
  if (blocked == PollDesc::Blocked::kParked) {
    call.waiter_ = &poll;
    call.life_ = poll.life();
    call.shard_ = static_cast<uint8_t>(home.index());
    home.Park(poll, WaitMode::kPoll);
    step.Leave(set);
    return;
  }
  home.CountEnd(call.result());
  HandOver(step, set, poll);
  uint64_t number = step.Ended(home, poll, call.result());
  poll.Recycle();
  home.polls.Put(poll);
  if (slot) ReleaseWaiter();
  if (call.record_ != nullptr) {
    number = std::max(number, Remember(step, home, call, call.result()));
  }
  step.Leave(set);
  step.Answer(home, call, number);
}

// Takes the locks of all the poll's targets and lets happen what is due there and to the poll, in
// the order of the instants. True: this life of the poll goes on.
bool Poller::SettlePoll(Step& step, Locks& locks, PollWaiter& poll, uint32_t life) {
  const auto over = [&] { return poll.life() != life || poll.claimed(); };
  while (!over() && !locks.Widen(poll.shards)) {
  }
  if (over()) return false;
  for (const PollWaiter::Target& target : poll.targets) {
    if (target.standing() && target.desc->Settle(step.moment)) {
      step.Expired(shard(target.shard), *target.desc);
    }
  }
  if (poll.until() <= step.moment.now.mono) {
    PollDesc::EndPoll(step.moment, poll, Outcome::kTimedOut, poll.bound);
  }
  return !poll.claimed();
}

}  // namespace waitd::core
