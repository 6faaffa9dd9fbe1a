#ifndef WAITD_SERVER_RPC_RPC_METRICS_H_
#define WAITD_SERVER_RPC_RPC_METRICS_H_

#include <grpcpp/support/status.h>
#include <prometheus/collectable.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/results.h"

namespace waitd::server {

/// The methods of the services, in the order of the contract.
enum class Method : uint8_t {
  kOpen,
  kClose,
  kReset,
  kWait,
  kReady,
  kSetDeadline,
  kPoll,
  kAck,
  kGet,
  kList,
  kSession,
  kBackup,
};
inline constexpr size_t kMethods = 12;

/// What the server counts of its calls: the grpc_server_* metrics that gRPC middleware exports in
/// other languages, the refusals, and how long a wake takes. Threads: everything by anyone; counts
/// are spread over slots, so that two threads seldom write to one cache line.
class RpcMetrics final : public prometheus::Collectable {
 public:
  void Started(Method method);
  void Handled(Method method, grpc::StatusCode code, core::Nanos took);
  void Refused(std::string_view reason);
  /// So many sessions more are there, or less.
  void Sessions(int by);
  /// A wait has ended so, and is answered now: if a Ready woke it, how long that took.
  void Woke(const core::Now& now, const core::WaitResult& result);
  void Woke(const core::Now& now, const core::PollResult& result);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  static constexpr size_t kSlots = 8;
  static constexpr size_t kCodes = 17;
  static constexpr size_t kReasons = 36;
  static constexpr size_t kBuckets = 11;

  // Relaxed throughout: each is a sum that grows, read now and then; nothing else depends on it.
  using Count = std::atomic<uint64_t>;
  struct Histogram {
    std::array<Count, kBuckets + 1> counts{};
    Count sum_ns{0};
    void Observe(std::span<const core::Nanos> bounds, core::Nanos value);
  };
  struct alignas(64) Slot {
    std::array<Count, kMethods> started{};
    std::array<std::array<Count, kCodes>, kMethods> handled{};
    std::array<Histogram, kMethods> took{};
    std::array<Count, kReasons> refused{};
    Histogram woke;
  };
  Slot& MySlot();
  void Woke(core::Nanos took);

  std::array<Slot, kSlots> slots_;
  std::atomic<int64_t> sessions_{0};
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_RPC_RPC_METRICS_H_
