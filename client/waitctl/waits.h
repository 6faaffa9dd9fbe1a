#ifndef WAITD_CLIENT_WAITCTL_WAITS_H_
#define WAITD_CLIENT_WAITCTL_WAITS_H_

#include "client/waitctl/caller.h"

namespace waitd::ctl {

/// The commands that park, as long as --timeout lasts, also while the server is away. They return
/// the exit code.
int Wait(Caller& caller);
int Poll(Caller& caller);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_WAITS_H_
