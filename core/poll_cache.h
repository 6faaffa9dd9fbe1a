#ifndef WAITD_CORE_POLL_CACHE_H_
#define WAITD_CORE_POLL_CACHE_H_

#include <cstddef>
#include <new>
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
    if (!free_.empty()) {
      T& slot = *free_.back();
      free_.pop_back();
      return slot;
    }
    if (size_ % kSlab == 0) slabs_.emplace_back(static_cast<T*>(Allocate()));
    return *new (&slabs_.back()[size_++ % kSlab]) T(args...);
  }

  ~PollCache() {
    for (size_t i = 0; i < size_; ++i) slabs_[i / kSlab][i % kSlab].~T();
    for (T* const slab : slabs_) ::operator delete(slab, std::align_val_t(alignof(T)));
  }
  PollCache() = default;
  PollCache(const PollCache&) = delete;
  PollCache& operator=(const PollCache&) = delete;

  /// Takes an object back. Nobody may use it any more, but to see that its life is over.
  void Put(T& slot) { free_.push_back(&slot); }

  /// How many there are, used or not.
  size_t size() const { return size_; }

 private:
  static constexpr size_t kSlab = 64;  // of each allocation: what it costs is soon nothing for one

  static void* Allocate() {
    return ::operator new(kSlab * sizeof(T), std::align_val_t(alignof(T)));
  }

  std::vector<T*> slabs_;
  size_t size_ = 0;
  std::vector<T*> free_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLL_CACHE_H_
