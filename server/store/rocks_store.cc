#include "server/store/rocks_store.h"

#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "rocksdb/utilities/checkpoint.h"
#include "server/store/record.h"
#include "server/store/row_key.h"
#include "server/store/row_scan.h"

namespace waitd::server {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kSyncInterval(1);

}  // namespace

RocksStore::RocksStore(DataDir dir, const StoreOptions& options, std::unique_ptr<rocksdb::DB> db,
                       Epoch epoch)
    : dir_(std::move(dir)),
      clock_(options.clock),
      sync_(options.sync),
      budget_(options.budget),
      db_(std::move(db)),
      epoch_(std::move(epoch)) {
  if (sync_ == SyncMode::kInterval) syncer_ = std::thread([this] { SyncNowAndThen(); });
}

// An orderly end leaves nothing unsynced, in any mode.
RocksStore::~RocksStore() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  closing_changed_.notify_one();
  if (syncer_.joinable()) syncer_.join();
  SyncUnsynced();
  db_->Close().PermitUncheckedError();
}

absl::StatusOr<Loaded> RocksStore::Load(const OnRow& on_row) {
  WAITD_CHECK(!loaded_, "a store is loaded once");
  loaded_ = true;
  Loaded loaded;
  std::string first;
  const InstantReader instants(clock_, epoch_.wall_minus_boot);
  RowScan scan(*db_, nullptr, epoch_.number, instants, payloads_, budget_);
  const auto take = [&](Row row) {
    if (const auto* const delivery = std::get_if<core::SavedDelivery>(&row)) {
      deliveries_.Made(delivery->key);
    }
    on_row(std::move(row));
  };
  const auto on_fault = [&](const std::string& fault) {
    first = fault;
    return false;
  };
  auto status = scan.Run(take, on_fault, &loaded);
  if (status.ok() && !first.empty()) status = rocksdb::Status::Corruption(first);
  if (!status.ok()) return FromRocks(status, dir_.path());
  return loaded;
}

absl::Status RocksStore::Commit(const core::Changes& changes, size_t* bytes) {
  WAITD_CHECK(loaded_, "a store is loaded before it is written");
  *bytes = 0;
  if (auto failed = failure(); !failed.ok()) return failed;
  batch_.Clear();
  AddErased(changes);
  const InstantWriter instants(clock_);
  AddRows(changes, instants);
  AddPayloads();
  if (batch_.Count() == 0) return absl::OkStatus();
  *bytes = batch_.GetDataSize();
  rocksdb::WriteOptions options;
  options.sync = sync_ == SyncMode::kAlways;
  const std::lock_guard writing(writing_);
  if (const auto status = db_->Write(options, &batch_); !status.ok()) return Fail(status);
  const std::lock_guard lock(mutex_);
  unsynced_ = true;
  return failure_;
}

void RocksStore::Put(std::string_view key, const google::protobuf::MessageLite& message) {
  message.SerializeToString(&value_);
  batch_.Put(AsSlice(key), value_).PermitUncheckedError();
}

void RocksStore::Erase(std::string_view key) {
  payloads_.Erased(key);
  batch_.Delete(AsSlice(key)).PermitUncheckedError();
}

void RocksStore::AddErased(const core::Changes& changes) {
  for (const core::ClosedDesc& closed : changes.closed) {
    MakeDescKey(closed.name, &key_);
    Erase(key_);
    EraseDeliveriesOf(closed.generation);
  }
  for (const core::SavedIdKey& id : changes.forgotten) {
    MakeIdKey(id, &key_);
    Erase(key_);
  }
  for (const core::SavedDeliveryKey& delivery : changes.ended) {
    deliveries_.Erased(delivery);
    MakeDeliveryKey(delivery, &key_);
    Erase(key_);
  }
}

