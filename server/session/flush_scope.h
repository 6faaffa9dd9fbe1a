#ifndef WAITD_SERVER_SESSION_FLUSH_SCOPE_H_
#define WAITD_SERVER_SESSION_FLUSH_SCOPE_H_

#include <memory>
#include <vector>

namespace waitd::server {

class Session;
class SessionOperation;

/// While one lives on this thread, operations that are completed here are held back, and go to
/// their sessions together at its end: a message of a thousand Readys takes each session's lock
/// once, and makes one response a session, not one for the first and one for the rest.
///
/// Threads: one. Scopes do not nest.
class FlushScope {
 public:
  FlushScope();
  ~FlushScope();
  FlushScope(const FlushScope&) = delete;
  FlushScope& operator=(const FlushScope&) = delete;

  /// Hands the operation to its session at the end of the scope, or at once where there is none.
  static void Completed(Session& session, SessionOperation& operation);

  /// Flushes the session at the end of the scope, whether something is completed or not.
  void Add(Session& session);

 private:
  struct Held {
    std::shared_ptr<Session> session;
    std::vector<SessionOperation*> operations;
  };
  Held& Of(Session& session);

  std::vector<Held> held_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_FLUSH_SCOPE_H_
