#ifndef WAITD_TYPES_H_
#define WAITD_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/time/time.h"

/// What a program says to waitd and hears from it. Plain records: copy them, keep them, send them
/// to another thread. Durations are exact to the nanosecond and saturate: what lies beyond 292
/// years never comes. Texts are UTF-8, but for Signal::data.
///
/// What is said is said by options, which name what differs from the defaults:
///
///     client.Wait("build/42", {.timeout = absl::Minutes(10), .mode = waitd::Mode::kWrite})
///
/// They hold views, not strings: what these show is copied by the call that they are given to. So
/// they are trivial, and GCC 12 gets them right inside a co_await, where it copies other aggregates
/// bit by bit and destroys them twice.
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

/// How to open a descriptor. Of a name that is open already, only the kind is compared.
struct OpenOptions {
  Kind kind = Kind::kAny;
  /// At most 16, keys of at most 63 bytes, values of at most 256; null: none.
  const TextMap* labels = nullptr;
  /// Closed by the server after this long of idleness. Unset: for ever when opened by Open or
  /// Create, the server's default when opened by another call on the way.
  std::optional<absl::Duration> idle_ttl;
  bool ephemeral = false;  ///< Closed when the client's session ends.
};

struct WaitOptions {
  /// How long at most. Zero or less: takes a READY that is there, else TIMED_OUT; never parks.
  absl::Duration timeout = absl::InfiniteDuration();
  Mode mode = Mode::kRead;
  bool ignore_deadline = false;  ///< Woken by Ready or Close alone, also past the deadline.
  /// A name that is not open is opened so; nullopt: NOT_FOUND instead.
  std::optional<OpenOptions> open_if_missing = OpenOptions{};
  /// Set: handed over at least once, as the READY comes back for another wait when no Ack follows
  /// in this time. Unset: at most once.
  std::optional<absl::Duration> ack_timeout;
  uint64_t generation =
      0;  ///< 0: whichever life of the name is open; else ABORTED unless this one.
  /// Names the wait beyond this process: one that was started under the same id and has not been
  /// answered is the same wait, and OUTCOME_UNKNOWN when the server has forgotten it. Empty: the
  /// client chooses one, and another one when it has to wait anew, as it does after the server's
  /// bound on all waits; the result tells which.
  std::string_view wait_id;
  /// With a wait_id that was sent before: how long ago it was first sent.
  absl::Duration first_sent_ago = absl::ZeroDuration();
};

/// Names one READY that was handed over. (generation, delivery) grows, and fences what is done
/// next.
struct HandOff {
  std::string name;
  Mode mode = Mode::kRead;
  std::string wait_id;
  uint64_t generation = 0;
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

/// One side of one descriptor, for Poll.
struct PollTarget {
  std::string_view name;
  Mode mode = Mode::kRead;
  uint64_t generation = 0;  ///< As in WaitOptions.
};

struct PollOptions {
  uint32_t need = 1;  ///< How many targets must be READY: they are taken in one step, or none.
  absl::Duration timeout = absl::InfiniteDuration();           ///< As in WaitOptions.
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  std::optional<absl::Duration> ack_timeout;                   ///< As in WaitOptions, each.
  std::string_view wait_id;                                    ///< As in WaitOptions.
  absl::Duration first_sent_ago = absl::ZeroDuration();        ///< As in WaitOptions.
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

struct ReadyOptions {
  Mode mode = Mode::kRead;
  ReadyCondition condition = ReadyCondition::kAlways;
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  uint64_t generation = 0;                                     ///< As in WaitOptions.
};

struct ReadyResult {
  ReadyEffect effect = ReadyEffect::kWoke;
  uint32_t woken = 0;       ///< How many waits it released; a poll is one.
  uint64_t generation = 0;  ///< The life of the name that it reached; 0: it is not open.
  bool expired = false;     ///< It is remembered on a side whose deadline has passed.
};

struct DeadlineOptions {
  Mode mode = Mode::kRead;
  DeadlineCondition condition = DeadlineCondition::kAlways;
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  uint64_t generation = 0;                                     ///< As in WaitOptions.
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

struct CloseOptions {
  uint64_t generation = 0;  ///< As in WaitOptions.
};

struct CloseResult {
  uint32_t woken = 0;  ///< How many waits it ended.
};

struct ResetOptions {
  Mode mode = Mode::kRead;
  uint64_t generation = 0;  ///< As in WaitOptions.
};

struct ResetResult {
  bool reset = false;   ///< False: a side that was named has expired, and was left as it is.
  bool forgot = false;  ///< A READY was forgotten.
};

struct AckResult {};

static_assert(
    std::is_trivially_copyable_v<OpenOptions> && std::is_trivially_copyable_v<WaitOptions> &&
    std::is_trivially_copyable_v<PollTarget> && std::is_trivially_copyable_v<PollOptions> &&
    std::is_trivially_copyable_v<ReadyOptions> && std::is_trivially_copyable_v<DeadlineOptions> &&
    std::is_trivially_copyable_v<CloseOptions> && std::is_trivially_copyable_v<ResetOptions>);

}  // namespace waitd

#endif  // WAITD_TYPES_H_
