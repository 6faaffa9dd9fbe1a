#ifndef WAITD_SERVER_STORE_PAYLOAD_ROWS_H_
#define WAITD_SERVER_STORE_PAYLOAD_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/types.h"

namespace waitd::server {

/// From this size on a payload has a row of its own, to which the rows that carry it refer: a
/// latch's stands in as many outcomes as had waited, and any other moves from the descriptor to the
/// outcome of the wait that it wakes. A smaller one is cheaper where it is.
inline constexpr size_t kPayloadRowBytes = 128;

/// Which payloads have rows, and which rows refer to them.
///
/// Threads:    none of its own.
/// Invariants: 1. A payload has a row as long as some row refers to it, and keeps its address as
///                long: the address is what tells that two rows carry the same.
///             2. A number is never given twice while the process lives.
///             3. A payload that moves from row to row between two calls of Take stays where it is.
class PayloadRows {
 public:
  /// What is to be done to the rows of payloads since it was last asked.
  struct Work {
    std::vector<std::pair<uint64_t, core::Payload>> put;
    std::vector<uint64_t> erase;  ///< may be among those that are put, and comes after
  };

  /// One more reference by the row that is being made; the number of the payload's row.
  uint64_t Refer(const core::Payload& payload);

  /// The row is made: the references since the last one are its own, in place of those it had.
  void Made(std::string_view key);

  /// The row goes.
  void Erased(std::string_view key);

  Work Take();

  /// A payload that was found stored. Before every other call.
  void Found(uint64_t number, core::Payload payload);

  /// One more reference by the row that is being found; null: there is no such payload.
  core::Payload ReferTo(uint64_t number);

  /// All rows have been found. Returns how many payloads none of them refers to.
  size_t AllFound();

  size_t size() const { return by_payload_.size(); }

 private:
  struct Row {
    uint64_t number = 0;
    uint64_t references = 0;
    core::Payload payload;
  };

  void Release(const std::vector<Row*>& rows);

  absl::flat_hash_map<const std::string*, std::unique_ptr<Row>> by_payload_;
  absl::flat_hash_map<std::string, std::vector<Row*>> references_;  // by the row that refers
  absl::flat_hash_map<uint64_t, Row*> found_;                       // by number, until AllFound
  std::vector<Row*> making_;  // what the row that is being made refers to
  std::vector<Row*> idle_;    // what nothing referred to, for a moment at least
  Work work_;
  uint64_t next_ = 1;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_PAYLOAD_ROWS_H_
