#ifndef WAITD_SERVER_STORE_ROCKS_STORE_H_
#define WAITD_SERVER_STORE_ROCKS_STORE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/saved.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"
#include "server/store/data_dir.h"
#include "server/store/delivery_rows.h"
#include "server/store/instants.h"
#include "server/store/payload_rows.h"
#include "server/store/record.pb.h"
#include "server/store/rocks.h"
#include "server/store/store.h"

namespace waitd::server {

/// A store in a RocksDB of its own, in the format of record.proto.
class RocksStore final : public Store {
 public:
  /// Of a database that is open and in this epoch. `dir` is marked as ready.
  RocksStore(DataDir dir, const StoreOptions& options, std::unique_ptr<rocksdb::DB> db,
             Epoch epoch);
  ~RocksStore() override;

  absl::StatusOr<Loaded> Load(const OnRow& on_row) override;
  absl::Status Commit(const core::Changes& changes, size_t* bytes) override;
  uint64_t Bytes() const override;
  absl::StatusOr<uint64_t> FreeBytes() const override;
  absl::Status Backup(const std::string& path) override;

 private:
  void AddErased(const core::Changes& changes);
  void AddRows(const core::Changes& changes, const InstantWriter& instants);
  void AddPayloads();
  void EraseDeliveriesOf(uint64_t generation);
  void Put(std::string_view key, const google::protobuf::MessageLite& message);
  void Erase(std::string_view key);

  // The first error stays.
  absl::Status Fail(const rocksdb::Status& status);
  absl::Status failure();
  void SyncNowAndThen();
  void SyncUnsynced();

  const DataDir dir_;
  const StoreClock clock_;
  const SyncMode sync_;
  core::Budget* const budget_;  // null: payloads are not charged
  const std::unique_ptr<rocksdb::DB> db_;
  const Epoch epoch_;

  // Of the thread that loads and then commits.
  bool loaded_ = false;
  PayloadRows payloads_;
  DeliveryRows deliveries_;
  rocksdb::WriteBatch batch_;
  store::v1::Desc desc_row_;  // these five are kept for their memory
  store::v1::Id id_row_;
  store::v1::Delivery delivery_row_;
  std::string key_;
  std::string value_;

  // Held over each write and each sync, for a sync after a write that failed stops the process.
  std::mutex writing_;

  std::mutex mutex_;       // comes after writing_
  absl::Status failure_;   // guarded by mutex_
  bool unsynced_ = false;  // guarded by mutex_
  bool closing_ = false;   // guarded by mutex_
  std::condition_variable closing_changed_;
  std::thread syncer_;  // of SyncMode::kInterval
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROCKS_STORE_H_
