#ifndef WAITD_SERVER_SESSION_SESSION_H_
#define WAITD_SERVER_SESSION_SESSION_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "core/mutex.h"
#include "core/poller.h"
#include "server/access/gate.h"
#include "server/api/signal.h"
#include "server/api/status.h"
#include "server/rpc/rpc_metrics.h"
#include "server/session/link.h"
#include "server/session/outbox.h"
#include "server/session/phase.h"
#include "server/session/session_call.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

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
  std::function<void(Session&)> ended;  ///< called once for each session that is over
  /// Sees to it that Finish is called, on a thread where it may take long.
  std::function<void(std::shared_ptr<Session>)> finish;
};

/// A session: many operations in flight, their results in one outbox, which outlives the link that
/// carries them.
///
/// Results that are ready while a message is being written leave together in the next one, so that
/// batches form under load, and a lone result never waits. What was written is kept as it was until
/// the client acknowledges it, for a link that resumes.
///
/// A result goes to `completed_` without a lock. The first one there notes the session in the batch
/// of its thread (core/effect.h), and at the end of that batch Run takes all that have come. So a
/// message of a thousand Readys takes each session's lock once, and makes one response of each.
/// None is left: one that was not the first came before a Run that is still to be.
///
/// Threads:    any. `work_` is held while a message is carried out, so that operations take effect
///             in the order of their ids, and a resume finds none half done; `mutex_` for a moment,
///             and never while something is called. With one session's `work_` held another may
///             end, and take its own: only one that is draining, whose messages are all carried
///             out, so that whoever holds that one's is not waiting for any.
/// Lifetime:   shared by the table, by the link that carries it, and by itself while operations
///             are in flight.
/// Invariants: 1. Each operation has one result, in one response; each response has one number.
///             2. A READY whose result was never written when the session ends goes back.
///             3. Memory is bounded: by the waits that are open, the results not acknowledged, and
///                the bytes not written and the operations that the store does not have yet, for
///                which reading stops (`congested`). Results for which there is no room wait.
class Session final : public OperationOwner,
                      public core::Sequel,
                      public std::enable_shared_from_this<Session> {
 public:
  /// A message with more operations ends the session before any is carried out.
  static constexpr int kOperationsMax = 65'536;

  Session(const SessionContext& context, uint64_t number, Visitor visitor,
          const v1::SessionHello& hello, std::string token, core::Nanos linger,
          core::Charge charge);

  /// From now on `link` carries the session, and the former one is broken off. It says welcome, and
  /// everything again that the client has not acknowledged. False: the session has ended.
  [[nodiscard]] bool Attach(std::shared_ptr<Link> link, bool resumed, uint64_t acked_sequence,
                            std::optional<Error>* error);

  /// Carries out a message that arrived by `link`, from its operation number `*next` on, as much as
  /// one slice has: `*next` is behind that then, and it is called again for the rest, so that a
  /// resume need not wait for all. An error ends stream and session; what comes by a former link is
  /// passed over.
  [[nodiscard]] std::optional<Error> Receive(const Link& link, const v1::SessionRequest& message,
                                             google::protobuf::Arena& arena, core::Instant received,
                                             bool first, int* next);

  /// The client has said that no more operations come.
  void HalfClosed(const Link& link);

  /// The write that was under way has ended. If it failed, the link is lost.
  void Written(const Link& link, bool ok);

  /// The link is lost. The session waits for another, for as long as it lingers.
  void Broken(const Link& link);

  /// So much waits to be written, or to be saved, that nothing more should be read. When that is
  /// over, the link's Written is followed by a call to its reader.
  bool congested() const;

  /// Now and then: keeps the stream alive, breaks off one whose peer is silent, and ends the
  /// session when it has been without one for too long.
  void Tick(core::Instant now);

  /// Ends the session: its waits end, what was never written goes back, its ephemeral descriptors
  /// close. Its stream ends with the error, or as the client wished. Once. All that is Finish's.
  void End(const std::optional<Error>& error);

  /// From kEnding to kEnded, once: takes long where it had many waits.
  void Finish();

  /// Takes what has been completed, and what is ready leaves.
  void Run() override;

  void Completed(SessionOperation& operation, core::EffectBatch& batch) override;
  std::string_view client() const override { return client_; }
  bool connected() const override { return connected_.load(std::memory_order_relaxed); }

  const std::string& token() const { return token_; }
  uint64_t owner() const override { return owner_; }
  core::Account* account() const override { return account_.get(); }

  /// The rules have changed. It goes by the new ones, or ends if nobody knows its owner any more.
  void Recheck();

  /// From now on it is congested: what has been read is carried out, and no more.
  void StopReading();

  /// Nothing is in flight, and nothing waits to be written to the stream.
  bool flushed() const;

 private:
  struct Portion;

  /// What is to be done when `mutex_` is let go.
  struct Todo {
    std::shared_ptr<Link> link;  // writes this, or ends if there is nothing
    std::optional<grpc::ByteBuffer> bytes;
    bool end = false;   // the session, well: all is answered
    bool full = false;  // or for want of memory
  };

  v1::SessionWelcome Welcome(bool resumed) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> CarryOut(const v1::SessionRequest& message, Portion& portion, int* next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> CheckOrder(const v1::SessionRequest& message, bool first)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Prepare(const v1::Operation& operation, Portion& portion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  template <class T>
  void PrepareAs(uint64_t id, const typename T::Request& request, Portion& portion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  std::optional<Error> OverLimit(bool parks, bool gives_back, Portion& portion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Measure(Portion& portion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_, mutex_);
  void NoteEphemeral(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void ForgetEphemeral() ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void CarryOut(Portion& portion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void Cancel(uint64_t id, core::EffectBatch& batch);
  void Fail(uint64_t id, Portion& portion, Error error);

  bool Carries(const Link& link) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return link_.get() == &link && phase_ == Phase::kUp;
  }
  bool alive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return phase_ < Phase::kEnding; }
  bool over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return phase_ == Phase::kEnded && link_ == nullptr;
  }
  bool Stuffed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Todo Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<Link> LoseLink() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ChargeResults() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Do(const Todo& todo);
  void Flush();
  void CloseEphemeral() ABSL_EXCLUSIVE_LOCKS_REQUIRED(work_);
  void GiveBack(const Outbox::Operations& operations);

  const SessionContext& context_;
  const uint64_t number_;
  const uint64_t owner_;
  const core::AccountRef account_;
  const std::string client_;
  const std::string token_;
  const core::Nanos linger_;
  const core::Charge charge_;  // of the session itself

  core::Mutex work_;
  Visitor visitor_ ABSL_GUARDED_BY(work_);
  uint64_t last_id_ ABSL_GUARDED_BY(work_) = 0;
  uint64_t refused_ ABSL_GUARDED_BY(work_) = 0;  // for results that are not acknowledged, in a row
  // Names that it may have open as ephemeral, and how many there were when that was last looked at.
  absl::flat_hash_set<std::string> ephemeral_ ABSL_GUARDED_BY(work_);
  size_t ephemeral_left_ ABSL_GUARDED_BY(work_) = 0;

  CompletedOperations completed_;

  mutable core::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kBroken;
  std::shared_ptr<Link> link_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Session> self_ ABSL_GUARDED_BY(mutex_);  // while operations are in flight
  // Those that may be cancelled.
  absl::flat_hash_set<SessionOperation*, OperationId::Hash, OperationId::Same> parking_
      ABSL_GUARDED_BY(mutex_);
  uint64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // operations that Run has not taken yet
  bool pinned_ ABSL_GUARDED_BY(mutex_) = false;     // operations that complete stay, in the outbox
  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  core::Charge waits_ ABSL_GUARDED_BY(mutex_), calls_ ABSL_GUARDED_BY(mutex_),
      results_ ABSL_GUARDED_BY(mutex_);  // as OutboxAmounts
  bool stopped_reading_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Error> error_ ABSL_GUARDED_BY(mutex_);  // with which it ended
  core::Instant heard_ ABSL_GUARDED_BY(mutex_);
  core::Instant said_ ABSL_GUARDED_BY(mutex_);
  core::Instant broken_at_ ABSL_GUARDED_BY(mutex_);  // of kBroken; never: it had no link yet
  std::atomic<bool> connected_{false};  // relaxed: shown to others, under whatever lock they hold
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSION_H_
