#ifndef WAITD_CLIENT_ENGINE_OP_H_
#define WAITD_CLIENT_ENGINE_OP_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <utility>

#include "client/engine/request.h"
#include "client/engine/transport.h"
#include "waitd/call.h"

namespace waitd::internal {

class Engine;

/// What a stop_token runs: Engine::Cancel.
struct StopOp {
  Op* op;
  void operator()() const;
};

/// One call, from its making to its answer. Made by whoever calls; from Engine::Submit on it
/// belongs to the engine, whose lock guards all but the constants, and it is destroyed without that
/// lock: on_stop waits in its destructor for a StopOp that is running, which may want the lock.
struct Op {
  enum class State : uint8_t {
    kNew,     ///< Not submitted yet.
    kQueued,  ///< In the queue of what is to be sent in this session.
    kSent,    ///< Sent in this session, or in the one that broke.
    kHeld,    ///< Refused for now: queued again at retry_at.
    kAsking,  ///< A poll between two of its waits, until it is known which of its targets go on.
    kTimer,   ///< Never sent: done at its limit.
    kDone,    ///< Has its answer.
  };

  Op(Engine& the_engine, Request the_request, absl::Duration the_allowance)
      : engine(the_engine), request(std::move(the_request)), allowance(the_allowance) {}

  Engine& engine;
  /// Its id in the session, which is its key in the engine's table. Another one for each new
  /// attempt, but when a session is resumed or lost: then the unanswered keep theirs.
  uint64_t id = 0;
  Request request;
  /// How long it may take; of a timer, after how long it is done. What parks has its own timeout.
  const absl::Duration allowance;
  Completion* completion = nullptr;
  std::unique_ptr<std::stop_callback<StopOp>> on_stop;
  Instant submitted = kNever;
  Instant first_sent = kNever;  ///< Never: this wait_id or request_id has not been sent.
  Instant limit = kNever;       ///< When the call ends without an answer.
  Instant retry_at = kNever;    ///< kHeld; else when a poll asks on which lives it stands.
  State state = State::kNew;
  bool own_id = false;     ///< The caller chose the wait_id: it is sent as it is, or not at all.
  bool cancelled = false;  ///< The caller wants it no more.
  bool rebound = false;    ///< It goes on in the generations on which its former attempt stood.
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_OP_H_
