#include "client/waitctl/commands.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/waitctl/connection.h"
#include "client/waitctl/countdown.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/text.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::ctl {
namespace {

using Stub = v1::WaitService::Stub;

constexpr absl::Duration kCallTimeMax = absl::Seconds(10);  // of calls that do not wait
constexpr absl::Duration kGrace = absl::Seconds(5);  // after a wait's own limit, for the answer

// Wrong use that only shows when a command is carried out: said in one line, with exit code 2.
struct Wrong {
  std::string what;
};

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

template <class Labels>
void SetLabels(const Args& args, Labels* labels) {
  for (const std::string& text : args.labels) {
    std::string key;
    std::string value;
    if (!ParseLabel(text, &key, &value)) {
      throw Wrong{absl::StrCat("'", text, "' is no label; give KEY=VALUE")};
    }
    (*labels)[key] = value;
  }
}

// What a command works with, and how it says what came of it.
class Caller {
 public:
  explicit Caller(const Args& from)
      : args(from), channel(Connect(from.server)), stub(v1::WaitService::NewStub(channel)) {}

  // Says what went wrong, and returns its exit code.
  int Fail(const grpc::Status& status) {
    if (const int code = interrupts.code(); code != 0) return code;
    const bool json = args.output == "json" || args.output == "jsonl";
    if (json) {
      std::fprintf(stderr, "%s\n", ErrorJson(status, args.server).c_str());
    } else {
      std::fprintf(stderr, "waitctl: %s\n", ErrorLine(status, args.server).c_str());
    }
    return ExitCodeOf(status);
  }

  // Prints the answer in the format that was asked for.
  template <class Response>
  void Print(const Response& response, const std::string& text) const {
    if (args.output == "json" || args.output == "jsonl") {
      std::fputs(Json(response, args.output == "jsonl").c_str(), stdout);
    } else if (args.output == "name") {
      std::printf("%s\n", args.name.c_str());
    } else {
      std::fwrite(text.data(), 1, text.size(), stdout);
    }
  }

  // One call that does not wait. False: it failed, and `code` says how.
  template <class Request, class Response>
  bool Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response* response, int* code) {
    Interrupts::Call call(interrupts);
    call.context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeMax));
    const grpc::Status status = (stub.get()->*method)(&call.context, request, response);
    if (status.ok()) return true;
    *code = Fail(status);
    return false;
  }

  const Args& args;
  Interrupts interrupts;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<Stub> stub;
};

int Open(Caller& s) {
  v1::OpenPollDescriptorRequest request;
  request.set_name(s.args.name);
  request.set_must_create(s.args.must_create);
  request.mutable_options()->set_kind(KindOf(s.args));
  SetLabels(s.args, request.mutable_options()->mutable_labels());
  if (!s.args.idle_ttl.empty()) {
    *request.mutable_options()->mutable_idle_ttl() =
        ToProto(DurationOf(s.args.idle_ttl, "--idle-ttl"));
  }
  v1::OpenPollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::OpenPollDescriptor, request, &response, &code)) return code;
  const auto& open = response.poll_descriptor();
  s.Print(response,
          absl::StrCat(open.name(), " ", Show(open.kind()), " generation ", open.generation(),
                       response.created() ? " opened" : " was open", "\n"));
  return kDone;
}

int Close(Caller& s) {
  v1::ClosePollDescriptorRequest request;
  request.set_name(s.args.name);
  request.set_generation(s.args.generation);
  v1::ClosePollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::ClosePollDescriptor, request, &response, &code)) return code;
  s.Print(response, absl::StrCat(s.args.name, " closed, ", response.woken(), " waits ended\n"));
  return kDone;
}

