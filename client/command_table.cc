#include "client/command_table.h"

#include <array>

namespace waitd::ctl {
namespace {

using Value = FlagSpec::Value;

constexpr std::array<FlagSpec, kFlagCount> kFlags = {{
    {Flag::kServer, "server", 0, Value::kNeeded, false, "ADDRESS",
     "where waitd listens: HOST:PORT, or unix:PATH; else WAITCTL_SERVER, else 127.0.0.1:7411"},
    {Flag::kOutput, "output", 'o', Value::kNeeded, false, "text|json|jsonl|name",
     "how to print the answer"},
    {Flag::kTimeout, "timeout", 0, Value::kNeeded, false, "DURATION",
     "wait, poll: how long to wait at most, and 0 only tries; else how long the call may take (10s)"},
    {Flag::kKind, "kind", 0, Value::kNeeded, false, "exclusive|fifo|latch",
     "the kind to open a name with; one that is open with another kind is refused"},
    {Flag::kMode, "mode", 0, Value::kNeeded, false, "read|write|both",
     "the side of the descriptor (read); wait and poll take one side"},
    {Flag::kGeneration, "generation", 0, Value::kNeeded, false, "N",
     "act only on this life of the name"},
    {Flag::kMustExist, "must-exist", 0, Value::kNone, false, "",
     "do not open the name when it is missing"},
    {Flag::kMustCreate, "must-create", 0, Value::kNone, false, "",
     "refuse a name that is open already"},
    {Flag::kLabel, "label", 0, Value::kNeeded, true, "KEY=VALUE",
     "open: a label to set; else show only what has it; may be repeated"},
    {Flag::kIdleTtl, "idle-ttl", 0, Value::kNeeded, false, "DURATION",
     "close the descriptor after this long without a call, a wait, a READY and a deadline"},
    {Flag::kIgnoreDeadline, "ignore-deadline", 0, Value::kNone, false, "",
     "wait past the descriptor's deadline, for READY or close alone"},
    {Flag::kNeed, "need", 0, Value::kNeeded, false, "K",
     "how many of the names must be READY (1)"},
    {Flag::kAll, "all", 0, Value::kNone, false, "", "all of the names must be READY"},
    {Flag::kData, "data", 0, Value::kNeeded, false, "TEXT", "the data that the wait gets"},
    {Flag::kFile, "file", 0, Value::kNeeded, false, "FILE",
     "read the data from a file; - is standard input"},
    {Flag::kFail, "fail", 0, Value::kOptional, false, "CODE",
     "say that it ended badly, with a code (1)"},
    {Flag::kMessage, "message", 'm', Value::kNeeded, false, "TEXT",
     "with --fail: what went wrong, for people"},
    {Flag::kIf, "if", 0, Value::kNeeded, false, "waiting|not-expired",
     "signal only if somebody waits, or only before the deadline"},
    {Flag::kOnlyLater, "only-later", 0, Value::kNone, false, "",
     "never make the deadline earlier"},
    {Flag::kOnlyEarlier, "only-earlier", 0, Value::kNone, false, "",
     "never make the deadline later"},
    {Flag::kArmOrExtend, "arm-or-extend", 0, Value::kNone, false, "",
     "a heartbeat: set a deadline or extend it; never shorten it, never revive an expired one"},
    {Flag::kWaiting, "waiting", 0, Value::kNone, false, "", "show only where somebody waits"},
    {Flag::kHelp, "help", 'h', Value::kNone, false, "", "show this help"},
}};

constexpr bool FlagsAreInOrder() {
  for (size_t i = 0; i < kFlags.size(); ++i) {
    if (static_cast<size_t>(kFlags[i].flag) != i) return false;
  }
  return true;
}
static_assert(FlagsAreInOrder(), "SpecOf looks a flag up by its number");

constexpr std::array kFirst = {
    Example{"waitctl wait build/42 --timeout 10m", "wait until somebody signals build/42"},
    Example{"waitctl ready build/42 --data \"$(git rev-parse HEAD)\"", "signal it, with data"},
    Example{"waitctl deadline worker/7 30s --arm-or-extend", "a heartbeat"},
    Example{"waitctl ls build/", "what is open below build/"},
};
constexpr std::array kOpen = {
    Example{"waitctl open rollout --kind latch", "a gate: one ready releases all"},
    Example{"waitctl open job/1 --label team=web --idle-ttl 1h", "closes by itself when unused"},
};
constexpr std::array kClose = {
    Example{"waitctl close build/42", "whoever waits is told CLOSED"},
};
constexpr std::array kReset = {
    Example{"waitctl reset rollout", "shut the latch again"},
};
constexpr std::array kWait = {
    Example{"waitctl wait build/42 --timeout 10m && ./deploy", "go on once it is READY"},
    Example{"body=$(waitctl wait hook/1)", "take the signal's data"},
    Example{"waitctl wait build/42 --timeout 0", "only look whether it is READY"},
};
constexpr std::array kReady = {
    Example{"waitctl ready hook/1 --data '{\"ok\":true}'", "signal with data"},
    Example{"make 2>&1 | waitctl ready build/42 --file -", "the data from standard input"},
    Example{"waitctl ready build/42 --fail=2 -m \"tests failed\"", "it ended badly"},
};
constexpr std::array kDeadline = {
    Example{"waitctl deadline worker/7 30s --arm-or-extend", "a heartbeat"},
    Example{"waitctl deadline approval/9 2027-01-31T17:00:00+01:00", "until then, and no longer"},
    Example{"waitctl deadline build/42 now", "time out whoever waits"},
    Example{"waitctl deadline build/42 clear", "no deadline"},
};
constexpr std::array kGet = {
    Example{"waitctl get build/42", "its state, its deadlines, and who waits"},
    Example{"waitctl get build/42 -o json | jq .generation", "for scripts"},
};
constexpr std::array kLs = {
    Example{"waitctl ls build/", "the names that begin so"},
    Example{"waitctl ls --label team=web --waiting -o name", "where somebody of a team waits"},
};
constexpr std::array kPoll = {
    Example{"waitctl poll a b c", "the first that is READY"},
    Example{"waitctl poll a b c --need 2 --timeout 1h", "two of three"},
    Example{"waitctl poll a b c --all", "each of them, taken in one step"},
};
constexpr std::array kWatch = {
    Example{"waitctl watch build/", "the list, live"},
    Example{"waitctl watch get build/42", "one descriptor, live"},
    Example{"waitctl watch -o jsonl | jq .name", "a line for each change"},
};
constexpr std::array kHealth = {
    Example{"waitctl health", "the server as a whole"},
    Example{"waitctl health waitd-liveness", "one of its services"},
};
constexpr std::array kVersion = {
    Example{"waitctl version", "the version of waitctl"},
};
constexpr std::array kCompletion = {
    Example{"source <(waitctl completion bash)", "for this shell"},
    Example{"waitctl completion fish > ~/.config/fish/completions/waitctl.fish", "for good"},
};

constexpr std::array kCommands = {
    CommandSpec{Command::kOpen, "open", "NAME", 1, 1, "open a descriptor",
                "Opens NAME, or finds it open. The others open a missing name by themselves; open "
                "is for a kind, labels, or a time to live.",
                kOpen,
                {Flag::kKind, Flag::kLabel, Flag::kIdleTtl, Flag::kMustCreate, Flag::kServer,
                 Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kClose, "close", "NAME", 1, 1, "close a descriptor",
                "Ends NAME. Whoever waits on it is told CLOSED, a READY that nobody took is gone, "
                "and the name is free.",
                kClose,
                {Flag::kGeneration, Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kReset, "reset", "NAME", 1, 1, "forget a READY",
                "Forgets the READY that NAME remembers, and so shuts a latch. A side whose deadline "
                "has passed is left as it is.",
                kReset,
                {Flag::kMode, Flag::kGeneration, Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kWait, "wait", "NAME", 1, 1, "wait until a name is READY",
                "Waits until somebody signals NAME, and prints the signal's data, as it came and "
                "nothing else. On a terminal it counts on standard error.\n"
                "A wait that loses the server waits again by itself, and --timeout still counts "
                "from the first attempt. If the connection broke after the server had written its "
                "answer, the READY in it is lost.",
                kWait,
                {Flag::kTimeout, Flag::kMode, Flag::kKind, Flag::kGeneration, Flag::kMustExist,
                 Flag::kIgnoreDeadline, Flag::kServer, Flag::kOutput}},
    CommandSpec{Command::kReady, "ready", "NAME", 1, 1, "signal a name",
                "Wakes who waits on NAME. If nobody does, the next wait finds the READY; one is "
                "remembered, and a newer one takes its place.",
                kReady,
                {Flag::kData, Flag::kFile, Flag::kFail, Flag::kMessage, Flag::kIf, Flag::kMode,
                 Flag::kKind, Flag::kGeneration, Flag::kMustExist, Flag::kServer, Flag::kOutput,
                 Flag::kTimeout}},
    CommandSpec{Command::kDeadline, "deadline", "NAME WHEN", 2, 2, "set a deadline",
                "Sets the deadline of NAME, also for those who wait already. WHEN is a duration "
                "from now, an instant as in RFC 3339, clear for none, or now. Once it has passed, "
                "each wait is TIMED_OUT until the deadline is set again.",
                kDeadline,
                {Flag::kArmOrExtend, Flag::kOnlyLater, Flag::kOnlyEarlier, Flag::kMode,
                 Flag::kKind, Flag::kGeneration, Flag::kMustExist, Flag::kServer, Flag::kOutput,
                 Flag::kTimeout}},
    CommandSpec{Command::kGet, "get", "NAME", 1, 1, "show a descriptor",
                "Shows NAME: its kind and labels, and of each side its state, its deadline, and who "
                "waits.",
                kGet,
                {Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kLs, "ls", "[PREFIX]", 0, 1, "list descriptors",
                "Lists the descriptors whose names begin with PREFIX, by name.",
                kLs,
                {Flag::kLabel, Flag::kWaiting, Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kPoll, "poll", "NAME...", 1, 1000, "wait for one or more of many names",
                "Waits until one of the names is READY, or as many as --need says, and takes those "
                "in one step; until then it holds nothing. Prints a line for each name that ended "
                "it: the name, its outcome and its data, with tabs between them and control "
                "characters escaped.",
                kPoll,
                {Flag::kNeed, Flag::kAll, Flag::kTimeout, Flag::kMode, Flag::kKind,
                 Flag::kMustExist, Flag::kServer, Flag::kOutput}},
    CommandSpec{Command::kWatch, "watch", "[ls] [PREFIX] | get NAME", 0, 2,
                "show descriptors as they change",
                "On a terminal shows what ls or get shows, and again each second. Elsewhere, and "
                "with -o jsonl, writes a line of JSON for each descriptor at first and whenever it "
                "is another, and one with closed true when it is gone.",
                kWatch,
                {Flag::kLabel, Flag::kWaiting, Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kHealth, "health", "[SERVICE]", 0, 1, "ask whether the server serves",
                "Asks the standard health service, and ends with 0 if the answer is SERVING, else "
                "with 5.",
                kHealth,
                {Flag::kServer, Flag::kOutput, Flag::kTimeout}},
    CommandSpec{Command::kVersion, "version", "", 0, 0, "print the version",
                "Prints the version of waitctl.", kVersion, {Flag::kOutput}},
    CommandSpec{Command::kCompletion, "completion", "bash|zsh|fish", 1, 1,
                "print a completion script", "Prints a script that completes commands and flags.",
                kCompletion, {}},
};

}  // namespace

std::span<const FlagSpec> Flags() { return kFlags; }
std::span<const CommandSpec> Commands() { return kCommands; }
std::span<const Example> FirstExamples() { return kFirst; }

const FlagSpec& SpecOf(Flag flag) { return kFlags[static_cast<size_t>(flag)]; }

const CommandSpec* FindCommand(std::string_view name) {
  for (const CommandSpec& spec : kCommands) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

}  // namespace waitd::ctl
