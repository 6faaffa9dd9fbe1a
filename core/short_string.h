#ifndef WAITD_CORE_SHORT_STRING_H_
#define WAITD_CORE_SHORT_STRING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace waitd::core {

/// A string of at most 65535 bytes that most often is short: then it stands in the object itself,
/// so that whoever compares it need not look elsewhere in memory. Threads: none of its own.
class ShortString {
 public:
  ShortString() = default;
  ~ShortString() { Free(); }
  ShortString(const ShortString&) = delete;
  ShortString& operator=(const ShortString&) = delete;

  void Set(std::string_view text) {
    Free();
    size_ = static_cast<uint16_t>(text.size());
    char* to = bytes_;
    if (text.size() > kHere) {
      to = new char[text.size()];
      std::memcpy(bytes_, &to, sizeof(to));
    }
    std::copy(text.begin(), text.end(), to);
  }

  std::string_view view() const { return {size_ > kHere ? Elsewhere() : bytes_, size_}; }

 private:
  static constexpr size_t kHere = 22;
  static_assert(kHere >= sizeof(char*));

  char* Elsewhere() const {
    char* at = nullptr;
    std::memcpy(&at, bytes_, sizeof(at));
    return at;
  }

  void Free() {
    if (size_ > kHere) delete[] Elsewhere();
  }

  uint16_t size_ = 0;
  char bytes_[kHere] = {};
};
static_assert(sizeof(ShortString) == 24);

}  // namespace waitd::core

#endif  // WAITD_CORE_SHORT_STRING_H_
