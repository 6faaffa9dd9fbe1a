#ifndef WAITD_SERVER_STORE_DATA_DIR_H_
#define WAITD_SERVER_STORE_DATA_DIR_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace waitd::server {

/// The version of the format of record.proto.
inline constexpr uint32_t kStoreFormat = 2;

/// A directory with a store in it: a database, and a small text file that says so. By that file a
/// directory is known before the database in it is touched.
class DataDir {
 public:
  enum class State : uint8_t {
    kNew,    ///< nothing is in it, or a store that was not made to the end
    kOld,    ///< a store of an older format, or one that was just converted
    kReady,  ///< a store that was made to the end
  };

  /// With or without a slash at its end.
  explicit DataDir(std::string path);

  const std::string& path() const { return path_; }
  std::string database() const { return path_ + "/rocksdb"; }

  /// What is there; an error if it is not for waitd, or for a newer one. Changes nothing.
  absl::StatusOr<State> Look() const;

  /// Makes the directory, durably, for its owner alone. AlreadyExists: something is there.
  absl::Status Make() const;

  /// A file that keeps others who call this waiting until it is closed. Makes the directory if it
  /// is missing.
  absl::StatusOr<int> Lock() const;

  /// How much space is left on its disk.
  absl::StatusOr<uint64_t> FreeBytes() const;

  /// Says what is there from now on, durably. Makes the directory if it is missing.
  absl::Status Mark(State state) const;

  /// Makes it durable which files the database has.
  absl::Status SyncDatabase() const;

 private:
  std::string path_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_DATA_DIR_H_
