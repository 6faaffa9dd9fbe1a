#ifndef WAITD_SERVER_PROCESS_ACCEPT_H_
#define WAITD_SERVER_PROCESS_ACCEPT_H_

#include <cstdint>

namespace waitd::server {

/// From now on so many connections may be open, about; more are turned away. Threads: any.
void LimitConnections(uint64_t most);

}  // namespace waitd::server

#endif  // WAITD_SERVER_PROCESS_ACCEPT_H_
