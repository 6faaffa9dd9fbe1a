#include "server/access/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/fingerprint.h"

namespace waitd::server {
namespace {

// Of text such as 2001:db8::1 the first 64 bits; anything else as it is.
std::string NetworkOf(const std::string& host) {
  constexpr size_t kNetworkBytes = 8;
  in6_addr address{};
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return host;
  if (IN6_IS_ADDR_V4MAPPED(&address)) return host.substr(host.rfind(':') + 1);
  std::fill(std::begin(address.s6_addr) + kNetworkBytes, std::end(address.s6_addr), uint8_t{0});
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(AF_INET6, &address, text.data(), text.size());
}

}  // namespace

std::string AddressOf(std::string_view peer, std::string_view forwarded) {
  if (peer.starts_with("unix")) {
    return forwarded.empty() ? "unix" : NetworkOf(std::string(forwarded));
  }
  // ipv4:192.0.2.1:12345, or ipv6:%5B2001:db8::1%5D:12345
  const std::string plain = absl::StrReplaceAll(absl::string_view(peer.data(), peer.size()),
                                                {{"%5B", "["}, {"%5D", "]"}});
  std::string host = plain.substr(0, plain.rfind(':'));
  host = host.substr(host.find(':') + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return NetworkOf(host);
}

uint64_t NumberOfAddress(std::string_view address) {
  return std::max<uint64_t>(core::Fingerprint().Add(address).value(), 1);
}

}  // namespace waitd::server
