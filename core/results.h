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

/// How a wait ended. Fields of READY are unset in the other outcomes.
struct WaitResult {
  Outcome outcome = Outcome::kReady;
  TimeoutCause cause = TimeoutCause::kNone;
  uint32_t coalesced = 0;  ///< READY: how many earlier signals this one replaced
  uint64_t generation = 0;
  Payload signal = {};
  Nanos parked{0};
  Nanos late{0};          ///< timed out: from its instant, or the wait's begin, to the decision
  uint64_t delivery = 0;  ///< READY: grows with each signal that the side hands out
  uint32_t attempt = 1;   ///< READY: 1, or more after deliveries that were not acknowledged
  Side side = Side::kRead;
  WallTime ready_time = {};  ///< READY: when it was accepted

  /// READY: which name it came from. Only the core may look into it; the generation tells whether
  /// the name is still in the same life. Null: that life was over when this was restored.
  PollDesc* desc = nullptr;
};

/// How a poll ended.
struct PollResult {
  /// One of its targets: the signal that it took, or how it ended. A poll of a thousand targets is
  /// remembered for ten minutes, so this packs a WaitResult.
  class Target {
   public:
    Target(uint32_t at, const WaitResult& from)
        : index(at),
          coalesced_(from.coalesced),
          attempt_(from.attempt),
          outcome_(from.outcome),
          cause_(from.cause),
          side_(from.side),
          generation_(from.generation),
          signal_(from.signal),
          desc_(from.desc) {
      if (ready()) {
        delivery_ = from.delivery;
        ready_time_ = from.ready_time;
      } else {
        parked_ = from.parked;
        late_ = from.late;
      }
    }

    bool ready() const { return outcome_ == Outcome::kReady; }
    const Payload& signal() const { return signal_; }

    /// What a wait on this target alone would have got. `poll_parked`: for how long the poll was.
    WaitResult result(Nanos poll_parked) const {
      WaitResult to{.outcome = outcome_,
                    .cause = cause_,
                    .coalesced = coalesced_,
                    .generation = generation_,
                    .signal = signal_,
                    .attempt = attempt_,
                    .side = side_,
                    .desc = desc_};
      to.parked = ready() ? poll_parked : parked_;
      if (ready()) {
        to.delivery = delivery_;
        to.ready_time = ready_time_;
      } else {
        to.late = late_;
      }
      return to;
    }

    uint32_t index;  ///< in PollArgs::targets

   private:
    uint32_t coalesced_;
    uint32_t attempt_;
    Outcome outcome_;
    TimeoutCause cause_;
    Side side_;
    uint64_t generation_;
    Payload signal_;
    PollDesc* desc_;
    union {  // of READY, or not
      uint64_t delivery_;
      Nanos parked_;
    };
    union {
      WallTime ready_time_;
      Nanos late_;
    };
  };
  static_assert(sizeof(Target) <= 64, "a remembered target is promised to be small");

  Outcome outcome = Outcome::kReady;
  TimeoutCause cause = TimeoutCause::kNone;
  Nanos parked{0};
  Nanos late{0};
  std::vector<Target> targets = {};  ///< those taken, or those whose end left too few
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

/// The delivery is acknowledged: there is nothing more to say.
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
    uint32_t unacked = 0;   ///< deliveries that wait for their Ack
    uint32_t returned = 0;  ///< signals that came back and wait for the next wait
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
