#ifndef WAITD_SERVER_ACCESS_ADDRESS_H_
#define WAITD_SERVER_ACCESS_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace waitd::server {

/// Where a call comes from, without the port: who is charged where nobody is told from anybody. Of
/// an IPv6 address the network, for one client has all of it.
///
/// `peer`: as gRPC has it. `forwarded`: what an edge says of its client, which is believed on a
/// socket file alone: who reaches that is let in by its permissions, and the edge is there.
std::string AddressOf(std::string_view peer, std::string_view forwarded);

/// A number for it. It is never 0.
uint64_t NumberOfAddress(std::string_view address);

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_ADDRESS_H_
