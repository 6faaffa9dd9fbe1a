#include "tests/bench/load/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace waitd::bench {
namespace {

constexpr int kAnswerMillisecondsMax = 60'000;

sockaddr_in AddressOf(const std::string& target) {
  const size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    Fail(absl::StrCat("not an IPv4 address and a port: ", target));
  }
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(target.c_str() + colon + 1)));
  return address;
}

}  // namespace

Sockets::Sockets(const std::string& target, size_t count, Take take)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(1 << 20), take_(std::move(take)) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const sockaddr_in address = AddressOf(target);
  for (size_t i = 0; i < count; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      Fail(absl::StrCat("cannot connect to ", target, " for the ", i + 1, "th time"));
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    connections_.push_back(fd);
  }
}

Sockets::~Sockets() {
  for (const int fd : connections_) close(fd);
  close(epoll_);
}

void Sockets::Send(size_t connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(connections_[connection], bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) Fail("the server hung up");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void Sockets::RunUntil(const std::function<bool()>& done, const std::function<void()>& each) {
  std::array<epoll_event, 512> events{};
  while (!done()) {
    const int count = epoll_wait(epoll_, events.data(), events.size(), kAnswerMillisecondsMax);
    if (count <= 0) Fail("the server did not answer in time");
    for (int i = 0; i < count; ++i) {
      const size_t connection = events[static_cast<size_t>(i)].data.u64;
      const ssize_t got = recv(connections_[connection], buffer_.data(), buffer_.size(), 0);
      if (got <= 0) Fail("the server hung up");
      take_(connection, std::string_view(buffer_.data(), static_cast<size_t>(got)));
    }
    each();
  }
}

}  // namespace waitd::bench
