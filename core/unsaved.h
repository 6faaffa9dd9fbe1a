#ifndef WAITD_CORE_UNSAVED_H_
#define WAITD_CORE_UNSAVED_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/journal.h"
#include "core/poll_desc.h"
#include "core/saved.h"

namespace waitd::core {

/// Things that have changed, each once, in no order. Threads: none of its own.
template <class T>
class DirtyList {
 public:
  void Add(T& item) {
    if (item.dirty_at != 0) return;
    items_.push_back(&item);
    item.dirty_at = static_cast<uint32_t>(items_.size());
  }

  /// The item goes, or is taken care of; nothing for one that is not in.
  void Remove(T& item) {
    if (item.dirty_at == 0) return;
    T& last = *items_.back();
    last.dirty_at = item.dirty_at;
    items_[item.dirty_at - 1] = &last;
    items_.pop_back();
    item.dirty_at = 0;
  }

  /// All of them, which are none any more.
  std::vector<T*> Take() {
    for (T* const item : items_) item->dirty_at = 0;
    return std::exchange(items_, {});
  }

 private:
  std::vector<T*> items_;
};

/// What of a shard is to be saved. Stays empty in a poller without a journal.
///
/// Threads: none of its own; the shard's lock guards it.
struct Unsaved {
  DirtyList<PollDesc> descs;
  DirtyList<IdRecord> ids;
  std::vector<std::string> closed;    ///< names that are stored and gone
  std::vector<SavedIdKey> forgotten;  ///< ids that are stored and gone
  bool horizon = false;               ///< it has moved
  bool told = false;                  ///< the journal knows that there is something
  uint32_t halves = 0;  ///< polls that took a READY here and have not left their places: no half
                        ///< of such a change is to be saved
  ShardSet linked = 0;  ///< shards that were changed in one step with this one
  uint64_t number = 0;  ///< of the last change
  uint64_t saved = 0;   ///< changes up to this number are safe
};

}  // namespace waitd::core

#endif  // WAITD_CORE_UNSAVED_H_
