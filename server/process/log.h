#ifndef WAITD_SERVER_PROCESS_LOG_H_
#define WAITD_SERVER_PROCESS_LOG_H_

#include <string>
#include <string_view>

namespace waitd::server {

/// Sets the process's logger: lines on stderr, as text or JSON, from this level on. What gRPC and
/// protobuf have to say is logged at debug, for a client can make them speak with every call. Call
/// once, before anything logs.
void StartLog(const std::string& level, const std::string& format);

/// The text as the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
std::string JsonEscape(std::string_view text);

/// The text with control characters escaped, so that nothing in it begins a line of its own.
std::string OneLine(std::string_view text);

}  // namespace waitd::server

#endif  // WAITD_SERVER_PROCESS_LOG_H_
