#ifndef WAITD_SERVER_FLUSH_SCOPE_H_
#define WAITD_SERVER_FLUSH_SCOPE_H_

#include <memory>
#include <vector>

namespace waitd::server {

class Session;

/// While one lives on this thread, results that are completed here stay in their sessions'
/// outboxes, and leave together at its end: a message of a thousand Readys makes one response a
/// session, not one for the first and one for the rest.
///
/// Threads: one. Scopes do not nest.
class FlushScope {
 public:
  FlushScope();
  ~FlushScope();
  FlushScope(const FlushScope&) = delete;
  FlushScope& operator=(const FlushScope&) = delete;

  /// Flushes the session at the end of the scope, or at once where there is none.
  static void Flush(Session& session);

 private:
  std::vector<std::shared_ptr<Session>> sessions_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_FLUSH_SCOPE_H_
