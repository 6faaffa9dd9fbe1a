#include "server/recover.h"

#include <spdlog/spdlog.h>

#include <array>
#include <condition_variable>
#include <cstdint>
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
#include "core/recovery.h"

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

// Puts rows into the poller on threads of its own, while the next ones are read and decoded. That
// takes half as long as putting them in, so that two threads keep up with it.
class Restorer {
 public:
  Restorer(core::Recovery& recovery, const core::Clock& clock)
      : recovery_(recovery), clock_(clock), said_(clock.Read().mono) {
    for (std::thread& each : threads_) each = std::thread([this] { Run(); });
  }
  ~Restorer() { Finish(); }
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  void Take(core::SavedDesc desc) {
    ++descs_;
    Add(std::move(desc));
  }

  /// After all descriptors.
  void Take(core::SavedId id) {
    if (ids_++ == 0) EndDescs();
    Add(std::move(id));
  }

  /// After the last row: whether all of them go together.
  bool Finish() {
    HandOver();
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    }
    for (std::thread& each : threads_) {
      if (each.joinable()) each.join();
    }
    return consistent_;
  }

 private:
  using Row = std::variant<core::SavedDesc, core::SavedId>;
  using Batch = std::vector<Row>;
  static constexpr size_t kBatch = 1024;

  void Add(Row row) {
    reading_.push_back(std::move(row));
    if (reading_.size() == kBatch) HandOver();
  }

  void HandOver() {
    if (reading_.empty()) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_.has_value(); });
    waiting_ = std::exchange(reading_, {});
    changed_.notify_all();
    SayNowAndThen();
  }

  void EndDescs() {
    HandOver();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_.has_value() && busy_ == 0; });
    consistent_ = recovery_.EndOfDescs();
  }

  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return waiting_.has_value() || ended_; });
      if (!waiting_.has_value()) return;
      Batch batch = *std::exchange(waiting_, std::nullopt);
      ++busy_;
      changed_.notify_all();
      lock.unlock();
      const bool consistent = Restore(batch);
      lock.lock();
      --busy_;
      consistent_ = consistent_ && consistent;
      changed_.notify_all();
    }
  }

  bool Restore(Batch& batch) {
    bool consistent = true;
    for (Row& row : batch) {
      if (auto* const desc = std::get_if<core::SavedDesc>(&row)) {
        recovery_.Restore(*desc);
      } else {
        consistent = recovery_.Restore(std::get<core::SavedId>(std::move(row))) && consistent;
      }
    }
    return consistent;
  }

  void SayNowAndThen() {
    const core::Instant now = clock_.Read().mono;
    if (now < said_ + kSayEvery) return;
    said_ = now;
    spdlog::info("recovering descriptors={} ids={}", descs_, ids_);
  }

  core::Recovery& recovery_;
  const core::Clock& clock_;
  // Of the thread that reads.
  core::Instant said_;
  uint64_t descs_ = 0;
  uint64_t ids_ = 0;
  Batch reading_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::optional<Batch> waiting_;
  int busy_ = 0;  // threads with a batch
  bool ended_ = false;
  bool consistent_ = true;
  std::array<std::thread, 2> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Recover(const Options& options, const core::Clock& clock,
                                               core::Poller& poller) {
  const core::Instant begin = clock.Read().mono;
  // What leads to it is made as well: a user's place for state need not be there yet.
  std::error_code ignored;  // what is wrong with it the store will say
  std::filesystem::create_directories(std::filesystem::path(options.data_dir).parent_path(),
                                      ignored);
  const SyncMode sync = SyncModeOf(options.sync);
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenRocksStore({.data_dir = options.data_dir, .sync = sync});
  if (!store.ok()) return store.status();
  SayWhatIsAtRisk(sync);

  core::Recovery recovery(poller, clock.Read());
  Restorer restorer(recovery, clock);
  const absl::StatusOr<Loaded> loaded =
      (*store)->Load([&](core::SavedDesc desc) { restorer.Take(std::move(desc)); },
                     [&](core::SavedId id) { restorer.Take(std::move(id)); });
  const bool consistent = restorer.Finish();
  if (!loaded.ok()) return loaded.status();
  if (!consistent) {
    return absl::DataLossError(absl::StrCat(
        "the store in ", options.data_dir,
        " contradicts itself; look with --check-store, and put a backup in its place"));
  }
  for (const core::Changes::Horizon& each : loaded->horizons) {
    recovery.MoveHorizon(each.shard, each.at);
  }
  recovery.Finish(loaded->next_generation);
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.Read().mono - begin);
  spdlog::info("recovered data_dir={} descriptors={} ids={} in={}ms", options.data_dir,
               recovery.descriptors(), loaded->ids, took.count());
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
  std::printf("%s: %s: %llu descriptors, %llu ids, %llu payloads\n", options.data_dir.c_str(),
              report->faults.empty() ? "good" : "DAMAGED, put a backup in its place",
              static_cast<unsigned long long>(report->descs),
              static_cast<unsigned long long>(report->ids),
              static_cast<unsigned long long>(report->payloads));
  return report->faults.empty() ? kGood : kBad;
}

}  // namespace waitd::server
