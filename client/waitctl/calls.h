#ifndef WAITD_CLIENT_WAITCTL_CALLS_H_
#define WAITD_CLIENT_WAITCTL_CALLS_H_

#include "client/waitctl/caller.h"

namespace waitd::ctl {

/// The commands that do one thing, once, and do not wait. They return the exit code.
int Open(Caller& caller);
int Close(Caller& caller);
int Reset(Caller& caller);
int Ready(Caller& caller);
int SetDeadline(Caller& caller);
int Ack(Caller& caller);

/// What --label said.
TextMap LabelsOf(const Args& args);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_CALLS_H_
