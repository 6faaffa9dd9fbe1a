#ifndef WAITD_SERVER_SESSION_SESSION_H_
#define WAITD_SERVER_SESSION_SESSION_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "core/mutex.h"
#include "core/poller.h"
#include "server/access/gate.h"
#include "server/api/signal.h"
#include "server/api/status.h"
#include "server/rpc/rpc_metrics.h"
#include "server/session/session_call.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// What carries the messages of a session: one stream, for as long as it lasts.
///
/// Threads: any, but one Write at a time. None of its methods calls back before it returns.
class Link {
 public:
  virtual ~Link() = default;

  /// Begins to write. The session hears of the end by Written, also when the link broke meanwhile.
  /// It may come just after the session has heard of that: false, and nothing is written.
  [[nodiscard]] virtual bool Write(const grpc::ByteBuffer& bytes) = 0;

  /// Ends the stream, with an error or as the client wished. No Write is under way, and none
  /// follows.
  virtual void End(const std::optional<Error>& error) = 0;

  /// Breaks the stream off, at any time.
  virtual void Break() = 0;
};

/// Finds operations by their ids.
struct OperationId {
  static uint64_t Of(uint64_t id) { return id; }
  static uint64_t Of(const SessionOperation* operation) { return operation->id(); }
  struct Hash {
    using is_transparent = void;
    size_t operator()(const auto& each) const { return absl::HashOf(Of(each)); }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return Of(a) == Of(b); }
  };
};

class Session;

/// How often a session sends, and hears, something at least.
inline constexpr core::Nanos kSessionKeepalive = std::chrono::seconds(30);

/// What all sessions have to do with. Lifetime: outlives them.
struct SessionContext {
  core::Poller& poller;
  const core::Clock& clock;
  RpcMetrics& metrics;
  Gate& gate;
  SignalLimits signals;
  core::Nanos ack_timeout_max = core::kForever;
  uint64_t parked_max = 0;   ///< waits of one session
  uint64_t unacked_max = 0;  ///< results of one session, or KiB of them
  core::Nanos keepalive = kSessionKeepalive;
  core::Nanos retention = std::chrono::minutes(10);
  std::function<void(Session&)> ended;  ///< called once for each session that ends
};

/// A session: many operations in flight, their results in one outbox, which outlives the stream
/// that carries them.
///
/// Results that are ready while a message is being written leave together in the next one, so that
/// batches form under load, and a lone result never waits. What was written is kept as it was until
/// the client acknowledges it, for a stream that resumes.
///
/// Threads:    any. `work_` is held while a message is carried out, so that operations take effect
///             in the order of their ids, and a resume finds none half done; `mutex_` for a moment,
///             and never while something is called.
/// Lifetime:   shared by the table, by the stream that carries it, and by itself while operations
///             are in flight.
/// Invariants: 1. Each operation has one result, in one response; each response has one number.
///             2. A READY whose result was never written when the session ends goes back.
///             3. Memory is bounded: by the waits that are open, the results not acknowledged, and
///                the bytes not written and the operations that the store does not have yet, for
///                which reading stops (`congested`).
class Session final : public Outbox, public std::enable_shared_from_this<Session> {
 public:
  Session(const SessionContext& context, uint64_t number, Visitor visitor,
          const v1::SessionHello& hello, std::string token, core::Nanos linger);

  /// From now on `link` carries the session, and the former one is broken off. It says welcome, and
  /// everything again that the client has not acknowledged. False: the session has ended.
  [[nodiscard]] bool Attach(std::shared_ptr<Link> link, bool resumed, uint64_t acked_sequence,
                            std::optional<Error>* error);

  /// A message has arrived by `link`. An error ends stream and session; a message that comes by a
  /// former link is passed over.
  [[nodiscard]] std::optional<Error> Receive(const Link& link, const v1::SessionRequest& message,
                                             google::protobuf::Arena& arena, bool first);

  /// The client has said that no more operations come.
  void HalfClosed(const Link& link);

  /// The write that was under way has ended.
  void Written(const Link& link, bool ok);

  /// The link is gone. The session waits for another, for as long as it lingers.
  void Broken(const Link& link);

  /// So much waits to be written, or to be saved, that nothing more should be read. When that is
  /// over, the link's Written is followed by a call to its reader.
  bool congested() const;

  /// Now and then: keeps the stream alive, breaks off one whose peer is silent, and ends the
  /// session when it has been without one for too long.
  void Tick(core::Instant now);

  /// Ends the session: its waits leave, what was never written goes back, its ephemeral descriptors
  /// close. Its stream ends with the error, or as the client wished. Once.
  void End(const std::optional<Error>& error);

  /// Everything that is ready leaves, if nothing is being written.
  void Flush();

