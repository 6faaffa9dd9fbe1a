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
NewDeadline ToDeadline(const Step& step, const SetDeadlineArgs& args) {
  const Now& now = step.now();
  NewDeadline to;
  if (args.what == SetDeadlineArgs::What::kClear) return to;
  // A duration counts from the first attempt of the message.
  const Nanos ago = SaturatingAdd(args.retry.sent_ago, now.mono - step.received());
  Nanos left = SaturatingSubtract(args.timeout, ago);
  if (args.what == SetDeadlineArgs::What::kAt) {
    to.absolute = true;
    left = args.at == WallTime::max() ? kForever : SaturatingSubtract(args.at, now.wall);
  }
  to.state = left > Nanos(0) ? Deadline::State::kArmed : Deadline::State::kExpired;
  to.at = SaturatingAdd(now.mono, std::max(left, Nanos(0)));
  to.wall = to.absolute && left > Nanos(0) ? args.at : WallOf(now, to.at);
  return to;
}

// Whether an operation may end every wait of the sides, and not only the first in line.
bool EndsAll(const Step& step, const SetDeadlineArgs& args) {
  return ToDeadline(step, args).state == Deadline::State::kExpired;
}

}  // namespace

/// The answer of an operation whose releases go on.
template <class Args, class C>
class Poller::LateAnswer final : public Conclusion {
 public:
  LateAnswer(const Step& step, size_t home, const Args& args, C& call,
             std::shared_ptr<Remembered> answer)
      : Conclusion(static_cast<uint32_t>(step.unfinished.size()),
                   std::get<typename C::Answer>(call.result()).woken),
        home_(home),
        calls_{&call},
        answer_(std::move(answer)) {
    if constexpr (std::is_same_v<Args, ReadyArgs>) {
      remembers_ = args.condition != ReadyCondition::kWaiting;
    }
    if (answer_ != nullptr) answer_->late = this;
  }

  /// A repeated call gets the answer as well.
  void Join(C& call) { calls_.push_back(&call); }

 private:
  void Conclude(Step& step, uint32_t woken) override {
    using T = typename C::Answer;
    Shard& home = step.shard(home_);
    home.mutex().AssertHeld();
    T result = std::get<T>(calls_.front()->result());
    result.woken = woken;
    if constexpr (std::is_same_v<T, ReadyResult>) {
      if (woken == 0) {  // polls that lack others
        result.effect = remembers_ ? ReadyEffect::kRemembered : ReadyEffect::kRefused;
      }
    }
    if (answer_ != nullptr) {
      answer_->late = nullptr;
      if (answer_->record != nullptr) home.env.unsaved.Touch(*answer_->record);
      answer_->value = result;
    }
    const uint64_t number = home.env.unsaved.Changed();
    for (C* const call : calls_) {
      call->result() = result;
      step.Answer(home, *call, number);
    }
  }

  const size_t home_;
  bool remembers_ = true;
  std::vector<C*> calls_;
  const std::shared_ptr<Remembered> answer_;
};

Poller::Poller(const Options& options, const Clock& clock, Journal* journal,
               std::function<void(Instant)> alarm)
    : options_(options), clock_(clock), journal_(journal), alarm_(std::move(alarm)) {
  budget_.SetLimit(Held::kDescriptors, options.max_descriptors);
  budget_.SetLimit(Held::kWaits, options.max_waiters);
  budget_.SetLimit(Held::kOutcomes, options.max_outcomes);
  budget_.SetLimit(Held::kDeliveries, options.max_deliveries);
  for (size_t i = 0; i < kShards; ++i) {
    shards_[i] = std::make_unique<Shard>(i, options.unwritten_for, budget_, journal);
  }
}

Poller::~Poller() = default;

// The name, settled, or null; under the locks of the polls that the operation may end at once. Who
// gets a signal is known in the hold in which it comes: behind more than a thousand that are
// overdue, or lack other signals, that takes more holds.
PollDesc* Poller::FindFor(Step& step, Shard& home, std::string_view name, Mode mode, bool all) {
  for (bool first = true;; first = false) {
    home.mutex().AssertHeld();
    PollDesc* const found = home.Find(name);
    if (found == nullptr) return nullptr;
    found->Settle(step);
    const auto alone = [&](Side side) {
      return !Includes(mode, side) || found->side(side).NeedsNoMore(step.now().mono);
    };
    if (alone(Side::kRead) && alone(Side::kWrite)) return found;
    ShardSet needed = 0;
    if (!found->NeededFor(step, mode, all, first, &needed)) {
      step.Again();
    } else if (step.Widen(needed)) {
      return found;
    }
  }
}

