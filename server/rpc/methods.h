#ifndef WAITD_SERVER_RPC_METHODS_H_
#define WAITD_SERVER_RPC_METHODS_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/poller.h"
#include "server/access/gate.h"
#include "server/api/signal.h"
#include "server/api/validate.h"
#include "server/rpc/rpc_metrics.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// Who calls, and what a call may ask for.
struct Caller {
  const Visitor& visitor;
  std::string_view client;  ///< as it is shown to others
  SignalLimits signals;
  core::Nanos ack_timeout_max;
  uint64_t session = 0;  ///< 0: a unary call
};

/// What a request means for the core. Its names and ids are the request's, and stay with it; so
/// does the rest, for what is set by few requests stands apart.
template <class A>
struct Parsed {
  A args;
  std::unique_ptr<core::OpenOptions> open_if_missing;  ///< null: not set
};

/// What all methods are made of: Parse checks the request and says what is wrong with it, or what
/// it means; Start hands that to the core; Answer writes the core's result. FieldOf tells what a
/// refusal is about.
template <class Req, class Resp, class Call, class Arguments, Method kNumber>
struct MethodBase {
  using Request = Req;
  using Response = Resp;
  using CoreCall = Call;
  using Args = Arguments;
  static constexpr Method kMethod = kNumber;
  static constexpr bool kGivesBack = false;  ///< it only lets go of what is held: no limit stops it
  /// How many operations of --max-rate it is.
  static uint64_t Work(const Request& /*request*/) { return 1; }
  static std::string FieldOf(const core::Refusal& refusal) {
    if (refusal.reason == core::Reason::kBadOptions) return "ack_timeout";
    if (refusal.reason != core::Reason::kIdReused) return {};
    if constexpr (requires(Request r) { r.wait_id(); }) return "wait_id";
    return "request_id";
  }
};

struct OpenMethod : MethodBase<v1::OpenPollDescriptorRequest, v1::OpenPollDescriptorResponse,
                               core::OpenCall, core::OpenArgs, Method::kOpen> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Open(received, args, call);
  }
  static void Answer(const core::Now& now, const core::OpenResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_open(); }
};

struct CloseMethod : MethodBase<v1::ClosePollDescriptorRequest, v1::ClosePollDescriptorResponse,
                                core::CloseCall, core::CloseArgs, Method::kClose> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Close(received, args, call);
  }
  static void Answer(const core::Now& now, const core::CloseResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_close(); }
};

struct ResetMethod : MethodBase<v1::ResetRequest, v1::ResetResponse, core::ResetCall,
                                core::ResetArgs, Method::kReset> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Reset(received, args, call);
  }
  static void Answer(const core::Now& now, const core::ResetResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_reset(); }
};

struct WaitMethod
    : MethodBase<v1::WaitRequest, v1::WaitResponse, core::WaitCall, core::WaitArgs, Method::kWait> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Wait(received, args, call);
  }
  /// Whether it may stay parked.
  static bool MayWait(const Visitor& visitor, const Request& request) {
    return visitor.May(Right::kWait, request.name());
  }
  static void Answer(const core::Now& now, const core::WaitResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_wait(); }
};

struct ReadyMethod : MethodBase<v1::ReadyRequest, v1::ReadyResponse, core::ReadyCall,
                                core::ReadyArgs, Method::kReady> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Ready(received, args, call);
  }
  static void Answer(const core::Now& now, const core::ReadyResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_ready(); }
};

struct SetDeadlineMethod
    : MethodBase<v1::SetDeadlineRequest, v1::SetDeadlineResponse, core::SetDeadlineCall,
                 core::SetDeadlineArgs, Method::kSetDeadline> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.SetDeadline(received, args, call);
  }
  static void Answer(const core::Now& now, const core::SetDeadlineResult& result,
                     Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_set_deadline(); }
};

struct PollMethod
    : MethodBase<v1::PollRequest, v1::PollResponse, core::PollCall, core::PollArgs, Method::kPoll> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant received, const Args& args,
                    CoreCall& call) {
    poller.Poll(received, args, call);
  }
  static uint64_t Work(const Request& request) {
    return static_cast<uint64_t>(std::max(request.targets_size(), 1));
  }
  static bool MayWait(const Visitor& visitor, const Request& request) {
    return std::ranges::all_of(request.targets(), [&](const auto& target) {
      return visitor.May(Right::kWait, target.name());
    });
  }
  static void Answer(const core::Now& now, const core::PollResult& result, Response& response);
  static std::string FieldOf(const core::Refusal& refusal);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_poll(); }
};

struct AckMethod
    : MethodBase<v1::AckRequest, v1::AckResponse, core::AckCall, core::AckArgs, Method::kAck> {
  static constexpr bool kGivesBack = true;
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant /*received*/, const Args& args,
                    CoreCall& call) {
    poller.Ack(args, call);
  }
  static void Answer(const core::Now& now, const core::AckResult& result, Response& response);
  static Response* ResultIn(v1::OperationResult& to) { return to.mutable_ack(); }
};

struct GetMethod : MethodBase<v1::GetPollDescriptorRequest, v1::GetPollDescriptorResponse,
                              core::GetCall, core::GetArgs, Method::kGet> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant /*received*/, const Args& args,
                    CoreCall& call) {
    poller.Get(args, call);
  }
  static void Answer(const core::Now& now, const core::DescriptorInfo& result, Response& response);
};

struct ListMethod : MethodBase<v1::ListPollDescriptorsRequest, v1::ListPollDescriptorsResponse,
                               core::ListCall, core::ListArgs, Method::kList> {
  static Fault Parse(const Caller& caller, const Request& request, Parsed<Args>& to);
  static void Start(core::Poller& poller, core::Instant /*received*/, const Args& args,
                    CoreCall& call) {
    poller.List(args, call);
  }
  static void Answer(const core::Now& now, const Request& request, const core::ListResult& result,
                     Response& response);
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_RPC_METHODS_H_
