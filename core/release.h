#ifndef WAITD_CORE_RELEASE_H_
#define WAITD_CORE_RELEASE_H_

#include <cstdint>
#include <memory>

#include "core/clock.h"
#include "core/poll_desc.h"
#include "core/results.h"
#include "core/waiter.h"
#include "core/work.h"

namespace waitd::core {

/// What releases end in: the answer of the operation that began them.
///
/// Threads: the lock of the shard of its name.
class Conclusion {
 public:
  Conclusion(uint32_t releases, uint32_t woken) : left_(releases), woken_(woken) {}
  virtual ~Conclusion() = default;

  /// A release has ended, and this is how many waits got its outcome.
  void Ended(Step& step, uint32_t woken) {
    woken_ += woken;
    if (--left_ == 0) Conclude(step, woken_);
  }

 private:
  /// The last of them has ended.
  virtual void Conclude(Step& step, uint32_t woken) = 0;

  uint32_t left_;
  uint32_t woken_;
};

/// Everybody who waits on a side of a name gets one outcome: a latch opens, the name is closed, or
/// the side expires.
///
/// | event                       | a single wait          | a poll                               |
/// |-----------------------------|------------------------|--------------------------------------|
/// | the release begins          | decided; is no longer  | still waits                          |
/// |                             | shown, or counted      |                                      |
/// | its turn                    | has its outcome        | has this target as the release left  |
/// |                             |                        | it, and the others as they are then  |
/// | cancel, its own bound, a    | has this release's     | has what that makes of it            |
/// | retry, before its turn      | outcome, at once       |                                      |
/// | what comes on the name then | -                      | -                                    |
///
/// The waits are taken off their side in one step, whatever their number; then each has its turn,
/// as many in a hold as Poller::Options::units_max allows, the rest as Work.
///
/// Threads:  the lock of its name's shard; of a poll that it ends, all of that one's locks.
/// Lifetime: until the last turn. The name's slot stays as long.
class Release final : public Work {
 public:
  struct Decision {
    WaitResult result;       ///< of each wait, but for `parked` and `late`
    Instant due;             ///< timed out: the instant of the deadline
    Instant own_before;      ///< a wait whose own bound came before this ends by that
    bool was_armed = false;  ///< a deadline was armed, so that max-wait bound only some
  };

  Release(PollDesc& desc, Side side, const Decision& decision, Instant decided)
      : desc_(desc), side_(side), decision_(decision), decided_(decided) {}

  /// Takes the waits off the side. `all`: those that ignore the deadline as well.
  void Begin(Step& step, bool all);

  ShardSet Needs() const override;
  PollDesc* desc() const override { return &desc_; }
  bool Run(Step& step) override;

  /// Something came on the name: it is not saved before the last outcome of this release.
  void Hold();

  /// The place waits for its turn here.
  bool Has(const Place& place) const;

  /// A place of it leaves. A single wait has its outcome then, a poll has it already.
  void Remove(Place& place);
  void End(Step& step, SingleWaiter& waiter);

  /// What to do at the end, once for all releases that share it.
  void set_conclusion(std::shared_ptr<Conclusion> conclusion) {
    conclusion_ = std::move(conclusion);
  }
  uint32_t woken() const { return woken_; }

  /// How many single waits it took: about as many get the outcome.
  uint32_t waits() const { return count_; }

 private:
  Place* First() const;
  PlaceList& ListOf(const Place& place);
  void EndOwnBounds(Step& step);
  bool OwnBoundFirst(const Waiter& waiter) const;
  static void Uncount(PollWaiter::Target& target);
  bool EndPoll(Step& step, PollWaiter::Target& target);
  bool OpenFor(Step& step, PollWaiter::Target& target);

  PollDesc& desc_;
  const Side side_;
  const Decision decision_;
  const Instant decided_;
  bool all_ = false;
  bool holds_ = false;
  uint32_t upto_ = 0;  // the ticket of the last place
  PlaceList waits_;
  PlaceList ignoring_;
  PlaceList polls_;
  uint32_t count_ = 0;
  uint32_t woken_ = 0;
  std::shared_ptr<Conclusion> conclusion_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_RELEASE_H_
