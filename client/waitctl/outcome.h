#ifndef WAITD_CLIENT_WAITCTL_OUTCOME_H_
#define WAITD_CLIENT_WAITCTL_OUTCOME_H_

#include <grpcpp/support/status.h>

#include <span>
#include <string>

namespace waitd::ctl {

/// The exit codes of waitctl. They are a contract.
enum ExitCode : int {
  kDone = 0,
  kOther = 1,
  kUsage = 2,
  kClosed = 3,
  kNoDescriptor = 4,
  kUnavailable = 5,
  kNotAllowed = 6,
  kRefused = 7,
  kFailure = 8,
  kTimedOut = 124,
  kInterrupted = 130,
  kTerminated = 143,
};

/// What each means, for the manual page.
struct ExitDoc {
  ExitCode code;
  const char* meaning;
};
std::span<const ExitDoc> ExitDocs();

/// The exit code of a call that ended with this status, which is not OK.
ExitCode ExitCodeOf(const grpc::Status& status);

/// The reason in the status's google.rpc.ErrorInfo, such as NO_DESCRIPTOR; empty: it has none.
std::string ReasonOf(const grpc::Status& status);

/// One line for people, with what to do next. `server` is the address that was called.
std::string ErrorLine(const grpc::Status& status, const std::string& server);

/// {"error":{"code","reason","message"}}, on one line. `code` is the name of a gRPC status.
std::string ErrorJson(const std::string& code, const std::string& reason,
                      const std::string& message);

/// The name of a status' code, such as NOT_FOUND.
std::string CodeName(const grpc::Status& status);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_OUTCOME_H_
