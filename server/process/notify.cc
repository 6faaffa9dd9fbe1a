#include "server/process/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

// For what comes after the drain: refusing what is left, and closing the store.
constexpr absl::Duration kCloseMax = absl::Seconds(30);

}  // namespace

bool Notify(const char* address, std::string_view state, std::string* error) {
  if (address == nullptr || *address == '\0') return true;
  const std::string_view path = address;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if ((path[0] != '/' && path[0] != '@') || path.size() >= sizeof to.sun_path) {
    *error = "the address is neither a path nor an abstract name, or is too long";
    return false;
  }
  std::memcpy(to.sun_path, path.data(), path.size());
  // An abstract name begins with a zero and ends where the address does, a path ends with a zero.
  const bool is_abstract = path[0] == '@';
  if (is_abstract) to.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool sent = false;
  if (fd >= 0) {
    sent = sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&to), size) >= 0;
  }
  if (!sent) *error = std::strerror(errno);
  if (fd >= 0) close(fd);
  return sent;
}

std::string ReadyState() { return "READY=1\nSTATUS=serving"; }

std::string StoppingState(absl::Duration drain_timeout) {
  return absl::StrCat("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=",
                      absl::ToInt64Microseconds(drain_timeout + kCloseMax));
}

}  // namespace waitd::server
