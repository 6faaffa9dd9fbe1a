#include "client/hints.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/text.h"
#include "client/time_text.h"

namespace waitd::ctl {
namespace {

struct Row {
  std::string_view reason;
  std::string_view hint;  // %n: the name, as a word of the shell
};

constexpr std::array kByReason = {
    Row{"BAD_NAME", "a name is 1 to 512 bytes of UTF-8 without control characters"},
    Row{"BAD_MODE", "choose one side with --mode read or --mode write"},
    Row{"BAD_TIME", "give a time that is still to come, as in 30s"},
    Row{"BAD_KIND", "choose --kind exclusive, fifo or latch"},
    Row{"BAD_LABELS", "at most 16 labels, with keys of at most 63 bytes and values of 256"},
    Row{"BAD_POLL", "name each target once, and do not need more than there are"},
    Row{"BAD_PAGE_TOKEN", "list again from the start"},
    Row{"PAYLOAD_TOO_LARGE",
        "send a reference to the data instead, or raise the server's --max-payload-bytes"},
    Row{"NO_DESCRIPTOR", "open it first: waitctl open %n"},
    Row{"EXISTS", "leave out --must-create to use it as it is"},
    Row{"KIND_MISMATCH", "leave out --kind to use it as it is; waitctl get %n shows its kind"},
    Row{"DOUBLE_WAIT", "waitctl get %n shows who waits; many can on a name opened with --kind fifo "
                       "or latch"},
    Row{"STALE_GENERATION", "waitctl get %n shows the life that is open now"},
    Row{"LIMIT_DESCRIPTORS", "close what is not used, or raise the server's --max-descriptors"},
    Row{"LIMIT_WAITERS", "try again later, or raise the server's --max-waiters"},
    Row{"DRAINING", "the server is stopping; try again in a moment, or ask another one"},
};

constexpr std::string_view kIsItRunning =
    "is waitd running? start it, or say where it is with --server or WAITCTL_SERVER";

std::string_view ByCode(grpc::StatusCode code) {
  switch (code) {
    case grpc::UNAVAILABLE:
      return kIsItRunning;
    case grpc::DEADLINE_EXCEEDED:
      return "the server did not answer in time; ask waitctl health, or give it longer with "
             "--timeout";
    case grpc::UNIMPLEMENTED:
      return "the server does not know this call; is it a waitd of this version?";
    case grpc::NOT_FOUND:
      return "waitctl ls shows what is open";
    case grpc::RESOURCE_EXHAUSTED:
      return "try again later";
    case grpc::UNAUTHENTICATED:
    case grpc::PERMISSION_DENIED:
      return "ask whoever runs the server for access";
    case grpc::INVALID_ARGUMENT:
      return "see man waitctl";
    default:
      return "the server's log may say more";
  }
}

}  // namespace

std::string NextStep(const CallError& error, Command command, std::string_view name) {
  std::string_view hint = ByCode(error.code);
  for (const Row& row : kByReason) {
    if (row.reason == error.reason) hint = row.hint;
  }
  if (error.reason == "NO_DESCRIPTOR") {
    // These open a missing name unless they were told not to.
    if (command == Command::kWait || command == Command::kReady || command == Command::kDeadline ||
        command == Command::kPoll) {
      hint = "leave out --must-exist or --generation, or open it first: waitctl open %n";
    } else if (command == Command::kClose) {
      hint = "there is nothing to close; waitctl ls shows what is open";
    }
  }
  std::string text = absl::StrReplaceAll(View(hint), {{"%n", ShellWord(name)}});
  if (error.retry_delay) {
    absl::StrAppend(&text, " (the server suggests in ", ShortDuration(*error.retry_delay), ")");
  }
  return text;
}

}  // namespace waitd::ctl
