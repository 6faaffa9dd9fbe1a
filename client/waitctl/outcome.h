#ifndef WAITD_CLIENT_WAITCTL_OUTCOME_H_
#define WAITD_CLIENT_WAITCTL_OUTCOME_H_

#include <grpcpp/support/status.h>

#include <span>
#include <string>

#include "absl/status/status.h"

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
  kItself = 125,
  kCannotRun = 126,
  kNoProgram = 127,
  kSignalled = 128,  ///< And the number of the signal.
  kInterrupted = 130,
  kTerminated = 143,
};

/// What each means, for the manual page.
struct ExitDoc {
  ExitCode code;
  const char* meaning;
};
std::span<const ExitDoc> ExitDocs();

/// Why a call has failed, whichever way it went.
struct Problem {
  Problem(const grpc::Status& status);  // NOLINT(google-explicit-constructor): a status is one
  Problem(const absl::Status& status);  // NOLINT(google-explicit-constructor): the same

  absl::StatusCode code;
  std::string reason;  ///< Such as NO_DESCRIPTOR; empty: it has none.
  std::string message;
};

/// The exit code of a call that ended so.
ExitCode ExitCodeOf(const Problem& problem);

/// One line for people, with what to do next. `server` is the address that was called.
std::string ErrorLine(const Problem& problem, const std::string& server);

/// {"error":{"code","reason","message"}}, on one line. `code` is the name of a gRPC status.
std::string ErrorJson(const std::string& code, const std::string& reason,
                      const std::string& message);

/// The name of a code, such as NOT_FOUND.
std::string CodeName(absl::StatusCode code);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_OUTCOME_H_
