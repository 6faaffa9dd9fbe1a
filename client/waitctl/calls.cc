#include "client/waitctl/calls.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/waitctl/answers.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/output.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

// A signal is small; the server's own limit is far below, and says so.
constexpr size_t kDataBytesMax = 64 << 20;

std::string ReadFile(Caller& caller, const std::string& path) {
  const Interrupts::Abrupt abrupt(caller.interrupts);
  std::string error;
  auto content = ReadIn(path, kDataBytesMax, &error);
  if (!content.has_value()) throw Wrong{error};
  return *std::move(content);
}

}  // namespace

TextMap LabelsOf(const Args& args) {
  TextMap labels;
  for (const std::string& text : args.labels) {
    std::string key;
    std::string value;
    if (!ParseLabel(text, &key, &value)) {
      throw Wrong{absl::StrCat("'", text, "' is no label; give KEY=VALUE")};
    }
    labels[key] = value;
  }
  return labels;
}

int Open(Caller& caller) {
  const Args& args = caller.args;
  const TextMap labels = LabelsOf(args);
  OpenOptions options = {.kind = KindOf(args), .labels = &labels};
  if (args.idle_ttl.has_value()) options.idle_ttl = DurationOf(*args.idle_ttl, "--idle-ttl");
  Client& client = caller.client();
  const auto result = caller.Ask(args.must_create ? client.Create(args.name, options)
                                                  : client.Open(args.name, options));
  if (!result.ok()) return caller.Fail(result.status());
  v1::OpenPollDescriptorResponse response = ToProto(*result, args.name);
  if (args.json()) {
    // Programs are told of all of it, when it is still the one that was opened.
    v1::GetPollDescriptorRequest request;
    request.set_name(args.name);
    v1::GetPollDescriptorResponse whole;
    const bool known = caller.Read(&Stub::GetPollDescriptor, request, &whole).ok();
    if (known && whole.poll_descriptor().generation() == result->generation) {
      response.mutable_poll_descriptor()->Swap(whole.mutable_poll_descriptor());
    }
  }
  const v1::PollDescriptor& open = response.poll_descriptor();
  return caller.Print(
      response,
      absl::StrCat(Printable(open.name()), " ", Show(open.kind()), " generation ",
                   open.generation(), response.created() ? " opened" : " was open", "\n"),
      kDone);
}

int Close(Caller& caller) {
  const Args& args = caller.args;
  const auto result = caller.Ask(caller.client().Close(args.name, {.generation = args.generation}));
  if (!result.ok()) return caller.Fail(result.status());
  return caller.Print(ToProto(*result),
                      absl::StrCat(args.name, " closed, ", result->woken,
                                   result->woken == 1 ? " wait" : " waits", " ended\n"),
                      kDone);
}

int Reset(Caller& caller) {
  const Args& args = caller.args;
  const auto result = caller.Ask(
      caller.client().Reset(args.name, {.mode = ModeOf(args), .generation = args.generation}));
  if (!result.ok()) return caller.Fail(result.status());
  return caller.Print(ToProto(*result),
                      absl::StrCat(args.name, result->forgot ? " forgot a ready" : " had no ready",
                                   result->reset ? "" : "; a side has expired and was left", "\n"),
                      result->reset ? kDone : kRefused);
}

int Ready(Caller& caller) {
  const Args& args = caller.args;
  ReadyOptions options = {
      .mode = ModeOf(args), .open_if_missing = OpenIfMissing(args), .generation = args.generation};
  if (args.only_if == "waiting") options.condition = ReadyCondition::kWaiting;
  if (args.only_if == "not-expired") options.condition = ReadyCondition::kNotExpired;
  Signal signal(args.file.has_value() ? ReadFile(caller, *args.file) : args.data,
                args.content_type);
  if (args.fail_code.has_value()) {
    signal.failure = Failure{.code = *args.fail_code, .message = args.message};
  }
  const auto result = caller.Ask(caller.client().Ready(args.name, std::move(signal), options));
  if (!result.ok()) return caller.Fail(result.status());
  const v1::ReadyResponse response = ToProto(*result);
  std::string text = absl::StrCat(args.name, " ", Show(response.effect()));
  const bool refused = result->effect == ReadyEffect::kRefused;
  if (refused) text += args.only_if == "waiting" ? ": nobody waits" : ": the deadline has passed";
  if (result->woken > 0) absl::StrAppend(&text, " ", result->woken);
  if (result->expired) absl::StrAppend(&text, "; the deadline has passed, so waits time out");
  return caller.Print(response, text + "\n", refused ? kRefused : kDone);
}

int Ack(Caller& caller) {
  const Args& args = caller.args;
  const HandOff hand_off = {.name = args.name,
                            .mode = ModeOf(args),
                            .wait_id = args.wait_id,
                            .generation = args.generation,
                            .delivery = args.delivery};
  const auto result = caller.Ask(caller.client().Ack(hand_off));
  if (!result.ok()) return caller.Fail(result.status());
  return caller.Print(v1::AckResponse(), args.name + " acknowledged\n", kDone);
}

int SetDeadline(Caller& caller) {
  const Args& args = caller.args;
  DeadlineOptions options = {
      .mode = ModeOf(args), .open_if_missing = OpenIfMissing(args), .generation = args.generation};
  if (args.only_later) options.condition = DeadlineCondition::kOnlyLater;
  if (args.only_earlier) options.condition = DeadlineCondition::kOnlyEarlier;
  if (args.arm_or_extend) options.condition = DeadlineCondition::kArmOrExtend;
  const auto when = ParseWhen(args.when);
  if (!when.has_value()) {
    throw Wrong{absl::StrCat("'", args.when,
                             "' is no time; give a duration such as 10s, a time "
                             "such as 2026-01-02T15:04:05Z, now, or clear")};
  }
  Client& client = caller.client();
  const auto* after = std::get_if<absl::Duration>(&*when);
  const auto* at = std::get_if<absl::Time>(&*when);
  const auto result = caller.Ask(after != nullptr ? client.SetDeadline(args.name, *after, options)
                                 : at != nullptr  ? client.SetDeadline(args.name, *at, options)
                                                  : client.ClearDeadline(args.name, options));
  if (!result.ok()) return caller.Fail(result.status());
  const v1::SetDeadlineResponse response = ToProto(*result);
  std::string text;
  const auto add = [&](const char* side, v1::DeadlineEffect effect, const v1::Deadline& deadline) {
    if (effect == v1::DEADLINE_EFFECT_UNSPECIFIED) return;
    absl::StrAppend(&text, args.name, " ", side, " ", Show(effect),
                    effect == v1::DEADLINE_EFFECT_REFUSED ? ", still " : ": ", Describe(deadline),
                    "\n");
  };
  add("read", response.read_effect(), response.read());
  add("write", response.write_effect(), response.write());
  return caller.Print(response, text, result->applied ? kDone : kRefused);
}

}  // namespace waitd::ctl
