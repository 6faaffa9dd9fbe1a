#ifndef WAITD_CORE_WAITER_H_
#define WAITD_CORE_WAITER_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/call.h"
#include "core/journal.h"
#include "core/timer_wheel.h"
#include "core/types.h"

namespace waitd::core {

class PollDesc;

/// Where a waiter stands: a node in the queue of one side of a descriptor. Guarded by the lock of
/// the descriptor's shard.
struct Place {
  explicit Place(bool is_target) : target(is_target) {}

  bool standing() const { return prev != nullptr; }

  /// Who stands there.
  Waiter& waiter();

  Place* prev = nullptr;  ///< null: it stands nowhere
  Place* next = nullptr;  ///< of one that stands nowhere: in the list of those that a step ended
  PollDesc* desc = nullptr;
  Side side = Side::kRead;
  const bool target;  ///< it is a PollWaiter::Target; else a SingleWaiter
};

/// One wait, parked on one side of a descriptor (SingleWaiter) or on several (PollWaiter).
///
/// The claim word is the one place where parties meet that hold no common lock: a Ready on this
/// target and a Ready on another, a timer, a Close, a cancel. It goes
///
///     idle → published → parked → claimed
///                    \__________↗
///
/// and the parking thread's protocol is the runtime's: publish in every place, check the errors
/// and the READYs again, commit to parking. Whoever finds the waiter in a place claims it.
///
/// Threads:    Claim, Lose and claimed by anyone who holds the lock of a place where it stands, or
///             of its home shard; the rest by the thread that parks.
/// Lifetime:   lives in a slab and is reused; `life` tells one wait from the next. It is freed
///             under its home shard's lock when no place holds it any more.
/// Invariants: 1. Of all who try, one wins the claim, and it alone decides the outcome.
///             2. A loser takes its place for empty: a READY that it carried is remembered.
///             3. The winner writes the result under the lock under which it claimed.
/// Source:     the Go runtime's rg and wg words, netpollblock, netpollblockcommit, netpollunblock.
class Waiter : public Timer {
 public:
  /// How a claim went.
  enum class Claimed : uint8_t {
    kNo,          ///< somebody else has it
    kSpared,      ///< of Lose: counted, and enough targets are left
    kBeforePark,  ///< won; the parking thread will find out, and finishes the wait
    kParked,      ///< won; the winner finishes the wait
  };

  /// To be found from now on. `spare`: how many targets it can lose and still get what it needs.
  void Publish(uint32_t spare);

  /// After the second check. False: claimed already, do not park.
  [[nodiscard]] bool CommitPark();

  [[nodiscard]] Claimed Claim();

  /// One of its targets has timed out or was closed; claims when that leaves too few. kNo: it was
  /// decided before, and this end is none of its business.
  [[nodiscard]] Claimed Lose();

  bool claimed() const;

  /// Back to the slab: the next life begins. Under the home shard's lock.
  void Recycle();

  uint32_t life() const { return sequence(); }

  /// Its own bound, at which the timer that it is fires; moved when a clear leaves kMaxWait alone
  /// to bind it.
  Instant until() const { return when(); }

  // Set before Publish, and only read afterwards, as is `until`, but where it says otherwise. The
  // timer is guarded by the home shard's lock. In an order that leaves no gap behind the timer.
  TimeoutCause bound = TimeoutCause::kWait;  ///< which limit `until` is
  bool ignore_deadline = false;
  const bool poll;
  Instant begin;            ///< of the wait, on the server
  Waiter* older = nullptr;  ///< among the parked of the home shard, in the order of their begin
  Waiter* newer = nullptr;

 protected:
  Waiter(TimerUse use, bool is_poll) : Timer(use), poll(is_poll) {}

 private:
  std::atomic<uint32_t> word_{0};
};

/// A wait on one side, which is its own place there.
class SingleWaiter : public Waiter, public Place {
 public:
  SingleWaiter() : Waiter(TimerUse::kWait, false), Place(false) {}

  WaitCall* call = nullptr;
};
static_assert(sizeof(SingleWaiter) <= 104, "a parked wait is promised to be small");

/// Lifetime: as a Waiter; its home is the lowest of its shards.
class PollWaiter : public Waiter {
 public:
  /// A target, in the order of the request, and what became of it.
  struct Target : Place {
    Target() : Place(true) {}
    PollWaiter* poll = nullptr;
    uint32_t shard = 0;
    bool lost = false;  ///< timed out or closed before the poll was decided; then `end` says how
    WaitResult end;
  };

  PollWaiter() : Waiter(TimerUse::kPoll, true) {}

  std::vector<Target> targets;  ///< each guarded by the lock of its place, until claimed
  uint32_t need = 1;
  ShardSet shards = 0;
  PollCall* call = nullptr;
  PollWaiter* next_claimed = nullptr;  ///< in the list of the step that claimed it
  ShardSet halves = 0;                 ///< where it has got READYs, since it was claimed
};

inline Waiter& Place::waiter() {
  if (target) return *static_cast<PollWaiter::Target&>(*this).poll;
  return static_cast<SingleWaiter&>(*this);
}

}  // namespace waitd::core

#endif  // WAITD_CORE_WAITER_H_
