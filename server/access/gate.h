#ifndef WAITD_SERVER_ACCESS_GATE_H_
#define WAITD_SERVER_ACCESS_GATE_H_

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "core/budget.h"
#include "core/mutex.h"
#include "core/types.h"
#include "server/access/file_watch.h"
#include "server/access/rules.h"
#include "server/access/tokens.h"
#include "server/api/status.h"
#include "server/options/options.h"

namespace waitd::server {

/// Who calls, and what that one may do. Threads: none of its own.
struct Visitor {
  std::string identity;                ///< empty: nobody is told from anybody
  uint64_t number = 0;                 ///< of the identity, the same in every process; 0: empty
  std::shared_ptr<const Rules> rules;  ///< null: everything is allowed
  uint64_t version = 0;                ///< of the rules, as Gate::version
  uint64_t payer = 0;                  ///< whose rate it is: the identity's, or the address's
  core::AccountRef account;            ///< of the same one: what it holds; null: nobody's

  /// Whether it may do that with this name.
  bool May(Right right, std::string_view name) const {
    return rules == nullptr || rules->Allow(identity, right, name);
  }

  /// The same, as a refusal, which the log tells of. One who has no right at all to the name is
  /// told that it is missing, whether or not it is there.
  Fault Check(Right right, std::string_view name) const;

  /// Of what has no name that could be missing: opening, listing below a prefix, administration.
  Fault CheckOpenly(Right right, std::string_view name) const;

  /// How it is shown to others, who calls itself `client`: `IDENTITY (CLIENT)`. An identity has no
  /// space in it, so that no client passes for another one's.
  std::string ShownAs(std::string_view client) const;
};

/// Who gets in: tells who calls, says what is open to whom, and bounds how much each may ask for.
///
/// Threads: Watch and OnChange come first; the rest by anyone.
class Gate {
 public:
  /// What was allowed before, and what is now.
  using Changed = std::function<void(const Rules& former, const Rules& now)>;

  /// `rate_max`: operations a second for each identity, in bursts of as many; 0: any number. Where
  /// nobody is told from anybody, each address counts as one. The budget outlives the gate.
  Gate(AuthMode mode, uint64_t rate_max, core::Budget& budget)
      : mode_(mode), rate_max_(rate_max), budget_(budget) {}

  /// Called when the rules have changed, or who has a token: on the thread of the files, when each
  /// Admit and Refresh that begins goes by the new ones.
  void OnChange(Changed changed) { changed_ = std::move(changed); }

  /// Reads the files now and when they change. Which ones are needed is the mode's.
  absl::Status Watch(FileWatch& files, const std::string& token_file, const std::string& acl_file);

  /// Who makes this call, once for each.
  Fault Admit(const grpc::ServerContextBase& call, Visitor* visitor) const;

  /// Brings the rules of a visitor up to date. A fault: nobody knows it any more, for its last
  /// token or its last rule was taken out.
  Fault Refresh(Visitor* visitor) const;

  /// Grows with each change, before Changed is called. Relaxed: who parks a wait and then finds the
  /// version of its visitor here has parked before whoever ends waits has looked at its shard.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }

  /// So much work of that one's, in operations. What is more than a whole burst is let through when
  /// nothing else is owed, and is owed afterwards.
  Fault Charge(const Visitor& visitor, core::Instant now, uint64_t work);

  /// The same for an operation that only lets go of what is held, which no limit refuses. More than
  /// a minute of it is not owed.
  void Note(const Visitor& visitor, core::Instant now);

 private:
  void Renew(std::shared_ptr<const Tokens> tokens, std::shared_ptr<const Rules> written);
  Fault Identify(const grpc::ServerContextBase& call, const Tokens* tokens,
                 Identity* identity) const;
  core::Instant& PaidUntil(const Visitor& visitor, core::Instant now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(rate_mutex_);

  const AuthMode mode_;
  const uint64_t rate_max_;
  core::Budget& budget_;
  Changed changed_;
  std::shared_ptr<const Rules> written_;  // as the file has them; of the thread of the files
  std::atomic<uint64_t> version_{0};      // changed under the lock
  mutable core::Mutex mutex_;
  std::shared_ptr<const Tokens> tokens_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Rules> rules_ ABSL_GUARDED_BY(mutex_);  // of those who have a token
  core::Mutex rate_mutex_;
  // By payer: until when what was asked for is paid by the rate. Those that are over are all
  // alike, and go when there are many.
  absl::flat_hash_map<uint64_t, core::Instant> paid_until_ ABSL_GUARDED_BY(rate_mutex_);
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_GATE_H_
