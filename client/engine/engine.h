#ifndef WAITD_CLIENT_ENGINE_ENGINE_H_
#define WAITD_CLIENT_ENGINE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "client/engine/op.h"
#include "client/engine/transport.h"

namespace waitd::internal {

/// As in ClientOptions.
struct EngineOptions {
  bool wait_for_ready = true;
  std::function<void(const absl::Status&)> on_state;
};

/// The client's side of a session: ids, batches, acknowledgements, resuming, retries and limits. It
/// knows no gRPC and no protobuf, but works on the plain records of waitd/types.h, which the
/// transport translates at its edge: so that tests drive it on a time of their own, and so that
/// ThreadSanitizer sees all of it, which the packaged protobuf would spoil, not being instrumented.
///
/// Threads:    Submit, Cancel and Close may be called by anyone at any time; what On... and Tick
/// say
///             comes from one thread, the client's, on which alone completions run. Whoever finds
///             the stream free writes to it, also a caller: a lone call is not passed on between
///             threads, and what comes meanwhile is the next message.
/// Lifetime:   destroyed after Finished() was seen by the client's thread.
/// Invariants: 1. An operation in the table has no answer yet; whoever takes it out gives it one.
///             2. writing_ belongs to whoever set it, until OnWritten; without it the transport's
///                message and stream are not touched.
///             3. Ids are written to a stream in increasing order.
///             4. Completions, the transport's Send, Open, Break and Wake, and the destructors of
///                operations run outside the lock.
class Engine {
 public:
  /// How long after its limit an answer may come before the call ends without one.
  static constexpr absl::Duration kGrace = absl::Seconds(1);
  /// How long Close waits for answers.
  static constexpr absl::Duration kCloseWait = absl::Seconds(1);
  /// How long a stream may take until the server's welcome.
  static constexpr absl::Duration kWelcomeWait = absl::Seconds(10);
  /// How long results wait for a message that carries their acknowledgement, and how many do.
  static constexpr absl::Duration kAckWait = absl::Milliseconds(20);
  static constexpr size_t kAckResults = 1000;
  /// The pauses between two attempts to connect grow to this.
  static constexpr absl::Duration kBackoffMax = absl::Seconds(1);
  /// For how long a poll without a limit of its own is out before it asks on which lives it stands.
  /// Most are over by then; the server's bound, after which it has to know, is longer.
  static constexpr absl::Duration kAskAfter = absl::Seconds(1);
  /// How much a message holds before the next one begins.
  static constexpr size_t kBatchBytes = 1 << 20;

  /// All but the name and the options outlive the engine.
  Engine(std::string client, Transport& transport, const Clock& clock, Entropy& entropy,
         EngineOptions options = {});

  /// Takes an operation over. `completion` hears of it once, on the client's thread.
  void Submit(std::unique_ptr<Op> op, Completion& completion);

  /// Ends an operation as cancelled, unless its answer comes first.
  void Cancel(Op& op);

  /// No further operations. The rest is answered or cancelled, within kCloseWait.
  void Close();

  /// The client's thread: does what is due, and says when it has to be called again.
  Instant Tick();
  /// After Close: nothing is left to be done, and the stream is down.
  bool Finished();
  /// The caller is the client's thread, once it has ticked.
  bool OnClientThread();

  void OnOpened();
  void OnMessage(InMessage message);
  void OnWritten(bool ok);
  void OnClosed(absl::Status status);
  void OnWoken();

 private:
  using OpPtr = std::unique_ptr<Op>;
  enum class Link : uint8_t {
    kDown,      // no stream; one is opened at reconnect_at_
    kOpening,   // until OnOpened
    kGreeting,  // until the welcome
    kUp,
    kEnding,    // a write failed: until OnClosed, which says why
    kBreaking,  // until OnClosed
  };
  struct Ended {
    OpPtr op;
    absl::StatusOr<Answer> answer;
  };
  // What is to be done without the lock.
  struct Todo {
    bool open = false;
    bool breaks = false;
    bool send = false;
    bool wake = false;
  };
  using Timer = std::pair<Instant, uint64_t>;  // of an operation, by its id

