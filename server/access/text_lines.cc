#include "server/access/text_lines.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace waitd::server {

absl::Status ForEachLine(
    std::string_view text,
    absl::FunctionRef<absl::Status(const std::vector<std::string>& words)> each) {
  int number = 0;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const std::vector<std::string> words =
        absl::StrSplit(line.substr(0, line.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (const absl::Status status = each(words); !status.ok()) {
      return {status.code(), absl::StrCat("line ", number, ": ", status.message())};
    }
  }
  return absl::OkStatus();
}

absl::Status CheckIdentity(std::string_view identity) {
  constexpr size_t kBytesMax = 256;
  const bool printable = std::all_of(identity.begin(), identity.end(),
                                     [](char byte) { return byte > ' ' && byte < '\x7F'; });
  if (!identity.empty() && identity.size() <= kBytesMax && printable) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("an identity is 1 to ", kBytesMax, " characters of printable ASCII"));
}

}  // namespace waitd::server
