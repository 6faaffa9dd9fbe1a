#include "core/poller.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

// A deadline from what was asked: never before its instant, and beyond the range it never comes.
PollDesc::NewDeadline ToDeadline(const Now& now, const SetDeadlineArgs& args) {
  PollDesc::NewDeadline to;
  if (args.what == SetDeadlineArgs::What::kClear) return to;
  Nanos left = SaturatingSubtract(args.timeout, args.retry.sent_ago);
  if (args.what == SetDeadlineArgs::What::kAt) {
    to.absolute = true;
    left = args.at == WallTime::max() ? kForever : SaturatingSubtract(args.at, now.wall);
  }
  to.state = left > Nanos(0) ? Deadline::State::kArmed : Deadline::State::kExpired;
  to.at = SaturatingAdd(now.mono, std::max(left, Nanos(0)));
  to.wall = to.absolute && left > Nanos(0) ? args.at : WallOf(now, to.at);
  return to;
}

// The descriptor or null, under the locks of the polls that a Ready on it may complete as well.
template <class Locks>
PollDesc* FindForReady(Locks& locks, Shard& home, const ReadyArgs& args) {
  home.mutex().AssertHeld();
  PollDesc* found = home.Find(args.name);
  while (found != nullptr && !locks.Widen(found->PollShards(args.mode))) {
    found = home.Find(args.name);
  }
  return found;
}

}  // namespace

Poller::Poller(const Options& options, Journal* journal, std::function<void(Instant)> alarm)
    : options_(options),
      journal_(journal),
      alarm_(std::move(alarm)),
      next_generation_(options.first_generation) {
  for (size_t i = 0; i < kShards; ++i) {
    shards_[i] = std::make_unique<Shard>(i);
    const MutexLock lock(shards_[i]->mutex());
    shards_[i]->ids.MoveHorizon(options.known_since);
  }
}

Poller::~Poller() = default;

// What an operation works on: `desc`, which its shard found under the name, or a new one. Null:
// refused, and nothing was changed.
PollDesc* Poller::Resolve(Step& step, Shard& home, PollDesc* desc, std::string_view name,
                          uint64_t generation, const OpenOptions* open_if_missing,
                          Refusal& refusal) {
  home.mutex().AssertHeld();
  if (desc == nullptr) {
    refusal.reason = Reason::kNoDescriptor;
    if (generation != 0 || open_if_missing == nullptr) return nullptr;
    if (!ReserveDescriptors(1, refusal)) return nullptr;
    return &Create(step, home, name, *open_if_missing, options_.default_idle_ttl);
  }
  refusal.generation = desc->generation();
  if (generation != 0 && generation != desc->generation()) {
    refusal.reason = Reason::kStaleGeneration;
    return nullptr;
  }
  if (open_if_missing != nullptr && open_if_missing->kind.has_value() &&
      *open_if_missing->kind != desc->kind()) {
    refusal.reason = Reason::kKindMismatch;
    return nullptr;
  }
  desc->idle_since = step.moment.now.mono;
  if (desc->Settle(step.moment)) step.Expired(home, *desc);
  return desc;
}

bool Poller::ReserveDescriptors(uint64_t more, Refusal& refusal) {
  if (descriptors_.fetch_add(more, std::memory_order_relaxed) + more <= options_.max_descriptors) {
    return true;
  }
  descriptors_.fetch_sub(more, std::memory_order_relaxed);
  refusal.reason = Reason::kLimitDescriptors;
  refusal.limit = options_.max_descriptors;
  return false;
}

// A name that is not open, for which a descriptor was reserved.
PollDesc& Poller::Create(Step& step, Shard& home, std::string_view name, const OpenOptions& options,
                         Nanos default_idle_ttl) {
  home.mutex().AssertHeld();
  const uint64_t generation = next_generation_.fetch_add(1, std::memory_order_relaxed);
  const Now& now = step.moment.now;
  PollDesc& desc = home.Create(name, KindToOpen(&options), generation, now);
  if (!options.labels.empty() || options.ephemeral) {
    desc.options = std::make_unique<const OpenOptions>(options);
  }
  desc.ArmIdle(options.idle_ttl.value_or(default_idle_ttl), now.mono);
  step.Changed(home, desc);
  return desc;
}

