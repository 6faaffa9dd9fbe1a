// Polls over the server's bound on waits. What ends at that bound was not decided, and goes on in
// the lives of its targets on which it stood: a name that is closed and opened anew between two
// attempts is another one. A wait's answer tells its life; a poll's does not, so that a poll that
// stays parked asks for them, and one that comes to the bound sooner, or is refused afterwards,
// asks before it goes on.

#include <algorithm>
#include <iterator>
#include <utility>

#include "client/engine/engine.h"
#include "client/engine/status.h"
#include "waitd/status.h"

namespace waitd::internal {
namespace {

PollCall& CallOf(Op& op) { return std::get<PollCall>(op.request.what); }

bool IsOver(const PollCall::Target& target) { return target.life == PollCall::kOver; }

}  // namespace

void Engine::AskLaterLocked(Op& op, Instant now) {
  const auto* call = std::get_if<PollCall>(&op.request.what);
  // The server's bound holds where there is no other.
  if (call == nullptr || call->options.timeout < absl::InfiniteDuration()) return;
  const bool unbound = std::any_of(call->targets.begin(), call->targets.end(),
                                   [](const auto& each) { return each.generation == 0; });
  if (!unbound) return;
  op.retry_at = now + kAskAfter;
  ArmLocked(op.retry_at, op.id);
}

// On a parked poll's heels, so that the names are still open in the lives on which it stands.
// Between two attempts by ids of their own: a server that has forgotten everything says so, and not
// that the names are closed.
void Engine::AskLocked(Op& op, Instant now) {
  PollCall& call = CallOf(op);
  const bool between = op.state == Op::State::kAsking;
  call.asked = 0;
  for (size_t i = 0; i < call.targets.size(); ++i) {
    const PollCall::Target& target = call.targets[i];
    if (!between && target.generation != 0) continue;
    Request request{.name = target.name,
                    .id = between ? NewId() : std::string(),
                    .what = LifeCall{op.id, i, target.generation}};
    auto ask = std::make_unique<Op>(*this, std::move(request), kNever);
    ask->id = ++last_id_;
    if (between) ask->first_sent = now;
    QueueLocked(*ask);
    ops_.emplace(ask->id, std::move(ask));
    ++call.asked;
  }
}

void Engine::LifeLocked(Op& ask, const absl::StatusOr<Answer>& answer, Instant now) {
  const LifeCall life = std::get<LifeCall>(ask.request.what);
  EndLocked(ask.id, Answer());
  Op* const poll = FindLocked(life.poll);
  if (poll == nullptr) return;  // it has ended, or this is of a former attempt
  PollCall& call = CallOf(*poll);
  PollCall::Target& target = call.targets[life.target];
  const bool between = poll->state == Op::State::kAsking;
  if (answer.ok()) {
    target.life = std::get<DeadlineResult>(*answer).generation;
  } else if (IsOtherLife(answer.status())) {
    target.life = PollCall::kOver;
    if (target.callers) call.refusal = answer.status();
  } else if (between && ReasonOf(answer.status()) == "OUTCOME_UNKNOWN") {
    ForgottenLocked(*poll, now);
    return;
  }
  if (--call.asked == 0 && between) GoOnLocked(*poll, now);
}

// It came to the server's bound.
void Engine::PollSpentLocked(Op& op, Instant now) {
  PollCall& call = CallOf(op);
  op.rebound = true;
  op.own_id = false;
  op.retry_at = kNever;
  const bool known = std::all_of(
      call.targets.begin(), call.targets.end(),
      [](const PollCall::Target& each) { return each.generation != 0 || each.life != 0; });
  if (known || op.cancelled) {
    GoOnLocked(op, now);
    return;
  }
  op.state = Op::State::kAsking;
  AskLocked(*FindLocked(RenumberLocked(op.id)), now);
}

// One of the lives to which it was bound is over; the refusal does not say which.
void Engine::PollRefusedLocked(Op& op, absl::Status refusal, Instant now) {
  if (op.cancelled) {
    EndLocked(op.id, absl::CancelledError("the call was stopped"));
    return;
  }
  CallOf(op).refusal = std::move(refusal);
  op.retry_at = kNever;
  op.state = Op::State::kAsking;
  AskLocked(*FindLocked(RenumberLocked(op.id)), now);
}

// As it would have gone on if it had stayed parked: without the targets that were closed, or with
// CLOSED when too few are left. What the caller had bound is refused to the caller.
void Engine::GoOnLocked(Op& op, Instant now) {
  PollCall& call = CallOf(op);
  absl::Status refusal = std::exchange(call.refusal, absl::OkStatus());
  const auto over = std::stable_partition(call.targets.begin(), call.targets.end(),
                                          [](const auto& each) { return !IsOver(each); });
  const bool none = over == call.targets.end();
  const bool enough =
      std::distance(call.targets.begin(), over) >= static_cast<std::ptrdiff_t>(call.need());
  const bool callers =
      std::any_of(over, call.targets.end(), [](const auto& each) { return each.callers; });
  if (!refusal.ok() && (none || (!enough && callers))) {
    EndLocked(op.id, std::move(refusal));
    return;
  }
  std::move(over, call.targets.end(), std::back_inserter(call.gone));
  call.targets.erase(over, call.targets.end());
  if (!enough) {
    PollResult closed;
    closed.outcome = Outcome::kClosed;
    EndSignedLocked(op, std::move(closed));
    return;
  }
  for (PollCall::Target& each : call.targets) {
    if (!each.callers && each.life != 0) each.generation = each.life;
  }
  ParkAgainLocked(op, now);
}

}  // namespace waitd::internal
