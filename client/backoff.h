#ifndef WAITD_CLIENT_BACKOFF_H_
#define WAITD_CLIENT_BACKOFF_H_

#include <algorithm>
#include <optional>

#include "absl/time/time.h"

namespace waitd::ctl {

/// How long to stay away from a server that could not be reached: from 100 ms, by 1.6 with each
/// failure, up to 5 s, and of that a random part of one half to the whole, so that many clients of
/// one restarted server do not come back at once.
class Backoff {
 public:
  /// `random`: from 0 to 1. A delay that the server asked for is kept at least.
  absl::Duration Next(double random, std::optional<absl::Duration> asked) {
    const absl::Duration delay = ceiling_ * (0.5 + 0.5 * random);
    ceiling_ = std::min(ceiling_ * 1.6, kLongest);
    return asked ? std::max(*asked, delay) : delay;
  }

  void Reset() { ceiling_ = kFirst; }

 private:
  static constexpr absl::Duration kFirst = absl::Milliseconds(100);
  static constexpr absl::Duration kLongest = absl::Seconds(5);
  absl::Duration ceiling_ = kFirst;
};

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_BACKOFF_H_
