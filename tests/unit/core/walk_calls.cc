// How the answers of the poller and of the model are compared, and steps printed.
#include "tests/unit/core/walk_calls.h"

#include <sstream>

namespace waitd::core {
namespace {

class Comparison {
 public:
  explicit Comparison(bool again) : again_(again) {}

  std::string text() const { return text_.str(); }

  template <class T>
  void Same(const char* what, const T& real, const T& model) {
    if (real == model) return;
    text_ << what << " is " << Number(real) << ", not " << Number(model) << "; ";
  }

  void Compare(const Refusal& real, const Refusal& model) {
    Same("reason", real.reason, model.reason);
  }
  void Compare(const WaitResult& real, const WaitResult& model) {
    CompareEnd(real, model);
    Same("side", real.side, model.side);
    Same("generation", real.generation, model.generation);
    if (real.outcome == Outcome::kReady) CompareSignal(real, model);
  }
  void Compare(const PollResult& real, const PollResult& model) {
    CompareEnd(real, model);
    Same("targets", real.targets.size(), model.targets.size());
    for (size_t i = 0; i < std::min(real.targets.size(), model.targets.size()); ++i) {
      Same("index", real.targets[i].index, model.targets[i].index);
      const WaitResult one = real.targets[i].result(real.parked);
      const WaitResult other = model.targets[i].result(model.parked);
      Same("target's outcome", one.outcome, other.outcome);
      Same("target's cause", one.cause, other.cause);
      Same("target's generation", one.generation, other.generation);
      if (one.outcome == Outcome::kReady) CompareSignal(one, other);
    }
  }
  void Compare(const OpenResult& real, const OpenResult& model) {
    Same("created", real.created, model.created);
    Same("decided", real.decided.time_since_epoch(), model.decided.time_since_epoch());
    Compare(real.descriptor, model.descriptor);
  }
  void Compare(const CloseResult& real, const CloseResult& model) {
    Same("woken", real.woken, model.woken);
  }
  void Compare(const ResetResult& real, const ResetResult& model) {
    Same("reset", real.reset, model.reset);
    Same("forgot", real.forgot, model.forgot);
  }
  void Compare(const ReadyResult& real, const ReadyResult& model) {
    Same("effect", real.effect, model.effect);
    Same("woken", real.woken, model.woken);
    Same("generation", real.generation, model.generation);
    Same("expired", real.expired, model.expired);
  }
  void Compare(const SetDeadlineResult& real, const SetDeadlineResult& model) {
    Same("applied", real.applied, model.applied);
    Same("woken", real.woken, model.woken);
    Same("generation", real.generation, model.generation);
    for (const Side s : kSides) {
      Same("effect", real.effect[Index(s)], model.effect[Index(s)]);
      Compare(real.deadline[Index(s)], model.deadline[Index(s)]);
    }
  }
  void Compare(const AckResult& /*real*/, const AckResult& /*model*/) {}
  void Compare(const DescriptorInfo& real, const DescriptorInfo& model) {
    Same("kind", real.kind, model.kind);
    Same("generation", real.generation, model.generation);
    Same("ephemeral", real.ephemeral, model.ephemeral);
    Same("idle_ttl", real.idle_ttl, model.idle_ttl);
    for (const Side s : kSides) {
      const auto& one = real.side[Index(s)];
      const auto& other = model.side[Index(s)];
      Same("state", one.state, other.state);
      Same("waiters", one.waiters, other.waiters);
      Same("payload_bytes", one.payload_bytes, other.payload_bytes);
      Same("unacked", one.unacked, other.unacked);
      Same("returned", one.returned, other.returned);
      Compare(one.deadline, other.deadline);
    }
  }

 private:
  template <class T>
  static auto Number(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<int>(value);
    } else if constexpr (requires { value.count(); }) {
      return value.count();
    } else {
      return value;
    }
  }

  void Compare(const Deadline& real, const Deadline& model) {
    Same("deadline", real.state, model.state);
    if (model.state != Deadline::State::kNone) {
      Same("deadline's instant", real.at.time_since_epoch(), model.at.time_since_epoch());
    }
  }

  // What is due and nobody looked at is decided later by the one or the other: the instant by which
  // it was due is the same, and an answer that is repeated.
  template <class R>
  void CompareEnd(const R& real, const R& model) {
    Same("outcome", real.outcome, model.outcome);
    Same("cause", real.cause, model.cause);
    if (real.late < Nanos(0) || real.parked < Nanos(0)) text_ << "negative time; ";
    if (again_) {
      Same("parked", real.parked, model.parked);
      Same("late", real.late, model.late);
    } else if (real.cause != TimeoutCause::kMaxWait) {
      Same("time until it was due", real.parked - real.late, model.parked - model.late);
    }
  }

  void CompareSignal(const WaitResult& real, const WaitResult& model) {
    Same("signal", *real.signal, *model.signal);
    Same("coalesced", real.coalesced, model.coalesced);
    Same("attempt", real.attempt, model.attempt);
    Same("delivery", real.delivery, model.delivery);
    Same("ready_time", real.ready_time.time_since_epoch(), model.ready_time.time_since_epoch());
  }

  const bool again_;
  std::ostringstream text_;
};

constexpr const char* kWhats[] = {
    "open",   "close",   "reset",     "wait", "ready", "set",  "poll",   "ack",  "get",   "retry",
    "cancel", "abandon", "unwritten", "run",  "pass",  "back", "timers", "save", "crash", "full"};
static_assert(std::size(kWhats) == WalkOp::kWhats);

constexpr const char* kAnswers[] = {"refusal", "wait",  "poll", "open", "close",
                                    "reset",   "ready", "set",  "ack",  "get"};
static_assert(std::size(kAnswers) == std::variant_size_v<AnyAnswer>);

}  // namespace

