#include "client/waitctl/exec.h"

#include <optional>
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

// The command, while the heart beats. Nothing: it was given up meanwhile, which is said.
std::optional<uint64_t> Run(Caller& caller, const Heartbeat& heartbeat, ProgramEnd* end) {
  const Args& args = caller.args;
  {
    // At once, so that who looks on may end what nobody waits for any more.
    const std::stop_callback lost(heartbeat.lost(),
                                  [&] { (void)caller.Fail(Problem(heartbeat.status())); });
    *end = RunProgram(args.program, std::nullopt, caller.interrupts);
  }
  if (!end->ran) (void)caller.FailProgram(*end);
  if (heartbeat.lost().stop_requested()) return std::nullopt;
  return heartbeat.generation();
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
  absl::StatusOr<Heartbeat> heartbeat = Begin(caller);
  if (!heartbeat.ok()) return caller.FailItself(heartbeat.status());
  ProgramEnd end;
  const std::optional<uint64_t> generation = Run(caller, *heartbeat, &end);
  heartbeat = absl::CancelledError("done");
  if (!generation.has_value()) return end.code != kDone ? end.code : kItself;
  const absl::Status told = Tell(caller, *generation, end);
  if (told.ok()) return end.code;
  const int code = caller.FailItself(told);
  return end.code != kDone ? end.code : code;
}

}  // namespace waitd::ctl
