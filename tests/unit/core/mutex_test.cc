#include "core/mutex.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

namespace waitd::core {
namespace {

// Where AssertHeld checks, the statement stops the process; in a release build it does nothing.
#define EXPECT_DEATH_IF_CHECKED(statement)                          \
  do {                                                              \
    if constexpr (Mutex::kChecked) {                                \
      EXPECT_DEATH(statement, "the caller does not hold the lock"); \
    } else {                                                        \
      statement;                                                    \
    }                                                               \
  } while (false)

TEST(Mutex, AssertHeldAcceptsTheHolder) {
  Mutex mutex;
  for (int i = 0; i < 2; ++i) {
    const MutexLock lock(mutex);
    mutex.AssertHeld();
  }
}

TEST(Mutex, AReleaseBuildPaysNothingForTheCheck) {
#ifdef NDEBUG
  static_assert(!Mutex::kChecked);
  static_assert(sizeof(Mutex) == sizeof(std::mutex));
#else
  static_assert(Mutex::kChecked);
#endif
}

TEST(MutexDeathTest, AssertHeldStopsWhoDoesNotHoldTheLock) {
  Mutex mutex;
  EXPECT_DEATH_IF_CHECKED(mutex.AssertHeld());
  { const MutexLock lock(mutex); }
  EXPECT_DEATH_IF_CHECKED(mutex.AssertHeld());
}

TEST(MutexDeathTest, AssertHeldStopsAThreadWhileAnotherHoldsTheLock) {
  Mutex mutex;
  const MutexLock lock(mutex);
  EXPECT_DEATH_IF_CHECKED(std::thread([&] { mutex.AssertHeld(); }).join());
}

}  // namespace
}  // namespace waitd::core
