#ifndef WAITD_CORE_SHARD_H_
#define WAITD_CORE_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_set.h"
#include "core/call.h"
#include "core/hash_index.h"
#include "core/ids.h"
#include "core/journal.h"
#include "core/mutex.h"
#include "core/poll_cache.h"
#include "core/poll_desc.h"
#include "core/waiter.h"

namespace waitd::core {

/// A part of the table of names: the names, their waiters and timers, their effects not yet let go.
/// A state machine that a single thread could run: operations go in with the time, effects come
/// out.
///
/// Threads:    `mutex` guards everything. It is held for some hundred nanoseconds, and at most for
///             Poller::Options::units_max units of work; never while answering.
/// Invariants: 1. A name is in both indexes while it is open, and in none afterwards.
///             2. The list from `oldest` to `newest` holds every waiter that is parked here, or for
///                a poll at home here, in the order in which they parked.
class alignas(64) Shard {  // a cache line
 public:
  Shard(size_t index, Nanos unwritten_for, Budget& budget, Journal* journal)
      : env(index, unwritten_for, budget, journal) {}

  Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }
  /// Never changes, so that no lock is needed.
  size_t index() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return env.shard; }

  /// The open name, or null.
  PollDesc* Find(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Opens a name that is not open, with a new generation.
  PollDesc& Create(std::string_view name, Kind kind, const Now& now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Opens it with the generation that it had.
  PollDesc& Restore(std::string_view name, Kind kind, uint64_t generation, const Now& now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Takes an evicted name out of the table, and its slot back, when no work has to do with it.
  void Remove(PollDesc& desc) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// The first work, which has ended, goes.
  void EndWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Among the parked from now on, with its timer armed.
  void Park(Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// The end of Park.
  void Unpark(Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Counts a wait that has ended, parked or not, by its result.
  void CountEnd(WaitMode mode, const Result<WaitResult>& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountEnd(const Result<PollResult>& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// When something has to be done here that no operation does.
  Instant Soonest() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return env.work.first() != nullptr ? Instant::min() : env.timers.soonest();
  }

  /// Its row as it is to be saved.
  SavedShard Save() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return {static_cast<uint32_t>(env.shard), ids.last_horizon(), lives};
  }

 private:
  struct ByName {
    using Key = std::string_view;
    static size_t Hash(std::string_view name);
    static std::string_view KeyOf(const PollDesc& desc) { return desc.name(); }
    static bool Same(std::string_view name, const PollDesc& desc) { return name == desc.name(); }
  };
  struct EarlierName {
    using is_transparent = void;
    static std::string_view Of(std::string_view name) { return name; }
    static std::string_view Of(const PollDesc* desc) { return desc->name(); }
    bool operator()(const auto& a, const auto& b) const { return Of(a) < Of(b); }
  };

  PollDesc& Insert(std::string_view name, Kind kind, uint64_t generation, const Now& now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <class R>
  void CountEndOf(WaitMode mode, const Result<R>& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;

 public:
  // The rest is used by the poller's operations, each under the lock; first what each looks at.
  /// The time of the last hold: none is before it.
  Instant latest ABSL_GUARDED_BY(mutex_) = Instant::min();
  Instant announced ABSL_GUARDED_BY(mutex_) = kNever;  ///< what the timer thread was told
  DescEnv env ABSL_GUARDED_BY(mutex_);
  absl::btree_set<PollDesc*, EarlierName> ordered ABSL_GUARDED_BY(mutex_);
  PollCache<PollDesc> descs ABSL_GUARDED_BY(mutex_);
  PollCache<SingleWaiter> waits ABSL_GUARDED_BY(mutex_);
  PollCache<PollWaiter> polls ABSL_GUARDED_BY(mutex_);
  IdTable ids ABSL_GUARDED_BY(mutex_);
  /// How many generations were given out here, each `lives * kShards + index`.
  uint64_t lives ABSL_GUARDED_BY(mutex_) = 0;
  Waiter* oldest ABSL_GUARDED_BY(mutex_) = nullptr;
  Waiter* newest ABSL_GUARDED_BY(mutex_) = nullptr;
  EffectList line ABSL_GUARDED_BY(mutex_);  ///< waiting for what they tell of to be saved

 private:
  HashIndex<PollDesc, ByName> by_name_ ABSL_GUARDED_BY(mutex_);
};

/// Which shard a name belongs to: by its hash, or of a name with braces, as in job/{42}/done, by
/// the hash of what is inside the first pair, so that names can be kept together.
size_t ShardOf(std::string_view name);

}  // namespace waitd::core

#endif  // WAITD_CORE_SHARD_H_
