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

#include "core/call.h"
#include "core/clock.h"
#include "core/journal.h"
#include "core/stats.h"

namespace waitd::core {

class PollDesc;
class PollWaiter;
struct IdAlarm;
struct IdKey;
struct IdRecord;
struct Token;
struct DescTimer;
struct Handed;
class Probe;
class Recovery;
struct Changes;
class Shard;
class SingleWaiter;
class Step;
class Waiter;
struct FiredTimer;

/// The table of named poll descriptors: every operation of the service, over all shards.
///
/// Threads:  any method by anyone at any time, but RunTimers by one thread at a time.
/// Lifetime: a call passed in stays valid until its Done, which may run before the operation
///           returns and on another thread. A poller is destroyed when no operation is under way;
///           calls still parked are forgotten, so end them with EndWaits first.
/// Errors:   answered as a Refusal; a refused operation changed nothing. The caller vouches for
///           the form of names and labels, which the core never looks into.
/// Source:   the Go runtime's netpoll.go, its functions one by one; see ARCHITECTURE.md.
class Poller {
 public:
  struct Options {
    uint64_t max_descriptors = uint64_t{1} << 20;
    uint64_t max_waiters = uint64_t{1} << 20;
    Nanos max_wait = std::chrono::hours(24);  ///< kForever: no bound
    Nanos default_idle_ttl = kForever;        ///< of descriptors that open_if_missing opens
    uint64_t first_generation = 1;            ///< above every generation ever used before
    Nanos linger = std::chrono::seconds(30);  ///< for how long a wait with an id outlives its call
    Nanos retention = std::chrono::minutes(10);  ///< for how long ids are remembered
    uint64_t max_outcomes = uint64_t{1} << 20;   ///< and how many at most
    Instant known_since = Instant::min();        ///< first attempts before this are not known
    Probe* probe = nullptr;                      ///< for tests: called between the steps of parking
  };

  /// `alarm` tells the timer thread that RunTimers has to be called at this instant, earlier than
  /// it was told before. It runs on the thread of the operation, with no lock held. `journal`, if
  /// there is one, outlives the poller.
  Poller(const Options& options, Journal* journal, std::function<void(Instant)> alarm);
  ~Poller();

  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  void Open(const Now& now, const OpenArgs& args, OpenCall& call);
  void Close(const Now& now, const CloseArgs& args, CloseCall& call);
  void Reset(const Now& now, const ResetArgs& args, ResetCall& call);
  void Wait(const Now& now, const WaitArgs& args, WaitCall& call);
  void Ready(const Now& now, const ReadyArgs& args, ReadyCall& call);
  void SetDeadline(const Now& now, const SetDeadlineArgs& args, SetDeadlineCall& call);
  void Poll(const Now& now, const PollArgs& args, PollCall& call);
  void Ack(const Now& now, const AckArgs& args, AckCall& call);

  /// Many operations at once: each shard's lock is taken once for all that stand between two polls.
  /// Those on one name take effect in their order.
  void Run(const Now& now, std::span<const Operation> operations);

  void Get(const Now& now, const GetArgs& args, GetCall& call);
  void List(const Now& now, const ListArgs& args, ListCall& call);

  /// Ends a parked call with kCancelled, unless it has its outcome. The call's Wait or Poll has
  /// returned; its Done may have run, but the object is still there.
  void Cancel(const Now& now, Parkable& call);

  /// The same for a call whose client has gone: with an id it waits on for linger, so that a later
  /// call with that id takes it over. As Cancel.
  void Abandon(const Now& now, Parkable& call);

  /// The answer of this call, which is Done, was never written to its client. Its READYs go back;
  /// with an id only when nobody comes for them in this time; those that wait for an Ack stay.
  void Unwritten(const Now& now, const WaitCall& call, Nanos linger);
  void Unwritten(const Now& now, const PollCall& call, Nanos linger);

  /// Lets happen what is due, a bounded part of it, in the order of the instants of each shard.
  /// Returns when it must be called again: at once, if that is not after `now`.
  Instant RunTimers(const Now& now);

  /// From now on every Wait and Poll is refused with kDraining; those that are parked stay.
  void RefuseWaits();

