#ifndef WAITD_SERVER_LOG_H_
#define WAITD_SERVER_LOG_H_

#include <string>

namespace waitd::server {

/// Sets the process's logger: lines on stderr, as text or JSON, from this level on. What gRPC and
/// protobuf have to say is logged at debug, for a client can make them speak with every call. Call
/// once, before anything logs.
void StartLog(const std::string& level, const std::string& format);

/// The text with what JSON strings cannot hold escaped.
std::string JsonEscape(const std::string& text);

}  // namespace waitd::server

#endif  // WAITD_SERVER_LOG_H_
