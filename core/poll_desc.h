#ifndef WAITD_CORE_POLL_DESC_H_
#define WAITD_CORE_POLL_DESC_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "core/call.h"
#include "core/hand_off.h"
#include "core/moment.h"
#include "core/saved.h"
#include "core/short_string.h"
#include "core/stats.h"
#include "core/timer_wheel.h"
#include "core/types.h"
#include "core/waiter.h"

namespace waitd::core {

/// A timer of a descriptor.
struct DescTimer : Timer {
  DescTimer(TimerUse use, PollDesc& owner) : Timer(use), desc(owner) {}
  PollDesc& desc;
};

/// What the descriptors of one shard share. Guarded by the shard's lock.
struct DescEnv {
  size_t shard = 0;
  TimerWheel timers;
  Counters counters;
};

/// A poll descriptor: the runtime's pollDesc with a name. One function for each of the runtime's.
///
/// A side's semaphore is READY (`ready`), waiting (a queue that is not empty) or nil. The kinds are
/// one machine with two numbers, how many may wait and how many a Ready wakes.
///
/// Threads:    none of its own: everything is under its shard's lock, and nothing here takes a
///             lock, reads a clock or answers. A function that reaches a poll's other targets says
///             so: it needs their locks too.
/// Lifetime:   lives in a slab that never shrinks, so that a pointer to it stays good; its sequence
///             numbers and its generation tell one life from the next.
/// Invariants: 1. A READY stands with waiters only where those are polls that lack other targets.
///             2. An expired side has no waiter but those that ignore the deadline, and the polls
///                of an open latch.
///             3. An armed side that can expire is served by exactly one timer, armed at or before
///                its instant or on its way here: its own, or, when both sides share the instant,
///                the read side's.
/// Source:     the Go runtime's netpoll.go.
class PollDesc {
 public:
  enum class Check : uint8_t { kPark, kClosed, kExpired, kReady };
  enum class Blocked : uint8_t { kParked, kEnded, kDoubleWait };

  struct SideState {
    Place* first = nullptr;  ///< a circular queue, in the order of arrival
    uint32_t places = 0;     ///< how many stand in it
    uint32_t counted = 0;    ///< of those, polls that need more than one READY
    bool ready = false;
    uint8_t serves = 0;      ///< the Mode that the side's timer serves, or 0 for none
    uint32_t coalesced = 0;  ///< of the READY, as are the next two
    Payload signal;
    WallTime ready_time;
    Deadline deadline;
    uint64_t delivery = 0;  ///< how many READYs were handed out; of a latch, how often it opened
    std::unique_ptr<HandOffs> hand_offs;  ///< null: none

    /// Whether a wait finds a READY here: one that is remembered, or one that came back.
    bool HasReady() const {
      return ready || (hand_offs != nullptr && !hand_offs->returned.empty());
    }
  };

  struct Unblocked {
    ReadyEffect effect = ReadyEffect::kRefused;
    uint32_t woken = 0;
    bool expired = false;
  };

  /// What a deadline is to be.
  struct NewDeadline : Deadline {
    bool absolute = false;  ///< given as wall time: the same wall time is the same deadline
  };

  explicit PollDesc(DescEnv& env) : env_(env) {}
  PollDesc(const PollDesc&) = delete;
  PollDesc& operator=(const PollDesc&) = delete;

  /// A new life (pollOpen). Sequence numbers go on from the former one.
  void Init(std::string_view name, Kind kind, uint64_t generation, const Now& now);

  /// What a wait meets at this side, errors first (netpollcheckerr).
  Check CheckErr(Side side, bool ignore_deadline) const;

  /// Lets happen what is due on both sides by its own instant. Every operation begins with it.
  /// A wait's own bound is judged wherever a waiter is met, by its instant, with the same result.
  /// Returns whether something happened.
  bool Settle(Moment& m);

  /// Parks the waiter on its place's side, or ends it at once (netpollblock). Without `park` it
  /// only tries. kEnded: the call has its result; kDoubleWait: `holder` waits there.
  Blocked Block(Moment& m, SingleWaiter& waiter, bool park, const Waiter** holder);

  /// The same for a poll on all its targets. Needs the locks of all of them. Of kDoubleWait,
  /// `at` is the target's index.
  static Blocked BlockAll(Moment& m, PollWaiter& poll, bool park, const Waiter** holder,
                          uint32_t* at);

  /// A Ready (netpollunblock with ioready): wakes, or remembers. Needs the locks of all targets of
  /// the polls in PollShards.
  Unblocked Unblock(Moment& m, Side side, Payload signal, ReadyCondition condition);

  /// The shards of the polls on these sides that need several READYs at once.
  ShardSet PollShards(Mode mode) const {
    return read_.counted == 0 && side(Side::kWrite).counted == 0 ? 0 : CountedShards(mode);
  }

  /// Sets the deadline of the sides, each by itself under the condition (pollSetDeadline).
  void SetDeadline(Moment& m, Mode mode, const NewDeadline& asked, DeadlineCondition condition,
                   SetDeadlineResult& result);

  /// The timer of a side, or of both, has fired with this number (netpolldeadlineimpl). Returns
  /// whether a side expired.
  bool DeadlineImpl(Moment& m, uint32_t sequence, bool read, bool write);
  bool BothDeadline(Moment& m, uint32_t sequence) { return DeadlineImpl(m, sequence, true, true); }
  bool ReadDeadline(Moment& m, uint32_t sequence) { return DeadlineImpl(m, sequence, true, false); }
  bool WriteDeadline(Moment& m, uint32_t sequence) {
    return DeadlineImpl(m, sequence, false, true);
  }

