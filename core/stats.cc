#include "core/stats.h"

#include <algorithm>

namespace waitd::core {
namespace {

template <class T, size_t N>
void AddAll(std::array<T, N>& to, const std::array<T, N>& from) {
  for (size_t i = 0; i < N; ++i) {
    if constexpr (requires { to[i] += from[i]; }) {
      to[i] += from[i];
    } else if constexpr (requires { to[i].Add(from[i]); }) {
      to[i].Add(from[i]);
    } else {
      AddAll(to[i], from[i]);
    }
  }
}

}  // namespace

void Counters::Add(const Counters& other) {
  AddAll(waits, other.waits);
  AddAll(ready, other.ready);
  AddAll(timeouts, other.timeouts);
  AddAll(deadlines, other.deadlines);
  stale_timers += other.stale_timers;
  double_waits += other.double_waits;
  idle_closed += other.idle_closed;
  AddAll(descriptors, other.descriptors);
  AddAll(waiters, other.waiters);
  timers += other.timers;
  outcomes += other.outcomes;
  unacked += other.unacked;
  returned += other.returned;
  outcomes_dropped += other.outcomes_dropped;
  redeliveries += other.redeliveries;
  oldest_waiter = std::max(oldest_waiter, other.oldest_waiter);
  AddAll(wait_duration, other.wait_duration);
  lateness.Add(other.lateness);
}

}  // namespace waitd::core