  /// After RefuseWaits: ends every parked wait with kDraining. When it returns, none is parked.
  void EndWaits(const Now& now) { EndWaits(now, Reason::kDraining); }

  /// Up to which change of each shard something is saved, or is about to be.
  struct Cut {
    ShardSet shards = 0;
    std::array<uint64_t, kShards> number;
  };

  /// Takes what is to be saved of these shards: after Journal::Changed, by one thread at a time.
  /// Returns those to come a moment later: amid a change, or changed with one that is in the cut.
  ShardSet Collect(ShardSet shards, Changes& to, Cut& cut);

  /// All that was collected up to this cut is safe: lets go of what waited for it.
  void Saved(const Cut& cut);

  /// Nothing more can be saved, and what was collected last may be or may not: whatever waits, and
  /// each operation from now on, is refused with kStoreFailed.
  void FailStore(const Now& now);

  /// While there is no room: operations that would need some are refused with kLimitDisk.
  void SetFull(bool full);

  /// What was counted so far, summed over the shards.
  Counters Count(const Now& now) const;

  /// Whether this session has that name open as ephemeral.
  bool HasEphemeral(std::string_view name, uint64_t session) const;

  Nanos linger() const { return options_.linger; }  ///< of a wait with an id, after its call
  uint64_t waiters() const;                         ///< parked at this moment; a poll counts once

 private:
  friend class Recovery;
  friend class Step;
  class ListHops;
  class Locks;

  Shard& shard(size_t index) const { return *shards_[index]; }
  template <class C>
  bool Refuses(bool takes_room, C& call) const;
  bool StoreFailed() const {
    // MO[room]: acquire; pairs with FailStore.
    return room_.load(std::memory_order_acquire) == Room::kFailed;
  }
  void CollectFrom(Shard& shard, Changes& to, Cut& cut);
  void EndWaits(const Now& now, Reason reason);
  template <class Args, class C>
  void RunOne(const Now& now, const Args& args, C& call);
  void RunByShard(Step& step, std::span<const Operation> operations);
  template <class Args, class T>
  void Once(Step& step, Locks& locks, Shard& home, const Args& args, Call<T>& call);
  uint64_t Do(Step& step, Locks& locks, Shard& home, const OpenArgs& args, OpenCall& call);
  uint64_t Do(Step& step, Locks& locks, Shard& home, const CloseArgs& args, CloseCall& call);
  uint64_t Do(Step& step, Locks& locks, Shard& home, const ResetArgs& args, ResetCall& call);
  uint64_t Do(Step& step, Locks& locks, Shard& home, const ReadyArgs& args, ReadyCall& call);
  uint64_t Do(Step& step, Locks& locks, Shard& home, const SetDeadlineArgs& args,
              SetDeadlineCall& call);
  void Once(Step& step, Locks& locks, Shard& home, const WaitArgs& args, WaitCall& call);
  void Once(Step& step, Locks& locks, Shard& home, const AckArgs& args, AckCall& call);
  void DoPoll(Step& step, const PollArgs& args, PollCall& call);

