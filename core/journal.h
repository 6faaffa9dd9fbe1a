#ifndef WAITD_CORE_JOURNAL_H_
#define WAITD_CORE_JOURNAL_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace waitd::core {

/// The number of shards, fixed: it is the width of a ShardSet.
inline constexpr size_t kShards = 64;

/// A set of shards, a bit for each.
using ShardSet = uint64_t;
static_assert(std::numeric_limits<ShardSet>::digits == kShards);

constexpr ShardSet SetOf(size_t shard) { return ShardSet{1} << shard; }

/// The lowest shard of a set that is not empty.
constexpr size_t First(ShardSet set) { return static_cast<size_t>(std::countr_zero(set)); }

/// Decides when an effect may be seen: not before the change it tells of is saved.
///
/// Threads: Append is called under the locks of the shards that changed, Committed by anyone; the
///          owner of the journal calls Poller::Release when Committed has grown.
class Journal {
 public:
  virtual ~Journal() = default;

  /// Takes note that the operation under way changed these shards, all in one step. Returns the
  /// number of the change; numbers never fall.
  virtual uint64_t Append(ShardSet shards) = 0;

  /// Every change up to this number is saved.
  virtual uint64_t Committed() const = 0;
};

/// Saves nothing, so that there is nothing to wait for.
class MemoryJournal final : public Journal {
 public:
  uint64_t Append(ShardSet /*shards*/) override { return 0; }
  uint64_t Committed() const override { return 0; }
};

}  // namespace waitd::core

#endif  // WAITD_CORE_JOURNAL_H_
