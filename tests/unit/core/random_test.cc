// Goal: whatever is done, in whatever order, at whatever time, the poller does what the plain model
// says. Method: seeded random operations, cancels and clock steps against both, compared after each
// step; a failure prints its seed and the shortest history that still fails.
#include <deque>
#include <random>
#include <sstream>

#include "tests/unit/core/fixture.h"
#include "tests/unit/core/model.h"

namespace waitd::core {
namespace {

constexpr Nanos kMaxWait = seconds(40);

// One step, drawn once, so that it is the same step in a shorter history.
struct Op {
  enum What { kOpen, kClose, kReset, kWait, kReady, kSet, kPoll, kCancel, kPass, kRun } what;
  uint32_t a, b, c, d;
};

std::string Name(uint32_t n) { return "n" + std::to_string(n % 5); }
Mode ModeOf(uint32_t n) { return static_cast<Mode>(n % 3 + 1); }
Side SideOf(uint32_t n) { return n % 4 == 0 ? Side::kWrite : Side::kRead; }

// None, negative, zero, or some seconds and nanoseconds, so that no two instants are the same.
std::optional<Nanos> TimeoutOf(uint32_t n) {
  if (n % 4 == 0) return std::nullopt;
  const int whole = static_cast<int>(n / 4 % 12) - 1;
  return whole <= 0 ? seconds(whole) : seconds(whole) + Nanos(n);
}

std::string Print(const std::vector<Op>& ops) {
  constexpr const char* kNames[] = {"open", "close", "reset",  "wait", "ready",
                                    "set",  "poll",  "cancel", "pass", "run"};
  std::ostringstream text;
  for (const Op& op : ops) {
    text << "  " << kNames[op.what] << ' ' << Name(op.a) << ' ' << op.b << ' ' << op.c << ' '
         << op.d << '\n';
  }
  return text.str();
}

// Both tables, step by step.
class Both {
 public:
  Both() : table_(Options()), model_(kMaxWait) { model_.Pass(table_.now().mono); }

  ~Both() {
    table_.poller().RefuseWaits();
    table_.poller().EndWaits(table_.now());
  }

  // What differs after the step; empty: nothing.
  std::string Step(const Op& op) {
    wrong_.str("");
    Do(op);
    // Whatever the step did not touch happens by its timer.
    if (op.what != Op::kPass) table_.RunTimers();
    if (op.what != Op::kPass) Compare();
    return wrong_.str();
  }

 private:
  struct Call {
    std::unique_ptr<TestWait> wait;
    std::unique_ptr<TestPoll> poll;
    std::shared_ptr<Model::Waiting> model;
  };

  static Poller::Options Options() {
    Poller::Options options;
    options.max_wait = kMaxWait;
    return options;
  }

  template <class T>
  void Same(const char* what, const T& real, const T& model) {
    if (real == model) return;
    wrong_ << what << " is ";
    if constexpr (requires { wrong_ << real; }) {
      wrong_ << real << ", not " << model;
    } else if constexpr (requires { real.count(); }) {
      wrong_ << real.count() << ", not " << model.count();
    } else {
      wrong_ << static_cast<int>(real) << ", not " << static_cast<int>(model);
    }
    wrong_ << '\n';
  }

  // Whether the name is open to both; where they differ, it is said.
  template <class R, class M>
  bool BothOpen(const Result<R>& real, const std::optional<M>& model) {
    Same("answered", std::holds_alternative<R>(real), model.has_value());
    return std::holds_alternative<R>(real) && model.has_value();
  }

