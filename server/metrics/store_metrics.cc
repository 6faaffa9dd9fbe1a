#include "server/metrics/store_metrics.h"

#include <chrono>
#include <limits>

#include "server/metrics/families.h"

namespace waitd::server {
namespace {

prometheus::MetricFamily Records(const CommitCounters& counters) {
  prometheus::MetricFamily family =
      HistogramFamily("waitd_commit_records", "Rows that a commit wrote or erased.");
  prometheus::ClientMetric metric;
  uint64_t below = 0;
  for (size_t i = 0; i < counters.records.size(); ++i) {
    below += counters.records[i];
    const bool last = i == CommitCounters::kRecords.size();
    metric.histogram.bucket.push_back(
        {below, last ? std::numeric_limits<double>::infinity()
                     : static_cast<double>(CommitCounters::kRecords[i])});
  }
  metric.histogram.sample_count = below;
  metric.histogram.sample_sum = static_cast<double>(counters.records_sum);
  family.metric.push_back(metric);
  return family;
}

}  // namespace

std::vector<prometheus::MetricFamily> StoreMetrics::Collect() const {
  const CommitCounters counters = committer_.counters();
  const bool memory = store_ == nullptr;
  std::vector<prometheus::MetricFamily> families = {
      Gauge("waitd_store_bytes", "What the store takes on the disk.",
            One(memory ? 0 : static_cast<double>(store_->Bytes()))),
      Counter("waitd_store_errors_total",
              "Writes or syncs that failed; after the first one waitd ends.",
              One(static_cast<double>(counters.errors))),
      Gauge("waitd_recovery_duration_seconds", "How long it took to bring back what was stored.",
            One(std::chrono::duration<double>(recovery_).count())),
      Gauge("waitd_store_info", "Which store waitd runs with, and when it syncs.",
            {{{{"store", store_name_}, {"sync", memory ? "none" : sync_}}, 1}}),
  };
  prometheus::MetricFamily duration = HistogramFamily(
      "waitd_commit_duration_seconds", "How long commits to the store took, with their sync.");
  AddHistogram(duration, {}, counters.duration.bounds(), counters.duration.counts(),
               counters.duration.sum_seconds());
  families.push_back(std::move(duration));
  families.push_back(Records(counters));
  return families;
}

}  // namespace waitd::server
