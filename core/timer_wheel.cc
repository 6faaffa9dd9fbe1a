#include "core/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "core/check.h"

namespace waitd::core {
namespace {

// Instants in their order from 0 on: those before the clock's own zero, from before the machine
// was started, come first.
constexpr uint64_t kZero = uint64_t{1} << 63;
uint64_t Ticks(Instant at) { return static_cast<uint64_t>(at.time_since_epoch().count()) ^ kZero; }
Instant FromTicks(uint64_t ticks) { return Instant(Nanos(static_cast<int64_t>(ticks ^ kZero))); }

void Clear(TimerLink& head) { head.prev = head.next = &head; }

bool Empty(const TimerLink& head) { return head.next == &head; }

void Append(TimerLink& head, TimerLink& link) {
  link.prev = head.prev;
  link.next = &head;
  head.prev->next = &link;
  head.prev = &link;
}

// Moves a whole list, in O(1), to the end of another.
void Splice(TimerLink& to, TimerLink& from) {
  from.next->prev = to.prev;
  to.prev->next = from.next;
  from.prev->next = &to;
  to.prev = from.prev;
  Clear(from);
}

}  // namespace

TimerWheel::TimerWheel() {
  Clear(spill_);
  for (TimerLink& slot : slots_) Clear(slot);
}

void TimerWheel::Arm(Timer& timer, Instant when) {
  WAITD_CHECK(!timer.armed(), "a timer is armed twice");
  WAITD_CHECK(when != kNever, "a timer has no instant");
  timer.when_ = when;
  Insert(timer);
  ++size_;
  soonest_ = std::min(soonest_, when);
}

void TimerWheel::Cancel(Timer& timer) {
  if (!timer.armed()) return;
  Unlink(timer);
  --size_;
  if (size_ == 0) soonest_ = kNever;
}

size_t TimerWheel::PopDue(Instant now, std::span<FiredTimer> fired) {
  size_t count = 0;
  size_t moves = 0;
  while (count < fired.size() && moves < kMovesMax && soonest_ <= now) {
    if (!Empty(spill_)) {
      moves += SpreadSpill(kMovesMax - moves);
      continue;
    }
    if (levels_used_ == 0) break;
    const Place place = FirstSlot();
    const uint64_t start = StartOf(place);
    if (start > Ticks(now)) break;
    base_ = start;
    TimerLink& slot = slots_[place.level * kSlots + place.slot];
    if (place.level > 0) {
      moves += 1;
      used_[place.level] &= ~(uint64_t{1} << place.slot);
      if (used_[place.level] == 0) levels_used_ &= ~(1U << place.level);
      Splice(spill_, slot);
      continue;
    }
    auto& timer = static_cast<Timer&>(*slot.next);
    fired[count++] = {&timer, timer.sequence_, timer.use_};
    Unlink(timer);
    --size_;
  }
  Advance(now);
  soonest_ = ComputeSoonest();
  return count;
}

// Brings base_ close to `now`, so that what is armed next needs few moves; but not into a slot that
// has not been spread, for the places of its timers count from a base before it.
void TimerWheel::Advance(Instant now) {
  if (!Empty(spill_)) return;
  const uint64_t start = levels_used_ == 0 ? Ticks(now) + 1 : StartOf(FirstSlot());
  const uint64_t before = start == 0 ? 0 : start - 1;
  base_ = std::max(base_, std::min(Ticks(now), before));
}

// Places by the highest group of bits in which the instant differs from base_: all groups above
// agree, so that within a level a higher slot is later, and a lower level is earlier.
void TimerWheel::Insert(Timer& timer) {
  const uint64_t ticks = std::max(Ticks(timer.when_), base_);
  const uint64_t differs = ticks ^ base_;
  const size_t level =
      differs == 0 ? 0 : (static_cast<size_t>(std::bit_width(differs)) - 1) / kBits;
  const size_t slot = (ticks >> (level * kBits)) & (kSlots - 1);
  Append(slots_[level * kSlots + slot], timer);
  used_[level] |= uint64_t{1} << slot;
  levels_used_ |= 1U << level;
}

void TimerWheel::Unlink(TimerLink& link) {
  TimerLink* const neighbour = link.next;
  link.prev->next = link.next;
  link.next->prev = link.prev;
  link.prev = link.next = nullptr;
  if (!Empty(*neighbour) || neighbour == &spill_) return;
  // Only a slot's own head points at itself now, so the slot is empty, and its address names it.
  const auto index = static_cast<size_t>(neighbour - slots_.data());
  const size_t level = index / kSlots;
  used_[level] &= ~(uint64_t{1} << (index % kSlots));
  if (used_[level] == 0) levels_used_ &= ~(1U << level);
}

size_t TimerWheel::SpreadSpill(size_t moves_max) {
  size_t moves = 0;
  for (; moves < moves_max && !Empty(spill_); ++moves) {
    auto& timer = static_cast<Timer&>(*spill_.next);
    Unlink(timer);
    Insert(timer);
  }
  return moves;
}

TimerWheel::Place TimerWheel::FirstSlot() const {
  const auto level = static_cast<size_t>(std::countr_zero(levels_used_));
  return {level, static_cast<size_t>(std::countr_zero(used_[level]))};
}

uint64_t TimerWheel::StartOf(Place place) const {
  const unsigned shift = static_cast<unsigned>(place.level) * kBits;
  const uint64_t within = shift + kBits >= 64 ? ~uint64_t{0} : (uint64_t{1} << (shift + kBits)) - 1;
  return (base_ & ~within) | (static_cast<uint64_t>(place.slot) << shift);
}

Instant TimerWheel::ComputeSoonest() const {
  if (!Empty(spill_)) return FromTicks(base_);
  if (levels_used_ == 0) return kNever;
  const Place place = FirstSlot();
  const TimerLink& slot = slots_[place.level * kSlots + place.slot];
  // A timer alone in the first slot is the first: its own instant saves wake-ups on the way there.
  if (slot.next == slot.prev) return static_cast<const Timer&>(*slot.next).when();
  return FromTicks(StartOf(place));
}

}  // namespace waitd::core
