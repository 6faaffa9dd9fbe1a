#include "server/rpc/rpc_metrics.h"

#include <algorithm>
#include <span>
#include <string>

#include "core/check.h"
#include "core/stats.h"
#include "server/api/status.h"
#include "server/metrics/families.h"

namespace waitd::server {
namespace {

constexpr std::array<std::string_view, kMethods> kMethodNames = {"OpenPollDescriptor",
                                                                 "ClosePollDescriptor",
                                                                 "Reset",
                                                                 "Wait",
                                                                 "Ready",
                                                                 "SetDeadline",
                                                                 "Poll",
                                                                 "Ack",
                                                                 "GetPollDescriptor",
                                                                 "ListPollDescriptors",
                                                                 "Session",
                                                                 "Backup"};

// As go-grpc-prometheus writes them.
constexpr std::array<std::string_view, 17> kCodeNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// The default buckets of Prometheus's client libraries.
constexpr std::array<core::Nanos, 11> kTookBounds = {
    std::chrono::milliseconds(5),    std::chrono::milliseconds(10),
    std::chrono::milliseconds(25),   std::chrono::milliseconds(50),
    std::chrono::milliseconds(100),  std::chrono::milliseconds(250),
    std::chrono::milliseconds(500),  std::chrono::milliseconds(1000),
    std::chrono::milliseconds(2500), std::chrono::milliseconds(5000),
    std::chrono::milliseconds(10000)};

LabelSet MethodLabels(size_t method) {
  const bool streams = method == static_cast<size_t>(Method::kSession);
  const bool admin = method == static_cast<size_t>(Method::kBackup);
  return {{"grpc_type", streams ? "bidi_stream" : "unary"},
          {"grpc_service", admin ? "waitd.v1.AdminService" : "waitd.v1.WaitService"},
          {"grpc_method", std::string(kMethodNames[method])}};
}

}  // namespace

RpcMetrics::Slot& RpcMetrics::MySlot() {
  // Relaxed: only that neighbours get different numbers matters, and not even that much.
  static std::atomic<size_t> next{0};
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed) % kSlots;
  return slots_[mine];
}

void RpcMetrics::Histogram::Observe(std::span<const core::Nanos> bounds, core::Nanos value) {
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
  counts[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  const auto ns = static_cast<uint64_t>(std::max<int64_t>(value.count(), 0));
  sum_ns.fetch_add(ns, std::memory_order_relaxed);
}

void RpcMetrics::Sessions(int by) { sessions_.fetch_add(by, std::memory_order_relaxed); }

void RpcMetrics::Started(Method method) {
  MySlot().started[static_cast<size_t>(method)].fetch_add(1, std::memory_order_relaxed);
}

void RpcMetrics::Handled(Method method, grpc::StatusCode code, core::Nanos took) {
  Slot& slot = MySlot();
  const auto m = static_cast<size_t>(method);
  slot.handled[m][static_cast<size_t>(code)].fetch_add(1, std::memory_order_relaxed);
  slot.took[m].Observe(kTookBounds, took);
}

void RpcMetrics::Refused(std::string_view reason) {
  static_assert(kBuckets >= kTookBounds.size() && kBuckets >= core::kLatenessBounds.size());
  WAITD_CHECK(Reasons().size() == kReasons, "the table of reasons has another size");
  const auto at = std::find(Reasons().begin(), Reasons().end(), reason) - Reasons().begin();
  MySlot().refused[static_cast<size_t>(at)].fetch_add(1, std::memory_order_relaxed);
}

void RpcMetrics::Woke(const core::Now& now, const core::WaitResult& result) {
  if (result.outcome != core::Outcome::kReady || result.parked <= core::Nanos(0)) return;
  Woke(core::SaturatingSubtract(now.wall, result.ready_time));
}

void RpcMetrics::Woke(const core::Now& now, const core::PollResult& result) {
  if (result.outcome != core::Outcome::kReady || result.parked <= core::Nanos(0)) return;
  core::WallTime last{};
  for (const auto& target : result.targets) {
    last = std::max(last, target.result(result.parked).ready_time);
  }
  Woke(core::SaturatingSubtract(now.wall, last));
}

// From the acceptance of a Ready to the hand-over of its wake to gRPC.
void RpcMetrics::Woke(core::Nanos took) { MySlot().woke.Observe(core::kLatenessBounds, took); }

std::vector<prometheus::MetricFamily> RpcMetrics::Collect() const {
  const auto sum = [&](auto select) {
    uint64_t total = 0;
    for (const Slot& slot : slots_) total += select(slot).load(std::memory_order_relaxed);
    return total;
  };
  const auto add = [&](prometheus::MetricFamily& family, const LabelSet& labels,
                       std::span<const core::Nanos> bounds, auto select) {
    std::vector<uint64_t> counts(bounds.size() + 1);
    for (size_t b = 0; b < counts.size(); ++b) {
      counts[b] = sum([&](const Slot& slot) -> const Count& { return select(slot).counts[b]; });
    }
    const uint64_t ns = sum([&](const Slot& slot) -> const Count& { return select(slot).sum_ns; });
    AddHistogram(family, labels, bounds, counts, static_cast<double>(ns) / 1e9);
  };
  Samples started;
  Samples handled;
  auto took =
      HistogramFamily("grpc_server_handling_seconds", "Time from a call's arrival to its status.");
  for (size_t m = 0; m < kMethods; ++m) {
    const LabelSet labels = MethodLabels(m);
    started.emplace_back(labels, sum([m](const Slot& s) -> const Count& { return s.started[m]; }));
    for (size_t c = 0; c < kCodes; ++c) {
      LabelSet with_code = labels;
      with_code.emplace_back("grpc_code", kCodeNames[c]);
      handled.emplace_back(with_code,
                           sum([&](const Slot& s) -> const Count& { return s.handled[m][c]; }));
    }
    add(took, labels, kTookBounds, [m](const Slot& s) -> const Histogram& { return s.took[m]; });
  }
  Samples refused;
  for (size_t r = 0; r < kReasons; ++r) {
    refused.emplace_back(LabelSet{{"reason", std::string(Reasons()[r])}},
                         sum([r](const Slot& s) -> const Count& { return s.refused[r]; }));
  }
  auto woke = HistogramFamily("waitd_wake_latency_seconds",
                              "Time from a Ready's acceptance to its wake's hand-over to gRPC.");
  add(woke, {}, core::kLatenessBounds, [](const Slot& s) -> const Histogram& { return s.woke; });
  return {Counter("grpc_server_started_total", "Calls that arrived.", started),
          Counter("grpc_server_handled_total", "Calls that were answered, by their code.", handled),
          std::move(took),
          Counter("waitd_refusals_total", "Calls and operations that were refused, by the reason.",
                  refused),
          Gauge("waitd_sessions", "Sessions that are there, with a stream or without.",
                {{{}, static_cast<double>(sessions_.load(std::memory_order_relaxed))}}),
          std::move(woke)};
}

}  // namespace waitd::server
