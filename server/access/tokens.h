#ifndef WAITD_SERVER_ACCESS_TOKENS_H_
#define WAITD_SERVER_ACCESS_TOKENS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace waitd::server {

/// SHA-256, as bytes.
std::string Sha256(std::string_view bytes);

/// Whose a bearer token is: a file of lines `IDENTITY HASH`, where the hash is the token's SHA-256
/// in hexadecimal, so that nobody who reads the file has a token. One who has several tokens, as
/// while one replaces the other, has several lines. Threads: any; it never changes.
class Tokens {
 public:
  static absl::StatusOr<std::shared_ptr<const Tokens>> Parse(std::string_view text);

  /// The one whose token it is; null: nobody's. It is looked up by its hash, which whoever tries
  /// cannot choose, so that the time it takes tells nothing.
  const std::string* Find(std::string_view token) const;

 private:
  absl::flat_hash_map<std::string, std::string> by_hash_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_TOKENS_H_