void Poller::Remove(Shard& home, PollDesc& desc) {
  home.mutex().AssertHeld();
  home.Remove(desc);
  descriptors_.fetch_sub(1, std::memory_order_relaxed);
}

template <class Args, class C>
void Poller::RunOne(const Now& now, const Args& args, C& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  {
    Locks locks(*this, SetOf(home.index()));
    Once(step, locks, home, args, call);
  }
  step.Finish();
}

void Poller::Open(const Now& now, const OpenArgs& args, OpenCall& call) { RunOne(now, args, call); }
void Poller::Close(const Now& now, const CloseArgs& args, CloseCall& call) {
  RunOne(now, args, call);
}
void Poller::Reset(const Now& now, const ResetArgs& args, ResetCall& call) {
  RunOne(now, args, call);
}
void Poller::Wait(const Now& now, const WaitArgs& args, WaitCall& call) { RunOne(now, args, call); }
void Poller::Ready(const Now& now, const ReadyArgs& args, ReadyCall& call) {
  RunOne(now, args, call);
}
void Poller::SetDeadline(const Now& now, const SetDeadlineArgs& args, SetDeadlineCall& call) {
  RunOne(now, args, call);
}
void Poller::Ack(const Now& now, const AckArgs& args, AckCall& call) { RunOne(now, args, call); }

void Poller::Run(const Now& now, std::span<const Operation> operations) {
  Step step(*this, now);
  while (!operations.empty()) {
    const auto poll = std::find_if(operations.begin(), operations.end(), [](const Operation& each) {
      return std::holds_alternative<Op<PollArgs, PollCall>>(each);
    });
    const auto before = static_cast<size_t>(poll - operations.begin());
    RunByShard(step, operations.first(before));
    if (poll == operations.end()) break;
    const auto& op = std::get<Op<PollArgs, PollCall>>(*poll);
    DoPoll(step, *op.args, *op.call);
    operations = operations.subspan(before + 1);
  }
  step.Finish();
}

// Those of one shard in their order, and each shard once: a list of them for each, in one array.
void Poller::RunByShard(Step& step, std::span<const Operation> operations) {
  constexpr uint32_t kNone = UINT32_MAX;
  std::array<uint32_t, kShards> first;
  std::array<uint32_t, kShards> last;
  std::vector<uint32_t> next(operations.size(), kNone);
  ShardSet touched = 0;
  for (uint32_t i = 0; i < operations.size(); ++i) {
    const size_t home = std::visit(
        [](const auto& op) {
          if constexpr (requires { op.args->name; }) return ShardOf(op.args->name);
          return size_t{0};
        },
        operations[i]);
    if ((touched & SetOf(home)) == 0) {
      touched |= SetOf(home);
      first[home] = i;
    } else {
      next[last[home]] = i;
    }
    last[home] = i;
  }
  for (; touched != 0; touched &= touched - 1) {
    Shard& home = shard(First(touched));
    Locks locks(*this, SetOf(home.index()));
    for (uint32_t i = first[home.index()]; i != kNone; i = next[i]) {
      std::visit(
          [&](const auto& op) {
            if constexpr (requires { op.args->name; }) {
              Once(step, locks, home, *op.args, *op.call);
            }
          },
          operations[i]);
    }
  }
}

