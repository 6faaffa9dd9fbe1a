#include "server/api/status.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/check.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace waitd::server {
namespace {

using grpc::StatusCode;

struct Row {
  std::string_view reason;
  StatusCode code;
  int retry_ms;  // when it may be worth trying again; 0: not said
};

// The table of the design, section 3.
constexpr std::array kRows = {
    Row{"BAD_NAME", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_MODE", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_TIME", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_KIND", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_LABELS", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_ID", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_PAGE_TOKEN", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_OPTIONS", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_POLL", StatusCode::INVALID_ARGUMENT, 0},
    Row{"PAYLOAD_TOO_LARGE", StatusCode::INVALID_ARGUMENT, 0},
    Row{"BAD_SESSION", StatusCode::INVALID_ARGUMENT, 0},
    Row{"ID_REUSED", StatusCode::INVALID_ARGUMENT, 0},
    Row{"NO_DESCRIPTOR", StatusCode::NOT_FOUND, 0},
    Row{"EXISTS", StatusCode::ALREADY_EXISTS, 0},
    Row{"KIND_MISMATCH", StatusCode::FAILED_PRECONDITION, 0},
    Row{"DOUBLE_WAIT", StatusCode::FAILED_PRECONDITION, 0},
    Row{"STALE_GENERATION", StatusCode::ABORTED, 0},
    Row{"OUTCOME_UNKNOWN", StatusCode::ABORTED, 0},
    Row{"TAKEN_OVER", StatusCode::ABORTED, 0},
    Row{"STALE_DELIVERY", StatusCode::FAILED_PRECONDITION, 0},
    Row{"NO_STORE", StatusCode::FAILED_PRECONDITION, 0},
    Row{"NO_BACKUP_DIR", StatusCode::FAILED_PRECONDITION, 0},
    Row{"BACKUP_FAILED", StatusCode::FAILED_PRECONDITION, 0},
    Row{"LIMIT_DESCRIPTORS", StatusCode::RESOURCE_EXHAUSTED, 5000},
    Row{"LIMIT_WAITERS", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_DELIVERIES", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_SESSIONS", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_UNACKED", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_DISK", StatusCode::RESOURCE_EXHAUSTED, 5000},
    Row{"LIMIT_BACKUPS", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_MEMORY", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"LIMIT_RATE", StatusCode::RESOURCE_EXHAUSTED, 1000},
    Row{"NO_CREDENTIALS", StatusCode::UNAUTHENTICATED, 0},
    Row{"FORBIDDEN", StatusCode::PERMISSION_DENIED, 0},
    Row{"DRAINING", StatusCode::UNAVAILABLE, 1000},
    Row{"STORE_FAILED", StatusCode::UNAVAILABLE, 1000},
};

constexpr auto kReasons = [] {
  std::array<std::string_view, kRows.size()> reasons;
  for (size_t i = 0; i < kRows.size(); ++i) reasons[i] = kRows[i].reason;
  return reasons;
}();

const Row& Find(std::string_view reason) {
  for (const Row& row : kRows) {
    if (row.reason == reason) return row;
  }
  WAITD_CHECK(false, "an error has a reason that no table knows");
}

Error Limit(std::string_view reason, absl::string_view what, absl::string_view flag,
            const core::Refusal& refusal) {
  const char* const whose = refusal.limit_is_own ? " for one caller" : "";
  const std::string message =
      refusal.limit_is_bytes
          ? absl::StrCat(what, " take the ", refusal.limit, " bytes that they may", whose,
                         "; try again later, or raise --max-memory")
          : absl::StrCat("the limit of ", refusal.limit, " ", what, whose,
                         " is reached; try again later, or raise ", flag);
  return {.reason = reason,
          .message = message,
          .field = {},
          .metadata = {{"limit", absl::StrCat(refusal.limit)}}};
}

// Of ids and deliveries.
Error IdError(core::Reason reason, const std::string& quoted) {
  using core::Reason;
  switch (reason) {
    case Reason::kBadOptions:
      return {
          .reason = "BAD_OPTIONS",
          .message = absl::StrCat(quoted, " is a latch, which keeps its READY: there is nothing ",
                                  "to acknowledge; leave ack_timeout unset"),
          .field = {}};
    case Reason::kIdReused:
      return {.reason = "ID_REUSED",
              .message = absl::StrCat("this id was used for another call on ", quoted,
                                      "; choose a new one for each call"),
              .field = {}};
    case Reason::kOutcomeUnknown:
      return {.reason = "OUTCOME_UNKNOWN",
              .message = absl::StrCat("what came of this on ", quoted,
                                      " is not known any more; look what is there, and decide"),
              .field = {}};
    case Reason::kTakenOver:
      return {.reason = "TAKEN_OVER",
              .message = "a later call with the same wait_id waits instead of this one",
              .field = {}};
    default:  // kStaleDelivery
      return {.reason = "STALE_DELIVERY",
              .message = absl::StrCat("the signal of ", quoted,
                                      " came back, for its Ack did not come in time; another wait "
                                      "gets it"),
              .field = {}};
  }
}

// Of the server's own state, whatever was asked for.
Error ServerError(const core::Refusal& refusal) {
  using core::Reason;
  switch (refusal.reason) {
    case Reason::kLimitDescriptors:
      return Limit("LIMIT_DESCRIPTORS", "open descriptors", "--max-descriptors", refusal);
    case Reason::kLimitWaiters:
      return Limit("LIMIT_WAITERS", "parked waits", "--max-waiters", refusal);
    case Reason::kLimitDeliveries:
      return Limit("LIMIT_DELIVERIES",
                   "unacknowledged deliveries, one for each wait with an ack_timeout,",
                   "--max-deliveries or --max-deliveries-per-side", refusal);
    case Reason::kDraining:
      return {.reason = "DRAINING",
              .message = "this server is shutting down; wait again on another one, or later",
              .field = {}};
    case Reason::kLimitDisk:
      return {.reason = "LIMIT_DISK",
              .message =
                  "the server's disk is nearly full: nothing that would have to be stored "
                  "is taken; try again when there is room, see --min-free-disk-bytes",
              .field = {}};
    default:  // kStoreFailed
      return {.reason = "STORE_FAILED",
              .message =
                  "the server cannot store anything, and ends; whether this was done is not "
                  "known: ask again with the same id when it is back",
              .field = {}};
  }
}

Error DoubleWaitError(const core::Refusal& refusal, const std::string& quoted) {
  const absl::Time since = absl::FromUnixNanos(refusal.waiting_since.time_since_epoch().count());
  const std::string shown = absl::FormatTime(absl::RFC3339_full, since, absl::UTCTimeZone());
  return {
      .reason = "DOUBLE_WAIT",
      .message = absl::StrCat(quoted, " is exclusive, and ", refusal.waiter, " waits on it since ",
                              shown, "; open a name of kind FIFO or LATCH for many waiters"),
      .field = {},
      .metadata = {{"generation", absl::StrCat(refusal.generation)},
                   {"waiter", refusal.waiter},
                   {"since", shown},
                   {"connected", refusal.waiter_connected ? "true" : "false"}}};
}

}  // namespace

std::span<const std::string_view> Reasons() { return kReasons; }

grpc::Status ToStatus(const Error& error) {
  const Row& row = Find(error.reason);
  google::rpc::Status status;
  status.set_code(row.code);
  status.set_message(error.message);
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(error.reason));
  info.set_domain("waitd");
  info.mutable_metadata()->insert(error.metadata.begin(), error.metadata.end());
  status.add_details()->PackFrom(info);
  if (!error.field.empty()) {
    google::rpc::BadRequest bad;
    auto* const violation = bad.add_field_violations();
    violation->set_field(error.field);
    violation->set_description(error.message);
    status.add_details()->PackFrom(bad);
  }
  if (row.retry_ms > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(row.retry_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(row.retry_ms % 1000 * 1'000'000);
    status.add_details()->PackFrom(retry);
  }
  if (row.code == StatusCode::RESOURCE_EXHAUSTED) {
    google::rpc::QuotaFailure quota;
    auto* const violation = quota.add_violations();
    violation->set_subject(std::string(error.reason));
    violation->set_description(error.message);
    status.add_details()->PackFrom(quota);
  }
  return {row.code, error.message, status.SerializeAsString()};
}

void Write(const Error& error, v1::OperationError& to) {
  const Row& row = Find(error.reason);
  to.set_code(row.code);
  to.set_message(error.message);
  to.set_reason(std::string(error.reason));
  to.mutable_metadata()->insert(error.metadata.begin(), error.metadata.end());
  to.set_field(error.field);
  if (row.retry_ms == 0) return;
  to.mutable_retry_delay()->set_seconds(row.retry_ms / 1000);
  to.mutable_retry_delay()->set_nanos(row.retry_ms % 1000 * 1'000'000);
}

Error OverMemory(std::string_view what, const core::Budget::Verdict& verdict) {
  return {.reason = "LIMIT_MEMORY",
          .message = absl::StrCat(std::string(what), " take the ", verdict.limit,
                                  verdict.own ? " bytes that one caller's" : " bytes that they",
                                  " may; try again later, or raise --max-memory"),
          .field = {},
          .metadata = {{"limit", absl::StrCat(verdict.limit)}}};
}

Error ToError(const core::Refusal& refusal) {
  using core::Reason;
  const std::string quoted = absl::StrCat("'", refusal.name, "'");
  const std::map<std::string, std::string> open = {
      {"generation", absl::StrCat(refusal.generation)}};
  switch (refusal.reason) {
    case Reason::kNoDescriptor:
      return {.reason = "NO_DESCRIPTOR",
              .message = absl::StrCat("no descriptor ", quoted,
                                      " is open; open it first, or set open_if_missing"),
              .field = {}};
    case Reason::kExists:
      return {.reason = "EXISTS",
              .message = absl::StrCat(quoted, " is open already, and must_create is set"),
              .field = {},
              .metadata = open};
    case Reason::kKindMismatch:
      return {.reason = "KIND_MISMATCH",
              .message = absl::StrCat(quoted, " is open with another kind; leave the kind unset ",
                                      "to use it as it is"),
              .field = {},
              .metadata = open};
    case Reason::kStaleGeneration:
      return {.reason = "STALE_GENERATION",
              .message = absl::StrCat(quoted, " is open with generation ", refusal.generation,
                                      ", which is not the one asked for"),
              .field = {},
              .metadata = open};
    case Reason::kDoubleWait:
      return DoubleWaitError(refusal, quoted);
    case Reason::kBadTime:
      return {.reason = "BAD_TIME",
              .message = "ARM_OR_EXTEND needs a time that is to come",
              .field = "condition"};
    case Reason::kBadOptions:
    case Reason::kIdReused:
    case Reason::kOutcomeUnknown:
    case Reason::kTakenOver:
    case Reason::kStaleDelivery:
      return IdError(refusal.reason, quoted);
    case Reason::kForbidden:
      return {.reason = "FORBIDDEN",
              .message =
                  "the right to wait was taken away while this call waited; a line of the "
                  "server's ACL file, and a token, would give it back",
              .field = {}};
    case Reason::kBadPoll:
      return {.reason = "BAD_POLL",
              .message =
                  "a poll needs 1 to 1000 targets, none of them twice, and not more READYs "
                  "than targets",
              .field = {}};
    case Reason::kLimitDescriptors:
    case Reason::kLimitWaiters:
    case Reason::kLimitDeliveries:
    case Reason::kDraining:
    case Reason::kLimitDisk:
    case Reason::kStoreFailed:
      return ServerError(refusal);
  }
  WAITD_CHECK(false, "a refusal has no reason");
}

}  // namespace waitd::server
