#ifndef WAITD_CORE_RECOVERY_H_
#define WAITD_CORE_RECOVERY_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/poller.h"
#include "core/saved.h"

namespace waitd::core {

/// Fills a new poller with what was saved: the names, then the ids and the deliveries in any order,
/// the shards, and Finish.
///
/// What is due meanwhile happens when the timers run, or at the first operation. An ephemeral
/// name is not restored: its session ended with the server's process.
///
/// Threads:  one, before anybody else uses the poller, which outlives it.
/// Errors:   false: it contradicts what was restored before, and the store is not to be trusted.
///           A row comes once, as the keys of a store do.
class Recovery {
 public:
  explicit Recovery(Poller& poller);

  [[nodiscard]] bool Restore(const SavedDesc& saved);
  [[nodiscard]] bool Restore(SavedId saved);
  [[nodiscard]] bool Restore(SavedDelivery saved);
  [[nodiscard]] bool Restore(const SavedShard& saved);

  /// `fresh`: nothing was ever saved, and first attempts from before now are not known.
  void Finish(bool fresh);

  uint64_t descriptors() const { return by_generation_.size(); }
  uint64_t ids() const { return ids_; }

 private:
  struct Aged {
    Instant recorded;
    Aging* item;
    uint32_t shard;
    uint32_t bytes;
  };
  PollDesc* Find(uint64_t generation) const;
  static void FindDeliveries(const std::shared_ptr<Remembered>& answer);

  Poller& poller_;
  const Now now_;
  absl::flat_hash_map<uint64_t, PollDesc*> by_generation_;
  std::vector<Aged> aged_;  // those that can be forgotten, in no order yet
  uint64_t ids_ = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_RECOVERY_H_
