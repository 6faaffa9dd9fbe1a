#include "server/recover.h"

#include <spdlog/spdlog.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

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
  bool consistent = true;
  core::Instant said = begin;
  const auto note = [&](bool restored) {
    consistent = consistent && restored;
    const core::Instant now = clock.Read().mono;
    if (now < said + kSayEvery) return;
    said = now;
    spdlog::info("recovering descriptors={} ids={}", recovery.descriptors(), recovery.ids());
  };
  const absl::StatusOr<Loaded> loaded =
      (*store)->Load([&](const core::SavedDesc& desc) { note(recovery.Restore(desc)); },
                     [&](core::SavedId id) { note(recovery.Restore(std::move(id))); });
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
  std::printf("%s: %s: %llu descriptors, %llu ids, %llu payloads\n", options.data_dir.c_str(),
              report->faults.empty() ? "good" : "DAMAGED, put a backup in its place",
              static_cast<unsigned long long>(report->descs),
              static_cast<unsigned long long>(report->ids),
              static_cast<unsigned long long>(report->payloads));
  return report->faults.empty() ? kGood : kBad;
}

}  // namespace waitd::server
