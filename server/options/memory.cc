#include "server/options/memory.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/delivery.h"
#include "core/waiter.h"
#include "server/options/read_file.h"

namespace waitd::server {
namespace {

using core::Held;

constexpr uint64_t kMiB = uint64_t{1} << 20U;
constexpr uint64_t kProcess = 48 * kMiB;               // without anything held: code, threads, gRPC
constexpr uint64_t kConnection = uint64_t{64} << 10U;  // with TLS
constexpr uint64_t kParts = 32;

// How many of 32 parts of what is left for clients a kind gets, and how little one of it takes. The
// last three parts are connections'.
struct Share {
  Held what;
  const char* name;
  uint64_t parts;
  uint64_t least;
};
constexpr std::array kShares = {Share{Held::kDescriptors, "descriptors", 5, 288},
                                Share{Held::kWaits, "waits", 4, core::WaitsOf(1).bytes},
                                Share{Held::kOutcomes, "outcomes", 6, 256},
                                Share{Held::kDeliveries, "deliveries", 2, sizeof(core::Delivery)},
                                Share{Held::kPayloads, "payloads", 5, 64},
                                Share{Held::kResults, "results", 2, 64},
                                Share{Held::kSessions, "sessions", 1, kOneSession.bytes},
                                Share{Held::kCalls, "calls", 4, kOneCall.bytes}};
constexpr uint64_t kConnectionParts = 3;
static_assert(kShares.size() == core::kHeldKinds);

const Share& ShareOf(Held what) {
  return *std::find_if(kShares.begin(), kShares.end(),
                       [&](const Share& each) { return each.what == what; });
}

// The first number of a file; 0: there is none, as where it says "max".
uint64_t NumberIn(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  uint64_t number = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &number)) return 0;
  return number;
}

// What the control groups of this process allow, its own and those around it.
uint64_t GroupMemory() {
  uint64_t least = UINT64_MAX;
  const auto add = [&](const std::string& path) {
    const uint64_t number = NumberIn(path);
    if (number > 0) least = std::min(least, number);
  };
  const absl::StatusOr<std::string> groups = ReadFile("/proc/self/cgroup");
  if (!groups.ok()) return least;
  for (const absl::string_view line : absl::StrSplit(*groups, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() < 3) continue;
    const bool unified = parts[1].empty();
    if (!unified && parts[1] != "memory") continue;
    const std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string file = unified ? "/memory.max" : "/memory.limit_in_bytes";
    // In a container its own group is most often the root that it sees.
    for (std::string path = parts[2];; path = path.substr(0, path.rfind('/'))) {
      add(absl::StrCat(root, path == "/" ? "" : path, file));
      if (path.empty() || path == "/") break;
    }
  }
  return least;
}

}  // namespace

const char* NameOf(Held what) { return ShareOf(what).name; }
uint64_t LeastBytesOf(Held what) { return ShareOf(what).least; }

uint64_t MachineMemory() {
  const auto pages = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  const auto page = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PAGESIZE)));
  return std::min(pages * page, GroupMemory());
}

MemoryPlan PlanMemory(const Options& options, uint64_t machine) {
  MemoryPlan plan;
  plan.all = options.max_memory > 0 ? options.max_memory : machine / 4 * 3;
  const bool stores = options.store != "memory";
  plan.write_buffer = std::clamp(plan.all / 64, 4 * kMiB, 64 * kMiB);
  // Besides the buffers what a compaction reads and writes.
  const uint64_t fixed = kProcess + (stores ? 3 * plan.write_buffer + 16 * kMiB : 0);
  const uint64_t part = (plan.all > fixed ? plan.all - fixed : plan.all / 2) / kParts;
  for (const Share& each : kShares) {
    plan.limits[static_cast<size_t>(each.what)] = {core::Limit::kMost, each.parts * part};
  }
  plan.connections = std::max<uint64_t>(kConnectionParts * part / kConnection, 16);
  const struct {
    Held what;
    const char* flag;
    uint64_t things;  // 0: not set
  } given[] = {{Held::kDescriptors, "--max-descriptors", options.max_descriptors},
               {Held::kWaits, "--max-waiters", options.max_waiters},
               {Held::kOutcomes, "--max-outcomes", options.max_outcomes},
               {Held::kDeliveries, "--max-deliveries", options.max_deliveries},
               {Held::kSessions, "--max-sessions", options.max_sessions},
               {Held::kPayloads, "--max-held-bytes", options.max_held_bytes}};
  for (const auto& [what, flag, things] : given) {
    if (things == 0) continue;
    core::Limit& limit = plan.limits[static_cast<size_t>(what)];
    const bool of_bytes = what == Held::kPayloads;
    const uint64_t bytes = of_bytes ? things : things * LeastBytesOf(what);
    if (bytes > limit.bytes) {
      plan.warnings.push_back(absl::StrCat(flag, "=", things, " may take ", bytes / kMiB,
                                           " MiB and more, and of --max-memory=", plan.all / kMiB,
                                           " MiB there are ", limit.bytes / kMiB, " for ",
                                           NameOf(what), ", which hold as well"));
    }
    limit = of_bytes ? core::Limit(limit.things, std::min(limit.bytes, things))
                     : core::Limit(things, limit.bytes);
  }
  return plan;
}

}  // namespace waitd::server
