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

namespace waitd::server {

/// The sessions of a server, by the secret with which their clients resume them.
///
/// Threads: any. Lifetime: outlives every session and every stream.
class Sessions {
 public:
  /// `context` is completed here; `linger_max` bounds what a client asks for.
  Sessions(SessionContext context, uint64_t sessions_max, core::Nanos linger_max);

  /// A stream has arrived, which may ask for a session later: until then it is a guest, and counts
  /// as a session does. An error refuses it: there are as many guests as there may be sessions.
  Fault EnterGuest();

  /// A guest has gone. Begin makes a session of one, or an error.
  void LeaveGuest();

  /// The session that the first message of a stream asks for: one that is there, or a new one. An
  /// error refuses the stream, which is no guest any more in any case.
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

  /// Ends every session with this error.
  void EndAll(const Error& error);

  size_t size() const;

 private:
  std::vector<std::shared_ptr<Session>> All() const;
  Error Full() const;
  void Ended(Session& session);

  SessionContext context_;
  const uint64_t sessions_max_;
  const core::Nanos linger_max_;
  mutable core::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<Session>> by_token_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t guests_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSIONS_H_
