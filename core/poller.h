#ifndef WAITD_CORE_POLLER_H_
#define WAITD_CORE_POLLER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/budget.h"
#include "core/call.h"
#include "core/clock.h"
#include "core/forward.h"
#include "core/journal.h"
#include "core/poller_options.h"
#include "core/stats.h"

namespace waitd::core {

/// The operation's message was received when it is carried out: for who gets no messages.
inline constexpr Instant kWhenCarriedOut = Instant::min();

/// The table of named poll descriptors: every operation of the service, over all shards.
///
/// `received` is when the operation's message was received: its timeouts and `sent_ago` count from
/// there. What is due is judged by the time of the hold: each hold of a lock reads the clock.
///
/// Work:     no operation does more than Options::units_max units of work in one hold of a lock.
///           What is left RunTimers does, hold by hold; the caller is answered after the last.
/// Threads:  any method by anyone at any time, but RunTimers by one thread at a time, and so
///           Collect and Saved.
/// Lifetime: a call passed in stays valid until its Done, which may run before the operation
///           returns and on another thread. A poller is destroyed when no operation is under way;
///           calls still parked are forgotten, so end them with EndWaits first.
/// Batches:  what takes an EffectBatch lets calls that end go in it; null: each step is one.
/// Errors:   answered as a Refusal; a refused operation has no effect. The caller checks the form
///           of names and labels, which the core never looks into.
/// Source:   the Go runtime's netpoll.go, its functions one by one; see ARCHITECTURE.md.
class Poller {
 public:
  using Options = PollerOptions;
  using Cut = PollerCut;

  /// How many operations Run takes.
  static constexpr size_t kRunMax = 1000;

  /// `alarm` tells the timer thread that RunTimers has to be called at this instant, earlier than
  /// it was told before. It runs on the thread of the operation, with no lock held. The clock and
  /// `journal`, if there is one, outlive the poller.
  Poller(const Options& options, const Clock& clock, Journal* journal,
         std::function<void(Instant)> alarm);
  ~Poller();

  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  void Open(Instant received, const OpenArgs& args, OpenCall& call);
  void Close(Instant received, const CloseArgs& args, CloseCall& call);
  void Reset(Instant received, const ResetArgs& args, ResetCall& call);
  void Wait(Instant received, const WaitArgs& args, WaitCall& call);
  void Ready(Instant received, const ReadyArgs& args, ReadyCall& call);
  void SetDeadline(Instant received, const SetDeadlineArgs& args, SetDeadlineCall& call);
  void Poll(Instant received, const PollArgs& args, PollCall& call, EffectBatch* batch = nullptr);
  void Ack(const AckArgs& args, AckCall& call);

  /// Up to kRunMax operations at once: each shard's lock is taken once for all between two polls,
  /// if they are short. Those on one name take effect in their order.
  void Run(Instant received, std::span<const Operation> operations, EffectBatch* batch = nullptr);

  void Get(const GetArgs& args, GetCall& call);
  void List(const ListArgs& args, ListCall& call);

  /// Ends a parked call with kCancelled, or refused, unless it has its outcome. The call's Wait or
  /// Poll has returned; its Done may have run, but the object is still there.
  void Cancel(Parkable& call, EffectBatch* batch = nullptr,
              std::optional<Reason> refused = std::nullopt);

  /// The same for a call whose client has gone: with an id its wait goes on for linger, so that a
  /// later call with that id adopts it. As Cancel.
  void Abandon(Parkable& call);

  /// The answer of this call, which is Done, was never written to its client. Its signals come
  /// back; with an id only when nobody asks for them in this time; those that wait for an Ack stay.
  void Unwritten(const WaitCall& call, Nanos linger);
  void Unwritten(const PollCall& call, Nanos linger);

  /// Carries out what is due, a bounded part of it, in the order of the instants of each shard, and
  /// the work that operations have left. Returns when it must be called again: at once, if that is
  /// not in the future.
  Instant RunTimers(EffectBatch* batch = nullptr);

  /// From now on every Wait and Poll is refused with kDraining; those that are parked stay.
  void RefuseWaits();
  /// After RefuseWaits: ends parked waits with kDraining, a bounded number. True: call it again.
  bool EndWaits() { return EndWaits(Reason::kDraining); }

  /// Takes from `dirty` the shards that it cuts, and copies what is to be saved of them, a bounded
  /// part of it in one hold. True: call it again with the same three. A shard that stays in `dirty`
  /// was changed together with one that is in the cut already; it comes with the next.
  [[nodiscard]] bool Collect(ShardSet& dirty, Changes& to, Cut& cut);

