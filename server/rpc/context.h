#ifndef WAITD_SERVER_RPC_CONTEXT_H_
#define WAITD_SERVER_RPC_CONTEXT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/poller.h"
#include "server/access/gate.h"
#include "server/api/signal.h"
#include "server/api/status.h"
#include "server/rpc/rpc_metrics.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::server {

/// What a message of a client may hold besides a signal.
inline constexpr size_t kMessageOverhead = size_t{4} << 20U;

/// What every call has to do with. Lifetime: outlives all calls.
struct Context {
  core::Poller& poller;
  const core::Clock& clock;
  RpcMetrics& metrics;
  Gate& gate;
  SignalLimits signals;
  core::Nanos ack_timeout_max;
  const std::atomic<bool>& store_failed;
  /// Calls that were let in and have an event to come. Relaxed: a number to look at now and then.
  std::atomic<uint64_t> calls{0};
  /// Set when waitd ends: who comes now is sent away, and not waited for. Relaxed: those who just
  /// missed it are waited for, too.
  std::atomic<bool> closed{false};

  /// What those are told.
  Error SentAway() const {
    const bool failed = store_failed.load(std::memory_order_relaxed);
    const auto reason = failed ? core::Reason::kStoreFailed : core::Reason::kDraining;
    return ToError(core::Refusal{.reason = reason});
  }
};

/// An event that a completion queue hands back.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

// Sessions read and write bytes, so that a response is encoded once, however often it is sent.
using AsyncService =
    v1::WaitService::WithRawMethod_Session<v1::WaitService::WithAsyncMethod_OpenPollDescriptor<
        v1::WaitService::WithAsyncMethod_ClosePollDescriptor<
            v1::WaitService::WithAsyncMethod_Reset<v1::WaitService::WithAsyncMethod_Wait<
                v1::WaitService::WithAsyncMethod_Ready<v1::WaitService::WithAsyncMethod_SetDeadline<
                    v1::WaitService::WithAsyncMethod_Poll<v1::WaitService::WithAsyncMethod_Ack<
                        v1::WaitService::WithAsyncMethod_GetPollDescriptor<
                            v1::WaitService::WithAsyncMethod_ListPollDescriptors<
                                v1::WaitService::Service>>>>>>>>>>>;

}  // namespace waitd::server

#endif  // WAITD_SERVER_RPC_CONTEXT_H_
