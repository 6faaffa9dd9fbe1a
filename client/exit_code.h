#ifndef WAITD_CLIENT_EXIT_CODE_H_
#define WAITD_CLIENT_EXIT_CODE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "grpcpp/support/status_code_enum.h"

namespace waitd::ctl {

/// How waitctl ends. Scripts build on these numbers: they never change.
enum class ExitCode : uint8_t {
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

/// A line of the table that the manual page shows.
struct ExitCodeRow {
  ExitCode code;
  std::string_view meaning;
};

/// All of them, in ascending order.
std::span<const ExitCodeRow> ExitCodes();

/// How a call that failed with this status ends the command.
ExitCode ExitCodeOf(grpc::StatusCode code);

/// The canonical name of a status, such as NOT_FOUND.
std::string_view StatusCodeName(grpc::StatusCode code);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_EXIT_CODE_H_
