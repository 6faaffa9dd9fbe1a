#include "client/exit_code.h"

#include <array>

namespace waitd::ctl {
namespace {

constexpr std::array kExitCodes = {
    ExitCodeRow{ExitCode::kDone, "READY, or done."},
    ExitCodeRow{ExitCode::kOther, "Any other error."},
    ExitCodeRow{ExitCode::kUsage, "Wrong usage, or an argument that the server does not accept."},
    ExitCodeRow{ExitCode::kClosed, "The descriptor was closed."},
    ExitCodeRow{ExitCode::kNoDescriptor, "No descriptor of this name is open."},
    ExitCodeRow{ExitCode::kUnavailable,
                "The server cannot be reached, does not serve, or did not answer in time."},
    ExitCodeRow{ExitCode::kNotAllowed, "Not allowed, or not known to the server."},
    ExitCodeRow{ExitCode::kRefused,
                "Refused: the state of the descriptor, a limit, or a condition that did not hold."},
    ExitCodeRow{ExitCode::kFailure, "READY, with a failure."},
    ExitCodeRow{ExitCode::kTimedOut, "TIMED_OUT."},
    ExitCodeRow{ExitCode::kInterrupted, "Interrupted (SIGINT)."},
    ExitCodeRow{ExitCode::kTerminated, "Terminated (SIGTERM)."},
};

struct StatusRow {
  grpc::StatusCode status;
  std::string_view name;
  ExitCode code;
};

constexpr std::array kStatuses = {
    StatusRow{grpc::OK, "OK", ExitCode::kDone},
    StatusRow{grpc::CANCELLED, "CANCELLED", ExitCode::kOther},
    StatusRow{grpc::UNKNOWN, "UNKNOWN", ExitCode::kOther},
    StatusRow{grpc::INVALID_ARGUMENT, "INVALID_ARGUMENT", ExitCode::kUsage},
    StatusRow{grpc::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", ExitCode::kUnavailable},
    StatusRow{grpc::NOT_FOUND, "NOT_FOUND", ExitCode::kNoDescriptor},
    StatusRow{grpc::ALREADY_EXISTS, "ALREADY_EXISTS", ExitCode::kRefused},
    StatusRow{grpc::PERMISSION_DENIED, "PERMISSION_DENIED", ExitCode::kNotAllowed},
    StatusRow{grpc::RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", ExitCode::kRefused},
    StatusRow{grpc::FAILED_PRECONDITION, "FAILED_PRECONDITION", ExitCode::kRefused},
    StatusRow{grpc::ABORTED, "ABORTED", ExitCode::kRefused},
    StatusRow{grpc::OUT_OF_RANGE, "OUT_OF_RANGE", ExitCode::kOther},
    StatusRow{grpc::UNIMPLEMENTED, "UNIMPLEMENTED", ExitCode::kOther},
    StatusRow{grpc::INTERNAL, "INTERNAL", ExitCode::kOther},
    StatusRow{grpc::UNAVAILABLE, "UNAVAILABLE", ExitCode::kUnavailable},
    StatusRow{grpc::DATA_LOSS, "DATA_LOSS", ExitCode::kOther},
    StatusRow{grpc::UNAUTHENTICATED, "UNAUTHENTICATED", ExitCode::kNotAllowed},
};

}  // namespace

std::span<const ExitCodeRow> ExitCodes() { return kExitCodes; }

ExitCode ExitCodeOf(grpc::StatusCode code) {
  for (const StatusRow& row : kStatuses) {
    if (row.status == code) return row.code;
  }
  return ExitCode::kOther;
}

std::string_view StatusCodeName(grpc::StatusCode code) {
  for (const StatusRow& row : kStatuses) {
    if (row.status == code) return row.name;
  }
  return "UNKNOWN";
}

}  // namespace waitd::ctl
