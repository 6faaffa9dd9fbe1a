#include "client/transport/convert.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/engine/status.h"
#include "client/engine/validate.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace waitd::internal {
namespace {

constexpr absl::Duration kDurationMax = absl::Seconds(315'576'000'000);  // as protobuf has it

// Most enums of the contract are ours with an UNSPECIFIED before them, and some of ours begin with
// their own word for that.
template <class To, class From>
To Enum(From from, int shift) {
  return static_cast<To>(static_cast<int>(from) + shift);
}
static_assert(static_cast<int>(Mode::kReadWrite) + 1 == v1::MODE_READ_WRITE);
static_assert(static_cast<int>(Kind::kLatch) == v1::KIND_LATCH);
static_assert(static_cast<int>(Outcome::kClosed) + 1 == v1::OUTCOME_CLOSED);
static_assert(static_cast<int>(TimeoutCause::kMaxWait) == v1::TIMEOUT_CAUSE_MAX_WAIT);
static_assert(static_cast<int>(ReadyEffect::kRefused) + 1 == v1::READY_EFFECT_REFUSED);
static_assert(static_cast<int>(ReadyCondition::kWaiting) == v1::READY_CONDITION_WAITING);
static_assert(static_cast<int>(DeadlineCondition::kArmOrExtend) ==
              v1::DEADLINE_CONDITION_ARM_OR_EXTEND);
static_assert(static_cast<int>(DeadlineEffect::kRefused) == v1::DEADLINE_EFFECT_REFUSED);

void Write(absl::Duration from, google::protobuf::Duration& to) {
  absl::Duration rest = std::clamp(from, -kDurationMax, kDurationMax);
  to.set_seconds(absl::IDivDuration(rest, absl::Seconds(1), &rest));
  to.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

void Write(absl::Time from, google::protobuf::Timestamp& to) {
  constexpr int64_t kFirst = -62'135'596'800;  // the year 1
  constexpr int64_t kLast = 253'402'300'799;   // the end of the year 9999
  const int64_t seconds = absl::ToUnixSeconds(from);
  to.set_seconds(std::clamp(seconds, kFirst, kLast));
  if (seconds < kFirst || seconds > kLast) return;
  to.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(from - absl::FromUnixSeconds(seconds))));
}

absl::Duration Read(const google::protobuf::Duration& from) {
  return absl::Seconds(from.seconds()) + absl::Nanoseconds(from.nanos());
}

absl::Time Read(const google::protobuf::Timestamp& from) {
  return absl::FromUnixSeconds(from.seconds()) + absl::Nanoseconds(from.nanos());
}

template <class Message>
void WriteSentAgo(const Attempt& attempt, Message& to) {
  if (attempt.first_sent_ago > absl::ZeroDuration()) {
    Write(attempt.first_sent_ago, *to.mutable_first_sent_ago());
  }
}

void Write(const OpenOptions& from, v1::OpenOptions& to) {
  to.set_kind(Enum<v1::Kind>(from.kind, 0));
  if (from.labels != nullptr) to.mutable_labels()->insert(from.labels->begin(), from.labels->end());
  if (from.idle_ttl.has_value()) Write(*from.idle_ttl, *to.mutable_idle_ttl());
  to.set_ephemeral(from.ephemeral);
}

template <class Message>
void WriteMissing(const std::optional<OpenOptions>& from, Message& to) {
  if (from.has_value()) Write(*from, *to.mutable_open_if_missing());
}

void Write(const Signal& from, v1::Signal& to) {
  to.set_data(from.data);
  to.set_content_type(from.content_type);
  if (from.failure.has_value()) {
    to.mutable_failure()->set_code(from.failure->code);
    to.mutable_failure()->set_message(from.failure->message);
  }
  for (const auto& [key, value] : from.attributes) (*to.mutable_attributes())[key] = value;
}

// What a request has in common with others of its kind.
template <class Options, class Message>
void WriteCommon(const Attempt& attempt, const Options& options, Message& to) {
  to.set_name(attempt.request->name);
  to.set_request_id(attempt.request->id);
  to.set_generation(options.generation);
  WriteSentAgo(attempt, to);
}

template <class Call, class Message>
void WriteWait(const Attempt& attempt, const Call& call, Message& to) {
  to.set_wait_id(attempt.request->id);
  if (attempt.timeout < absl::InfiniteDuration()) Write(attempt.timeout, *to.mutable_timeout());
  if (call.options.ack_timeout.has_value()) {
    Write(*call.options.ack_timeout, *to.mutable_ack_timeout());
  }
  WriteMissing(call.options.open_if_missing, to);
  WriteSentAgo(attempt, to);
}

// One for each operation.
void WriteCall(const Attempt& /*attempt*/, std::monostate /*timer*/, v1::Operation& /*to*/) {}

void WriteCall(const Attempt& attempt, const OpenCall& call, v1::Operation& operation) {
  v1::OpenPollDescriptorRequest& to = *operation.mutable_open();
  to.set_name(attempt.request->name);
  to.set_request_id(attempt.request->id);
  WriteSentAgo(attempt, to);
  Write(call.options, *to.mutable_options());
  to.set_must_create(call.must_create);
}

void WriteCall(const Attempt& attempt, const CloseOptions& call, v1::Operation& operation) {
  WriteCommon(attempt, call, *operation.mutable_close());
}

void WriteCall(const Attempt& attempt, const ResetOptions& call, v1::Operation& operation) {
  WriteCommon(attempt, call, *operation.mutable_reset());
  operation.mutable_reset()->set_mode(Enum<v1::Mode>(call.mode, 1));
}

void WriteCall(const Attempt& attempt, const WaitCall& call, v1::Operation& operation) {
  v1::WaitRequest& to = *operation.mutable_wait();
  to.set_name(attempt.request->name);
  to.set_mode(Enum<v1::Mode>(call.options.mode, 1));
  to.set_ignore_deadline(call.options.ignore_deadline);
  to.set_generation(call.options.generation);
  WriteWait(attempt, call, to);
}

void WriteCall(const Attempt& attempt, const ReadyCall& call, v1::Operation& operation) {
  v1::ReadyRequest& to = *operation.mutable_ready();
  WriteCommon(attempt, call.options, to);
  to.set_mode(Enum<v1::Mode>(call.options.mode, 1));
  if (EncodedSize(*call.signal) > 0) Write(*call.signal, *to.mutable_signal());
  to.set_condition(Enum<v1::ReadyCondition>(call.options.condition, 0));
  WriteMissing(call.options.open_if_missing, to);
}

void WriteCall(const Attempt& attempt, const DeadlineCall& call, v1::Operation& operation) {
  v1::SetDeadlineRequest& to = *operation.mutable_set_deadline();
  WriteCommon(attempt, call.options, to);
  to.set_mode(Enum<v1::Mode>(call.options.mode, 1));
  to.set_condition(Enum<v1::DeadlineCondition>(call.options.condition, 0));
  WriteMissing(call.options.open_if_missing, to);
  if (const auto* timeout = std::get_if<absl::Duration>(&call.deadline)) {
    Write(*timeout, *to.mutable_timeout());
  } else if (const auto* at = std::get_if<absl::Time>(&call.deadline)) {
    Write(*at, *to.mutable_at());
  } else {
    to.mutable_clear();
  }
}

void WriteCall(const Attempt& attempt, const PollCall& call, v1::Operation& operation) {
  v1::PollRequest& to = *operation.mutable_poll();
  for (const PollCall::Target& target : call.targets) {
    v1::PollRequest::Target& added = *to.add_targets();
    added.set_name(target.name);
    added.set_mode(Enum<v1::Mode>(target.mode, 1));
    added.set_generation(target.generation);
  }
  to.set_need(call.options.need);
  WriteWait(attempt, call, to);
}

void WriteCall(const Attempt& /*attempt*/, const AckCall& call, v1::Operation& operation) {
  v1::AckRequest& to = *operation.mutable_ack();
  to.set_name(call.hand_off.name);
  to.set_mode(Enum<v1::Mode>(call.hand_off.mode, 1));
  to.set_wait_id(call.hand_off.wait_id);
  to.set_delivery(call.hand_off.delivery);
  to.set_generation(call.hand_off.generation);
}

void WriteCall(const Attempt& /*attempt*/, const CancelCall& call, v1::Operation& operation) {
  operation.set_cancel(call.target);
}

// To no deadline, if that is earlier: it never is.
void WriteCall(const Attempt& attempt, const LifeCall& call, v1::Operation& operation) {
  v1::SetDeadlineRequest& to = *operation.mutable_set_deadline();
  WriteCommon(attempt, call, to);
  to.mutable_clear();
  to.set_condition(v1::DEADLINE_CONDITION_ONLY_EARLIER);
}

Signal ReadSignal(v1::Signal& from) {
  Signal to;
  to.data = std::move(*from.mutable_data());
  to.content_type = std::move(*from.mutable_content_type());
  if (from.has_failure()) {
    to.failure = {.code = from.failure().code(), .message = from.failure().message()};
  }
  if (from.attributes_size() > 0) {
    to.attributes.insert(from.attributes().begin(), from.attributes().end());
  }
  return to;
}

WaitResult ReadResult(v1::WaitResponse& from) {
  WaitResult to;
  to.outcome = Enum<Outcome>(from.outcome(), -1);
  to.timeout_cause = Enum<TimeoutCause>(from.timeout_cause(), 0);
  if (from.has_signal()) to.signal = ReadSignal(*from.mutable_signal());
  to.generation = from.generation();
  to.delivery = from.delivery();
  to.attempt = from.attempt();
  to.parked = Read(from.parked());
  to.late = Read(from.late());
  if (from.has_ready_time()) to.ready_time = Read(from.ready_time());
  to.ready_by = std::move(*from.mutable_ready_by());
  to.coalesced = from.coalesced();
  return to;
}

PollResult ReadResult(v1::PollResponse& from) {
  PollResult to;
  to.outcome = Enum<Outcome>(from.outcome(), -1);
  to.timeout_cause = Enum<TimeoutCause>(from.timeout_cause(), 0);
  to.parked = Read(from.parked());
  to.late = Read(from.late());
  for (v1::PollResponse::Result& each : *from.mutable_results()) {
    to.targets.push_back({each.target(), ReadResult(*each.mutable_response())});
  }
  return to;
}

Deadline ReadDeadline(const v1::Deadline& from) {
  Deadline to;
  if (from.has_at()) to.at = Read(from.at());
  to.expired = from.expired();
  to.remaining = Read(from.remaining());
  return to;
}

DeadlineResult ReadResult(const v1::SetDeadlineResponse& from) {
  return {.applied = from.applied(),
          .read = ReadDeadline(from.read()),
          .write = ReadDeadline(from.write()),
          .woken = from.woken(),
          .generation = from.generation(),
          .read_effect = Enum<DeadlineEffect>(from.read_effect(), 0),
          .write_effect = Enum<DeadlineEffect>(from.write_effect(), 0)};
}

absl::Status ReadError(const v1::OperationError& from) {
  absl::Status to(static_cast<absl::StatusCode>(from.code()), from.message());
  // A server that refused said so with a code; without one this would read as an answer.
  if (to.ok()) to = absl::UnknownError(from.message());
  SetReason(to, from.reason());
  SetField(to, from.field());
  SetRetryDelay(to, Read(from.retry_delay()));
  for (const auto& [key, value] : from.metadata()) SetDetail(to, key, value);
  return to;
}

absl::StatusOr<Answer> ReadAnswer(v1::OperationResult& from) {
  switch (from.result_case()) {
    case v1::OperationResult::kOpen: {
      const v1::PollDescriptor& opened = from.open().poll_descriptor();
      return OpenResult{.generation = opened.generation(),
                        .kind = Enum<Kind>(opened.kind(), 0),
                        .created = from.open().created()};
    }
    case v1::OperationResult::kClose:
      return CloseResult{.woken = from.close().woken()};
    case v1::OperationResult::kReset:
      return ResetResult{.reset = from.reset().reset(), .forgot = from.reset().forgot()};
    case v1::OperationResult::kWait:
      return ReadResult(*from.mutable_wait());
    case v1::OperationResult::kReady:
      return ReadyResult{.effect = Enum<ReadyEffect>(from.ready().effect(), -1),
                         .woken = from.ready().woken(),
                         .generation = from.ready().generation(),
                         .expired = from.ready().expired()};
    case v1::OperationResult::kSetDeadline:
      return ReadResult(from.set_deadline());
    case v1::OperationResult::kPoll:
      return ReadResult(*from.mutable_poll());
    case v1::OperationResult::kAck:
      return AckResult{};
    case v1::OperationResult::kError:
      return ReadError(from.error());
    case v1::OperationResult::RESULT_NOT_SET:
      break;
  }
  return Answer();  // of a cancel
}

}  // namespace

