#ifndef WAITD_SERVER_SESSION_SESSIONS_H_
#define WAITD_SERVER_SESSION_SESSIONS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/mutex.h"
#include "server/session/session.h"
#include "server/session/worker.h"

namespace waitd::server {

/// The sessions of a server, by the secret with which their clients resume them.
///
/// Threads: any. Lifetime: outlives every session and every stream.
class Sessions {
 public:
  /// `context` is completed here; `linger_max` bounds what a client asks for.
  Sessions(SessionContext context, core::Nanos linger_max);

  /// The session that the first message of a stream asks for: one that is there, or a new one. An
  /// error refuses the stream.
  std::optional<Error> Begin(const std::shared_ptr<Link>& link, Visitor visitor,
                             const v1::SessionRequest& first, std::shared_ptr<Session>* session);

  /// Now and then: each session's Tick.
  void Tick();

  /// Each session's Recheck.
  void Recheck();

  /// Each session's StopReading.
  void StopReading();

  /// Every session's results are written, as far as their streams are there.
  bool Flushed() const;

  /// Ends every session with this error, and returns when all have ended.
  void EndAll(const Error& error);

  size_t size() const;

  /// For what may take long.
  Worker& worker() { return worker_; }

 private:
  std::vector<std::shared_ptr<Session>> All() const;
  void Ended(Session& session);

  SessionContext context_;
  const core::Nanos linger_max_;
  mutable core::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<Session>> by_token_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;

  Worker worker_;  // it goes first
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSIONS_H_
