#ifndef WAITD_TESTS_BENCH_LOAD_SCENARIOS_H_
#define WAITD_TESTS_BENCH_LOAD_SCENARIOS_H_

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "tests/bench/load/report.h"
#include "tests/bench/load/session.h"

namespace waitd::bench {

/// What a scenario is run with.
struct Setup {
  std::string target;
  pid_t server = 0;    ///< whose memory and processor time are looked at
  uint32_t count = 1;  ///< waits, callers or samples, as the scenario has it
  double seconds = 1;  ///< of measuring, where that is not given by count
  uint32_t armed = 0;  ///< of lateness: deadlines armed meanwhile
  bool ids = false;    ///< of parked: each wait has a wait_id

  double warm_up_seconds() const { return std::min(0.3, seconds); }
};

/// Names of 20 bytes, in which the numbers tell them apart late, as they often do in life. Made
/// when needed: a million of them would be in nobody's cache, and that time would count as the
/// server's.
class Name {
 public:
  explicit Name(uint32_t number) {
    constexpr std::string_view kPrefix = "bench/";
    std::copy(kPrefix.begin(), kPrefix.end(), text_.begin());
    std::fill(text_.begin() + kPrefix.size(), text_.end(), '0');
    for (size_t at = text_.size(); number > 0; number /= 10) {
      text_[--at] = static_cast<char>('0' + number % 10);
    }
  }
  const char* data() const { return text_.data(); }
  size_t size() const { return text_.size(); }

 private:
  std::array<char, 20> text_;
};

template <class Request>
void SetName(Request* request, uint32_t number) {
  const Name name(number);
  request->set_name(name.data(), name.size());
}

/// Adds `count` operations, in messages of some thousand, and waits until they are written.
/// `answered` are those that do not park: of these not too many are on their way at once, for
/// answers that are not acknowledged have a limit, and an acknowledgement queues up behind what was
/// sent before it.
void AddMany(Loop& loop, Session& session, uint32_t count, bool answered,
             const std::function<void(v1::Operation&, uint32_t)>& fill);

// The scenarios. Each connects by itself and prints nothing.

/// Wakes a second with `count` waits outstanding in one session, over a stream that carries both
/// the waits and the Readys: each wait that ends is parked again, and the next Ready sent.
Report Wakes(const Setup& setup);
/// Latency of `count` wakes of one pair: a wait in one session, its Ready from another; and of
/// unary calls; and of a message on a stream that is answered by the next one.
Report SessionPair(const Setup& setup);
Report UnaryPair(const Setup& setup);
Report PingPong(const Setup& setup);
/// Of `count` wakes after 1 to 3 s in which nothing happened, each followed by warm ones.
Report SessionIdle(const Setup& setup);
Report UnaryIdle(const Setup& setup);
/// Memory of the server's for each of `count` descriptors, and for a wait parked on each.
Report SessionParked(const Setup& setup);
Report UnaryParked(const Setup& setup);
/// Time from one Ready of a latch to the last of `count` waits.
Report Latch(const Setup& setup);
/// How late waits time out while `armed` deadlines are armed.
Report Lateness(const Setup& setup);
/// Unary Readys by `count` callers, each of which has one call at a time.
Report UnaryReady(const Setup& setup);

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_LOAD_SCENARIOS_H_
