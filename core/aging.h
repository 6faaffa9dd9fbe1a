#ifndef WAITD_CORE_AGING_H_
#define WAITD_CORE_AGING_H_

#include <cstdint>

#include "core/clock.h"

namespace waitd::core {

/// Something that is remembered for a while after it is over: the answer of a call with an id, or a
/// delivery that was acknowledged or is stale.
struct Aging {
  explicit Aging(bool is_delivery) : delivery(is_delivery) {}

  Instant recorded;        ///< since when it can be forgotten
  Aging* older = nullptr;  ///< in the list, as is the next
  Aging* newer = nullptr;
  uint32_t weight = 0;  ///< what it counts in --max-outcomes; 0: it is in no list
  const bool delivery;  ///< it is a Delivery; else an IdRecord
};

/// What a shard can forget, the oldest first. Threads: the shard's lock.
class AgingList {
 public:
  Aging* oldest() const { return oldest_; }

  void Add(Aging& item, Instant now, uint32_t weight) {
    item.recorded = now;
    item.weight = weight;
    item.older = newest_;
    item.newer = nullptr;
    (newest_ == nullptr ? oldest_ : newest_->newer) = &item;
    newest_ = &item;
  }

  void Remove(Aging& item) {
    (item.older == nullptr ? oldest_ : item.older->newer) = item.newer;
    (item.newer == nullptr ? newest_ : item.newer->older) = item.older;
    item.weight = 0;
  }

 private:
  Aging* oldest_ = nullptr;
  Aging* newest_ = nullptr;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_AGING_H_
