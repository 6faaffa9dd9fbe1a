#ifndef WAITD_CORE_BLOCKS_H_
#define WAITD_CORE_BLOCKS_H_

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace waitd::core {

/// Memory for small objects that come and go a million times a second, often made by one thread and
/// gone by another: what a call needs, and its result. A block has no header, so that a million of
/// them cost what they hold; like a slab's, its memory is used again and never given back.
///
/// The bet: a thread that needs a block has just let one go, or gets as many as it lets go of.
/// Each keeps two batches of blocks for itself; what it has too many or too few of goes over a
/// depot that all share, a batch at a time.
///
/// Threads: any. Under a lock, too: it takes only the depot's, for a moment.
/// Source:  magazines and their depot (Bonwick and Adams, 2001).
void* GetBlock(size_t size);

/// The block goes back; `size` as it was asked for.
void PutBlock(void* block, size_t size);

/// Ends an object and puts its block back.
template <class T>
struct Recycle {
  void operator()(T* object) const {
    object->~T();
    PutBlock(object, sizeof(T));
  }
};

/// Owns an object in a block, or nothing.
template <class T>
using Recycled = std::unique_ptr<T, Recycle<T>>;

template <class T, class... Args>
Recycled<T> MakeRecycled(Args&&... args) {
  static_assert(alignof(T) <= alignof(void*), "blocks are aligned for a pointer");
  return Recycled<T>(new (GetBlock(sizeof(T))) T(std::forward<Args>(args)...));
}

}  // namespace waitd::core

#endif  // WAITD_CORE_BLOCKS_H_
