#ifndef WAITD_CLIENT_HINTS_H_
#define WAITD_CLIENT_HINTS_H_

#include <string>
#include <string_view>

#include "client/call_error.h"
#include "client/command_table.h"

namespace waitd::ctl {

/// What a user can do next after a failed call of `command` on `name`: one sentence without a full
/// stop, never empty.
std::string NextStep(const CallError& error, Command command, std::string_view name);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_HINTS_H_
