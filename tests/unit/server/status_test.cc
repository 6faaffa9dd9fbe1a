#include "server/api/status.h"

#include <google/protobuf/any.pb.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace waitd::server {
namespace {

using grpc::StatusCode;

template <class Detail>
std::optional<Detail> Find(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(details.message(), status.error_message());
  for (const auto& each : details.details()) {
    Detail detail;
    if (each.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

const std::map<std::string_view, StatusCode> kTable = {
    {"BAD_NAME", StatusCode::INVALID_ARGUMENT},
    {"BAD_MODE", StatusCode::INVALID_ARGUMENT},
    {"BAD_TIME", StatusCode::INVALID_ARGUMENT},
    {"BAD_KIND", StatusCode::INVALID_ARGUMENT},
    {"BAD_LABELS", StatusCode::INVALID_ARGUMENT},
    {"BAD_ID", StatusCode::INVALID_ARGUMENT},
    {"BAD_SESSION", StatusCode::INVALID_ARGUMENT},
    {"ID_REUSED", StatusCode::INVALID_ARGUMENT},
    {"BAD_PAGE_TOKEN", StatusCode::INVALID_ARGUMENT},
    {"BAD_OPTIONS", StatusCode::INVALID_ARGUMENT},
    {"BAD_POLL", StatusCode::INVALID_ARGUMENT},
    {"PAYLOAD_TOO_LARGE", StatusCode::INVALID_ARGUMENT},
    {"NO_DESCRIPTOR", StatusCode::NOT_FOUND},
    {"EXISTS", StatusCode::ALREADY_EXISTS},
    {"KIND_MISMATCH", StatusCode::FAILED_PRECONDITION},
    {"DOUBLE_WAIT", StatusCode::FAILED_PRECONDITION},
    {"STALE_GENERATION", StatusCode::ABORTED},
    {"OUTCOME_UNKNOWN", StatusCode::ABORTED},
    {"TAKEN_OVER", StatusCode::ABORTED},
    {"STALE_DELIVERY", StatusCode::FAILED_PRECONDITION},
    {"NO_STORE", StatusCode::FAILED_PRECONDITION},
    {"NO_BACKUP_DIR", StatusCode::FAILED_PRECONDITION},
    {"BACKUP_FAILED", StatusCode::FAILED_PRECONDITION},
    {"LIMIT_BACKUPS", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_MEMORY", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_RATE", StatusCode::RESOURCE_EXHAUSTED},
    {"NO_CREDENTIALS", StatusCode::UNAUTHENTICATED},
    {"FORBIDDEN", StatusCode::PERMISSION_DENIED},
    {"LIMIT_SESSIONS", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_UNACKED", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_DESCRIPTORS", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_WAITERS", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_DELIVERIES", StatusCode::RESOURCE_EXHAUSTED},
    {"LIMIT_DISK", StatusCode::RESOURCE_EXHAUSTED},
    {"DRAINING", StatusCode::UNAVAILABLE},
    {"STORE_FAILED", StatusCode::UNAVAILABLE},
};

TEST(Status, EveryReasonHasTheCodeOfTheTable) {
  EXPECT_EQ(Reasons().size(), kTable.size());
  for (const std::string_view reason : Reasons()) {
    ASSERT_TRUE(kTable.contains(reason)) << reason;
    const grpc::Status status = ToStatus({.reason = reason, .message = "why", .field = {}});
    EXPECT_EQ(status.error_code(), kTable.at(reason)) << reason;
    EXPECT_EQ(status.error_message(), "why");
    const auto info = Find<google::rpc::ErrorInfo>(status);
    ASSERT_TRUE(info.has_value()) << reason;
    EXPECT_EQ(info->reason(), reason);
    EXPECT_EQ(info->domain(), "waitd");
  }
}

TEST(Status, OnlyWhatMayWorkLaterSaysWhen) {
  for (const std::string_view reason : Reasons()) {
    const grpc::Status status = ToStatus({.reason = reason, .message = "why", .field = {}});
    const bool later = status.error_code() == StatusCode::RESOURCE_EXHAUSTED ||
                       status.error_code() == StatusCode::UNAVAILABLE;
    const auto retry = Find<google::rpc::RetryInfo>(status);
    EXPECT_EQ(retry.has_value(), later) << reason;
    if (retry.has_value()) {
      EXPECT_GT(retry->retry_delay().seconds(), 0) << reason;
    }
    EXPECT_EQ(Find<google::rpc::QuotaFailure>(status).has_value(),
              status.error_code() == StatusCode::RESOURCE_EXHAUSTED)
        << reason;
  }
}

TEST(Status, AFieldAtFaultIsNamedAndElseThereIsNoBadRequest) {
  const auto bad = Find<google::rpc::BadRequest>(
      ToStatus({.reason = "BAD_NAME", .message = "too long", .field = "targets[3].name"}));
  ASSERT_TRUE(bad.has_value());
  ASSERT_EQ(bad->field_violations_size(), 1);
  EXPECT_EQ(bad->field_violations(0).field(), "targets[3].name");
  EXPECT_EQ(bad->field_violations(0).description(), "too long");
  EXPECT_FALSE(Find<google::rpc::BadRequest>(
                   ToStatus({.reason = "NO_DESCRIPTOR", .message = "none", .field = {}}))
                   .has_value());
}

TEST(Status, EveryRefusalOfTheCoreHasItsReason) {
  using core::Reason;
  const std::map<Reason, std::string_view> reasons = {
      {Reason::kNoDescriptor, "NO_DESCRIPTOR"}, {Reason::kExists, "EXISTS"},
      {Reason::kKindMismatch, "KIND_MISMATCH"}, {Reason::kStaleGeneration, "STALE_GENERATION"},
      {Reason::kDoubleWait, "DOUBLE_WAIT"},     {Reason::kBadTime, "BAD_TIME"},
      {Reason::kBadPoll, "BAD_POLL"},           {Reason::kLimitDescriptors, "LIMIT_DESCRIPTORS"},
      {Reason::kLimitWaiters, "LIMIT_WAITERS"}, {Reason::kDraining, "DRAINING"},
      {Reason::kLimitDisk, "LIMIT_DISK"},       {Reason::kStoreFailed, "STORE_FAILED"},
      {Reason::kForbidden, "FORBIDDEN"},
  };
  std::set<std::string> messages;
  for (const auto& [reason, expected] : reasons) {
    const Error error = ToError({.reason = reason, .name = "name"});
    EXPECT_EQ(error.reason, expected);
    EXPECT_TRUE(messages.insert(error.message).second) << error.message;
  }
}

TEST(Status, TheChangingPartsAreMetadata) {
  const Error stale =
      ToError({.reason = core::Reason::kStaleGeneration, .generation = 77, .name = "build/42"});
  EXPECT_EQ(stale.metadata.at("generation"), "77");
  EXPECT_NE(stale.message.find("'build/42'"), std::string::npos);
  const Error limit = ToError({.reason = core::Reason::kLimitWaiters, .limit = 5});
  EXPECT_EQ(limit.metadata.at("limit"), "5");
  EXPECT_NE(limit.message.find("--max-waiters"), std::string::npos);
  const Error deliveries = ToError({.reason = core::Reason::kLimitDeliveries, .limit = 6});
  EXPECT_EQ(deliveries.reason, "LIMIT_DELIVERIES");
  EXPECT_EQ(deliveries.metadata.at("limit"), "6");
  EXPECT_NE(deliveries.message.find("--max-deliveries or --max-deliveries-per-side"),
            std::string::npos);
  EXPECT_EQ(ToStatus(deliveries).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(Status, ALimitSaysWhoseItIsAndOfWhat) {
  const auto with = [](bool bytes, bool own) {
    return ToError({.reason = core::Reason::kLimitDescriptors,
                    .limit = 7,
                    .limit_is_bytes = bytes,
                    .limit_is_own = own})
        .message;
  };
  EXPECT_EQ(with(false, false),
            "the limit of 7 open descriptors is reached; try again later, or raise "
            "--max-descriptors");
  EXPECT_NE(with(false, true).find("for one caller"), std::string::npos);
  EXPECT_NE(with(true, false).find("7 bytes"), std::string::npos);
  EXPECT_NE(with(true, false).find("--max-memory"), std::string::npos);
}

TEST(Status, ADoubleWaitSaysWhoWaitsAndSinceWhen) {
  const Error error = ToError({.reason = core::Reason::kDoubleWait,
                               .generation = 9,
                               .waiter = "ipv4:10.0.0.1:5",
                               .waiting_since = core::WallTime(std::chrono::seconds(1))});
  EXPECT_EQ(error.metadata.at("waiter"), "ipv4:10.0.0.1:5");
  EXPECT_EQ(error.metadata.at("since"), "1970-01-01T00:00:01+00:00");
  EXPECT_EQ(error.metadata.at("connected"), "true");
  EXPECT_EQ(error.metadata.at("generation"), "9");
}

}  // namespace
}  // namespace waitd::server
