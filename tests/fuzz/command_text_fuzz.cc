// Durations, instants and labels as they are typed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "client/waitctl/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  using namespace waitd::ctl;
  if (const auto duration = ParseDuration(text)) {
    if (FromProto(ToProto(*duration)) - *duration >= absl::Nanoseconds(1)) std::abort();
    Show(*duration);
  }
  waitd::v1::SetDeadlineRequest request;
  if (ParseWhen(text, &request) !=
      (request.deadline_case() != waitd::v1::SetDeadlineRequest::DEADLINE_NOT_SET)) {
    std::abort();
  }
  std::string key;
  std::string value;
  if (ParseLabel(text, &key, &value) && key + "=" + value != text) std::abort();
  return 0;
}
