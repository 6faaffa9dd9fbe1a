#ifndef WAITD_CORE_RESULTS_H_
#define WAITD_CORE_RESULTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/types.h"

namespace waitd::core {

class PollDesc;

/// Who has the READY of an answer to a call with an id. The answer may be forgotten before it is
/// known whether it was written, so this goes with each copy of it.
///
/// Threads: the lock of the id's shard.
struct Given {
  uint32_t calls = 0;       ///< that have it, and no word that it was not written
  bool handed_off = false;  ///< it comes back by its hand-off alone
};

/// What the operations of the poller answer.
struct WaitResult {
  Outcome outcome = Outcome::kReady;
  TimeoutCause cause = TimeoutCause::kNone;
  uint32_t coalesced = 0;  ///< READY: how many earlier ones this one replaced
  uint64_t generation = 0;
  Payload signal;
  Nanos parked{0};
  Nanos late{0};          ///< timed out: from its instant, or the wait's begin, to the decision
  uint64_t delivery = 0;  ///< READY: grows with each that the side hands out
  uint32_t attempt = 1;   ///< READY: 1, or more after hand-offs that were not acknowledged
  Side side = Side::kRead;
  WallTime ready_time;  ///< READY: when it was accepted

  /// READY: whose it was. Only the core may look into it, which tells by the generation whether it
  /// is still the same life. Null: that life was over when this was restored.
  PollDesc* desc = nullptr;
  std::shared_ptr<Given> given;  ///< READY: of a call with an id. Only the core may look into it
};

struct PollResult {
  struct Target {
    uint32_t index = 0;  ///< in PollArgs::targets
    WaitResult result;
  };
  Outcome outcome = Outcome::kReady;
  TimeoutCause cause = TimeoutCause::kNone;
  Nanos parked{0};
  Nanos late{0};
  std::vector<Target> targets;   ///< those taken, or those whose end left too few
  std::shared_ptr<Given> given;  ///< as in WaitResult, of all that were taken
};

/// Whether a wait or a poll timed out by itself, and not by a deadline.
inline bool ByItsOwnBound(const auto& result) {
  return result.cause == TimeoutCause::kWait || result.cause == TimeoutCause::kMaxWait;
}

struct CloseResult {
  uint32_t woken = 0;
};

struct ResetResult {
  bool reset = true;
  bool forgot = false;
};

struct ReadyResult {
  ReadyEffect effect = ReadyEffect::kRefused;
  uint32_t woken = 0;
  uint64_t generation = 0;
  bool expired = false;  ///< remembered on a side whose deadline has passed
};

/// Of an acknowledged hand-off: there is nothing more to say.
struct AckResult {};

struct SetDeadlineResult {
  bool applied = false;
  uint32_t woken = 0;
  uint64_t generation = 0;
  Deadline deadline[2];           ///< by Side
  DeadlineEffect effect[2] = {};  ///< by Side
  Instant decided;                ///< a repeated call is told what was left then
};

/// A descriptor as Open, Get and List show it, at one instant.
struct DescriptorInfo {
  struct Waiter {
    std::string client;
    WallTime since;
    std::optional<WallTime> until;
    std::string id_hint;    ///< the end of its id, which is a secret as a whole
    bool connected = true;  ///< false: its call has gone, and it lingers
  };
  struct SideInfo {
    SemaphoreState state = SemaphoreState::kNil;
    uint32_t waiters = 0;
    uint64_t payload_bytes = 0;
    uint32_t unacked = 0;   ///< hand-offs that wait for their Ack
    uint32_t returned = 0;  ///< hand-offs taken back
    Deadline deadline;
    std::vector<Waiter> waiter_details;  ///< of Get only, the first hundred
  };
  std::string name;
  Kind kind = Kind::kExclusive;
  uint64_t generation = 0;
  WallTime open_time;
  Nanos idle_ttl = kForever;
  Labels labels;
  bool ephemeral = false;
  std::string owner;
  SideInfo side[2];  ///< by Side
};

struct OpenResult {
  DescriptorInfo descriptor;
  bool created = false;
  Instant decided;  ///< a repeated call is told what was left then
};

struct ListResult {
  std::vector<DescriptorInfo> descriptors;  ///< by name
  std::string next_after;                   ///< not empty: there may be more behind this name
};

}  // namespace waitd::core

#endif  // WAITD_CORE_RESULTS_H_
