#ifndef WAITD_CORE_WAITER_H_
#define WAITD_CORE_WAITER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "core/budget.h"
#include "core/call.h"
#include "core/journal.h"
#include "core/timer_wheel.h"
#include "core/types.h"

namespace waitd::core {

class PollDesc;
struct IdRecord;

/// Where a waiter stands: a node in a circular list of one side of a name, or of a release of it.
/// Guarded by the lock of the name's shard.
struct Place {
  explicit Place(bool is_target) : target(is_target) {}

  bool standing() const { return prev != nullptr; }

  /// Whether it came before another place of its side. Numbers wrap.
  bool Before(const Place& other) const { return static_cast<int32_t>(ticket - other.ticket) < 0; }

  /// Who stands there.
  Waiter& waiter();
  const Waiter& waiter() const { return const_cast<Place*>(this)->waiter(); }

  Place* prev = nullptr;  ///< null: it stands nowhere
  Place* next = nullptr;
  PollDesc* desc = nullptr;
  uint32_t ticket = 0;  ///< its number in the order of arrival at its side
  Side side = Side::kRead;
  const bool target;     ///< it is a PollWaiter::Target; else a SingleWaiter
  bool counted = false;  ///< of a target: its signal is counted in PollWaiter::missing
  bool lost = false;     ///< of a target: it timed out or was closed before the poll ended
};

/// One wait, parked on one side of a name (SingleWaiter) or on several (PollWaiter). A waiter is
/// parked, and stands in its places, until it has its outcome: both end in one step, under the
/// locks of all its places.
///
/// | state  | event                              | state after | locks                     |
/// |--------|------------------------------------|-------------|---------------------------|
/// | -      | Wait, Poll find nothing to take    | parked      | of all its places         |
/// | parked | READY, deadline, Close, own bound, | outcome     | of all its places, and of |
/// |        | cancel, drain, the store fails     |             | its home, the first of it |
/// | parked | its call is adopted, or goes       | parked      | the same                  |
///
/// Threads:    the locks above.
/// Lifetime:   in a slab and reused; `life` tells one wait from the next.
/// Invariants: 1. `call` is null exactly while nobody is there to receive the outcome; then it has
///                an id, whose record says who it was.
/// Source:     the Go runtime's netpollblock, netpollunblock.
class Waiter : public Timer {
 public:
  uint32_t life() const { return sequence(); }

  /// Its own bound, at which its timer fires.
  Instant until() const { return when(); }

  // `until` and the next two are set before it parks, and only read afterwards.
  TimeoutCause bound = TimeoutCause::kWait;  ///< which limit `until` is
  bool ignore_deadline = false;
  const bool poll;
  Instant begin;            ///< of the wait, on the server
  Waiter* older = nullptr;  ///< among the parked of the home shard, in the order of their begin
  Waiter* newer = nullptr;
  IdRecord* record = nullptr;  ///< of its id; null: it has none

 protected:
  Waiter(TimerUse use, bool is_poll) : Timer(use), poll(is_poll) {}

  /// Back to the slab: the next life begins.
  void Recycle() {
    Renew();
    set_when(kNever);
    bound = TimeoutCause::kWait;
    ignore_deadline = false;
    record = nullptr;
  }
};

/// A wait on one side, which is its own place there.
class SingleWaiter : public Waiter, public Place {
 public:
  SingleWaiter() : Waiter(TimerUse::kWait, false), Place(false) {}

  void Recycle() {
    Waiter::Recycle();
    call = nullptr;
  }

  WaitCall* call = nullptr;
};
static_assert(sizeof(SingleWaiter) <= 104, "a parked wait is promised to be small");

/// What so many parked waits, or targets of polls, take with their calls.
constexpr Amount WaitsOf(uint64_t count) { return {count, count * 208}; }
static_assert(WaitsOf(1).bytes % Amount::kUnit == 0, "many of them may end one by one");

/// Lifetime: as a Waiter; its home is the shard of its first target.
class PollWaiter : public Waiter {
 public:
  /// A target, in the order of the request, and what became of it.
  struct Target : Place {
    Target() : Place(true) {}
    PollWaiter* poll = nullptr;
    bool reserved = false;  ///< a delivery of its side is reserved for it
    // Of one that is lost: how it ended.
    Outcome outcome = Outcome::kReady;
    TimeoutCause cause = TimeoutCause::kNone;
    uint64_t generation = 0;
    Nanos parked{0};
    Nanos late{0};
  };
  static_assert(sizeof(Target) <= sizeof(Place) + 64, "a target is promised to be small");

