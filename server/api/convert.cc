#include "server/api/convert.h"

#include <algorithm>
#include <limits>

#include "server/api/signal.h"

namespace waitd::server {
namespace {

void WriteDuration(core::Nanos from, google::protobuf::Duration& to) {
  to.set_seconds(from.count() / kNanosPerSecond);
  to.set_nanos(static_cast<int32_t>(from.count() % kNanosPerSecond));
}

void WriteTime(core::WallTime from, google::protobuf::Timestamp& to) {
  int64_t seconds = from.time_since_epoch().count() / kNanosPerSecond;
  int64_t nanos = from.time_since_epoch().count() % kNanosPerSecond;
  if (nanos < 0) {
    nanos += kNanosPerSecond;
    --seconds;
  }
  to.set_seconds(seconds);
  to.set_nanos(static_cast<int32_t>(nanos));
}

v1::Outcome ToOutcome(core::Outcome outcome) {
  switch (outcome) {
    case core::Outcome::kReady:
      return v1::OUTCOME_READY;
    case core::Outcome::kTimedOut:
      return v1::OUTCOME_TIMED_OUT;
    case core::Outcome::kClosed:
      return v1::OUTCOME_CLOSED;
    case core::Outcome::kCancelled:
      break;
  }
  return v1::OUTCOME_UNSPECIFIED;
}

v1::TimeoutCause ToCause(core::TimeoutCause cause) {
  switch (cause) {
    case core::TimeoutCause::kNone:
      break;
    case core::TimeoutCause::kDeadline:
      return v1::TIMEOUT_CAUSE_DEADLINE;
    case core::TimeoutCause::kWait:
      return v1::TIMEOUT_CAUSE_WAIT;
    case core::TimeoutCause::kMaxWait:
      return v1::TIMEOUT_CAUSE_MAX_WAIT;
  }
  return v1::TIMEOUT_CAUSE_UNSPECIFIED;
}

v1::DeadlineEffect ToEffect(core::DeadlineEffect effect) {
  switch (effect) {
    case core::DeadlineEffect::kNone:
      break;
    case core::DeadlineEffect::kArmed:
      return v1::DEADLINE_EFFECT_ARMED;
    case core::DeadlineEffect::kExtended:
      return v1::DEADLINE_EFFECT_EXTENDED;
    case core::DeadlineEffect::kShortened:
      return v1::DEADLINE_EFFECT_SHORTENED;
    case core::DeadlineEffect::kUnchanged:
      return v1::DEADLINE_EFFECT_UNCHANGED;
    case core::DeadlineEffect::kCleared:
      return v1::DEADLINE_EFFECT_CLEARED;
    case core::DeadlineEffect::kExpired:
      return v1::DEADLINE_EFFECT_EXPIRED;
    case core::DeadlineEffect::kRefused:
      return v1::DEADLINE_EFFECT_REFUSED;
  }
  return v1::DEADLINE_EFFECT_UNSPECIFIED;
}

void WriteDeadline(const core::Now& now, const core::Deadline& from, v1::Deadline& to) {
  WriteTime(from.wall, *to.mutable_at());
  to.set_expired(from.state == core::Deadline::State::kExpired);
  const core::Nanos remaining =
      core::SaturatingSubtract(from.at.time_since_epoch(), now.mono.time_since_epoch());
  WriteDuration(remaining, *to.mutable_remaining());
}

void WriteSide(const core::Now& now, const core::DescriptorInfo::SideInfo& from,
               v1::PollDescriptor::Side& to) {
  switch (from.state) {
    case core::SemaphoreState::kNil:
      to.set_state(v1::SEMAPHORE_STATE_NIL);
      break;
    case core::SemaphoreState::kReady:
      to.set_state(v1::SEMAPHORE_STATE_READY);
      break;
    case core::SemaphoreState::kWaiting:
      to.set_state(v1::SEMAPHORE_STATE_WAITING);
      break;
  }
  to.set_waiters(from.waiters);
  to.set_payload_bytes(static_cast<uint32_t>(from.payload_bytes));
  to.set_unacked(from.unacked);
  to.set_returned(from.returned);
  if (from.deadline.state != core::Deadline::State::kNone) {
    WriteDeadline(now, from.deadline, *to.mutable_deadline());
  }
  for (const auto& waiter : from.waiter_details) {
    v1::PollDescriptor::Waiter& shown = *to.add_waiter_details();
    shown.set_wait_id_hint(waiter.id_hint);
    shown.set_client(waiter.client);
    WriteTime(waiter.since, *shown.mutable_since());
    if (waiter.until.has_value()) WriteTime(*waiter.until, *shown.mutable_until());
  }
}

}  // namespace

void Write(const core::WaitResult& from, v1::WaitResponse& to) {
  to.set_outcome(ToOutcome(from.outcome));
  to.set_timeout_cause(ToCause(from.cause));
  to.set_generation(from.generation);
  WriteDuration(from.parked, *to.mutable_parked());
  if (from.outcome == core::Outcome::kTimedOut) WriteDuration(from.late, *to.mutable_late());
  if (from.outcome != core::Outcome::kReady) return;
  WritePayload(from.signal, to);
  to.set_delivery(from.delivery);
  to.set_attempt(from.attempt);
  WriteTime(from.ready_time, *to.mutable_ready_time());
  to.set_coalesced(from.coalesced);
}

void Write(const core::PollResult& from, v1::PollResponse& to) {
  to.set_outcome(ToOutcome(from.outcome));
  to.set_timeout_cause(ToCause(from.cause));
  WriteDuration(from.parked, *to.mutable_parked());
  if (from.outcome == core::Outcome::kTimedOut) WriteDuration(from.late, *to.mutable_late());
  for (const auto& target : from.targets) {
    v1::PollResponse::Result& result = *to.add_results();
    result.set_target(target.index);
    Write(target.result(from.parked), *result.mutable_response());
  }
}

void Write(const core::ReadyResult& from, v1::ReadyResponse& to) {
  switch (from.effect) {
    case core::ReadyEffect::kWoke:
      to.set_effect(v1::READY_EFFECT_WOKE);
      break;
    case core::ReadyEffect::kRemembered:
      to.set_effect(v1::READY_EFFECT_REMEMBERED);
      break;
    case core::ReadyEffect::kCoalesced:
      to.set_effect(v1::READY_EFFECT_COALESCED);
      break;
    case core::ReadyEffect::kRefused:
      to.set_effect(v1::READY_EFFECT_REFUSED);
      break;
  }
  to.set_woken(from.woken);
  to.set_generation(from.generation);
  to.set_expired(from.expired);
}

void Write(const core::Now& now, const core::SetDeadlineResult& from, v1::SetDeadlineResponse& to) {
  to.set_applied(from.applied);
  using State = core::Deadline::State;
  if (from.deadline[0].state != State::kNone) {
    WriteDeadline(now, from.deadline[0], *to.mutable_read());
  }
  if (from.deadline[1].state != State::kNone) {
    WriteDeadline(now, from.deadline[1], *to.mutable_write());
  }
  to.set_woken(from.woken);
  to.set_generation(from.generation);
  to.set_read_effect(ToEffect(from.effect[0]));
  to.set_write_effect(ToEffect(from.effect[1]));
}

void Write(const core::Now& now, const core::DescriptorInfo& from, v1::PollDescriptor& to) {
  to.set_name(from.name);
  switch (from.kind) {
    case core::Kind::kExclusive:
      to.set_kind(v1::KIND_EXCLUSIVE);
      break;
    case core::Kind::kFifo:
      to.set_kind(v1::KIND_FIFO);
      break;
    case core::Kind::kLatch:
      to.set_kind(v1::KIND_LATCH);
      break;
  }
  to.set_generation(from.generation);
  WriteSide(now, from.side[0], *to.mutable_read());
  WriteSide(now, from.side[1], *to.mutable_write());
  WriteTime(from.open_time, *to.mutable_open_time());
  to.mutable_labels()->insert(from.labels.begin(), from.labels.end());
  if (from.idle_ttl != core::kForever) WriteDuration(from.idle_ttl, *to.mutable_idle_ttl());
  to.set_ephemeral(from.ephemeral);
  to.set_owner(from.owner);
}

}  // namespace waitd::server
