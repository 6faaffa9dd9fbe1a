#ifndef WAITD_SERVER_METRICS_STORE_METRICS_H_
#define WAITD_SERVER_METRICS_STORE_METRICS_H_

#include <prometheus/collectable.h>

#include <string>
#include <vector>

#include "core/clock.h"
#include "server/options/options.h"
#include "server/store/committer.h"
#include "server/store/store.h"

namespace waitd::server {

/// The metrics of the store and of what is committed to it; with the memory store all of them
/// stay 0. Threads: Collect by anyone after SetStore. Lifetime: what it is given outlives it.
class StoreMetrics final : public prometheus::Collectable {
 public:
  StoreMetrics(const Committer& committer, const Options& options)
      : committer_(committer), store_name_(options.store), sync_(options.sync) {}

  /// Before anybody collects.
  void SetStore(const Store& store, core::Nanos recovery) {
    store_ = &store;
    recovery_ = recovery;
  }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Committer& committer_;
  const std::string store_name_;
  const std::string sync_;
  const Store* store_ = nullptr;
  core::Nanos recovery_{0};
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_METRICS_STORE_METRICS_H_
