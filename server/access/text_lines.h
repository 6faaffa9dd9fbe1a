#ifndef WAITD_SERVER_ACCESS_TEXT_LINES_H_
#define WAITD_SERVER_ACCESS_TEXT_LINES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace waitd::server {

/// The lines of a file of words, each with its words: # begins a comment, and lines without a word
/// are passed over. What `each` has to object is returned with the line's number before it.
absl::Status ForEachLine(
    std::string_view text,
    absl::FunctionRef<absl::Status(const std::vector<std::string>& words)> each);

/// Who may be named in such a file: 1 to 256 bytes, printable ASCII without spaces.
absl::Status CheckIdentity(std::string_view identity);

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_TEXT_LINES_H_
