#ifndef WAITD_CLIENT_WAITCTL_WAITS_H_
#define WAITD_CLIENT_WAITCTL_WAITS_H_

#include "client/waitctl/caller.h"

namespace waitd::ctl {

/// The commands that park: again by themselves after a restart of the server and after its own
/// limit, as long as --timeout lasts. They return the exit code.
int Wait(Caller& caller);
int Poll(Caller& caller);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_WAITS_H_
