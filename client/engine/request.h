#ifndef WAITD_CLIENT_ENGINE_REQUEST_H_
#define WAITD_CLIENT_ENGINE_REQUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

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
  struct Target {
    std::string name;
    Mode mode;
    uint64_t generation;
  };
  explicit PollCall(const std::vector<PollTarget>& from_targets, PollOptions from = {})
      : options(from), labels(Keep(options.open_if_missing)) {
    options.wait_id = {};
    targets.reserve(from_targets.size());
    for (const PollTarget& each : from_targets) {
      targets.push_back({std::string(each.name), each.mode, each.generation});
    }
  }

  std::vector<Target> targets;
  PollOptions options;
  Labels labels;
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
