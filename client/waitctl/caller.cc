#include "client/waitctl/caller.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

constexpr absl::Duration kCallTimeMax = absl::Seconds(10);

}  // namespace

Caller::Caller(const Args& from, Interrupts& by)
    : args(from),
      interrupts(by),
      channel(Connect(from.server)),
      stub(v1::WaitService::NewStub(channel)) {}

int Caller::Fail(const grpc::Status& status) {
  if (const int code = interrupts.code(); code != 0) return code;
  const std::string line = ErrorLine(status, args.server);
  Say(args.json() ? ErrorJson(CodeName(status), ReasonOf(status), line)
                  : absl::StrCat("waitctl: ", line));
  return ExitCodeOf(status);
}

int Caller::Print(const google::protobuf::Message& response, std::string_view text,
                  int code) const {
  if (args.json()) return ctl::Print(args, Json(response, args.output == "jsonl"), code);
  if (args.output == "name") return ctl::Print(args, args.name + "\n", code);
  return ctl::Print(args, text, code);
}

void Caller::SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeMax));
}

absl::Duration DurationOf(const std::string& text, const char* flag) {
  const auto duration = ParseDuration(text);
  if (!duration.has_value()) {
    throw Wrong{absl::StrCat("'", text, "' is no duration for ", flag,
                             "; give one such as 250ms, 10s or 1h30m")};
  }
  return *duration;
}

v1::Kind KindOf(const Args& args) {
  if (args.kind == "exclusive") return v1::KIND_EXCLUSIVE;
  if (args.kind == "fifo") return v1::KIND_FIFO;
  if (args.kind == "latch") return v1::KIND_LATCH;
  return v1::KIND_UNSPECIFIED;
}

v1::Mode ModeOf(const Args& args) {
  if (args.mode == "write") return v1::MODE_WRITE;
  if (args.mode == "both") return v1::MODE_READ_WRITE;
  return v1::MODE_READ;
}

}  // namespace waitd::ctl
