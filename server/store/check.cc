#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "server/store/data_dir.h"
#include "server/store/format1.h"
#include "server/store/instants.h"
#include "server/store/logs.h"
#include "server/store/payload_rows.h"
#include "server/store/rocks.h"
#include "server/store/row_scan.h"
#include "server/store/store.h"

namespace waitd::server {

absl::StatusOr<StoreReport> CheckStore(const std::string& data_dir) {
  constexpr size_t kFaultsMax = 100;
  const DataDir dir(data_dir);
  const auto state = dir.Look();
  if (!state.ok()) return state.status();
  if (*state == DataDir::State::kNew) {
    return absl::NotFoundError(
        absl::StrCat("there is no store in ", data_dir, "; give --data-dir the directory of one"));
  }
  // A database that is opened to be read takes no lock, and one that changes meanwhile looks
  // damaged.
  rocksdb::Env* const env = rocksdb::Env::Default();
  rocksdb::FileLock* lock = nullptr;
  if (auto status = env->LockFile(dir.database() + "/LOCK", &lock); !status.ok()) {
    return FromRocks(status, data_dir);
  }
  const absl::Cleanup unlock = [&] { env->UnlockFile(lock).PermitUncheckedError(); };
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::OpenForReadOnly(RocksOptions(StoreOptions().write_buffer),
                                                   dir.database(), &opened);
  if (!status.ok()) return FromRocks(status, data_dir);
  const std::unique_ptr<rocksdb::DB> db(opened);
  const auto format = ReadFormat(*db, data_dir);
  if (!format.ok()) return format.status();
  const auto epoch = ReadEpoch(*db, data_dir);
  if (!epoch.ok()) return epoch.status();

  StoreReport report;
  report.old = *format < kStoreFormat;
  const auto on_fault = [&](const std::string& fault) {
    report.faults.push_back(fault);
    return report.faults.size() < kFaultsMax;
  };
  if (const auto damage = FindDamageInLogs(dir.database())) on_fault(*damage);
  if (const auto sums = db->VerifyChecksum(); !sums.ok()) on_fault(sums.ToString());
  const InstantReader instants(StoreClock::OfMachine(), epoch->wall_minus_boot);
  PayloadRows payloads;
  Loaded loaded;
  // One of an older format is read as the next start will make it.
  rocksdb::WriteBatchWithIndex changes = EmptyChanges();
  rocksdb::Status read;
  if (report.old) read = ConvertFormat1(*db, &changes);
  if (read.ok()) {
    RowScan scan(*db, &changes, epoch->number, instants, payloads, nullptr);
    read = scan.Run([](const Store::Row&) {}, on_fault, &loaded);
  }
  if (!read.ok()) on_fault(read.ToString());
  report.descs = loaded.descs;
  report.ids = loaded.ids;
  report.deliveries = loaded.deliveries;
  report.payloads = payloads.size();
  return report;
}

}  // namespace waitd::server
