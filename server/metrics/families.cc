#include "server/metrics/families.h"

#include <chrono>
#include <limits>

namespace waitd::server {
namespace {

prometheus::MetricFamily Family(std::string name, std::string help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

prometheus::ClientMetric& AddMetric(prometheus::MetricFamily& family, const LabelSet& labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

}  // namespace

prometheus::MetricFamily Counter(std::string name, std::string help, const Samples& samples) {
  auto family = Family(std::move(name), std::move(help), prometheus::MetricType::Counter);
  for (const auto& [labels, value] : samples) AddMetric(family, labels).counter.value = value;
  return family;
}

prometheus::MetricFamily Gauge(std::string name, std::string help, const Samples& samples) {
  auto family = Family(std::move(name), std::move(help), prometheus::MetricType::Gauge);
  for (const auto& [labels, value] : samples) AddMetric(family, labels).gauge.value = value;
  return family;
}

prometheus::MetricFamily HistogramFamily(std::string name, std::string help) {
  return Family(std::move(name), std::move(help), prometheus::MetricType::Histogram);
}

void AddHistogram(prometheus::MetricFamily& family, const LabelSet& labels,
                  std::span<const core::Nanos> bounds, std::span<const uint64_t> counts,
                  double sum_seconds) {
  prometheus::ClientMetric& metric = AddMetric(family, labels);
  uint64_t cumulative = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    cumulative += counts[i];
    prometheus::ClientMetric::Bucket bucket;
    bucket.cumulative_count = cumulative;
    bucket.upper_bound = i < bounds.size() ? std::chrono::duration<double>(bounds[i]).count()
                                           : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back(bucket);
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = sum_seconds;
}

}  // namespace waitd::server
