#ifndef WAITD_SERVER_SESSION_LINK_H_
#define WAITD_SERVER_SESSION_LINK_H_

#include <grpcpp/support/byte_buffer.h>

#include <optional>

#include "server/api/status.h"

namespace waitd::server {

/// What carries the messages of a session: one stream, for as long as it lasts.
///
/// Threads: any, but one Write at a time. None of its methods calls back before it returns.
class Link {
 public:
  virtual ~Link() = default;

  /// Begins to write. The session hears of the end by Written, also when the link broke meanwhile.
  /// It may come just after the session has heard of that: false, and nothing is written.
  [[nodiscard]] virtual bool Write(const grpc::ByteBuffer& bytes) = 0;

  /// Ends the stream, with an error or as the client wished. No Write is under way, and none
  /// follows.
  virtual void End(const std::optional<Error>& error) = 0;

  /// Breaks the stream off, at any time.
  virtual void Break() = 0;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_LINK_H_
