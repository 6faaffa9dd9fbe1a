#include "server/store/rocks.h"

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/memtablerep.h"
#include "rocksdb/table.h"
#include "server/store/data_dir.h"
#include "server/store/record.pb.h"
#include "server/store/row_key.h"

namespace waitd::server {
namespace {

constexpr size_t kMiB = 1U << 20U;

}  // namespace

rocksdb::Options RocksOptions(uint64_t write_buffer) {
  rocksdb::Options options;

  // Rows are written by one thread and read only when the store is opened. So what was written last
  // is kept unsorted until it goes into a file, which is half the price of a skip list; nothing is
  // cached, and there are no filters.
  options.memtable_factory = std::make_shared<rocksdb::VectorRepFactory>();
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  options.write_buffer_size = write_buffer;
  options.max_write_buffer_number = 3;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kMiB);
  table.block_size = 16U << 10U;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kLZ4Compression;
  options.level_compaction_dynamic_level_bytes = true;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  options.bytes_per_sync = kMiB;
  // It makes no sync quicker, and what a log reserves would count as taken where space is scarce.
  options.allow_fallocate = false;

  // A commit that never returned may be in the log in part, torn in any way that a disk tears: what
  // is whole before it counts. Alone this would also drop all that stands behind a damage, and say
  // nothing, but that FindDamageInLogs looks first. (kTolerateCorruptedTailRecords refuses a commit
  // that is torn in its middle, and kAbsoluteConsistency any torn one: neither would start again
  // after a power cut. And both take a length that was hit by a flipped bit for the log's end.)
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.recycle_log_file_num = 0;  // in a recycled log old records would look like a damage
  options.manual_wal_flush = false;
  options.paranoid_checks = true;
  options.max_bgerror_resume_count = 0;  // an error stays one

  options.info_log_level = rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 2;
  options.max_log_file_size = kMiB;
  options.max_manifest_file_size = 16 * kMiB;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

absl::Status Damaged(const std::string& data_dir, const std::string& how) {
  return absl::DataLossError(absl::StrCat(
      "the store in ", data_dir, " is damaged: ", how,
      "; see what waitd --check-store says of it, and go back to a backup of the directory"));
}

absl::Status FromRocks(const rocksdb::Status& status, const std::string& data_dir) {
  const std::string cause = status.ToString();
  if (status.ok()) return absl::OkStatus();
  if (status.IsCorruption() || status.IsNotFound() || status.IsInvalidArgument()) {
    return Damaged(data_dir, cause);
  }
  if (status.IsNoSpace()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no space for the store in ", data_dir, ": ", cause, "; make room there"));
  }
  if (absl::StrContains(cause, "Permission denied")) {
    return absl::PermissionDeniedError(
        absl::StrCat("no permission to use the store in ", data_dir, ": ", cause,
                     "; give all of it to the user that waitd runs as"));
  }
  if (absl::StrContains(cause, "No such file")) return Damaged(data_dir, cause);
  if (absl::StrContains(cause, "/LOCK")) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store in ", data_dir, " is in use: ", cause,
                     "; stop the process that has it, or give --data-dir another directory"));
  }
  return absl::UnavailableError(absl::StrCat("the store in ", data_dir, " failed: ", cause,
                                             "; look after the disk, and start waitd again"));
}

rocksdb::Status ForEachRow(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* changes,
                           std::string_view begin, std::string_view end,
                           const std::function<bool(std::string_view, std::string_view)>& visit) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = 2U << 20U;
  std::unique_ptr<rocksdb::Iterator> row(db.NewIterator(options));
  if (changes != nullptr) row.reset(changes->NewIteratorWithBase(row.release()));
  begin.empty() ? row->SeekToFirst() : row->Seek(AsSlice(begin));
  for (; row->Valid(); row->Next()) {
    const std::string_view key = row->key().ToStringView();
    if (!end.empty() && key >= end) break;
    if (!visit(key, row->value().ToStringView())) break;
  }
  return row->status();
}

std::string FaultOf(std::string_view key, const char* fault) {
  return absl::StrCat("row ", absl::CHexEscape(absl::string_view(key.data(), key.size())), ": ",
                      fault);
}

absl::StatusOr<uint32_t> ReadFormat(rocksdb::DB& db, const std::string& data_dir) {
  std::string value;
  const rocksdb::Status read = db.Get(rocksdb::ReadOptions(), AsSlice(kFormatKey), &value);
  store::v1::Format format;
  if (read.IsNotFound() ||
      (read.ok() && (!format.ParseFromString(value) || format.magic() != "waitd"))) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the RocksDB in ", data_dir,
        " does not say that it is waitd's, so it is somebody else's or lost its "
        "beginning; go back to a backup of the directory, or give --data-dir another"));
  }
  if (!read.ok()) return FromRocks(read, data_dir);
  if (format.version() > kStoreFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the rows in ", data_dir, " are of format ", format.version(), " and this waitd knows ",
        kStoreFormat,
        " at most; run the newer waitd that made them, or give --data-dir a backup from "
        "before that"));
  }
  return format.version();
}

absl::StatusOr<Epoch> ReadEpoch(rocksdb::DB& db, const std::string& data_dir) {
  std::string value;
  const rocksdb::Status read = db.Get(rocksdb::ReadOptions(), AsSlice(kEpochKey), &value);
  store::v1::Epoch epoch;
  if (read.IsNotFound() || (read.ok() && (!epoch.ParseFromString(value) || epoch.number() == 0))) {
    return Damaged(data_dir, "it does not say which boot its times are of");
  }
  if (!read.ok()) return FromRocks(read, data_dir);
  return Epoch{epoch.number(), epoch.boot(), core::Nanos(epoch.wall_minus_boot())};
}

}  // namespace waitd::server