  // Ids (poller_ids.cc).
  bool Forgotten(Shard& home, const Now& now, Nanos sent_ago) const;
  bool Recall(Shard& home, const IdKey& key, uint64_t content, const Retry& retry, const Now& now,
              IdRecord** record, Refusal& refusal);
  bool RecallWait(Step& step, Locks& locks, Shard& home, const WaitArgs& args, uint64_t content,
                  WaitCall& call);
  bool RecallPoll(Step& step, Locks& locks, Shard& home, const PollArgs& args, uint64_t content,
                  PollCall& call);
  template <class W, class C>
  void TakeOver(Step& step, Shard& home, IdRecord& record, W& waiter, C& call);
  template <class W, class C>
  void Replace(Shard& home, W& waiter, C& call);
  template <class C>
  void Repeat(Step& step, Shard& home, IdRecord& record, std::optional<Reason> spent, C& call);
  void AnswerToo(Step& step, Shard& home, const PollCall& from, PollCall& to, uint64_t number);
  void Knows(Shard& home, IdRecord& record, Waiter& waiter, Parkable& call);
  std::optional<Reason> Spent(const IdRecord& wait, const std::vector<Handed>& handed);
  template <class R>
  uint64_t Remember(Step& step, Shard& home, Parkable& call, Result<R>& result);
  void Age(Step& step, Shard& home, IdRecord& record);
  void Unage(Shard& home, IdRecord& record);
  void Forget(Shard& home, IdRecord& record, bool early = false);
  void SetAlarm(Shard& home, IdRecord& record, Instant at);
  void ClearAlarm(Shard& home, IdRecord& record);
  void HandOver(Step& step, Shard& home, const WaitResult& result, const IdRecord& wait);
  void HandOver(Step& step, ShardSet shards, const PollWaiter& poll);
  void TakeBack(Step& step, Locks& locks, Shard& home, IdRecord& record);
  void TakeBackOverdue(Step& step, Locks& locks, Shard& home, const IdKey& hand_off);
  void PutBack(Step& step, PollDesc& desc, Side side, Token token);
  void GiveBack(Step& step, Locks& locks, const std::vector<WaitResult>& readys);
  static void WidenFor(Locks& locks, const std::vector<WaitResult>& readys);
  void UnwrittenReadys(const Now& now, const Parkable& call, Nanos linger, Given* given,
                       std::vector<WaitResult> readys);
  void FireId(Step& step, Shard& home, IdAlarm& alarm, uint32_t sequence);
  void FireRetention(Step& step, Shard& home);
  PollDesc* Resolve(Step& step, Shard& home, PollDesc* desc, std::string_view name,
                    uint64_t generation, const OpenOptions* open_if_missing, Refusal& refusal);
  PollDesc& Create(Step& step, Shard& home, std::string_view name, const OpenOptions& options,
                   Nanos default_idle_ttl);
  bool ReserveDescriptors(uint64_t more, Refusal& refusal);
  bool ReserveWaiter();
  void ReleaseWaiter();
  void Remove(Shard& shard, PollDesc& desc);
  void Bound(const Now& now, std::optional<Nanos> timeout, Nanos sent_ago, Waiter& waiter) const;
  PollDesc* ResolveWait(Step& step, Shard& home, PollDesc* found, const WaitArgs& args,
                        bool may_park, Refusal& refusal);
  void Withdraw(const Now& now, Parkable& call, bool may_linger);
  bool StandsFor(Step& step, Locks& locks, Waiter& waiter, const Parkable& call);
  static bool End(Step& step, Waiter& waiter);
  static void Refuse(Waiter& waiter, Reason reason);
  template <class W>
  void Linger(Step& step, Shard& home, W& waiter);
  static const Parkable& CallOf(const Waiter& waiter);
  static Refusal DoubleWait(const Now& now, const Waiter& holder, uint64_t generation);
  bool CheckTargets(const PollArgs& args, bool may_park, Refusal& refusal);
  void OpenTargets(Step& step, const PollArgs& args, PollWaiter& poll);
  bool SettlePoll(Step& step, Locks& locks, PollWaiter& poll, uint32_t life);
  void Fire(const Now& now, Shard& shard, const FiredTimer& fired);
  void FireIdle(Step& step, Shard& shard, DescTimer& timer, uint32_t sequence);
  void FireWait(Step& step, Shard& shard, SingleWaiter& waiter, uint32_t sequence);
  void FirePoll(Step& step, Shard& shard, PollWaiter& poll, uint32_t sequence);
  DescriptorInfo Describe(Step& step, PollDesc& desc, bool with_waiters) const;

  const Options options_;
  Journal* const journal_;  // null: nothing is saved
  const std::function<void(Instant)> alarm_;
  std::array<std::unique_ptr<Shard>, kShards> shards_;
  // Counted before use and given back; nothing else is read or written on the strength of them, so
  // that relaxed order is enough. Generations only have to be different.
  std::atomic<uint64_t> descriptors_{0};
  std::atomic<uint64_t> waiters_{0};
  std::atomic<uint64_t> outcomes_{0};
  std::atomic<uint64_t> next_generation_;
  std::atomic<bool> draining_{false};
  enum class Room : uint8_t { kEnough, kFull, kFailed };
  std::atomic<Room> room_{Room::kEnough};  // to save things in
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLLER_H_
