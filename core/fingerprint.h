#ifndef WAITD_CORE_FINGERPRINT_H_
#define WAITD_CORE_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace waitd::core {

/// A number for a name or for what a call asks, the same in every process and on every machine: so
/// not absl::Hash, which is seeded. Not for secrets.
class Fingerprint {
 public:
  Fingerprint& Add(uint64_t word) {
    // Both halves of the product, so that the last bytes reach the lowest bits, too.
    const auto product = static_cast<unsigned __int128>(value_ ^ word) * 0x9E3779B97F4A7C15U;
    value_ = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64U);
    return *this;
  }

  /// Eight bytes a step. What is left behind the last whole step is read with the bytes before it,
  /// so that it takes one step, too.
  Fingerprint& Add(std::string_view bytes) {
    constexpr size_t kStep = sizeof(uint64_t);
    Add(bytes.size() + kNothing);
    if (bytes.size() < kStep) return Add(Load(bytes.data(), bytes.size()));
    for (size_t at = 0; at + kStep < bytes.size(); at += kStep) Add(Load(bytes.data() + at, kStep));
    return Add(Load(bytes.data() + bytes.size() - kStep, kStep));
  }

  uint64_t value() const { return value_; }

 private:
  // Zero would be multiplied away.
  static constexpr uint64_t kNothing = 0xD1B54A32D192ED03U;

  static uint64_t Load(const char* bytes, size_t size) {
    uint64_t word = 0;
    if (size > 0) std::memcpy(&word, bytes, size);
    return word;
  }

  uint64_t value_ = kNothing;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_FINGERPRINT_H_
