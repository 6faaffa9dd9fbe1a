#ifndef WAITD_CLIENT_WAITCTL_COMMANDS_H_
#define WAITD_CLIENT_WAITCTL_COMMANDS_H_

#include "client/waitctl/app.h"

namespace waitd::ctl {

/// Carries out what the command line said. Returns the exit code; data goes to stdout, messages to
/// stderr.
int Run(const Args& args);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_COMMANDS_H_
