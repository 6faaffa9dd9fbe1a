#include "client/waitctl/exec.h"

#include <stop_token>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/waitctl/streams.h"
#include "waitd/heartbeat.h"

namespace waitd::ctl {
namespace {

absl::StatusOr<Heartbeat> Begin(Caller& caller) {
  const Args& args = caller.args;
  const absl::Duration ttl = DurationOf(args.ttl, "--ttl");
  if (ttl <= absl::ZeroDuration()) throw Wrong{"--ttl is above zero; give one such as 10s"};
  // Nothing runs yet: a deadline that was armed may pass.
  const Interrupts::Abrupt abrupt(caller.interrupts);
  return Heartbeat::Start(caller.client(), args.name, ttl,
                          {.mode = ModeOf(args),
                           .open_if_missing = OpenIfMissing(args),
                           .generation = args.generation});
}

// The command, while the heart beats. That it was given up meanwhile is said at once, so that who
// looks on may end what nobody waits for any more.
ProgramEnd Run(Caller& caller, Heartbeat& heartbeat) {
  ProgramEnd end;
  {
    const std::stop_callback lost(heartbeat.lost(),
                                  [&] { (void)caller.Fail(Problem(heartbeat.status())); });
    end = RunProgram(caller.args.program, std::nullopt, caller.interrupts);
  }
  heartbeat.Stop();
  if (!end.ran) (void)caller.FailProgram(end);
  return end;
}

// It is known that those who wait were told otherwise, or have gone. Not so when no beat got
// through: the server knows whether the deadline has passed.
bool GivenUp(const Heartbeat& heartbeat) {
  return heartbeat.lost().stop_requested() &&
         heartbeat.status().code() != absl::StatusCode::kDeadlineExceeded;
}

// What a server says of a life that was before its own time.
bool MayBeForgotten(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound ||
         status.code() == absl::StatusCode::kAborted;
}

// Takes the deadline away and says how the command ended, unless the deadline has passed.
absl::Status Tell(Caller& caller, uint64_t generation, const ProgramEnd& end) {
  const Args& args = caller.args;
  Client& client = caller.client();
  Signal signal;
  if (end.code != kDone) {
    signal = Signal::Failed(end.code, absl::StrCat("'", args.program[0], "' ", end.how));
  }
  // One behind the other on one stream, so that no deadline can pass between them, and none is
  // revived: who was told that the command is dead is not told later how it ended.
  client
      .ClearDeadline(args.name, {.mode = ModeOf(args),
                                 .condition = DeadlineCondition::kOnlyLater,
                                 .open_if_missing = std::nullopt,
                                 .generation = generation})
      .Then([](const absl::StatusOr<DeadlineResult>&) {});
  const auto told = caller.Ask(client.Ready(args.name, std::move(signal),
                                            {.mode = ModeOf(args),
                                             .condition = ReadyCondition::kNotExpired,
                                             .open_if_missing = std::nullopt,
                                             .generation = generation}));
  if (!told.ok()) return told.status();
  if (told->effect != ReadyEffect::kRefused) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the deadline of ", args.name, " has passed before its command ended"));
}

}  // namespace

int Exec(Caller& caller) {
  const Args& args = caller.args;
  absl::StatusOr<Heartbeat> heartbeat = Begin(caller);
  if (!heartbeat.ok()) return caller.FailItself(heartbeat.status());
  const uint64_t first = heartbeat->generation();
  const ProgramEnd end = Run(caller, *heartbeat);
  if (GivenUp(*heartbeat)) return end.code != kDone ? end.code : kItself;
  absl::Status told = Tell(caller, heartbeat->generation(), end);
  if (MayBeForgotten(told) && heartbeat->Forgotten()) {
    // Those who wait wait anew on a server that knows nothing of before, and are to be told, too.
    heartbeat = Begin(caller);
    if (!heartbeat.ok()) return caller.FailItself(heartbeat.status());
    heartbeat->Stop();
    told = Tell(caller, heartbeat->generation(), end);
  }
  if (heartbeat->generation() != first && !args.json()) {
    Say(absl::StrCat("waitctl: the server was restarted and had forgotten ", args.name,
                     ", which was begun anew"));
  }
  if (told.ok()) return end.code;
  const int code = caller.FailItself(told);
  return end.code != kDone ? end.code : code;
}

}  // namespace waitd::ctl