int Reset(Caller& s) {
  v1::ResetRequest request;
  request.set_name(s.args.name);
  request.set_mode(ModeOf(s.args));
  request.set_generation(s.args.generation);
  v1::ResetResponse response;
  int code = kDone;
  if (!s.Call(&Stub::Reset, request, &response, &code)) return code;
  s.Print(response,
          absl::StrCat(s.args.name, response.forgot() ? " forgot a ready" : " had no ready",
                       response.reset() ? "" : "; a side has expired and was left", "\n"));
  return response.reset() ? kDone : kRefused;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream bytes;
  if (path == "-") {
    bytes << std::ifstream("/dev/stdin", std::ios::binary).rdbuf();
    return bytes.str();
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Wrong{absl::StrCat("cannot read ", path)};
  bytes << file.rdbuf();
  return bytes.str();
}

int Ready(Caller& s) {
  const Args& args = s.args;
  v1::ReadyRequest request;
  request.set_name(args.name);
  request.set_mode(ModeOf(args));
  request.set_generation(args.generation);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  if (args.only_if == "waiting") request.set_condition(v1::READY_CONDITION_WAITING);
  if (args.only_if == "not-expired") request.set_condition(v1::READY_CONDITION_NOT_EXPIRED);
  v1::Signal& signal = *request.mutable_signal();
  if (args.data.has_value()) signal.set_data(*args.data);
  if (!args.file.empty()) signal.set_data(ReadFile(args.file));
  signal.set_content_type(args.content_type);
  if (args.fails) {
    signal.mutable_failure()->set_code(args.fail_code);
    signal.mutable_failure()->set_message(args.message);
  } else if (!args.message.empty()) {
    throw Wrong{"-m says what went wrong; give --fail too"};
  }
  v1::ReadyResponse response;
  int code = kDone;
  if (!s.Call(&Stub::Ready, request, &response, &code)) return code;
  std::string text = absl::StrCat(args.name, " ", Show(response.effect()));
  if (response.woken() > 0) absl::StrAppend(&text, " ", response.woken());
  if (response.expired()) absl::StrAppend(&text, "; the deadline has passed, so waits time out");
  s.Print(response, text + "\n");
  return response.effect() == v1::READY_EFFECT_REFUSED ? kRefused : kDone;
}

int SetDeadline(Caller& s) {
  const Args& args = s.args;
  v1::SetDeadlineRequest request;
  request.set_name(args.name);
  request.set_mode(ModeOf(args));
  request.set_generation(args.generation);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  if (!ParseWhen(args.when, &request)) {
    throw Wrong{absl::StrCat("'", args.when,
                             "' is no time; give a duration such as 10s, a time "
                             "such as 2026-01-02T15:04:05Z, now, or clear")};
  }
  if (args.only_later) request.set_condition(v1::DEADLINE_CONDITION_ONLY_LATER);
  if (args.only_earlier) request.set_condition(v1::DEADLINE_CONDITION_ONLY_EARLIER);
  if (args.arm_or_extend) request.set_condition(v1::DEADLINE_CONDITION_ARM_OR_EXTEND);
  v1::SetDeadlineResponse response;
  int code = kDone;
  if (!s.Call(&Stub::SetDeadline, request, &response, &code)) return code;
  std::string text;
  const auto add = [&](const char* side, v1::DeadlineEffect effect, const v1::Deadline& deadline) {
    if (effect == v1::DEADLINE_EFFECT_UNSPECIFIED) return;
    absl::StrAppend(&text, args.name, " ", side, " ", Show(effect), ": ", Describe(deadline), "\n");
  };
  add("read", response.read_effect(), response.read());
  add("write", response.write_effect(), response.write());
  s.Print(response, text);
  return response.applied() ? kDone : kRefused;
}

int Get(Caller& s) {
  v1::GetPollDescriptorRequest request;
  request.set_name(s.args.name);
  v1::GetPollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::GetPollDescriptor, request, &response, &code)) return code;
  s.Print(response.poll_descriptor(), Describe(response.poll_descriptor()));
  return kDone;
}

