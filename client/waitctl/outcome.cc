#include "client/waitctl/outcome.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "client/waitctl/text.h"
#include "google/rpc/code.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

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
    ExitDoc{kInterrupted, "interrupted"},
    ExitDoc{kTerminated, "terminated"},
};

// What may help, by the status.
std::string Hint(const grpc::Status& status, const std::string& server) {
  const std::string reason = ReasonOf(status);
  if (reason == "NO_DESCRIPTOR") return " (waitctl open NAME)";
  if (reason == "STALE_GENERATION") return " (waitctl get NAME)";
  if (reason.empty() && status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return absl::StrCat("; is waitd running at ", server, "? (--server, WAITCTL_SERVER)");
  }
  return "";
}

}  // namespace

std::span<const ExitDoc> ExitDocs() { return kDocs; }

ExitCode ExitCodeOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return kUsage;
    case grpc::StatusCode::NOT_FOUND:
      return kNoDescriptor;
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return kUnavailable;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return kNotAllowed;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return kRefused;
    default:
      return kOther;
  }
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    if (any.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::string ErrorLine(const grpc::Status& status, const std::string& server) {
  return absl::StrCat(status.error_message(), Hint(status, server));
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

std::string CodeName(const grpc::Status& status) {
  return google::rpc::Code_Name(static_cast<google::rpc::Code>(status.error_code()));
}

}  // namespace waitd::ctl
