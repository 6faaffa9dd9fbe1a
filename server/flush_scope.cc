#include "server/flush_scope.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "server/session.h"

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
  for (const std::shared_ptr<Session>& session : sessions_) session->Flush();
}

void FlushScope::Flush(Session& session) {
  if (current == nullptr) {
    session.Flush();
    return;
  }
  auto& sessions = current->sessions_;
  // The last one most often; a message seldom touches many.
  const auto known = std::find_if(sessions.rbegin(), sessions.rend(),
                                  [&](const auto& each) { return each.get() == &session; });
  if (known == sessions.rend()) sessions.push_back(session.shared_from_this());
}

}  // namespace waitd::server
