#include "core/clock.h"

#include <chrono>

namespace waitd::core {

Now RealClock::Read() const {
  return {Instant(std::chrono::steady_clock::now().time_since_epoch()),
          std::chrono::time_point_cast<Nanos>(std::chrono::system_clock::now())};
}

}  // namespace waitd::core
