#ifndef WAITD_CLIENT_CALL_ERROR_H_
#define WAITD_CLIENT_CALL_ERROR_H_

#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace waitd::ctl {

/// A failed call, with what its status carries in details.
struct CallError {
  grpc::StatusCode code = grpc::UNKNOWN;
  std::string message;
  std::string reason;  ///< of ErrorInfo, such as DOUBLE_WAIT; empty when the server gave none
  std::map<std::string, std::string> metadata;
  std::string field;  ///< of BadRequest
  std::optional<absl::Duration> retry_delay;
};

/// Reads a status that is not OK. Details that cannot be read are left out: what the status itself
/// says stays.
CallError ToCallError(const grpc::Status& status);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_CALL_ERROR_H_
