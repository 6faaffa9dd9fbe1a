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

/// Is told that there is something to save. Its owner then calls Poller::Collect soon, and
/// Poller::Saved when what that returned is safe. A poller without a journal saves nothing, and
/// nothing waits.
///
/// Threads: any thread calls Changed, under the lock of one of these shards: it must be quick, and
///          must not call the poller. It is called for each shard between two cuts, once as a rule.
class Journal {
 public:
  virtual ~Journal() = default;
  virtual void Changed(ShardSet shards) = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_JOURNAL_H_
