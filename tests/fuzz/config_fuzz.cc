// The files that waitd reads: `name = value` lines of a configuration, rules, and tokens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/access/rules.h"
#include "server/access/tokens.h"
#include "server/options/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::pair<std::string, std::string>> settings;
  std::string error;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (waitd::server::ParseConfig(text, &settings, &error) != error.empty()) std::abort();
  for (const auto& [name, value] : settings) {
    if (name.empty() || value.find('\n') != std::string::npos) std::abort();
  }
  const auto rules = waitd::server::Rules::Parse(text);
  // Whoever was never named may do nothing.
  if (rules.ok() && (*rules)->Allow("", waitd::server::Right::kWait, "name")) std::abort();
  (void)waitd::server::Tokens::Parse(text);
  return 0;
}
