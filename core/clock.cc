#include "core/clock.h"

#include <ctime>

#include "core/check.h"

namespace waitd::core {
namespace {

Nanos ReadNanos(clockid_t id) {
  timespec at{};
  WAITD_CHECK(clock_gettime(id, &at) == 0, "a clock of the machine cannot be read");
  return std::chrono::seconds(at.tv_sec) + Nanos(at.tv_nsec);
}

// By how much the wall clock is ahead of the monotonic one, and up to which reading of the coarse
// wall clock that was found so.
struct Offset {
  Nanos coarse_wall{-1};
  Nanos ahead{0};
};

}  // namespace

// One exact reading, and the wall time by the offset between the clocks. Two exact readings would
// cost half as much again, and a thread that is held up between them would take the pause for an
// offset: an absolute deadline could come early by it.
//
// The kernel slews both clocks alike, so their offset changes by a step of the wall clock alone.
// The coarse clocks are what both showed at the last tick: their difference is the offset, exactly,
// and a coarse wall clock that has not moved since says that nothing was stepped either.
Now RealClock::Read() const {
  thread_local Offset offset;
  for (Nanos wall = ReadNanos(CLOCK_REALTIME_COARSE); wall != offset.coarse_wall;) {
    const Nanos mono = ReadNanos(CLOCK_MONOTONIC_COARSE);
    const Nanos again = ReadNanos(CLOCK_REALTIME_COARSE);
    if (again == wall) offset = {wall, wall - mono};  // else a tick came between the two
    wall = again;
  }
  const Nanos mono = ReadNanos(CLOCK_MONOTONIC);
  return {Instant(mono), WallTime(mono + offset.ahead)};
}

}  // namespace waitd::core
