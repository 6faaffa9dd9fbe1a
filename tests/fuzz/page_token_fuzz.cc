// Page tokens: what was not made for a request is not taken for one; what was comes back as it
// went.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/api/page_token.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  waitd::v1::ListPollDescriptorsRequest request;
  request.set_prefix("p");
  request.set_page_token(text);
  if (const auto name = waitd::server::NameOfPageToken(request)) {
    request.set_prefix("q");
    if (waitd::server::NameOfPageToken(request).has_value()) std::abort();
  }
  if (text.empty()) return 0;
  request.set_page_token(waitd::server::PageToken(text, request));
  if (waitd::server::NameOfPageToken(request) != text) std::abort();
  return 0;
}