  // engine.cc: operations.
  void AddLocked(OpPtr op, Instant now);
  void QueueLocked(Op& op);
  void ArmLocked(Instant at, uint64_t id);
  void FireLocked(Instant now);
  void ExpireLocked(Op& op);
  void SendCancelLocked(uint64_t target);
  Op* FindLocked(uint64_t id);
  OpPtr TakeLocked(uint64_t id);
  uint64_t RenumberLocked(uint64_t id);
  void EndLocked(OpPtr op, absl::StatusOr<Answer> answer);
  void EndLocked(uint64_t id, absl::StatusOr<Answer> answer) {
    EndLocked(TakeLocked(id), std::move(answer));
  }
  void EndSignedLocked(Op& op, Answer answer);
  void EndAllLocked(const absl::Status& status, bool timers);
  void WakeLocked(Todo& todo);
  void Do(const Todo& todo);
  void Complete();
  std::string NewId();

  // engine_session.cc: the stream.
  void EncodeLocked(Instant now, Todo& todo);
  bool DueLocked(Instant now) const;
  Attempt AttemptLocked(const Op& op, Instant now) const;
  void WelcomeLocked(Welcome welcome, Instant now);
  void RequeueLocked(uint64_t received_through);
  void ResultLocked(Answered result, Instant now);
  void ErrorLocked(Op& op, absl::Status error, Instant now);
  void HoldLocked(Op& op, absl::Duration pause, Instant now);
  void ParkAgainLocked(Op& op, Instant now);
  void ForgottenLocked(Op& op, Instant now);
  void LinkLocked(Instant now, Todo& todo);
  Instant NextLocked() const;
  void BreakLocked(const char* why, Todo& todo);
  void DownLocked(const absl::Status& status, Instant now);
  void EndImpatientLocked();
  bool MayConnectLocked() const;
  bool WorthWaitingLocked() const;
  bool SilentLocked(Instant now) const;
  absl::Duration JitterLocked(absl::Duration most);

  // engine_poll.cc: polls over the server's bound on waits.
  void AskLaterLocked(Op& op, Instant now);
  void AskLocked(Op& op, Instant now);
  void LifeLocked(Op& ask, const absl::StatusOr<Answer>& answer, Instant now);
  void PollSpentLocked(Op& op, Instant now);
  void PollRefusedLocked(Op& op, absl::Status refusal, Instant now);
  void GoOnLocked(Op& op, Instant now);

  const std::string client_;
  Transport& transport_;
  const Clock& clock_;
  Entropy& entropy_;
  const EngineOptions options_;

  // Everything below is guarded by mutex_.
  std::mutex mutex_;
  absl::flat_hash_map<uint64_t, OpPtr> ops_;
  std::deque<uint64_t> queue_;  // to be sent; of those that are kQueued no longer, stale ids
  // Limits and pauses. Those of operations that are gone stay until they are due, or too many.
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::vector<Ended> ended_;          // to be completed on the client's thread
  std::vector<absl::Status> states_;  // to be told there
  uint64_t last_id_ = 0;
  std::thread::id thread_;
  Instant sleeps_until_ = -kNever;  // the client's thread; long past: it is awake
  bool waking_ = false;             // between Wake and OnWoken

  Link link_ = Link::kDown;
  bool writing_ = false;
  std::optional<absl::Status> closed_;  // OnClosed came while a write was under way
  OutMessage out_;                      // the memory of one message, used again
  std::string resume_token_;
  uint64_t seen_ = 0;   // the last sequence that came
  uint64_t acked_ = 0;  // the last one the server was told of
  size_t unacked_results_ = 0;
  uint32_t payload_bytes_max_ = 0;
  absl::Duration keepalive_;
  Instant keepalive_at_ = kNever;  // when something has to be written
  Instant ack_at_ = kNever;
  // When the server last said something, or the stream was opened, or could no longer be written.
  Instant heard_at_ = kNever;
  Instant reconnect_at_ = -kNever;
  bool refused_ = false;  // the last stream ended for good
  int failures_ = 0;      // attempts to connect, since the last welcome
  absl::Status last_error_;

  bool closing_ = false;
  bool half_closed_ = false;
  bool finished_ = false;
  Instant close_by_ = kNever;
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_ENGINE_H_
