#ifndef WAITD_CORE_AGING_H_
#define WAITD_CORE_AGING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/account_ref.h"
#include "core/clock.h"

namespace waitd::core {

/// Something that is remembered for a while after it is over: the answer of a call with an id, or a
/// delivery that was acknowledged or is stale. In two lists: of all, and of its account.
struct Aging {
  explicit Aging(bool is_delivery) : delivery(is_delivery) {}

  struct Links {
    Aging* older = nullptr;
    Aging* newer = nullptr;
  };

  Instant recorded;  ///< since when it can be forgotten
  std::array<Links, 2> links;
  AccountRef account;   ///< whose it is
  uint32_t bytes = 0;   ///< what it takes of the budget; 0: it is in no list
  const bool delivery;  ///< it is a Delivery; else an IdRecord
};

/// What a shard can forget, the oldest first. Threads: the shard's lock.
class AgingList {
 public:
  enum Of : uint8_t { kOfAll, kOfAccount };
  explicit AgingList(Of of = kOfAll) : of_(of) {}

  Aging* oldest() const { return oldest_; }

  void Add(Aging& item) {
    item.links[of_] = {newest_, nullptr};
    (newest_ == nullptr ? oldest_ : newest_->links[of_].newer) = &item;
    newest_ = &item;
  }

  void Remove(Aging& item) {
    const auto [older, newer] = item.links[of_];
    (older == nullptr ? oldest_ : older->links[of_].newer) = newer;
    (newer == nullptr ? newest_ : newer->links[of_].older) = older;
  }

 private:
  Aging* oldest_ = nullptr;
  Aging* newest_ = nullptr;
  Of of_;
};

/// In which shard the oldest of all shards was found, and until when that serves: as long as none
/// of another is older by a second. Threads: any; relaxed, for it is only where to look first.
struct OldestShard {
  std::atomic<size_t> shard{0};
  std::atomic<int64_t> until{INT64_MIN};
};

}  // namespace waitd::core

#endif  // WAITD_CORE_AGING_H_
