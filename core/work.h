#ifndef WAITD_CORE_WORK_H_
#define WAITD_CORE_WORK_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "core/journal.h"

namespace waitd::core {

class PollDesc;
class Step;

/// What an operation has left to do, so as not to hold a lock for long: carried out by RunTimers,
/// a piece under each hold. Threads: the lock of its shard.
class Work {
 public:
  virtual ~Work() = default;

  /// The shards that the next piece changes, besides its own.
  virtual ShardSet Needs() const { return 0; }

  /// The name that it is about, whose slot stays until it has ended; or null.
  virtual PollDesc* desc() const { return nullptr; }

  /// The next piece, under these locks. True: that was the last.
  [[nodiscard]] virtual bool Run(Step& step) = 0;

 private:
  friend class WorkList;
  std::unique_ptr<Work> next_;
};

/// The work of a shard, carried out in the order in which it came. Threads: the shard's lock.
class WorkList {
 public:
  WorkList() = default;
  WorkList(const WorkList&) = delete;
  WorkList& operator=(const WorkList&) = delete;
  ~WorkList() {
    while (Pop() != nullptr) {
    }
  }

  Work* first() const { return first_.get(); }

  void Push(std::unique_ptr<Work> work) {
    Work* const last = work.get();
    (first_ == nullptr ? first_ : last_->next_) = std::move(work);
    last_ = last;
  }

  std::unique_ptr<Work> Pop() {
    std::unique_ptr<Work> first = std::move(first_);
    if (first != nullptr) first_ = std::move(first->next_);
    return first;
  }

 private:
  std::unique_ptr<Work> first_;
  Work* last_ = nullptr;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_WORK_H_
