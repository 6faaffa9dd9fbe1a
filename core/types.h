#ifndef WAITD_CORE_TYPES_H_
#define WAITD_CORE_TYPES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/clock.h"

namespace waitd::core {

/// One side of a descriptor. Its number indexes arrays of two.
enum class Side : uint8_t { kRead, kWrite };
inline constexpr std::array<Side, 2> kSides = {Side::kRead, Side::kWrite};
constexpr size_t Index(Side side) { return static_cast<size_t>(side); }

/// The side or the sides that an operation is for; a set of bits, one for each side.
enum class Mode : uint8_t { kRead = 1, kWrite = 2, kReadWrite = 3 };
constexpr bool Includes(Mode mode, Side side) {
  return (static_cast<unsigned>(mode) >> Index(side) & 1U) != 0;
}

/// What a descriptor is: how many may wait on a side, and how many of them a Ready wakes.
enum class Kind : uint8_t {
  kExclusive,  ///< one may wait; a Ready wakes it
  kFifo,       ///< any number may wait; a Ready wakes the first
  kLatch,      ///< any number may wait; a Ready wakes all, and stays
};
inline constexpr size_t kKinds = 3;

/// How a wait ended.
enum class Outcome : uint8_t { kReady, kTimedOut, kClosed, kCancelled };

/// What bounded a wait that timed out.
enum class TimeoutCause : uint8_t {
  kNone,
  kDeadline,  ///< the side's deadline
  kWait,      ///< the wait's own timeout
  kMaxWait,   ///< the server's bound on waits without another: nothing was decided
};

enum class ReadyCondition : uint8_t {
  kAlways,
  kNotExpired,  ///< only while the side's deadline has not passed
  kWaiting,     ///< only when it releases somebody; nothing is remembered
};

/// What a Ready did, ordered so that the smaller one is what a call for two sides answers.
enum class ReadyEffect : uint8_t { kWoke, kRemembered, kCoalesced, kRefused };

enum class DeadlineCondition : uint8_t { kAlways, kOnlyLater, kOnlyEarlier, kArmOrExtend };

enum class DeadlineEffect : uint8_t {
  kNone,  ///< the side was not asked for
  kArmed,
  kExtended,
  kShortened,
  kUnchanged,
  kCleared,
  kExpired,
  kRefused,
};

/// The semaphore of a side, as it is shown.
enum class SemaphoreState : uint8_t { kNil, kReady, kWaiting };

/// Why an operation was refused. A refused operation changed nothing.
enum class Reason : uint8_t {
  kNoDescriptor,      ///< no descriptor of that name is open
  kExists,            ///< must_create, and the name is open
  kKindMismatch,      ///< the name is open with another kind
  kStaleGeneration,   ///< the name is open with another generation
  kDoubleWait,        ///< somebody waits on that exclusive side
  kBadTime,           ///< the deadline contradicts its condition
  kBadOptions,        ///< an ack_timeout on a latch
  kBadPoll,           ///< no target, too many, one twice, or need above their number
  kLimitDescriptors,  ///< as many descriptors are open as the limit allows
  kLimitWaiters,      ///< as many waits are parked as the limit allows
  kLimitDeliveries,   ///< as many deliveries wait for their Ack as the limit allows
  kDraining,          ///< the poller accepts no more waits
  kIdReused,          ///< the id belongs to a call with other content
  kOutcomeUnknown,    ///< a first attempt older than what is remembered; an unknown delivery
  kTakenOver,         ///< a later call with the same id waits instead of this one
  kStaleDelivery,     ///< the delivery expired: another wait gets its signal
  kLimitDisk,         ///< there is no room to save what the operation would change
  kStoreFailed,       ///< nothing can be saved any more
  kForbidden,         ///< the caller may not wait there any more (Denial)
};

/// The answer to an operation that was refused.
struct Refusal {
  Reason reason = Reason::kNoDescriptor;
  uint64_t generation = 0;       ///< of the descriptor that is open, if one is
  uint64_t limit = 0;            ///< of kLimit...: the limit, in things or in bytes
  bool limit_is_bytes = false;   ///< of kLimit...: which
  bool limit_is_own = false;     ///< of kLimit...: it is what one caller may have
  uint32_t target = 0;           ///< of a poll: the index of the target at fault
  std::string waiter = {};       ///< of kDoubleWait: who waits
  WallTime waiting_since = {};   ///< of kDoubleWait: since when
  bool waiter_connected = true;  ///< of kDoubleWait: whether it is there, or lingers
  std::string name = {};         ///< of the name that was asked for, if the refusal is about it
};

/// What an operation answers: T, or why not.
template <class T>
using Result = std::variant<T, Refusal>;

/// What a READY carries, opaque to the core; null is empty. Shared, for a latch hands it to many.
using Payload = std::shared_ptr<const std::string>;

/// Pairs of key and value, ordered by key.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// Whether and for when a side has a deadline. An expired side keeps the instant at which it was
/// due.
struct Deadline {
  enum class State : uint8_t { kNone, kArmed, kExpired };
  Instant at = kNever;
  WallTime wall = WallTime::max();
  State state = State::kNone;
};

/// Whether a deadline stands that will come. One beyond the range is armed and never comes.
inline bool CanExpire(const Deadline& deadline) {
  return deadline.state == Deadline::State::kArmed && deadline.at != kNever;
}

}  // namespace waitd::core

#endif  // WAITD_CORE_TYPES_H_
