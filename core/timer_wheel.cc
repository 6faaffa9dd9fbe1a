#include "core/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/check.h"

namespace waitd::core {
namespace {

// Instants in their order from 0 on: those before the clock's own zero, from before the machine
// was started, come first.
constexpr uint64_t kZero = uint64_t{1} << 63;
uint64_t Ticks(Instant at) { return static_cast<uint64_t>(at.time_since_epoch().count()) ^ kZero; }

bool Empty(const TimerLink& head) { return head.next == &head; }

void Append(TimerLink& head, TimerLink& link) {
  link.prev = head.prev;
  link.next = &head;
  head.prev->next = &link;
  head.prev = &link;
}

void Unlink(TimerLink& link) {
  link.prev->next = link.next;
  link.next->prev = link.prev;
  link.prev = link.next = nullptr;
}

}  // namespace

TimerWheel::Node::Node() {
  for (TimerLink& list : slots) list.prev = list.next = &list;
}

void TimerWheel::Arm(Timer& timer, Instant when) {
  WAITD_CHECK(!timer.armed(), "a timer is armed twice");
  WAITD_CHECK(when != kNever, "a timer has no instant");
  timer.when_ = when;
  const uint64_t ticks = Ticks(when);
  Place at = Walk(root_, ticks);
  while (!MakeRoom(at, ticks)) at = Walk(*at.node, ticks);
  Append(at.list(), timer);
  at.node->used |= at.bit();
  if (at.count() != kOneInstant) ++at.count();
  ++size_;
  soonest_ = std::min(soonest_, when);
}

void TimerWheel::Cancel(Timer& timer) {
  if (!timer.armed()) return;
  Remove(timer);
  if (size_ == 0) soonest_ = kNever;
}

size_t TimerWheel::PopDue(Instant now, std::span<FiredTimer> fired) {
  size_t count = 0;
  if (soonest_ > now) return count;
  soonest_ = kNever;
  while (size_ > 0 && soonest_ == kNever) count += PopFirstLeaf(now, fired.subspan(count));
  return count;
}

// Takes what is due of the first leaf. If that leaves any, the first of them is the soonest.
size_t TimerWheel::PopFirstLeaf(Instant now, std::span<FiredTimer> fired) {
  const Place at = FirstLeaf();
  if (at.count() == kOneInstant) return PopOneInstant(at.list(), now, fired);
  std::array<Timer*, kLeafMax> due;  // in order
  size_t due_count = 0;
  Instant rest = kNever;
  for (TimerLink* link = at.list().next; link != &at.list(); link = link->next) {
    Timer& timer = TimerOf(*link);
    ++looked_at_;
    if (timer.when_ > now) {
      rest = std::min(rest, timer.when_);
      continue;
    }
    size_t to = due_count++;
    for (; to > 0 && due[to - 1]->when_ > timer.when_; --to) due[to] = due[to - 1];
    due[to] = &timer;
  }
  const size_t count = std::min(due_count, fired.size());
  for (size_t i = 0; i < count; ++i) fired[i] = Fire(*due[i]);
  soonest_ = count < due_count ? due[count]->when_ : rest;
  return count;
}

size_t TimerWheel::PopOneInstant(TimerLink& list, Instant now, std::span<FiredTimer> fired) {
  const Instant when = TimerOf(*list.next).when_;
  size_t count = 0;
  TimerLink* link = list.next;
  while (link != &list && when <= now && count < fired.size()) {
    // Read before, for the last timer may take the list's node along; its address is still good.
    fired[count++] = Fire(TimerOf(*std::exchange(link, link->next)));
  }
  looked_at_ += count;
  if (link != &list) soonest_ = when;
  return count;
}

FiredTimer TimerWheel::Fire(Timer& timer) {
  Remove(timer);
  return {&timer, timer.sequence_, timer.use_};
}

// Where the timers of this instant are: an empty slot, a leaf, or a node that does not cover it.
TimerWheel::Place TimerWheel::Walk(Node& from, uint64_t ticks) {
  Node* node = &from;
  size_t slot = node->SlotOf(ticks);
  while (node->HoldsNode(slot) && node->Child(slot).Covers(ticks)) {
    node = &node->Child(slot);
    slot = node->SlotOf(ticks);
  }
  return {node, slot};
}

TimerWheel::Place TimerWheel::FirstLeaf() {
  Node* node = &root_;
  auto slot = static_cast<size_t>(std::countr_zero(node->used));
  while (node->HoldsNode(slot)) {
    node = &node->Child(slot);
    slot = static_cast<size_t>(std::countr_zero(node->used));
  }
  return {node, slot};
}

// True: the place takes one more timer, of this instant. False: there is a node now, or the leaf is
// known to have one instant only, so that the caller looks again.
bool TimerWheel::MakeRoom(Place at, uint64_t ticks) {
  if (at.node->HoldsNode(at.slot)) {
    const uint64_t inside = at.node->Child(at.slot).inside;
    PutBelow(at, inside, inside ^ ticks);
    return false;
  }
  if (at.count() < kLeafMax) return true;
  const uint64_t first = Ticks(TimerOf(*at.list().next).when_);
  if (at.count() == kOneInstant) {
    if (first == ticks) return true;
    PutBelow(at, first, first ^ ticks);
    return false;
  }
  uint64_t differs = 0;
  uint8_t count = 0;  // that was too high, if some were cancelled
  for (const TimerLink* link = at.list().next; link != &at.list(); link = link->next) {
    differs |= first ^ Ticks(TimerOf(*link).when_);
    ++count;
  }
  looked_at_ += count;
  if (count <= kLeafMax / 2) {
    at.count() = count;
    return true;
  }
  if (differs == 0) {
    at.count() = kOneInstant;
  } else {
    Split(at, first, differs);
  }
  return false;
}

// Makes a node of a leaf. It begins where the timers differ first, so that two slots get some.
void TimerWheel::Split(Place at, uint64_t inside, uint64_t differs) {
  Node& node = NewNode(inside, differs);
  while (!Empty(at.list())) {
    Timer& timer = TimerOf(*at.list().next);
    const Place to{&node, node.SlotOf(Ticks(timer.when_))};
    Unlink(timer);
    Append(to.list(), timer);
    node.used |= to.bit();
    ++to.count();
  }
  Hang(at, node);
}

// Puts a node between a place and what it holds, where that differs from an instant to be armed.
void TimerWheel::PutBelow(Place at, uint64_t inside, uint64_t differs) {
  Node& node = NewNode(inside, differs);
  const Place to{&node, node.SlotOf(inside)};
  Move(at, to);
  Hang(at, node);
}

TimerWheel::Node& TimerWheel::NewNode(uint64_t inside, uint64_t differs) {
  Node& node = nodes_.Get();
  node.shift = (static_cast<unsigned>(std::bit_width(differs)) - 1) / kBits * kBits;
  node.inside = inside;
  return node;
}

// Puts a node into an empty place.
void TimerWheel::Hang(Place at, Node& node) {
  Append(at.list(), node);
  node.parent = at.node;
  at.node->used |= at.bit();
  at.node->nodes |= at.bit();
  at.count() = 0;
}

// Moves what a place holds, whatever it is, to an empty one.
void TimerWheel::Move(Place from, Place to) {
  to.list() = from.list();
  to.list().next->prev = to.list().prev->next = &to.list();
  from.list() = {.prev = &from.list(), .next = &from.list()};
  to.count() = std::exchange(from.count(), uint8_t{0});
  to.node->used |= to.bit();
  from.node->used &= static_cast<uint16_t>(~from.bit());
  if (!from.node->HoldsNode(from.slot)) return;
  from.node->nodes &= static_cast<uint16_t>(~from.bit());
  to.node->nodes |= to.bit();
  to.node->Child(to.slot).parent = to.node;
}

void TimerWheel::Remove(Timer& timer) {
  TimerLink& neighbour = *timer.next;
  Unlink(timer);
  --size_;
  if (!Empty(neighbour)) return;
  // Only a list's own head points at itself now: the leaf is empty.
  const Place at = Walk(root_, Ticks(timer.when_));
  at.count() = 0;
  at.node->used &= static_cast<uint16_t>(~at.bit());
  if (at.node != &root_ && std::has_single_bit(at.node->used)) Fold(*at.node);
}

// Gives a node's last slot to its parent, and the node back.
void TimerWheel::Fold(Node& node) {
  const Place at{node.parent, node.parent->SlotOf(node.inside)};
  Unlink(node);
  at.node->nodes &= static_cast<uint16_t>(~at.bit());
  Move({&node, static_cast<size_t>(std::countr_zero(node.used))}, at);
  nodes_.Put(node);
}

}  // namespace waitd::core
