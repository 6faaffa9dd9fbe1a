#ifndef WAITD_CORE_TIMER_WHEEL_H_
#define WAITD_CORE_TIMER_WHEEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/clock.h"
#include "core/poll_cache.h"

namespace waitd::core {

/// What a timer is for, told to whoever handles it when it fires.
enum class TimerUse : uint8_t {
  kReadSide,   ///< the read side's deadline, or both sides'
  kWriteSide,  ///< the write side's deadline
  kIdle,       ///< a descriptor's idle_ttl
  kWait,       ///< a single wait's own bound
  kPoll,       ///< a poll's own bound
  kAbsent,     ///< the linger of a wait whose client has gone
  kDelivery,   ///< a signal comes back
  kRetention,  ///< the oldest that can be forgotten
};

/// A link of a circular list. An empty list's head points at itself; a link in no list, at nothing.
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
/// The bet: most timers are moved or cancelled long before they fire, so sorting them is mostly
/// wasted. But if nobody sorts them until they are due, they make others late. So they are sorted
/// only into lists of a few dozen. A tree holds these lists, its leaves: each node divides an
/// interval of time into 16 slots, and a slot is empty, or holds a leaf or another node. A timer's
/// place depends on its own instant and never on the time: when time passes, or jumps, nothing
/// moves. A leaf with too many timers becomes a node, in the Arm that finds it full.
///
/// The bound, whatever is armed: a way from the root to a leaf has 16 nodes at most. One Arm looks
/// at kLeafMax timers at most and moves each of them once, and the next kLeafMax / 2 Arms into that
/// leaf look at none. One PopDue looks at the timers that it returns and at kLeafMax others at
/// most. It returns what is due until `fired` is full, so a timer that is due waits only for those
/// that are due before it.
///
/// Memory: a node takes 312 bytes. It has two slots in use at least, so there are fewer nodes than
/// timers; usually one for several dozen. They are used again and not given back.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. A slot's bit in `used` is set exactly when its list is not empty. Its bit in
///                `nodes` is set exactly when its list holds a node, and that node alone.
///             2. What a slot holds lies in the slot's part of the node's interval.
///             3. Each node but the root uses two slots at least.
///             4. A leaf has no more timers than its count says, and kLeafMax at most. If the count
///                is kOneInstant it has any number of timers, all of the same instant.
///             5. In a leaf, timers of the same instant are in the order in which they were armed.
/// Source:     burst tries (Heinz, Zobel and Williams, 2002), without one-way paths, as in PATRICIA
///             (Morrison, 1968).
class TimerWheel {
 public:
  TimerWheel() = default;
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms a timer that is not armed, at any instant but kNever; one in the past is due at once.
  /// Postcondition: soonest() <= when.
  void Arm(Timer& timer, Instant when);

  /// Nothing for a timer that is not armed.
  void Cancel(Timer& timer);

  /// Takes timers that are due at `now` and writes them to `fired`: the earliest first, and those
  /// of one instant as they were armed. Returns how many. If fewer than fit, no more are due.
  size_t PopDue(Instant now, std::span<FiredTimer> fired);

  /// No timer fires before this instant. kNever: none is armed. It is the first timer's own
  /// instant, unless an earlier timer was cancelled: the PopDue at that one's instant corrects it.
  Instant soonest() const { return soonest_; }

  size_t size() const { return size_; }

 private:
  friend class TimerWheelInspector;  // of the test: checks the invariants and the bound

  static constexpr unsigned kBits = 4;
  static constexpr size_t kSlots = size_t{1} << kBits;
  static constexpr unsigned kTopShift = 64 - kBits;
  static constexpr uint8_t kLeafMax = 64;
  static constexpr uint8_t kOneInstant = 255;
  static_assert(64 % kBits == 0, "the root's slots must hold every instant");

  // Covers kSlots intervals of 2^shift ns. It is linked into its parent's slot as a timer would be.
  struct Node : TimerLink {
    Node();

    bool Covers(uint64_t ticks) const { return (ticks ^ inside) >> shift < kSlots; }
    size_t SlotOf(uint64_t ticks) const { return (ticks >> shift) & (kSlots - 1); }
    bool HoldsNode(size_t slot) const { return (nodes >> slot & 1U) != 0; }
    Node& Child(size_t slot) const { return static_cast<Node&>(*slots[slot].next); }

    uint64_t inside = 0;  // any instant of the node's interval
    Node* parent = nullptr;
    unsigned shift = kTopShift;
    uint16_t used = 0;                     // a bit for each slot that is not empty
    uint16_t nodes = 0;                    // a bit for each slot that holds a node
    std::array<uint8_t, kSlots> counts{};  // of each leaf; Cancel does not lower it
    std::array<TimerLink, kSlots> slots;
  };
  static_assert(sizeof(Node) == 312, "the comment above says what a node takes");

  // A slot of a node.
  struct Place {
    TimerLink& list() const { return node->slots[slot]; }
    uint8_t& count() const { return node->counts[slot]; }
    uint16_t bit() const { return static_cast<uint16_t>(1U << slot); }

    Node* node;
    size_t slot;
  };

  static Timer& TimerOf(TimerLink& link) { return static_cast<Timer&>(link); }
  static const Timer& TimerOf(const TimerLink& link) { return static_cast<const Timer&>(link); }

  size_t PopFirstLeaf(Instant now, std::span<FiredTimer> fired);
  size_t PopOneInstant(TimerLink& list, Instant now, std::span<FiredTimer> fired);
  FiredTimer Fire(Timer& timer);
  static Place Walk(Node& from, uint64_t ticks);
  Place FirstLeaf();
  bool MakeRoom(Place at, uint64_t ticks);
  void Split(Place at, uint64_t inside, uint64_t differs);
  void PutBelow(Place at, uint64_t inside, uint64_t differs);
  Node& NewNode(uint64_t inside, uint64_t differs);
  static void Hang(Place at, Node& node);
  static void Move(Place from, Place to);
  void Remove(Timer& timer);
  void Fold(Node& node);

  Instant soonest_ = kNever;
  size_t size_ = 0;
  uint64_t looked_at_ = 0;  // timers that an Arm or a PopDue looked at, of those in a leaf
  Node root_;
  PollCache<Node> nodes_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_TIMER_WHEEL_H_
