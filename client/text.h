#ifndef WAITD_CLIENT_TEXT_H_
#define WAITD_CLIENT_TEXT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace waitd::ctl {

/// The same characters as Abseil's type, which is std::string_view only where Abseil was built so.
inline absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

/// The text on one line, safe for a terminal: control characters, backslashes and what is not
/// UTF-8 as escapes.
std::string Printable(std::string_view text);

/// The text as one word of a POSIX shell, quoted if it has to be.
std::string ShellWord(std::string_view text);

/// A JSON string, with its quotes.
std::string JsonString(std::string_view text);

/// A whole decimal number without a sign; nothing when it is none or too large.
std::optional<uint64_t> ParseNumber(std::string_view text);

/// The candidate that a mistyped word was probably meant to be; empty when none is near. Near is
/// one slip (a letter wrong, missing, too many, or two swapped) for each three letters, rounded up.
std::string_view Closest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_TEXT_H_
