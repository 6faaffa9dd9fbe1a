#ifndef WAITD_CORE_STATS_H_
#define WAITD_CORE_STATS_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/clock.h"
#include "core/types.h"

namespace waitd::core {

/// Counts durations into buckets with fixed upper bounds, and a last one without. Threads: none;
/// each shard has its own, under its lock, and a reader adds them up.
template <size_t N>
class Histogram {
 public:
  explicit constexpr Histogram(const std::array<Nanos, N>& bounds) : bounds_(&bounds) {}

  void Observe(Nanos value) {
    size_t bucket = 0;
    while (bucket < N && value > (*bounds_)[bucket]) ++bucket;
    ++counts_[bucket];
    sum_ns_ += static_cast<double>(value.count());
  }

  void Add(const Histogram& other) {
    for (size_t i = 0; i <= N; ++i) counts_[i] += other.counts_[i];
    sum_ns_ += other.sum_ns_;
  }

  std::span<const Nanos> bounds() const { return *bounds_; }
  std::span<const uint64_t> counts() const { return counts_; }
  double sum_seconds() const { return sum_ns_ / 1e9; }

 private:
  const std::array<Nanos, N>* bounds_;
  std::array<uint64_t, N + 1> counts_{};
  double sum_ns_ = 0;  // a million waits of a day are beyond an integer
};

/// How long waits last: 10 ms to 1 h, by about four.
inline constexpr std::array<Nanos, 10> kWaitBounds = {
    std::chrono::milliseconds(10),  std::chrono::milliseconds(40),   std::chrono::milliseconds(160),
    std::chrono::milliseconds(640), std::chrono::milliseconds(2500), std::chrono::seconds(10),
    std::chrono::seconds(40),       std::chrono::seconds(160),       std::chrono::seconds(900),
    std::chrono::seconds(3600)};

/// How late decisions and wakes are: 0.1 ms to 1 s, with a boundary at the objective of 1 ms.
inline constexpr std::array<Nanos, 10> kLatenessBounds = {
    std::chrono::microseconds(100), std::chrono::microseconds(250),  std::chrono::microseconds(500),
    std::chrono::milliseconds(1),   std::chrono::microseconds(2500), std::chrono::milliseconds(5),
    std::chrono::milliseconds(10),  std::chrono::milliseconds(50),   std::chrono::milliseconds(250),
    std::chrono::seconds(1)};

/// Who waited, as a label.
enum class WaitMode : uint8_t { kRead, kWrite, kPoll };
inline constexpr size_t kWaitModes = 3;
constexpr WaitMode WaitModeOf(Side side) {
  return side == Side::kRead ? WaitMode::kRead : WaitMode::kWrite;
}

/// What the core counts. Threads: each shard has its own, under its lock; Add sums them.
struct Counters {
  enum WaitEnd : uint8_t { kReady, kTimedOut, kClosed, kCancelled, kRefused, kWaitEnds };

  std::array<std::array<uint64_t, kWaitEnds>, kWaitModes> waits{};
  std::array<std::array<uint64_t, 4>, 2> ready{};              ///< [Side][ReadyEffect]
  std::array<std::array<uint64_t, 4>, kWaitModes> timeouts{};  ///< [WaitMode][TimeoutCause]
  std::array<std::array<uint64_t, 8>, 2> deadlines{};          ///< [Side][DeadlineEffect]
  uint64_t stale_timers = 0;
  uint64_t double_waits = 0;
  uint64_t idle_closed = 0;
  std::array<uint64_t, kKinds> descriptors{};  ///< open now
  std::array<uint64_t, kWaitModes> waiters{};  ///< parked now; a poll counts by its targets
  uint64_t timers = 0;                         ///< armed now
  uint64_t outcomes = 0;                       ///< KiB of answers remembered now, each begun one
  uint64_t deliveries = 0;                     ///< held for somebody now, or may be
  uint64_t unacked = 0;                        ///< of these: wait for their Ack now
  uint64_t returned = 0;                       ///< came back, and stand now
  uint64_t outcomes_dropped = 0;               ///< forgotten for want of room
  uint64_t redeliveries = 0;                   ///< READYs handed over again
  Nanos oldest_waiter{0};                      ///< parked for this long
  std::array<Histogram<kWaitBounds.size()>, kWaitEnds> wait_duration = {
      Histogram(kWaitBounds), Histogram(kWaitBounds), Histogram(kWaitBounds),
      Histogram(kWaitBounds), Histogram(kWaitBounds)};
  Histogram<kLatenessBounds.size()> lateness{kLatenessBounds};

  void Add(const Counters& other);
};

}  // namespace waitd::core

#endif  // WAITD_CORE_STATS_H_
