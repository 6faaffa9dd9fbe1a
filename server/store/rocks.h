#ifndef WAITD_SERVER_STORE_ROCKS_H_
#define WAITD_SERVER_STORE_ROCKS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/clock.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/slice.h"
#include "rocksdb/utilities/write_batch_with_index.h"
#include "server/store/store.h"

namespace waitd::server {

/// The same bytes, which are not copied, as RocksDB wants them.
inline rocksdb::Slice AsSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

/// What the store's RocksDB runs with.
rocksdb::Options RocksOptions(uint64_t write_buffer);

/// What is to be said of a store that is damaged.
absl::Status Damaged(const std::string& data_dir, const std::string& how);

/// A failure of RocksDB in this data directory, with what to do about it.
absl::Status FromRocks(const rocksdb::Status& status, const std::string& data_dir);

/// Visits the rows with keys from `begin` to before `end`, as they are once `changes`, if there are
/// any, are written. Where `begin` or `end` is empty, it begins or ends with all rows. False: it is
/// enough.
rocksdb::Status ForEachRow(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* changes,
                           std::string_view begin, std::string_view end,
                           const std::function<bool(std::string_view, std::string_view)>& visit);

template <class Message>
bool Parse(std::string_view value, Message* message) {
  return message->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

/// A sentence of what is wrong with a row.
std::string FaultOf(std::string_view key, const char* fault);

/// The epoch that goes on, see record.proto.
struct Epoch {
  uint32_t number = 0;  ///< 0: none has begun
  std::string boot;
  core::Nanos wall_minus_boot{0};
};

/// Reads of which format a database is. Refuses one that is not a store of waitd's, or of a newer
/// format.
absl::StatusOr<uint32_t> ReadFormat(rocksdb::DB& db, const std::string& data_dir);

/// Reads which epoch a store is in.
absl::StatusOr<Epoch> ReadEpoch(rocksdb::DB& db, const std::string& data_dir);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROCKS_H_
