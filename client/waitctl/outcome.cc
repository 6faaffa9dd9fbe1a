#include "client/waitctl/outcome.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/transport/convert.h"
#include "client/waitctl/text.h"
#include "google/rpc/code.pb.h"
#include "waitd/status.h"

namespace waitd::ctl {
namespace {

constexpr std::array kDocs = {
    ExitDoc{kDone, "READY, or done"},
    ExitDoc{kOther, "something else went wrong"},
    ExitDoc{kUsage, "wrong usage, or INVALID_ARGUMENT"},
    ExitDoc{kClosed, "CLOSED: the descriptor was closed"},
    ExitDoc{kNoDescriptor, "no such descriptor"},
    ExitDoc{kUnavailable, "the server cannot be reached or does not serve"},
    ExitDoc{kNotAllowed, "not allowed"},
    ExitDoc{kRefused, "refused: a precondition, a condition, a limit, or it exists"},
    ExitDoc{kFailure, "READY, with a failure"},
    ExitDoc{kTimedOut, "TIMED_OUT"},
    ExitDoc{kItself, "where a command is run: waitctl itself failed"},
    ExitDoc{kCannotRun, "the command cannot be run"},
    ExitDoc{kNoProgram, "the command is not found"},
    ExitDoc{kInterrupted, "interrupted"},
    ExitDoc{kTerminated, "terminated"},
};

// What may help where there is no connection. What TLS took offence at stands only in the text.
std::string ConnectHint(const std::string& message, const std::string& server) {
  const auto says = [&](const char* what) { return absl::StrContains(message, what); };
  if (says("certificate verify failed")) {
    return "; the server's certificate is not signed by an authority in --ca-file, or not valid "
           "now";
  }
  if (says("Hostname Verification")) {
    return "; the server's certificate is for another host: give --server a name that stands in it";
  }
  if (says("security handshaker")) {
    return "; do --cert-file and --key-file belong together, and is --ca-file whole?";
  }
  if (says("handshake failed")) {
    return absl::StrCat("; is ", server,
                        " a TLS port? without --ca-file it is spoken to in plain text");
  }
  if (says("failed to connect") && (says("Socket closed") || says("Connection reset"))) {
    return absl::StrCat("; ", server, " hung up: it may want TLS (--ca-file), or a client's ",
                        "certificate (--cert-file, --key-file)");
  }
  return absl::StrCat("; is waitd running at ", server, "? (--server, WAITCTL_SERVER)");
}

// What may help.
std::string Hint(const Problem& problem, const std::string& server) {
  const std::string& reason = problem.reason;
  if (reason == "NO_DESCRIPTOR") return " (waitctl open NAME)";
  if (reason == "STALE_GENERATION") return " (waitctl get NAME)";
  if (reason == "EXPIRED") return " (waitctl deadline NAME clear, to begin anew)";
  if (reason == "STALE_DELIVERY") return "; give a longer --ack-timeout";
  if (reason.empty() && problem.code == absl::StatusCode::kUnavailable) {
    return ConnectHint(problem.message, server);
  }
  if (problem.code == absl::StatusCode::kUnauthenticated) {
    return "; see --token-file, and --cert-file with --key-file";
  }
  if (problem.code == absl::StatusCode::kPermissionDenied) {
    return "; who may is for those to say who run the server";
  }
  return "";
}

}  // namespace

std::span<const ExitDoc> ExitDocs() { return kDocs; }

Problem::Problem(const grpc::Status& status) : Problem(internal::Read(status)) {}

Problem::Problem(const absl::Status& status)
    : code(status.code()), reason(ReasonOf(status)), message(status.message()) {}

ExitCode ExitCodeOf(const Problem& problem) {
  switch (problem.code) {
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kNotFound:
      return kNoDescriptor;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnavailable;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kNotAllowed;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kResourceExhausted:
      return kRefused;
    default:
      return kOther;
  }
}

std::string ErrorLine(const Problem& problem, const std::string& server) {
  return absl::StrCat(problem.message, Hint(problem, server));
}

std::string ErrorJson(const std::string& code, const std::string& reason,
                      const std::string& message) {
  const auto quote = [](const std::string& text) {
    google::protobuf::StringValue value;
    // JSON is UTF-8, and an argument of the command line need not be.
    value.set_value(Printable(text));
    std::string json;
    (void)google::protobuf::util::MessageToJsonString(value, &json);
    return json;
  };
  return absl::StrCat(R"({"error":{"code":)", quote(code), R"(,"reason":)", quote(reason),
                      R"(,"message":)", quote(message), "}}");
}

std::string CodeName(absl::StatusCode code) {
  return google::rpc::Code_Name(static_cast<google::rpc::Code>(code));
}

}  // namespace waitd::ctl
