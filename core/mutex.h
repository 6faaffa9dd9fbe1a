#ifndef WAITD_CORE_MUTEX_H_
#define WAITD_CORE_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace waitd::core {

/// std::mutex with the annotations that clang's thread safety analysis reads. Not absl::Mutex:
/// the packaged Abseil is not instrumented, and a ThreadSanitizer that cannot see a lock reports
/// races that are none.
class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

  /// Tells the analysis, not the machine, that the caller holds the lock in a way it cannot follow.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
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
