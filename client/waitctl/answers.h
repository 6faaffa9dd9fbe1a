#ifndef WAITD_CLIENT_WAITCTL_ANSWERS_H_
#define WAITD_CLIENT_WAITCTL_ANSWERS_H_

#include "waitd/types.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::ctl {

/// What the library answers as the contract's message, for the JSON of it is what programs read.
v1::WaitResponse ToProto(const WaitResult& result);
v1::PollResponse ToProto(const PollResult& result);
v1::ReadyResponse ToProto(const ReadyResult& result);
v1::SetDeadlineResponse ToProto(const DeadlineResult& result);
v1::ResetResponse ToProto(const ResetResult& result);
v1::ClosePollDescriptorResponse ToProto(const CloseResult& result);
v1::OpenPollDescriptorResponse ToProto(const OpenResult& result, const std::string& name);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_ANSWERS_H_
