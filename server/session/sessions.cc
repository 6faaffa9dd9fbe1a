#include "server/session/sessions.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "server/api/validate.h"
#include "server/options/memory.h"

namespace waitd::server {
namespace {

// 128 random bits: who has them has the session.
std::string MakeToken() {
  std::array<unsigned char, 16> bytes{};
  WAITD_CHECK(RAND_bytes(bytes.data(), bytes.size()) == 1, "OpenSSL has no random bytes");
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Error Full(const core::Budget::Verdict& verdict) {
  if (verdict.bytes) return OverMemory("sessions", verdict);
  return {.reason = "LIMIT_SESSIONS",
          .message = absl::StrCat("the limit of ", verdict.limit, " sessions",
                                  verdict.own ? " for one caller" : "",
                                  " is reached; try again later, or raise --max-sessions"),
          .field = {},
          .metadata = {{"limit", absl::StrCat(verdict.limit)}}};
}

}  // namespace

Sessions::Sessions(SessionContext context, core::Nanos linger_max)
    : context_(std::move(context)), linger_max_(linger_max) {
  context_.ended = [this](Session& session) { Ended(session); };
  context_.finish = [this](std::shared_ptr<Session> session) {
    worker_.Do([session = std::move(session)] { session->Finish(); });
  };
}

std::optional<Error> Sessions::Begin(const std::shared_ptr<Link>& link, Visitor visitor,
                                     const v1::SessionRequest& first,
                                     std::shared_ptr<Session>* session) {
  if (!first.has_hello()) {
    return Error{
        .reason = "BAD_SESSION", .message = "the first message says hello", .field = "hello"};
  }
  const v1::SessionHello& hello = first.hello();
  if (!IsLabelValue(hello.client())) {
    return Error{.reason = "BAD_SESSION",
                 .message =
                     "what a client calls itself has more than 256 bytes, or control "
                     "characters; give the value of a label",
                 .field = "hello.client"};
  }
  core::Nanos linger = linger_max_;
  if (hello.has_linger()) {
    if (Fault fault = ToNanos(hello.linger(), "hello.linger", &linger)) return fault;
    linger = std::clamp(linger, core::Nanos(0), linger_max_);
  }
  if (!hello.resume_token().empty()) {
    {
      const core::MutexLock lock(mutex_);
      const auto found = by_token_.find(hello.resume_token());
      // Another one's is not known.
      if (found != by_token_.end() && found->second->owner() == visitor.number) {
        *session = found->second;
      }
    }
    std::optional<Error> error;
    if (*session != nullptr && (*session)->Attach(link, true, hello.acked_sequence(), &error)) {
      if (error.has_value()) (*session)->End(error);
      return error;
    }
  }
  core::Budget& budget = context_.poller.budget();
  const auto verdict = budget.Take(core::Held::kSessions, visitor.account.get(), kOneSession);
  if (verdict.over) return Full(verdict);
  core::Charge charge(budget, core::Held::kSessions, visitor.account, kOneSession);
  {
    const core::MutexLock lock(mutex_);
    std::string token = MakeToken();
    *session = std::make_shared<Session>(context_, ++last_number_, std::move(visitor), hello, token,
                                         linger, std::move(charge));
    by_token_.emplace(std::move(token), *session);
    context_.metrics.Sessions(1);
  }
  std::optional<Error> none;
  (void)(*session)->Attach(link, false, 0, &none);  // it is new, so it has neither ended nor sent
  return std::nullopt;
}

void Sessions::Tick() {
  const core::Instant now = context_.clock.Read().mono;
  for (const auto& session : All()) session->Tick(now);
}

void Sessions::Recheck() {
  for (const auto& session : All()) session->Recheck();
}

void Sessions::StopReading() {
  for (const auto& session : All()) session->StopReading();
}

bool Sessions::Flushed() const {
  const auto all = All();
  return std::all_of(all.begin(), all.end(), [](const auto& each) { return each->flushed(); });
}

void Sessions::EndAll(const Error& error) {
  for (const auto& session : All()) session->End(error);
  worker_.Drain();
}

std::vector<std::shared_ptr<Session>> Sessions::All() const {
  const core::MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Session>> all;
  all.reserve(by_token_.size());
  for (const auto& [token, session] : by_token_) all.push_back(session);
  return all;
}

void Sessions::Ended(Session& session) {
  const core::MutexLock lock(mutex_);
  if (by_token_.erase(session.token()) > 0) context_.metrics.Sessions(-1);
}

}  // namespace waitd::server
