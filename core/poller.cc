#include "core/poller.h"

#include <algorithm>
#include <utility>

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
  Nanos left = SaturatingSubtract(args.timeout, args.sent_ago);
  if (args.what == SetDeadlineArgs::What::kAt) {
    to.absolute = true;
    left = args.at == WallTime::max() ? kForever : SaturatingSubtract(args.at, now.wall);
  }
  to.state = left > Nanos(0) ? Deadline::State::kArmed : Deadline::State::kExpired;
  to.at = SaturatingAdd(now.mono, std::max(left, Nanos(0)));
  to.wall = to.absolute && left > Nanos(0) ? args.at : WallOf(now, to.at);
  return to;
}

}  // namespace

Poller::Poller(const Options& options, Journal& journal, std::function<void(Instant)> alarm)
    : options_(options),
      journal_(journal),
      alarm_(std::move(alarm)),
      next_generation_(options.first_generation) {
  for (size_t i = 0; i < kShards; ++i) shards_[i] = std::make_unique<Shard>(i);
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
  if (desc->Settle(step.moment)) step.Changed(SetOf(home.index()), desc);
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

bool Poller::ReserveWaiter() {
  if (waiters_.fetch_add(1, std::memory_order_relaxed) < options_.max_waiters) return true;
  ReleaseWaiter();
  return false;
}

void Poller::ReleaseWaiter() { waiters_.fetch_sub(1, std::memory_order_relaxed); }

// A name that is not open, for which a descriptor was reserved.
PollDesc& Poller::Create(Step& step, Shard& home, std::string_view name, const OpenOptions& options,
                         Nanos default_idle_ttl) {
  home.mutex().AssertHeld();
  const uint64_t generation = next_generation_.fetch_add(1, std::memory_order_relaxed);
  const Now& now = step.moment.now;
  PollDesc& desc = home.Create(name, options.kind.value_or(Kind::kExclusive), generation, now);
  if (!options.labels.empty()) desc.labels = std::make_unique<const Labels>(options.labels);
  desc.idle_ttl = options.idle_ttl.value_or(default_idle_ttl);
  const Instant idle_at = SaturatingAdd(now.mono, desc.idle_ttl);
  if (idle_at != kNever) {
    home.env.timers.Arm(desc.idle_timer, idle_at, static_cast<uint32_t>(generation));
  }
  step.Changed(SetOf(home.index()), &desc);
  return desc;
}

void Poller::Remove(Shard& home, PollDesc& desc) {
  home.mutex().AssertHeld();
  home.Remove(desc);
  descriptors_.fetch_sub(1, std::memory_order_relaxed);
}

void Poller::Open(const Now& now, const OpenArgs& args, OpenCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  {
    const Locks locks(*this, set);
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
      call.result = std::move(refusal);
    } else {
      call.result = OpenResult{Describe(step, *desc, false), found == nullptr};
    }
    step.Leave(set);
    step.Answer(home, call, step.NumberFor(home, desc != nullptr ? desc : found));
  }
  step.Finish();
}

void Poller::Close(const Now& now, const CloseArgs& args, CloseCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    Refusal refusal;
    PollDesc* const found = home.Find(args.name);
    PollDesc* const desc = Resolve(step, home, found, args.name, args.generation, nullptr, refusal);
    if (desc == nullptr) {
      call.result = std::move(refusal);
    } else {
      call.result = CloseResult{desc->Evict(step.moment)};
      step.Changed(set, desc);
      step.Leave(set);
      Remove(home, *desc);
    }
    step.Answer(home, call, step.NumberFor(home, nullptr));
  }
  step.Finish();
}

void Poller::Reset(const Now& now, const ResetArgs& args, ResetCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    Refusal refusal;
    PollDesc* const found = home.Find(args.name);
    PollDesc* const desc = Resolve(step, home, found, args.name, args.generation, nullptr, refusal);
    if (desc == nullptr) {
      call.result = std::move(refusal);
    } else {
      ResetResult& result = call.result.emplace<ResetResult>();
      for (const Side side : kSides) {
        if (!Includes(args.mode, side)) continue;
        result.reset &= desc->Reset(side, &result.forgot);
      }
      if (result.forgot) step.Changed(set, desc);
    }
    step.Leave(set);
    step.Answer(home, call, step.NumberFor(home, found));
  }
  step.Finish();
}

// The instant at which a wait ends by itself.
void Poller::Bound(const Now& now, std::optional<Nanos> timeout, Nanos sent_ago,
                   Waiter& waiter) const {
  waiter.begin = now.mono;
  waiter.bound = timeout.has_value() ? TimeoutCause::kWait : TimeoutCause::kMaxWait;
  waiter.until =
      SaturatingAdd(now.mono, SaturatingSubtract(timeout.value_or(options_.max_wait), sent_ago));
}

