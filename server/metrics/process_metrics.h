#ifndef WAITD_SERVER_METRICS_PROCESS_METRICS_H_
#define WAITD_SERVER_METRICS_PROCESS_METRICS_H_

#include <prometheus/collectable.h>

#include <vector>

namespace waitd::server {

/// The standard process_* metrics of Prometheus's client libraries, from /proc/self. Threads:
/// Collect by anyone.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_METRICS_PROCESS_METRICS_H_
