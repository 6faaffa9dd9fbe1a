#include "server/access/tokens.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "server/access/text_lines.h"

namespace waitd::server {

std::string Sha256(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  WAITD_CHECK(done == 1, "SHA-256 cannot be computed");
  return {digest.begin(), digest.begin() + size};
}

Identity MakeIdentity(std::string name) {
  const std::string hash = Sha256(name);
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof(number); ++i) {
    number = number << CHAR_BIT | static_cast<unsigned char>(hash[i]);
  }
  return {std::move(name), std::max<uint64_t>(number, 1)};
}

absl::StatusOr<std::shared_ptr<const Tokens>> Tokens::Parse(std::string_view text) {
  auto tokens = std::make_shared<Tokens>();
  absl::Status status = ForEachLine(text, [&](const std::vector<std::string>& words) {
    constexpr size_t kHashDigits = 64;
    // The words stay out of the message: a token may stand where its hash should.
    const bool is_hash = words.size() == 2 && words[1].size() == kHashDigits &&
                         words[1].find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    if (!is_hash) {
      return absl::InvalidArgumentError(
          "not `IDENTITY HASH`, with the SHA-256 of a token as 64 hexadecimal digits; "
          "`printf %s TOKEN | sha256sum` makes it");
    }
    if (absl::Status fault = CheckIdentity(words[0]); !fault.ok()) return fault;
    const auto [former, is_new] =
        tokens->by_hash_.emplace(absl::HexStringToBytes(words[1]), MakeIdentity(words[0]));
    if (!is_new && former->second.name != words[0]) {
      return absl::InvalidArgumentError(absl::StrCat("the token of ", words[0], " is that of ",
                                                     former->second.name,
                                                     " too; give each one its own"));
    }
    tokens->identities_.insert(words[0]);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return tokens;
}

const Identity* Tokens::Find(std::string_view token) const {
  const auto found = by_hash_.find(Sha256(token));
  return found == by_hash_.end() ? nullptr : &found->second;
}

bool Tokens::Knows(std::string_view identity) const { return identities_.contains(identity); }

}  // namespace waitd::server
