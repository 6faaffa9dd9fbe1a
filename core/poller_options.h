#ifndef WAITD_CORE_POLLER_OPTIONS_H_
#define WAITD_CORE_POLLER_OPTIONS_H_

#include <array>
#include <cstdint>

#include "core/budget.h"
#include "core/clock.h"
#include "core/journal.h"

namespace waitd::core {

class Poller;

/// What a poller allows, and for how long it remembers.
struct PollerOptions {
  Limit max_descriptors = 1 << 20;
  Limit max_waiters = 1 << 20;                 ///< a poll counts by its targets
  Nanos max_wait = std::chrono::hours(24);     ///< kForever: no bound
  Nanos default_idle_ttl = kForever;           ///< of names that open_if_missing opens
  Nanos linger = std::chrono::seconds(30);     ///< for how long a wait with an id outlives its call
  Nanos retention = std::chrono::minutes(10);  ///< for how long ids are remembered
  Limit max_outcomes = 1 << 20;                ///< a thing is each KiB begun
  /// That wait for their Ack or for somebody who asks for their answer, or may; or have come back.
  Limit max_deliveries = 1 << 20;
  uint64_t max_deliveries_of_side = uint64_t{1} << 16;
  /// How long after its hand-out an answer may still be found unwritten: idle_ttl counts from
  /// then on.
  Nanos unwritten_for = std::chrono::seconds(90);
  /// The units of work in one hold: a wait, a row, an operation or a moved entry is one, a poll
  /// as many as it has targets. Tests set few.
  uint32_t units_max = 1000;
};

/// What Collect takes, and Saved lets go: up to which change of each shard.
class PollerCut {
 private:
  friend class Poller;
  ShardSet seen_ = 0;     // in the cut, or left for the next
  ShardSet shards_ = 0;   // in the cut, and not saved yet
  ShardSet copying_ = 0;  // of these: not all of their rows are copied yet
  std::array<uint64_t, kShards> number_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLLER_OPTIONS_H_