void Write(const OutMessage& from, v1::SessionRequest& to) {
  if (from.hello.has_value()) {
    v1::SessionHello& hello = *to.mutable_hello();
    hello.set_client(from.hello->client);
    hello.set_resume_token(from.hello->resume_token);
    hello.set_acked_sequence(from.hello->acked_sequence);
  }
  to.set_acked_sequence(from.acked_sequence);
  for (const Attempt& attempt : from.attempts) {
    v1::Operation& operation = *to.add_operations();
    operation.set_id(attempt.id);
    std::visit([&](const auto& call) { WriteCall(attempt, call, operation); },
               attempt.request->what);
  }
}

InMessage Read(v1::SessionResponse& from) {
  InMessage to;
  to.sequence = from.sequence();
  if (from.has_welcome()) {
    v1::SessionWelcome& welcome = *from.mutable_welcome();
    to.welcome = Welcome{.resume_token = std::move(*welcome.mutable_resume_token()),
                         .resumed = welcome.resumed(),
                         .received_through = welcome.received_through(),
                         .keepalive = Read(welcome.keepalive()),
                         .max_payload_bytes = welcome.max_payload_bytes()};
  }
  to.results.reserve(static_cast<size_t>(from.results_size()));
  for (v1::OperationResult& result : *from.mutable_results()) {
    to.results.push_back({result.id(), ReadAnswer(result)});
  }
  return to;
}

absl::Status Read(const grpc::Status& from) {
  absl::Status to(static_cast<absl::StatusCode>(from.error_code()), from.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(from.error_details())) return to;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest request;
  google::rpc::RetryInfo retry;
  for (const google::protobuf::Any& any : details.details()) {
    if (any.UnpackTo(&info)) {
      SetReason(to, info.reason());
      for (const auto& [key, value] : info.metadata()) SetDetail(to, key, value);
    } else if (any.UnpackTo(&request) && request.field_violations_size() > 0) {
      SetField(to, request.field_violations(0).field());
    } else if (any.UnpackTo(&retry)) {
      SetRetryDelay(to, Read(retry.retry_delay()));
    }
  }
  return to;
}

}  // namespace waitd::internal
