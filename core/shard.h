#ifndef WAITD_CORE_SHARD_H_
#define WAITD_CORE_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_set.h"
#include "core/call.h"
#include "core/ids.h"
#include "core/journal.h"
#include "core/mutex.h"
#include "core/poll_cache.h"
#include "core/poll_desc.h"
#include "core/unsaved.h"
#include "core/waiter.h"

namespace waitd::core {

/// A part of the table of names: descriptors, their waiters and timers, their effects not yet let
/// go. A state machine that a single thread could run: operations go in with the time, effects come
/// out.
///
/// Threads:    `mutex` guards everything, and is held for some hundred nanoseconds; never while
///             answering, and never while the lock of a lower shard is taken.
/// Invariants: 1. A descriptor is in both indexes while it is open, and in none afterwards.
///             2. `parked` holds every waiter that is parked here, or for a poll at home here, in
///                the order in which they parked; each has one slot of the poller's limit.
class Shard {
 public:
  explicit Shard(size_t index) { env.shard = index; }

  Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }
  /// Never changes, so that no lock is needed.
  size_t index() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return env.shard; }

  /// The open descriptor of this name, or null.
  PollDesc* Find(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Opens a name that is not open.
  PollDesc& Create(std::string_view name, Kind kind, uint64_t generation, const Now& now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Takes an evicted descriptor out of the table, and its slot back.
  void Remove(PollDesc& desc) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Among the parked from now on, with its timer armed.
  void Park(Waiter& waiter, WaitMode mode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// The end of Park.
  void Unpark(Waiter& waiter, WaitMode mode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  /// Counts a wait that has ended, parked or not, by its result.
  void CountEnd(WaitMode mode, const Result<WaitResult>& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountEnd(const Result<PollResult>& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  // Names are hashed once, with the shard's choice left to other bits of the hash.
  struct HashName {
    using is_transparent = void;
    size_t operator()(std::string_view name) const;
    size_t operator()(const PollDesc* desc) const { return (*this)(desc->name()); }
  };
  struct SameName {
    using is_transparent = void;
    static std::string_view Of(std::string_view name) { return name; }
    static std::string_view Of(const PollDesc* desc) { return desc->name(); }
    bool operator()(const auto& a, const auto& b) const { return Of(a) == Of(b); }
  };
  struct EarlierName {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const {
      return SameName::Of(a) < SameName::Of(b);
    }
  };

  template <class R>
  void CountEndOf(WaitMode mode, const Result<R>& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  absl::flat_hash_set<PollDesc*, HashName, SameName> by_name_ ABSL_GUARDED_BY(mutex_);

 public:
  // The rest is used by the poller's operations, each under the lock.
  absl::btree_set<PollDesc*, EarlierName> ordered ABSL_GUARDED_BY(mutex_);
  DescEnv env ABSL_GUARDED_BY(mutex_);
  PollCache<PollDesc> descs ABSL_GUARDED_BY(mutex_);
  PollCache<SingleWaiter> waits ABSL_GUARDED_BY(mutex_);
  PollCache<PollWaiter> polls ABSL_GUARDED_BY(mutex_);
  IdTable ids ABSL_GUARDED_BY(mutex_);
  Timer retention ABSL_GUARDED_BY(mutex_){TimerUse::kRetention};
  Waiter* oldest ABSL_GUARDED_BY(mutex_) = nullptr;
  Waiter* newest ABSL_GUARDED_BY(mutex_) = nullptr;
  Unsaved unsaved ABSL_GUARDED_BY(mutex_);
  EffectList line ABSL_GUARDED_BY(mutex_);  ///< waiting for what they tell of to be saved
  Instant announced ABSL_GUARDED_BY(mutex_) = kNever;  ///< what the timer thread was told
};

/// Which shard a name belongs to: by its hash, or of a name with braces, as in job/{42}/done, by
/// the hash of what is inside the first pair, so that names can be kept together.
size_t ShardOf(std::string_view name);

}  // namespace waitd::core

#endif  // WAITD_CORE_SHARD_H_
