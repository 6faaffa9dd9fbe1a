#ifndef WAITD_SERVER_STORE_RECORD_H_
#define WAITD_SERVER_STORE_RECORD_H_

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "core/saved.h"
#include "server/store/instants.h"
#include "server/store/record.pb.h"

namespace waitd::server {

/// What one is told of a payload that is to have a row of its own: answers the row's number.
using OnPayload = absl::FunctionRef<uint64_t(const core::Payload&)>;

/// And the way back; null: there is no such row.
using ReadPayload = absl::FunctionRef<core::Payload(const store::v1::Payload&)>;

/// Fill an empty message of record.proto. What the row's key says is not in it, nor is its epoch.
void WriteRecord(const core::SavedDesc& desc, const InstantWriter& instants, OnPayload on_payload,
                 store::v1::Desc* row);
void WriteRecord(const core::SavedId& id, const InstantWriter& instants, OnPayload on_payload,
                 store::v1::Id* row);
void WriteRecord(const core::SavedDelivery& delivery, const InstantWriter& instants,
                 OnPayload on_payload, store::v1::Delivery* row);
void WriteRecord(const core::SavedShard& shard, const InstantWriter& instants,
                 store::v1::Shard* row);

/// Where the instants of a row are read from.
struct RowInstants {
  const InstantReader& reader;
  bool boot;  ///< the row is of the epoch that goes on

  core::Instant Read(core::Nanos at_boot, core::Nanos at_wall) const {
    return boot ? reader.FromBoot(at_boot) : reader.FromWall(at_wall);
  }
};

/// The ways back: all but what the key says. Null, or what is wrong with the row.
const char* ReadRecord(const store::v1::Desc& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedDesc* desc);
const char* ReadRecord(const store::v1::Id& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedId* id);
const char* ReadRecord(const store::v1::Delivery& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedDelivery* delivery);
void ReadRecord(const store::v1::Shard& row, const RowInstants& instants, core::SavedShard* shard);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_RECORD_H_
