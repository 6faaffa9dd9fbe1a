#ifndef WAITD_SERVER_STORE_ROW_SCAN_H_
#define WAITD_SERVER_STORE_ROW_SCAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/saved.h"
#include "rocksdb/db.h"
#include "rocksdb/utilities/write_batch_with_index.h"
#include "server/store/instants.h"
#include "server/store/payload_rows.h"
#include "server/store/record.pb.h"
#include "server/store/store.h"

namespace waitd::server {

/// Reads every row of a store once, and looks whether each agrees with itself and the others.
class RowScan {
 public:
  /// Told of what is wrong with a row, with its key. False: do not go on.
  using OnFault = std::function<bool(const std::string&)>;

  /// The store as it is once `changes`, if there are any, are written. `payloads` is empty, and
  /// knows of all payloads and who refers to them afterwards.
  RowScan(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* changes, uint32_t epoch,
          const InstantReader& instants, PayloadRows& payloads, core::Budget* budget)
      : db_(db),
        changes_(changes),
        epoch_(epoch),
        instants_(instants),
        payloads_(payloads),
        budget_(budget) {}

  /// An error is one of reading; a fault is none.
  rocksdb::Status Run(const Store::OnRow& on_row, const OnFault& on_fault, Loaded* loaded);

 private:
  // Each answers null, or what is wrong with the row.
  const char* ReadMeta(std::string_view key, std::string_view value, Loaded* loaded);
  const char* ReadPayload(std::string_view key, std::string_view value);
  const char* ReadDesc(std::string_view key, std::string_view value, core::SavedDesc* desc);
  const char* ReadId(std::string_view key, std::string_view value, core::SavedId* id);
  const char* ReadDelivery(std::string_view key, std::string_view value,
                           core::SavedDelivery* delivery);
  const char* CheckEpoch(uint32_t epoch) const;
  const char* CheckGeneration(uint64_t generation) const;
  template <class Message, class Saved>
  const char* Read(std::string_view key, std::string_view value, Message& row, Saved* saved);

  rocksdb::DB& db_;
  rocksdb::WriteBatchWithIndex* const changes_;
  const uint32_t epoch_;
  const InstantReader& instants_;
  PayloadRows& payloads_;
  core::Budget* const budget_;  // null: nothing is charged
  uint64_t lives_ = 0;          // of the shard that has given out the most generations
  store::v1::Desc desc_row_;    // kept for their memory
  store::v1::Id id_row_;
  store::v1::Delivery delivery_row_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROW_SCAN_H_