  /// All that was collected in this cut is safe: lets go of what waited for it, a bounded part.
  /// True: call it again.
  [[nodiscard]] bool Saved(Cut& cut, EffectBatch* batch = nullptr);

  /// Nothing more can be saved, and what was collected last may be or may not: whatever waits, and
  /// each operation from now on, is refused with kStoreFailed. The server ends.
  void FailStore(EffectBatch* batch = nullptr);

  /// While there is no room: operations that would need some are refused with kLimitDisk.
  void SetFull(bool full);
  Counters Count() const;  ///< what was counted so far, summed over the shards
  /// Whether this session has that name open as ephemeral.
  bool HasEphemeral(std::string_view name, uint64_t session) const;
  Nanos linger() const { return options_.linger; }  ///< of a wait with an id, after its call
  uint64_t waiters() const;  ///< parked at this moment; a poll counts by its targets

  /// All that clients make it hold. Calls name who is charged (Effect::account).
  Budget& budget() { return budget_; }

 private:
  friend class Denial;
  friend class Recovery;
  friend class Step;
  friend class PollDesc;
  class ListHops;
  template <class Args, class C>
  class LateAnswer;

  Shard& shard(size_t index) const { return *shards_[index]; }
  template <class C>
  bool Refuses(bool takes_room, C& call) const;
  bool StoreFailed() const {
    // MO[room]: acquire; pairs with FailStore.
    return room_.load(std::memory_order_acquire) == Room::kFailed;
  }
  bool EndWaits(Reason reason, EffectBatch* batch = nullptr);
  // Operations (poller.cc, poller_wait.cc, poller_poll.cc).
  template <class Args, class C>
  void RunOne(Instant received, const Args& args, C& call);
  void RunByShard(Instant received, std::span<const Operation> operations, EffectBatch* batch);
  template <class Args, class C>
  void Once(Step& step, Shard& home, const Args& args, C& call);
  template <class Args, class C>
  bool RecallRequest(Step& step, Shard& home, const Args& args, uint64_t content, C& call);
  void Once(Step& step, Shard& home, const WaitArgs& args, WaitCall& call);
  void Once(Step& step, Shard& home, const AckArgs& args, AckCall& call);
  PollDesc* Do(Step& step, Shard& home, PollDesc* found, const OpenArgs& args, OpenCall& call);
  PollDesc* Do(Step& step, Shard& home, PollDesc* found, const CloseArgs& args, CloseCall& call);
  PollDesc* Do(Step& step, Shard& home, PollDesc* found, const ResetArgs& args, ResetCall& call);
  PollDesc* Do(Step& step, Shard& home, PollDesc* found, const ReadyArgs& args, ReadyCall& call);
  PollDesc* Do(Step& step, Shard& home, PollDesc* found, const SetDeadlineArgs& args,
               SetDeadlineCall& call);
  bool BeginPoll(Step& step, const PollArgs& args, const Budget::Verdict& full, PollWaiter& poll,
                 PollCall& call);
  void DoPoll(Step& step, const PollArgs& args, PollCall& call);

