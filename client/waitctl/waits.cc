#include "client/waitctl/waits.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/engine/status.h"
#include "client/waitctl/answers.h"
#include "client/waitctl/countdown.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/program.h"
#include "client/waitctl/streams.h"

namespace waitd::ctl {
namespace {

// One wait as people see it: for how long it goes on, and that there is no server.
class Parking {
 public:
  Parking(Caller& caller, const std::string& what)
      : caller_(caller),
        timeout_(caller.args.timeout.has_value() ? DurationOf(*caller.args.timeout, "--timeout")
                                                 : absl::InfiniteDuration()),
        end_(absl::Now() + timeout_),
        countdown_(what, end_),
        listening_(caller, [this](const absl::Status& trouble) { Tell(trouble); }) {}

  absl::Duration timeout() const { return timeout_; }
  std::stop_token stop() const { return stop_.get_token(); }

  template <class T>
  absl::StatusOr<T> Park(waitd::Call<T> call) {
    return caller_.Park(std::move(call), stop_, end_);
  }

 private:
  // Once; at the end there is an error to say instead.
  void Tell(const absl::Status& trouble) {
    if (internal::IsFinal(trouble.code())) return;
    if (caller_.args.json() || absl::Now() >= end_ || std::exchange(told_, true)) return;
    countdown_.Interject(absl::StrCat("waitctl: ", ErrorLine(trouble, caller_.args.server),
                                      "; trying again",
                                      end_ == absl::InfiniteFuture() ? "" : " until --timeout"));
  }

