// The `name = value` lines of a configuration file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::pair<std::string, std::string>> settings;
  std::string error;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (waitd::server::ParseConfig(text, &settings, &error) != error.empty()) std::abort();
  for (const auto& [name, value] : settings) {
    if (name.empty() || value.find('\n') != std::string::npos) std::abort();
  }
  return 0;
}
