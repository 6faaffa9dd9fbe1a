#ifndef WAITD_CLIENT_WAITCTL_STREAMS_H_
#define WAITD_CLIENT_WAITCTL_STREAMS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace waitd::ctl {

/// Opens what the caller closed of the three standard streams, such that using it fails. Else the
/// next socket would get its number, and a signal's data would go into that.
void GuardStandardStreams();

/// Writes all of `text` to stdout. Empty: done; else what went wrong, for people.
std::string WriteOut(std::string_view text);

/// The content of a file, or of stdin for "-". Nothing: it could not be read, or is larger than
/// `bytes_max`; what went wrong is in `error`, for people.
std::optional<std::string> ReadIn(const std::string& path, size_t bytes_max, std::string* error);

/// Says one line on stderr, whatever is in it, so that it cannot do anything to a terminal.
void Say(std::string_view line);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_STREAMS_H_
