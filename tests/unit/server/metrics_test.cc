#include "server/metrics/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

#include <cmath>
#include <ctime>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/waiter.h"
#include "server/api/status.h"
#include "server/metrics/process_metrics.h"
#include "server/rpc/rpc_metrics.h"

namespace waitd::server {
namespace {

using Families = std::map<std::string, prometheus::MetricFamily>;
using prometheus::MetricType;

Families Collect(const prometheus::Collectable& from) {
  Families families;
  for (auto& family : from.Collect()) {
    const std::string name = family.name;
    EXPECT_FALSE(family.help.empty()) << name;
    EXPECT_TRUE(families.emplace(name, std::move(family)).second) << name << " twice";
  }
  return families;
}

// Every label set is there, once, and what it counts is 0.
void ExpectZeros(const prometheus::MetricFamily& family, size_t size) {
  EXPECT_EQ(family.metric.size(), size) << family.name;
  std::set<std::string> seen;
  for (const auto& metric : family.metric) {
    std::string labels;
    for (const auto& label : metric.label) labels += label.name + "=" + label.value + ",";
    EXPECT_TRUE(seen.insert(labels).second) << family.name << " " << labels;
    EXPECT_EQ(metric.counter.value, 0) << family.name << " " << labels;
    EXPECT_EQ(metric.histogram.sample_count, 0U) << family.name << " " << labels;
  }
}

const prometheus::ClientMetric& Find(const prometheus::MetricFamily& family,
                                     const std::map<std::string, std::string>& labels) {
  for (const auto& metric : family.metric) {
    std::map<std::string, std::string> have;
    for (const auto& label : metric.label) have[label.name] = label.value;
    if (have == labels) return metric;
  }
  ADD_FAILURE() << family.name << " has no such labels";
  return family.metric.front();
}

class CoreMetricsTest : public testing::Test {
 protected:
  const core::RealClock clock_{};
  core::Poller poller_{
      {.max_descriptors = 11, .max_waiters = {core::Limit::kMost, core::WaitsOf(12).bytes}},
      clock_,
      nullptr,
      nullptr};
  const Options options_{
      .max_payload_bytes = 13, .max_wait = {}, .default_idle_ttl = {}, .drain_timeout = {}};
  CoreMetrics metrics_{poller_, options_};
};

TEST_F(CoreMetricsTest, EveryLabelSetIsThereFromTheStart) {
  const Families families = Collect(metrics_);
  const std::map<std::string, size_t> sizes = {{"waitd_descriptors", 3},
                                               {"waitd_waiters", 3},
                                               {"waitd_deliveries", 1},
                                               {"waitd_waits_total", 3 * 5},
                                               {"waitd_ready_total", 2 * 4},
                                               {"waitd_timeouts_total", 3 * 3},
                                               {"waitd_deadlines_set_total", 2 * 7},
                                               {"waitd_stale_timers_total", 1},
                                               {"waitd_double_waits_total", 1},
                                               {"waitd_idle_closed_total", 1},
                                               {"waitd_wait_duration_seconds", 5},
                                               {"waitd_draining", 1},
                                               {"waitd_oldest_waiter_seconds", 1},
                                               {"waitd_timers", 1},
                                               {"waitd_timeout_lateness_seconds", 1}};
  for (const auto& [name, size] : sizes) {
    ASSERT_TRUE(families.contains(name)) << name;
    ExpectZeros(families.at(name), size);
  }
  EXPECT_EQ(families.at("waitd_build_info").metric.at(0).gauge.value, 1);
}

TEST_F(CoreMetricsTest, TheLimitsAreThoseThatHold) {
  const auto limits = Collect(metrics_).at("waitd_limit");
  EXPECT_EQ(Find(limits, {{"resource", "descriptors"}}).gauge.value, 11);
  EXPECT_EQ(Find(limits, {{"resource", "waiters"}}).gauge.value, 12);
  EXPECT_EQ(Find(limits, {{"resource", "payload_bytes"}}).gauge.value, 13);
  EXPECT_EQ(Find(limits, {{"resource", "deliveries"}}).gauge.value, 1 << 20);
  const auto bytes = Collect(metrics_).at("waitd_held_bytes_limit");
  EXPECT_EQ(Find(bytes, {{"what", "waits"}}).gauge.value, core::WaitsOf(12).bytes);
}

TEST_F(CoreMetricsTest, WhatIsHeldIsShownByKind) {
  poller_.budget().Add(core::Held::kResults, nullptr, {.things = 1, .bytes = 160});
  const auto held = Collect(metrics_).at("waitd_held_bytes");
  EXPECT_EQ(held.metric.size(), core::kHeldKinds);
  EXPECT_EQ(Find(held, {{"what", "results"}}).gauge.value, 160);
  EXPECT_EQ(Find(held, {{"what", "payloads"}}).gauge.value, 0);
}

TEST_F(CoreMetricsTest, WhatTheCoreCountedIsShown) {
  class Opened final : public core::OpenCall {
    void Done() override {}
  } opened;
  class Signalled final : public core::ReadyCall {
    void Done() override {}
  } signalled;
  poller_.Open(core::kWhenCarriedOut, {.name = "a", .options = {.kind = core::Kind::kFifo}},
               opened);
  poller_.Ready(core::kWhenCarriedOut, {.name = "a", .mode = core::Mode::kWrite, .signal = nullptr},
                signalled);
  const Families families = Collect(metrics_);
  EXPECT_EQ(Find(families.at("waitd_descriptors"), {{"kind", "fifo"}}).gauge.value, 1);
  EXPECT_EQ(Find(families.at("waitd_ready_total"), {{"mode", "write"}, {"effect", "remembered"}})
                .counter.value,
            1);
}

TEST_F(CoreMetricsTest, DrainingIsShown) {
  metrics_.SetDraining();
  EXPECT_EQ(Collect(metrics_).at("waitd_draining").metric.at(0).gauge.value, 1);
}

TEST(RpcMetrics, EveryMethodCodeAndReasonIsThereFromTheStart) {
  const RpcMetrics metrics;
  const Families families = Collect(metrics);
  ExpectZeros(families.at("grpc_server_started_total"), kMethods);
  ExpectZeros(families.at("grpc_server_handled_total"), kMethods * 17);
  ExpectZeros(families.at("grpc_server_handling_seconds"), kMethods);
  ExpectZeros(families.at("waitd_refusals_total"), Reasons().size());
  ExpectZeros(families.at("waitd_wake_latency_seconds"), 1);
}

TEST(RpcMetrics, CountsAreUnderTheirLabels) {
  RpcMetrics metrics;
  metrics.Started(Method::kWait);
  metrics.Handled(Method::kWait, grpc::StatusCode::FAILED_PRECONDITION,
                  std::chrono::milliseconds(7));
  metrics.Refused("DOUBLE_WAIT");
  const Families families = Collect(metrics);
  std::map<std::string, std::string> labels = {
      {"grpc_type", "unary"}, {"grpc_service", "waitd.v1.WaitService"}, {"grpc_method", "Wait"}};
  EXPECT_EQ(Find(families.at("grpc_server_started_total"), labels).counter.value, 1);
  const auto& took = Find(families.at("grpc_server_handling_seconds"), labels).histogram;
  EXPECT_EQ(took.sample_count, 1U);
  EXPECT_NEAR(took.sample_sum, 0.007, 1e-9);
  labels["grpc_code"] = "FailedPrecondition";
  EXPECT_EQ(Find(families.at("grpc_server_handled_total"), labels).counter.value, 1);
  EXPECT_EQ(Find(families.at("waitd_refusals_total"), {{"reason", "DOUBLE_WAIT"}}).counter.value,
            1);
}

TEST(RpcMetrics, ABucketHoldsItsUpperBound) {
  RpcMetrics metrics;
  core::WaitResult woken;
  woken.parked = core::Nanos(1);
  const auto At = [](core::Nanos after) { return core::Now{{}, core::WallTime(after)}; };
  metrics.Woke(At(std::chrono::milliseconds(1)), woken);
  metrics.Woke(At(std::chrono::milliseconds(1) + core::Nanos(1)), woken);
  metrics.Woke(At(std::chrono::hours(1)), woken);
  const Families families = Collect(metrics);
  const auto& woke = families.at("waitd_wake_latency_seconds").metric.at(0).histogram;
  EXPECT_EQ(woke.sample_count, 3U);
  double last_bound = -1;
  uint64_t last_count = 0;
  for (const auto& bucket : woke.bucket) {
    EXPECT_GT(bucket.upper_bound, last_bound);
    EXPECT_GE(bucket.cumulative_count, last_count);
    last_bound = bucket.upper_bound;
    last_count = bucket.cumulative_count;
    if (std::abs(bucket.upper_bound - 0.001) < 1e-12) {
      EXPECT_EQ(bucket.cumulative_count, 1U);
    }
    if (std::abs(bucket.upper_bound - 0.0025) < 1e-12) {
      EXPECT_EQ(bucket.cumulative_count, 2U);
    }
  }
  EXPECT_TRUE(std::isinf(last_bound));
  EXPECT_EQ(last_count, 3U);
}

TEST(ProcessMetrics, AreThoseOfThisProcess) {
  const ProcessMetrics metrics;
  const Families families = Collect(metrics);
  ASSERT_EQ(families.size(), 6U);
  EXPECT_EQ(families.at("process_cpu_seconds_total").type, MetricType::Counter);
  EXPECT_GT(families.at("process_resident_memory_bytes").metric.at(0).gauge.value, 1e6);
  EXPECT_GE(families.at("process_virtual_memory_bytes").metric.at(0).gauge.value,
            families.at("process_resident_memory_bytes").metric.at(0).gauge.value);
  EXPECT_GE(families.at("process_open_fds").metric.at(0).gauge.value, 3);
  EXPECT_GE(families.at("process_max_fds").metric.at(0).gauge.value,
            families.at("process_open_fds").metric.at(0).gauge.value);
  const double since = families.at("process_start_time_seconds").metric.at(0).gauge.value;
  const double now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(since, now + 2);
  EXPECT_GT(since, now - 24 * 3600);
}

}  // namespace
}  // namespace waitd::server