  /// These have their results; each once.
  void Take(std::span<SessionOperation* const> operations);

  void Completed(SessionOperation& operation) override;
  std::string_view NameOf(const SessionOperation& operation,
                          const core::Refusal& refusal) const override;
  std::string_view client() const override { return client_; }
  bool connected() const override { return connected_.load(std::memory_order_relaxed); }

  const std::string& token() const { return token_; }

  uint64_t owner() const override { return owner_; }

  /// The rules have changed. It goes by the new ones, or ends if nobody knows its owner any more.
  void Recheck();

  /// From now on it is congested: what has been read is carried out, and no more.
  void StopReading();

  /// Nothing is in flight, and nothing waits to be written to the stream.
  bool flushed() const;

 private:
  struct Response {
    uint64_t sequence = 0;
    grpc::ByteBuffer bytes;
    size_t size = 0;
    uint64_t weight = 0;  // its results, or how many of usual size would be as large
    /// What goes back if it is never written.
    std::vector<std::unique_ptr<SessionOperation>> unwritten;
  };
  struct Batch;

  v1::SessionWelcome Welcome(bool resumed) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> Acknowledge(uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Error> CarryOut(const v1::SessionRequest& message, google::protobuf::Arena& arena,
                                bool first, core::Instant now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> CheckOrder(const v1::SessionRequest& message, bool first)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Prepare(const v1::Operation& operation, Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  template <class T>
  void PrepareAs(uint64_t id, const typename T::Request& request, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> OverLimit(bool parks, bool gives_back, Batch& batch) const;
  void Measure(Batch& batch) const;
  void NoteEphemeral(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void ForgetEphemeral() ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Run(Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Cancel(uint64_t id);
  void Fail(uint64_t id, Batch& batch, Error error);
  void Compose() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Stuffed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteLate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::unique_ptr<SessionOperation>> TakeUnwritten()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave();
  void Gone();
  void CloseEphemeral() ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void GiveBack(const std::vector<std::unique_ptr<SessionOperation>>& operations);

  const SessionContext& context_;
  const uint64_t number_;
  const uint64_t owner_;
  const std::string client_;
  const std::string token_;
  const core::Nanos linger_;

  core::Mutex work_;
  Visitor visitor_ ABSL_GUARDED_BY(work_);
  uint64_t last_id_ ABSL_GUARDED_BY(work_) = 0;
  // Names that it may have open as ephemeral, and how many there were when that was last looked at.
  absl::flat_hash_set<std::string> ephemeral_ ABSL_GUARDED_BY(work_);
  size_t ephemeral_left_ ABSL_GUARDED_BY(work_) = 0;
  const Batch* running_ ABSL_GUARDED_BY(work_) = nullptr;  // what the core is carrying out

  mutable core::Mutex mutex_;
  std::shared_ptr<Link> link_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Session> self_ ABSL_GUARDED_BY(mutex_);  // while operations are in flight
  // Those that may be cancelled.
  absl::flat_hash_set<SessionOperation*, OperationId::Hash, OperationId::Same> parking_
      ABSL_GUARDED_BY(mutex_);
  uint64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // operations that the core has
  int pins_ ABSL_GUARDED_BY(mutex_) = 0;  // who uses operations that may complete: they stay
  std::deque<std::unique_ptr<SessionOperation>> outbox_ ABSL_GUARDED_BY(mutex_);
  size_t outbox_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Response> responses_ ABSL_GUARDED_BY(mutex_);  // not acknowledged, in their order
  uint64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;           // of the last one
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 1;               // the first that was not written
  uint64_t unacked_ ABSL_GUARDED_BY(mutex_) = 0;            // the weight of responses_
  size_t unwritten_bytes_ ABSL_GUARDED_BY(mutex_) = 0;      // of responses_ from next_ on
  std::optional<grpc::ByteBuffer> control_ ABSL_GUARDED_BY(mutex_);  // a welcome or a keepalive
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t written_ ABSL_GUARDED_BY(mutex_) = 0;  // what is being written; 0: control
  // Of a former link, whose write had not ended when it went, and may have ended well.
  const Link* late_link_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t late_ ABSL_GUARDED_BY(mutex_) = 0;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool left_ ABSL_GUARDED_BY(mutex_) = false;           // its waits and its descriptors have
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;           // its stream has, too
  std::optional<Error> error_ ABSL_GUARDED_BY(mutex_);  // with which it ended
  core::Instant heard_ ABSL_GUARDED_BY(mutex_);
  core::Instant said_ ABSL_GUARDED_BY(mutex_);
  core::Instant broken_ ABSL_GUARDED_BY(mutex_) = core::kNever;
  std::atomic<bool> connected_{false};  // relaxed: shown to others, under whatever lock they hold
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSION_H_
