#ifndef WAITD_TESTS_UNIT_CORE_FIXTURE_H_
#define WAITD_TESTS_UNIT_CORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "core/poller.h"
#include "core/shard.h"

namespace waitd::core {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// The units of work in one hold, but where a test sets fewer.
inline constexpr uint32_t kUnitsMax = Poller::Options{}.units_max;

/// A call that remembers whether its answer came.
template <class Base>
class Answered : public Base {
 public:
  void Done() override {
    const bool twice = done_.exchange(true);  // and nothing after it: the owner may be waiting
    ASSERT_FALSE(twice) << "answered twice";
  }
  bool done() const { return done_; }

  /// Until another thread brings the answer.
  void Await() const {
    while (!done_) std::this_thread::yield();
  }

 private:
  std::atomic<bool> done_{false};
};

/// A parking call, with what its owner is called.
template <class Base>
class Parked : public Answered<Base> {
 public:
  explicit Parked(std::string client = "test") : client_(std::move(client)) {}
  std::string_view client() const override { return client_; }

 private:
  std::string client_;
};

using TestWait = Parked<WaitCall>;
using TestPoll = Parked<PollCall>;

inline Payload Bytes(std::string_view bytes) { return std::make_shared<const std::string>(bytes); }

/// Two names of different shards.
inline std::pair<std::string, std::string> Apart() {
  int i = 0;
  while (ShardOf("x" + std::to_string(i)) == ShardOf("a")) ++i;
  return {"a", "x" + std::to_string(i)};
}

/// A clock that stands still until it is told. Threads: one.
class ManualClock final : public Clock {
 public:
  Now Read() const override {
    ++reads;
    return now;
  }

  void Pass(Nanos by) {
    now.mono += by;
    now.wall += by;
  }

  Now now{Instant(hours(1)), WallTime(hours(24) * 365 * 50)};
  mutable std::atomic<uint64_t> reads =
      0;  ///< each hold of a lock in which something changes reads it once
};

/// A poller under a manual clock: time stands still until Advance, and timers run when told.
class Table {
 public:
  explicit Table(Poller::Options options = {}, Journal* journal = nullptr)
      : poller_(options, clock_, journal, [this](Instant at) { alarms_.push_back(at); }) {}

  Poller& poller() { return poller_; }
  ManualClock& clock() { return clock_; }
  const Now& now() const { return clock_.now; }
  std::vector<Instant>& alarms() { return alarms_; }

  /// Moves both clocks, without running timers.
  void Pass(Nanos by) { clock_.Pass(by); }

  /// Moves both clocks, then runs every timer that is due.
  void Advance(Nanos by) {
    Pass(by);
    RunTimers();
  }

  void RunTimers() {
    while (poller_.RunTimers() <= now().mono) {
    }
  }

  /// Steps the wall clock alone.
  void StepWall(Nanos by) { clock_.now.wall += by; }

  Result<OpenResult> Open(const OpenArgs& args) {
    return Ask<OpenCall>([&](auto& call) { poller_.Open(now().mono, args, call); });
  }
  Result<OpenResult> Open(std::string_view name, Kind kind = Kind::kExclusive) {
    OpenArgs args{.name = name};
    args.options.kind = kind;
    return Open(args);
  }
  Result<CloseResult> Close(std::string_view name, uint64_t generation = 0) {
    return Close(CloseArgs{.name = name, .generation = generation});
  }
  Result<CloseResult> Close(const CloseArgs& args) {
    return Ask<CloseCall>([&](auto& call) { poller_.Close(now().mono, args, call); });
  }
  Result<ResetResult> Reset(std::string_view name, Mode mode = Mode::kRead) {
    return Reset(ResetArgs{.name = name, .mode = mode});
  }
  Result<ResetResult> Reset(const ResetArgs& args) {
    return Ask<ResetCall>([&](auto& call) { poller_.Reset(now().mono, args, call); });
  }
  Result<AckResult> Ack(const AckArgs& args) {
    return Ask<AckCall>([&](auto& call) { poller_.Ack(args, call); });
  }
  Result<ReadyResult> Ready(const ReadyArgs& args) {
    return Ask<ReadyCall>([&](auto& call) { poller_.Ready(now().mono, args, call); });
  }
  Result<ReadyResult> Ready(std::string_view name, Mode mode = Mode::kRead,
                            std::string_view data = "") {
    return Ready({.name = name, .mode = mode, .signal = data.empty() ? nullptr : Bytes(data)});
  }
  Result<SetDeadlineResult> SetDeadline(const SetDeadlineArgs& args) {
    return Ask<SetDeadlineCall>([&](auto& call) { poller_.SetDeadline(now().mono, args, call); });
  }
  Result<SetDeadlineResult> In(std::string_view name, Nanos timeout, Mode mode = Mode::kRead,
                               DeadlineCondition condition = DeadlineCondition::kAlways) {
    return SetDeadline({.name = name,
                        .mode = mode,
                        .what = SetDeadlineArgs::What::kTimeout,
                        .timeout = timeout,
                        .condition = condition});
  }
  Result<SetDeadlineResult> Clear(std::string_view name, Mode mode = Mode::kRead,
                                  DeadlineCondition condition = DeadlineCondition::kAlways) {
    return SetDeadline({.name = name,
                        .mode = mode,
                        .what = SetDeadlineArgs::What::kClear,
                        .condition = condition});
  }
  Result<DescriptorInfo> Get(std::string_view name) {
    return Ask<GetCall>([&](auto& call) { poller_.Get({name}, call); });
  }
  Result<ListResult> List(const ListArgs& args) {
    return Ask<ListCall>([&](auto& call) { poller_.List(args, call); });
  }