  PollDesc* FindFor(Step& step, Shard& home, std::string_view name, Mode mode, bool all);
  PollDesc* Resolve(Step& step, Shard& home, PollDesc* found, std::string_view name,
                    uint64_t generation, const OpenOptions* open_if_missing, Account* account,
                    Refusal& refusal);
  PollDesc& Create(Step& step, Shard& home, std::string_view name, const OpenOptions& options,
                   Nanos default_idle_ttl, Account* account);
  bool ReserveDescriptors(Amount more, Account* account, Refusal& refusal);
  void Remove(Shard& shard, PollDesc& desc);
  static Account* AccountOf(const Waiter& waiter);
  static void SetLimit(Reason reason, const Budget::Verdict& verdict, Refusal& refusal);
  Budget::Verdict MayHold(const PollDesc* desc, Side side, Account* account, uint64_t more) const;
  void Bound(const Step& step, std::optional<Nanos> timeout, Nanos sent_ago, Waiter& waiter) const;
  PollDesc* ResolveWait(Step& step, Shard& home, PollDesc* found, const WaitArgs& args,
                        const Budget::Verdict& full, Account* account, Refusal& refusal);
  template <class C>
  void Parked(Shard& home, Waiter& waiter, C& call);
  void Withdraw(Parkable& call, bool may_linger, EffectBatch* batch, std::optional<Reason> refused);
  bool StillWaits(Step& step, Waiter& waiter);
  static void End(Step& step, Waiter& waiter, std::optional<Reason> refused = std::nullopt);
  template <class W>
  void Linger(Step& step, Shard& home, W& waiter);
  static Parkable* CallOf(const Waiter& waiter);
  static Refusal DoubleWait(const Now& now, const Waiter& holder, uint64_t generation);
  bool CheckTargets(Step& step, const PollArgs& args, const Budget::Verdict& full, PollWaiter& poll,
                    Account* account, Refusal& refusal);
  static void MakeTargets(const PollArgs& args, PollWaiter& poll);
  bool MayDeliver(Step& step, PollWaiter& poll, Account* account, Refusal& refusal);
  bool FreeFor(Step& step, const PollArgs& args, PollWaiter& poll, Refusal& refusal);
  void OpenTargets(Step& step, const PollArgs& args, PollWaiter& poll, Account* account);
  bool SettlePoll(Step& step, PollWaiter& poll, uint32_t life);
  // Ids and what becomes of their signals (poller_ids.cc).
  bool Forgotten(const Step& step, Shard& home, const Retry& retry) const;
  bool Recall(const Step& step, Shard& home, const IdRecord* known, bool same, const Retry& retry,
              Refusal& refusal) const;
  template <class W, class C>
  bool RecallParking(Step& step, Shard& home, const IdKey& key, uint64_t content,
                     const Retry& retry, std::string_view name, C& call);
  template <class W, class C>
  void Adopt(Step& step, Shard& home, IdRecord& record, W& waiter, C& call);
  template <class C>
  void Repeat(Step& step, Shard& home, IdRecord& record, std::string_view name, C& call);
  uint64_t Remember(Step& step, Shard& home, IdRecord& record, std::shared_ptr<Remembered> answer);
  template <class R>
  uint64_t RememberEnd(Step& step, Shard& home, Waiter& waiter, bool heard, Result<R>& result,
                       std::shared_ptr<Remembered>* to);
  void Forget(Shard& home, IdRecord& record);
  void EndAbsent(Shard& home, IdRecord& record);
  void Age(Step& step, DescEnv& env, Aging& item, size_t bytes, Instant recorded);
  void Unage(DescEnv& env, Aging& item);
  void ForgetOldest(const Step& step, Shard& home, Aging& oldest, bool own);
  static Aging* Oldest(Shard& home, Account* own);
  bool TooManyOutcomes(const Account* own) const;
  void DropOutcomes(Account* own);
  bool FindOldest(OldestShard& found, Account* own);
  bool DropFrom(size_t victim, Instant until, Account* own);
  // Deliveries (poller_deliveries.cc).
  void AgeKept(Step& step, Remembered& answer);
  void Keep(Step& step, const std::shared_ptr<Remembered>& answer, Instant until);
  void Unkeep(Step& step, Shard& home, Remembered& answer);
  void WidenFor(Step& step, const std::vector<WaitResult>& signals, ShardSet more = 0);
  void Expire(Step& step, Delivery& delivery);
  bool ExpireOverdue(Step& step, const std::vector<WaitResult>& signals);
  void LinkAll(Step& step);
  bool GiveBack(Step& step, const std::vector<WaitResult>& signals);
  template <class R>
  void UnwrittenSignals(const Parkable& call, Nanos linger, const Result<R>& result);
  void Fire(Shard& shard, const FiredTimer& fired, EffectBatch* batch);
  void FireIdle(Step& step, Shard& shard, DescTimer& timer, uint32_t sequence);
  void FireWait(Step& step, Shard& shard, SingleWaiter& waiter, uint32_t sequence);
  void FireRetention(Step& step, Shard& home);
  void FireAbsent(Step& step, Absent& absent, uint32_t sequence);
  void FireDelivery(Step& step, Delivery& delivery, uint32_t sequence);
  void RunWork(Shard& home, EffectBatch* batch);
  DescriptorInfo Describe(const Now& now, const PollDesc& desc, bool with_waiters) const;
  const Options options_;
  const Clock& clock_;
  Journal* const journal_;  // null: nothing is saved
  const std::function<void(Instant)> alarm_;
  Budget budget_;
  OldestShard oldest_;  // outcome, of all
  std::array<std::unique_ptr<Shard>, kShards> shards_;
  std::atomic<bool> draining_{false};
  enum class Room : uint8_t { kEnough, kFull, kFailed };
  std::atomic<Room> room_{Room::kEnough};  // to save things in
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLLER_H_
