#ifndef WAITD_SERVER_ACCESS_DENIALS_H_
#define WAITD_SERVER_ACCESS_DENIALS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/denial.h"
#include "server/access/rules.h"

namespace waitd::server {

/// Logs that a call was denied: who called, and the rule that would have allowed it. At most 100
/// lines a second; the next line after that says how many are missing. Threads: any.
void LogDenied(std::string_view identity, Right right, std::string_view name);

/// Ends the waits of those whose right to wait was taken away. Use and threads: as its base.
class LostRights : public core::Denial {
 public:
  /// Both stay until it goes. `former` is what was allowed before `now`.
  LostRights(const Rules& former, const Rules& now);

  /// Logs who lost how many waits.
  void Log() const;

 protected:
  bool Concerns(uint64_t caller) const override { return losers_.contains(caller); }
  bool Denies(uint64_t caller, std::string_view name) const override;

 private:
  struct Loser {
    std::string identity;
    uint64_t waits = 0;
    std::string name;  // of the first of them
  };

  const Rules& now_;
  mutable std::map<uint64_t, Loser> losers_;  // by the number of the identity
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_DENIALS_H_
