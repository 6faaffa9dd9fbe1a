#ifndef WAITD_TESTS_BENCH_LOAD_SOCKETS_H_
#define WAITD_TESTS_BENCH_LOAD_SOCKETS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/load/scenarios.h"

namespace waitd::bench {

/// Connections to one server, served by one thread with epoll. Whatever goes wrong ends the
/// process.
class Sockets {
 public:
  /// Is given what came from a connection, by its number.
  using Take = std::function<void(size_t, std::string_view)>;

  Sockets(const std::string& target, size_t count, Take take);
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets();

  void Send(size_t connection, std::string_view bytes);
  /// Takes what comes until `done`, which is asked after each round of epoll, as is `each`.
  void RunUntil(
      const std::function<bool()>& done, const std::function<void()>& each = [] {});

 private:
  int epoll_;
  std::vector<int> connections_;
  std::vector<char> buffer_;
  Take take_;
};

// As in scenarios.h. Redis has a connection for each wait and one for all pushes.
Report RedisWakes(const Setup& setup);
Report RedisPair(const Setup& setup);
/// How late BLPOP times out with `count` connections, in seconds / 1.5 turns of 0.5 to 1.5 s.
Report RedisLateness(const Setup& setup);
/// One connection; a wait is a subscription that ends with its first message.
Report NatsWakes(const Setup& setup);
Report NatsPair(const Setup& setup);

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_LOAD_SOCKETS_H_
