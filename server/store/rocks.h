#ifndef WAITD_SERVER_STORE_ROCKS_H_
#define WAITD_SERVER_STORE_ROCKS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/clock.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/slice.h"
#include "server/store/store.h"

namespace waitd::server {

/// The same bytes, which are not copied, as RocksDB wants them.
inline rocksdb::Slice AsSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

/// What the store's RocksDB runs with.
rocksdb::Options RocksOptions();

/// What is to be said of a store that is damaged.
absl::Status Damaged(const std::string& data_dir, const std::string& how);

/// A failure of RocksDB in this data directory, with what to do about it.
absl::Status FromRocks(const rocksdb::Status& status, const std::string& data_dir);

/// The epoch that goes on, see record.proto.
struct Epoch {
  uint32_t number = 0;  ///< 0: none has begun
  std::string boot;
  core::Nanos wall_minus_boot{0};
};

/// Reads which epoch a database is in. Refuses one that is not a store of waitd's, or of a newer
/// version.
absl::StatusOr<Epoch> ReadEpoch(rocksdb::DB& db, const std::string& data_dir);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROCKS_H_
