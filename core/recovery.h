#ifndef WAITD_CORE_RECOVERY_H_
#define WAITD_CORE_RECOVERY_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/poller.h"
#include "core/saved.h"

namespace waitd::core {

/// Fills a new poller with what was saved: the descriptors, EndOfDescs, the ids, then Finish.
///
/// What is due meanwhile happens when the timers run, or at the first operation. An ephemeral
/// descriptor is not restored: its session ended with the server's process.
///
/// Threads:  Restore and MoveHorizon several, the others one, with those before them done; and
///           before anybody else uses the poller, which outlives it.
/// Errors:   false: it contradicts what was restored before, and the store is not to be trusted.
///           A name or an id comes once, as the keys of a store do.
class Recovery {
 public:
  Recovery(Poller& poller, const Now& now) : poller_(poller), now_(now) {}

  void Restore(const SavedDesc& saved);
  [[nodiscard]] bool EndOfDescs();
  [[nodiscard]] bool Restore(SavedId saved);
  void MoveHorizon(uint32_t shard, Instant at);

  /// `next_generation` is above every one that was ever used; 0: nothing was ever saved, and first
  /// attempts from before now are not known.
  void Finish(uint64_t next_generation);

  uint64_t descriptors() const;

 private:
  struct Aged {
    Instant recorded;
    IdRecord* record;
    uint32_t shard;
  };
  PollDesc* Find(uint64_t generation) const;
  void PointAt(WaitResult& ready) const;

  Poller& poller_;
  const Now now_;
  // Of each shard, under its lock: what was restored, and which ids can be forgotten, in no order
  // yet.
  std::array<std::vector<PollDesc*>, kShards> descs_;
  std::array<std::vector<Aged>, kShards> aged_;
  absl::flat_hash_map<uint64_t, PollDesc*> by_generation_;  // from EndOfDescs on
};

}  // namespace waitd::core

#endif  // WAITD_CORE_RECOVERY_H_
