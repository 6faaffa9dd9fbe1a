#include "server/store/row_scan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/journal.h"
#include "server/store/payload.h"
#include "server/store/record.h"
#include "server/store/rocks.h"
#include "server/store/row_key.h"

namespace waitd::server {
namespace {

constexpr char kUnreadable[] = "its value cannot be read";
constexpr char kNoSuchRow[] = "there is no such row";
constexpr char kNoSuchShard[] = "there is no such shard";

}  // namespace

rocksdb::Status RowScan::Run(const Store::OnRow& on_row, const OnFault& on_fault, Loaded* loaded) {
  bool going = true;
  const auto tell = [&](std::string_view key, const char* fault) {
    going = on_fault(FaultOf(key, fault));
    return going;
  };
  // What the other rows refer to comes first, and happens to stand last.
  constexpr char kMeta[] = {static_cast<char>(RowKind::kMeta), '\0'};
  const auto read_meta = [&](std::string_view key, std::string_view value) {
    const char* const fault =
        key[0] == kMeta[0] ? ReadMeta(key, value, loaded) : ReadPayload(key, value);
    return fault == nullptr || tell(key, fault);
  };
  auto status = ForEachRow(db_, changes_, kMeta, {}, read_meta);
  if (!status.ok() || !going) return status;
  for (const core::SavedShard& each : loaded->shards) lives_ = std::max(lives_, each.lives);
  const auto show = [&](std::string_view key, auto saved, const char* fault, uint64_t* count) {
    if (fault != nullptr) return tell(key, fault);
    ++*count;
    on_row(std::move(saved));
    return true;
  };
  const auto read = [&](std::string_view key, std::string_view value) {
    switch (static_cast<RowKind>(key.empty() ? 0 : key[0])) {
      case RowKind::kDesc: {
        core::SavedDesc desc;
        const char* const fault = ReadDesc(key, value, &desc);
        return show(key, std::move(desc), fault, &loaded->descs);
      }
      case RowKind::kDelivery: {
        core::SavedDelivery delivery;
        const char* const fault = ReadDelivery(key, value, &delivery);
        return show(key, std::move(delivery), fault, &loaded->deliveries);
      }
      case RowKind::kId: {
        core::SavedId id;
        const char* const fault = ReadId(key, value, &id);
        return show(key, std::move(id), fault, &loaded->ids);
      }
      default:
        return tell(key, kNoSuchRow);
    }
  };
  status = ForEachRow(db_, changes_, {}, kMeta, read);
  if (!status.ok() || !going) return status;
  if (const size_t idle = payloads_.AllFound(); idle > 0) {
    on_fault(absl::StrCat(idle, " payloads that no row refers to"));
  }
  return status;
}

const char* RowScan::CheckEpoch(uint32_t epoch) const {
  return epoch >= 1 && epoch <= epoch_ ? nullptr : "its times are of an epoch that never began";
}

const char* RowScan::CheckGeneration(uint64_t generation) const {
  return generation / core::kShards <= lives_ ? nullptr : "its generation was never given out";
}

const char* RowScan::ReadMeta(std::string_view key, std::string_view value, Loaded* loaded) {
  if (key == kFormatKey || key == kEpochKey) return nullptr;  // read when it was opened
  const auto shard = ReadShardNumber(key, kShardPrefix);
  if (!shard.has_value()) return kNoSuchRow;
  store::v1::Shard row;
  if (!Parse(value, &row)) return kUnreadable;
  if (const char* const fault = CheckEpoch(row.epoch())) return fault;
  if (*shard >= core::kShards) return kNoSuchShard;
  core::SavedShard& saved = loaded->shards.emplace_back();
  saved.shard = *shard;
  ReadRecord(row, {instants_, row.epoch() == epoch_}, &saved);
  return nullptr;
}

const char* RowScan::ReadPayload(std::string_view key, std::string_view value) {
  const auto number = ReadPayloadKey(key);
  if (!number.has_value()) return kNoSuchRow;
  payloads_.Found(*number, StoredPayload(std::string(value), budget_));
  return nullptr;
}

template <class Message, class Saved>
const char* RowScan::Read(std::string_view key, std::string_view value, Message& row,
                          Saved* saved) {
  if (!Parse(value, &row)) return kUnreadable;
  if (const char* const fault = CheckEpoch(row.epoch())) return fault;
  const RowInstants instants{instants_, row.epoch() == epoch_};
  const auto read = [this](const store::v1::Payload& from) {
    return from.has_here() ? StoredPayload(from.here(), budget_) : payloads_.ReferTo(from.row());
  };
  const char* const fault = ReadRecord(row, instants, read, saved);
  payloads_.Made(key);
  return fault;
}

const char* RowScan::ReadDesc(std::string_view key, std::string_view value, core::SavedDesc* desc) {
  desc->name = key.substr(1);
  if (const char* const fault = Read(key, value, desc_row_, desc)) return fault;
  return CheckGeneration(desc->generation);
}

const char* RowScan::ReadId(std::string_view key, std::string_view value, core::SavedId* id) {
  auto id_key = ReadIdKey(key);
  if (!id_key.has_value()) return kNoSuchRow;
  id->key = *std::move(id_key);
  if (const char* const fault = Read(key, value, id_row_, id)) return fault;
  return id->shard < core::kShards ? nullptr : kNoSuchShard;
}

const char* RowScan::ReadDelivery(std::string_view key, std::string_view value,
                                  core::SavedDelivery* delivery) {
  const auto delivery_key = ReadDeliveryKey(key);
  if (!delivery_key.has_value()) return kNoSuchRow;
  delivery->key = *delivery_key;
  if (const char* const fault = Read(key, value, delivery_row_, delivery)) return fault;
  if (delivery->shard >= core::kShards) return kNoSuchShard;
  return CheckGeneration(delivery->key.generation);
}

}  // namespace waitd::server
