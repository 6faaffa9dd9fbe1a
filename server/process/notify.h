#ifndef WAITD_SERVER_PROCESS_NOTIFY_H_
#define WAITD_SERVER_PROCESS_NOTIFY_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace waitd::server {

/// Tells the service manager how this process is, as sd_notify(3) does: one datagram to `address`,
/// the value of NOTIFY_SOCKET, which is a path or, behind an @, an abstract name. Null or empty is
/// not an error: nobody wants to know. False: `error` says why it was not sent. Any thread.
bool Notify(const char* address, std::string_view state, std::string* error);

/// What is said once clients are served.
std::string ReadyState();

/// What is said when the drain begins. It asks for the time that the drain may take and some more,
/// so that a long --drain-timeout needs no change of the unit's TimeoutStopSec.
std::string StoppingState(absl::Duration drain_timeout);

}  // namespace waitd::server

#endif  // WAITD_SERVER_PROCESS_NOTIFY_H_
