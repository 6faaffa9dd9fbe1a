#ifndef WAITD_CORE_SIDE_H_
#define WAITD_CORE_SIDE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "core/aging.h"
#include "core/budget.h"
#include "core/delivery.h"
#include "core/poll_cache.h"
#include "core/stats.h"
#include "core/timer_wheel.h"
#include "core/types.h"
#include "core/unsaved.h"
#include "core/waiter.h"
#include "core/work.h"

namespace waitd::core {

class PollDesc;
class Release;

/// A timer of a name.
struct DescTimer : Timer {
  DescTimer(TimerUse use, PollDesc& owner) : Timer(use), desc(owner) {}
  PollDesc& desc;
};

/// What the names of one shard share, with what each operation looks at first. Guarded by the
/// shard's lock.
struct DescEnv {
  DescEnv(size_t index, Nanos unwritten, Budget& held, Journal* journal)
      : shard(index), unwritten_for(unwritten), budget(held), unsaved(journal, index) {}

  const size_t shard;
  const Nanos unwritten_for;  ///< see Poller::Options
  uint32_t releases = 0;      ///< under way
  Budget& budget;
  WorkList work;
  TimerWheel timers;
  Unsaved unsaved;
  Counters counters;
  Timer retention{TimerUse::kRetention};
  AgingList aging;
  PollCache<Delivery> deliveries;
};

/// What few sides need, from their first use on.
struct SideExtra {
  PlaceList polls;
  PlaceList ignoring;            ///< single waits that ignore the deadline
  uint32_t poll_count = 0;       ///< how many stand in `polls`
  uint32_t ignoring_count = 0;   ///< how many stand in `ignoring`
  bool open = false;             ///< whether the side's signal is counted in its polls
  bool max_waits_aside = false;  ///< see SetMaxWaitAside
  bool rebinding = false;        ///< Work is there that arms their timers again
  Place* rebind = nullptr;       ///< the wait at which that goes on
  Instant rebind_from;           ///< when the deadline was cleared: max-wait binds from there
  bool recounting = false;       ///< Work is there that hands it out and counts it
  bool serve = false;            ///< that Work looks first for who gets the signal
  Place* recount = nullptr;      ///< the poll at which the count goes on
  Place* scan = nullptr;         ///< the poll at which the search for a taker goes on
  bool scanning = false;         ///< that has begun: null is behind the last
  uint64_t reset_through = 0;    ///< deliveries up to this were handed out before the last Reset
  uint32_t reserved = 0;         ///< waits with an ack_timeout that stand here
  std::unique_ptr<Deliveries> deliveries;
  std::vector<Release*> releases;  ///< those that have not ended, in their order
};

// clang-format off
/// A side of a name.
///
/// The semaphore of a side:
///
/// | state   | event                    | state after | who does it              |
/// |---------|--------------------------|-------------|--------------------------|
/// | nil     | wait                     | waiting     | Block, BlockAll          |
/// | nil     | Ready, a signal returns  | READY       | Unblock, Return          |
/// | waiting | Ready, a signal returns  | waiting, nil | Unblock, Return         |
/// | waiting | Ready, of a latch        | READY       | Unblock                  |
/// | waiting | the last wait ends       | nil         | Release, EndWait, EndPoll |
/// | READY   | wait takes the last one  | nil         | Block, BlockAll          |
/// | READY   | Reset                    | nil         | Reset                    |
/// | any     | Close, idle_ttl          | gone        | Evict                    |
///
/// and its deadline:
///
/// | state   | event                          | state after | who does it          |
/// |---------|--------------------------------|-------------|----------------------|
/// | none    | SetDeadline to come            | armed       | SetDeadline          |
/// | armed   | SetDeadline to come            | armed       | SetDeadline          |
/// | armed   | its instant                    | expired     | Settle, DeadlineImpl |
/// | any     | SetDeadline in the past        | expired     | SetDeadline          |
/// | expired | SetDeadline to come            | armed       | SetDeadline          |
/// | any     | SetDeadline clears             | none        | SetDeadline          |
// clang-format on
struct SideState {
  PlaceList waits;         ///< single waits that the deadline can end
  uint32_t waiting = 0;    ///< single waits that stand here
  uint32_t tickets = 0;    ///< the number of the last arrival
  bool ready = false;      ///< a signal is remembered, or the latch is open
  uint8_t serves = 0;      ///< the Mode that the side's timer serves, or 0 for none
  uint32_t coalesced = 0;  ///< of the signal, as are the next two
  Payload signal;
  WallTime ready_time;
  Deadline deadline;
  uint64_t delivery = 0;  ///< how many signals were handed out; of a latch, how often it opened
  std::unique_ptr<SideExtra> extra;

  const Deliveries* deliveries() const {
    return extra == nullptr ? nullptr : extra->deliveries.get();
  }
  bool HasReturned() const { return deliveries() != nullptr && !deliveries()->returned.empty(); }
  /// Whether a wait finds a signal here: one that is remembered, or one that came back.
  bool HasReady() const { return ready || HasReturned(); }
  /// Whether nobody stands here but waits that the deadline can end, and the first is not over:
  /// then a signal needs no other shard's lock.
  bool NeedsNoMore(Instant now) const {
    return extra == nullptr && (waits.empty() || waits.first()->waiter().until() > now);
  }
  uint32_t waiters() const { return waiting + polls(); }
  /// So many of those who stand here, in the order of arrival.
  std::vector<Place*> First(size_t count) const;
  uint32_t polls() const { return extra == nullptr ? 0 : extra->poll_count; }
};

/// A side with its timer.
struct Half : SideState {
  Half(TimerUse use, PollDesc& desc) : timer(use, desc) {}
  DescTimer timer;
};

/// The timer of idle_ttl.
struct Idle : DescTimer {
  explicit Idle(PollDesc& owner) : DescTimer(TimerUse::kIdle, owner) {}
  Nanos ttl = kForever;
};

/// What a Ready did to a side.
struct Unblocked {
  ReadyEffect effect = ReadyEffect::kRefused;
  uint32_t woken = 0;
  bool expired = false;
};

/// What a deadline is to be.
struct NewDeadline : Deadline {
  bool absolute = false;  ///< given as wall time: the same wall time is the same deadline
};

/// What a condition makes of a change from one deadline to another.
DeadlineEffect JudgeDeadline(const Deadline& from, const Deadline& to, DeadlineCondition condition);

}  // namespace waitd::core

#endif  // WAITD_CORE_SIDE_H_
