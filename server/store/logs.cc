#include "server/store/logs.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string_view>
#include <system_error>
#include <utility>
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
constexpr size_t kBatchHeader = 12;  // what every record begins with
enum Type : uint8_t { kNone = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

// Eight bytes a step, for a log has hundreds of megabytes, and a restart waits for it: tables[n] is
// what a byte does to the checksum that has n more behind it.
constexpr size_t kStep = sizeof(uint64_t);
using Tables = std::array<std::array<uint32_t, 256>, kStep>;

constexpr Tables MakeTables() {
  constexpr uint32_t kCastagnoli = 0x82F63B78;
  Tables tables{};
  for (uint32_t i = 0; i < tables[0].size(); ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kCastagnoli : 0);
    tables[0][i] = crc;
  }
  for (size_t n = 1; n < kStep; ++n) {
    for (size_t i = 0; i < tables[0].size(); ++i) {
      const uint32_t before = tables[n - 1][i];
      tables[n][i] = (before >> 8U) ^ tables[0][before & 0xFFU];
    }
  }
  return tables;
}
constexpr Tables kTables = MakeTables();

uint32_t Byte(std::string_view bytes, size_t at) { return static_cast<unsigned char>(bytes[at]); }

uint32_t Read32(std::string_view bytes, size_t at) {
  return Byte(bytes, at) | Byte(bytes, at + 1) << 8U | Byte(bytes, at + 2) << 16U |
         Byte(bytes, at + 3) << 24U;
}

// CRC-32C, rotated and shifted as the logs have it, so that checksums of checksums stay good ones.
uint32_t MaskedChecksum(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  size_t at = 0;
  for (; at + kStep <= bytes.size(); at += kStep) {
    const uint32_t low = Read32(bytes, at) ^ crc;
    const uint32_t high = Read32(bytes, at + 4);
    crc = kTables[7][low & 0xFFU] ^ kTables[6][low >> 8U & 0xFFU] ^ kTables[5][low >> 16U & 0xFFU] ^
          kTables[4][low >> 24U] ^ kTables[3][high & 0xFFU] ^ kTables[2][high >> 8U & 0xFFU] ^
          kTables[1][high >> 16U & 0xFFU] ^ kTables[0][high >> 24U];
  }
  for (; at < bytes.size(); ++at) {
    crc = kTables[0][(crc ^ Byte(bytes, at)) & 0xFFU] ^ (crc >> 8U);
  }
  crc = ~crc;
  return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U;
}

struct Fragment {
  Type type = kNone;  // kNone: there is no whole one
  size_t end = 0;
};

Fragment ReadFragment(std::string_view log, size_t at) {
  const size_t room = std::min(kBlock - at % kBlock, log.size() - at);
  if (room < kHeader) return {};
  const size_t length = Byte(log, at + 4) | Byte(log, at + 5) << 8U;
  const uint32_t type = Byte(log, at + 6);
  if (type < kFull || type > kLast || kHeader + length > room) return {};
  if (MaskedChecksum(log.substr(at + kHeader - 1, 1 + length)) != Read32(log, at)) return {};
  return {static_cast<Type>(type), at + kHeader + length};
}

// Whether a commit begins with this fragment. A record without rows is none: RocksDB begins a log
// with one when it found the last log torn.
bool BeginsCommit(const Fragment& fragment, size_t at) {
  const size_t least = at + kHeader + kBatchHeader;
  return (fragment.type == kFull && fragment.end > least) ||
         (fragment.type == kFirst && fragment.end >= least);
}

struct Whole {
  size_t end = 0;  // where the first record begins that is not whole, if one is not
  bool has_commit = false;
};

Whole FindWhole(std::string_view log) {
  Whole whole;
  bool within = false;
  bool commit = false;
  for (size_t at = 0; at < log.size();) {
    if (const size_t left = kBlock - at % kBlock; left < kHeader) {
      at += left;
      continue;
    }
    const Fragment fragment = ReadFragment(log, at);
    const bool fits = within ? fragment.type == kMiddle || fragment.type == kLast
                             : fragment.type == kFull || fragment.type == kFirst;
    if (!fits) return whole;
    commit = within ? commit : BeginsCommit(fragment, at);
    within = fragment.type == kFirst || fragment.type == kMiddle;
    at = fragment.end;
    if (!within) whole = {at, whole.has_commit || commit};
  }
  return whole;
}

// Whether a commit begins behind this place. It may be anywhere, for the length of what stands
// there is not to be trusted.
bool HasCommitBehind(std::string_view log, size_t at) {
  while (++at + kHeader + kBatchHeader <= log.size()) {
    const uint32_t type = Byte(log, at + kHeader - 1);
    if (type != kFull && type != kFirst) continue;
    if (BeginsCommit(ReadFragment(log, at), at)) return true;
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
  // Six digits at least, and from the millionth on seven.
  std::sort(logs.begin(), logs.end(), [](const fs::path& a, const fs::path& b) {
    return std::pair(a.native().size(), a) < std::pair(b.native().size(), b);
  });
  return logs;
}

// A log that cannot be read is RocksDB's to complain of.
std::string ReadAll(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return "";
  std::string bytes(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

}  // namespace

std::optional<std::string> FindDamageInLogs(const std::string& database) {
  std::optional<std::string> broken_off;
  for (const fs::path& path : LogsOf(database)) {
    const std::string log = ReadAll(path);
    const Whole whole = FindWhole(log);
    if (broken_off.has_value() && whole.has_commit) return broken_off;
    if (whole.end == log.size()) continue;
    broken_off = absl::StrCat(path.filename().string(), " is damaged at byte ", whole.end);
    if (HasCommitBehind(log, whole.end)) return broken_off;
  }
  return std::nullopt;
}

absl::Status RemoveReadLogs(const std::string& database) {
  std::vector<fs::path> logs = LogsOf(database);
  if (!logs.empty()) logs.pop_back();
  for (const fs::path& log : logs) {
    std::error_code error;
    fs::remove(log, error);
    if (error) {
      return absl::UnavailableError(absl::StrCat("cannot remove ", log.string(), ": ",
                                                 error.message(),
                                                 "; look after the disk, and start waitd again"));
    }
  }
  return absl::OkStatus();
}

}  // namespace waitd::server
