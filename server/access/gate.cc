#include "server/access/gate.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

Error NoCredentials(std::string message) {
  return {.reason = "NO_CREDENTIALS", .message = std::move(message), .field = {}};
}

std::string Quoted(std::string_view text) {
  return absl::StrCat("'", absl::string_view(text.data(), text.size()), "'");
}

uint64_t NumberOf(std::string_view identity) {
  const std::string hash = Sha256(identity);
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof(number); ++i) {
    number = number << CHAR_BIT | static_cast<unsigned char>(hash[i]);
  }
  return std::max<uint64_t>(number, 1);
}

// The token of `authorization: Bearer TOKEN`; empty: there is none.
std::string_view TokenOf(const grpc::ServerContextBase& call) {
  const auto found = call.client_metadata().find("authorization");
  if (found == call.client_metadata().end()) return {};
  const std::string_view value(found->second.data(), found->second.size());
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() <= kScheme.size() ||
      !absl::EqualsIgnoreCase(absl::string_view(value.data(), kScheme.size()), "bearer ")) {
    return {};
  }
  return value.substr(kScheme.size());
}

// Of the names in a client's certificate the first URI, as SPIFFE has them, or else the first DNS
// name; gRPC gives them without their kind.
std::string IdentityOf(const grpc::ServerContextBase& call) {
  std::string first;
  const auto context = call.auth_context();
  if (context == nullptr || !context->IsPeerAuthenticated()) return first;
  for (const grpc::string_ref& name : context->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
    std::string text(name.data(), name.size());
    if (absl::StrContains(text, "://")) return text;
    if (first.empty()) first = std::move(text);
  }
  return first;
}

Error Forbidden(const Visitor& visitor, Right right, std::string_view name) {
  const std::string_view word = NameOf(right);
  const std::string own = visitor.rules->PrefixesOf(visitor.identity, right);
  std::string message = absl::StrCat(Quoted(visitor.identity), " has no right to ",
                                     absl::string_view(word.data(), word.size()));
  if (right != Right::kAdmin)
    absl::StrAppend(&message, " ", name.empty() ? "every name" : Quoted(name));
  if (!own.empty()) absl::StrAppend(&message, ", but what is below ", own);
  absl::StrAppend(&message, "; a line of the server's ACL file would give it");
  return {.reason = "FORBIDDEN", .message = std::move(message), .field = {}};
}

}  // namespace

Fault Visitor::Check(Right right, std::string_view name) const {
  if (rules == nullptr || rules->Allow(identity, right, name)) return std::nullopt;
  if (rules->Allow(identity, Right::kList, name)) return Forbidden(*this, right, name);
  return ToError(core::Refusal{.reason = core::Reason::kNoDescriptor}, name);
}

Fault Visitor::CheckOpenly(Right right, std::string_view name) const {
  if (rules == nullptr || rules->Allow(identity, right, name)) return std::nullopt;
  return Forbidden(*this, right, name);
}

absl::Status Gate::Watch(FileWatch& files, const std::string& token_file,
                         const std::string& acl_file) {
  if (mode_ == AuthMode::kNone) return absl::OkStatus();
  if (mode_ == AuthMode::kToken) {
    absl::Status status = files.Add({token_file}, [this](const std::vector<std::string>& contents) {
      auto tokens = Tokens::Parse(contents.front());
      if (!tokens.ok()) return tokens.status();
      const core::MutexLock lock(mutex_);
      tokens_ = *std::move(tokens);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  return files.Add({acl_file}, [this](const std::vector<std::string>& contents) {
    auto rules = Rules::Parse(contents.front());
    if (!rules.ok()) return rules.status();
    const core::MutexLock lock(mutex_);
    rules_ = *std::move(rules);
    return absl::OkStatus();
  });
}

Fault Gate::Admit(const grpc::ServerContextBase& call, Visitor* visitor) {
  if (mode_ == AuthMode::kNone) return std::nullopt;
  std::shared_ptr<const Tokens> tokens;
  {
    const core::MutexLock lock(mutex_);
    visitor->rules = rules_;
    tokens = tokens_;
  }
  if (mode_ == AuthMode::kMtls) {
    visitor->identity = IdentityOf(call);
    if (visitor->identity.empty()) {
      return NoCredentials(
          "the client's certificate has no URI and no DNS name among its subject alternative "
          "names, by which it would be known");
    }
  } else {
    const std::string_view token = TokenOf(call);
    if (token.empty()) {
      return NoCredentials(
          "this server wants a token; send metadata `authorization: Bearer TOKEN`, as waitctl "
          "does with --token-file");
    }
    const std::string* const identity = tokens->Find(token);
    if (identity == nullptr) return NoCredentials("the token is not one of this server's");
    visitor->identity = *identity;
  }
  visitor->number = NumberOf(visitor->identity);
  return std::nullopt;
}

void Gate::Refresh(Visitor* visitor) {
  if (mode_ == AuthMode::kNone) return;
  const core::MutexLock lock(mutex_);
  visitor->rules = rules_;
}

Fault Gate::Charge(const Visitor& visitor, core::Instant now) {
  if (rate_max_ == 0) return std::nullopt;
  constexpr core::Nanos kBurst = std::chrono::seconds(1);
  constexpr size_t kMany = 4096;
  const core::MutexLock lock(mutex_);
  if (paid_until_.size() >= kMany) {
    absl::erase_if(paid_until_, [now](const auto& each) { return each.second <= now; });
  }
  core::Instant& paid_until = paid_until_[visitor.number];
  const core::Instant from = std::max(paid_until, now);
  const core::Instant to = from + kBurst / static_cast<int64_t>(rate_max_);
  if (to > now + kBurst) {
    return Error{.reason = "LIMIT_RATE",
                 .message = absl::StrCat("more than ", rate_max_,
                                         " operations a second; slow down, or raise --max-rate"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(rate_max_)}}};
  }
  paid_until = to;
  return std::nullopt;
}

}  // namespace waitd::server
