#ifndef WAITD_SERVER_METHODS_H_
#define WAITD_SERVER_METHODS_H_

#include <string>
#include <string_view>

#include "server/rpc.h"

namespace waitd::server {

/// What all methods are made of: Begin checks the request and hands it to the core, or says what is
/// wrong with it; Answer writes the core's result. The rest tells what a refusal is about.
template <class Req, class Resp, class Call, Method kNumber>
struct UnaryMethod {
  using Request = Req;
  using Response = Resp;
  using CoreCall = Call;
  static constexpr Method kMethod = kNumber;
  static std::string_view NameOf(const Request& request, const core::Refusal& /*refusal*/) {
    return request.name();
  }
  static std::string FieldOf(const core::Refusal& /*refusal*/) { return {}; }
};

struct OpenMethod : UnaryMethod<v1::OpenPollDescriptorRequest, v1::OpenPollDescriptorResponse,
                                core::OpenCall, Method::kOpen> {
  static constexpr auto kRequest = &AsyncService::RequestOpenPollDescriptor;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::OpenResult& result, Response& response);
};

struct CloseMethod : UnaryMethod<v1::ClosePollDescriptorRequest, v1::ClosePollDescriptorResponse,
                                 core::CloseCall, Method::kClose> {
  static constexpr auto kRequest = &AsyncService::RequestClosePollDescriptor;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::CloseResult& result, Response& response);
};

struct ResetMethod
    : UnaryMethod<v1::ResetRequest, v1::ResetResponse, core::ResetCall, Method::kReset> {
  static constexpr auto kRequest = &AsyncService::RequestReset;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::ResetResult& result, Response& response);
};

struct WaitMethod
    : UnaryMethod<v1::WaitRequest, v1::WaitResponse, NamedCall<core::WaitCall>, Method::kWait> {
  static constexpr auto kRequest = &AsyncService::RequestWait;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::WaitResult& result, Response& response);
};

struct ReadyMethod
    : UnaryMethod<v1::ReadyRequest, v1::ReadyResponse, core::ReadyCall, Method::kReady> {
  static constexpr auto kRequest = &AsyncService::RequestReady;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::ReadyResult& result, Response& response);
};

struct SetDeadlineMethod : UnaryMethod<v1::SetDeadlineRequest, v1::SetDeadlineResponse,
                                       core::SetDeadlineCall, Method::kSetDeadline> {
  static constexpr auto kRequest = &AsyncService::RequestSetDeadline;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::SetDeadlineResult& result, Response& response);
};

struct PollMethod
    : UnaryMethod<v1::PollRequest, v1::PollResponse, NamedCall<core::PollCall>, Method::kPoll> {
  static constexpr auto kRequest = &AsyncService::RequestPoll;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::PollResult& result, Response& response);
  static std::string_view NameOf(const Request& request, const core::Refusal& refusal);
  static std::string FieldOf(const core::Refusal& refusal);
};

/// Refused: it belongs to hand-offs, which this server does not offer yet.
struct AckMethod : UnaryMethod<v1::AckRequest, v1::AckResponse, core::ResetCall, Method::kAck> {
  static constexpr auto kRequest = &AsyncService::RequestAck;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& /*context*/, const core::Now& /*now*/, const Request& /*request*/,
                     const core::ResetResult& /*result*/, Response& /*response*/) {}
};

struct GetMethod : UnaryMethod<v1::GetPollDescriptorRequest, v1::GetPollDescriptorResponse,
                               core::GetCall, Method::kGet> {
  static constexpr auto kRequest = &AsyncService::RequestGetPollDescriptor;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::DescriptorInfo& result, Response& response);
};

struct ListMethod : UnaryMethod<v1::ListPollDescriptorsRequest, v1::ListPollDescriptorsResponse,
                                core::ListCall, Method::kList> {
  static constexpr auto kRequest = &AsyncService::RequestListPollDescriptors;
  static Fault Begin(Context& context, const core::Now& now, const Request& request,
                     CoreCall& call);
  static void Answer(Context& context, const core::Now& now, const Request& request,
                     const core::ListResult& result, Response& response);
  static std::string_view NameOf(const Request& request, const core::Refusal& /*refusal*/) {
    return request.prefix();
  }
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_METHODS_H_
