#ifndef WAITD_SERVER_STORE_COMMITTER_H_
#define WAITD_SERVER_STORE_COMMITTER_H_

#include <prometheus/collectable.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "core/clock.h"
#include "core/journal.h"
#include "core/mutex.h"
#include "core/poller.h"
#include "core/stats.h"
#include "server/store/store.h"

namespace waitd::server {

/// What the committer has done so far.
struct CommitCounters {
  /// How long a commit takes: 50 µs to 1 s, with the sync.
  static constexpr std::array<core::Nanos, 10> kDurations = {
      std::chrono::microseconds(50),  std::chrono::microseconds(200),
      std::chrono::milliseconds(1),   std::chrono::microseconds(2500),
      std::chrono::milliseconds(5),   std::chrono::milliseconds(10),
      std::chrono::milliseconds(25),  std::chrono::milliseconds(100),
      std::chrono::milliseconds(250), std::chrono::seconds(1)};
  static constexpr std::array<uint64_t, 7> kRecords = {1, 4, 16, 64, 256, 1024, 8192};

  core::Histogram<kDurations.size()> duration{kDurations};
  std::array<uint64_t, kRecords.size() + 1> records{};
  uint64_t records_sum = 0;
  uint64_t errors = 0;
};

/// The thread that saves what changed: all that has come up to a moment, in one batch with one
/// sync, and then lets go of what waited for it. Both in pieces, as the core bounds its holds. So a
/// thousand waits share a sync, and the batches form by themselves while one is under way.
///
/// Threads:  Changed and counters by anyone; Start and Stop by the owner.
/// Lifetime: made before the poller, whose journal it is. The store outlives Stop.
class Committer final : public core::Journal {
 public:
  struct Options {
    uint64_t free_bytes_min = 0;  ///< below this, what needs room is refused
    /// When the store fails, once, on the committer's thread: before anybody is told, and when all
    /// who waited have been.
    std::function<void()> failing;
    std::function<void()> failed;
  };

  Committer(const core::Clock& clock, Options options)
      : clock_(clock), options_(std::move(options)) {}

  void Start(core::Poller& poller, Store& store);

  /// Saves what is left, and ends the thread.
  void Stop();

  void Changed(core::ShardSet shards) override;

  CommitCounters counters() const;

 private:
  void Run(core::Poller& poller, Store& store);
  bool Commit(core::Poller& poller, Store& store);
  void Count(const core::Changes& changes, core::Nanos took, bool ok);
  void LookForRoom(core::Poller& poller, const Store& store);
  void Fail(core::Poller& poller, const absl::Status& status);

  const core::Clock& clock_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  // guarded by mutex_
  // What a bit tells of is read under its shard's lock.
  std::atomic<core::ShardSet> dirty_{0};
  core::Instant looked_;
  bool full_ = false;
  mutable core::Mutex counters_mutex_;
  CommitCounters counters_ ABSL_GUARDED_BY(counters_mutex_);
  std::thread thread_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_COMMITTER_H_
