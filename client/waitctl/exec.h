#ifndef WAITD_CLIENT_WAITCTL_EXEC_H_
#define WAITD_CLIENT_WAITCTL_EXEC_H_

#include "client/waitctl/caller.h"

namespace waitd::ctl {

/// Runs a command whose life others can watch: a deadline is kept ahead while it lives, and then
/// NAME is READY, with a failure when it failed. Returns the exit code.
int Exec(Caller& caller);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_EXEC_H_
