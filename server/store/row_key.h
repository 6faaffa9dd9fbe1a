#ifndef WAITD_SERVER_STORE_ROW_KEY_H_
#define WAITD_SERVER_STORE_ROW_KEY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/saved.h"

namespace waitd::server {

/// The keys of the rows, see record.proto. A key's first byte says what its row is.
enum class RowKind : char {
  kDesc = 'd',
  kDelivery = 'h',
  kId = 'i',
  kMeta = 'm',
  kPayload = 'p',
};

inline constexpr std::string_view kFormatKey = "mformat";
inline constexpr std::string_view kEpochKey = "mepoch";
inline constexpr std::string_view kShardPrefix = "mshard/";

/// Write the key in the place of what `key` held, whose memory they take again.
void MakeDescKey(std::string_view name, std::string* key);
void MakeIdKey(const core::SavedIdKey& id, std::string* key);
void MakeDeliveryKey(const core::SavedDeliveryKey& delivery, std::string* key);

std::string PayloadKey(uint64_t number);
std::string ShardKey(uint32_t shard);

/// The ways back. Nothing: it is no such key.
std::optional<core::SavedIdKey> ReadIdKey(std::string_view key);
std::optional<uint64_t> ReadPayloadKey(std::string_view key);
std::optional<core::SavedDeliveryKey> ReadDeliveryKey(std::string_view key);

/// The number behind a prefix such as kShardPrefix.
std::optional<uint32_t> ReadShardNumber(std::string_view key, std::string_view prefix);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROW_KEY_H_
