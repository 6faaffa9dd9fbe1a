// The stream of the engine: what is written to it and when, what comes, and how it is found again.

#include <algorithm>

#include "client/engine/engine.h"
#include "client/engine/status.h"
#include "client/engine/validate.h"
#include "waitd/status.h"

namespace waitd::internal {
namespace {

// The first pause before another attempt, of a connection or of an operation refused for now.
constexpr absl::Duration kBackoffMin = absl::Milliseconds(50);

// What is left of a poll over the server's bound says which of all its targets each answer is of,
// and names those that are gone where it names the ends of targets.
void Renumber(const PollCall& call, PollResult& poll) {
  for (PollResult::Target& each : poll.targets) {
    if (each.index < call.targets.size()) each.index = call.targets[each.index].index;
  }
  if (poll.outcome == Outcome::kReady || poll.timeout_cause == TimeoutCause::kWait) return;
  for (const PollCall::Target& each : call.gone) {
    WaitResult closed;
    closed.outcome = Outcome::kClosed;
    closed.generation = each.generation;
    closed.name = each.name;
    closed.mode = each.mode;
    poll.targets.push_back({each.index, std::move(closed)});
  }
  std::sort(poll.targets.begin(), poll.targets.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
}

// Which call a wait's answer belongs to, so that it can be acknowledged.
void Sign(const Request& request, Answer& answer) {
  if (auto* result = std::get_if<WaitResult>(&answer)) {
    result->name = request.name;
    result->mode = std::get<WaitCall>(request.what).options.mode;
    result->wait_id = request.id;
  } else if (auto* poll = std::get_if<PollResult>(&answer)) {
    const auto& call = std::get<PollCall>(request.what);
    for (PollResult::Target& each : poll->targets) {
      if (each.index >= call.targets.size()) continue;
      each.result.name = call.targets[each.index].name;
      each.result.mode = call.targets[each.index].mode;
      each.result.wait_id = request.id;
    }
    Renumber(call, *poll);
  }
}

}  // namespace

void Engine::OnOpened() {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    if (link_ == Link::kOpening) {
      link_ = Link::kGreeting;
      out_.hello = Hello{.client = client_, .resume_token = resume_token_, .acked_sequence = seen_};
      out_.attempts.clear();
      out_.acked_sequence = 0;
      out_.last = false;
      writing_ = todo.send = true;
      transport_.Encode(out_);
      out_.hello.reset();
    }
  }
  Do(todo);
}

void Engine::OnWritten(bool ok) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    const Instant now = clock_.Now();
    writing_ = false;
    if (closed_.has_value()) {
      DownLocked(*std::exchange(closed_, std::nullopt), now);
    } else if (!ok && link_ != Link::kBreaking) {
      // Broken off now, it would end as cancelled, and nobody would know that it was refused.
      link_ = Link::kEnding;
      heard_at_ = now;
    } else {
      EncodeLocked(now, todo);
    }
  }
  Do(todo);
}

void Engine::OnClosed(absl::Status status) {
  const std::lock_guard lock(mutex_);
  // Of a stream that was broken here the reason is known better.
  if (link_ != Link::kBreaking && !status.ok()) last_error_ = status;
  if (writing_) {
    // Whoever writes may still be about to touch the stream.
    closed_ = std::move(status);
    link_ = Link::kBreaking;
  } else {
    DownLocked(status, clock_.Now());
  }
}

void Engine::OnMessage(InMessage message) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    const Instant now = clock_.Now();
    heard_at_ = now;
    if (message.welcome.has_value() != (link_ == Link::kGreeting)) {
      if (link_ != Link::kBreaking) BreakLocked("a welcome came late, or twice", todo);
    } else if (message.welcome.has_value()) {
      WelcomeLocked(*std::move(message.welcome), now);
    } else if (message.sequence == seen_ + 1) {
      seen_ = message.sequence;
      unacked_results_ += message.results.size();
      ack_at_ = std::min(ack_at_, now + kAckWait);
      for (Answered& result : message.results) ResultLocked(std::move(result), now);
    } else if (message.sequence > seen_ && link_ == Link::kUp) {
      BreakLocked("a message was missing", todo);  // what is missing comes again on a resume
    }
    EncodeLocked(now, todo);
  }
  Do(todo);
  Complete();
}

