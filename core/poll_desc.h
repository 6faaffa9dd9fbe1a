#ifndef WAITD_CORE_POLL_DESC_H_
#define WAITD_CORE_POLL_DESC_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/call.h"
#include "core/saved.h"
#include "core/short_string.h"
#include "core/side.h"

namespace waitd::core {

class Release;
class Step;

/// A poll descriptor: the runtime's pollDesc with a name. One function for each of the runtime's.
///
/// What a side goes through is in the tables of side.h. An expired side ends its waits with
/// TIMED_OUT. The kinds are one machine with two numbers, how many may wait and how many a Ready
/// wakes.
///
/// Threads:    everything is under its shard's lock. What reaches other targets of a poll takes
///             what it can with the locks that the step holds, and leaves the rest as Work.
/// Lifetime:   lives in a slab that never shrinks, so that a pointer to it stays good; its sequence
///             numbers and its generation tell one life from the next.
/// Invariants: 1. A READY stands with waiters only where those are polls that lack other signals,
///                or while Work is there that hands it out.
///             2. An expired side has no waiter but those that ignore the deadline, and the polls
///                of an open latch.
///             3. An armed side that can expire is served by exactly one timer, armed at or before
///                its instant or on its way here: its own, or, when both sides share the instant,
///                the read side's.
///             4. A target's `counted` says whether the side's signal is counted in its poll, but
///                while Work is there that counts.
///             5. Whatever is saved of it is changed after Touch.
/// Source:     the Go runtime's netpoll.go.
class PollDesc {
 public:
  enum class Check : uint8_t { kPark, kClosed, kExpired, kReady };
  enum class Blocked : uint8_t { kParked, kEnded, kDoubleWait };

  explicit PollDesc(DescEnv& env) : env_(env) {}
  PollDesc(const PollDesc&) = delete;
  PollDesc& operator=(const PollDesc&) = delete;

  /// A new life (pollOpen). Sequence numbers go on from the former one.
  void Init(std::string_view name, Kind kind, uint64_t generation, const Now& now);

  /// What a wait meets at this side, errors first (netpollcheckerr).
  Check CheckErr(Side side, bool ignore_deadline) const;

  /// Lets happen what is due on both sides by its own instant. Every operation begins with it.
  /// A wait's own bound is judged wherever a waiter is met, by its instant, with the same result.
  void Settle(Step& step) {
    if (read_.deadline.state == Deadline::State::kArmed || write_ != nullptr) SettleArmed(step);
  }

  /// Parks the waiter on its place's side, or ends it at once (netpollblock). Without `park` it
  /// only tries. kEnded: it is in `result`; kDoubleWait: `holder` waits there.
  Blocked Block(Step& step, SingleWaiter& waiter, bool park, WaitResult* result,
                const Waiter** holder);

  /// The same for a poll whose targets are settled, and free for it. Under all its locks. Never
  /// kDoubleWait.
  static Blocked BlockAll(Step& step, PollWaiter& poll, bool park, PollResult* result);

  /// Who keeps another wait from this side; null on the kinds where any number may wait. Those
  /// whose time is over leave first.
  const Waiter* Occupant(Step& step, Side side);

  /// Adds the locks of the polls on these sides that a signal may end at once, or `all`: that
  /// anything may. False: this hold has done enough; the next one goes on from there, not `anew`.
  [[nodiscard]] bool NeededFor(Step& step, Mode mode, bool all, bool anew, ShardSet* needed);

  /// A Ready (netpollunblock with ioready): wakes, or remembers. After NeededFor.
  Unblocked Unblock(Step& step, Side side, const Payload& signal, ReadyCondition condition);

  /// Sets the deadline of the sides, each by itself under the condition (pollSetDeadline).
  void SetDeadline(Step& step, Mode mode, const NewDeadline& asked, DeadlineCondition condition,
                   SetDeadlineResult& result);

  /// The timer of a side, or of both, has fired with this number (netpolldeadlineimpl).
  void DeadlineImpl(Step& step, uint32_t sequence, Mode sides);

  /// Forgets every signal (pollReset). False: the side has expired, and was left as it is.
  bool Reset(Step& step, Side side, bool* forgot);

  /// Closes: ends every wait with CLOSED and stops the timers (pollUnblock). Returns how many ended
  /// at once.
  uint32_t Evict(Step& step);

  /// A single wait that stands here, or in a release of this side, ends if a release, a deadline or
  /// its own bound says so. True: it goes on.
  bool StillWaits(Step& step, SingleWaiter& waiter);

  /// A wait's timer for max-wait has fired, and a deadline bounds it instead: a clear sees to it.
  void SetMaxWaitAside(Side side) { extra(side).max_waits_aside = true; }

  /// Ends with this a wait that StillWaits, or a poll, under all its locks.
  void EndWait(Step& step, SingleWaiter& waiter, Result<WaitResult> result);
  static void EndPoll(Step& step, PollWaiter& poll, Result<PollResult> result);

  /// Takes the signals that the poll needs and ends it, if they are there. Under all its locks.
  /// `from`: a target that a release opened, with what it gives. kOver: it ended otherwise.
  enum class Completed : uint8_t { kNot, kTook, kOver };
  static Completed CompletePoll(Step& step, PollWaiter& poll, const Place* from = nullptr,
                                const WaitResult* with = nullptr);

  /// Lets happen what is due on the poll's targets. Under all its locks. False: that ended it.
  static bool SettleTargets(Step& step, PollWaiter& poll);

