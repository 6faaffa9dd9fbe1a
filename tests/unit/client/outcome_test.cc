#include "client/waitctl/outcome.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "client/engine/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace waitd::ctl {
namespace {

using grpc::StatusCode;

grpc::Status WithReason(StatusCode code, const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  google::rpc::Status details;
  details.add_details()->PackFrom(google::rpc::BadRequest());
  details.add_details()->PackFrom(info);
  return {code, "why", details.SerializeAsString()};
}

TEST(OutcomeTest, EachStatusHasItsExitCode) {
  const std::map<StatusCode, int> wanted = {
      {StatusCode::CANCELLED, 1},
      {StatusCode::UNKNOWN, 1},
      {StatusCode::INVALID_ARGUMENT, 2},
      {StatusCode::DEADLINE_EXCEEDED, 5},
      {StatusCode::NOT_FOUND, 4},
      {StatusCode::ALREADY_EXISTS, 7},
      {StatusCode::PERMISSION_DENIED, 6},
      {StatusCode::RESOURCE_EXHAUSTED, 7},
      {StatusCode::FAILED_PRECONDITION, 7},
      {StatusCode::ABORTED, 7},
      {StatusCode::OUT_OF_RANGE, 1},
      {StatusCode::UNIMPLEMENTED, 1},
      {StatusCode::INTERNAL, 1},
      {StatusCode::UNAVAILABLE, 5},
      {StatusCode::DATA_LOSS, 1},
      {StatusCode::UNAUTHENTICATED, 6},
  };
  ASSERT_EQ(wanted.size(), 16U);
  for (const auto& [code, exit_code] : wanted) {
    EXPECT_EQ(ExitCodeOf(grpc::Status(code, "")), exit_code) << code;
  }
}

TEST(OutcomeTest, EachExitCodeIsDocumentedOnce) {
  std::set<int> codes;
  for (const ExitDoc& doc : ExitDocs()) EXPECT_TRUE(codes.insert(doc.code).second) << doc.meaning;
  EXPECT_EQ(codes, (std::set<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 124, 125, 126, 127, 130, 143}));
}

TEST(OutcomeTest, TheReasonIsThatOfTheErrorInfo) {
  EXPECT_EQ(Problem(WithReason(StatusCode::ABORTED, "STALE_GENERATION")).reason,
            "STALE_GENERATION");
  EXPECT_EQ(Problem(grpc::Status(StatusCode::ABORTED, "why")).reason, "");
  EXPECT_EQ(Problem(grpc::Status(StatusCode::ABORTED, "why", "\xff no message")).reason, "");
}

TEST(OutcomeTest, AProblemOfTheLibraryIsTheSame) {
  const Problem problem(
      internal::Refusal(absl::StatusCode::kAborted, "STALE_GENERATION", "", "why"));
  EXPECT_EQ(problem.reason, "STALE_GENERATION");
  EXPECT_EQ(CodeName(problem.code), "ABORTED");
  EXPECT_EQ(ErrorLine(problem, "host:1"), "why (waitctl get NAME)");
}

TEST(OutcomeTest, AnErrorSaysWhatToDo) {
  const auto line = [](const grpc::Status& status) { return ErrorLine(status, "host:1"); };
  EXPECT_EQ(line(WithReason(StatusCode::NOT_FOUND, "NO_DESCRIPTOR")), "why (waitctl open NAME)");
  EXPECT_EQ(line(WithReason(StatusCode::ABORTED, "STALE_GENERATION")), "why (waitctl get NAME)");
  EXPECT_EQ(line(grpc::Status(StatusCode::UNAVAILABLE, "why")),
            "why; is waitd running at host:1? (--server, WAITCTL_SERVER)");
  EXPECT_EQ(line(WithReason(StatusCode::UNAVAILABLE, "DRAINING")), "why");
  EXPECT_EQ(line(WithReason(StatusCode::UNAUTHENTICATED, "NO_CREDENTIALS")),
            "why; see --token-file, and --cert-file with --key-file");
  EXPECT_EQ(line(WithReason(StatusCode::PERMISSION_DENIED, "FORBIDDEN")),
            "why; who may is for those to say who run the server");
}

TEST(OutcomeTest, AnErrorInJsonIsOneLineThatEveryParserTakes) {
  EXPECT_EQ(ErrorJson("NOT_FOUND", "NO_DESCRIPTOR", "say \"why\""),
            R"({"error":{"code":"NOT_FOUND","reason":"NO_DESCRIPTOR","message":"say \"why\""}})");
  EXPECT_EQ(ErrorJson("A", "", "\n\xff"),
            R"({"error":{"code":"A","reason":"","message":"\\n\\xff"}})");
  EXPECT_EQ(CodeName(absl::StatusCode::kUnavailable), "UNAVAILABLE");
}

}  // namespace
}  // namespace waitd::ctl
