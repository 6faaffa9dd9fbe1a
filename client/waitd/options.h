#ifndef WAITD_OPTIONS_H_
#define WAITD_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "absl/time/time.h"
#include "waitd/types.h"

/// What is said with a call: options, which name what differs from the defaults:
///
///     client.Wait("build/42", {.timeout = absl::Minutes(10), .mode = waitd::Mode::kWrite})
///
/// They hold views, not strings: what these show is copied by the call that they are given to. So
/// they are trivial, and GCC 12 gets them right inside a co_await, where it copies other aggregates
/// bit by bit and destroys them twice.
namespace waitd {

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

struct ReadyOptions {
  Mode mode = Mode::kRead;
  ReadyCondition condition = ReadyCondition::kAlways;
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  uint64_t generation = 0;                                     ///< As in WaitOptions.
};

struct DeadlineOptions {
  Mode mode = Mode::kRead;
  DeadlineCondition condition = DeadlineCondition::kAlways;
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  uint64_t generation = 0;                                     ///< As in WaitOptions.
};

struct CloseOptions {
  uint64_t generation = 0;  ///< As in WaitOptions.
};

struct ResetOptions {
  Mode mode = Mode::kRead;
  uint64_t generation = 0;  ///< As in WaitOptions.
};

static_assert(
    std::is_trivially_copyable_v<OpenOptions> && std::is_trivially_copyable_v<WaitOptions> &&
    std::is_trivially_copyable_v<PollTarget> && std::is_trivially_copyable_v<PollOptions> &&
    std::is_trivially_copyable_v<ReadyOptions> && std::is_trivially_copyable_v<DeadlineOptions> &&
    std::is_trivially_copyable_v<CloseOptions> && std::is_trivially_copyable_v<ResetOptions>);

}  // namespace waitd

#endif  // WAITD_OPTIONS_H_
