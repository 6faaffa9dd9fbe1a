#ifndef WAITD_SERVER_ACCESS_RULES_H_
#define WAITD_SERVER_ACCESS_RULES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace waitd::server {

/// What somebody may do with the names below a prefix.
enum class Right : uint8_t {
  kWait,      ///< Wait, Poll, Ack
  kReady,     ///< Ready, Reset
  kDeadline,  ///< SetDeadline
  kOpen,      ///< OpenPollDescriptor, ClosePollDescriptor and open_if_missing
  kList,      ///< GetPollDescriptor, ListPollDescriptors
  kAdmin,     ///< AdminService; of no name
};

/// A right as it is written in a file.
std::string_view NameOf(Right right);

/// The rules of an ACL file, each on a line of its own:
///
///     IDENTITY PREFIX RIGHT[,RIGHT...]
///
/// A prefix ends at a `/`, so that `team-a/` does not open `team-admin`, or is `*`, every name.
/// What no rule allows is denied. Threads: any; it never changes.
class Rules {
 public:
  static absl::StatusOr<std::shared_ptr<const Rules>> Parse(std::string_view text);

  bool Allow(std::string_view identity, Right right, std::string_view name) const;

  /// The prefixes below which that one has this right, for a message: `a/, b/`. Not all
  /// where they are many.
  std::string PrefixesOf(std::string_view identity, Right right) const;

  /// Whether any line speaks of that one.
  bool Knows(std::string_view identity) const { return by_identity_.contains(identity); }

  /// Whether that one has some right to this name, so that it may know of the name. The right to
  /// administer is to no name.
  bool Reaches(std::string_view identity, std::string_view name) const;

  /// The rules of those whom `keep` names.
  std::shared_ptr<const Rules> Of(absl::FunctionRef<bool(const std::string& identity)> keep) const;

  /// Those whose lines are not the same in `now`: who may do less there is one of them.
  std::vector<std::string> ChangedIn(const Rules& now) const;

 private:
  struct Rule {
    std::string prefix;  // empty: every name
    uint8_t rights = 0;  // a bit each

    bool operator==(const Rule&) const = default;
  };

  absl::Status Add(const std::vector<std::string>& words);

  std::map<std::string, std::vector<Rule>, std::less<>> by_identity_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_RULES_H_
