#ifndef WAITD_CLIENT_ENGINE_TRANSPORT_H_
#define WAITD_CLIENT_ENGINE_TRANSPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/engine/request.h"

namespace waitd::internal {

/// The seams of the engine: a stream, a clock, and chance. Each is handed in, so that a test runs
/// the whole engine without a network and on a time of its own.

struct Hello {
  std::string client;
  std::string resume_token;
  uint64_t acked_sequence = 0;
};

/// One attempt of an operation.
struct Attempt {
  uint64_t id = 0;
  const Request* request = nullptr;  ///< Valid while Encode runs.
  /// What to say instead of the request's own timeout, when it has one.
  absl::Duration timeout = absl::InfiniteDuration();
  absl::Duration first_sent_ago;  ///< Zero: this is the first.
};

/// A message to the server: a hello alone, or anything else.
struct OutMessage {
  std::optional<Hello> hello;
  std::vector<Attempt> attempts;
  uint64_t acked_sequence = 0;
  bool last = false;  ///< Half-closes the stream.
};

struct Welcome {
  std::string resume_token;
  bool resumed = false;
  uint64_t received_through = 0;
  absl::Duration keepalive;        ///< Zero: none is promised.
  uint32_t max_payload_bytes = 0;  ///< Zero: not said.
};

struct Answered {
  uint64_t id = 0;
  absl::StatusOr<Answer> answer;
};

/// A message from the server.
struct InMessage {
  std::optional<Welcome> welcome;
  std::vector<Answered> results;
  uint64_t sequence = 0;
};

/// One stream at a time, whose events go to Engine's On functions, all from the client's thread.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Connects anew and begins a stream. OnOpened follows, or OnClosed. On the client's thread.
  virtual void Open() = 0;

  /// Makes `message` the next one to be sent. Under the engine's lock, so it only copies.
  virtual void Encode(const OutMessage& message) = 0;

  /// Sends it. OnWritten follows, and until then neither Encode, Send nor Open is called. By any
  /// thread, without the lock; may come after the stream broke.
  virtual void Send() = 0;

  /// Ends the stream at once. OnClosed follows, soon. On the client's thread.
  virtual void Break() = 0;

  /// Has the client's thread call OnWoken soon, also when it sleeps. By any thread, without the
  /// lock; not again before OnWoken.
  virtual void Wake() = 0;
};

/// A point on the monotonic clock, as the time since some point; infinite: never.
using Instant = absl::Duration;
inline constexpr Instant kNever = absl::InfiniteDuration();

/// Threads: Now may be called by anyone at any time.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant Now() const = 0;
};

/// Random bits that nobody can guess: who knows a wait's id can take its outcome. The engine calls
/// it under its lock.
class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual uint64_t Bits() = 0;
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_TRANSPORT_H_
