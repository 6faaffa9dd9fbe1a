#ifndef WAITD_STATUS_H_
#define WAITD_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace waitd {

/// What a refusal says beside its code and message. All of these answer for any status: one that
/// did not come from waitd has no reason, no field and no details.

/// Why, in a word that programs can compare, such as DOUBLE_WAIT, STALE_GENERATION, OUTCOME_UNKNOWN
/// (it may or may not have been carried out) or PAYLOAD_TOO_LARGE; the server's documentation lists
/// them. Empty: none.
std::string ReasonOf(const absl::Status& status);

/// The field of the request that is at fault, such as "name"; empty: none.
std::string FieldOf(const absl::Status& status);

/// How long to pause before another attempt; zero: nothing was said.
absl::Duration RetryDelayOf(const absl::Status& status);

/// One of the changing parts of a refusal, such as who waits already; empty: none.
std::string DetailOf(const absl::Status& status, std::string_view key);

}  // namespace waitd

#endif  // WAITD_STATUS_H_
