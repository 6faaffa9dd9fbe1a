#include "server/methods.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/page_token.h"
#include "server/validate.h"

namespace waitd::server {
namespace {

// The fields that many requests share: their name, an id that is not offered yet, and how long ago
// the first attempt was. Says what is wrong, or nothing.
template <class Request>
Fault CheckCommon(const Request& request, core::Nanos* sent_ago) {
  if (Fault fault = CheckName(request.name(), "name")) return fault;
  if constexpr (requires { request.request_id(); }) {
    if (Fault fault = CheckAbsent(!request.request_id().empty(), "request_id")) return fault;
  }
  return ToSentAgo(request.first_sent_ago(), sent_ago);
}

// Waits and polls have no request_id, but these.
template <class Request>
Fault CheckWait(const Request& request) {
  if (Fault fault = CheckAbsent(!request.wait_id().empty(), "wait_id")) return fault;
  return CheckAbsent(request.has_ack_timeout(), "ack_timeout");
}

// open_if_missing, if it is set: `options` holds it while the core looks at it.
template <class Request>
Fault ToOpenIfMissing(const Request& request, core::OpenOptions* options,
                      const core::OpenOptions** to) {
  if (!request.has_open_if_missing()) return std::nullopt;
  *to = options;
  return ToOpenOptions(request.open_if_missing(), "open_if_missing", options);
}

template <class Request>
Fault ToTimeout(const Request& request, std::optional<core::Nanos>* to) {
  if (!request.has_timeout()) return std::nullopt;
  return ToNanos(request.timeout(), "timeout", &to->emplace());
}

void CountWake(Context& context, core::Nanos parked, core::WallTime ready_time) {
  if (parked <= core::Nanos(0)) return;  // the READY was there first
  const core::Nanos took = core::SaturatingSubtract(context.clock.Read().wall, ready_time);
  context.metrics.Woke(std::max(took, core::Nanos(0)));
}

}  // namespace

Fault OpenMethod::Begin(Context& context, const core::Now& now, const Request& request,
                        CoreCall& call) {
  core::Nanos sent_ago{0};
  if (Fault fault = CheckCommon(request, &sent_ago)) return fault;
  core::OpenArgs args{.name = request.name(), .options = {}, .must_create = request.must_create()};
  if (Fault fault = ToOpenOptions(request.options(), "options", &args.options)) return fault;
  context.poller.Open(now, args, call);
  return std::nullopt;
}

void OpenMethod::Answer(Context& /*context*/, const core::Now& now, const Request& /*request*/,
                        const core::OpenResult& result, Response& response) {
  Write(now, result.descriptor, *response.mutable_poll_descriptor());
  response.set_created(result.created);
}

Fault CloseMethod::Begin(Context& context, const core::Now& now, const Request& request,
                         CoreCall& call) {
  core::Nanos sent_ago{0};
  if (Fault fault = CheckCommon(request, &sent_ago)) return fault;
  context.poller.Close(now, {.name = request.name(), .generation = request.generation()}, call);
  return std::nullopt;
}

void CloseMethod::Answer(Context& /*context*/, const core::Now& /*now*/, const Request& /*request*/,
                         const core::CloseResult& result, Response& response) {
  response.set_woken(result.woken);
}

Fault ResetMethod::Begin(Context& context, const core::Now& now, const Request& request,
                         CoreCall& call) {
  core::Nanos sent_ago{0};
  if (Fault fault = CheckCommon(request, &sent_ago)) return fault;
  core::ResetArgs args{.name = request.name(), .generation = request.generation()};
  if (Fault fault = ToMode(request.mode(), "mode", &args.mode)) return fault;
  context.poller.Reset(now, args, call);
  return std::nullopt;
}

void ResetMethod::Answer(Context& /*context*/, const core::Now& /*now*/, const Request& /*request*/,
                         const core::ResetResult& result, Response& response) {
  response.set_reset(result.reset);
  response.set_forgot(result.forgot);
}

Fault WaitMethod::Begin(Context& context, const core::Now& now, const Request& request,
                        CoreCall& call) {
  core::WaitArgs args{.name = request.name(),
                      .generation = request.generation(),
                      .timeout = std::nullopt,
                      .ignore_deadline = request.ignore_deadline()};
  core::OpenOptions options;
  if (Fault fault = CheckCommon(request, &args.sent_ago)) return fault;
  if (Fault fault = CheckWait(request)) return fault;
  if (Fault fault = ToSide(request.mode(), "mode", &args.side)) return fault;
  if (Fault fault = ToTimeout(request, &args.timeout)) return fault;
  if (Fault fault = ToOpenIfMissing(request, &options, &args.open_if_missing)) return fault;
  context.poller.Wait(now, args, call);
  return std::nullopt;
}

void WaitMethod::Answer(Context& context, const core::Now& /*now*/, const Request& /*request*/,
                        const core::WaitResult& result, Response& response) {
  if (result.outcome == core::Outcome::kReady) {
    CountWake(context, result.parked, result.ready_time);
  }
  Write(result, response);
}

Fault ReadyMethod::Begin(Context& context, const core::Now& now, const Request& request,
                         CoreCall& call) {
  core::Nanos sent_ago{0};
  core::ReadyArgs args{
      .name = request.name(), .generation = request.generation(), .signal = nullptr};
  core::OpenOptions options;
  if (Fault fault = CheckCommon(request, &sent_ago)) return fault;
  if (Fault fault = ToMode(request.mode(), "mode", &args.mode)) return fault;
  if (Fault fault = ToReadyCondition(request.condition(), &args.condition)) return fault;
  if (Fault fault = ToPayload(request.has_signal(), request.signal(), context.payload_bytes_max,
                              &args.signal)) {
    return fault;
  }
  if (Fault fault = ToOpenIfMissing(request, &options, &args.open_if_missing)) return fault;
  context.poller.Ready(now, args, call);
  return std::nullopt;
}

void ReadyMethod::Answer(Context& /*context*/, const core::Now& /*now*/, const Request& /*request*/,
                         const core::ReadyResult& result, Response& response) {
  Write(result, response);
}

Fault SetDeadlineMethod::Begin(Context& context, const core::Now& now, const Request& request,
                               CoreCall& call) {
  using What = core::SetDeadlineArgs::What;
  core::SetDeadlineArgs args{.name = request.name(), .generation = request.generation(), .at = {}};
  core::OpenOptions options;
  if (Fault fault = CheckCommon(request, &args.sent_ago)) return fault;
  if (Fault fault = ToMode(request.mode(), "mode", &args.mode)) return fault;
  if (Fault fault = ToDeadlineCondition(request.condition(), &args.condition)) return fault;
  switch (request.deadline_case()) {
    case Request::kTimeout:
      args.what = What::kTimeout;
      if (Fault fault = ToNanos(request.timeout(), "timeout", &args.timeout)) return fault;
      break;
    case Request::kAt:
      args.what = What::kAt;
      if (Fault fault = ToWallTime(request.at(), "at", &args.at)) return fault;
      break;
    case Request::kClear:
      args.what = What::kClear;
      break;
    case Request::DEADLINE_NOT_SET:
      return Error{.reason = "BAD_TIME",
                   .message = "no deadline is given; set timeout, at or clear",
                   .field = "deadline"};
  }
  if (Fault fault = ToOpenIfMissing(request, &options, &args.open_if_missing)) return fault;
  context.poller.SetDeadline(now, args, call);
  return std::nullopt;
}

void SetDeadlineMethod::Answer(Context& /*context*/, const core::Now& now,
                               const Request& /*request*/, const core::SetDeadlineResult& result,
                               Response& response) {
  Write(now, result, response);
}

Fault PollMethod::Begin(Context& context, const core::Now& now, const Request& request,
                        CoreCall& call) {
  core::PollArgs args;
  core::OpenOptions options;
  args.targets.reserve(static_cast<size_t>(request.targets_size()));
  for (int i = 0; i < request.targets_size(); ++i) {
    const auto& from = request.targets(i);
    core::PollTarget& to = args.targets.emplace_back();
    if (Fault fault = CheckName(from.name(), absl::StrCat("targets[", i, "].name"))) return fault;
    if (Fault fault = ToSide(from.mode(), absl::StrCat("targets[", i, "].mode"), &to.side)) {
      return fault;
    }
    to.name = from.name();
    to.generation = from.generation();
  }
  args.need = request.need();
  if (!args.targets.empty() && args.need > args.targets.size()) {
    return Error{.reason = "BAD_POLL",
                 .message = absl::StrCat("a poll of ", args.targets.size(), " targets cannot need ",
                                         args.need, " of them"),
                 .field = "need"};
  }
  if (Fault fault = CheckWait(request)) return fault;
  if (Fault fault = ToTimeout(request, &args.timeout)) return fault;
  if (Fault fault = ToSentAgo(request.first_sent_ago(), &args.sent_ago)) return fault;
  if (Fault fault = ToOpenIfMissing(request, &options, &args.open_if_missing)) return fault;
  context.poller.Poll(now, args, call);
  return std::nullopt;
}

void PollMethod::Answer(Context& context, const core::Now& /*now*/, const Request& /*request*/,
                        const core::PollResult& result, Response& response) {
  if (result.outcome == core::Outcome::kReady) {
    core::WallTime last{};
    for (const auto& target : result.targets) last = std::max(last, target.result.ready_time);
    CountWake(context, result.parked, last);
  }
  Write(result, response);
}

std::string_view PollMethod::NameOf(const Request& request, const core::Refusal& refusal) {
  const auto at = static_cast<int>(refusal.target);
  return at < request.targets_size() ? std::string_view(request.targets(at).name())
                                     : std::string_view();
}

std::string PollMethod::FieldOf(const core::Refusal& refusal) {
  if (refusal.reason != core::Reason::kBadPoll) return {};
  if (refusal.target > 0) return absl::StrCat("targets[", refusal.target, "]");
  return "targets";
}

Fault AckMethod::Begin(Context& /*context*/, const core::Now& /*now*/, const Request& /*request*/,
                       CoreCall& /*call*/) {
  return Error{.reason = "UNIMPLEMENTED",
               .message = "this server does not offer Ack yet; wait without ack_timeout",
               .field = {}};
}

Fault GetMethod::Begin(Context& context, const core::Now& now, const Request& request,
                       CoreCall& call) {
  if (Fault fault = CheckName(request.name(), "name")) return fault;
  context.poller.Get(now, request.name(), call);
  return std::nullopt;
}

void GetMethod::Answer(Context& /*context*/, const core::Now& now, const Request& /*request*/,
                       const core::DescriptorInfo& result, Response& response) {
  Write(now, result, *response.mutable_poll_descriptor());
}

Fault ListMethod::Begin(Context& context, const core::Now& now, const Request& request,
                        CoreCall& call) {
  constexpr uint32_t kPageDefault = 100;
  constexpr int32_t kPageMax = 1000;
  core::ListArgs args;
  args.prefix = request.prefix();
  args.waiting_only = request.waiting_only();
  if (request.page_size() < 0) {
    return Error{.reason = "BAD_OPTIONS",
                 .message = "page_size is negative; leave it unset for 100",
                 .field = "page_size"};
  }
  if (request.page_size() > 0) {
    args.page_size = static_cast<uint32_t>(std::min(request.page_size(), kPageMax));
  } else {
    args.page_size = kPageDefault;
  }
  if (Fault fault = ToLabels(request.labels(), "labels", &args.labels)) return fault;
  std::string after;
  if (!request.page_token().empty()) {
    const auto name = NameOfPageToken(request);
    if (!name.has_value()) {
      return Error{.reason = "BAD_PAGE_TOKEN",
                   .message =
                       "the page token was not made for this request; give the one of the "
                       "answer before, with the same filters, or none to begin again",
                   .field = "page_token"};
    }
    after = *name;
    args.after = after;
  }
  context.poller.List(now, args, call);
  return std::nullopt;
}

void ListMethod::Answer(Context& /*context*/, const core::Now& now, const Request& request,
                        const core::ListResult& result, Response& response) {
  // Names and labels at their longest would make a page that no client takes: 4 MiB is what gRPC
  // receives unless it is told otherwise.
  constexpr size_t kPageBytesMax = 3 << 20;
  size_t bytes = 0;
  for (const auto& descriptor : result.descriptors) {
    v1::PollDescriptor& written = *response.add_poll_descriptors();
    Write(now, descriptor, written);
    bytes += written.ByteSizeLong();
    if (bytes >= kPageBytesMax) {
      response.set_next_page_token(PageToken(descriptor.name, request));
      return;
    }
  }
  if (!result.next_after.empty()) {
    response.set_next_page_token(PageToken(result.next_after, request));
  }
}

}  // namespace waitd::server
