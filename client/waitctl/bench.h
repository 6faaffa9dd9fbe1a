#ifndef WAITD_CLIENT_WAITCTL_BENCH_H_
#define WAITD_CLIENT_WAITCTL_BENCH_H_

#include "client/waitctl/caller.h"

namespace waitd::ctl {

/// Parks many waits in one session, wakes all of them, and does so again until the time is over;
/// prints how many wakes a second that were, and how long each took. Leaves nothing behind.
int Bench(Caller& caller);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_BENCH_H_
