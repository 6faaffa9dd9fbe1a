#ifndef WAITD_CLIENT_ENGINE_REQUEST_H_
#define WAITD_CLIENT_ENGINE_REQUEST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "waitd/call.h"
#include "waitd/options.h"
#include "waitd/types.h"

namespace waitd::internal {

/// What the labels pointer of options shows, kept for as long as they: a million waits are parked
/// with room for a pointer each, not for a map.
using Labels = std::shared_ptr<const TextMap>;

/// A copy of the labels, which `options` shows from now on.
inline Labels Keep(OpenOptions& options) {
  if (options.labels == nullptr) return nullptr;
  Labels labels = std::make_shared<const TextMap>(*options.labels);
  options.labels = labels.get();
  return labels;
}
inline Labels Keep(std::optional<OpenOptions>& options) {
  return options.has_value() ? Keep(*options) : nullptr;
}

/// Of the options in these calls, wait_id is empty: it stands in Request::id.
struct OpenCall {
  explicit OpenCall(OpenOptions from, bool create = false)
      : options(from), labels(Keep(options)), must_create(create) {}

  OpenOptions options;
  Labels labels;
  bool must_create;
};

struct WaitCall {
  explicit WaitCall(WaitOptions from) : options(from), labels(Keep(options.open_if_missing)) {
    options.wait_id = {};
  }

  WaitOptions options;
  Labels labels;
};

struct ReadyCall {
  explicit ReadyCall(Signal the_signal, ReadyOptions from = {})
      : signal(std::make_shared<const Signal>(std::move(the_signal))),
        options(from),
        labels(Keep(options.open_if_missing)) {}

  std::shared_ptr<const Signal> signal;
  ReadyOptions options;
  Labels labels;
};

struct ClearDeadline {};
struct DeadlineCall {
  using When = std::variant<absl::Duration, absl::Time, ClearDeadline>;
  explicit DeadlineCall(When the_deadline, DeadlineOptions from = {})
      : deadline(the_deadline), options(from), labels(Keep(options.open_if_missing)) {}

  When deadline;
  DeadlineOptions options;
  Labels labels;
};

struct PollCall {
  /// No life of any name has this generation: those of the contract stay below 2^53.
  static constexpr uint64_t kOver = ~uint64_t{0};

  struct Target {
    std::string name;
    Mode mode;
    uint64_t generation;  ///< The caller's, or the life to which the engine has bound it.
    size_t index;         ///< In what the caller asked for.
    bool callers;         ///< The generation is the caller's.
    uint64_t life = 0;    ///< On which it stands, once that is known; kOver: that one is closed.
  };
  explicit PollCall(const std::vector<PollTarget>& from_targets, PollOptions from = {})
      : options(from), labels(Keep(options.open_if_missing)) {
    options.wait_id = {};
    targets.reserve(from_targets.size());
    for (const PollTarget& each : from_targets) {
      targets.push_back({std::string(each.name), each.mode, each.generation, targets.size(),
                         each.generation != 0});
    }
  }

  /// How many have to be READY.
  size_t need() const { return std::max(options.need, 1U); }

  std::vector<Target> targets;
  std::vector<Target> gone;   ///< Closed between two of its waits, in which it goes on without.
  size_t asked = 0;           ///< How many LifeCalls are not answered yet.
  absl::Status refusal = {};  ///< With which it ends if nothing is found that explains it.
  PollOptions options;
  Labels labels;
};

struct AckCall {
  HandOff hand_off;
};

/// Asks which life of a target's name a poll stands on, as no answer to the poll says so: by a
/// SetDeadline that is refused whatever there is, and tells the generation.
struct LifeCall {
  uint64_t poll;        ///< By its id.
  size_t target;        ///< Its place among the poll's targets.
  uint64_t generation;  ///< 0: whichever is open; else NOT_FOUND or ABORTED unless it is this one.
};

/// Ends a wait or poll of this session.
struct CancelCall {
  uint64_t target = 0;
};

/// One operation as its caller means it, without what an attempt adds. monostate: a timer, which is
/// never sent.
struct Request {
  std::string name;
  /// The request_id, or the wait_id, that makes every attempt the same call. Empty: the engine
  /// chooses one.
  std::string id;
  std::variant<std::monostate, OpenCall, CloseOptions, ResetOptions, WaitCall, ReadyCall,
               DeadlineCall, PollCall, AckCall, CancelCall, LifeCall>
      what;
  std::stop_token stop = {};

  /// It may stay on the server for long, so that it has a timeout of its own and can be cancelled.
  bool parks() const {
    return std::holds_alternative<WaitCall>(what) || std::holds_alternative<PollCall>(what);
  }
  bool cancels() const { return std::holds_alternative<CancelCall>(what); }
  /// The engine's own question, for which nobody waits.
  bool asks() const { return std::holds_alternative<LifeCall>(what); }
};

/// What answers a request: a cancel has an empty answer, a LifeCall is a SetDeadline, and the
/// others stand in the same place.
inline size_t AnswerIndex(const Request& request) {
  constexpr size_t kDeadline = 6;
  static_assert(std::is_same_v<std::variant_alternative_t<kDeadline, Answer>, DeadlineResult>);
  if (request.cancels()) return 0;
  return request.asks() ? kDeadline : request.what.index();
}
static_assert(std::variant_size_v<decltype(Request::what)> == std::variant_size_v<Answer> + 2);

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_REQUEST_H_
