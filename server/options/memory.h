#ifndef WAITD_SERVER_OPTIONS_MEMORY_H_
#define WAITD_SERVER_OPTIONS_MEMORY_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/budget.h"
#include "server/options/options.h"

namespace waitd::server {

/// What of --max-memory each kind of thing may take, so that all of it together stays below that.
struct MemoryPlan {
  uint64_t all = 0;                                    ///< --max-memory, or what it is by itself
  uint64_t write_buffer = 0;                           ///< of RocksDB, which has three of them
  uint64_t connections = 0;                            ///< how many there may be
  std::array<core::Limit, core::kHeldKinds> limits{};  ///< of each kind: its share, and what is set
  std::vector<std::string> warnings;                   ///< of limits that are set and cannot fit

  core::Limit limit(core::Held what) const { return limits[static_cast<size_t>(what)]; }
};

/// `machine`: what there is, as MachineMemory tells it.
MemoryPlan PlanMemory(const Options& options, uint64_t machine);

/// The memory that this process can have, in bytes: of the machine, or less where its control group
/// says so.
uint64_t MachineMemory();

/// What calls and sessions are charged, with what gRPC holds for them.
inline constexpr core::Amount kOneCall = {1, 16U << 10U};
inline constexpr core::Amount kOneSession = {1, 4U << 10U};

/// How a kind is called in metrics and messages, and how little one of it may take.
const char* NameOf(core::Held what);
uint64_t LeastBytesOf(core::Held what);

}  // namespace waitd::server

#endif  // WAITD_SERVER_OPTIONS_MEMORY_H_