// A call that may carry a request_id: what it did once it does not do again.
template <class Args, class T>
void Poller::Once(Step& step, Locks& locks, Shard& home, const Args& args, Call<T>& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  const bool has_id = !args.retry.id.empty();
  if constexpr (std::is_same_v<Args, ReadyArgs>) {
    // Before its id is looked up: while no lock is held, another call with it may come first.
    if (has_id) FindForReady(locks, home, args);
  }
  const IdKey key = has_id ? KeyOf(IdUse::kRequest, args.name, args.retry) : IdKey();
  const uint64_t content = has_id ? ContentOf(args) : 0;
  IdRecord* record = nullptr;
  Refusal refusal;
  uint64_t number = 0;
  if (has_id && !Recall(home, key, content, args.retry, step.moment.now, &record, refusal)) {
    call.result() = std::move(refusal);
    number = Step::NumberFor(home, nullptr);
  } else if (record != nullptr) {
    call.result() = std::get<T>(*record->answer);
    number = Step::NumberFor(home, nullptr);
  } else if (constexpr bool kTakesRoom = !std::is_same_v<Args, CloseArgs>;
             !Refuses(kTakesRoom, call)) {
    number = Do(step, locks, home, args, call);
    const T* const result = has_id ? std::get_if<T>(&call.result()) : nullptr;
    if (result != nullptr) {
      record = &home.ids.Insert(key, content);
      record->state = IdRecord::State::kAnswered;
      record->answer = std::make_unique<const IdAnswer>(*result);
      number = step.Changed(home, *record);
      Age(step, home, *record);
    }
  }
  step.Answer(home, call, number);
}

uint64_t Poller::Do(Step& step, Locks& locks, Shard& home, const OpenArgs& args, OpenCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  PollDesc* const found = home.Find(args.name);
  PollDesc* desc = nullptr;
  if (found == nullptr) {
    if (ReserveDescriptors(1, refusal)) {
      desc = &Create(step, home, args.name, args.options, kForever);
    }
  } else if (args.must_create) {
    refusal = {.reason = Reason::kExists, .generation = found->generation()};
  } else {
    desc = Resolve(step, home, found, args.name, 0, &args.options, refusal);
  }
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    call.result() =
        OpenResult{Describe(step, *desc, false), found == nullptr, step.moment.now.mono};
  }
  step.Leave(locks.held());
  return Step::NumberFor(home, desc != nullptr ? desc : found);
}

uint64_t Poller::Do(Step& step, Locks& locks, Shard& home, const CloseArgs& args, CloseCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  PollDesc* found = home.Find(args.name);
  const bool others = found != nullptr && args.session != 0 &&
                      (found->options == nullptr || found->options->session != args.session);
  if (others) found = nullptr;
  PollDesc* const desc = Resolve(step, home, found, args.name, args.generation, nullptr, refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    call.result() = CloseResult{desc->Evict(step.moment)};
    step.Changed(home, *desc);
  }
  step.Leave(locks.held());
  if (desc != nullptr) Remove(home, *desc);
  return Step::NumberFor(home, nullptr);
}

uint64_t Poller::Do(Step& step, Locks& locks, Shard& home, const ResetArgs& args, ResetCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  PollDesc* const found = home.Find(args.name);
  PollDesc* const desc = Resolve(step, home, found, args.name, args.generation, nullptr, refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    ResetResult& result = call.result().emplace<ResetResult>();
    for (const Side side : kSides) {
      if (!Includes(args.mode, side)) continue;
      result.reset &= desc->Reset(side, &result.forgot);
    }
    if (result.forgot) step.Changed(home, *desc);
  }
  step.Leave(locks.held());
  return Step::NumberFor(home, found);
}

uint64_t Poller::Do(Step& step, Locks& locks, Shard& home, const ReadyArgs& args, ReadyCall& call) {
  home.mutex().AssertHeld();
  PollDesc* const found = FindForReady(locks, home, args);
  ReadyResult& result = call.result().emplace<ReadyResult>();
  PollDesc* desc = nullptr;
  // On a name that is not open nobody waits: it is not opened for that.
  if (found != nullptr || args.generation != 0 || args.open_if_missing == nullptr ||
      args.condition != ReadyCondition::kWaiting) {
    Refusal refusal;
    desc = Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
    if (desc == nullptr) call.result() = std::move(refusal);
  }
  if (desc != nullptr) {
    result.generation = desc->generation();
    for (const Side side : kSides) {
      if (!Includes(args.mode, side)) continue;
      const PollDesc::Unblocked done =
          desc->Unblock(step.moment, side, args.signal, args.condition);
      ++home.env.counters.ready[Index(side)][static_cast<size_t>(done.effect)];
      result.effect = std::min(result.effect, done.effect);
      result.woken += done.woken;
      const bool kept =
          done.effect == ReadyEffect::kRemembered || done.effect == ReadyEffect::kCoalesced;
      result.expired = result.expired || (kept && done.expired);
    }
    if (result.effect != ReadyEffect::kRefused) step.Changed(home, *desc);
  }
  step.Leave(locks.held());
  return Step::NumberFor(home, desc != nullptr ? desc : found);
}

