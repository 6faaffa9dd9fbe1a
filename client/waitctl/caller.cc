#include "client/waitctl/caller.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/waitctl/output.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

constexpr absl::Duration kCallTimeMax = absl::Seconds(10);

// What is wrong with a file of the credentials is wrong with how waitctl was called.
void Demand(const absl::Status& status) {
  if (!status.ok()) throw Wrong{std::string(status.message())};
}

std::shared_ptr<grpc::Channel> Connect(internal::Dialer& by) {
  auto channel = by.Dial();
  Demand(channel.status());
  return *std::move(channel);
}

}  // namespace

Caller::Caller(const Args& from, Interrupts& by)
    : args(from),
      interrupts(by),
      dialer(from.server, from.credentials),
      channel(Connect(dialer)),
      stub(v1::WaitService::NewStub(channel)) {}

int Caller::Fail(const Problem& problem) {
  if (const int code = interrupts.code(); code != 0) return code;
  const std::string line = ErrorLine(problem, args.server);
  Say(args.json() ? ErrorJson(CodeName(problem.code), problem.reason, line)
                  : absl::StrCat("waitctl: ", line));
  return ExitCodeOf(problem);
}

int Caller::FailItself(const Problem& problem) {
  const int code = Fail(problem);
  return code >= kSignalled ? code : kItself;
}

int Caller::FailProgram(const ProgramEnd& end) const {
  const std::string line = absl::StrCat("'", args.program[0], "' ", end.how);
  Say(args.json() ? ErrorJson("UNKNOWN", "COMMAND", line) : absl::StrCat("waitctl: ", line));
  return end.code;
}

int Caller::Print(const google::protobuf::Message& response, std::string_view text,
                  int code) const {
  if (args.json()) return ctl::Print(args, Json(response, args.output == "jsonl"), code);
  if (args.output == "name") return ctl::Print(args, args.name + "\n", code);
  return ctl::Print(args, text, code);
}

Client& Caller::client() {
  if (!client_.has_value()) {
    // What does not wait does not wait for the server either, but ends and says so.
    client_.emplace(args.server,
                    ClientOptions{.name = {},
                                  .call_timeout = kCallTimeMax,
                                  .wait_for_ready = false,
                                  .credentials = args.credentials,
                                  .on_state = [this](const absl::Status& state) { Hear(state); }});
  }
  return *client_;
}

void Caller::Hear(const absl::Status& state) {
  const std::lock_guard lock(mutex_);
  trouble_ = state;
  if (!state.ok() && hear_) hear_(state);
  changed_.notify_all();
}

void Caller::Interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

bool Caller::AwaitUntil(std::unique_lock<std::mutex>& lock, absl::Time end,
                        const std::function<bool()>& happened) {
  if (end == absl::InfiniteFuture()) {
    changed_.wait(lock, happened);
    return true;
  }
  return changed_.wait_until(lock, absl::ToChronoTime(end), happened);
}

Caller::Listening::Listening(Caller& caller, std::function<void(const absl::Status&)> hear)
    : caller_(caller) {
  const std::lock_guard lock(caller_.mutex_);
  caller_.hear_ = std::move(hear);
}

Caller::Listening::~Listening() {
  const std::lock_guard lock(caller_.mutex_);
  caller_.hear_ = nullptr;
}

void Caller::Authorize(grpc::ClientContext& context) const { Demand(dialer.Authorize(context)); }

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

Kind KindOf(const Args& args) {
  if (args.kind == "exclusive") return Kind::kExclusive;
  if (args.kind == "fifo") return Kind::kFifo;
  if (args.kind == "latch") return Kind::kLatch;
  return Kind::kAny;
}

Mode ModeOf(const Args& args) {
  if (args.mode == "write") return Mode::kWrite;
  if (args.mode == "both") return Mode::kReadWrite;
  return Mode::kRead;
}

std::optional<OpenOptions> OpenIfMissing(const Args& args) {
  if (args.must_exist) return std::nullopt;
  return OpenOptions{.kind = KindOf(args)};
}

}  // namespace waitd::ctl
