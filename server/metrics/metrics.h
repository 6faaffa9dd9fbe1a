#ifndef WAITD_SERVER_METRICS_METRICS_H_
#define WAITD_SERVER_METRICS_METRICS_H_

#include <prometheus/collectable.h>

#include <atomic>
#include <vector>

#include "core/clock.h"
#include "core/poller.h"
#include "server/options/options.h"

namespace waitd::server {

/// The waitd_* metrics that come from the core's counters, and those that say what this process is.
/// Threads: everything by anyone. Lifetime: the poller outlives it.
class CoreMetrics final : public prometheus::Collectable {
 public:
  CoreMetrics(core::Poller& poller, const Options& options) : poller_(poller), options_(options) {}

  /// From now on waitd_draining is 1.
  void SetDraining() { draining_.store(true, std::memory_order_relaxed); }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  core::Poller& poller_;
  const Options options_;
  std::atomic<bool> draining_{false};  // relaxed: shown, and nothing else
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_METRICS_METRICS_H_
