#include "server/store/row_key.h"

#include <climits>
#include <cstddef>

namespace waitd::server {
namespace {

template <class T>
void AppendBigEndian(T number, std::string* key) {
  for (size_t i = sizeof(T); i-- > 0;) {
    key->push_back(static_cast<char>(number >> (i * CHAR_BIT) & UCHAR_MAX));
  }
}

template <class T>
T ReadBigEndian(std::string_view bytes) {
  T number = 0;
  for (const char byte : bytes.substr(0, sizeof(T))) {
    number = static_cast<T>(number << CHAR_BIT | static_cast<unsigned char>(byte));
  }
  return number;
}

bool Is(RowKind kind, std::string_view key) {
  return !key.empty() && key[0] == static_cast<char>(kind);
}

constexpr size_t kUseAt = 1;
constexpr size_t kNameAt = 2;
constexpr size_t kCallerAt = kNameAt + sizeof(uint64_t);
constexpr size_t kIdAt = kCallerAt + sizeof(uint64_t);
constexpr size_t kSideAt = 1 + sizeof(uint64_t);
constexpr size_t kDeliveryBytes = kSideAt + 1 + sizeof(uint64_t);

}  // namespace

void MakeDescKey(std::string_view name, std::string* key) {
  key->assign(1, static_cast<char>(RowKind::kDesc));
  key->append(name);
}

void MakeIdKey(const core::SavedIdKey& id, std::string* key) {
  key->assign(1, static_cast<char>(RowKind::kId));
  key->push_back(static_cast<char>(static_cast<int>(id.use) + 1));
  AppendBigEndian(id.name, key);
  AppendBigEndian(id.caller, key);
  key->append(id.id);
}

std::string PayloadKey(uint64_t number) {
  std::string key(1, static_cast<char>(RowKind::kPayload));
  AppendBigEndian(number, &key);
  return key;
}

void MakeDeliveryKey(const core::SavedDeliveryKey& delivery, std::string* key) {
  key->assign(1, static_cast<char>(RowKind::kDelivery));
  AppendBigEndian(delivery.generation, key);
  key->push_back(static_cast<char>(Index(delivery.side) + 1));
  AppendBigEndian(delivery.number, key);
}

std::string ShardKey(uint32_t shard) {
  std::string key(kShardPrefix);
  AppendBigEndian(shard, &key);
  return key;
}

std::optional<core::SavedIdKey> ReadIdKey(std::string_view key) {
  if (!Is(RowKind::kId, key) || key.size() < kIdAt) return std::nullopt;
  const int use = key[kUseAt] - 1;
  if (use < 0 || use > static_cast<int>(core::IdUse::kRequest)) return std::nullopt;
  return core::SavedIdKey{.use = static_cast<core::IdUse>(use),
                          .name = ReadBigEndian<uint64_t>(key.substr(kNameAt)),
                          .caller = ReadBigEndian<uint64_t>(key.substr(kCallerAt)),
                          .id = std::string(key.substr(kIdAt))};
}

std::optional<uint64_t> ReadPayloadKey(std::string_view key) {
  if (!Is(RowKind::kPayload, key) || key.size() != 1 + sizeof(uint64_t)) return std::nullopt;
  return ReadBigEndian<uint64_t>(key.substr(1));
}

std::optional<core::SavedDeliveryKey> ReadDeliveryKey(std::string_view key) {
  if (!Is(RowKind::kDelivery, key) || key.size() != kDeliveryBytes) return std::nullopt;
  const int side = key[kSideAt] - 1;
  if (side < 0 || side > static_cast<int>(core::Side::kWrite)) return std::nullopt;
  return core::SavedDeliveryKey{.generation = ReadBigEndian<uint64_t>(key.substr(1)),
                                .side = static_cast<core::Side>(side),
                                .number = ReadBigEndian<uint64_t>(key.substr(kSideAt + 1))};
}

std::optional<uint32_t> ReadShardNumber(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix) || key.size() != prefix.size() + sizeof(uint32_t)) {
    return std::nullopt;
  }
  return ReadBigEndian<uint32_t>(key.substr(prefix.size()));
}

}  // namespace waitd::server
