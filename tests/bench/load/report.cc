#include "tests/bench/load/report.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace waitd::bench {
namespace {

constexpr size_t kFew = 1000;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of sorted nanoseconds, in microseconds.
double Percentile(const std::vector<int64_t>& sorted, double share) {
  const auto at = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
  return static_cast<double>(sorted[at]) / 1e3;
}

}  // namespace

int64_t NowNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Usage UsageOf(pid_t pid) {
  const std::string folder = absl::StrCat("/proc/", pid);
  const std::string stat = ReadFile(folder + "/stat");
  const size_t name_end = stat.rfind(')');  // the name may hold anything
  unsigned long user = 0;
  unsigned long system = 0;
  unsigned long pages = 0;
  if (name_end == std::string::npos ||
      std::sscanf(stat.c_str() + name_end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                  &user, &system) != 2 ||
      std::sscanf(ReadFile(folder + "/statm").c_str(), "%*u %lu", &pages) != 1) {
    Fail(absl::StrCat("no process ", pid));
  }
  return {.resident_bytes = static_cast<int64_t>(pages) * sysconf(_SC_PAGESIZE),
          .cpu_nanos = static_cast<int64_t>(user + system) * 1'000'000'000 / sysconf(_SC_CLK_TCK)};
}

void Report::Add(std::string_view name, double value) {
  absl::StrAppend(&json_, json_.empty() ? "" : ", ", "\"",
                  absl::string_view(name.data(), name.size()), "\": ", value);
}

void Report::AddLatencies(std::string_view name, std::vector<int64_t> nanos) {
  if (nanos.empty()) Fail("nothing was measured");
  std::sort(nanos.begin(), nanos.end());
  std::string curve;
  for (int i = 0; i <= 100; ++i) {
    absl::StrAppend(&curve, i == 0 ? "" : ", ", Percentile(nanos, i / 100.0));
  }
  absl::StrAppend(&json_, json_.empty() ? "" : ", ", "\"",
                  absl::string_view(name.data(), name.size()), "_us\": {\"count\": ", nanos.size(),
                  ", \"p50\": ", Percentile(nanos, 0.5), ", \"p90\": ", Percentile(nanos, 0.9),
                  ", \"p99\": ", Percentile(nanos, 0.99), ", \"p999\": ", Percentile(nanos, 0.999),
                  ", \"max\": ", Percentile(nanos, 1), ", \"curve\": [", curve, "]");
  if (nanos.size() <= kFew) {
    const auto in_us = [](std::string* out, int64_t each) {
      absl::StrAppend(out, static_cast<double>(each) / 1e3);
    };
    absl::StrAppend(&json_, ", \"all\": [", absl::StrJoin(nanos, ", ", in_us), "]");
  }
  json_ += "}";
}

void Report::Print() const { std::cout << "{" << json_ << "}\n"; }

void Fail(std::string_view why) {
  std::cerr << why << "\n";
  std::_Exit(1);  // other threads may still be at work
}

}  // namespace waitd::bench
