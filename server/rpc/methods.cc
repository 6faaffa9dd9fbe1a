#include "server/rpc/methods.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/api/convert.h"
#include "server/api/page_token.h"

namespace waitd::server {
namespace {

// What most requests share: a name, an id, and how long ago the first attempt was.
template <class Request>
Fault ToRetry(const Caller& caller, const Request& request, core::Retry* to) {
  to->caller = caller.visitor.number;
  if constexpr (requires { request.request_id(); }) {
    if (Fault fault = CheckId(request.request_id(), "request_id")) return fault;
    to->id = request.request_id();
  } else {
    if (Fault fault = CheckId(request.wait_id(), "wait_id")) return fault;
    to->id = request.wait_id();
  }
  return ToSentAgo(request.first_sent_ago(), &to->sent_ago);
}

// A name on which the caller may do this.
Fault ToOwnName(const Caller& caller, Right right, std::string_view name, std::string_view field) {
  if (Fault fault = CheckName(name, field)) return fault;
  return caller.visitor.Check(right, name);
}

template <class Request>
Fault ToCommon(const Caller& caller, Right right, const Request& request, core::Retry* to) {
  if (Fault fault = ToOwnName(caller, right, request.name(), "name")) return fault;
  return ToRetry(caller, request, to);
}

Fault ToOpening(const Caller& caller, const v1::OpenOptions& from, std::string_view field,
                core::OpenOptions* to) {
  if (Fault fault = ToOpenOptions(from, caller.session != 0, field, to)) return fault;
  if (!to->ephemeral) return std::nullopt;
  to->owner = caller.client;
  to->session = caller.session;
  return std::nullopt;
}

template <class Request, class A>
Fault ToOpenIfMissing(const Caller& caller, const Request& request, Parsed<A>* to) {
  if (!request.has_open_if_missing()) return std::nullopt;
  if constexpr (requires { request.name(); }) {
    if (Fault fault = caller.visitor.CheckOpenly(Right::kOpen, request.name())) return fault;
  } else {
    for (const auto& target : request.targets()) {
      if (Fault fault = caller.visitor.CheckOpenly(Right::kOpen, target.name())) return fault;
    }
  }
  to->open_if_missing = std::make_unique<core::OpenOptions>();
  to->args.open_if_missing = to->open_if_missing.get();
  return ToOpening(caller, request.open_if_missing(), "open_if_missing", to->open_if_missing.get());
}

template <class Request>
Fault ToTimeout(const Request& request, std::optional<core::Nanos>* to) {
  if (!request.has_timeout()) return std::nullopt;
  return ToNanos(request.timeout(), "timeout", &to->emplace());
}

template <class Request>
Fault ToAckTimeout(const Caller& caller, const Request& request, std::optional<core::Nanos>* to) {
  if (!request.has_ack_timeout()) return std::nullopt;
  if (request.wait_id().empty()) {
    return Error{.reason = "BAD_OPTIONS",
                 .message = "an ack_timeout needs a wait_id, by which the Ack names its delivery",
                 .field = "ack_timeout"};
  }
  return server::ToAckTimeout(request.ack_timeout(), caller.ack_timeout_max, &to->emplace());
}

}  // namespace

Fault OpenMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = CheckName(request.name(), "name")) return fault;
  if (Fault fault = caller.visitor.CheckOpenly(Right::kOpen, request.name())) return fault;
  if (Fault fault = ToRetry(caller, request, &to.args.retry)) return fault;
  to.args.name = request.name();
  to.args.must_create = request.must_create();
  return ToOpening(caller, request.options(), "options", &to.args.options);
}

void OpenMethod::Answer(const core::Now& /*now*/, const core::OpenResult& result,
                        Response& response) {
  Write(core::Now{.mono = result.decided}, result.descriptor, *response.mutable_poll_descriptor());
  response.set_created(result.created);
}

Fault CloseMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = ToCommon(caller, Right::kOpen, request, &to.args.retry)) return fault;
  to.args.name = request.name();
  to.args.generation = request.generation();
  return std::nullopt;
}

void CloseMethod::Answer(const core::Now& /*now*/, const core::CloseResult& result,
                         Response& response) {
  response.set_woken(result.woken);
}

Fault ResetMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = ToCommon(caller, Right::kReady, request, &to.args.retry)) return fault;
  to.args.name = request.name();
  to.args.generation = request.generation();
  return ToMode(request.mode(), "mode", &to.args.mode);
}

void ResetMethod::Answer(const core::Now& /*now*/, const core::ResetResult& result,
                         Response& response) {
  response.set_reset(result.reset);
  response.set_forgot(result.forgot);
}

Fault WaitMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = ToCommon(caller, Right::kWait, request, &to.args.retry)) return fault;
  to.args.name = request.name();
  to.args.generation = request.generation();
  to.args.ignore_deadline = request.ignore_deadline();
  if (Fault fault = ToSide(request.mode(), "mode", &to.args.side)) return fault;
  if (Fault fault = ToTimeout(request, &to.args.timeout)) return fault;
  if (Fault fault = ToAckTimeout(caller, request, &to.args.ack_timeout)) return fault;
  return ToOpenIfMissing(caller, request, &to);
}

void WaitMethod::Answer(const core::Now& /*now*/, const core::WaitResult& result,
                        Response& response) {
  Write(result, response);
}

