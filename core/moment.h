#ifndef WAITD_CORE_MOMENT_H_
#define WAITD_CORE_MOMENT_H_

#include <cstdint>

#include "core/clock.h"

namespace waitd::core {

struct Place;
class PollWaiter;

/// Called between the steps of parking, so that a test can let something happen just there.
class Probe {
 public:
  enum class Point : uint8_t {
    kChecked,    ///< errors and READY were checked, nobody can find the waiter yet
    kPublished,  ///< the waiter can be found, and has not committed to parking
    kClaimed,    ///< a parked waiter was claimed, and its call has no answer yet
  };
  virtual ~Probe() = default;
  virtual void At(Point point) = 0;
};

/// What an operation brings to the descriptors it touches, and the waits that it ends there.
struct Moment {
  Now now;
  Probe* probe = nullptr;
  Place* ended_first = nullptr;  ///< places of single waits claimed while parked, linked by `next`
  Place* ended_last = nullptr;
  PollWaiter* claimed = nullptr;  ///< polls claimed while parked, linked by `next_claimed`
};

}  // namespace waitd::core

#endif  // WAITD_CORE_MOMENT_H_
