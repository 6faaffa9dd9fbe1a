#ifndef WAITD_TESTS_BENCH_LOAD_REPORT_H_
#define WAITD_TESTS_BENCH_LOAD_REPORT_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace waitd::bench {

/// Nanoseconds on the monotonic clock.
int64_t NowNanos();

/// What a process uses, as /proc says.
struct Usage {
  int64_t resident_bytes;
  int64_t cpu_nanos;  ///< in steps of a tick, 10 ms as a rule
};
Usage UsageOf(pid_t pid);

/// The figures of one run, printed as one line of JSON.
class Report {
 public:
  void Add(std::string_view name, double value);
  /// NAME_us: percentiles of nanoseconds, in microseconds: p50, p90, p99, p999, max and `curve`,
  /// the percentiles 0 to 100.
  void AddLatencies(std::string_view name, std::vector<int64_t> nanos);
  void Print() const;

 private:
  std::string json_;
};

/// Prints to stderr and ends the process: a figure from a run that went wrong is worth nothing.
[[noreturn]] void Fail(std::string_view why);

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_LOAD_REPORT_H_
