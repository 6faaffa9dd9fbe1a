#ifndef WAITD_SERVER_STORE_STORE_CLOCK_H_
#define WAITD_SERVER_STORE_STORE_CLOCK_H_

#include <functional>
#include <string>

#include "core/clock.h"

namespace waitd::server {

/// The clocks that a store writes and reads instants by.
struct StoreClock {
  std::function<core::Now()> now;

  /// Of CLOCK_BOOTTIME: like the monotonic clock it is never stepped, and it also tells how long
  /// the machine was suspended.
  std::function<core::Nanos()> boottime;

  /// What names this boot and this time namespace: while it stays the same, readings of `boottime`
  /// can be compared, whichever process took them. Empty: not known, and so like no other.
  std::string boot;

  static StoreClock OfMachine();
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_STORE_CLOCK_H_
