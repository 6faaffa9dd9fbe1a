#ifndef WAITD_CLIENT_TRANSPORT_CONVERT_H_
#define WAITD_CLIENT_TRANSPORT_CONVERT_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "client/engine/transport.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::internal {

/// Between the plain records of the engine and the messages of the contract. What is beyond a
/// message's range, such as an infinite duration, is held at its ends.

/// `to` is empty.
void Write(const OutMessage& from, v1::SessionRequest& to);

/// Moves what it can out of `from`.
InMessage Read(v1::SessionResponse& from);

/// How a call or a stream ended, with what a refusal says in its details.
absl::Status Read(const grpc::Status& from);

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_TRANSPORT_CONVERT_H_