  Caller& caller_;
  const absl::Duration timeout_;
  const absl::Time end_;
  std::stop_source stop_;
  bool told_ = false;  // by the client's thread alone
  Countdown countdown_;
  const Caller::Listening listening_;
};

// In JSON the answer says all of this.
int SayEnd(const Args& args, const std::string& what, Outcome outcome, TimeoutCause cause) {
  const bool closed = outcome == Outcome::kClosed;
  if (!args.json()) {
    Say(absl::StrCat("waitctl: ", what,
                     closed                             ? " was closed"
                     : cause == TimeoutCause::kDeadline ? " timed out: its deadline has passed"
                                                        : " timed out: --timeout has passed"));
  }
  return closed ? kClosed : kTimedOut;
}

int SayFailure(const Args& args, const std::string& name, const Signal& signal) {
  if (!signal.failure.has_value()) return kDone;
  if (!args.json()) {
    Say(absl::StrCat("waitctl: ", name, " failed with code ", signal.failure->code,
                     signal.failure->message.empty() ? "" : ": ", signal.failure->message));
  }
  return kFailure;
}

std::optional<absl::Duration> AckTimeout(const Args& args) {
  if (!args.ack_timeout.has_value()) return std::nullopt;
  return DurationOf(*args.ack_timeout, "--ack-timeout");
}

absl::StatusOr<WaitResult> ParkWait(Caller& caller) {
  const Args& args = caller.args;
  Parking parking(caller, args.name);
  const WaitOptions options = {.timeout = parking.timeout(),
                               .mode = ModeOf(args),
                               .ignore_deadline = args.ignore_deadline,
                               .open_if_missing = OpenIfMissing(args),
                               .ack_timeout = AckTimeout(args),
                               .generation = args.generation,
                               .wait_id = args.wait_id};
  return parking.Park(caller.client().Wait(args.name, options, parking.stop()));
}

absl::StatusOr<PollResult> ParkPoll(Caller& caller) {
  const Args& args = caller.args;
  std::vector<PollTarget> targets;
  for (const std::string& name : args.names)
    targets.push_back({.name = name, .mode = ModeOf(args)});
  Parking parking(caller, "the poll");
  PollOptions options = {.timeout = parking.timeout(),
                         .open_if_missing = OpenIfMissing(args),
                         .wait_id = args.wait_id};
  if (args.all) options.need = static_cast<uint32_t>(args.names.size());
  if (args.need > 0) options.need = args.need;
  return parking.Park(caller.client().Poll(targets, options, parking.stop()));
}

// Prints what was handed over. Who has to acknowledge it is told how.
int HandOver(Caller& caller, const WaitResult& result, int code) {
  const Args& args = caller.args;
  const v1::WaitResponse response = ToProto(result);
  // The data, byte by byte, and nothing else.
  if (!args.ack_timeout.has_value()) return caller.Print(response, result.signal.data, code);
  if (args.json()) {
    return Print(args, JsonWith("waitId", result.wait_id, response, args.output == "jsonl"), code);
  }
  Say(absl::StrCat("waitctl: within ", *args.ack_timeout, ": waitctl ack ", args.name,
                   args.mode == "read" ? "" : " --mode " + args.mode, " --wait-id ", result.wait_id,
                   " --delivery ", result.delivery, " --generation ", result.generation));
  return caller.Print(response, result.signal.data, code);
}

// Nothing of ours, or what went wrong, which is said.
int Acknowledge(Caller& caller, const WaitResult& result) {
  if (!caller.args.ack_timeout.has_value()) return kDone;
  const auto acknowledged = caller.Ask(caller.client().Ack(result));
  return acknowledged.ok() ? kDone : caller.FailItself(acknowledged.status());
}

int HandToProgram(Caller& caller, const WaitResult& result) {
  const Args& args = caller.args;
  if (const int code = caller.interrupts.code(); code != 0) return code;
  const ProgramEnd end = RunProgram(args.program, result.signal.data, caller.interrupts);
  if (!end.ran || (end.code != kDone && args.ack_timeout.has_value())) caller.FailProgram(end);
  return end.code != kDone ? end.code : Acknowledge(caller, result);
}

}  // namespace

int Wait(Caller& caller) {
  const Args& args = caller.args;
  // A READY is not to be spent on a word that was typed wrong.
  if (!args.program.empty()) {
    if (const auto missing = MissingProgram(args.program[0])) return caller.FailProgram(*missing);
  }
  const absl::StatusOr<WaitResult> result = ParkWait(caller);
  if (!result.ok()) return caller.Fail(result.status());
  const bool ready = result->outcome == Outcome::kReady;
  const int code = ready ? SayFailure(args, args.name, result->signal)
                         : SayEnd(args, args.name, result->outcome, result->timeout_cause);
  if (ready && args.program.empty()) return HandOver(caller, *result, code);
  if (ready && code == kDone) return HandToProgram(caller, *result);
  // Of a failure the exit code is all that there is to hand over: if it came back, it would do so
  // for ever, as no command is run that could end with 0.
  if (ready) (void)Acknowledge(caller, *result);
  return args.json() ? caller.Print(ToProto(*result), "", code) : code;
}

int Poll(Caller& caller) {
  const Args& args = caller.args;
  const absl::StatusOr<PollResult> result = ParkPoll(caller);
  if (!result.ok()) return caller.Fail(result.status());
  const bool ready = result->outcome == Outcome::kReady;
  int code = kDone;
  std::vector<std::string> names;
  for (const PollResult::Target& each : result->targets) {
    if (each.index >= args.names.size()) continue;
    names.push_back(args.names[each.index]);
    if (!ready) continue;
    if (SayFailure(args, names.back(), each.result.signal) != kDone) code = kFailure;
  }
  if (!ready) {
    const std::string which = names.empty() ? "" : absl::StrCat(" of ", absl::StrJoin(names, ", "));
    code = SayEnd(args, "the poll" + which, result->outcome, result->timeout_cause);
  }
  if (args.json()) return caller.Print(ToProto(*result), "", code);
  std::string lines;
  if (ready) {
    for (const std::string& name : names) absl::StrAppend(&lines, name, "\n");
  }
  return Print(args, lines, code);
}

}  // namespace waitd::ctl
