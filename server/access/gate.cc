#include "server/access/gate.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/access/address.h"
#include "server/access/denials.h"
#include "server/access/text_lines.h"

namespace waitd::server {
namespace {

Error NoCredentials(std::string message) {
  return {.reason = "NO_CREDENTIALS", .message = std::move(message), .field = {}};
}

std::string Quoted(std::string_view text) {
  return absl::StrCat("'", absl::string_view(text.data(), text.size()), "'");
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

// What an edge says of where its client is; empty: nothing.
std::string_view ForwardedOf(const grpc::ServerContextBase& call) {
  const auto found = call.client_metadata().find("x-forwarded-for");
  if (found == call.client_metadata().end()) return {};
  return {found->second.data(), found->second.size()};
}

// The first name of this kind in the client's certificate; empty: it has none.
std::string FirstOf(const grpc::AuthContext& context, const char* property) {
  const std::vector<grpc::string_ref> names = context.FindPropertyValues(property);
  return names.empty() ? std::string() : std::string(names.front().data(), names.front().size());
}

bool IsDnsName(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char byte) {
    return absl::ascii_isalnum(static_cast<unsigned char>(byte)) || byte == '-' || byte == '.' ||
           byte == '_' || byte == '*';
  });
}

// Who a certificate is of: its first URI, else its first DNS name; empty: nobody. A URI has a colon
// and a DNS name has none, so that neither passes for the other.
std::string NameIn(const grpc::AuthContext& context) {
  std::string name = FirstOf(context, GRPC_PEER_URI_PROPERTY_NAME);
  const bool is_uri = !name.empty();
  if (!is_uri) name = FirstOf(context, GRPC_PEER_DNS_PROPERTY_NAME);
  const bool good = is_uri ? absl::StrContains(name, ":") : IsDnsName(name);
  return good && CheckIdentity(name).ok() ? name : std::string();
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
  if (May(right, name)) return std::nullopt;
  LogDenied(identity, right, name);
  if (rules->Reaches(identity, name)) return Forbidden(*this, right, name);
  return ToError(core::Refusal{.reason = core::Reason::kNoDescriptor, .name = std::string(name)});
}

Fault Visitor::CheckOpenly(Right right, std::string_view name) const {
  if (May(right, name)) return std::nullopt;
  LogDenied(identity, right, name);
  return Forbidden(*this, right, name);
}

std::string Visitor::ShownAs(std::string_view client) const {
  std::string shown(client);
  if (!identity.empty()) shown = absl::StrCat(identity, " (", shown, ")");
  return shown;
}

absl::Status Gate::Watch(FileWatch& files, const std::string& token_file,
                         const std::string& acl_file) {
  if (mode_ == AuthMode::kNone) return absl::OkStatus();
  if (mode_ == AuthMode::kToken) {
    absl::Status status = files.Add({token_file}, [this](const std::vector<std::string>& contents) {
      auto tokens = Tokens::Parse(contents.front());
      if (!tokens.ok()) return tokens.status();
      Renew(*std::move(tokens), written_);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  return files.Add({acl_file}, [this](const std::vector<std::string>& contents) {
    auto rules = Rules::Parse(contents.front());
    if (!rules.ok()) return rules.status();
    std::shared_ptr<const Tokens> tokens;
    {
      const core::MutexLock lock(mutex_);
      tokens = tokens_;
    }
    Renew(std::move(tokens), *std::move(rules));
    return absl::OkStatus();
  });
}

// Who has no token has no right, whatever the rules say.
void Gate::Renew(std::shared_ptr<const Tokens> tokens, std::shared_ptr<const Rules> written) {
  written_ = std::move(written);
  std::shared_ptr<const Rules> now = written_;
  if (now != nullptr && mode_ == AuthMode::kToken) {
    now = now->Of([&](const std::string& identity) { return tokens->Knows(identity); });
  }
  std::shared_ptr<const Rules> former;
  {
    const core::MutexLock lock(mutex_);
    tokens_ = std::move(tokens);
    former = std::exchange(rules_, now);
    version_.fetch_add(1, std::memory_order_relaxed);
  }
  if (former != nullptr && changed_) changed_(*former, *now);
}

Fault Gate::Identify(const grpc::ServerContextBase& call, const Tokens* tokens,
                     Identity* identity) const {
  if (mode_ == AuthMode::kMtls) {
    const auto context = call.auth_context();
    std::string name;
    if (context != nullptr && context->IsPeerAuthenticated()) name = NameIn(*context);
    if (name.empty()) {
      return NoCredentials(
          "the client's certificate names nobody: its first URI, or if it has none its first DNS "
          "name, is who it is, at most 256 printable characters");
    }
    *identity = MakeIdentity(std::move(name));
    return std::nullopt;
  }
  const std::string_view token = TokenOf(call);
  if (token.empty()) {
    return NoCredentials(
        "this server wants a token; send metadata `authorization: Bearer TOKEN`, as waitctl "
        "does with --token-file");
  }
  const Identity* const known = tokens->Find(token);
  if (known == nullptr) return NoCredentials("the token is not one of this server's");
  *identity = *known;
  return std::nullopt;
}

Fault Gate::Admit(const grpc::ServerContextBase& call, Visitor* visitor) const {
  if (mode_ == AuthMode::kNone) {
    visitor->payer = NumberOfAddress(AddressOf(call.peer(), ForwardedOf(call)));
    visitor->account = budget_.Open(visitor->payer);
    return std::nullopt;
  }
  std::shared_ptr<const Tokens> tokens;
  {
    const core::MutexLock lock(mutex_);
    visitor->rules = rules_;
    visitor->version = version();
    tokens = tokens_;
  }
  Identity identity;
  if (Fault fault = Identify(call, tokens.get(), &identity)) return fault;
  visitor->identity = std::move(identity.name);
  visitor->number = visitor->payer = identity.number;
  visitor->account = budget_.Open(visitor->payer);
  return std::nullopt;
}

Fault Gate::Refresh(Visitor* visitor) const {
  if (mode_ == AuthMode::kNone) return std::nullopt;
  std::shared_ptr<const Tokens> tokens;
  std::shared_ptr<const Rules> former;
  {
    const core::MutexLock lock(mutex_);
    if (visitor->version == version()) return std::nullopt;
    former = std::exchange(visitor->rules, rules_);
    visitor->version = version();
    tokens = tokens_;
  }
  if (mode_ == AuthMode::kToken && !tokens->Knows(visitor->identity)) {
    return NoCredentials(
        absl::StrCat("the token of ", visitor->identity, " was taken out of the server's file"));
  }
  if (former->Knows(visitor->identity) && !visitor->rules->Knows(visitor->identity)) {
    return Error{.reason = "FORBIDDEN",
                 .message = absl::StrCat(Quoted(visitor->identity), " has no right left: no line ",
                                         "of the server's ACL file speaks of it any more"),
                 .field = {}};
  }
  return std::nullopt;
}

// Of that one, with those gone that owe nothing when there are many.
core::Instant& Gate::PaidUntil(const Visitor& visitor, core::Instant now) {
  constexpr size_t kMany = 4096;
  if (paid_until_.size() >= kMany) {
    absl::erase_if(paid_until_, [now](const auto& each) { return each.second <= now; });
  }
  core::Instant& paid_until = paid_until_[visitor.payer];
  paid_until = std::max(paid_until, now);
  return paid_until;
}

Fault Gate::Charge(const Visitor& visitor, core::Instant now, uint64_t work) {
  if (rate_max_ == 0) return std::nullopt;
  constexpr core::Nanos kBurst = std::chrono::seconds(1);
  const core::Nanos price = kBurst * static_cast<int64_t>(work) / static_cast<int64_t>(rate_max_);
  const core::MutexLock lock(rate_mutex_);
  core::Instant& paid_until = PaidUntil(visitor, now);
  if (paid_until > now && paid_until + price > now + kBurst) {
    return Error{.reason = "LIMIT_RATE",
                 .message = absl::StrCat("more than ", rate_max_,
                                         " operations a second; slow down, or raise --max-rate"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(rate_max_)}}};
  }
  paid_until += price;
  return std::nullopt;
}

void Gate::Note(const Visitor& visitor, core::Instant now) {
  if (rate_max_ == 0) return;
  constexpr core::Nanos kDebtMax = std::chrono::minutes(1);
  const core::Nanos price = core::Nanos(std::chrono::seconds(1)) / static_cast<int64_t>(rate_max_);
  const core::MutexLock lock(rate_mutex_);
  core::Instant& paid_until = PaidUntil(visitor, now);
  paid_until = std::max(paid_until, std::min(paid_until + price, now + kDebtMax));
}

}  // namespace waitd::server
