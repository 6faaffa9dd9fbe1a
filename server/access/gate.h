#ifndef WAITD_SERVER_ACCESS_GATE_H_
#define WAITD_SERVER_ACCESS_GATE_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
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

  /// Whether it may do that with this name. One who may not even list the name is told that it is
  /// missing, whether or not it is there.
  Fault Check(Right right, std::string_view name) const;

  /// Of what has no name that could be missing: opening, listing below a prefix, administration.
  Fault CheckOpenly(Right right, std::string_view name) const;
};

/// Who gets in: tells who calls, says what is open to whom, and bounds how much each may ask for.
///
/// Threads: Watch comes first; the rest by anyone.
class Gate {
 public:
  /// `rate_max`: operations a second for each identity, in bursts of as many; 0: any number.
  Gate(AuthMode mode, uint64_t rate_max) : mode_(mode), rate_max_(rate_max) {}

  /// Reads the files now and when they change. Which ones are needed is the mode's.
  absl::Status Watch(FileWatch& files, const std::string& token_file, const std::string& acl_file);

  /// Who makes this call, once for each.
  Fault Admit(const grpc::ServerContextBase& call, Visitor* visitor);

  /// The rules may have changed since the visitor was admitted.
  void Refresh(Visitor* visitor);

  /// One more operation of that one's.
  Fault Charge(const Visitor& visitor, core::Instant now);

 private:
  const AuthMode mode_;
  const uint64_t rate_max_;
  core::Mutex mutex_;
  std::shared_ptr<const Tokens> tokens_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Rules> rules_ ABSL_GUARDED_BY(mutex_);
  // By identity: until when what was asked for is paid by the rate. Those that are over are all
  // alike, and go when there are many.
  absl::flat_hash_map<uint64_t, core::Instant> paid_until_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_GATE_H_