  /// Starts a wait; it may have ended when this returns.
  std::unique_ptr<TestWait> Wait(const WaitArgs& args) {
    auto call = std::make_unique<TestWait>();
    poller_.Wait(now().mono, args, *call);
    return call;
  }
  std::unique_ptr<TestWait> Wait(std::string_view name, Side side = Side::kRead) {
    return Wait({.name = name, .side = side});
  }
  std::unique_ptr<TestWait> Wait(std::string_view name, Nanos timeout) {
    return Wait({.name = name, .timeout = timeout});
  }
  std::unique_ptr<TestPoll> Poll(const PollArgs& args) {
    auto call = std::make_unique<TestPoll>();
    poller_.Poll(now().mono, args, *call);
    return call;
  }
  std::unique_ptr<TestPoll> Poll(std::vector<PollTarget> targets, uint32_t need = 1) {
    return Poll({.targets = std::move(targets), .need = need});
  }

  /// Tries: takes a READY that is there.
  WaitResult Try(std::string_view name, Side side = Side::kRead) {
    const auto call = Wait({.name = name, .side = side, .timeout = Nanos(0)});
    EXPECT_TRUE(call->done());
    return std::get<WaitResult>(call->result());
  }

 private:
  template <class C, class Start>
  Result<typename C::Answer> Ask(Start start) {
    Answered<C> call;
    start(call);
    if (!call.done()) RunTimers();  // it released more waits than one hold does
    EXPECT_TRUE(call.done());
    return std::move(call.result());
  }

  std::vector<Instant> alarms_;
  ManualClock clock_;
  Poller poller_;
};

template <class T>
const T& Ok(const Result<T>& result) {
  EXPECT_TRUE(std::holds_alternative<T>(result));
  return std::get<T>(result);
}

template <class T>
Reason ReasonOf(const Result<T>& result) {
  EXPECT_TRUE(std::holds_alternative<Refusal>(result));
  return std::get<Refusal>(result).reason;
}

/// A wait with an id.
inline WaitArgs WaitAs(std::string_view id, std::string_view name = "a",
                       Nanos sent_ago = Nanos(0)) {
  return {.name = name, .retry = {.id = id, .sent_ago = sent_ago}};
}

/// Acknowledges what that wait got.
inline AckArgs AckOf(const WaitResult& ready, std::string_view wait_id,
                     std::string_view name = "a") {
  return {.name = name,
          .side = ready.side,
          .wait_id = wait_id,
          .delivery = ready.delivery,
          .generation = ready.generation};
}

/// The result of a wait that must have ended with one; or why it was refused.
inline const WaitResult& ResultOf(const std::unique_ptr<TestWait>& wait) {
  EXPECT_TRUE(wait->done());
  return Ok(wait->result());
}
inline Reason RefusedAs(const std::unique_ptr<TestWait>& wait) {
  EXPECT_TRUE(wait->done());
  return ReasonOf(wait->result());
}

inline Counters Count(Table& t) { return t.poller().Count(); }

/// The outcome of a call that must have ended.
template <class C>
Outcome OutcomeOf(const C& call) {
  EXPECT_TRUE(call->done());
  return std::visit(
      [](const auto& result) {
        if constexpr (requires { result.outcome; }) {
          return result.outcome;
        } else {
          ADD_FAILURE() << "refused with reason " << static_cast<int>(result.reason);
          return Outcome::kCancelled;
        }
      },
      call->result());
}

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_FIXTURE_H_