bool Engine::DueLocked(Instant now) const {
  return unacked_results_ >= kAckResults || now >= ack_at_ || now >= keepalive_at_;
}

// Everything that waits to be sent, in one message; the acknowledgement goes with it.
void Engine::EncodeLocked(Instant now, Todo& todo) {
  if (link_ != Link::kUp || writing_ || half_closed_) return;
  out_.attempts.clear();
  size_t bytes = 0;
  while (!queue_.empty() && bytes < kBatchBytes) {
    Op* op = FindLocked(queue_.front());
    queue_.pop_front();
    if (op == nullptr || op->state != Op::State::kQueued) continue;
    if (payload_bytes_max_ > 0) {
      if (absl::Status fault = CheckPayload(op->request, payload_bytes_max_); !fault.ok()) {
        EndLocked(op->id, std::move(fault));
        continue;
      }
    }
    out_.attempts.push_back(AttemptLocked(*op, now));
    if (op->first_sent == kNever) op->first_sent = now;
    op->state = Op::State::kSent;
    bytes += SizeBound(op->request);
  }
  out_.last = closing_ && queue_.empty();
  if (out_.attempts.empty() && !out_.last && !DueLocked(now)) return;
  out_.acked_sequence = acked_ = seen_;
  unacked_results_ = 0;
  ack_at_ = kNever;
  keepalive_at_ = keepalive_ > absl::ZeroDuration() ? now + keepalive_ / 2 : kNever;
  half_closed_ = out_.last;
  writing_ = todo.send = true;
  transport_.Encode(out_);
}

// A time limit counts from the call, also when it could not be sent at once; on the server it
// counts from the first attempt.
Attempt Engine::AttemptLocked(const Op& op, Instant now) const {
  Attempt attempt{.id = op.id, .request = &op.request};
  if (op.first_sent != kNever) attempt.first_sent_ago = now - op.first_sent;
  if (const auto* wait = std::get_if<WaitCall>(&op.request.what)) {
    attempt.timeout = wait->options.timeout;
  } else if (const auto* poll = std::get_if<PollCall>(&op.request.what)) {
    attempt.timeout = poll->options.timeout;
  }
  const Instant sent = op.first_sent != kNever ? op.first_sent : now;
  if (attempt.timeout > absl::ZeroDuration() && sent > op.submitted) {
    attempt.timeout = std::max(attempt.timeout - (sent - op.submitted), absl::ZeroDuration());
  }
  return attempt;
}

void Engine::WelcomeLocked(Welcome welcome, Instant now) {
  const bool resumed = welcome.resumed && !resume_token_.empty();
  link_ = Link::kUp;
  failures_ = 0;
  states_.push_back(absl::OkStatus());
  resume_token_ = std::move(welcome.resume_token);
  payload_bytes_max_ = welcome.max_payload_bytes;
  keepalive_ = welcome.keepalive;
  keepalive_at_ = keepalive_ > absl::ZeroDuration() ? now + keepalive_ / 2 : kNever;
  if (!resumed) seen_ = 0;
  acked_ = seen_;  // the hello said so
  unacked_results_ = 0;
  ack_at_ = kNever;
  if (!resumed) {
    // The server has nothing of this client in this session, so that there is nothing to cancel.
    std::vector<uint64_t> gone;
    for (const auto& [id, op] : ops_) {
      if (op->cancelled || op->request.cancels()) gone.push_back(id);
    }
    for (const uint64_t id : gone) EndLocked(id, absl::CancelledError("the call was stopped"));
  }
  RequeueLocked(resumed ? welcome.received_through : 0);
}

