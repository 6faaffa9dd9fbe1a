#ifndef WAITD_CLIENT_ENGINE_STATUS_H_
#define WAITD_CLIENT_ENGINE_STATUS_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace waitd::internal {

/// Write what the helpers of waitd/status.h read. An empty value, or no delay, writes nothing.
void SetReason(absl::Status& status, std::string_view reason);
void SetField(absl::Status& status, std::string_view field);
void SetRetryDelay(absl::Status& status, absl::Duration delay);
void SetDetail(absl::Status& status, std::string_view key, std::string_view value);

/// A status with its reason and the field at fault.
absl::Status Refusal(absl::StatusCode code, std::string_view reason, std::string_view field,
                     std::string_view message);

/// The life that a call was bound to is over: another one is open, or none.
bool IsOtherLife(const absl::Status& status);

/// Of how a stream ended: another one would end no other way, until somebody has mended something.
bool IsFinal(absl::StatusCode code);

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_STATUS_H_
