#ifndef WAITD_CORE_STEP_H_
#define WAITD_CORE_STEP_H_

#include "core/call.h"
#include "core/journal.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"

namespace waitd::core {

/// The locks of a set of shards, taken in ascending order: the only way to hold more than one.
class Poller::Locks {
 public:
  Locks(const Poller& poller, ShardSet set) : poller_(poller), held_(set) { Lock(); }
  ~Locks() { Unlock(); }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  /// Holds these too. When that needs more locks, all are let go first: what was seen under them
  /// may have changed, and false is returned.
  bool Widen(ShardSet more);

  ShardSet held() const { return held_; }

 private:
  // Which locks these are is known only at run time, where the analysis cannot follow.
  void Lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (ShardSet left = held_; left != 0; left &= left - 1) {
      poller_.shard(First(left)).mutex().Lock();
    }
  }
  void Unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (ShardSet left = held_; left != 0; left &= left - 1) {
      poller_.shard(First(left)).mutex().Unlock();
    }
  }

  const Poller& poller_;
  ShardSet held_;
};

/// One operation on its way through the shards: what it ends and what it lets go, kept until its
/// locks are released.
///
/// Use: for each operation, change things under Locks, then Leave under the same locks; when all
/// are let go, Finish. Threads: one.
class Step {
 public:
  Step(Poller& poller, const Now& now);
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  /// The descriptor was changed, and what tells of it waits until that is saved.
  void Changed(Shard& shard, PollDesc& desc);

  /// It has expired, which its deadline tells as well: it is saved some time, and nothing waits.
  void Expired(Shard& shard, PollDesc& desc);

  /// What is remembered of an id was changed. Returns the number that its answer waits for.
  uint64_t Changed(Shard& shard, IdRecord& record);

  /// These shards were changed in one step, under all their locks: all of it is saved, or nothing.
  /// Returns the number that an answer in the line of `home`, one of them, waits for.
  uint64_t Link(Shard& home, ShardSet shards);

  /// A poll ends without having parked, under all its locks. Returns the number that its answer,
  /// which tells of all its targets, waits for.
  uint64_t Ended(Shard& home, PollWaiter& poll, const Result<PollResult>& result);

  /// Something of the shard is to be saved, and nothing waits for that.
  void Tell(Shard& shard);

  /// The number that an answer about `desc` waits for; null: that there is none such.
  static uint64_t NumberFor(Shard& shard, const PollDesc* desc);

  /// Puts an answer into the shard's line, or lets it go at Finish when nothing is unsaved.
  void Answer(Shard& shard, Effect& effect, uint64_t number);

  /// Under the locks of `shards`, at the end of what an operation changes there: the ended waits
  /// leave, their calls get in line, and the timer thread hears of earlier instants.
  void Leave(ShardSet shards);

  /// With no lock held: polls that were claimed leave their other places, and effects are let go.
  void Finish();

  Moment moment;

 private:
  void LeaveSingles();
  void Took(PollWaiter& poll, const Result<PollResult>& result, bool half);
  void Detach(PollWaiter& poll);

  Poller& poller_;
  EffectList free_;                  // of what is unsaved: they go at Finish
  PollWaiter* detaching_ = nullptr;  // claimed here, and to leave their places; by `next_claimed`
  Instant alarm_ = kNever;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_STEP_H_
