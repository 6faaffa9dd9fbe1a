#ifndef WAITD_CLIENT_H_
#define WAITD_CLIENT_H_

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "waitd/call.h"
#include "waitd/options.h"
#include "waitd/status.h"
#include "waitd/types.h"

namespace waitd {

namespace internal {
class Connection;
}

/// By what a client knows the server, and the server it: paths of files; empty: none of these. A
/// secret stands in a file alone, and what is in one is in no message. A file that is missing,
/// unreadable or no such thing ends calls as INVALID_ARGUMENT, with its name and what to do.
struct Credentials {
  /// The authorities, in PEM form, by one of which the server's certificate has to be signed; the
  /// address's host has to be named in it. Makes the connection TLS: without it all is plain text.
  /// Those of the system: /etc/ssl/certs/ca-certificates.crt.
  std::string ca_file;
  /// The client's own certificate with those that lead to its authority, and its key, in PEM form:
  /// both or none, and only with ca_file. All three are looked at every few seconds: the next
  /// connection uses what was replaced. Move a new file into the place of the old one, so that none
  /// is read by halves.
  std::string cert_file;
  std::string key_file;
  /// The bearer token that goes along with each stream, as it is in the file by then; white space
  /// at its end is none of it. Over plain text, too, as to a proxy on the same machine.
  std::string token_file;
};

struct ClientOptions {
  /// What this client calls itself, shown to those who look at who waits; empty: its address.
  std::string name;
  /// How long a call that does not park may take, before it ends as DEADLINE_EXCEEDED. A wait ends
  /// so a second after its own timeout, when the server has said nothing by then.
  absl::Duration call_timeout = absl::Seconds(30);
  /// False: a call that does not park ends as UNAVAILABLE when an attempt to connect fails before
  /// any has succeeded, as a call of gRPC does by itself. Waits wait for the server all the same.
  bool wait_for_ready = true;
  Credentials credentials;
  /// Hears of the connection: OK when the server has welcomed the client, and why when it was lost
  /// or could not be made, each time. On the client's thread; it may stop calls, and never blocks.
  std::function<void(const absl::Status&)> on_state;
};

/// A client of one waitd, for as many waits as it likes:
///
///     waitd::Client client("127.0.0.1:7411");
///     auto result = client.Wait("build/42", {.timeout = absl::Minutes(10)}).Get();
///     if (!result.ok()) return Complain(result.status());
///     if (result->outcome == waitd::Outcome::kReady) Deploy(result->signal.data);
///
///     client.Ready("build/42", "all green").Get();
///
/// All calls share one session over one stream: what is called while a message is being written
/// leaves together in the next one. When the stream breaks the client connects again by itself,
/// for as long as it lives, and each call is carried out once all the same, as it has an id by
/// which the server knows it again. A wait goes on where it was, also over a restart of the server,
/// and beyond the server's bound on waits (--max-wait), in the life of the name that it stood on:
/// CLOSED when that one is over. What the server can no longer tell about a
/// call that is no wait is ABORTED with the reason OUTCOME_UNKNOWN.
///
/// A client that the server does not know is refused with UNAUTHENTICATED, and what is not for it
/// to do with PERMISSION_DENIED: nothing is tried again by itself then, and what was under way ends
/// with that status. The next call connects again, with what is in the files of its credentials by
/// then.
///
/// Threads:  all functions may be called by anyone at any time. It has one thread of its own, on
///           which callbacks and coroutines go on: see Call.
/// Lifetime: the destructor lets calls on their way be answered for a second at most and ends the
///           rest as CANCELLED; the callbacks of all have run when it returns. Not to be destroyed
///           on its own thread. What a call is given is copied into it.
class Client {
 public:
  /// Begins to connect, and does not wait for it. `address` is a gRPC target such as
  /// "127.0.0.1:7411", "dns:///waitd:7411" or "unix:/run/waitd.sock".
  explicit Client(std::string address, ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Waits until the side is READY, times out, or is closed. `stop` cancels the call, which ends as
  /// CANCELLED unless its outcome is on its way already.
  Call<WaitResult> Wait(std::string_view name, WaitOptions options = {}, std::stop_token stop = {});

  /// Waits until `need` of at most 1000 targets are READY. In a coroutine, name the vector of
  /// targets before the co_await: GCC 12 takes no list inside it.
  Call<PollResult> Poll(const std::vector<PollTarget>& targets, PollOptions options = {},
                        std::stop_token stop = {});

  /// Makes a side READY: wakes who waits, or is remembered once for the next wait.
  Call<ReadyResult> Ready(std::string_view name, Signal signal = {}, ReadyOptions options = {});

  /// Arms, extends, shortens or expires a deadline, also while waits are parked on it. `timeout`
  /// counts from the server's receipt; zero or less: expired now.
  Call<DeadlineResult> SetDeadline(std::string_view name, absl::Duration timeout,
                                   DeadlineOptions options = {});
  Call<DeadlineResult> SetDeadline(std::string_view name, absl::Time at,
                                   DeadlineOptions options = {});
  /// Takes the deadline away.
  Call<DeadlineResult> ClearDeadline(std::string_view name, DeadlineOptions options = {});

  /// Confirms a READY that came under an ack_timeout; a WaitResult is one. STALE_DELIVERY: it was
  /// taken back already.
  Call<AckResult> Ack(const HandOff& hand_off);

  /// Opens a descriptor, or finds the one that is open.
  Call<OpenResult> Open(std::string_view name, OpenOptions options = {});
  /// Opens a descriptor, and is refused with EXISTS when the name is open.
  Call<OpenResult> Create(std::string_view name, OpenOptions options = {});

  /// Ends every wait on it with CLOSED, and forgets what is remembered.
  Call<CloseResult> Close(std::string_view name, CloseOptions options = {});

  /// Forgets a READY, and closes a latch.
  Call<ResetResult> Reset(std::string_view name, ResetOptions options = {});

 private:
  friend class Heartbeat;
  const std::unique_ptr<internal::Connection> connection_;
};

}  // namespace waitd

#endif  // WAITD_CLIENT_H_