std::string Differs(const AnyAnswer& real, const AnyAnswer& model, bool again) {
  if (real.index() != model.index()) {
    std::string text =
        std::string("a ") + kAnswers[real.index()] + ", not a " + kAnswers[model.index()] + "; ";
    for (const AnyAnswer* each : {&real, &model}) {
      if (const auto* const refusal = std::get_if<Refusal>(each)) {
        text += "for reason " + std::to_string(static_cast<int>(refusal->reason)) + "; ";
      }
    }
    return text;
  }
  Comparison comparison(again);
  std::visit(
      [&](const auto& one) {
        comparison.Compare(one, std::get<std::decay_t<decltype(one)>>(model));
      },
      real);
  return comparison.text();
}

std::string DiffersFromAnEnd(const AnyAnswer& real) {
  const auto* const poll = std::get_if<PollResult>(&real);
  if (poll == nullptr) return "not the end of a poll";
  const bool ended = poll->outcome == Outcome::kTimedOut || poll->outcome == Outcome::kClosed;
  return ended ? "" : "the poll did not end so";
}

std::string Text(const WalkOp& op) {
  std::string text = kWhats[op.what];
  for (const uint32_t n : op.n) text += ' ' + std::to_string(n);
  return text;
}

namespace {

// What all operations have, and then what is of its own.
class Sentence {
 public:
  explicit Sentence(std::string verb) : text_(std::move(verb)) {}

  template <class T>
  Sentence& Add(const char* what, const T& value) {
    text_ += std::string(" ") + what + '=';
    if constexpr (std::is_enum_v<T>) {
      text_ += std::to_string(static_cast<int>(value));
    } else if constexpr (requires { value.has_value(); }) {
      text_ += value.has_value() ? std::to_string(value->count()) : "-";
    } else if constexpr (requires { value.count(); }) {
      text_ += std::to_string(value.count());
    } else if constexpr (std::is_arithmetic_v<T>) {
      text_ += std::to_string(value);
    } else {
      text_ += value;
    }
    return *this;
  }
  Sentence& Add(const Retry& retry) {
    if (retry.id.empty()) return *this;
    return Add("id", retry.id).Add("caller", retry.caller).Add("sent_ago", retry.sent_ago);
  }
  Sentence& Add(const OpenOptions* open) {
    if (open == nullptr) return *this;
    return Add("opens", open->kind ? static_cast<int>(*open->kind) : -1).Add("ttl", open->idle_ttl);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

Sentence Say(const OpenArgs& args) {
  Sentence said("open");
  return said.Add("name", args.name).Add("create", args.must_create).Add(&args.options);
}
Sentence Say(const CloseArgs& args) {
  return Sentence("close").Add("name", args.name).Add("generation", args.generation);
}
Sentence Say(const ResetArgs& args) {
  return Sentence("reset").Add("name", args.name).Add("mode", args.mode);
}
Sentence Say(const WaitArgs& args) {
  return Sentence("wait")
      .Add("name", args.name)
      .Add("side", args.side)
      .Add("generation", args.generation)
      .Add("timeout", args.timeout)
      .Add("ignores", args.ignore_deadline)
      .Add("acks", args.ack_timeout)
      .Add(args.open_if_missing);
}
Sentence Say(const ReadyArgs& args) {
  return Sentence("ready")
      .Add("name", args.name)
      .Add("mode", args.mode)
      .Add("generation", args.generation)
      .Add("signal", *args.signal)
      .Add("condition", args.condition)
      .Add(args.open_if_missing);
}
Sentence Say(const SetDeadlineArgs& args) {
  return Sentence("set")
      .Add("name", args.name)
      .Add("mode", args.mode)
      .Add("generation", args.generation)
      .Add("what", args.what)
      .Add("timeout", args.timeout)
      .Add("condition", args.condition)
      .Add(args.open_if_missing);
}
Sentence Say(const PollArgs& args) {
  Sentence said("poll");
  for (const PollTarget& target : args.targets) {
    said.Add("name", target.name).Add("side", target.side).Add("generation", target.generation);
  }
  return said.Add("need", args.need)
      .Add("timeout", args.timeout)
      .Add("acks", args.ack_timeout)
      .Add(args.open_if_missing);
}
Sentence Say(const AckArgs& args) {
  return Sentence("ack")
      .Add("name", args.name)
      .Add("id", args.wait_id)
      .Add("number", args.delivery);
}
Sentence Say(const GetArgs& args) { return Sentence("get").Add("name", args.name); }

}  // namespace

std::string Text(const Prepared& prepared) {
  return std::visit(
      [](const auto& args) {
        Sentence said = Say(args);
        if constexpr (requires { args.retry; }) said.Add(args.retry);
        return said.text();
      },
      prepared.args);
}

std::string Text(const AnyAnswer& answer) {
  Sentence said(kAnswers[answer.index()]);
  if (const auto* const refusal = std::get_if<Refusal>(&answer)) {
    said.Add("reason", refusal->reason);
  } else if (const auto* const wait = std::get_if<WaitResult>(&answer)) {
    said.Add("outcome", wait->outcome).Add("cause", wait->cause).Add("late", wait->late);
  } else if (const auto* const poll = std::get_if<PollResult>(&answer)) {
    said.Add("outcome", poll->outcome).Add("cause", poll->cause).Add("late", poll->late);
  } else if (const auto* const ready = std::get_if<ReadyResult>(&answer)) {
    said.Add("effect", ready->effect).Add("woken", ready->woken);
  }
  for (const WaitResult& each : SignalsIn(answer)) {
    said.Add("generation", each.generation)
        .Add("number", each.delivery)
        .Add("signal", *each.signal);
  }
  return said.text();
}

}  // namespace waitd::core
