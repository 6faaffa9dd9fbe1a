#ifndef WAITD_CORE_DELIVERY_H_
#define WAITD_CORE_DELIVERY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/btree_map.h"
#include "core/aging.h"
#include "core/clock.h"
#include "core/timer_wheel.h"
#include "core/types.h"

namespace waitd::core {

class PollDesc;
struct Deliveries;
struct Remembered;

/// A signal that a wait took, for as long as it may come back, and then what became of it.
///
/// | state     | event                                   | state after                        |
/// |-----------|-----------------------------------------|------------------------------------|
/// | -         | handed to a wait with an ack_timeout    | kPending                           |
/// | -         | its answer reached nobody, has an id    | kKept                              |
/// | -         | its answer reached nobody, has no id    | kReturned                          |
/// | kKept     | a call with the same id gets the answer | gone                               |
/// | kKept     | linger is over, or too many are held    | kReturned; its id is forgotten     |
/// | kPending  | Ack                                     | kAcked                             |
/// | kPending  | ack_timeout is over                     | kReturned, acknowledgeable         |
/// | kReturned | a wait takes the signal, or Reset       | kStale if acknowledgeable; or gone |
/// | kAcked, kStale | retention is over, or no room      | gone                               |
/// | any       | Close, or idle_ttl                      | gone                               |
///
/// A signal that comes back after a Reset which came later than its hand-out does not become
/// kReturned: it is forgotten, as in the row of Reset. A signal whose first answer is written has
/// no Delivery: most never do.
///
/// Threads:  the lock of its name's shard. When a signal comes back, the locks of the poll that
///           gets it, and of its id's home, are held as well.
/// Lifetime: in a slab; it ends with its side.
struct Delivery : Timer, Aging {
  enum class State : uint8_t { kKept, kPending, kReturned, kAcked, kStale };

  Delivery() : Timer(TimerUse::kDelivery), Aging(true) {}

  State state = State::kPending;
  bool acknowledgeable = false;  ///< it waited for an Ack once, so that a late one is told so
  bool stored = false;           ///< it was collected to be saved
  Side side = Side::kRead;
  uint32_t dirty_at = 0;  ///< its place among those to be saved; 0: it is none
  uint32_t attempt = 1;   ///< of the wait that had it
  uint32_t coalesced = 0;
  uint64_t generation = 0;  ///< with the side and the number, what it is known by
  uint64_t number = 0;
  Payload signal;
  WallTime ready_time;
  uint64_t caller = 0;
  std::string wait_id;
  std::shared_ptr<Remembered> answer;  ///< of kKept and kPending: the answer it is part of
  Deliveries* owner = nullptr;
};

/// The deliveries of a side. Threads: as Delivery.
struct Deliveries {
  PollDesc* desc = nullptr;  ///< null: the name was closed, and these are on their way out
  absl::btree_map<uint64_t, Delivery*> all;       ///< by number
  absl::btree_map<uint64_t, Delivery*> returned;  ///< the oldest number first
  uint32_t pending = 0;
  uint32_t kept = 0;

  /// How many count in the limits; those that a Reset has forgotten are on their way out.
  uint64_t held() const { return pending + kept + returned.size(); }
};

}  // namespace waitd::core

#endif  // WAITD_CORE_DELIVERY_H_