// Every page. False: a call failed.
bool ListAll(Caller& s, v1::ListPollDescriptorsResponse* all, int* code) {
  v1::ListPollDescriptorsRequest request;
  request.set_prefix(s.args.name);
  request.set_page_size(1000);
  request.set_waiting_only(s.args.waiting);
  SetLabels(s.args, request.mutable_labels());
  do {
    v1::ListPollDescriptorsResponse page;
    if (!s.Call(&Stub::ListPollDescriptors, request, &page, code)) return false;
    all->mutable_poll_descriptors()->MergeFrom(page.poll_descriptors());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return true;
}

std::string ListText(const Args& args, const v1::ListPollDescriptorsResponse& all) {
  if (args.output == "json") return Json(all, false);
  std::string text;
  if (args.output == "jsonl" || args.output == "name") {
    for (const auto& each : all.poll_descriptors()) {
      text += args.output == "name" ? each.name() + "\n" : Json(each, true);
    }
    return text;
  }
  const std::vector<v1::PollDescriptor> rows(all.poll_descriptors().begin(),
                                             all.poll_descriptors().end());
  return Table(rows);
}

int List(Caller& s) {
  v1::ListPollDescriptorsResponse all;
  int code = kDone;
  if (!ListAll(s, &all, &code)) return code;
  const std::string text = ListText(s.args, all);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kDone;
}

// get or ls each second: drawn anew on a terminal, else printed when something has changed.
int Watch(Caller& s) {
  const bool one = !s.args.name.empty() && s.args.name.back() != '/';
  const bool redraws = isatty(STDOUT_FILENO) != 0 && s.args.output == "text";
  std::string last;
  while (s.interrupts.code() == 0) {
    int code = kDone;
    std::string text;
    std::string compared;
    if (one) {
      v1::GetPollDescriptorRequest request;
      request.set_name(s.args.name);
      v1::GetPollDescriptorResponse response;
      if (!s.Call(&Stub::GetPollDescriptor, request, &response, &code)) return code;
      v1::PollDescriptor& shown = *response.mutable_poll_descriptor();
      text = s.args.output == "text" ? Describe(shown) : Json(shown, s.args.output != "json");
      shown.mutable_read()->mutable_deadline()->clear_remaining();
      shown.mutable_write()->mutable_deadline()->clear_remaining();
      compared = Json(shown, true);
    } else {
      v1::ListPollDescriptorsResponse all;
      if (!ListAll(s, &all, &code)) return code;
      text = ListText(s.args, all);
      for (auto& each : *all.mutable_poll_descriptors()) {
        each.mutable_read()->mutable_deadline()->clear_remaining();
        each.mutable_write()->mutable_deadline()->clear_remaining();
        compared += Json(each, true);
      }
    }
    if (redraws) std::fputs("\033[H\033[2J", stdout);
    if (redraws || compared != last) std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    last = std::exchange(compared, {});
    s.interrupts.Pause(absl::Seconds(1));
  }
  return s.interrupts.code();
}

// Waits with `attempt` until it has an outcome that is one, through restarts and max-wait, as long
// as --timeout lasts. An attempt gets what is left, and says whether to come again.
template <class Request, class Response>
grpc::Status Park(Caller& s,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  Request request, Response* response, const std::string& what) {
  absl::Time end = absl::InfiniteFuture();
  if (!s.args.timeout.empty()) end = absl::Now() + DurationOf(s.args.timeout, "--timeout");
  const Countdown countdown(what, end);
  std::mt19937 random(std::random_device{}());
  absl::Duration pause = absl::Milliseconds(100);
  bool told = false;
  for (;;) {
    Interrupts::Call call(s.interrupts);
    if (end != absl::InfiniteFuture()) {
      const absl::Duration left = end - absl::Now();
      *request.mutable_timeout() = ToProto(left);
      call.context.set_deadline(
          absl::ToChronoTime(absl::Now() + std::max(left, absl::ZeroDuration()) + kGrace));
    }
    response->Clear();
    grpc::Status status = (s.stub.get()->*method)(&call.context, request, response);
    if (status.ok() && response->timeout_cause() == v1::TIMEOUT_CAUSE_MAX_WAIT) continue;
    const bool gone = status.error_code() == grpc::StatusCode::UNAVAILABLE;
    if (!gone || absl::Now() >= end || s.interrupts.code() != 0) return status;
    if (!std::exchange(told, true)) {
      std::fprintf(stderr, "waitctl: %s; trying again%s\n",
                   ErrorLine(status, s.args.server).c_str(),
                   s.args.timeout.empty() ? "" : " until --timeout");
    }
    const double share = std::uniform_real_distribution<>(0.5, 1.0)(random);
    s.interrupts.Pause(std::min(pause * share, end - absl::Now()));
    pause = std::min(pause * 2, absl::Seconds(5));
  }
}

int SayEnd(const std::string& what, v1::Outcome outcome, v1::TimeoutCause cause) {
  if (outcome == v1::OUTCOME_CLOSED) {
    std::fprintf(stderr, "waitctl: %s was closed\n", what.c_str());
    return kClosed;
  }
  std::fprintf(
      stderr, "waitctl: %s timed out: %s\n", what.c_str(),
      cause == v1::TIMEOUT_CAUSE_DEADLINE ? "its deadline has passed" : "--timeout has passed");
  return kTimedOut;
}

int SayFailure(const std::string& name, const v1::Signal& signal) {
  if (!signal.has_failure()) return kDone;
  const auto& failure = signal.failure();
  std::fprintf(stderr, "waitctl: %s failed with code %d%s%s\n", name.c_str(), failure.code(),
               failure.message().empty() ? "" : ": ", failure.message().c_str());
  return kFailure;
}

int Wait(Caller& s) {
  const Args& args = s.args;
  v1::WaitRequest request;
  request.set_name(args.name);
  request.set_mode(ModeOf(args));
  request.set_generation(args.generation);
  request.set_ignore_deadline(args.ignore_deadline);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  v1::WaitResponse response;
  const grpc::Status status = Park(s, &Stub::Wait, request, &response, args.name);
  if (!status.ok()) return s.Fail(status);
  const bool ready = response.outcome() == v1::OUTCOME_READY;
  if (ready || args.output != "text") s.Print(response, response.signal().data());
  if (!ready) return SayEnd(args.name, response.outcome(), response.timeout_cause());
  return SayFailure(args.name, response.signal());
}

int Poll(Caller& s) {
  const Args& args = s.args;
  v1::PollRequest request;
  for (const std::string& name : args.names) {
    auto& target = *request.add_targets();
    target.set_name(name);
    target.set_mode(ModeOf(args));
  }
  request.set_need(args.all ? static_cast<uint32_t>(args.names.size()) : args.need);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  v1::PollResponse response;
  const grpc::Status status = Park(s, &Stub::Poll, request, &response, "the poll");
  if (!status.ok()) return s.Fail(status);
  std::string names;
  for (const auto& result : response.results()) {
    absl::StrAppend(&names, args.names[result.target()], "\n");
  }
  if (args.output == "json" || args.output == "jsonl") {
    std::fputs(Json(response, args.output == "jsonl").c_str(), stdout);
  } else {
    std::fputs(names.c_str(), stdout);
  }
  if (response.outcome() != v1::OUTCOME_READY) {
    return SayEnd("the poll", response.outcome(), response.timeout_cause());
  }
  int code = kDone;
  for (const auto& result : response.results()) {
    const int failed = SayFailure(args.names[result.target()], result.response().signal());
    if (failed != kDone) code = failed;
  }
  return code;
}

int Health(Caller& s) {
  const auto stub = grpc::health::v1::Health::NewStub(s.channel);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(s.args.name);
  grpc::health::v1::HealthCheckResponse response;
  Interrupts::Call call(s.interrupts);
  call.context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeMax));
  const grpc::Status status = stub->Check(&call.context, request, &response);
  if (!status.ok()) {
    s.Fail(status);
    return s.interrupts.code() != 0 ? s.interrupts.code() : kUnavailable;
  }
  const std::string shown =
      grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  s.Print(response, shown + "\n");
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING ? kDone : kUnavailable;
}

}  // namespace

int Run(const Args& args) {
  if (args.command == "version") {
    std::puts("waitctl " WAITD_VERSION);
    return kDone;
  }
  if (args.command == "completion") {
    std::fputs(Completion(args.shell).c_str(), stdout);
    return kDone;
  }
  static const std::map<std::string, int (*)(Caller&)> commands = {
      {"open", Open},   {"close", Close},          {"reset", Reset},  {"wait", Wait},
      {"ready", Ready}, {"deadline", SetDeadline}, {"get", Get},      {"ls", List},
      {"poll", Poll},   {"watch", Watch},          {"health", Health}};
  Caller session(args);
  try {
    return commands.at(args.command)(session);
  } catch (const Wrong& wrong) {
    std::fprintf(stderr, "waitctl: %s\n", wrong.what.c_str());
    return kUsage;
  }
}

}  // namespace waitd::ctl
