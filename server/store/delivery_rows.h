#ifndef WAITD_SERVER_STORE_DELIVERY_ROWS_H_
#define WAITD_SERVER_STORE_DELIVERY_ROWS_H_

#include <cstdint>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "core/saved.h"

namespace waitd::server {

/// Which deliveries have rows, for those of a name go with it. Its rows could be erased as one
/// range of keys, but each has its payload to let go, and ranges that were erased are in the way of
/// every later read. A row takes about twelve bytes here.
///
/// Threads: none of its own.
class DeliveryRows {
 public:
  void Made(const core::SavedDeliveryKey& key) { rows_[key.generation].insert(Packed(key)); }

  void Erased(const core::SavedDeliveryKey& key) {
    const auto found = rows_.find(key.generation);
    if (found == rows_.end()) return;
    found->second.erase(Packed(key));
    if (found->second.empty()) rows_.erase(found);
  }

  /// All of this generation, which have no rows from now on.
  std::vector<core::SavedDeliveryKey> Take(uint64_t generation) {
    std::vector<core::SavedDeliveryKey> taken;
    const auto found = rows_.find(generation);
    if (found == rows_.end()) return taken;
    taken.reserve(found->second.size());
    for (const uint64_t packed : found->second) {
      taken.push_back({generation, static_cast<core::Side>(packed & 1), packed >> 1});
    }
    rows_.erase(found);
    return taken;
  }

 private:
  // Numbers begin at 1 in each generation, and never get near to 2^63.
  static uint64_t Packed(const core::SavedDeliveryKey& key) {
    return key.number << 1 | Index(key.side);
  }

  absl::flat_hash_map<uint64_t, absl::btree_set<uint64_t>> rows_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_DELIVERY_ROWS_H_