// What an operation works on: `desc`, which its shard found under the name, or a new one. Null:
// refused, with no effect.
PollDesc* Poller::Resolve(Step& step, Shard& home, PollDesc* desc, std::string_view name,
                          uint64_t generation, const OpenOptions* open_if_missing, Account* account,
                          Refusal& refusal) {
  home.mutex().AssertHeld();
  if (desc == nullptr) {
    refusal.reason = Reason::kNoDescriptor;
    if (generation != 0 || open_if_missing == nullptr) return nullptr;
    if (!ReserveDescriptors(AmountOf(name, open_if_missing->labels), account, refusal))
      return nullptr;
    return &Create(step, home, name, *open_if_missing, options_.default_idle_ttl, account);
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
  desc->NoteUse(step.now().mono);
  desc->Settle(step);
  return desc;
}

bool Poller::ReserveDescriptors(Amount more, Account* account, Refusal& refusal) {
  const Budget::Verdict verdict = budget_.Take(Held::kDescriptors, account, more);
  if (verdict.over) SetLimit(Reason::kLimitDescriptors, verdict, refusal);
  return !verdict.over;
}

// A name that is not open, for which a descriptor was reserved.
PollDesc& Poller::Create(Step& step, Shard& home, std::string_view name, const OpenOptions& options,
                         Nanos default_idle_ttl, Account* account) {
  home.mutex().AssertHeld();
  PollDesc& desc = home.Create(name, KindToOpen(&options), step.now());
  desc.account = AccountRef(account);
  if (!options.labels.empty() || options.ephemeral) {
    desc.options = std::make_unique<const OpenOptions>(options);
  }
  desc.ArmIdle(options.idle_ttl.value_or(default_idle_ttl), step.now().mono);
  return desc;
}

void Poller::Remove(Shard& home, PollDesc& desc) {
  home.mutex().AssertHeld();
  budget_.Give(Held::kDescriptors, desc.account.get(), desc.amount());
  desc.account = {};
  home.Remove(desc);
}

template <class Args, class C>
void Poller::RunOne(Instant received, const Args& args, C& call) {
  Step step(*this, received);
  Shard& home = shard(ShardOf(args.name));
  step.Lock(SetOf(home.index()));
  Once(step, home, args, call);
}

void Poller::Open(Instant received, const OpenArgs& args, OpenCall& call) {
  RunOne(received, args, call);
}
void Poller::Close(Instant received, const CloseArgs& args, CloseCall& call) {
  RunOne(received, args, call);
}
void Poller::Reset(Instant received, const ResetArgs& args, ResetCall& call) {
  RunOne(received, args, call);
}
void Poller::Wait(Instant received, const WaitArgs& args, WaitCall& call) {
  RunOne(received, args, call);
}
void Poller::Ready(Instant received, const ReadyArgs& args, ReadyCall& call) {
  RunOne(received, args, call);
}
void Poller::SetDeadline(Instant received, const SetDeadlineArgs& args, SetDeadlineCall& call) {
  RunOne(received, args, call);
}
void Poller::Ack(const AckArgs& args, AckCall& call) { RunOne(kWhenCarriedOut, args, call); }

void Poller::Run(Instant received, std::span<const Operation> operations, EffectBatch* batch) {
  WAITD_CHECK(operations.size() <= kRunMax, "too many operations at once");
  while (!operations.empty()) {
    const auto poll = std::find_if(operations.begin(), operations.end(), [](const Operation& each) {
      return std::holds_alternative<Op<PollArgs, PollCall>>(each);
    });
    const auto before = static_cast<size_t>(poll - operations.begin());
    RunByShard(received, operations.first(before), batch);
    if (poll == operations.end()) break;
    const auto& op = std::get<Op<PollArgs, PollCall>>(*poll);
    Poll(received, *op.args, *op.call, batch);
    operations = operations.subspan(before + 1);
  }
}

// Those of one shard in their order, and each shard once: a list of them for each, in one array.
void Poller::RunByShard(Instant received, std::span<const Operation> operations,
                        EffectBatch* batch) {
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
  Step step(*this, received, batch);
  for (; touched != 0; touched &= touched - 1) {
    Shard& home = shard(First(touched));
    const ShardSet set = SetOf(home.index());
    step.Unlock();
    step.Lock(set);
    for (uint32_t i = first[home.index()]; i != kNone; i = next[i]) {
      if (step.held() != set || !step.Spend(1)) {
        // The one before needed other locks, or there was much to do: others come first.
        step.Unlock();
        step.Lock(set);
      }
      std::visit(
          [&](const auto& op) {
            if constexpr (requires { op.args->name; }) Once(step, home, *op.args, *op.call);
          },
          operations[i]);
    }
  }
}

// A call that may carry a request_id: what it did once it does not do again.
template <class Args, class C>
void Poller::Once(Step& step, Shard& home, const Args& args, C& call) {
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  // Before the id is looked up: when no lock is held meanwhile, another call with it may come
  // first.
  PollDesc* found = nullptr;
  if constexpr (std::is_same_v<Args, ReadyArgs>) {
    found = FindFor(step, home, args.name, args.mode, false);
  } else if constexpr (std::is_same_v<Args, CloseArgs>) {
    found = FindFor(step, home, args.name, Mode::kReadWrite, true);
  } else if constexpr (std::is_same_v<Args, SetDeadlineArgs>) {
    found = EndsAll(step, args) ? FindFor(step, home, args.name, args.mode, true)
                                : home.Find(args.name);
  } else {
    found = home.Find(args.name);
  }
  constexpr bool kTakesRoom = !std::is_same_v<Args, CloseArgs>;
  uint64_t content = 0;
  if (!args.retry.id.empty()) {
    content = ContentOf(args);
    if (RecallRequest(step, home, args, content, call)) return;
  }
  if (Refuses(kTakesRoom, call)) return step.Answer(home, call, 0);
  PollDesc* const desc = Do(step, home, found, args, call);
  uint64_t number = Step::NumberFor(home, desc);
  using T = typename C::Answer;
  std::shared_ptr<Remembered> answer;
  if (const T* const result = std::get_if<T>(&call.result());
      result != nullptr && !args.retry.id.empty()) {
    IdRecord& record = home.ids.Insert(KeyOf(IdUse::kRequest, args.name, args.retry), content);
    record.account = AccountRef(call.account());
    T remembered = *result;
    if constexpr (requires { remembered.woken; }) {
      // After a crash amid a release nobody knows better.
      for (const Release* const each : step.unfinished) remembered.woken += each->waits();
    }
    number = Remember(step, home, record, std::make_shared<Remembered>(std::move(remembered)));
    answer = record.answer;
  }
  if constexpr (requires(T result) { result.woken; }) {
    if (!step.unfinished.empty()) {
      const auto late =
          std::make_shared<LateAnswer<Args, C>>(step, home.index(), args, call, answer);
      for (Release* const each : step.unfinished) each->set_conclusion(late);
      step.unfinished.clear();
      return;
    }
  }
  step.Answer(home, call, number, args.name);
}

// True: the call is answered by what is known of its id, or will be.
template <class Args, class C>
bool Poller::RecallRequest(Step& step, Shard& home, const Args& args, uint64_t content, C& call) {
  home.mutex().AssertHeld();
  IdRecord* const known = home.ids.Find(KeyOf(IdUse::kRequest, args.name, args.retry));
  Refusal refusal;
  const bool same = known != nullptr && known->IsOf<typename C::Answer>(content);
  if (!Recall(step, home, known, same, args.retry, refusal)) {
    call.result() = std::move(refusal);
  } else if (known == nullptr) {
    return false;
  } else {
    if constexpr (requires(typename C::Answer result) { result.woken; }) {
      if (known->answer->late != nullptr) {
        static_cast<LateAnswer<Args, C>*>(known->answer->late)->Join(call);
        return true;
      }
    }
    call.result() = std::get<typename C::Answer>(known->answer->value);
  }
  step.Answer(home, call, Step::NumberFor(home, nullptr), args.name);
  return true;
}

PollDesc* Poller::Do(Step& step, Shard& home, PollDesc* found, const OpenArgs& args,
                     OpenCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  PollDesc* desc = nullptr;
  if (found == nullptr) {
    if (ReserveDescriptors(AmountOf(args.name, args.options.labels), call.account(), refusal)) {
      desc = &Create(step, home, args.name, args.options, kForever, call.account());
    }
  } else if (args.must_create) {
    refusal = {.reason = Reason::kExists, .generation = found->generation()};
  } else {
    desc = Resolve(step, home, found, args.name, 0, &args.options, call.account(), refusal);
  }
  if (desc == nullptr) {
    call.result() = std::move(refusal);
    return found;
  }
  call.result() = OpenResult{Describe(step.now(), *desc, false), found == nullptr, step.now().mono};
  return desc;
}

PollDesc* Poller::Do(Step& step, Shard& home, PollDesc* found, const CloseArgs& args,
                     CloseCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  const bool others = found != nullptr && args.session != 0 &&
                      (found->options == nullptr || found->options->session != args.session);
  if (others) found = nullptr;
  PollDesc* const desc =
      Resolve(step, home, found, args.name, args.generation, nullptr, nullptr, refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    call.result() = CloseResult{desc->Evict(step)};
    Remove(home, *desc);
  }
  return nullptr;
}

PollDesc* Poller::Do(Step& step, Shard& home, PollDesc* found, const ResetArgs& args,
                     ResetCall& call) {
  home.mutex().AssertHeld();
  Refusal refusal;
  PollDesc* const desc =
      Resolve(step, home, found, args.name, args.generation, nullptr, nullptr, refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
    return found;
  }
  ResetResult& result = call.result().template emplace<ResetResult>();
  for (const Side side : kSides) {
    if (Includes(args.mode, side)) result.reset &= desc->Reset(step, side, &result.forgot);
  }
  return desc;
}

PollDesc* Poller::Do(Step& step, Shard& home, PollDesc* found, const ReadyArgs& args,
                     ReadyCall& call) {
  home.mutex().AssertHeld();
  ReadyResult& result = call.result().template emplace<ReadyResult>();
  // On a name that is not open nobody waits: it is not opened for that.
  if (found == nullptr && args.generation == 0 && args.open_if_missing != nullptr &&
      args.condition == ReadyCondition::kWaiting) {
    return nullptr;
  }
  Refusal refusal;
  PollDesc* const desc = Resolve(step, home, found, args.name, args.generation,
                                 args.open_if_missing, call.account(), refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
    return found;
  }
  result.generation = desc->generation();
  for (const Side side : kSides) {
    if (!Includes(args.mode, side)) continue;
    const Unblocked done = desc->Unblock(step, side, args.signal, args.condition);
    ++home.env.counters.ready[Index(side)][static_cast<size_t>(done.effect)];
    result.effect = std::min(result.effect, done.effect);
    result.woken += done.woken;
    const bool kept =
        done.effect == ReadyEffect::kRemembered || done.effect == ReadyEffect::kCoalesced;
    result.expired = result.expired || (kept && done.expired);
  }
  return desc;
}

PollDesc* Poller::Do(Step& step, Shard& home, PollDesc* found, const SetDeadlineArgs& args,
                     SetDeadlineCall& call) {
  home.mutex().AssertHeld();
  const NewDeadline to = ToDeadline(step, args);
  const bool future = args.what == SetDeadlineArgs::What::kTimeout
                          ? args.timeout > Nanos(0)
                          : to.state == Deadline::State::kArmed;
  Refusal refusal;
  SetDeadlineResult& result = call.result().template emplace<SetDeadlineResult>();
  result.decided = step.now().mono;
  if (args.condition == DeadlineCondition::kArmOrExtend && !future) {
    call.result() = Refusal{.reason = Reason::kBadTime};
    return found;
  }
  if (found == nullptr && args.generation == 0 && args.open_if_missing != nullptr &&
      JudgeDeadline({}, to, args.condition) == DeadlineEffect::kRefused) {
    // A name is not opened for a change that its condition forbids.
    for (const Side side : kSides) {
      if (Includes(args.mode, side)) result.effect[Index(side)] = DeadlineEffect::kRefused;
    }
    return nullptr;
  }
  PollDesc* const desc = Resolve(step, home, found, args.name, args.generation,
                                 args.open_if_missing, call.account(), refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
    return found;
  }
  result.generation = desc->generation();
  desc->SetDeadline(step, args.mode, to, args.condition, result);
  for (const Side side : kSides) {
    if (!Includes(args.mode, side)) continue;
    const auto effect = static_cast<size_t>(result.effect[Index(side)]);
    ++home.env.counters.deadlines[Index(side)][effect];
  }
  return desc;
}

// Whether the store has failed, or is full and the operation would need room there. A full store is
// asked for after the id was looked up: a repeated call is answered while the disk is full.
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

uint64_t Poller::waiters() const { return budget_.held(Held::kWaits).things; }

Counters Poller::Count() const {
  const Instant now = clock_.Read().mono;
  Counters sum;
  for (const auto& each : shards_) {
    const MutexLock lock(each->mutex());
    Counters counters = each->env.counters;
    counters.timers = each->env.timers.size();
    // Those of a release are not shown any more, but leave one by one.
    const bool any = std::any_of(counters.waiters.begin(), counters.waiters.end(),
                                 [](uint64_t parked) { return parked > 0; });
    if (any && each->oldest != nullptr) counters.oldest_waiter = now - each->oldest->begin;
    sum.Add(counters);
  }
  sum.deliveries = budget_.held(Held::kDeliveries).things;
  return sum;
}

}  // namespace waitd::core