// What did not arrive is sent again, in the order of the ids.
void Engine::RequeueLocked(uint64_t received_through) {
  std::vector<uint64_t> ids;
  for (const auto& [id, op] : ops_) {
    const bool lost = op->state == Op::State::kSent && id > received_through;
    if (lost || op->state == Op::State::kQueued) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  queue_.assign(ids.begin(), ids.end());
  for (const uint64_t id : ids) FindLocked(id)->state = Op::State::kQueued;
}

void Engine::ResultLocked(Answered result, Instant now) {
  Op* op = FindLocked(result.id);
  if (op == nullptr || op->state != Op::State::kSent) return;  // it ended here meanwhile
  if (!result.answer.ok()) {
    ErrorLocked(*op, std::move(result.answer).status(), now);
    return;
  }
  if (result.answer->index() != AnswerIndex(op->request)) {
    EndLocked(op->id, absl::InternalError("the server answered another kind of call"));
    return;
  }
  if (op->request.asks()) {
    LifeLocked(*op, result.answer, now);
    return;
  }
  // Nothing was decided: the server bounds every wait, so that none hangs unseen.
  if (auto* wait = std::get_if<WaitResult>(&*result.answer);
      wait != nullptr && wait->outcome == Outcome::kTimedOut &&
      wait->timeout_cause == TimeoutCause::kMaxWait) {
    auto& options = std::get<WaitCall>(op->request.what).options;
    op->rebound = op->rebound || options.generation == 0;
    options.generation = wait->generation;
    ParkAgainLocked(*op, now);
    return;
  }
  if (auto* poll = std::get_if<PollResult>(&*result.answer);
      poll != nullptr && poll->outcome == Outcome::kTimedOut &&
      poll->timeout_cause == TimeoutCause::kMaxWait) {
    PollSpentLocked(*op, now);
    return;
  }
  EndSignedLocked(*op, *std::move(result.answer));
}

void Engine::EndSignedLocked(Op& op, Answer answer) {
  Sign(op.request, answer);
  EndLocked(op.id, std::move(answer));
}

void Engine::ErrorLocked(Op& op, absl::Status error, Instant now) {
  const std::string reason = ReasonOf(error);
  if (error.code() == absl::StatusCode::kUnavailable || reason == "LIMIT_UNACKED") {
    // Draining, moving, its store cannot commit, or our acknowledgements are still on their way:
    // the same call again, by its id.
    last_error_ = error;
    HoldLocked(op, RetryDelayOf(error), now);
  } else if (op.request.parks() && !op.own_id && reason == "OUTCOME_UNKNOWN") {
    ForgottenLocked(op, now);
  } else if (op.request.asks()) {
    LifeLocked(op, error, now);
  } else if (op.rebound && IsOtherLife(error)) {
    // It was closed between two of its waits; the caller knows of one, which would have heard.
    if (std::holds_alternative<PollCall>(op.request.what)) {
      PollRefusedLocked(op, std::move(error), now);
      return;
    }
    WaitResult closed;
    closed.outcome = Outcome::kClosed;
    closed.generation = std::get<WaitCall>(op.request.what).options.generation;
    EndSignedLocked(op, std::move(closed));
  } else {
    EndLocked(op.id, std::move(error));
  }
}

// Not now: sent again after a pause.
void Engine::HoldLocked(Op& op, absl::Duration pause, Instant now) {
  if (op.cancelled) {
    EndLocked(op.id, absl::CancelledError("the call was stopped"));
    return;
  }
  op.state = Op::State::kHeld;
  op.retry_at = now + std::max(pause, kBackoffMin) + JitterLocked(kBackoffMin);
  ArmLocked(op.retry_at, op.id);
}

// The server knows nothing of the wait. Nothing was handed to the caller, so that it may wait anew:
// in any life of the name, when it asked for none, as a server that was restarted has others.
void Engine::ForgottenLocked(Op& op, Instant now) {
  const bool rebound = std::exchange(op.rebound, false);
  if (auto* wait = std::get_if<WaitCall>(&op.request.what); wait != nullptr && rebound) {
    wait->options.generation = 0;
  } else if (auto* poll = std::get_if<PollCall>(&op.request.what); poll != nullptr) {
    for (PollCall::Target& each : poll->targets) {
      each.life = 0;
      if (!each.callers) each.generation = 0;
    }
  }
  ParkAgainLocked(op, now);
}

// A new wait in place of one that has ended without an outcome, with what is left of its time.
// Bound to a life it is no first attempt: a server that has forgotten everything is to say so, and
// not that this life is over.
void Engine::ParkAgainLocked(Op& op, Instant now) {
  if (op.cancelled) {
    EndLocked(op.id, absl::CancelledError("the call was stopped"));
    return;
  }
  Op& again = *FindLocked(RenumberLocked(op.id));
  again.request.id = NewId();
  again.own_id = false;
  again.first_sent = again.rebound ? now : kNever;
  QueueLocked(again);
  AskLaterLocked(again, now);
}

bool Engine::SilentLocked(Instant now) const {
  return keepalive_ > absl::ZeroDuration() && now >= heard_at_ + 2 * keepalive_;
}

// After a refusal that is final the next call is what another attempt is made for.
bool Engine::MayConnectLocked() const {
  return !refused_ || std::any_of(ops_.begin(), ops_.end(), [](const auto& each) {
    return each.second->state != Op::State::kTimer;
  });
}

// What a closing client would still connect for: a call that may not have reached the server.
bool Engine::WorthWaitingLocked() const {
  return std::any_of(ops_.begin(), ops_.end(), [](const auto& each) {
    const Request& request = each.second->request;
    return !request.parks() && !request.cancels() && !request.asks();
  });
}

void Engine::LinkLocked(Instant now, Todo& todo) {
  const bool over = now >= close_by_;
  switch (link_) {
    case Link::kDown:
      if (closing_ && (over || !WorthWaitingLocked())) {
        EndAllLocked(absl::CancelledError("the client was closed"), true);
        finished_ = true;
      } else if (now >= reconnect_at_ && MayConnectLocked()) {
        link_ = Link::kOpening;
        heard_at_ = now;
        todo.open = true;
      }
      break;
    case Link::kOpening:
    case Link::kGreeting:
    case Link::kEnding:
      if (now >= heard_at_ + kWelcomeWait) {
        BreakLocked("the server did not answer", todo);
      } else if (closing_ && (over || !WorthWaitingLocked())) {
        BreakLocked("the client was closed", todo);
      }
      break;
    case Link::kUp:
      if (over) {
        BreakLocked("the client was closed", todo);
      } else if (SilentLocked(now)) {
        BreakLocked("the server fell silent", todo);
      }
      break;
    case Link::kBreaking:
      break;
  }
}

Instant Engine::NextLocked() const {
  Instant next = timers_.empty() ? kNever : timers_.top().first;
  if (closing_ && !finished_ && link_ != Link::kBreaking) next = std::min(next, close_by_);
  switch (link_) {
    case Link::kDown:
      if (finished_) return kNever;
      return MayConnectLocked() ? std::min(next, reconnect_at_) : next;
    case Link::kOpening:
    case Link::kGreeting:
    case Link::kEnding:
      return std::min(next, heard_at_ + kWelcomeWait);
    case Link::kUp:
      if (keepalive_ > absl::ZeroDuration()) next = std::min(next, heard_at_ + 2 * keepalive_);
      return writing_ || half_closed_ ? next : std::min({next, keepalive_at_, ack_at_});
    case Link::kBreaking:
      break;
  }
  return next;
}

void Engine::BreakLocked(const char* why, Todo& todo) {
  link_ = Link::kBreaking;
  last_error_ = absl::UnavailableError(why);
  todo.breaks = true;
}

void Engine::DownLocked(const absl::Status& status, Instant now) {
  link_ = Link::kDown;
  half_closed_ = false;
  refused_ = IsFinal(status.code());
  if (refused_) last_error_ = status;
  if (last_error_.ok()) last_error_ = absl::UnavailableError("the server ended the stream");
  if (!closing_) states_.push_back(last_error_);
  if (refused_) {
    // What waits is told, for trying again would not help.
    resume_token_.clear();
    EndAllLocked(status, false);
  } else if (!options_.wait_for_ready && resume_token_.empty()) {
    EndImpatientLocked();
  }
  reconnect_at_ = now + JitterLocked(std::min(kBackoffMax, kBackoffMin * (1 << failures_)));
  failures_ = std::min(failures_ + 1, 10);
}

// What does not park, when it is not to wait for a server that was never there.
void Engine::EndImpatientLocked() {
  std::vector<uint64_t> ids;
  for (const auto& [id, op] : ops_) {
    const Request& request = op->request;
    if (!request.parks() && !request.asks() && op->state != Op::State::kTimer) ids.push_back(id);
  }
  for (const uint64_t id : ids) EndLocked(id, absl::UnavailableError(last_error_.message()));
}

// Between half of it and all, so that the clients of a server that comes back do not come at once.
absl::Duration Engine::JitterLocked(absl::Duration most) {
  const double share = static_cast<double>(entropy_.Bits() >> 11) / static_cast<double>(1ULL << 53);
  return most / 2 + most / 2 * share;
}

}  // namespace waitd::internal
