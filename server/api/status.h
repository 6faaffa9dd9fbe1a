#ifndef WAITD_SERVER_API_STATUS_H_
#define WAITD_SERVER_API_STATUS_H_

#include <grpcpp/support/status.h>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/budget.h"
#include "core/types.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// Why a call is refused, as it is told to the client: the one form in which every part of the
/// server says so.
struct Error {
  std::string_view reason;  ///< of Reasons()
  std::string message;      ///< what is wrong, and what to do
  std::string field;        ///< the request's field at fault; empty: none is
  std::map<std::string, std::string> metadata = {};
};

/// What is wrong with a request or a part of it, or nothing.
using Fault = std::optional<Error>;

/// The gRPC status of an error: the code that belongs to its reason, and google.rpc details.
grpc::Status ToStatus(const Error& error);

/// The same as a session says it.
void Write(const Error& error, v1::OperationError& to);

/// The error of a refusal of the core.
Error ToError(const core::Refusal& refusal);

/// There is no memory for what a call asks for.
Error OverMemory(std::string_view what, const core::Budget::Verdict& verdict);

/// Every reason that there is, for the metric that counts them.
std::span<const std::string_view> Reasons();

}  // namespace waitd::server

#endif  // WAITD_SERVER_API_STATUS_H_