  /// Forgets every READY (pollReset). False: the side has expired, and was left as it is.
  bool Reset(Side side, bool* forgot);

  /// A READY comes back: it wakes, or stands before the one that is remembered. Needs the same
  /// locks as Unblock.
  void PutBack(Moment& m, Side side, Token token);

  /// A hand-off begins to wait for its Ack, or ends to.
  void AddUnacked(Side side, int by);
  void AddKept(Side side, int by);  ///< the same of a READY that is kept for its wait's id

  /// Closes: ends every wait with CLOSED and stops the timers (pollUnblock). Returns how many.
  uint32_t Evict(Moment& m);

  /// Ends the wait in this place if its own bound is due. False: it is not.
  bool ExpireWait(Moment& m, SingleWaiter& waiter);

  /// Ends a wait that is not to have an outcome here: claims it and takes it from its place.
  /// False: it has one already.
  bool Withdraw(Moment& m, SingleWaiter& waiter, Outcome outcome);

  /// Ends a poll by something that is not a target's. Under its home shard's lock. False: it has
  /// its outcome already.
  static bool EndPoll(Moment& m, PollWaiter& poll, Outcome outcome, TimeoutCause cause);

  /// Adds the targets that ended a poll to its result. Since it was claimed, each of its targets'
  /// locks was held once.
  static void Gather(PollWaiter& poll);

  /// What a condition makes of a change from one deadline to another.
  static DeadlineEffect Judge(const Deadline& from, const Deadline& to,
                              DeadlineCondition condition);

  /// Takes the place out of its queue; nothing when it stands nowhere.
  void Unlink(Place& place);

  /// What is to be saved of it; and the same again, after Init, but for idle_ttl.
  SavedDesc Save() const;
  void Restore(const SavedDesc& saved);

  /// Nothing stands on it: no wait, READY, hand-off or deadline.
  bool idle() const;

  bool closing() const { return closing_; }
  Kind kind() const { return kind_; }
  uint64_t generation() const { return generation_; }
  size_t shard() const { return env_.shard; }
  std::string_view name() const { return name_.view(); }
  WallTime open_time() const { return open_time_; }
  const SideState& side(Side s) const {
    if (s == Side::kRead) return read_;
    return write_ == nullptr ? kUntouched : *write_;
  }

  /// The number of a side's timer: one that fired with another is stale.
  uint32_t sequence(Side side) const;

  /// After how long without a call it is closed; kForever: never. Its timer is not armed.
  void ArmIdle(Nanos ttl, Instant since);
  Nanos idle_ttl() const { return idle_ == nullptr ? kForever : idle_->ttl; }

  // Of the shard, which keeps them here.
  std::unique_ptr<const OpenOptions> options;  ///< as it was opened with; null: no labels or owner
  Instant idle_since;     ///< of the last call on it, or the last end of a wait
  uint64_t changed = 0;   ///< the number of its last change in its shard
  uint32_t dirty_at = 0;  ///< its place among those to be saved, from 1; 0: it is none
  bool stored = false;    ///< it was collected to be saved

  /// Whether the fired read timer was armed for both sides.
  bool ServesBoth() const { return read_.serves == static_cast<uint8_t>(Mode::kReadWrite); }

 private:
  struct Half : SideState {
    Half(TimerUse use, PollDesc& desc) : timer(use, desc) {}
    DescTimer timer;
  };
  struct Idle : DescTimer {
    explicit Idle(PollDesc& owner) : DescTimer(TimerUse::kIdle, owner) {}
    Nanos ttl = kForever;
  };

  static const SideState kUntouched;
  Half& at(Side side) { return side == Side::kRead ? read_ : Write(); }
  Half& Write();
  ShardSet CountedShards(Mode mode) const;
  bool OwnBoundDue(const Waiter& waiter, const SideState& side, Instant now) const;
  const Waiter* Occupant(Moment& m, Side side);
  void Link(Place& place);
  void TakeReady(Side side, WaitResult& result);
  void ForgetReady(SideState& side);
  uint32_t Serve(Moment& m, Side side);
  void ServePoll(Moment& m, Side side, PollWaiter::Target& target, uint32_t* woken);
  uint32_t EndPlaces(Moment& m, Side side, Instant own_before, bool was_armed, Outcome outcome,
                     Instant due);
  bool EndPlace(Moment& m, Place& place, Outcome outcome, TimeoutCause cause, Instant due);
  void ExpireSides(Moment& m, bool read, bool write);
  void SyncTimers();
  void EndMaxWaits(Moment& m, Side side);
  void BindMaxWaits(Moment& m, Side side);
  static bool Available(const PollWaiter::Target& target, Instant now);
  static void Take(Moment& m, PollWaiter& poll, Waiter::Claimed how);
  static void DecideAll(Moment& m, PollWaiter& poll);

  Kind kind_ = Kind::kExclusive;  // behind `stored`, where they fill a gap
  bool closing_ = true;
  DescEnv& env_;
  ShortString name_;
  uint64_t generation_ = 0;
  WallTime open_time_;
  Half read_{TimerUse::kReadSide, *this};
  // From their first use on, in every life of the slot: few need them.
  std::unique_ptr<Half> write_;
  std::unique_ptr<Idle> idle_;
};
static_assert(sizeof(PollDesc) <= 224, "a name is promised to be small");

}  // namespace waitd::core

#endif  // WAITD_CORE_POLL_DESC_H_
