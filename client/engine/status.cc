#include "waitd/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/engine/status.h"

namespace waitd {
namespace {

// Names of our own: the payloads of google.rpc are messages, for which one needs protobuf.
constexpr absl::string_view kReason = "waitd/reason";
constexpr absl::string_view kField = "waitd/field";
constexpr absl::string_view kRetryDelay = "waitd/retry_delay_ns";

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string KeyOf(std::string_view detail) { return absl::StrCat("waitd/detail/", View(detail)); }

std::string Get(const absl::Status& status, absl::string_view key) {
  const auto value = status.GetPayload(key);
  return value.has_value() ? std::string(*value) : std::string();
}

void Set(absl::Status& status, absl::string_view key, std::string_view value) {
  if (!value.empty()) status.SetPayload(key, absl::Cord(View(value)));
}

}  // namespace

std::string ReasonOf(const absl::Status& status) { return Get(status, kReason); }

std::string FieldOf(const absl::Status& status) { return Get(status, kField); }

absl::Duration RetryDelayOf(const absl::Status& status) {
  int64_t nanos = 0;
  if (!absl::SimpleAtoi(Get(status, kRetryDelay), &nanos)) return absl::ZeroDuration();
  return absl::Nanoseconds(nanos);
}

std::string DetailOf(const absl::Status& status, std::string_view key) {
  return Get(status, KeyOf(key));
}

namespace internal {

void SetReason(absl::Status& status, std::string_view reason) { Set(status, kReason, reason); }

void SetField(absl::Status& status, std::string_view field) { Set(status, kField, field); }

void SetRetryDelay(absl::Status& status, absl::Duration delay) {
  if (delay <= absl::ZeroDuration()) return;
  Set(status, kRetryDelay, absl::StrCat(absl::ToInt64Nanoseconds(delay)));
}

void SetDetail(absl::Status& status, std::string_view key, std::string_view value) {
  Set(status, KeyOf(key), value);
}

bool IsOtherLife(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound || ReasonOf(status) == "STALE_GENERATION";
}

bool IsFinal(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

absl::Status Refusal(absl::StatusCode code, std::string_view reason, std::string_view field,
                     std::string_view message) {
  absl::Status status(code, View(message));
  SetReason(status, reason);
  SetField(status, field);
  return status;
}

}  // namespace internal
}  // namespace waitd
