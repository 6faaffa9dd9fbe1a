#ifndef WAITD_CLIENT_ENGINE_REQUEST_H_
#define WAITD_CLIENT_ENGINE_REQUEST_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "waitd/call.h"
#include "waitd/types.h"

namespace waitd::internal {

struct OpenCall {
  OpenOptions options;
  bool must_create = false;
};

struct PollCall {
  std::vector<PollTarget> targets;
  PollOptions options;
};

struct ClearDeadline {};
struct DeadlineCall {
  std::variant<absl::Duration, absl::Time, ClearDeadline> deadline;
  DeadlineOptions options;
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
  /// The request_id, or the wait_id, that makes every attempt the same call.
  std::string id;
  std::variant<std::monostate, OpenCall, CloseOptions, ResetOptions, WaitOptions, ReadyOptions,
               DeadlineCall, PollCall, AckCall, CancelCall>
      what;

  /// It may stay on the server for long, so that it has a timeout of its own and can be cancelled.
  bool parks() const {
    return std::holds_alternative<WaitOptions>(what) || std::holds_alternative<PollCall>(what);
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