  void Do(const Op& op) {
    const std::string name = Name(op.a);
    if (op.what != Op::kPass) model_.Pass(table_.now().mono);
    switch (op.what) {
      case Op::kOpen: {
        const Kind kind = static_cast<Kind>(op.b % 3);
        Same("open", std::holds_alternative<OpenResult>(table_.Open(name, kind)),
             model_.Open(name, kind));
        break;
      }
      case Op::kClose: {
        const auto real = table_.Close(name);
        const auto model = model_.Close(name);
        if (BothOpen(real, model)) Same("woken by close", Ok(real).woken, *model);
        break;
      }
      case Op::kReset: {
        const auto real = table_.Reset(name, ModeOf(op.b));
        const auto model = model_.Reset(name, ModeOf(op.b));
        if (!BothOpen(real, model)) break;
        Same("reset", Ok(real).reset, model->reset);
        Same("forgot", Ok(real).forgot, model->forgot);
        break;
      }
      case Op::kWait: {
        const bool ignore = op.d % 5 == 0;
        Call& call = calls_.emplace_back();
        call.wait = table_.Wait({.name = name,
                                 .side = SideOf(op.b),
                                 .timeout = TimeoutOf(op.c),
                                 .ignore_deadline = ignore});
        call.model = model_.Wait(name, SideOf(op.b), TimeoutOf(op.c), ignore);
        break;
      }
      case Op::kReady: {
        const auto condition = static_cast<ReadyCondition>(op.c % 5 < 3 ? 0 : op.c % 5 - 2);
        const std::string data = "d" + std::to_string(op.d % 100);
        const auto real = table_.Ready(
            {.name = name, .mode = ModeOf(op.b), .signal = Bytes(data), .condition = condition});
        const auto model = model_.Ready(name, ModeOf(op.b), data, condition);
        if (!BothOpen(real, model)) break;
        Same("ready's effect", Ok(real).effect, model->effect);
        Same("woken by ready", Ok(real).woken, model->woken);
        Same("expired", Ok(real).expired, model->expired);
        break;
      }
      case Op::kSet:
        DoSet(op, name);
        break;
      case Op::kPoll: {
        std::vector<std::string> names;
        for (uint32_t i = 0; i < op.b % 3 + 1; ++i) names.push_back(Name(op.a + i));
        std::vector<PollTarget> targets;
        for (const std::string& each : names) targets.push_back({each, SideOf(op.c)});
        const uint32_t need = op.d % static_cast<uint32_t>(names.size()) + 1;
        Call& call = calls_.emplace_back();
        const auto timeout = TimeoutOf(op.d / 3);
        call.poll = table_.Poll({.targets = targets, .need = need, .timeout = timeout});
        call.model = model_.Poll(targets, need, timeout);
        break;
      }
      case Op::kCancel: {
        if (calls_.empty()) break;
        Call& call = calls_[op.a % calls_.size()];
        if (call.wait) {
          table_.poller().Cancel(table_.now(), *call.wait);
        } else {
          table_.poller().Cancel(table_.now(), *call.poll);
        }
        model_.Cancel(*call.model);
        break;
      }
      case Op::kPass:
        Pass(milliseconds(op.b % 6000));
        break;
      case Op::kRun:
        break;
    }
  }

  // No timer runs before the next step: what that touches is settled by it. But a poll's targets
  // are settled each by itself, so that with a poll parked time passes from event to event.
  void Pass(Nanos by) {
    const Instant end = table_.now().mono + by;
    while (model_.polls() && table_.now().mono < end) {
      table_.Pass(model_.NextDue(end) - table_.now().mono);
      model_.Pass(table_.now().mono);
      table_.RunTimers();
    }
    table_.Pass(end - table_.now().mono);
  }

  void DoSet(const Op& op, const std::string& name) {
    std::optional<Nanos> timeout = TimeoutOf(op.c);
    const auto condition = static_cast<DeadlineCondition>(op.d % 8 < 5 ? 0 : op.d % 8 - 4);
    if (condition == DeadlineCondition::kArmOrExtend && timeout.value_or(Nanos(0)) <= Nanos(0)) {
      return;  // BAD_TIME, which has a test of its own
    }
    const auto real = timeout ? table_.In(name, *timeout, ModeOf(op.b), condition)
                              : table_.Clear(name, ModeOf(op.b), condition);
    const auto model = model_.SetDeadline(name, ModeOf(op.b), timeout, condition);
    if (!BothOpen(real, model)) return;
    Same("applied", Ok(real).applied, model->applied);
    Same("woken by the deadline", Ok(real).woken, model->woken);
    for (const size_t i : {0, 1}) {
      Same("the deadline's effect", Ok(real).effect[i], model->effect[i]);
    }
  }

  void Compare() {
    uint32_t parked = 0;
    for (size_t i = 0; i < calls_.size();) {
      Call& call = calls_[i];
      const bool done = call.wait ? call.wait->done() : call.poll->done();
      Same("call over", done, call.model->over || call.model->refused.has_value());
      if (!wrong_.str().empty()) return;
      if (!done) {
        ++parked;
        ++i;
        continue;
      }
      if (call.wait) {
        CompareResult<WaitResult>(call.wait->result(), call.model->refused, call.model->result);
      } else {
        CompareResult<PollResult>(call.poll->result(), call.model->refused, call.model->polled);
      }
      std::swap(calls_[i], calls_.back());
      calls_.pop_back();
    }
    Same<uint64_t>("parked waits", table_.poller().waiters(), parked);
    for (uint32_t n = 0; n < 5; ++n) {
      const auto real = table_.Get(Name(n));
      const auto model = model_.descs.find(Name(n));
      const bool there = model != model_.descs.end();
      if (!BothOpen(real, there ? std::optional(model->second) : std::nullopt)) continue;
      for (const Side s : kSides) {
        const auto& shown = Ok(real).side[Index(s)];
        const Model::SideOf& side = model->second.sides[Index(s)];
        Same("ready", shown.state == SemaphoreState::kReady, side.ready);
        Same("deadline", shown.deadline.state, side.deadline.state);
        Same("waiters", shown.waiters, model_.Standing(Name(n), s));
      }
    }
  }

