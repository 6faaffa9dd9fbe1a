#ifndef WAITD_CORE_POLL_CACHE_H_
#define WAITD_CORE_POLL_CACHE_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <new>

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
    if (size_ % kSlab == 0) slabs_.push_back(std::make_unique_for_overwrite<Slab>());
    T& slot = *new (At(size_)) T(args...);
    ++size_;
    return slot;
  }

  ~PollCache() {
    for (size_t i = 0; i < size_; ++i) at(i).~T();
  }
  PollCache() = default;
  PollCache(const PollCache&) = delete;
  PollCache& operator=(const PollCache&) = delete;

  /// Takes an object back. Nobody may use it any more, but to see that its life is over.
  void Put(T& slot) { free_.push_back(&slot); }

  /// How many there are, used or not.
  size_t size() const { return size_; }

  /// The one with that number, below size(), used or not.
  T& at(size_t i) { return *std::launder(reinterpret_cast<T*>(At(i))); }

 private:
  static constexpr size_t kSlab = 64;  // of each allocation: what it costs is soon nothing for one

  struct Slab {
    alignas(T) std::byte objects[kSlab * sizeof(T)];
  };

  std::byte* At(size_t i) { return &slabs_[i / kSlab]->objects[i % kSlab * sizeof(T)]; }

  // Deques, for they copy little when they grow: a word for some thousand objects.
  std::deque<std::unique_ptr<Slab>> slabs_;
  std::deque<T*> free_;
  size_t size_ = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_POLL_CACHE_H_
