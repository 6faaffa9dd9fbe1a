#ifndef WAITD_CORE_MUTEX_H_
#define WAITD_CORE_MUTEX_H_

#include <atomic>
#include <mutex>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/check.h"

namespace waitd::core {

/// std::mutex with the annotations that clang's thread safety analysis reads. Not absl::Mutex:
/// the packaged Abseil is not instrumented, and a ThreadSanitizer that cannot see a lock reports
/// races that are none.
class ABSL_LOCKABLE Mutex {
 public:
  /// Whether AssertHeld checks. A release build does not.
#ifdef NDEBUG
  static constexpr bool kChecked = false;
#else
  static constexpr bool kChecked = true;
#endif

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    mutex_.lock();
    SetOwner(std::this_thread::get_id());
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    SetOwner({});
    mutex_.unlock();
  }

  /// Tells the analysis that the caller holds the lock, in a way that it cannot follow. Stops the
  /// process if that is not so; in a release build it does nothing.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {
#ifndef NDEBUG
    // Relaxed: only the holder writes, so a thread that holds the lock reads its own last store.
    // One that does not has itself stored "nobody" last, or never stored, and cannot read its id.
    WAITD_CHECK(owner_.load(std::memory_order_relaxed) == std::this_thread::get_id(),
                "the caller does not hold the lock");
#endif
  }

 private:
#ifdef NDEBUG
  void SetOwner(std::thread::id /*owner*/) {}
#else
  void SetOwner(std::thread::id owner) { owner_.store(owner, std::memory_order_relaxed); }
  std::atomic<std::thread::id> owner_{};  // nobody
#endif

  std::mutex mutex_;
};

/// Holds a Mutex for a scope.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }

  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_MUTEX_H_
