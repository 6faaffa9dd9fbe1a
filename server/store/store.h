#ifndef WAITD_SERVER_STORE_STORE_H_
#define WAITD_SERVER_STORE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/saved.h"
#include "server/store/store_clock.h"

namespace waitd::server {

/// When what was committed is on the disk, and not only with the operating system.
enum class SyncMode : uint8_t {
  kAlways,    ///< before Commit returns
  kInterval,  ///< a second later at most: a power cut takes what was committed in it
  kNever,     ///< when the operating system likes
};

struct StoreOptions {
  std::string data_dir;  ///< made if it is missing; its parent is there
  SyncMode sync = SyncMode::kAlways;
  StoreClock clock = StoreClock::OfMachine();
  core::Budget* budget = nullptr;        ///< to which payloads are charged; null: none are
  uint64_t write_buffer = 64ULL << 20U;  ///< bytes of one of RocksDB's; it has three
};

/// What Load found beside the rows that it showed.
struct Loaded {
  uint64_t descs = 0;
  uint64_t ids = 0;
  uint64_t deliveries = 0;
  std::vector<core::SavedShard> shards;  ///< none: nothing was ever saved
};

/// Keeps the changes of the core where they outlive the process.
///
/// Threads: Load comes first, once; then one thread at a time calls Commit. The rest may be called
///          by anyone at any time.
/// Errors:  a status says in a sentence each what is wrong, where, and what to do.
class Store {
 public:
  using Row = std::variant<core::SavedDesc, core::SavedId, core::SavedDelivery>;
  using OnRow = std::function<void(Row)>;

  virtual ~Store() = default;

  /// Shows every name that is stored, and then every id and every delivery, with their instants on
  /// the monotonic clock of now. Where many share one payload when they are saved, they share it
  /// again. After an error what was shown is to be thrown away.
  virtual absl::StatusOr<Loaded> Load(const OnRow& on_row) = 0;

  /// Saves all of it or nothing, and returns when it is as safe as the sync mode promises. `bytes`
  /// is what went into the log. After an error nobody knows whether it was saved: every later
  /// Commit is refused with the same error, and only opening the store anew tells.
  virtual absl::Status Commit(const core::Changes& changes, size_t* bytes) = 0;

  /// What it takes on the disk. Cheap enough for each scrape.
  virtual uint64_t Bytes() const = 0;

  /// What is left to it on its file system.
  virtual absl::StatusOr<uint64_t> FreeBytes() const = 0;

  /// Makes a copy of what is committed that can be opened as a store, in a directory that is not
  /// there yet. Commits go on meanwhile.
  virtual absl::Status Backup(const std::string& path) = 0;
};

/// Opens the store in a directory, or makes one in a directory that is empty. One of an older
/// format is converted, and there is no way back. Refuses one that is in use, is somebody else's,
/// is of a newer format or is damaged.
absl::StatusOr<std::unique_ptr<Store>> OpenRocksStore(const StoreOptions& options);

/// What CheckStore counted.
struct StoreReport {
  uint64_t descs = 0;
  uint64_t ids = 0;
  uint64_t deliveries = 0;
  uint64_t payloads = 0;
  bool old = false;                 ///< of an older format: the next start will convert it
  std::vector<std::string> faults;  ///< a line each, the first hundred
};

/// Reads a store that nobody has open, every byte of it, and changes nothing. An error: it is not
/// to be read at all. With faults in the report it is not to be trusted.
absl::StatusOr<StoreReport> CheckStore(const std::string& data_dir);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_STORE_H_