uint64_t Poller::Do(Step& step, Locks& locks, Shard& home, const SetDeadlineArgs& args,
                    SetDeadlineCall& call) {
  home.mutex().AssertHeld();
  const PollDesc::NewDeadline to = ToDeadline(step.moment.now, args);
  const bool future = args.what == SetDeadlineArgs::What::kTimeout
                          ? args.timeout > Nanos(0)
                          : to.state == Deadline::State::kArmed;
  PollDesc* const found = home.Find(args.name);
  PollDesc* desc = nullptr;
  Refusal refusal;
  SetDeadlineResult& result = call.result().emplace<SetDeadlineResult>();
  result.decided = step.moment.now.mono;
  if (args.condition == DeadlineCondition::kArmOrExtend && !future) {
    call.result() = Refusal{.reason = Reason::kBadTime};
  } else if (found == nullptr && args.generation == 0 && args.open_if_missing != nullptr &&
             PollDesc::Judge({}, to, args.condition) == DeadlineEffect::kRefused) {
    // A name is not opened for a change that its condition forbids.
    for (const Side side : kSides) {
      if (Includes(args.mode, side)) result.effect[Index(side)] = DeadlineEffect::kRefused;
    }
  } else {
    desc = Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
    if (desc == nullptr) call.result() = std::move(refusal);
  }
  if (desc != nullptr) {
    result.generation = desc->generation();
    desc->SetDeadline(step.moment, args.mode, to, args.condition, result);
    for (const Side side : kSides) {
      result.deadline[Index(side)] = desc->side(side).deadline;
      if (!Includes(args.mode, side)) continue;
      const auto effect = static_cast<size_t>(result.effect[Index(side)]);
      ++home.env.counters.deadlines[Index(side)][effect];
    }
    if (result.applied) step.Changed(home, *desc);
  }
  step.Leave(locks.held());
  return Step::NumberFor(home, desc != nullptr ? desc : found);
}

// Whether the store has failed, or is full and the operation would need room there. What was done
// before is answered again meanwhile: that is asked after the id was looked for.
template <class C>
bool Poller::Refuses(bool takes_room, C& call) const {
  // MO[room]: acquire; pairs with FailStore, which goes through the shards afterwards: who saw the
  // former state under a shard's lock has its answer in the line by then.
  const Room room = room_.load(std::memory_order_acquire);
  if (room == Room::kEnough || (room == Room::kFull && !takes_room)) return false;
  call.result() =
      Refusal{.reason = room == Room::kFull ? Reason::kLimitDisk : Reason::kStoreFailed};
  return true;
}

template bool Poller::Refuses(bool, WaitCall&) const;
template bool Poller::Refuses(bool, PollCall&) const;
template bool Poller::Refuses(bool, AckCall&) const;
template bool Poller::Refuses(bool, GetCall&) const;
template bool Poller::Refuses(bool, ListCall&) const;

uint64_t Poller::waiters() const {
  // Relaxed: a number to show, old as soon as it is read.
  return waiters_.load(std::memory_order_relaxed);
}

Counters Poller::Count(const Now& now) const {
  Counters sum;
  for (const auto& each : shards_) {
    const MutexLock lock(each->mutex());
    Counters counters = each->env.counters;
    counters.timers = each->env.timers.size();
    if (each->oldest != nullptr) counters.oldest_waiter = now.mono - each->oldest->begin;
    sum.Add(counters);
  }
  return sum;
}

}  // namespace waitd::core
