#include "server/api/page_token.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace waitd::server {
namespace {

constexpr size_t kFingerprintBytes = 16;

// The filters and the name in sixteen digits: a slip tells itself, and a token of another request
// too. It protects nothing; whoever may list may see every name.
std::string Fingerprint(std::string_view name, const v1::ListPollDescriptorsRequest& request) {
  uint64_t hash = 14695981039346656037U;  // FNV-1a, the same in every run
  const auto mix = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
    hash = (hash ^ 0x100) * 1099511628211U;  // where one text ends
  };
  mix("waitd page");
  mix(name);
  mix(request.prefix());
  mix(request.waiting_only() ? "waiting" : "all");
  std::vector<std::pair<std::string, std::string>> labels(request.labels().begin(),
                                                          request.labels().end());
  std::sort(labels.begin(), labels.end());
  for (const auto& [key, value] : labels) {
    mix(key);
    mix(value);
  }
  return absl::StrFormat("%016x", hash);
}

}  // namespace

std::string PageToken(std::string_view name, const v1::ListPollDescriptorsRequest& request) {
  return absl::WebSafeBase64Escape(Fingerprint(name, request) + std::string(name));
}

std::optional<std::string> NameOfPageToken(const v1::ListPollDescriptorsRequest& request) {
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(request.page_token(), &bytes)) return std::nullopt;
  if (bytes.size() <= kFingerprintBytes) return std::nullopt;
  std::string name = bytes.substr(kFingerprintBytes);
  if (bytes.substr(0, kFingerprintBytes) != Fingerprint(name, request)) return std::nullopt;
  return name;
}

}  // namespace waitd::server
