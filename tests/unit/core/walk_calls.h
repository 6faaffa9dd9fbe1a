#ifndef WAITD_TESTS_UNIT_CORE_WALK_CALLS_H_
#define WAITD_TESTS_UNIT_CORE_WALK_CALLS_H_

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/poller.h"
#include "tests/unit/core/fixture.h"
#include "tests/unit/core/model.h"

namespace waitd::core {

/// A call of the walk, whatever it asks.
class WalkCall {
 public:
  virtual ~WalkCall() = default;
  virtual bool done() const = 0;
  virtual AnyAnswer answer() const = 0;
  virtual void Cancel(Poller& /*poller*/) {}
  virtual void Abandon(Poller& /*poller*/) {}
  virtual void Unwritten(Poller& /*poller*/, Nanos /*linger*/) {}

  Model::CallId id = 0;
  ExpectedRef expected;  ///< null: the model says that it goes on
  size_t step = 0;       ///< of the walk that began it
  bool parked = false;   ///< it was parked once
};

template <class C>
class WalkCallOf final : public WalkCall {
 public:
  static constexpr bool kParks = std::is_base_of_v<Parkable, C>;
  using Base = std::conditional_t<kParks, Parked<C>, Answered<C>>;

  bool done() const override { return call.done(); }
  AnyAnswer answer() const override {
    return std::visit([](const auto& result) { return AnyAnswer(result); }, call.result());
  }
  void Cancel(Poller& poller) override {
    if constexpr (kParks) poller.Cancel(call);
  }
  void Abandon(Poller& poller) override {
    if constexpr (kParks) poller.Abandon(call);
  }
  void Unwritten(Poller& poller, Nanos linger) override {
    if constexpr (kParks) poller.Unwritten(call, linger);
  }

  Base call;
};

/// One step of a walk, drawn once, so that it is the same step in a shorter history.
struct WalkOp {
  enum What : uint8_t {
    kOpen,
    kClose,
    kReset,
    kWait,
    kReady,
    kSet,
    kPoll,
    kAck,
    kGet,
    kRetry,
    kCancel,
    kAbandon,
    kUnwritten,
    kRun,
    kPass,
    kBack,
    kTimers,
    kSave,
    kCrash,
    kFull,
    kWhats
  };
  What what = kPass;
  std::array<uint32_t, 6> n{};
};

/// What an operation asks for, and with which id: kept, so that it can be asked again.
struct Asked {
  WalkOp op;
  std::string id;  ///< empty: none
  uint64_t generation = 0;
  WallTime at;  ///< of a deadline as wall time
  std::optional<Nanos> timeout;
  Instant first;  ///< when it was first sent
  std::optional<AckArgs> ack;
  std::string ack_name, ack_id;
};

using AnyArgs = std::variant<OpenArgs, CloseArgs, ResetArgs, WaitArgs, ReadyArgs, SetDeadlineArgs,
                             PollArgs, AckArgs, GetArgs>;

/// An operation with all that its arguments point at.
struct Prepared {
  Asked asked;
  std::array<std::string, 4> names;
  OpenOptions open;
  AnyArgs args;
  std::unique_ptr<WalkCall> call;
};

/// What differs between what a call was answered and what the model says; empty: nothing.
/// `again`: an answer that was given before, which is equal field by field.
std::string Differs(const AnyAnswer& real, const AnyAnswer& model, bool again);

/// The same for a poll that several things ended at once: it has one of their outcomes.
std::string DiffersFromAnEnd(const AnyAnswer& real);

/// A step, and an operation, as they are printed.
std::string Text(const WalkOp& op);
std::string Text(const Prepared& prepared);
std::string Text(const AnyAnswer& answer);

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_WALK_CALLS_H_
