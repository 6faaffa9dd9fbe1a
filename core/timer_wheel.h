#ifndef WAITD_CORE_TIMER_WHEEL_H_
#define WAITD_CORE_TIMER_WHEEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/clock.h"

namespace waitd::core {

/// What a timer is for, told to whoever handles it when it fires.
enum class TimerUse : uint8_t {
  kReadSide,   ///< the read side's deadline, or both sides'
  kWriteSide,  ///< the write side's deadline
  kIdle,       ///< a descriptor's idle_ttl
  kWait,       ///< a single wait's own bound
  kPoll,       ///< a poll's own bound
  kId,         ///< an id that nobody came for, or an Ack that is overdue
  kRetention,  ///< the oldest id that can be forgotten
};

/// A link of a circular list; alone it points at itself or at nothing.
struct TimerLink {
  TimerLink* prev = nullptr;
  TimerLink* next = nullptr;
};

/// A timer, built into its owner, so that arming one allocates nothing. Threads and lifetime: as
/// the wheel's; the owner cancels it before it goes.
class Timer : private TimerLink {
 public:
  explicit Timer(TimerUse use) : use_(use) {}

  /// In a wheel. False also while it is on its way from the wheel to its owner.
  bool armed() const { return next != nullptr; }

  /// When it fires, or fired, or is to fire.
  Instant when() const { return when_; }

  /// Of one that is not armed: what its owner knows before it is armed.
  void set_when(Instant when) { when_ = when; }

  /// A timer that fired with another number is stale.
  uint32_t sequence() const { return sequence_; }

  /// If it is on its way to its owner, it is stale from now on.
  void Renew() { ++sequence_; }

 private:
  friend class TimerWheel;
  Instant when_ = kNever;
  uint32_t sequence_ = 0;
  TimerUse use_;
};

/// A timer that has left the wheel: what the owner needs to tell whether it still counts.
struct FiredTimer {
  Timer* timer;
  uint32_t sequence;  ///< the timer's, when it left the wheel
  TimerUse use;
};

/// Timers in the order of their instants, exact to the nanosecond.
///
/// The bet: most timers are moved or cancelled long before they fire, so arming and cancelling
/// must cost a few pointer writes, and sorting is put off until an instant comes near. Eleven
/// wheels of 64 slots hold the instants by their highest group of six bits that differs from
/// `base_`; when time reaches a slot, its timers move to lower wheels, and those of the lowest
/// are of one nanosecond. A timer moves ten times at most, in its whole life.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. No armed timer is before base_, but those that were due when they were armed:
///                they stand at base_.
///             2. A slot's bit is set exactly when its list is not empty.
///             3. Timers in `spill_` are not before base_, and are spread before any other fires.
/// Source:     hierarchical timing wheels (Varghese and Lauck, 1987), placed like a radix heap.
class TimerWheel {
 public:
  TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms a timer that is not armed. Postcondition: soonest() <= when. O(1).
  void Arm(Timer& timer, Instant when);

  /// O(1); nothing for a timer that is not armed.
  void Cancel(Timer& timer);

  /// Takes timers that are due at `now`, earliest first, and writes them to `fired`; never one
  /// before its instant. Returns how many. Fewer than fit does not mean that no more are due: a
  /// call moves a bounded number of timers, and soonest() tells whether to come again.
  size_t PopDue(Instant now, std::span<FiredTimer> fired);

  /// No timer fires before this instant. kNever: none is armed. It may be too early by as much as
  /// an instant's place in the wheels is coarse; PopDue corrects it.
  Instant soonest() const { return soonest_; }

  size_t size() const { return size_; }

 private:
  static constexpr unsigned kBits = 6;
  static constexpr size_t kSlots = size_t{1} << kBits;
  static constexpr size_t kLevels = 11;
  static constexpr size_t kMovesMax = 256;  // in one PopDue
  static_assert(kLevels * kBits >= 64, "the wheels must hold every instant");

  struct Place {
    size_t level;
    size_t slot;
  };

  void Insert(Timer& timer);
  void Unlink(TimerLink& link);
  size_t SpreadSpill(size_t moves_max);
  void Advance(Instant now);
  Place FirstSlot() const;
  uint64_t StartOf(Place place) const;
  Instant ComputeSoonest() const;

  uint64_t base_ = 0;  // nanoseconds from the first of all; everything before it has fired
  Instant soonest_ = kNever;
  size_t size_ = 0;
  uint32_t levels_used_ = 0;              // a bit for each level that holds a timer
  std::array<uint64_t, kLevels> used_{};  // a bit for each slot that holds a timer
  TimerLink spill_;                       // of a slot that time has reached, not yet spread
  std::array<TimerLink, kLevels * kSlots> slots_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_TIMER_WHEEL_H_