void Poller::Wait(const Now& now, const WaitArgs& args, WaitCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  const WaitMode mode = WaitModeOf(args.side);
  {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    SingleWaiter& waiter = home.waits.Get();
    Bound(now, args.timeout, args.sent_ago, waiter);
    const bool park = waiter.until > now.mono;
    const bool slot = park && ReserveWaiter();
    Refusal refusal;
    PollDesc* const found = home.Find(args.name);
    PollDesc* desc = nullptr;
    // MO[draining]: acquire; pairs with RefuseWaits, which EndWaits follows lock by lock.
    if (draining_.load(std::memory_order_acquire)) {
      refusal.reason = Reason::kDraining;
    } else if (found == nullptr && park && !slot && args.generation == 0 &&
               args.open_if_missing != nullptr) {
      refusal = {.reason = Reason::kLimitWaiters, .limit = options_.max_waiters};
    } else {
      desc = Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
    }
    auto blocked = PollDesc::Blocked::kEnded;
    if (desc == nullptr) {
      call.result = std::move(refusal);
    } else {
      waiter.call = &call;
      waiter.ignore_deadline = args.ignore_deadline;
      waiter.place.desc = desc;
      waiter.place.side = args.side;
      const Waiter* holder = nullptr;
      const bool was_ready = desc->side(args.side).ready;
      blocked = desc->Block(step.moment, waiter, slot, &holder);
      if (blocked == PollDesc::Blocked::kDoubleWait) {
        call.result = DoubleWait(now, *holder, desc->generation());
      } else if (blocked == PollDesc::Blocked::kEnded) {
        if (was_ready != desc->side(args.side).ready) step.Changed(set, desc);
        const bool tried = std::get<WaitResult>(call.result).cause == TimeoutCause::kWait;
        if (park && !slot && tried) {
          call.result = Refusal{.reason = Reason::kLimitWaiters, .limit = options_.max_waiters};
        }
      }
    }
    if (blocked == PollDesc::Blocked::kParked) {
      call.waiter_ = &waiter;
      call.life_ = waiter.life();
      call.shard_ = static_cast<uint32_t>(home.index());
      home.Park(waiter, mode);
      step.Leave(set);
    } else {
      home.CountEnd(mode, call.result);
      waiter.Recycle();
      home.waits.Put(waiter);
      if (slot) ReleaseWaiter();
      step.Leave(set);
      step.Answer(home, call, step.NumberFor(home, desc != nullptr ? desc : found));
    }
  }
  step.Finish();
}

std::string_view Poller::Client(const Waiter& waiter) {
  return waiter.poll ? static_cast<const PollWaiter&>(waiter).call->client()
                     : static_cast<const SingleWaiter&>(waiter).call->client();
}

Refusal Poller::DoubleWait(const Now& now, const Waiter& holder, uint64_t generation) {
  return {.reason = Reason::kDoubleWait,
          .generation = generation,
          .waiter = std::string(Client(holder)),
          .waiting_since = WallOf(now, holder.begin)};
}

void Poller::Ready(const Now& now, const ReadyArgs& args, ReadyCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  {
    Locks locks(*this, SetOf(home.index()));
    home.mutex().AssertHeld();
    PollDesc* found = home.Find(args.name);
    while (found != nullptr && !locks.Widen(found->PollShards(args.mode))) {
      found = home.Find(args.name);
    }
    ReadyResult& result = call.result.emplace<ReadyResult>();
    PollDesc* desc = nullptr;
    // On a name that is not open nobody waits: it is not opened for that.
    if (found != nullptr || args.generation != 0 || args.open_if_missing == nullptr ||
        args.condition != ReadyCondition::kWaiting) {
      Refusal refusal;
      desc = Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
      if (desc == nullptr) call.result = std::move(refusal);
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
      if (result.effect != ReadyEffect::kRefused) step.Changed(locks.held(), desc);
    }
    step.Leave(locks.held());
    step.Answer(home, call, step.NumberFor(home, desc != nullptr ? desc : found));
  }
  step.Finish();
}

void Poller::SetDeadline(const Now& now, const SetDeadlineArgs& args, SetDeadlineCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  const PollDesc::NewDeadline to = ToDeadline(now, args);
  const bool future = args.what == SetDeadlineArgs::What::kTimeout
                          ? args.timeout > Nanos(0)
                          : to.state == Deadline::State::kArmed;
  {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    PollDesc* const found = home.Find(args.name);
    PollDesc* desc = nullptr;
    Refusal refusal;
    SetDeadlineResult& result = call.result.emplace<SetDeadlineResult>();
    if (args.condition == DeadlineCondition::kArmOrExtend && !future) {
      call.result = Refusal{.reason = Reason::kBadTime};
    } else if (found == nullptr && args.generation == 0 && args.open_if_missing != nullptr &&
               PollDesc::Judge({}, to, args.condition) == DeadlineEffect::kRefused) {
      // A name is not opened for a change that its condition forbids.
      for (const Side side : kSides) {
        if (Includes(args.mode, side)) result.effect[Index(side)] = DeadlineEffect::kRefused;
      }
    } else {
      desc = Resolve(step, home, found, args.name, args.generation, args.open_if_missing, refusal);
      if (desc == nullptr) call.result = std::move(refusal);
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
      if (result.applied) step.Changed(set, desc);
    }
    step.Leave(set);
    step.Answer(home, call, step.NumberFor(home, desc != nullptr ? desc : found));
  }
  step.Finish();
}

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

void Poller::Release() {
  for (const auto& each : shards_) {
    EffectList free;
    {
      const MutexLock lock(each->mutex());
      while (Effect* const effect = each->line.Pop(journal_.Committed())) free.Push(*effect, 0);
    }
    while (Effect* const effect = free.Pop(0)) effect->Done();
  }
}

}  // namespace waitd::core
