#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "server/metrics/families.h"

namespace waitd::server {
namespace {

// The boot's wall time in seconds, and of /proc/self/stat what comes behind the name in brackets.
double BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;) {
    double seconds = 0;
    if (word == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

std::vector<double> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  std::vector<double> fields;
  size_t at = text.rfind(')');
  if (at == std::string::npos) return fields;
  at += 4;  // a space, the state, a space
  while (at < text.size()) {
    size_t read = 0;
    fields.push_back(std::stod(text.substr(at, 24), &read));
    at += read + 1;
  }
  return fields;
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  // Numbers of the fields as in proc(5), less the four that come before these.
  constexpr size_t kUserTime = 14 - 4;
  constexpr size_t kSystemTime = 15 - 4;
  constexpr size_t kStartTime = 22 - 4;
  constexpr size_t kVirtualBytes = 23 - 4;
  constexpr size_t kResidentPages = 24 - 4;
  std::vector<prometheus::MetricFamily> families;
  const std::vector<double> stat = StatFields();
  if (stat.size() <= kResidentPages) return families;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  families.push_back(Counter("process_cpu_seconds_total", "Time that the process has run on a CPU.",
                             {{{}, (stat[kUserTime] + stat[kSystemTime]) / ticks}}));
  families.push_back(Gauge("process_start_time_seconds", "When the process began, in Unix time.",
                           {{{}, BootTime() + stat[kStartTime] / ticks}}));
  families.push_back(Gauge("process_virtual_memory_bytes", "Address space of the process.",
                           {{{}, stat[kVirtualBytes]}}));
  families.push_back(Gauge("process_resident_memory_bytes", "Memory that the process occupies.",
                           {{{}, stat[kResidentPages] * page}}));
  double open = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    (void)entry;
    ++open;
  }
  families.push_back(Gauge("process_open_fds", "File descriptors that are open.", {{{}, open}}));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  families.push_back(Gauge("process_max_fds", "File descriptors that may be open.",
                           {{{}, static_cast<double>(limit.rlim_cur)}}));
  return families;
}

}  // namespace waitd::server
