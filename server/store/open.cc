#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "server/store/data_dir.h"
#include "server/store/format1.h"
#include "server/store/instants.h"
#include "server/store/logs.h"
#include "server/store/record.pb.h"
#include "server/store/rocks.h"
#include "server/store/rocks_store.h"
#include "server/store/row_key.h"
#include "server/store/store.h"

namespace waitd::server {
namespace {

rocksdb::Status PutMessage(rocksdb::DB& db, std::string_view key,
                           const google::protobuf::MessageLite& message) {
  rocksdb::WriteOptions options;
  options.sync = true;
  return db.Put(options, {key.data(), key.size()}, message.SerializeAsString());
}

// Goes on with the epoch that the store is in, or begins the next one.
absl::StatusOr<Epoch> EnterEpoch(rocksdb::DB& db, const std::string& data_dir,
                                 const StoreClock& clock, Epoch epoch) {
  if (epoch.number > 0 && !clock.boot.empty() && clock.boot == epoch.boot) return epoch;
  epoch = {epoch.number + 1, clock.boot, InstantWriter(clock).wall_minus_boot()};
  store::v1::Epoch row;
  row.set_number(epoch.number);
  row.set_boot(epoch.boot);
  row.set_wall_minus_boot(epoch.wall_minus_boot.count());
  if (auto status = PutMessage(db, kEpochKey, row); !status.ok()) {
    return FromRocks(status, data_dir);
  }
  return epoch;
}

// Without a sync for each commit pages may be missing anywhere after a power cut, and the whole
// beginning of the log is what is promised. With it, no more than the last commit.
absl::Status CheckLogs(const DataDir& dir) {
  const auto damage = FindDamageInLogs(dir.database());
  if (!damage.has_value()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "the store in ", dir.path(), " is damaged: ", *damage,
      ", and there are commits behind it; go back to a backup of the directory, or start once with "
      "--sync=never to go on without them, as is right if the store ran that way before"));
}

absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenDatabase(const DataDir& dir,
                                                          const rocksdb::Options& options) {
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::Open(options, dir.database(), &db);
  if (!status.ok()) return FromRocks(status, dir.path());
  return std::unique_ptr<rocksdb::DB>(db);
}

// A start writes a little, and RocksDB aborts where there is no room for that.
absl::Status CheckRoom(const DataDir& dir, uint64_t more = 0) {
  constexpr uint64_t kLittle = 4 << 20;
  const uint64_t bytes = kLittle + more;
  const absl::StatusOr<uint64_t> free = dir.FreeBytes();
  if (!free.ok() || *free >= bytes) return free.status();
  return absl::ResourceExhaustedError(absl::StrCat("no space for the store in ", dir.path(), ": ",
                                                   *free, " bytes are left of the ", bytes,
                                                   " that a start needs; make room there"));
}

// In one batch, so that a start that breaks off leaves the older format, which an older waitd
// reads.
absl::Status Convert(rocksdb::DB& db, const DataDir& dir) {
  rocksdb::WriteBatchWithIndex changes = EmptyChanges();
  if (auto status = ConvertFormat1(db, &changes); !status.ok()) {
    return FromRocks(status, dir.path());
  }
  rocksdb::WriteBatch& batch = *changes.GetWriteBatch();
  // It goes into the log, and into a table.
  if (auto status = CheckRoom(dir, 2 * batch.GetDataSize()); !status.ok()) return status;
  rocksdb::WriteOptions options;
  options.sync = true;
  return FromRocks(db.Write(options, &batch), dir.path());
}

// What may be there was never ready, so nothing was ever committed to it.
absl::StatusOr<std::unique_ptr<rocksdb::DB>> MakeDatabase(const DataDir& dir,
                                                          rocksdb::Options options) {
  if (auto status = dir.Mark(DataDir::State::kNew); !status.ok()) return status;
  if (auto status = rocksdb::DestroyDB(dir.database(), options); !status.ok()) {
    return FromRocks(status, dir.path());
  }
  options.create_if_missing = true;
  options.error_if_exists = true;
  auto db = OpenDatabase(dir, options);
  if (!db.ok()) return db;
  store::v1::Format format;
  format.set_magic("waitd");
  format.set_version(kStoreFormat);
  if (auto status = PutMessage(**db, kFormatKey, format); !status.ok()) {
    return FromRocks(status, dir.path());
  }
  return db;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenRocksStore(const StoreOptions& options) {
  DataDir dir(options.data_dir);
  // What is somebody else's stays as it is.
  if (const auto looked = dir.Look(); !looked.ok()) return looked.status();
  // Of two that start at once the second would mark as new what the first has made by then, and the
  // next start would make it anew.
  const absl::StatusOr<int> lock = dir.Lock();
  if (!lock.ok()) return lock.status();
  const absl::Cleanup unlock = [&lock] { close(*lock); };
  if (auto status = CheckRoom(dir); !status.ok()) return status;
  const auto state = dir.Look();
  if (!state.ok()) return state.status();
  const bool is_new = *state == DataDir::State::kNew;
  if (!is_new && options.sync == SyncMode::kAlways) {
    if (auto status = CheckLogs(dir); !status.ok()) return status;
  }
  const rocksdb::Options rocks = RocksOptions(options.write_buffer);
  auto db = is_new ? MakeDatabase(dir, rocks) : OpenDatabase(dir, rocks);
  if (!db.ok()) return db.status();
  // A log that ends in a torn commit must not be there again after a power cut, when there are
  // commits behind it.
  if (auto status = RemoveReadLogs(dir.database()); !status.ok()) return status;
  if (auto status = dir.SyncDatabase(); !status.ok()) return status;
  const absl::StatusOr<uint32_t> format = ReadFormat(**db, dir.path());
  if (!format.ok()) return format.status();
  if (*format < kStoreFormat) {
    if (auto status = Convert(**db, dir); !status.ok()) return status;
    spdlog::info("the store is converted: an older waitd does not read it any more from={} to={}",
                 *format, kStoreFormat);
  }
  absl::StatusOr<Epoch> epoch = is_new ? Epoch() : ReadEpoch(**db, dir.path());
  if (epoch.ok()) epoch = EnterEpoch(**db, dir.path(), options.clock, *std::move(epoch));
  if (!epoch.ok()) return epoch.status();
  if (*state != DataDir::State::kReady) {
    if (auto status = dir.Mark(DataDir::State::kReady); !status.ok()) return status;
  }
  return std::make_unique<RocksStore>(std::move(dir), options, *std::move(db), *std::move(epoch));
}

}  // namespace waitd::server
