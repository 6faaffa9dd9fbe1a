#include "server/metrics/metrics.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>

#include "server/metrics/families.h"
#include "server/options/memory.h"

namespace waitd::server {
namespace {

using core::Counters;
using core::Held;

constexpr std::array<const char*, core::kWaitModes> kModes = {"read", "write", "poll"};
constexpr std::array<const char*, core::kKinds> kKinds = {"exclusive", "fifo", "latch"};
constexpr std::array<const char*, Counters::kWaitEnds> kEnds = {"ready", "timed_out", "closed",
                                                                "cancelled", "refused"};
constexpr std::array<const char*, 4> kReadyEffects = {"woke", "remembered", "coalesced", "refused"};
constexpr std::array<const char*, 4> kCauses = {nullptr, "deadline", "wait", "max_wait"};
constexpr std::array<const char*, 8> kDeadlineEffects = {
    nullptr, "armed", "extended", "shortened", "unchanged", "cleared", "expired", "refused"};

double Seconds(core::Nanos d) { return std::chrono::duration<double>(d).count(); }

// One sample for each name of the one label.
template <size_t N>
Samples ByLabel(const char* label, const std::array<const char*, N>& names,
                const std::array<uint64_t, N>& counts) {
  Samples samples;
  for (size_t i = 0; i < N; ++i) {
    samples.emplace_back(LabelSet{{label, names[i]}}, static_cast<double>(counts[i]));
  }
  return samples;
}

// One sample for each mode and each name of the second label that is counted.
template <size_t M, size_t N>
Samples ByMode(const char* label, const std::array<const char*, N>& names,
               const std::array<std::array<uint64_t, N>, M>& counts) {
  Samples samples;
  for (size_t m = 0; m < M; ++m) {
    for (size_t i = 0; i < N; ++i) {
      if (names[i] == nullptr) continue;
      samples.emplace_back(LabelSet{{"mode", kModes[m]}, {label, names[i]}},
                           static_cast<double>(counts[m][i]));
    }
  }
  return samples;
}

// One sample for each kind of thing that is held.
Samples ByKind(const std::function<uint64_t(Held)>& value) {
  Samples samples;
  for (size_t i = 0; i < core::kHeldKinds; ++i) {
    const auto what = static_cast<Held>(i);
    samples.emplace_back(LabelSet{{"what", NameOf(what)}}, static_cast<double>(value(what)));
  }
  return samples;
}

// Of a kind that has no number of its own as many as its memory has room for.
prometheus::MetricFamily LimitFamily(const core::Budget& budget, uint64_t payload_bytes) {
  const auto things = [&](Held what) {
    const core::Limit limit = budget.limit(what);
    return static_cast<double>(std::min(limit.things, limit.bytes / LeastBytesOf(what)));
  };
  return Gauge("waitd_limit", "How much is allowed, by what is limited.",
               {{{{"resource", "descriptors"}}, things(Held::kDescriptors)},
                {{{"resource", "waiters"}}, things(Held::kWaits)},
                {{{"resource", "payload_bytes"}}, static_cast<double>(payload_bytes)},
                {{{"resource", "outcomes"}}, things(Held::kOutcomes)},
                {{{"resource", "deliveries"}}, things(Held::kDeliveries)},
                {{{"resource", "sessions"}}, things(Held::kSessions)}});
}

}  // namespace

std::vector<prometheus::MetricFamily> CoreMetrics::Collect() const {
  const Counters counted = poller_.Count();
  std::vector<prometheus::MetricFamily> families = {
      Gauge("waitd_descriptors", "Descriptors that are open, by kind.",
            ByLabel("kind", kKinds, counted.descriptors)),
      Gauge("waitd_waiters", "Waits that are parked; a poll counts by its targets.",
            ByLabel("mode", kModes, counted.waiters)),
      Gauge("waitd_oldest_waiter_seconds", "For how long the oldest parked wait has been parked.",
            One(Seconds(counted.oldest_waiter))),
      Gauge("waitd_timers", "Timers that are armed.", One(static_cast<double>(counted.timers))),
      Gauge("waitd_deliveries",
            "Deliveries that are held for their Ack, a repeated call or the next wait, or may be.",
            One(static_cast<double>(counted.deliveries))),
      Gauge("waitd_unacked", "Deliveries that wait for their Ack.",
            One(static_cast<double>(counted.unacked))),
      Gauge("waitd_returned", "Signals that came back and wait for the next wait.",
            One(static_cast<double>(counted.returned))),
      Gauge("waitd_outcomes",
            "KiB of outcomes of calls with an id that are remembered, each begun one.",
            One(static_cast<double>(counted.outcomes))),
      Counter("waitd_outcomes_dropped_total",
              "Outcomes forgotten before their time, because there were too many.",
              One(static_cast<double>(counted.outcomes_dropped))),
      Counter("waitd_redeliveries_total", "Signals that were delivered again.",
              One(static_cast<double>(counted.redeliveries))),
      Counter("waitd_waits_total", "Waits and polls that ended, by how.",
              ByMode("outcome", kEnds, counted.waits)),
      Counter("waitd_ready_total", "Readys, by what they did; one for two sides counts twice.",
              ByMode("effect", kReadyEffects, counted.ready)),
      Counter("waitd_timeouts_total", "Waits that timed out, by the limit that ended them.",
              ByMode("cause", kCauses, counted.timeouts)),
      Counter("waitd_deadlines_set_total",
              "Deadlines asked for, by what came of it; one for two sides counts twice.",
              ByMode("effect", kDeadlineEffects, counted.deadlines)),
      Counter("waitd_stale_timers_total", "Timers that fired after what they were for had gone.",
              One(static_cast<double>(counted.stale_timers))),
      Counter("waitd_double_waits_total", "Waits refused because an exclusive side had a waiter.",
              One(static_cast<double>(counted.double_waits))),
      Counter("waitd_idle_closed_total", "Descriptors closed because they were idle.",
              One(static_cast<double>(counted.idle_closed))),
      LimitFamily(poller_.budget(), options_.max_payload_bytes),
      Gauge("waitd_held_bytes", "Memory that clients make it hold, about, by what for.",
            ByKind([this](Held what) { return poller_.budget().held(what).bytes; })),
      Gauge("waitd_held_bytes_limit", "How much that may be.",
            ByKind([this](Held what) { return poller_.budget().limit(what).bytes; })),
      Gauge("waitd_draining", "1 from the signal to end until the end.",
            One(draining_.load(std::memory_order_relaxed) ? 1 : 0)),
      Gauge("waitd_build_info", "The version of this process; always 1.",
            {{{{"version", WAITD_VERSION}}, 1}})};
  auto duration = HistogramFamily("waitd_wait_duration_seconds",
                                  "For how long waits were parked, by how they ended.");
  for (size_t i = 0; i < kEnds.size(); ++i) {
    const auto& histogram = counted.wait_duration[i];
    AddHistogram(duration, {{"outcome", kEnds[i]}}, histogram.bounds(), histogram.counts(),
                 histogram.sum_seconds());
  }
  families.push_back(std::move(duration));
  auto lateness =
      HistogramFamily("waitd_timeout_lateness_seconds",
                      "From the instant of a timeout to its decision; MAX_WAIT is not counted.");
  AddHistogram(lateness, {}, counted.lateness.bounds(), counted.lateness.counts(),
               counted.lateness.sum_seconds());
  families.push_back(std::move(lateness));
  return families;
}

}  // namespace waitd::server
