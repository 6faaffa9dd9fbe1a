#ifndef WAITD_SERVER_PROCESS_SERVER_H_
#define WAITD_SERVER_PROCESS_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "core/clock.h"
#include "core/poller.h"
#include "server/options/memory.h"
#include "server/options/options.h"

namespace waitd::server {

/// waitd without its process: the poller and all that serves it.
///
/// Use: Start, then Drain, then Stop. Threads: one owner; it makes threads of its own.
class Server {
 public:
  /// `store_failed`, if there is one, is called when the store fails, on a thread of the server's.
  Server(const Options& options, const MemoryPlan& plan, std::function<void()> store_failed);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves. An error is one line that says what to do; nothing is left running then.
  bool Start(std::string* error);

  /// What was bound, with the port that was free where 0 was asked for.
  const std::string& address() const;
  const std::string& metrics_address() const;

  /// Says NOT_SERVING and takes no more waits; everything else goes on.
  void Drain();

  /// Whether the store failed: everything is refused, and the process is to end and be started
  /// again.
  bool store_failed() const;

  /// How many waits are parked.
  uint64_t waiters() const;

  /// Ends what is parked, and everything. Takes some seconds at most.
  void Stop();

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_PROCESS_SERVER_H_