Fault ReadyMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = ToCommon(caller, Right::kReady, request, &to.args.retry)) return fault;
  to.args.name = request.name();
  to.args.generation = request.generation();
  if (Fault fault = ToMode(request.mode(), "mode", &to.args.mode)) return fault;
  if (Fault fault = ToReadyCondition(request.condition(), &to.args.condition)) return fault;
  if (Fault fault =
          ToPayload(request.has_signal() ? &request.signal() : nullptr, caller.visitor.identity,
                    caller.signals, caller.visitor.account, &to.args.signal)) {
    return fault;
  }
  return ToOpenIfMissing(caller, request, &to);
}

void ReadyMethod::Answer(const core::Now& /*now*/, const core::ReadyResult& result,
                         Response& response) {
  Write(result, response);
}

Fault SetDeadlineMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  using What = core::SetDeadlineArgs::What;
  core::SetDeadlineArgs& args = to.args;
  if (Fault fault = ToCommon(caller, Right::kDeadline, request, &args.retry)) return fault;
  args.name = request.name();
  args.generation = request.generation();
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
  return ToOpenIfMissing(caller, request, &to);
}

void SetDeadlineMethod::Answer(const core::Now& /*now*/, const core::SetDeadlineResult& result,
                               Response& response) {
  Write(core::Now{.mono = result.decided}, result, response);
}

Fault PollMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  core::PollArgs& args = to.args;
  args.targets.reserve(static_cast<size_t>(request.targets_size()));
  for (int i = 0; i < request.targets_size(); ++i) {
    const auto& from = request.targets(i);
    core::PollTarget& target = args.targets.emplace_back();
    if (Fault fault =
            ToOwnName(caller, Right::kWait, from.name(), absl::StrCat("targets[", i, "].name"))) {
      return fault;
    }
    if (Fault fault = ToSide(from.mode(), absl::StrCat("targets[", i, "].mode"), &target.side)) {
      return fault;
    }
    target.name = from.name();
    target.generation = from.generation();
  }
  args.need = request.need();
  if (!args.targets.empty() && args.need > args.targets.size()) {
    return Error{.reason = "BAD_POLL",
                 .message = absl::StrCat("a poll of ", args.targets.size(), " targets cannot need ",
                                         args.need, " of them"),
                 .field = "need"};
  }
  if (Fault fault = ToRetry(caller, request, &args.retry)) return fault;
  if (Fault fault = ToTimeout(request, &args.timeout)) return fault;
  if (Fault fault = ToAckTimeout(caller, request, &args.ack_timeout)) return fault;
  return ToOpenIfMissing(caller, request, &to);
}

void PollMethod::Answer(const core::Now& /*now*/, const core::PollResult& result,
                        Response& response) {
  Write(result, response);
}

std::string PollMethod::FieldOf(const core::Refusal& refusal) {
  if (refusal.reason != core::Reason::kBadPoll) return MethodBase::FieldOf(refusal);
  if (refusal.target > 0) return absl::StrCat("targets[", refusal.target, "]");
  return "targets";
}

Fault AckMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  if (Fault fault = ToOwnName(caller, Right::kWait, request.name(), "name")) return fault;
  if (Fault fault = ToSide(request.mode(), "mode", &to.args.side)) return fault;
  if (Fault fault = CheckId(request.wait_id(), "wait_id")) return fault;
  if (request.wait_id().empty()) {
    return Error{.reason = "BAD_ID",
                 .message = "no wait_id is given: it names the wait that had the READY",
                 .field = "wait_id"};
  }
  if (request.generation() == 0) {
    return Error{.reason = "BAD_OPTIONS",
                 .message =
                     "no generation is given: a number of a delivery counts within one "
                     "generation; take it from the WaitResponse, as the delivery",
                 .field = "generation"};
  }
  to.args.name = request.name();
  to.args.wait_id = request.wait_id();
  to.args.delivery = request.delivery();
  to.args.generation = request.generation();
  to.args.caller = caller.visitor.number;
  return std::nullopt;
}

void AckMethod::Answer(const core::Now& /*now*/, const core::AckResult& /*result*/,
                       Response& /*response*/) {}

Fault GetMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  to.args.name = request.name();
  return ToOwnName(caller, Right::kList, request.name(), "name");
}

void GetMethod::Answer(const core::Now& now, const core::DescriptorInfo& result,
                       Response& response) {
  Write(now, result, *response.mutable_poll_descriptor());
}

Fault ListMethod::Parse(const Caller& caller, const Request& request, Parsed<Args>& to) {
  constexpr uint32_t kPageDefault = 100;
  constexpr int32_t kPageMax = 1000;
  if (Fault fault = CheckPrefix(request.prefix(), "prefix")) return fault;
  if (Fault fault = caller.visitor.CheckOpenly(Right::kList, request.prefix())) return fault;
  core::ListArgs& args = to.args;
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
  if (!request.page_token().empty()) {
    auto name = NameOfPageToken(request);
    if (!name.has_value()) {
      return Error{.reason = "BAD_PAGE_TOKEN",
                   .message =
                       "the page token was not made for this request; give the one of the "
                       "answer before, with the same filters, or none to begin again",
                   .field = "page_token"};
    }
    args.after = *std::move(name);
  }
  return std::nullopt;
}

void ListMethod::Answer(const core::Now& now, const Request& request,
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
