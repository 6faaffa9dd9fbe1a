#include "client/waitctl/commands.h"

#include <unistd.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/waitctl/caller.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"
#include "client/waitctl/waits.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace waitd::ctl {
namespace {

// A signal is small; the server's own limit is far below, and says so.
constexpr size_t kDataBytesMax = 64 << 20;

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

int Open(Caller& s) {
  v1::OpenPollDescriptorRequest request;
  request.set_name(s.args.name);
  request.set_must_create(s.args.must_create);
  request.mutable_options()->set_kind(KindOf(s.args));
  SetLabels(s.args, request.mutable_options()->mutable_labels());
  if (s.args.idle_ttl.has_value()) {
    *request.mutable_options()->mutable_idle_ttl() =
        ToProto(DurationOf(*s.args.idle_ttl, "--idle-ttl"));
  }
  v1::OpenPollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::OpenPollDescriptor, request, &response, &code)) return code;
  const auto& open = response.poll_descriptor();
  return s.Print(
      response,
      absl::StrCat(Printable(open.name()), " ", Show(open.kind()), " generation ",
                   open.generation(), response.created() ? " opened" : " was open", "\n"),
      kDone);
}

int Close(Caller& s) {
  v1::ClosePollDescriptorRequest request;
  request.set_name(s.args.name);
  request.set_generation(s.args.generation);
  v1::ClosePollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::ClosePollDescriptor, request, &response, &code)) return code;
  return s.Print(response,
                 absl::StrCat(s.args.name, " closed, ", response.woken(),
                              response.woken() == 1 ? " wait" : " waits", " ended\n"),
                 kDone);
}

int Reset(Caller& s) {
  v1::ResetRequest request;
  request.set_name(s.args.name);
  request.set_mode(ModeOf(s.args));
  request.set_generation(s.args.generation);
  v1::ResetResponse response;
  int code = kDone;
  if (!s.Call(&Stub::Reset, request, &response, &code)) return code;
  return s.Print(response,
                 absl::StrCat(s.args.name, response.forgot() ? " forgot a ready" : " had no ready",
                              response.reset() ? "" : "; a side has expired and was left", "\n"),
                 response.reset() ? kDone : kRefused);
}

std::string ReadFile(Caller& s, const std::string& path) {
  const Interrupts::Reading reading(s.interrupts);
  std::string error;
  auto content = ReadIn(path, kDataBytesMax, &error);
  if (!content.has_value()) throw Wrong{error};
  return *std::move(content);
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
  signal.set_data(args.file.has_value() ? ReadFile(s, *args.file) : args.data);
  signal.set_content_type(args.content_type);
  if (args.fail_code.has_value()) {
    signal.mutable_failure()->set_code(*args.fail_code);
    signal.mutable_failure()->set_message(args.message);
  }
  v1::ReadyResponse response;
  int code = kDone;
  if (!s.Call(&Stub::Ready, request, &response, &code)) return code;
  std::string text = absl::StrCat(args.name, " ", Show(response.effect()));
  const bool refused = response.effect() == v1::READY_EFFECT_REFUSED;
  if (refused) text += args.only_if == "waiting" ? ": nobody waits" : ": the deadline has passed";
  if (response.woken() > 0) absl::StrAppend(&text, " ", response.woken());
  if (response.expired()) absl::StrAppend(&text, "; the deadline has passed, so waits time out");
  return s.Print(response, text + "\n", refused ? kRefused : kDone);
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
    absl::StrAppend(&text, args.name, " ", side, " ", Show(effect),
                    effect == v1::DEADLINE_EFFECT_REFUSED ? ", still " : ": ", Describe(deadline),
                    "\n");
  };
  add("read", response.read_effect(), response.read());
  add("write", response.write_effect(), response.write());
  return s.Print(response, text, response.applied() ? kDone : kRefused);
}

int Get(Caller& s) {
  v1::GetPollDescriptorRequest request;
  request.set_name(s.args.name);
  v1::GetPollDescriptorResponse response;
  int code = kDone;
  if (!s.Call(&Stub::GetPollDescriptor, request, &response, &code)) return code;
  return s.Print(response.poll_descriptor(), Describe(response.poll_descriptor()), kDone);
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
      text += args.output == "name" ? Printable(each.name()) + "\n" : Json(each, true);
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
  return Print(s.args, ListText(s.args, all), kDone);
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
    if (redraws) text.insert(0, "\033[H\033[2J");
    if (redraws || compared != last) code = Print(s.args, text, kDone);
    if (code != kDone) return code;
    last = std::exchange(compared, {});
    s.interrupts.Pause(absl::Seconds(1));
  }
  return s.interrupts.code();
}

int Health(Caller& s) {
  const auto stub = grpc::health::v1::Health::NewStub(s.channel);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(s.args.name);
  grpc::health::v1::HealthCheckResponse response;
  Interrupts::Call call(s.interrupts);
  Caller::SetDeadline(call.context);
  const grpc::Status status = stub->Check(&call.context, request, &response);
  if (!status.ok()) {
    s.Fail(status);
    return s.interrupts.code() != 0 ? s.interrupts.code() : kUnavailable;
  }
  const std::string shown =
      grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  const bool serves = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return s.Print(response, shown + "\n", serves ? kDone : kUnavailable);
}

}  // namespace

int Run(const Args& args) {
  if (args.command == "version") return Print(args, "waitctl " WAITD_VERSION "\n", kDone);
  if (args.command == "completion") return Print(args, Completion(args.shell), kDone);
  static const std::map<std::string, int (*)(Caller&)> commands = {
      {"open", Open},   {"close", Close},          {"reset", Reset},  {"wait", Wait},
      {"ready", Ready}, {"deadline", SetDeadline}, {"get", Get},      {"ls", List},
      {"poll", Poll},   {"watch", Watch},          {"health", Health}};
  static Interrupts& interrupts = *new Interrupts;
  Caller caller(args, interrupts);
  try {
    return commands.at(args.command)(caller);
  } catch (const Wrong& wrong) {
    return SayUsage(args, wrong.what);
  }
}

}  // namespace waitd::ctl
