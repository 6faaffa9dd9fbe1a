#ifndef WAITD_SERVER_METRICS_FAMILIES_H_
#define WAITD_SERVER_METRICS_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace waitd::server {

/// Shorthand for what Collectables hand out.
using LabelSet = std::vector<std::pair<std::string, std::string>>;
using Samples = std::vector<std::pair<LabelSet, double>>;

/// The one sample of a metric without labels.
inline Samples One(double value) { return {{{}, value}}; }

prometheus::MetricFamily Counter(std::string name, std::string help, const Samples& samples);
prometheus::MetricFamily Gauge(std::string name, std::string help, const Samples& samples);

/// A histogram without samples yet; AddHistogram adds one.
prometheus::MetricFamily HistogramFamily(std::string name, std::string help);

/// `counts` has one more entry than `bounds`, for what is above them all.
void AddHistogram(prometheus::MetricFamily& family, const LabelSet& labels,
                  std::span<const core::Nanos> bounds, std::span<const uint64_t> counts,
                  double sum_seconds);

}  // namespace waitd::server

#endif  // WAITD_SERVER_METRICS_FAMILIES_H_
