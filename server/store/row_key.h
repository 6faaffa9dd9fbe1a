#ifndef WAITD_SERVER_STORE_ROW_KEY_H_
#define WAITD_SERVER_STORE_ROW_KEY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/saved.h"

namespace waitd::server {

/// The keys of the rows, see record.proto. A key's first byte says what its row is.
enum class RowKind : char { kDesc = 'd', kId = 'i', kMeta = 'm', kPayload = 'p' };

inline constexpr std::string_view kFormatKey = "mformat";
inline constexpr std::string_view kGenerationKey = "mgeneration";
inline constexpr std::string_view kEpochKey = "mepoch";
inline constexpr std::string_view kHorizonPrefix = "mhorizon/";

/// Write the key in the place of what `key` held, whose memory they take again.
void MakeDescKey(std::string_view name, std::string* key);
void MakeIdKey(const core::SavedIdKey& id, std::string* key);

std::string PayloadKey(uint64_t number);
std::string HorizonKey(uint32_t shard);

/// The ways back. Nothing: it is no such key.
std::optional<core::SavedIdKey> ReadIdKey(std::string_view key);
std::optional<uint64_t> ReadPayloadKey(std::string_view key);
std::optional<uint32_t> ReadHorizonKey(std::string_view key);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_ROW_KEY_H_