void RocksStore::EraseDeliveriesOf(uint64_t generation) {
  for (const core::SavedDeliveryKey& delivery : deliveries_.Take(generation)) {
    MakeDeliveryKey(delivery, &key_);
    Erase(key_);
  }
}

void RocksStore::AddRows(const core::Changes& changes, const InstantWriter& instants) {
  const auto refer = [this](const core::Payload& payload) { return payloads_.Refer(payload); };
  // Under key_.
  const auto add = [&](const auto& saved, auto* row) {
    row->Clear();
    row->set_epoch(epoch_.number);
    WriteRecord(saved, instants, refer, row);
    payloads_.Made(key_);
    Put(key_, *row);
  };
  for (const core::SavedDesc& desc : changes.descs) {
    MakeDescKey(desc.name, &key_);
    add(desc, &desc_row_);
  }
  for (const core::SavedId& id : changes.ids) {
    MakeIdKey(id.key, &key_);
    add(id, &id_row_);
  }
  for (const core::SavedDelivery& delivery : changes.deliveries) {
    deliveries_.Made(delivery.key);
    MakeDeliveryKey(delivery.key, &key_);
    add(delivery, &delivery_row_);
  }
  for (const core::SavedShard& shard : changes.shards) {
    store::v1::Shard row;
    row.set_epoch(epoch_.number);
    WriteRecord(shard, instants, &row);
    Put(ShardKey(shard.shard), row);
  }
}

void RocksStore::AddPayloads() {
  const PayloadRows::Work work = payloads_.Take();
  for (const auto& [number, payload] : work.put) {
    batch_.Put(PayloadKey(number), *payload).PermitUncheckedError();
  }
  for (const uint64_t number : work.erase) {
    batch_.Delete(PayloadKey(number)).PermitUncheckedError();
  }
}

uint64_t RocksStore::Bytes() const {
  uint64_t bytes = 0;
  std::error_code error;
  // A file that goes away meanwhile counts nothing.
  for (auto entry = fs::directory_iterator(dir_.database(), error);
       !error && entry != fs::end(entry); entry.increment(error)) {
    std::error_code gone;
    if (const uint64_t size = entry->file_size(gone); !gone) bytes += size;
  }
  return bytes;
}

absl::StatusOr<uint64_t> RocksStore::FreeBytes() const { return dir_.FreeBytes(); }

// It is marked when it is whole: a copy that was broken off is no store.
absl::Status RocksStore::Backup(const std::string& path) {
  const DataDir copy(path);
  if (auto status = copy.Make(); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("cannot make the backup's directory: ", status.message()));
  }
  rocksdb::Checkpoint* made_by = nullptr;
  auto status = rocksdb::Checkpoint::Create(db_.get(), &made_by);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made_by);
  if (status.ok()) status = checkpoint->CreateCheckpoint(copy.database());
  absl::Status copied = status.ok() ? copy.Mark(DataDir::State::kReady)
                                    : absl::UnavailableError(absl::StrCat(
                                          "cannot copy to ", path, ": ", status.ToString(),
                                          "; look after the disk there, and after the store's"));
  std::error_code ignored;
  if (!copied.ok()) fs::remove_all(path, ignored);
  return copied;
}

absl::Status RocksStore::Fail(const rocksdb::Status& status) {
  const std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = FromRocks(status, dir_.path());
  return failure_;
}

absl::Status RocksStore::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

// A thread of its own, for the last commit before a pause is to be synced, too.
void RocksStore::SyncNowAndThen() {
  std::unique_lock lock(mutex_);
  while (!closing_changed_.wait_for(lock, kSyncInterval, [this] { return closing_; })) {
    lock.unlock();
    SyncUnsynced();
    lock.lock();
  }
}

void RocksStore::SyncUnsynced() {
  const std::lock_guard writing(writing_);
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok() || !std::exchange(unsynced_, false)) return;
  }
  if (const auto status = db_->SyncWAL(); !status.ok()) Fail(status).IgnoreError();
}

}  // namespace waitd::server
