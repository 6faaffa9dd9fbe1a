#include "core/blocks.h"

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/mutex.h"

namespace waitd::core {
namespace {

constexpr size_t kStep = alignof(void*);
constexpr size_t kSizeMax = 256;  // larger ones are few
constexpr uint32_t kBatch = 64;   // blocks that go over the depot together

// A free block. The first of a batch knows the next batch.
struct Free {
  Free* next = nullptr;
  Free* next_batch = nullptr;
};
constexpr size_t kSizeMin = sizeof(Free);

// Which list a size belongs to.
constexpr size_t ListOf(size_t size) { return (size + kStep - 1) / kStep; }
constexpr size_t kLists = ListOf(kSizeMax) + 1;

constexpr size_t Rounded(size_t size) { return size < kSizeMin ? kSizeMin : ListOf(size) * kStep; }

// What the threads share.
class Depot {
 public:
  // A batch of blocks of this size: another thread's, or a new one.
  Free* Take(size_t size) {
    const MutexLock lock(mutex_);
    Free*& first = batches_[ListOf(size)];
    if (first == nullptr) return Make(Rounded(size));
    return std::exchange(first, first->next_batch);
  }

  void Put(Free* batch, size_t list) {
    const MutexLock lock(mutex_);
    batch->next_batch = std::exchange(batches_[list], batch);
  }

 private:
  Free* Make(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto* const slab = static_cast<char*>(::operator new(kBatch* size));
    slabs_.push_back(slab);
    Free* first = nullptr;
    for (uint32_t i = kBatch; i > 0; --i) {
      first = new (slab + (i - 1) * size) Free{.next = first};
    }
    return first;
  }

  Mutex mutex_;
  std::array<Free*, kLists> batches_ ABSL_GUARDED_BY(mutex_){};
  std::vector<char*> slabs_ ABSL_GUARDED_BY(mutex_);  // for who looks for leaks
};

// Never destroyed: threads that end late put their blocks back.
Depot& TheDepot() {
  static Depot& depot = *new Depot;
  return depot;
}

// What one thread keeps.
class Cache {
 public:
  Cache() = default;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  ~Cache() {
    for (size_t i = 0; i < kLists; ++i) {
      for (Free* const batch : {lists_[i].first, lists_[i].spare}) {
        if (batch != nullptr) TheDepot().Put(batch, i);
      }
    }
  }

  void* Get(size_t size) {
    List& list = lists_[ListOf(size)];
    if (list.first == nullptr) {
      list.first =
          list.spare != nullptr ? std::exchange(list.spare, nullptr) : TheDepot().Take(size);
      list.count = kBatch;
    }
    --list.count;
    return std::exchange(list.first, list.first->next);
  }

  void Put(void* block, size_t size) {
    const size_t at = ListOf(size);
    List& list = lists_[at];
    if (list.count >= kBatch) {
      if (list.spare != nullptr) TheDepot().Put(list.spare, at);
      list.spare = std::exchange(list.first, nullptr);
      list.count = 0;
    }
    list.first = new (block) Free{.next = list.first};
    ++list.count;
  }

 private:
  struct List {
    Free* first = nullptr;
    Free* spare = nullptr;  // a batch
    uint32_t count = 0;     // of those in `first`, or more: a thread that ends leaves small batches
  };
  std::array<List, kLists> lists_;
};

Cache& MyCache() {
  thread_local Cache cache;
  return cache;
}

}  // namespace

void* GetBlock(size_t size) { return size > kSizeMax ? ::operator new(size) : MyCache().Get(size); }

void PutBlock(void* block, size_t size) {
  if (size > kSizeMax) {
    ::operator delete(block);
  } else {
    MyCache().Put(block, size);
  }
}

}  // namespace waitd::core
