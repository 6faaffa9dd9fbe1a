// Durations, instants and labels as they are typed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>

#include "client/waitctl/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  using namespace waitd::ctl;
  if (const auto duration = ParseDuration(text)) {
    if (FromProto(ToProto(*duration)) - *duration >= absl::Nanoseconds(1)) std::abort();
    Show(*duration);
  }
  if (const auto when = ParseWhen(text)) {
    // What it means goes into a request and is shown: whatever it is, it must be something.
    if (const auto* const at = std::get_if<absl::Time>(&*when)) {
      if (FromProto(ToProto(*at)) - *at >= absl::Nanoseconds(1)) std::abort();
      Show(*at);
    }
    if (std::holds_alternative<Clear>(*when) && text != "clear") std::abort();
  }
  std::string key;
  std::string value;
  if (ParseLabel(text, &key, &value) && key + "=" + value != text) std::abort();
  return 0;
}
