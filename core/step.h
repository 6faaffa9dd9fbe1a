#ifndef WAITD_CORE_STEP_H_
#define WAITD_CORE_STEP_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/call.h"
#include "core/check.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/release.h"
#include "core/shard.h"

namespace waitd::core {

/// One operation on its way through the shards: its locks, its time, what it ends and what it lets
/// go. The only way to lock a shard for a change, and to lock more than one.
///
/// Use:        Lock; change things; Unlock, or Lock again with other shards. What has ended is
///             answered when the step goes, with no lock held.
/// Threads:    one.
/// Invariants: 1. Locks are taken in ascending order.
///             2. Time does not go back within a shard: `now` is read under the locks, and is never
///                before the latest of any of these shards.
class Step {
 public:
  explicit Step(Poller& poller, Instant received = kWhenCarriedOut, EffectBatch* batch = nullptr)
      : poller_(poller), received_(received), batch_(batch) {}
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  /// Takes these locks; a hold begins. None is held.
  void Lock(ShardSet set) {
    WAITD_CHECK(held_ == 0, "a step takes locks while it holds some");
    held_ = set;
    TakeLocks();
  }

  /// Holds these as well. When that needs more locks, all are let go first: what was seen under
  /// them may have changed, a new hold begins, and false is returned.
  [[nodiscard]] bool Widen(ShardSet more);

  /// Lets these locks go and takes them again: others come first, and a new hold begins.
  void Again() {
    const ShardSet set = held_;
    Unlock();
    Lock(set);
  }

  /// Lets the locks go. Timers and work that came under them are announced when the step goes.
  void Unlock() {
    if (held_ != 0) LeaveLocks();
  }

  ShardSet held() const { return held_; }
  bool Holds(ShardSet set) const { return (set & ~held_) == 0; }

  /// The time of this hold.
  const Now& now() const { return now_; }

  /// When the operation's message was received.
  Instant received() const { return received_ == kWhenCarriedOut ? now_.mono : received_; }

  /// Does so many units of work in this hold. False: it has done enough, and these are not done.
  [[nodiscard]] bool Spend(size_t units) {
    if (units_ > 0 && units_ + units > poller_.options_.units_max) return false;
    units_ += units;
    return true;
  }
  /// The same for what cannot be left for another hold.
  void Charge(size_t units) { units_ += units; }

  size_t units_left() const {
    const size_t most = poller_.options_.units_max;
    return units_ < most ? most - units_ : 0;
  }

  Poller& poller() { return poller_; }
  Shard& shard(size_t index) { return poller_.shard(index); }

  /// A parked wait, which stands nowhere any more, has its outcome. `counted`: among those that
  /// are shown as parked; a release has taken its waits from these already.
  void End(SingleWaiter& waiter, Result<WaitResult>&& result, bool counted = true);
  void End(PollWaiter& poll, Result<PollResult>&& result);

  /// So many single waits of this side are not counted as parked any more.
  void Uncount(DescEnv& env, Side side, uint32_t waits);

  /// What a poll took or met at its targets, and its answer, are saved together. Returns the number
  /// that the answer waits for. Under all its locks.
  uint64_t Link(const PollWaiter& poll, Shard& home);

  /// The number that an answer about `desc` waits for; null: that there is none such.
  static uint64_t NumberFor(Shard& shard, const PollDesc* desc);

  /// Puts an answer into the shard's line; it leaves at the end of the step if nothing that it
  /// tells of is unsaved.
  void Answer(Shard& shard, Effect& effect, uint64_t number);

  /// The same of a call that asked for `name`, which a refusal tells.
  template <class C>
  void Answer(Shard& shard, C& call, uint64_t number, std::string_view name) {
    if (auto* const refusal = std::get_if<Refusal>(&call.result())) refusal->name = name;
    Answer(shard, call, number);
  }

  /// There are too many outcomes: at the end of the step the oldest go, of the account, or of all.
  void DropOutcomes(const AccountRef& of) {
    drops_ = true;
    if (of.get() == nullptr) return;
    if (drops_of_.empty() || drops_of_.back().get() != of.get()) drops_of_.push_back(of);
  }

  /// Releases that this step began and could not end in its hold.
  std::vector<Release*> unfinished;

 private:
  void TakeLocks() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  void LeaveLocks() ABSL_NO_THREAD_SAFETY_ANALYSIS;

  Poller& poller_;
  const Instant received_;
  EffectBatch* const batch_;
  Now now_{};
  ShardSet held_ = 0;
  size_t units_ = 0;  // of this hold
  bool drops_ = false;
  std::vector<AccountRef> drops_of_;  // in the order in which they came to have too many
  EffectList free_;                   // of what is unsaved: they leave when the step goes
  Instant alarm_ = kNever;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_STEP_H_
