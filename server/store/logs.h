#ifndef WAITD_SERVER_STORE_LOGS_H_
#define WAITD_SERVER_STORE_LOGS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace waitd::server {

/// Looks through the logs of a RocksDB, which nobody has open, for a damage that has a whole commit
/// behind it. Returns where it is, or nothing.
///
/// When each commit is synced before the next one begins, only the last can be torn, for it never
/// returned; with a commit behind it, the damaged one was acknowledged. RocksDB itself cannot tell:
/// it either refuses a commit that is torn in its middle, as disks do that write pages in any
/// order, or takes a length that was hit by a flipped bit for the end of the log, and forgets what
/// follows.
std::optional<std::string> FindDamageInLogs(const std::string& database);

/// Removes all logs of a RocksDB but the newest, which is the one that it writes to. For a database
/// that was just opened: all that counts in the others is in its tables by then. RocksDB removes
/// them itself, but lets one stand in which nothing was whole, and that would look like a damage as
/// soon as commits are in the log behind it. Not durable before DataDir::SyncDatabase.
absl::Status RemoveReadLogs(const std::string& database);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_LOGS_H_
