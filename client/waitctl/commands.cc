#include "client/waitctl/commands.h"

#include <unistd.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/waitctl/bench.h"
#include "client/waitctl/caller.h"
#include "client/waitctl/calls.h"
#include "client/waitctl/exec.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"
#include "client/waitctl/waits.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "waitd/v1/admin.grpc.pb.h"

namespace waitd::ctl {
namespace {

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
  for (const auto& [key, value] : LabelsOf(s.args)) (*request.mutable_labels())[key] = value;
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
  grpc::ClientContext context;
  const Interrupts::Reaction reaction(s.interrupts, [&context] { context.TryCancel(); });
  s.Authorize(context);
  Caller::SetDeadline(context);
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) {
    const int code = s.Fail(status);
    return code == kNotAllowed || code >= kSignalled ? code : kUnavailable;
  }
  const std::string shown =
      grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  const bool serves = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return s.Print(response, shown + "\n", serves ? kDone : kUnavailable);
}

int Backup(Caller& s) {
  v1::BackupRequest request;
  request.set_name(s.args.name);
  v1::BackupResponse response;
  grpc::ClientContext context;
  const Interrupts::Reaction reaction(s.interrupts, [&context] { context.TryCancel(); });
  s.Authorize(context);
  // How long it takes is for the size of the store to say.
  if (s.args.timeout.has_value()) {
    const absl::Duration timeout = DurationOf(*s.args.timeout, "--timeout");
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  }
  const auto stub = v1::AdminService::NewStub(s.channel);
  if (const grpc::Status status = stub->Backup(&context, request, &response); !status.ok()) {
    return s.Fail(status);
  }
  if (s.args.output == "name") return Print(s.args, response.name() + "\n", kDone);
  return s.Print(response, response.path() + "\n", kDone);
}

}  // namespace

int Run(const Args& args) {
  if (args.command == "version") return Print(args, "waitctl " WAITD_VERSION "\n", kDone);
  if (args.command == "completion") return Print(args, Completion(args.shell), kDone);
  static const std::map<std::string, int (*)(Caller&)> commands = {
      {"ack", Ack},     {"backup", Backup},        {"bench", Bench},  {"exec", Exec},
      {"open", Open},   {"close", Close},          {"reset", Reset},  {"wait", Wait},
      {"ready", Ready}, {"deadline", SetDeadline}, {"get", Get},      {"ls", List},
      {"poll", Poll},   {"watch", Watch},          {"health", Health}};
  static Interrupts& interrupts = *new Interrupts(!args.program.empty());
  try {
    Caller caller(args, interrupts);
    const int code = commands.at(args.command)(caller);
    // What was called is on its way; the server's farewell is not worth waiting for.
    if (interrupts.code() != 0) Interrupts::EndSoon(code);
    return code;
  } catch (const Wrong& wrong) {
    return SayUsage(args, wrong.what);
  }
}

}  // namespace waitd::ctl
