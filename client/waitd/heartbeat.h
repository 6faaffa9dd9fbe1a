#ifndef WAITD_HEARTBEAT_H_
#define WAITD_HEARTBEAT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "waitd/client.h"

namespace waitd {

struct HeartbeatOptions {
  Mode mode = Mode::kRead;
  std::optional<OpenOptions> open_if_missing = OpenOptions{};  ///< As in WaitOptions.
  uint64_t generation = 0;                                     ///< As in WaitOptions.
};

/// Says that a worker is alive: while this lives, a descriptor's deadline is kept `ttl` ahead, by a
/// beat each third of it. When the worker dies, the deadline passes, and who waits on the
/// descriptor times out. A beat arms or extends, and never shortens or revives, so that a worker
/// that was away for too long learns that it was given up:
///
///     auto heartbeat = waitd::Heartbeat::Start(client, "worker/7", absl::Seconds(10));
///     while (!heartbeat->lost().stop_requested()) WorkABit();
///
/// It beats on the generation that its first beat reached, unless its server is restarted and has
/// forgotten all that was: nothing was closed then, and it beats on in whichever life there is, as
/// a wait goes on. One that the caller has bound to a generation does not.
///
/// Threads:  all functions may be called by anyone at any time.
/// Lifetime: ends before the client does. The deadline stands afterwards: a worker that is done
///           takes it away by Client::ClearDeadline, behind Stop, as a beat would arm it again, or
///           says how it went by Client::Ready.
class Heartbeat {
 public:
  /// Beats once, and waits for that. FAILED_PRECONDITION with the reason EXPIRED when the deadline
  /// has passed already; SetDeadline revives it. Not on the client's thread. `ttl` is above zero.
  static absl::StatusOr<Heartbeat> Start(Client& client, std::string_view name, absl::Duration ttl,
                                         HeartbeatOptions options = {});
  ~Heartbeat();
  Heartbeat(Heartbeat&&) noexcept;
  Heartbeat& operator=(Heartbeat&&) noexcept;

  /// Ends the beats, as the destructor does: none goes out behind it. The rest can be asked
  /// afterwards.
  void Stop();

  /// Whether the server was restarted since the last beat that got through and has forgotten all
  /// that was. Asks it, unless the caller has bound this to a generation; not on the client's
  /// thread. For a worker that has stopped the beats and finds its descriptor gone.
  bool Forgotten();

  /// Asked to stop when the heart has stopped beating, by its own or another's fault. Its
  /// stop_callbacks run on the client's thread.
  std::stop_token lost() const;

  /// Why it is lost: EXPIRED; NOT_FOUND or STALE_GENERATION as the descriptor was closed;
  /// DEADLINE_EXCEEDED as no beat got through for as long as `ttl`; or another refusal. OK until
  /// then.
  absl::Status status() const;

  /// The life of the name that it beats on: another one once the server has forgotten the first.
  uint64_t generation() const;

 private:
  class State;
  explicit Heartbeat(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;
};

}  // namespace waitd

#endif  // WAITD_HEARTBEAT_H_
