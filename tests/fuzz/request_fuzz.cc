// What a request means: names, times, labels and options from any message that protobuf accepts.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/api/validate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  waitd::v1::SetDeadlineRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  using namespace waitd::server;
  if (!CheckName(request.name(), "name") &&
      (request.name().empty() || request.name().size() > 512)) {
    std::abort();
  }
  waitd::core::Nanos nanos{0};
  if (!ToNanos(request.timeout(), "timeout", &nanos) &&
      (request.timeout().seconds() > 0) != (nanos >= std::chrono::seconds(1))) {
    std::abort();
  }
  waitd::core::WallTime at;
  ToWallTime(request.at(), "at", &at);
  if (!ToSentAgo(request.first_sent_ago(), &nanos) && nanos < waitd::core::Nanos(0)) std::abort();
  waitd::core::OpenOptions options;
  if (!ToOpenOptions(request.open_if_missing(), true, "open_if_missing", &options) &&
      options.labels.size() > 16) {
    std::abort();
  }
  return 0;
}
