#include "server/access/rules.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/access/text_lines.h"

namespace waitd::server {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"wait", "ready", "deadline",
                                                    "open", "list",  "admin"};

uint8_t BitOf(Right right) { return static_cast<uint8_t>(1U << static_cast<unsigned>(right)); }

}  // namespace

std::string_view NameOf(Right right) { return kNames[static_cast<size_t>(right)]; }

absl::StatusOr<std::shared_ptr<const Rules>> Rules::Parse(std::string_view text) {
  auto rules = std::make_shared<Rules>();
  const absl::Status status =
      ForEachLine(text, [&](const std::vector<std::string>& words) { return rules->Add(words); });
  if (!status.ok()) return status;
  return rules;
}

absl::Status Rules::Add(const std::vector<std::string>& words) {
  if (words.size() != 3) {
    return absl::InvalidArgumentError(
        "not `IDENTITY PREFIX RIGHT[,RIGHT...]`, as in `ci build/ wait,ready,open`");
  }
  const std::string& prefix = words[1];
  if (absl::Status status = CheckIdentity(words[0]); !status.ok()) return status;
  if (prefix != "*" && !prefix.ends_with('/')) {
    return absl::InvalidArgumentError(absl::StrCat("the prefix '", prefix,
                                                   "' does not end at a /; give '", prefix,
                                                   "/', or * for every name"));
  }
  Rule rule{prefix == "*" ? "" : prefix, 0};
  const std::vector<std::string> rights = absl::StrSplit(words[2], ',');
  for (const std::string& word : rights) {
    const auto* const name = std::find(kNames.begin(), kNames.end(), word);
    if (name == kNames.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "there is no right '", word, "'; give some of wait, ready, deadline, open, list, admin"));
    }
    rule.rights |= BitOf(static_cast<Right>(name - kNames.begin()));
  }
  if ((rule.rights & BitOf(Right::kAdmin)) != 0 && !rule.prefix.empty()) {
    return absl::InvalidArgumentError("admin is a right to no name; give it with the prefix *");
  }
  by_identity_[words[0]].push_back(std::move(rule));
  return absl::OkStatus();
}

bool Rules::Allow(std::string_view identity, Right right, std::string_view name) const {
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Rule& rule) {
    return (rule.rights & BitOf(right)) != 0 && name.starts_with(rule.prefix);
  });
}

bool Rules::Reaches(std::string_view identity, std::string_view name) const {
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Rule& rule) {
    return (rule.rights & ~BitOf(Right::kAdmin)) != 0 && name.starts_with(rule.prefix);
  });
}

std::shared_ptr<const Rules> Rules::Of(
    absl::FunctionRef<bool(const std::string& identity)> keep) const {
  auto some = std::make_shared<Rules>();
  for (const auto& each : by_identity_) {
    if (keep(each.first)) some->by_identity_.insert(each);
  }
  return some;
}

std::vector<std::string> Rules::ChangedIn(const Rules& now) const {
  std::vector<std::string> changed;
  for (const auto& [identity, rules] : by_identity_) {
    const auto found = now.by_identity_.find(identity);
    if (found == now.by_identity_.end() || found->second != rules) changed.push_back(identity);
  }
  return changed;
}

std::string Rules::PrefixesOf(std::string_view identity, Right right) const {
  constexpr size_t kListBytesMax = 1000;  // a status has to fit into 8 KiB, and says it twice
  std::string list;
  int more = 0;
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end()) return list;
  for (const Rule& rule : found->second) {
    if ((rule.rights & BitOf(right)) == 0) continue;
    if (list.size() + rule.prefix.size() > kListBytesMax) {
      ++more;
    } else {
      absl::StrAppend(&list, list.empty() ? "" : ", ", rule.prefix);
    }
  }
  if (more > 0) absl::StrAppend(&list, ", and ", more, " more");
  return list;
}

}  // namespace waitd::server
