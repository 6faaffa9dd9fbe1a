#ifndef WAITD_CORE_CALL_H_
#define WAITD_CORE_CALL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/blocks.h"
#include "core/effect.h"
#include "core/results.h"
#include "core/types.h"

namespace waitd::core {

struct Remembered;
class Waiter;

/// An operation under way: the place where its answer will be.
template <class T>
class Call : public Effect {
 public:
  using Answer = T;

  void Fail(Reason reason) final { result_ = Refusal{.reason = reason}; }

  /// Set before Done.
  Result<T>& result() { return result_; }
  const Result<T>& result() const { return result_; }

 private:
  Result<T> result_;
};

/// What every operation that may park shows and keeps, whatever it answers.
class Parkable : public Effect {
 public:
  /// Who waits, to show to others. Called while parked, under a lock: it must be quick.
  virtual std::string_view client() const = 0;

  /// Whether that client is still there to receive the outcome. Called as client().
  virtual bool connected() const { return true; }

  /// Whose it is, as Retry::caller. Called as client().
  virtual uint64_t caller() const { return 0; }

 private:
  friend class Poller;
  friend class Step;
  Waiter* waiter_ = nullptr;            // set when it parks
  std::shared_ptr<Remembered> answer_;  // of a call with an id: who else has its signals
  uint32_t life_ = 0;                   // of *waiter_: a later life is another call's
  uint8_t shard_ = 0;                   // its home, where its id is remembered
};

/// An operation that may park, and so may be cancelled. Many are parked, so its result stands apart
/// and comes to be when it is first written.
template <class T>
class ParkingCall : public Parkable {
 public:
  using Answer = T;

  void Fail(Reason reason) final { result() = Refusal{.reason = reason}; }

  /// Set before Done; do not read it earlier.
  Result<T>& result() {
    if (result_ == nullptr) result_ = MakeRecycled<Result<T>>();
    return *result_;
  }
  const Result<T>& result() const { return *result_; }
  void set_result(Result<T>&& result) { result_ = MakeRecycled<Result<T>>(std::move(result)); }

 private:
  Recycled<Result<T>> result_;
};

/// What makes a repeated call the same call.
struct Retry {
  std::string_view id;  ///< of the name's calls of its class, waits or others; empty: none
  Nanos sent_ago{0};    ///< since the first attempt; a timeout counts from there
  uint64_t caller = 0;  ///< who calls: ids of different callers never meet; 0: nobody is known
};

struct OpenOptions {
  std::optional<Kind> kind;  ///< none: exclusive when it creates, any when the name is open
  Labels labels;
  std::optional<Nanos> idle_ttl;
  bool ephemeral = false;  ///< whoever opens it closes it; the core only shows it
  std::string owner;       ///< of an ephemeral one: who that is
  uint64_t session = 0;    ///< of an ephemeral one: in which session
};

/// What a missing name is opened as; null: what it would be if it were.
inline Kind KindToOpen(const OpenOptions* options) {
  return options == nullptr ? Kind::kExclusive : options->kind.value_or(Kind::kExclusive);
}

struct OpenArgs {
  std::string_view name;
  OpenOptions options;
  bool must_create = false;
  Retry retry = {};
};

/// Of the operations below: generation 0 is whichever is open, and open_if_missing, when given,
/// stays valid until the operation returns.
struct CloseArgs {
  std::string_view name;
  uint64_t generation = 0;
  uint64_t session = 0;  ///< not 0: only if this session opened it as ephemeral
  Retry retry = {};
};

struct ResetArgs {
  std::string_view name;
  Mode mode = Mode::kRead;
  uint64_t generation = 0;
  Retry retry = {};
};

struct WaitArgs {
  std::string_view name;
  Side side = Side::kRead;
  uint64_t generation = 0;
  std::optional<Nanos> timeout;  ///< zero or negative: only try
  bool ignore_deadline = false;
  const OpenOptions* open_if_missing = nullptr;
  std::optional<Nanos> ack_timeout;  ///< positive, and only with an id
  Retry retry = {};
};

struct ReadyArgs {
  std::string_view name;
  Mode mode = Mode::kRead;
  uint64_t generation = 0;
  Payload signal;
  ReadyCondition condition = ReadyCondition::kAlways;
  const OpenOptions* open_if_missing = nullptr;
  Retry retry = {};
};

struct SetDeadlineArgs {
  enum class What : uint8_t { kTimeout, kAt, kClear };
  std::string_view name;
  Mode mode = Mode::kRead;
  uint64_t generation = 0;
  What what = What::kClear;
  Nanos timeout{0};  ///< of kTimeout; zero or negative: expired now
  WallTime at;       ///< of kAt; in the past: expired now
  DeadlineCondition condition = DeadlineCondition::kAlways;
  const OpenOptions* open_if_missing = nullptr;
  Retry retry = {};
};

struct PollTarget {
  std::string_view name;
  Side side = Side::kRead;
  uint64_t generation = 0;
};

struct PollArgs {
  std::vector<PollTarget> targets;
  uint32_t need = 1;  ///< 0 is 1
  std::optional<Nanos> timeout;
  const OpenOptions* open_if_missing = nullptr;
  std::optional<Nanos> ack_timeout;  ///< positive, and only with an id; of each READY
  Retry retry = {};                  ///< the id belongs to the first target's name
};

struct AckArgs {
  std::string_view name;
  Side side = Side::kRead;
  std::string_view wait_id;
  uint64_t delivery = 0;
  uint64_t generation = 0;  ///< of the name's life: 0 is none
  uint64_t caller = 0;      ///< of the wait, as in its Retry
};

struct GetArgs {
  std::string_view name;
};

struct ListArgs {
  std::string_view prefix;
  std::string after;  ///< only names behind this one; empty: from the first
  uint32_t page_size = 100;
  Labels labels;  ///< all of these
  bool waiting_only = false;
};

using OpenCall = Call<OpenResult>;
using CloseCall = Call<CloseResult>;
using ResetCall = Call<ResetResult>;
using ReadyCall = Call<ReadyResult>;
using SetDeadlineCall = Call<SetDeadlineResult>;
using AckCall = Call<AckResult>;
using WaitCall = ParkingCall<WaitResult>;
using PollCall = ParkingCall<PollResult>;
/// An operation among others: its arguments, and where its answer goes.
template <class A, class C>
struct Op {
  const A* args;
  C* call;
};
using Operation = std::variant<Op<OpenArgs, OpenCall>, Op<CloseArgs, CloseCall>,
                               Op<ResetArgs, ResetCall>, Op<WaitArgs, WaitCall>,
                               Op<ReadyArgs, ReadyCall>, Op<SetDeadlineArgs, SetDeadlineCall>,
                               Op<PollArgs, PollCall>, Op<AckArgs, AckCall>>;

using GetCall = Call<DescriptorInfo>;
using ListCall = Call<ListResult>;

}  // namespace waitd::core

#endif  // WAITD_CORE_CALL_H_
