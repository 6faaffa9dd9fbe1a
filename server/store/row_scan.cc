#include "server/store/row_scan.h"

#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/journal.h"
#include "server/store/payload.h"
#include "server/store/record.h"
#include "server/store/row_key.h"

namespace waitd::server {
namespace {

constexpr char kUnreadable[] = "its value cannot be read";

template <class Message>
bool Parse(std::string_view value, Message* message) {
  return message->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

// Goes through the keys from `begin` to before `end`; empty: to the last.
rocksdb::Status ForEachRow(rocksdb::DB& db, std::string_view begin, std::string_view end,
                           const std::function<bool(std::string_view, std::string_view)>& visit) {
  const rocksdb::Slice bound(end.data(), end.size());
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = 2U << 20U;
  if (!end.empty()) options.iterate_upper_bound = &bound;
  const std::unique_ptr<rocksdb::Iterator> row(db.NewIterator(options));
  for (row->Seek({begin.data(), begin.size()}); row->Valid(); row->Next()) {
    if (!visit(row->key().ToStringView(), row->value().ToStringView())) break;
  }
  return row->status();
}

}  // namespace

rocksdb::Status RowScan::Run(const Store::OnDesc& on_desc, const Store::OnId& on_id,
                             const OnFault& on_fault, Loaded* loaded) {
  bool going = true;
  const auto tell = [&](std::string_view key, const char* fault) {
    const auto shown = absl::CHexEscape(absl::string_view(key.data(), key.size()));
    going = on_fault(absl::StrCat("row ", shown, ": ", fault));
    return going;
  };
  // What the other rows refer to comes first, and happens to stand last.
  constexpr char kMeta[] = {static_cast<char>(RowKind::kMeta), '\0'};
  auto status = ForEachRow(db_, kMeta, {}, [&](std::string_view key, std::string_view value) {
    const char* const fault =
        key[0] == kMeta[0] ? ReadMeta(key, value, loaded) : ReadPayload(key, value);
    return fault == nullptr || tell(key, fault);
  });
  if (!status.ok() || !going) return status;
  next_generation_ = loaded->next_generation;
  status = ForEachRow(db_, {}, kMeta, [&](std::string_view key, std::string_view value) {
    if (!key.empty() && key[0] == static_cast<char>(RowKind::kDesc)) {
      core::SavedDesc desc;
      if (const char* const fault = ReadDesc(key, value, &desc)) return tell(key, fault);
      ++loaded->descs;
      on_desc(std::move(desc));
    } else {
      core::SavedId id;
      if (const char* const fault = ReadId(key, value, &id)) return tell(key, fault);
      ++loaded->ids;
      on_id(std::move(id));
    }
    return true;
  });
  if (!status.ok() || !going) return status;
  if (const size_t idle = payloads_.AllFound(); idle > 0) {
    on_fault(absl::StrCat(idle, " payloads that no row refers to"));
  }
  return status;
}

const char* RowScan::CheckEpoch(uint32_t epoch) const {
  return epoch >= 1 && epoch <= epoch_ ? nullptr : "its times are of an epoch that never began";
}

const char* RowScan::ReadMeta(std::string_view key, std::string_view value, Loaded* loaded) {
  if (key == kFormatKey || key == kEpochKey) return nullptr;  // read when it was opened
  if (key == kGenerationKey) {
    store::v1::Generation generation;
    if (!Parse(value, &generation)) return kUnreadable;
    loaded->next_generation = generation.next();
    return nullptr;
  }
  const auto shard = ReadHorizonKey(key);
  if (!shard.has_value()) return "there is no such row";
  store::v1::Horizon horizon;
  if (!Parse(value, &horizon) || !horizon.has_at()) return kUnreadable;
  if (const char* const fault = CheckEpoch(horizon.epoch())) return fault;
  if (*shard >= core::kShards) return "there is no such shard";
  const RowInstants instants{instants_, horizon.epoch() == epoch_};
  loaded->horizons.push_back({*shard, ReadInstant(horizon.at(), instants)});
  return nullptr;
}

const char* RowScan::ReadPayload(std::string_view key, std::string_view value) {
  const auto number = ReadPayloadKey(key);
  if (!number.has_value()) return "there is no such row";
  payloads_.Found(*number, MakePayload(std::string(value)));
  return nullptr;
}

const char* RowScan::ReadDesc(std::string_view key, std::string_view value, core::SavedDesc* desc) {
  if (!Parse(value, &desc_row_)) return kUnreadable;
  if (const char* const fault = CheckEpoch(desc_row_.epoch())) return fault;
  const RowInstants instants{instants_, desc_row_.epoch() == epoch_};
  desc->name = key.substr(1);
  const char* const fault = ReadRecord(
      desc_row_, instants, [this](uint64_t number) { return payloads_.ReferTo(number); }, desc);
  payloads_.Made(key);
  if (fault != nullptr) return fault;
  if (desc->generation >= next_generation_) return "its generation is not below the next one";
  return nullptr;
}

const char* RowScan::ReadId(std::string_view key, std::string_view value, core::SavedId* id) {
  auto id_key = ReadIdKey(key);
  if (!id_key.has_value()) return "there is no such row";
  if (!Parse(value, &id_row_)) return kUnreadable;
  if (const char* const fault = CheckEpoch(id_row_.epoch())) return fault;
  const RowInstants instants{instants_, id_row_.epoch() == epoch_};
  id->key = *std::move(id_key);
  const char* const fault = ReadRecord(
      id_row_, instants, [this](uint64_t number) { return payloads_.ReferTo(number); }, id);
  payloads_.Made(key);
  if (fault != nullptr) return fault;
  if (id->shard >= core::kShards) return "there is no such shard";
  if (!id->hand_off.has_value()) return nullptr;
  if (id->hand_off->generation >= next_generation_) {
    return "its generation is not below the next one";
  }
  return nullptr;
}

}  // namespace waitd::server