  template <class R>
  void CompareResult(const Result<R>& real, const std::optional<Reason>& refused, const R& model) {
    if (const auto* refusal = std::get_if<Refusal>(&real)) {
      if (!refused) {
        wrong_ << "refused with reason " << static_cast<int>(refusal->reason) << '\n';
      } else {
        Same("reason", refusal->reason, *refused);
      }
      return;
    }
    if (refused) {
      wrong_ << "not refused\n";
      return;
    }
    const R& result = std::get<R>(real);
    Same("outcome", result.outcome, model.outcome);
    Same("cause", result.cause, model.cause);
    Same("parked", result.parked, model.parked);
    Same("late", result.late, model.late);
    if constexpr (std::is_same_v<R, WaitResult>) {
      CompareTaken(result, model);
    } else {
      Same("targets", result.targets.size(), model.targets.size());
      if (result.targets.size() != model.targets.size()) return;
      for (size_t i = 0; i < result.targets.size(); ++i) {
        Same("target", result.targets[i].index, model.targets[i].index);
        Same("target's outcome", result.targets[i].result.outcome, model.targets[i].result.outcome);
        CompareTaken(result.targets[i].result, model.targets[i].result);
      }
    }
  }

  void CompareTaken(const WaitResult& real, const WaitResult& model) {
    if (real.outcome != Outcome::kReady) return;
    Same("signal", *real.signal, *model.signal);
    Same("delivery", real.delivery, model.delivery);
    Same("coalesced", real.coalesced, model.coalesced);
  }

  Table table_;
  Model model_;
  std::vector<Call> calls_;
  std::ostringstream wrong_;
};

std::string Fails(const std::vector<Op>& ops) {
  Both both;
  for (size_t i = 0; i < ops.size(); ++i) {
    const std::string wrong = both.Step(ops[i]);
    if (!wrong.empty()) return "at step " + std::to_string(i) + ": " + wrong;
  }
  return "";
}

// Leaves out what is not needed to fail, in ever smaller pieces.
std::vector<Op> Shrink(std::vector<Op> ops) {
  for (size_t piece = ops.size() / 2; piece > 0; piece /= 2) {
    for (size_t at = 0; at + piece <= ops.size();) {
      std::vector<Op> shorter = ops;
      shorter.erase(shorter.begin() + static_cast<long>(at),
                    shorter.begin() + static_cast<long>(at + piece));
      if (Fails(shorter).empty()) {
        at += piece;
      } else {
        ops = shorter;
      }
    }
  }
  return ops;
}

TEST(Random, AMillionStepsAgreeWithTheModel) {
#ifdef WAITD_UNDER_TSAN
  constexpr unsigned kHistories = 200;  // one thread: there is nothing for ThreadSanitizer to see
#else
  constexpr unsigned kHistories = 5000;
#endif
  constexpr int kSteps = 200;
  constexpr Op::What kMix[] = {Op::kOpen,   Op::kOpen, Op::kClose, Op::kReset, Op::kWait,
                               Op::kWait,   Op::kWait, Op::kWait,  Op::kReady, Op::kReady,
                               Op::kReady,  Op::kSet,  Op::kSet,   Op::kPoll,  Op::kPoll,
                               Op::kCancel, Op::kPass, Op::kPass,  Op::kPass,  Op::kRun};
  for (unsigned seed = 1; seed <= kHistories; ++seed) {
    std::mt19937 random(seed);
    std::vector<Op> ops;
    for (uint32_t n = 0; n < 5; ++n) {
      ops.push_back({Op::kOpen, n, static_cast<uint32_t>(random()), 0, 0});
    }
    for (int i = 0; i < kSteps; ++i) {
      const auto draw = [&] { return static_cast<uint32_t>(random() & 0xFFFF); };
      const Op::What what = kMix[random() % std::size(kMix)];
      ops.push_back({what, draw(), draw(), draw(), draw()});
    }
    const std::string wrong = Fails(ops);
    if (wrong.empty()) continue;
    const std::vector<Op> shortest = Shrink(ops);
    FAIL() << "seed " << seed << ' ' << wrong << "\nshortest history, " << Fails(shortest) << '\n'
           << Print(shortest);
  }
}

}  // namespace
}  // namespace waitd::core
