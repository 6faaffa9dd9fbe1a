#ifndef WAITD_SERVER_SESSION_OUTBOX_H_
#define WAITD_SERVER_SESSION_OUTBOX_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/budget.h"
#include "core/clock.h"
#include "server/rpc/rpc_metrics.h"
#include "server/session/session_call.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// About how many bytes an outbox holds, in each of a result's states.
struct OutboxBytes {
  size_t waiting = 0;    ///< results that wait to be composed: with their signals
  size_t unwritten = 0;  ///< responses that are not written on the present link: as encoded
  size_t written = 0;    ///< responses that are written and not acknowledged: as encoded
  size_t kept = 0;       ///< the signals of responses that may have to go back
};

/// What is charged for an outbox, but for signals, which are charged by themselves.
struct OutboxAmounts {
  core::Amount waits;    ///< Held::kWaits: of waits that have ended, until they are composed
  core::Amount calls;    ///< Held::kCalls: the same of other operations
  core::Amount results;  ///< Held::kResults: of responses, with a copy of each signal
};

/// The results of a session on their way to its client: they wait, are composed into numbered
/// responses, are written, perhaps on several links one after the other, and go when the client
/// acknowledges them. A signal of a response goes back if no write of it ended well before the end.
///
/// The states of a result, and what each event makes of it. A write is known by its link; each link
/// has one at most. A write that was under way when its link was lost may still end well.
///
///   | event       | waiting   | composed            | being written         | written  |
///   |-------------|-----------|---------------------|-----------------------|----------|
///   | Next        | composed* | being written       |                       |          |
///   | Written, ok |           |                     | written               |          |
///   | Written, no |           |                     | composed              |          |
///   | Begin, Lose |           |                     | composed**            | composed |
///   | Acknowledge |           | gone, if ever begun | gone                  | gone     |
///   | TakeBack    | goes back | goes back           | goes back if it fails | stays    |
///
///   *  If nothing is being written, or there are many, and if there is room: what waits shares its
///      signal with all who have it, and a response has a copy of it.
///   ** The write goes on by itself: when it ends well the signals are spent all the same.
///
/// Threads:    none of its own.
/// Invariants: 1. Each result is in one response; responses are numbered from 1 without a gap.
///             2. Nothing is acknowledged of which no write began (`written_through_`).
///             3. A signal is spent or goes back, once.
class Outbox {
 public:
  using Operations = std::vector<std::unique_ptr<SessionOperation>>;

  /// What a write's end decides. Both are let go by the caller, who holds no lock by then.
  struct Decided {
    Operations spent;  ///< the client may have their signals
    Operations back;   ///< their signals go back
  };

  struct Response {
    Response() = default;
    Response(Response&&) noexcept = default;
    Response& operator=(Response&&) noexcept = default;

    uint64_t sequence = 0;
    grpc::ByteBuffer bytes;
    size_t size = 0;
    size_t kept = 0;      // the size of `returns`
    size_t held = 0;      // the same as SessionOperation::held
    uint64_t weight = 0;  // its results, or how many of usual size would be as large
    Operations returns;   // what goes back if no write of it ends well
  };

  /// Results that make a response though another is being written: so many that each step costs
  /// little, and so few that they stay in the cache.
  static constexpr size_t kBatch = 256;

  /// With more than this unwritten, nothing is composed ahead of its write.
  static constexpr size_t kUnwrittenBytesMax = size_t{4} << 20;

  /// Lifetime: both outlive it.
  Outbox(const core::Clock& clock, RpcMetrics& metrics) : clock_(clock), metrics_(metrics) {}

  /// A result waits from now on.
  void Add(std::unique_ptr<SessionOperation> operation);

  /// Writes go to this link from now on, beginning with this message, which has no number, and
  /// with all that is not acknowledged.
  void Begin(const void* link, const v1::SessionResponse& message);

  /// The link is lost. Its write, if one is under way, still ends by Written.
  void Lose() { link_ = nullptr; }

  /// This message, which has no number, is written before everything else.
  void Say(const v1::SessionResponse& message);

  /// Whether there is room for so many bytes more in responses. True: they are taken.
  using Room = absl::FunctionRef<bool(size_t bytes)>;

  /// The write that begins now on the link; nothing: one is under way, or nothing is to be written,
  /// or there is no room for it. Whatever else waits leaves with the one after it.
  std::optional<grpc::ByteBuffer> Next(Room room = [](size_t) { return true; });

  /// The write that was under way on this link has ended. If it failed, the link is lost next.
  Decided Written(const void* link, bool ok);

  /// Responses up to this one have reached the client; they are moved to `gone`. False: that was
  /// never written, and nothing is changed.
  [[nodiscard]] bool Acknowledge(uint64_t sequence, std::vector<Response>* gone);

  /// The session ends: what goes back. Nothing is added or begun afterwards.
  Operations TakeBack();

  /// A write is under way on the present link.
  bool writing() const;

  /// Nothing waits, and everything is written on the present link.
  bool written() const { return waiting_.empty() && !writing() && next_ > sequence_; }

  /// Something waits for room alone, such as acknowledgements make.
  bool held_back() const {
    return link_ != nullptr && !writing() && next_ > sequence_ && !waiting_.empty();
  }

  /// Results that are not acknowledged, those that wait included; large ones count as several.
  uint64_t unacked() const;

  const OutboxBytes& bytes() const { return bytes_; }

  OutboxAmounts amounts() const;

 private:
  struct Write {
    const void* link;
    uint64_t sequence;  // 0: a message without a number
  };

  bool Compose(Room room);
  Response* Find(uint64_t sequence);
  Operations Release(Response& response);
  bool BeingWritten(uint64_t sequence) const;

  const core::Clock& clock_;
  RpcMetrics& metrics_;
  std::deque<std::unique_ptr<SessionOperation>> waiting_;
  std::deque<Response> responses_;           // not acknowledged, in their order
  uint64_t sequence_ = 0;                    // of the last one
  uint64_t next_ = 1;                        // the first that is not written on the present link
  uint64_t written_through_ = 0;             // the last of which a write began, on any link
  uint64_t weight_ = 0;                      // of responses_
  std::optional<grpc::ByteBuffer> message_;  // without a number, before everything else
  const void* link_ = nullptr;               // the present one
  std::vector<Write> writes_;                // under way; seldom more than one
  bool over_ = false;                        // TakeBack was called
  size_t returns_ = 0;                       // operations in responses_ that may have to go back
  size_t held_waits_ = 0;                    // SessionOperation::held of those that wait: of waits
  size_t held_calls_ = 0;                    // the same of the others
  size_t held_returns_ = 0;                  // the same of those in responses_
  OutboxBytes bytes_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_OUTBOX_H_
