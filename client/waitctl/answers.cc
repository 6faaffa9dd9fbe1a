#include "client/waitctl/answers.h"

#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

// The library's enums are the contract's, with or without its UNSPECIFIED before them.
static_assert(static_cast<int>(Outcome::kClosed) + 1 == v1::OUTCOME_CLOSED);
static_assert(static_cast<int>(TimeoutCause::kMaxWait) == v1::TIMEOUT_CAUSE_MAX_WAIT);
static_assert(static_cast<int>(ReadyEffect::kRefused) + 1 == v1::READY_EFFECT_REFUSED);
static_assert(static_cast<int>(DeadlineEffect::kRefused) == v1::DEADLINE_EFFECT_REFUSED);
static_assert(static_cast<int>(Kind::kLatch) == v1::KIND_LATCH);

v1::Outcome OutcomeOf(Outcome outcome) {
  return static_cast<v1::Outcome>(static_cast<int>(outcome) + 1);
}

v1::Signal SignalOf(const Signal& from) {
  v1::Signal to;
  to.set_data(from.data);
  to.set_content_type(from.content_type);
  if (from.failure.has_value()) {
    to.mutable_failure()->set_code(from.failure->code);
    to.mutable_failure()->set_message(from.failure->message);
  }
  for (const auto& [key, value] : from.attributes) (*to.mutable_attributes())[key] = value;
  return to;
}

v1::Deadline DeadlineOf(const Deadline& from) {
  v1::Deadline to;
  *to.mutable_at() = ToProto(*from.at);
  to.set_expired(from.expired);
  *to.mutable_remaining() = ToProto(from.remaining);
  return to;
}

}  // namespace

v1::WaitResponse ToProto(const WaitResult& result) {
  v1::WaitResponse to;
  to.set_outcome(OutcomeOf(result.outcome));
  to.set_timeout_cause(static_cast<v1::TimeoutCause>(result.timeout_cause));
  to.set_generation(result.generation);
  *to.mutable_parked() = ToProto(result.parked);
  if (result.outcome == Outcome::kTimedOut) *to.mutable_late() = ToProto(result.late);
  if (result.outcome != Outcome::kReady) return to;
  *to.mutable_signal() = SignalOf(result.signal);
  to.set_delivery(result.delivery);
  to.set_attempt(result.attempt);
  *to.mutable_ready_time() = ToProto(result.ready_time);
  to.set_ready_by(result.ready_by);
  to.set_coalesced(result.coalesced);
  return to;
}

v1::PollResponse ToProto(const PollResult& result) {
  v1::PollResponse to;
  to.set_outcome(OutcomeOf(result.outcome));
  to.set_timeout_cause(static_cast<v1::TimeoutCause>(result.timeout_cause));
  *to.mutable_parked() = ToProto(result.parked);
  if (result.outcome == Outcome::kTimedOut) *to.mutable_late() = ToProto(result.late);
  for (const PollResult::Target& each : result.targets) {
    v1::PollResponse::Result& added = *to.add_results();
    added.set_target(static_cast<uint32_t>(each.index));
    *added.mutable_response() = ToProto(each.result);
  }
  return to;
}

v1::ReadyResponse ToProto(const ReadyResult& result) {
  v1::ReadyResponse to;
  to.set_effect(static_cast<v1::ReadyEffect>(static_cast<int>(result.effect) + 1));
  to.set_woken(result.woken);
  to.set_generation(result.generation);
  to.set_expired(result.expired);
  return to;
}

v1::SetDeadlineResponse ToProto(const DeadlineResult& result) {
  v1::SetDeadlineResponse to;
  to.set_applied(result.applied);
  if (result.read.at.has_value()) *to.mutable_read() = DeadlineOf(result.read);
  if (result.write.at.has_value()) *to.mutable_write() = DeadlineOf(result.write);
  to.set_woken(result.woken);
  to.set_generation(result.generation);
  to.set_read_effect(static_cast<v1::DeadlineEffect>(result.read_effect));
  to.set_write_effect(static_cast<v1::DeadlineEffect>(result.write_effect));
  return to;
}

v1::ResetResponse ToProto(const ResetResult& result) {
  v1::ResetResponse to;
  to.set_reset(result.reset);
  to.set_forgot(result.forgot);
  return to;
}

v1::ClosePollDescriptorResponse ToProto(const CloseResult& result) {
  v1::ClosePollDescriptorResponse to;
  to.set_woken(result.woken);
  return to;
}

v1::OpenPollDescriptorResponse ToProto(const OpenResult& result, const std::string& name) {
  v1::OpenPollDescriptorResponse to;
  to.mutable_poll_descriptor()->set_name(name);
  to.mutable_poll_descriptor()->set_kind(static_cast<v1::Kind>(result.kind));
  to.mutable_poll_descriptor()->set_generation(result.generation);
  to.set_created(result.created);
  return to;
}

}  // namespace waitd::ctl
