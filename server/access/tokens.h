#ifndef WAITD_SERVER_ACCESS_TOKENS_H_
#define WAITD_SERVER_ACCESS_TOKENS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace waitd::server {

/// SHA-256, as bytes.
std::string Sha256(std::string_view bytes);

/// Somebody who is known, and the number by which the core knows who it is: the same in every
/// process, and never 0.
struct Identity {
  std::string name;
  uint64_t number = 0;
};
Identity MakeIdentity(std::string name);

/// Whose a bearer token is: a file of lines `IDENTITY HASH`, where the hash is the token's SHA-256
/// in hexadecimal, so that nobody who reads the file has a token. One who has several tokens, as
/// while one replaces the other, has several lines. Threads: any; it never changes.
class Tokens {
 public:
  static absl::StatusOr<std::shared_ptr<const Tokens>> Parse(std::string_view text);

  /// The one whose token it is; null: nobody's. It is looked up by its hash, which whoever tries
  /// cannot choose, so that the time it takes tells nothing.
  const Identity* Find(std::string_view token) const;

  /// Whether that one has a token.
  bool Knows(std::string_view identity) const;

 private:
  absl::flat_hash_map<std::string, Identity> by_hash_;
  std::set<std::string, std::less<>> identities_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_TOKENS_H_
