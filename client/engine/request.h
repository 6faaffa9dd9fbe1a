#ifndef WAITD_CLIENT_ENGINE_REQUEST_H_
#define WAITD_CLIENT_ENGINE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "waitd/call.h"
#include "waitd/types.h"

namespace waitd::internal {

/// How to open a name that is missing, if at all, with labels of its own.
struct Opening {
  Opening() = default;
  explicit Opening(std::optional<OpenOptions> from) : options(from) {
    if (!options.has_value() || options->labels == nullptr) return;
    labels = *options->labels;
    options->labels = nullptr;
  }

  std::optional<OpenOptions> options;
  TextMap labels;
};

/// Of the options in these calls, the parts that are views are empty: what they showed stands
/// beside them, or in Request::id.
struct OpenCall {
  Opening opening;
  bool must_create = false;
};

struct WaitCall {
  explicit WaitCall(WaitOptions from) : options(from), opening(from.open_if_missing) {
    options.open_if_missing.reset();
    options.wait_id = {};
  }

  WaitOptions options;
  Opening opening;
};

struct ReadyCall {
  explicit ReadyCall(Signal the_signal, ReadyOptions from = {})
      : signal(std::move(the_signal)), options(from), opening(from.open_if_missing) {
    options.open_if_missing.reset();
  }

  Signal signal;
  ReadyOptions options;
  Opening opening;
};

struct ClearDeadline {};
struct DeadlineCall {
  using When = std::variant<absl::Duration, absl::Time, ClearDeadline>;
  explicit DeadlineCall(When the_deadline, DeadlineOptions from = {})
      : deadline(the_deadline), options(from), opening(from.open_if_missing) {
    options.open_if_missing.reset();
  }

  When deadline;
  DeadlineOptions options;
  Opening opening;
};

struct PollCall {
  struct Target {
    std::string name;
    Mode mode;
    uint64_t generation;
  };
  explicit PollCall(const std::vector<PollTarget>& from_targets, PollOptions from = {})
      : options(from), opening(from.open_if_missing) {
    options.open_if_missing.reset();
    options.wait_id = {};
    targets.reserve(from_targets.size());
    for (const PollTarget& each : from_targets) {
      targets.push_back({std::string(each.name), each.mode, each.generation});
    }
  }

  std::vector<Target> targets;
  PollOptions options;
  Opening opening;
};

struct AckCall {
  HandOff hand_off;
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
               DeadlineCall, PollCall, AckCall, CancelCall>
      what;
  std::stop_token stop = {};

  /// It may stay on the server for long, so that it has a timeout of its own and can be cancelled.
  bool parks() const {
    return std::holds_alternative<WaitCall>(what) || std::holds_alternative<PollCall>(what);
  }
  bool cancels() const { return std::holds_alternative<CancelCall>(what); }
};

/// What answers a request: a cancel has an empty answer, the others stand in the same place.
inline size_t AnswerIndex(const Request& request) {
  return request.cancels() ? 0 : request.what.index();
}
static_assert(std::variant_size_v<decltype(Request::what)> == std::variant_size_v<Answer> + 1);

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_REQUEST_H_
