#ifndef WAITD_TYPES_H_
#define WAITD_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

/// What a program says to waitd and hears from it. Plain records: copy them, keep them, send them
/// to another thread. Durations are exact to the nanosecond and saturate: what lies beyond 292
/// years never comes. Texts are UTF-8, but for Signal::data.
namespace waitd {

/// Which side of a descriptor, or both. Most programs need the read side alone, so it is the
/// default everywhere. Wait, Poll and Ack take one side.
enum class Mode { kRead, kWrite, kReadWrite };

/// How many may wait on a side, and how many of them a Ready wakes.
enum class Kind {
  kAny,        ///< Exclusive where it creates; where the name is open, whatever kind that is.
  kExclusive,  ///< One waiter a side; a second one is refused with DOUBLE_WAIT.
  kFifo,       ///< Many waiters, woken one by one in the order in which they came.
  kLatch,      ///< One Ready wakes all, and the side stays READY until Reset.
};

/// How a wait ended. These are answers, not errors.
enum class Outcome { kReady, kTimedOut, kClosed };

/// Which limit ended a wait that timed out.
enum class TimeoutCause {
  kNone,
  kDeadline,  ///< The descriptor's deadline.
  kWait,      ///< The wait's own timeout.
  kMaxWait,   ///< The server's bound on all waits. No caller sees it: the client waits on.
};

/// What a Ready did: released somebody, is remembered for the next wait, replaced one that was
/// remembered, or nothing because its condition did not hold.
enum class ReadyEffect { kWoke, kRemembered, kCoalesced, kRefused };

/// When a Ready is to have an effect.
enum class ReadyCondition {
  kAlways,
  kNotExpired,  ///< Only while the side's deadline has not passed.
  kWaiting,     ///< Only if it releases somebody; nothing is remembered.
};

/// When a SetDeadline is to have an effect. A side without a deadline counts as the latest.
enum class DeadlineCondition {
  kAlways,
  kOnlyLater,    ///< Never shortens, never revives an expired side.
  kOnlyEarlier,  ///< Never extends.
  kArmOrExtend,  ///< A heartbeat: arms, extends, never shortens, never revives.
};

/// What a SetDeadline did to a side; kNone: it was not asked for.
enum class DeadlineEffect {
  kNone,
  kArmed,
  kExtended,
  kShortened,
  kUnchanged,
  kCleared,
  kExpired,
  kRefused
};

using TextMap = std::map<std::string, std::string>;

/// How what was waited for went wrong.
struct Failure {
  int32_t code = 0;     ///< The signaller's own, such as an exit status.
  std::string message;  ///< For people.
};

/// What a READY carries from Ready to Wait. The server bounds its size (64 KiB unless told
/// otherwise): a larger one is refused with PAYLOAD_TOO_LARGE.
struct Signal {
  Signal() = default;
  Signal(std::string the_data, std::string the_content_type = {})  // NOLINT: "data" is a signal
      : data(std::move(the_data)), content_type(std::move(the_content_type)) {}
  Signal(const char* the_data) : data(the_data) {}  // NOLINT: the same
  /// Says that it ended badly.
  static Signal Failed(int32_t code, std::string message) {
    Signal signal;
    signal.failure = Failure{.code = code, .message = std::move(message)};
    return signal;
  }

  std::string data;                ///< Any bytes.
  std::string content_type;        ///< As in HTTP; empty: bytes.
  std::optional<Failure> failure;  ///< Set when it ended badly. The outcome is READY all the same.
  TextMap attributes;              ///< Further facts, such as a traceparent.
};

/// Names one READY that was handed over. (generation, delivery) grows, and fences what is done
/// next.
struct HandOff {
  std::string name;
  Mode mode = Mode::kRead;
  std::string wait_id;
  uint64_t generation =
      0;  ///< Never 0 in an Ack: a delivery's number counts within its generation.
  uint64_t delivery = 0;
};

struct WaitResult : HandOff {
  Outcome outcome = Outcome::kReady;
  TimeoutCause timeout_cause = TimeoutCause::kNone;
  Signal signal;           ///< READY: what it carried.
  uint32_t attempt = 0;    ///< READY: 1, or more after hand-offs that were not acknowledged.
  absl::Duration parked;   ///< How long it was parked on the server.
  absl::Duration late;     ///< TIMED_OUT: how long after its instant it was decided.
  absl::Time ready_time;   ///< READY: when the server accepted it.
  std::string ready_by;    ///< READY: the authenticated identity that sent it, if any.
  uint32_t coalesced = 0;  ///< READY: how many earlier ones it replaced.
};

struct PollResult {
  struct Target {
    size_t index = 0;   ///< Into the targets that were asked for.
    WaitResult result;  ///< Its own outcome, to be acknowledged by itself.
  };
  Outcome outcome = Outcome::kReady;
  TimeoutCause timeout_cause = TimeoutCause::kNone;
  std::vector<Target> targets;  ///< Those that were taken, or whose end left too few.
  absl::Duration parked;
  absl::Duration late;
};

struct ReadyResult {
  ReadyEffect effect = ReadyEffect::kWoke;
  uint32_t woken = 0;       ///< How many waits it released; a poll is one.
  uint64_t generation = 0;  ///< The life of the name that it reached; 0: it is not open.
  bool expired = false;     ///< It is remembered on a side whose deadline has passed.
};

/// A side's deadline.
struct Deadline {
  std::optional<absl::Time> at;  ///< Unset: none.
  bool expired = false;
  absl::Duration remaining;  ///< By the server's clock; negative: that long ago.
};

struct DeadlineResult {
  bool applied = false;  ///< To a side at least; false: the condition did not hold.
  Deadline read;
  Deadline write;
  uint32_t woken = 0;       ///< How many waits it ended.
  uint64_t generation = 0;  ///< The life of the name that it reached; 0: it is not open.
  DeadlineEffect read_effect = DeadlineEffect::kNone;
  DeadlineEffect write_effect = DeadlineEffect::kNone;
};

struct OpenResult {
  uint64_t generation = 0;
  Kind kind = Kind::kExclusive;
  bool created = false;  ///< This call opened it.
};

struct CloseResult {
  uint32_t woken = 0;  ///< How many waits it ended.
};

struct ResetResult {
  bool reset = false;   ///< False: a side that was named has expired, and was left as it is.
  bool forgot = false;  ///< A READY was forgotten.
};

struct AckResult {};

}  // namespace waitd

#endif  // WAITD_TYPES_H_