  PollWaiter() : Waiter(TimerUse::kPoll, true) {}

  std::span<Target> targets() const { return {targets_.get(), count_}; }
  void MakeTargets(size_t count) {
    targets_ = std::make_unique<Target[]>(count);
    count_ = static_cast<uint32_t>(count);
  }
  uint32_t index(const Target& target) const {
    return static_cast<uint32_t>(&target - targets_.get());
  }

  /// How many more signals it needs than are there for it.
  uint32_t missing() const { return Word() & kMissing; }

  /// How many more targets it can lose.
  uint32_t spare() const { return Word() / kOneSpare; }

  /// Before it parks, under all its locks.
  void SetCounts(uint32_t missing, uint32_t spare) {
    word_.store(missing + spare * kOneSpare, std::memory_order_relaxed);
  }

  /// A signal is there for it, under the lock of that target. False: it was the last that is
  /// missing. Then nothing is counted: whoever holds all its locks completes it.
  [[nodiscard]] bool CountSignal() {
    return Change([](uint32_t word) { return (word & kMissing) > 1; }, -1);
  }

  /// It is there no more.
  void UncountSignal() { word_.fetch_add(1, std::memory_order_relaxed); }

  /// A target has timed out or was closed, under its lock. False: the rest is too few. Then
  /// nothing is counted: whoever holds all its locks ends it.
  [[nodiscard]] bool LoseTarget() {
    return Change([](uint32_t word) { return word >= kOneSpare; }, -static_cast<int>(kOneSpare));
  }

  void Recycle() {
    Waiter::Recycle();
    call = nullptr;
    targets_.reset();
    count_ = 0;
  }

  uint32_t need = 1;
  ShardSet shards = 0;
  PollCall* call = nullptr;

 private:
  static constexpr uint32_t kOneSpare = 1U << 16U;
  static constexpr uint32_t kMissing = kOneSpare - 1;

  uint32_t Word() const { return word_.load(std::memory_order_relaxed); }
  bool Change(auto may, int by) {
    uint32_t word = Word();
    do {
      if (!may(word)) return false;
    } while (!word_.compare_exchange_weak(word, word + static_cast<uint32_t>(by),
                                          std::memory_order_relaxed));
    return true;
  }

  // MO[poll-counts]: relaxed. Targets of different shards count in it under different locks; only
  // the sum matters, and nothing else is read on the strength of it. MO[poll-counts]: whoever ends
  // the poll holds all these locks, so it sees each count that was made under one of them.
  std::atomic<uint32_t> word_{0};
  uint32_t count_ = 0;
  std::unique_ptr<Target[]> targets_;  // each guarded by the lock of its place
};

inline Waiter& Place::waiter() {
  if (target) return *static_cast<PollWaiter::Target&>(*this).poll;
  return static_cast<SingleWaiter&>(*this);
}

/// A circular list of places, in the order of arrival. Threads: as its places.
class PlaceList {
 public:
  bool empty() const { return first_ == nullptr; }
  Place* first() const { return first_; }

  /// The one behind `place`; null behind the last.
  Place* Next(const Place& place) const { return place.next == first_ ? nullptr : place.next; }

  void Append(Place& place) {
    if (first_ == nullptr) {
      place.prev = place.next = first_ = &place;
      return;
    }
    place.prev = first_->prev;
    place.next = first_;
    place.prev->next = &place;
    first_->prev = &place;
  }

  void Remove(Place& place) {
    if (place.next == &place) {
      first_ = nullptr;
    } else {
      place.prev->next = place.next;
      place.next->prev = place.prev;
      if (first_ == &place) first_ = place.next;
    }
    place.prev = place.next = nullptr;
  }

 private:
  Place* first_ = nullptr;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_WAITER_H_
