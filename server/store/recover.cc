#include "server/store/recover.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/journal.h"
#include "core/recovery.h"
#include "server/store/data_dir.h"

namespace waitd::server {
namespace {

constexpr core::Nanos kSayEvery = std::chrono::seconds(2);

SyncMode SyncModeOf(const std::string& name) {
  if (name == "interval") return SyncMode::kInterval;
  return name == "never" ? SyncMode::kNever : SyncMode::kAlways;
}

// What somebody should know who looks at the log after a power cut.
void SayWhatIsAtRisk(SyncMode sync) {
  if (sync == SyncMode::kInterval) {
    spdlog::warn("sync=interval: a power cut takes what was answered in the last second");
  } else if (sync == SyncMode::kNever) {
    spdlog::warn("sync=never: a power cut takes what the operating system had not written yet");
  }
}

// Puts rows into the poller on a thread of its own, while the next ones are read and decoded: each
// takes about half of the time.
class Restorer {
 public:
  Restorer(core::Recovery& recovery, const core::Clock& clock)
      : recovery_(recovery), clock_(clock), said_(clock.Read().mono), thread_([this] { Run(); }) {}
  ~Restorer() { Finish(); }
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  void Take(Store::Row row) {
    reading_.push_back(std::move(row));
    if (reading_.size() == kBatch) HandOver();
  }

  /// After the last row: whether all of them go together.
  bool Finish() {
    if (thread_.joinable()) {
      HandOver();
      HandOver();  // an empty one is the end
      thread_.join();
    }
    return consistent_;
  }

 private:
  using Batch = std::vector<Store::Row>;
  static constexpr size_t kBatch = 1024;

  void HandOver() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_.has_value(); });
    waiting_ = std::exchange(reading_, {});
    changed_.notify_one();
  }

  void Run() {
    while (true) {
      Batch batch;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return waiting_.has_value(); });
        batch = *std::exchange(waiting_, std::nullopt);
        changed_.notify_one();
      }
      if (batch.empty()) return;
      for (auto& row : batch) {
        const bool restored =
            std::visit([this](auto& each) { return recovery_.Restore(std::move(each)); }, row);
        consistent_ = consistent_ && restored;
      }
      const core::Instant now = clock_.Read().mono;
      if (now < said_ + kSayEvery) continue;
      said_ = now;
      spdlog::info("recovering descriptors={} ids={}", recovery_.descriptors(), recovery_.ids());
    }
  }

  core::Recovery& recovery_;
  const core::Clock& clock_;
  core::Instant said_;
  bool consistent_ = true;  // of the thread, until it has ended
  Batch reading_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Batch> waiting_;  // guarded by mutex_
  std::thread thread_;
};

// Shards that never gave out a generation begin by the clock, which keeps the generations of two
// stores apart, and of two processes without one.
std::vector<core::SavedShard> NewShards(const std::vector<core::SavedShard>& known,
                                        core::WallTime now) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  const auto lives = static_cast<uint64_t>(us.count()) / core::kShards;
  core::ShardSet left = ~core::ShardSet{0};
  for (const core::SavedShard& each : known) left &= ~core::SetOf(each.shard);
  std::vector<core::SavedShard> shards;
  for (; left != 0; left &= left - 1) {
    shards.push_back({.shard = static_cast<uint32_t>(core::First(left)), .lives = lives});
  }
  return shards;
}

bool FinishWith(core::Recovery& recovery, std::vector<core::SavedShard> shards,
                core::WallTime now) {
  const bool fresh = shards.empty();
  for (const core::SavedShard& each : NewShards(shards, now)) shards.push_back(each);
  bool consistent = true;
  for (const core::SavedShard& each : shards) {
    const bool restored = recovery.Restore(each);
    consistent = consistent && restored;
  }
  recovery.Finish(fresh);
  return consistent;
}

}  // namespace

void BeginWithNothing(const core::Clock& clock, core::Poller& poller) {
  core::Recovery recovery(poller);
  (void)FinishWith(recovery, {}, clock.Read().wall);
}

absl::StatusOr<std::unique_ptr<Store>> Recover(const Options& options, const MemoryPlan& plan,
                                               const core::Clock& clock, core::Poller& poller) {
  const core::Instant begin = clock.Read().mono;
  // What leads to it is made as well: a user's place for state need not be there yet.
  std::error_code ignored;  // what is wrong with it the store will say
  const std::filesystem::path dir = DataDir(options.data_dir).path();
  std::filesystem::create_directories(dir.parent_path(), ignored);
  const SyncMode sync = SyncModeOf(options.sync);
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenRocksStore({.data_dir = options.data_dir,
                      .sync = sync,
                      .budget = &poller.budget(),
                      .write_buffer = plan.write_buffer});
  if (!store.ok()) return store.status();
  SayWhatIsAtRisk(sync);

  core::Recovery recovery(poller);
  Restorer restorer(recovery, clock);
  const absl::StatusOr<Loaded> loaded =
      (*store)->Load([&](Store::Row row) { restorer.Take(std::move(row)); });
  const bool rows_consistent = restorer.Finish();
  if (!loaded.ok()) return loaded.status();
  const bool consistent =
      FinishWith(recovery, loaded->shards, clock.Read().wall) && rows_consistent;
  if (!consistent) {
    return absl::DataLossError(absl::StrCat(
        "the store in ", options.data_dir,
        " contradicts itself; look with --check-store, and put a backup in its place"));
  }
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.Read().mono - begin);
  spdlog::info("recovered data_dir={} descriptors={} ids={} in={}ms", options.data_dir,
               recovery.descriptors(), recovery.ids(), took.count());
  return store;
}

int CheckStoreAndSay(const Options& options) {
  constexpr int kGood = 0;
  constexpr int kBad = 2;
  if (options.store == "memory") {
    std::fputs("waitd: there is nothing to check with --store memory\n", stderr);
    return kBad;
  }
  const absl::StatusOr<StoreReport> report = CheckStore(options.data_dir);
  if (!report.ok()) {
    std::fprintf(stderr, "waitd: %s\n", std::string(report.status().message()).c_str());
    return kBad;
  }
  for (const std::string& fault : report->faults) std::printf("%s\n", fault.c_str());
  std::printf("%s: %s: %llu descriptors, %llu ids, %llu deliveries, %llu payloads\n",
              options.data_dir.c_str(),
              report->faults.empty() ? "good" : "DAMAGED, put a backup in its place",
              static_cast<unsigned long long>(report->descs),
              static_cast<unsigned long long>(report->ids),
              static_cast<unsigned long long>(report->deliveries),
              static_cast<unsigned long long>(report->payloads));
  if (report->old) {
    std::puts(
        "It is of an older format. The next start converts it, and then no older waitd reads it; "
        "back it up before.");
  }
  return report->faults.empty() ? kGood : kBad;
}

}  // namespace waitd::server
