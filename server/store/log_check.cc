#include "server/store/log_check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

namespace fs = std::filesystem;

// The format of RocksDB's logs, which is LevelDB's: blocks of 32 KiB, with fragments of records in
// them. A fragment has a checksum (4 bytes), a length (2), a type (1), and its bytes; less than
// that at a block's end is filled up. All numbers are little endian.
constexpr size_t kBlock = 32U << 10U;
constexpr size_t kHeader = 7;
constexpr size_t kBatchHeader = 12;  // what every commit begins with
enum Type : uint8_t { kNone = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

constexpr std::array<uint32_t, 256> MakeTable() {
  constexpr uint32_t kCastagnoli = 0x82F63B78;
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) {
      table[i] = (table[i] >> 1U) ^ ((table[i] & 1U) != 0 ? kCastagnoli : 0);
    }
  }
  return table;
}
constexpr auto kTable = MakeTable();

// CRC-32C, rotated and shifted as the logs have it, so that checksums of checksums stay good ones.
uint32_t MaskedChecksum(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8U);
  }
  crc = ~crc;
  return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U;
}

struct Fragment {
  Type type = kNone;  // kNone: there is no whole one
  size_t end = 0;
};

Fragment ReadFragment(std::string_view log, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(log[at + i]); };
  const size_t room = std::min(kBlock - at % kBlock, log.size() - at);
  if (room < kHeader) return {};
  const size_t length = byte(4) | static_cast<size_t>(byte(5)) << 8U;
  const unsigned type = byte(6);
  if (type < kFull || type > kLast || kHeader + length > room) return {};
  const uint32_t checksum = byte(0) | static_cast<uint32_t>(byte(1)) << 8U |
                            static_cast<uint32_t>(byte(2)) << 16U |
                            static_cast<uint32_t>(byte(3)) << 24U;
  if (MaskedChecksum(log.substr(at + kHeader - 1, 1 + length)) != checksum) return {};
  return {static_cast<Type>(type), at + kHeader + length};
}

// Where the whole records end: where the first begins that is not whole, if one is not.
size_t EndOfWhole(std::string_view log) {
  size_t end = 0;
  bool within = false;
  for (size_t at = 0; at < log.size();) {
    if (const size_t left = kBlock - at % kBlock; left < kHeader) {
      at += left;
      continue;
    }
    const Fragment fragment = ReadFragment(log, at);
    const bool fits = within ? fragment.type == kMiddle || fragment.type == kLast
                             : fragment.type == kFull || fragment.type == kFirst;
    if (!fits) return end;
    within = fragment.type == kFirst || fragment.type == kMiddle;
    at = fragment.end;
    if (!within) end = at;
  }
  return end;
}

// Whether a commit begins behind this place. It may be anywhere, for the length of what stands
// there is not to be trusted.
bool HasRecordBehind(std::string_view log, size_t at) {
  while (++at + kHeader + kBatchHeader <= log.size()) {
    const auto type = static_cast<unsigned char>(log[at + kHeader - 1]);
    if (type != kFull && type != kFirst) continue;
    const Fragment fragment = ReadFragment(log, at);
    if (fragment.type != kNone && fragment.end >= at + kHeader + kBatchHeader) return true;
  }
  return false;
}

// By number, which is by age.
std::vector<fs::path> LogsOf(const std::string& database) {
  std::vector<fs::path> logs;
  std::error_code error;
  for (auto entry = fs::directory_iterator(database, error); !error && entry != fs::end(entry);
       entry.increment(error)) {
    if (entry->path().extension() == ".log") logs.push_back(entry->path());
  }
  std::sort(logs.begin(), logs.end());
  return logs;
}

}  // namespace

std::optional<std::string> FindDamageInLogs(const std::string& database) {
  std::optional<std::string> broken_off;
  for (const fs::path& path : LogsOf(database)) {
    std::ifstream file(path, std::ios::binary);
    const std::string log{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t end = EndOfWhole(log);
    if (broken_off.has_value() && end > 0) return broken_off;
    if (end == log.size()) continue;
    broken_off = absl::StrCat(path.filename().string(), " is damaged at byte ", end);
    if (HasRecordBehind(log, end)) return broken_off;
  }
  return std::nullopt;
}

}  // namespace waitd::server