  // Deliveries (deliveries.cc).
  Delivery* FindDelivery(Side side, uint64_t number) const;  ///< null: there is none
  /// A signal that a wait took waits for its Ack, or for somebody who asks for its answer.
  Delivery& Deliver(const WaitResult& taken, Delivery::State state, Instant alarm,
                    const AccountRef& whose);
  /// The end of a delivery, or of what it was: kAcked or kStale, which is remembered for a while.
  void EndDelivery(Delivery& delivery);
  void Retire(Step& step, Delivery& delivery, Delivery::State state);
  /// A signal comes back: it wakes, or stands before the one that is remembered. After NeededFor.
  /// False: it was forgotten, for a Reset came after its hand-out.
  bool Return(Step& step, Delivery& delivery);
  bool Return(Step& step, const WaitResult& taken);
  bool WasReset(Side side, uint64_t number) const;  ///< a Reset came after its hand-out
  /// How many deliveries of the side are held for somebody, or may be: one for each wait with an
  /// ack_timeout. ReserveDelivery: one more of these waits, or one less.
  uint64_t deliveries_held(Side side) const;
  void ReserveDelivery(Side side, const AccountRef& whose);
  void EndReservation(Side side, const AccountRef& whose);
  void Unlink(Place& place);  ///< takes it out of its list
  /// The release in which the place waits for its turn, or null.
  Release* ReleaseOf(const Place& place) const {
    return env_.releases == 0 ? nullptr : FindRelease(place);
  }
  bool busy() const;  ///< work has to do with it: its slot is not handed out
  /// Counts the side's signal in the polls that stand on it, or no more; as many as a hold allows,
  /// the rest as Work. True: all are.
  bool Recount(Step& step, Side s) { return side(s).extra == nullptr || RecountPolls(step, s); }
  /// What is to be saved of it; and the same again, after Init, but for idle_ttl.
  SavedDesc Save() const;
  void Restore(const SavedDesc& saved);
  Delivery& Restore(SavedDelivery saved);
  /// What is saved of it is about to change. `waited`: an answer waits for that.
  void Touch(bool waited = true) {
    if (env_.unsaved.kept()) Note(waited);
  }

  bool idle() const;  ///< nothing stands on it: no wait, signal, delivery or deadline
  /// Somebody has to do with it, which puts idle_ttl off.
  void NoteUse(Instant now) { idle_since = std::max(idle_since, now); }

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

  uint32_t sequence(Side side) const;  ///< of a side's timer: one that fired with another is stale
  /// After how long without a call it is closed; kForever: never. Its timer is not armed.
  void ArmIdle(Nanos ttl, Instant since);
  Nanos idle_ttl() const { return idle_ == nullptr ? kForever : idle_->ttl; }
  // Of the shard, which keeps them here.
  std::unique_ptr<const OpenOptions> options;  ///< as it was opened with; null: no labels or owner
  Instant idle_since;                          ///< idle_ttl counts from here
  uint64_t changed = 0;                        ///< the number of its last change in its shard
  AccountRef account;                          ///< of who opened it
  Amount amount() const;                       ///< what it is charged
  uint32_t dirty_at = 0;                       ///< its place among those to be saved; 0: it is none
  bool stored = false;                         ///< it was collected to be saved

  /// Whether the read timer was armed for both sides.
  bool ServesBoth() const { return read_.serves == static_cast<uint8_t>(Mode::kReadWrite); }

 private:
  friend class Release;
  class RecountWork;
  class DisposeWork;
  class RebindWork;
  class RetireWork;

  static const SideState kUntouched;
  Half& at(Side side) { return side == Side::kRead ? read_ : Write(); }
  Half& Write();
  SideExtra& extra(Side side);
  Deliveries& deliveries(Side side);
  PlaceList& ListOf(const Place& place);
  bool OwnBoundDue(const Waiter& waiter, Instant now) const;
  void TimeOut(Step& step, SingleWaiter& waiter);
  void Note(bool waited);
  Release* FindRelease(const Place& place) const;
  void SettleArmed(Step& step);
  bool RecountPolls(Step& step, Side side);
  void Link(Place& place);
  bool OpenTo(const PollWaiter::Target& target) const;
  void TakeReady(Step& step, Side side, WaitResult& result);
  void ForgetReady(Step& step, Side side);
  void Dispose(Step& step, Side side);
  void ForgetReturned(Step& step, Side side);
  Delivery& AddDelivery(const WaitResult& taken, Delivery::State state, Instant alarm,
                        const AccountRef& whose);
  void LeaveState(Delivery& delivery);
  static void FreeDelivery(DescEnv& env, Delivery& delivery);
  void HandOut(Step& step, Side side);
  [[nodiscard]] bool FindTaker(Step& step, Side side, Place** taker);
  void Serve(Step& step, Side side, uint32_t* woken);
  uint32_t ReleaseAll(Step& step, Side side, Outcome outcome, Instant own_before, bool was_armed);
  void StandAgain(PollWaiter::Target& target);
  static void TakeAll(Step& step, PollWaiter& poll, const Place* from, const WaitResult* with,
                      PollResult* result);
  static void RecountTargets(Step& step, const PollWaiter& poll);
  static bool LosePoll(Step& step, PollWaiter::Target& target, const WaitResult& end);
  void RecountLater(Side side, bool serve = false);
  void ExpireSides(Step& step, bool read, bool write);
  void SyncTimers();
  void RebindMaxWaits(Side side, Instant now);

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
static_assert(sizeof(PollDesc) <= 232, "a name is promised to be small");

/// What a name is charged.
Amount AmountOf(std::string_view name, const Labels& labels);

/// Whether that life of the name goes on; null: it was over long ago.
inline bool Lives(const PollDesc* desc, uint64_t generation) {
  return desc != nullptr && !desc->closing() && desc->generation() == generation;
}

}  // namespace waitd::core

#endif  // WAITD_CORE_POLL_DESC_H_
