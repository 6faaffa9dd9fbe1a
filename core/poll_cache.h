#ifndef WAITD_CORE_POLL_CACHE_H_
#define WAITD_CORE_POLL_CACHE_H_

#include <cstddef>
#include <deque>
#include <vector>

namespace waitd::core {

/// A slab of objects that are recycled and never freed: a pointer to one is good for as long as the
/// cache, and what it points at stays of its type, though it may be in another life (type-stable).
/// The owner tells lives apart by a number of the object's own.
///
/// Threads: none of its own; the shard's lock guards it.
/// Source:  the Go runtime's pollCache.
template <class T>
class PollCache {
 public:
  /// An object that nobody uses: a recycled one, or a new one made with `args`.
  template <class... Args>
  T& Get(Args&... args) {
    if (free_.empty()) return slots_.emplace_back(args...);
    T& slot = *free_.back();
    free_.pop_back();
    return slot;
  }

  /// Takes an object back. Nobody may use it any more, but to see that its life is over.
  void Put(T& slot) { free_.push_back(&slot); }

  /// How many there are, used or not.
  size_t size() const { return slots_.size(); }

 private:
  std::deque<T> slots_;
  std::vector<T*> free_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLL_CACHE_H_
