#ifndef WAITD_SERVER_API_CONVERT_H_
#define WAITD_SERVER_API_CONVERT_H_

#include <cstdint>

#include "core/call.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// In the times of protobuf, which have their nanoseconds apart.
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

/// The core's answers in the words of the contract. `now` is the instant of the request: what is
/// left of a deadline counts from it.
void Write(const core::WaitResult& from, v1::WaitResponse& to);
void Write(const core::PollResult& from, v1::PollResponse& to);
void Write(const core::ReadyResult& from, v1::ReadyResponse& to);
void Write(const core::Now& now, const core::SetDeadlineResult& from, v1::SetDeadlineResponse& to);
void Write(const core::Now& now, const core::DescriptorInfo& from, v1::PollDescriptor& to);

}  // namespace waitd::server

#endif  // WAITD_SERVER_API_CONVERT_H_
