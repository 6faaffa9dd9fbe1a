#include "server/store/committer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "core/saved.h"

namespace waitd::server {
namespace {

constexpr core::Nanos kLookEvery = std::chrono::milliseconds(200);  // how much room there is

}  // namespace

void Committer::Start(core::Poller& poller, Store& store) {
  // Who calls as soon as waitd is ready finds it known whether there is room.
  LookForRoom(poller, store);
  thread_ = std::thread([this, &poller, &store] { Run(poller, store); });
}

void Committer::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Committer::Changed(core::ShardSet shards) {
  // MO[dirty]: release; pairs with Run, which looks under mutex_ before it sleeps. Relaxed would do
  // for what the bits say.
  if (dirty_.fetch_or(shards, std::memory_order_acq_rel) != 0) return;
  // The thread may have seen nothing, and not sleep yet.
  { const std::lock_guard lock(mutex_); }
  changed_.notify_one();
}

void Committer::Run(core::Poller& poller, Store& store) {
  for (bool stopping = false; !stopping;) {
    {
      std::unique_lock lock(mutex_);
      // MO[dirty]: acquire; pairs with Changed.
      changed_.wait_for(lock, kLookEvery, [this] {
        return stopping_ || dirty_.load(std::memory_order_acquire) != 0;
      });
      stopping = stopping_;
    }
    LookForRoom(poller, store);
    while (dirty_.load(std::memory_order_acquire) != 0) {
      if (!Commit(poller, store)) return;
      LookForRoom(poller, store);
    }
  }
}

bool Committer::Commit(core::Poller& poller, Store& store) {
  core::Changes changes;
  core::Poller::Cut cut;
  core::ShardSet dirty = dirty_.exchange(0, std::memory_order_acq_rel);
  while (poller.Collect(dirty, changes, cut)) {
  }
  // What stays comes with the next commit, a moment later.
  dirty_.fetch_or(dirty, std::memory_order_acq_rel);
  if (!changes.empty()) {
    const core::Instant begin = clock_.Read().mono;
    size_t bytes = 0;
    const absl::Status status = store.Commit(changes, &bytes);
    Count(changes, clock_.Read().mono - begin, status.ok());
    if (!status.ok()) {
      Fail(poller, status);
      return false;
    }
  }
  core::EffectBatch batch;
  while (poller.Saved(cut, &batch)) {
  }
  return true;
}

void Committer::Count(const core::Changes& changes, core::Nanos took, bool ok) {
  const uint64_t records = changes.rows();
  const auto& bounds = CommitCounters::kRecords;
  const auto* const bucket = std::lower_bound(bounds.begin(), bounds.end(), records);
  const core::MutexLock lock(counters_mutex_);
  if (!ok) {
    ++counters_.errors;
    return;
  }
  counters_.duration.Observe(took);
  ++counters_.records[static_cast<size_t>(bucket - bounds.begin())];
  counters_.records_sum += records;
}

void Committer::LookForRoom(core::Poller& poller, const Store& store) {
  const core::Instant now = clock_.Read().mono;
  if (options_.free_bytes_min == 0 || now < looked_ + kLookEvery) return;
  looked_ = now;
  const absl::StatusOr<uint64_t> free = store.FreeBytes();
  if (!free.ok()) return;  // a disk that is gone shows when something is written
  const bool full = *free < options_.free_bytes_min;
  poller.SetFull(full);
  if (full == std::exchange(full_, full)) return;
  if (full) {
    spdlog::error("the disk is nearly full: new effects are refused free_bytes={} min={}", *free,
                  options_.free_bytes_min);
  } else {
    spdlog::info("there is room on the disk again free_bytes={}", *free);
  }
}

void Committer::Fail(core::Poller& poller, const absl::Status& status) {
  spdlog::critical("the store has failed, and waitd ends: {}", std::string(status.message()));
  options_.failing();
  {
    core::EffectBatch batch;
    poller.FailStore(&batch);
  }
  options_.failed();
}

CommitCounters Committer::counters() const {
  const core::MutexLock lock(counters_mutex_);
  return counters_;
}

}  // namespace waitd::server
