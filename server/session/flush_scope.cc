#include "server/session/flush_scope.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "server/session/session.h"

namespace waitd::server {
namespace {

thread_local FlushScope* current = nullptr;

}  // namespace

FlushScope::FlushScope() {
  WAITD_CHECK(current == nullptr, "one batch of results is inside another");
  current = this;
}

FlushScope::~FlushScope() {
  current = nullptr;
  for (const Held& each : held_) {
    each.session->Take(each.operations);
    each.session->Flush();
  }
}

void FlushScope::Completed(Session& session, SessionOperation& operation) {
  if (current != nullptr) {
    current->Of(session).operations.push_back(&operation);
    return;
  }
  // With its last operation a session that has ended lets go of itself.
  const std::shared_ptr<Session> self = session.shared_from_this();
  SessionOperation* const one = &operation;
  session.Take({&one, 1});
  session.Flush();
}

void FlushScope::Add(Session& session) { Of(session); }

FlushScope::Held& FlushScope::Of(Session& session) {
  // The last one most often; a message seldom touches many.
  const auto known = std::find_if(held_.rbegin(), held_.rend(),
                                  [&](const Held& each) { return each.session.get() == &session; });
  if (known != held_.rend()) return *known;
  return held_.emplace_back(Held{session.shared_from_this(), {}});
}

}  // namespace waitd::server
