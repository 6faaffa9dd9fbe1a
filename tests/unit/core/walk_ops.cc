// The operations of a walk: how they are drawn, asked, retried.
#include <algorithm>

#include "core/shard.h"
#include "tests/unit/core/walk.h"

namespace waitd::core {
namespace {

Mode ModeOf(uint32_t n) {
  return n % 8 == 0 ? Mode::kReadWrite : n % 8 == 1 ? Mode::kWrite : Mode::kRead;
}
Side SideFor(uint32_t n) { return n % 4 == 0 ? Side::kWrite : Side::kRead; }

// Ids are few, so that they come again by themselves as well.
std::string IdFor(uint32_t n) {
  return n % 3 == 0 ? std::string() : "i" + std::to_string(n / 3 % 40);
}

template <class C>
C& CallIn(WalkCall& call) {
  return static_cast<WalkCallOf<C>&>(call).call;
}

std::string_view NameIn(const Prepared& of) {
  return std::visit(
      [](const auto& args) -> std::string_view {
        if constexpr (requires { args.targets; }) {
          return args.targets.front().name;
        } else {
          return args.name;
        }
      },
      of.args);
}

// One more of those that are run at once.
void AddTo(std::vector<Operation>& operations, Prepared& one) {
  const auto add = [&]<class A, class C>(const A& args, C& call) {
    operations.push_back(Op<A, C>{&args, &call});
  };
  if (const auto* const open = std::get_if<OpenArgs>(&one.args)) {
    add(*open, CallIn<OpenCall>(*one.call));
  } else if (const auto* const close = std::get_if<CloseArgs>(&one.args)) {
    add(*close, CallIn<CloseCall>(*one.call));
  } else if (const auto* const reset = std::get_if<ResetArgs>(&one.args)) {
    add(*reset, CallIn<ResetCall>(*one.call));
  } else if (const auto* const wait = std::get_if<WaitArgs>(&one.args)) {
    add(*wait, CallIn<WaitCall>(*one.call));
  } else if (const auto* const ready = std::get_if<ReadyArgs>(&one.args)) {
    add(*ready, CallIn<ReadyCall>(*one.call));
  } else if (const auto* const set = std::get_if<SetDeadlineArgs>(&one.args)) {
    add(*set, CallIn<SetDeadlineCall>(*one.call));
  } else if (const auto* const poll = std::get_if<PollArgs>(&one.args)) {
    add(*poll, CallIn<PollCall>(*one.call));
  } else if (const auto* const ack = std::get_if<AckArgs>(&one.args)) {
    add(*ack, CallIn<AckCall>(*one.call));
  }
}

}  // namespace

// None, negative, zero, or some seconds; no two instants are the same.
std::optional<Nanos> Walk::Timeout(uint32_t n) {
  if (n % 4 == 0) return std::nullopt;
  const int whole = static_cast<int>(n / 4 % 20) - 2;
  return whole <= 0 ? milliseconds(whole) : milliseconds(whole * 300) + Unique();
}

Instant Walk::Received(const WalkOp& op) const {
  return clock_.now.mono - (op.n[4] % 3 == 0 ? Nanos(op.n[3] % 5'000'000) : Nanos(0));
}

// Mostly none; else that of the name's life, or of another one.
uint64_t Walk::Generation(uint32_t n, const std::string& name) const {
  if (n % 8 != 0) return 0;
  const auto found = model_->descs().find(name);
  if (found == model_->descs().end()) return n % 16 == 0 ? 0 : kShards + ShardOf(name);
  return n % 64 == 0 ? found->second.generation + kShards : found->second.generation;
}

Asked Walk::Draw(const WalkOp& op) {
  Asked asked;
  asked.op = op;
  asked.id = IdFor(op.n[5] / 4);
  asked.generation = Generation(op.n[5] / 512, Name(op.n[0]));
  asked.at = clock_.now.wall + Timeout(op.n[2] | 1).value() * 2;
  asked.timeout = Timeout(op.n[2]);
  asked.first = Received(op);
  if (op.what != WalkOp::kAck || deliveries_.empty()) return asked;
  const Asked& from = deliveries_[op.n[0] % deliveries_.size()];
  asked.ack = from.ack;
  asked.ack_name = from.ack_name;
  asked.ack_id = from.ack_id;
  if (op.n[1] % 16 == 0) asked.ack->generation = 0;
  if (op.n[1] % 16 == 1) asked.ack_id += "x";
  if (op.n[1] % 16 == 2) ++asked.ack->delivery;
  return asked;
}

std::unique_ptr<Prepared> Walk::Prepare(Asked asked, Nanos sent_ago) {
  auto to = std::make_unique<Prepared>();
  to->asked = std::move(asked);
  const WalkOp& op = to->asked.op;
  for (uint32_t i = 0; i < to->names.size(); ++i)
    to->names[i] = Name(op.n[0] + i * (op.n[3] % 5 + 1));
  const uint32_t kind = op.n[1] / 8 % 4;
  if (kind < 3) to->open.kind = static_cast<Kind>(kind);
  if (op.n[1] / 32 % 4 == 0) to->open.idle_ttl = seconds(6);
  const Retry retry{.id = to->asked.id, .sent_ago = sent_ago, .caller = op.n[5] / 2 % 2};
  if (op.what == WalkOp::kPoll) {
    PreparePoll(*to, retry);
  } else {
    PrepareCall(*to, retry);
  }
  to->call->id = ++calls_;
  to->call->step = steps_;
  return to;
}

template <class C, class A>
void Walk::Make(Prepared& to, A args) {
  to.args = std::move(args);
  to.call = std::make_unique<WalkCallOf<C>>();
}

void Walk::PrepareCall(Prepared& to, const Retry& retry) {
  const Asked& asked = to.asked;
  const auto& n = asked.op.n;
  const std::string& name = to.names[0];
  const OpenOptions* const open = n[3] / 8 % 4 == 0 ? nullptr : &to.open;
  const bool acks = !asked.id.empty() && n[3] / 32 % 3 == 0;
  switch (asked.op.what) {
    case WalkOp::kOpen: {
      OpenArgs args{.name = name, .options = to.open, .must_create = n[3] % 8 == 0, .retry = retry};
      args.options.ephemeral = n[4] % 16 == 0;
      return Make<OpenCall>(to, std::move(args));
    }
    case WalkOp::kClose:
      return Make<CloseCall>(
          to, CloseArgs{.name = name, .generation = asked.generation, .retry = retry});
    case WalkOp::kReset:
      return Make<ResetCall>(
          to,
          ResetArgs{
              .name = name, .mode = ModeOf(n[1]), .generation = asked.generation, .retry = retry});
    case WalkOp::kWait: {
      WaitArgs args{.name = name, .side = SideFor(n[1]), .generation = asked.generation};
      args.timeout = asked.timeout;
      args.ignore_deadline = n[3] % 8 == 0;
      args.open_if_missing = open;
      if (acks) args.ack_timeout = milliseconds(n[4] % 4000 + 1);
      args.retry = retry;
      return Make<WaitCall>(to, args);
    }
    case WalkOp::kReady: {
      ReadyArgs args{.name = name, .mode = ModeOf(n[1]), .generation = asked.generation};
      args.signal = Bytes("s" + std::to_string(n[2] % 1000));
      args.condition = static_cast<ReadyCondition>(n[3] % 5 < 3 ? 0 : n[3] % 5 - 2);
      args.open_if_missing = open;
      args.retry = retry;
      return Make<ReadyCall>(to, std::move(args));
    }
    case WalkOp::kSet: {
      SetDeadlineArgs args{.name = name, .mode = ModeOf(n[1]), .generation = asked.generation};
      args.what = !asked.timeout  ? SetDeadlineArgs::What::kClear
                  : n[3] % 4 == 0 ? SetDeadlineArgs::What::kAt
                                  : SetDeadlineArgs::What::kTimeout;
      args.timeout = asked.timeout.value_or(Nanos(0));
      args.at = asked.at;
      args.condition = static_cast<DeadlineCondition>(n[4] % 8 < 4 ? 0 : n[4] % 4);
      args.open_if_missing = open;
      args.retry = retry;
      return Make<SetDeadlineCall>(to, args);
    }
    case WalkOp::kAck:
      if (asked.ack.has_value()) {
        AckArgs args = *asked.ack;
        args.name = asked.ack_name;
        args.wait_id = asked.ack_id;
        args.caller = retry.caller;
        return Make<AckCall>(to, args);
      }
      [[fallthrough]];
    default:
      return Make<GetCall>(to, GetArgs{name});
  }
}

void Walk::PreparePoll(Prepared& to, const Retry& retry) {
  const auto& n = to.asked.op.n;
  PollArgs args;
  const uint32_t targets = n[1] % 4 == 0 ? 1 : n[1] % 4 + 1;
  for (uint32_t i = 0; i < targets; ++i) {
    args.targets.push_back({to.names[i], SideFor(n[2] / 64 + i), i == 0 ? to.asked.generation : 0});
  }
  args.need = n[4] % 8 == 0 ? targets : n[4] % (targets + 1);
  if (n[4] % 64 == 1) args.need = targets + 1;
  args.timeout = to.asked.timeout;
  args.open_if_missing = n[3] / 8 % 3 == 0 ? nullptr : &to.open;
  if (!to.asked.id.empty() && n[3] / 32 % 3 == 0) {
    args.ack_timeout = milliseconds(n[4] % 4000 + 1);
  }
  args.retry = retry;
  Make<PollCall>(to, std::move(args));
}

// Both are asked, first the poller.
void Walk::Keep(std::unique_ptr<Prepared> prepared, Instant received) {
  Prepared& asked = *open_.emplace_back(std::move(prepared));
  if (asked.asked.op.what != WalkOp::kAck && asked.asked.op.what != WalkOp::kGet) {
    asked_.push_back(asked.asked);
    if (asked_.size() > 24) asked_.pop_front();
  }
  story_ += "    " + Text(asked) + '\n';
  Ask(asked, received);
  AskModel(asked, received);
}

void Walk::Ask(Prepared& to, Instant received) {
  Poller& p = *poller_;
  WalkCall& call = *to.call;
  std::visit(
      [&](const auto& args) {
        using A = std::decay_t<decltype(args)>;
        if constexpr (std::is_same_v<A, OpenArgs>) p.Open(received, args, CallIn<OpenCall>(call));
        if constexpr (std::is_same_v<A, CloseArgs>)
          p.Close(received, args, CallIn<CloseCall>(call));
        if constexpr (std::is_same_v<A, ResetArgs>)
          p.Reset(received, args, CallIn<ResetCall>(call));
        if constexpr (std::is_same_v<A, WaitArgs>) p.Wait(received, args, CallIn<WaitCall>(call));
        if constexpr (std::is_same_v<A, ReadyArgs>)
          p.Ready(received, args, CallIn<ReadyCall>(call));
        if constexpr (std::is_same_v<A, SetDeadlineArgs>) {
          p.SetDeadline(received, args, CallIn<SetDeadlineCall>(call));
        }
        if constexpr (std::is_same_v<A, PollArgs>) p.Poll(received, args, CallIn<PollCall>(call));
        if constexpr (std::is_same_v<A, AckArgs>) p.Ack(args, CallIn<AckCall>(call));
        if constexpr (std::is_same_v<A, GetArgs>) p.Get(args, CallIn<GetCall>(call));
      },
      to.args);
}

void Walk::AskModel(const Prepared& to, Instant received) {
  Model& m = *model_;
  const Model::CallId id = to.call->id;
  std::visit(
      [&](const auto& args) {
        using A = std::decay_t<decltype(args)>;
        if constexpr (std::is_same_v<A, OpenArgs>) m.Open(received, args, id);
        if constexpr (std::is_same_v<A, CloseArgs>) m.Close(received, args, id);
        if constexpr (std::is_same_v<A, ResetArgs>) m.Reset(received, args, id);
        if constexpr (std::is_same_v<A, WaitArgs>) m.Wait(received, args, id);
        if constexpr (std::is_same_v<A, ReadyArgs>) m.Ready(received, args, id);
        if constexpr (std::is_same_v<A, SetDeadlineArgs>) m.SetDeadline(received, args, id);
        if constexpr (std::is_same_v<A, PollArgs>) m.Poll(received, args, id);
        if constexpr (std::is_same_v<A, AckArgs>) m.Ack(args, id);
        if constexpr (std::is_same_v<A, GetArgs>) m.Get(args.name, id);
      },
      to.args);
  to.call->parked = m.IsParked(id);
}

// An operation of before with its id again; now and then it asks for something else, or is said to
// have been sent long ago.
void Walk::DoRetry(const WalkOp& op) {
  if (asked_.empty()) return;
  Asked again = asked_[op.n[0] % asked_.size()];
  if (again.id.empty()) return;
  Nanos sent_ago = std::max(Received(op) - again.first, Nanos(0));
  if (op.n[1] % 16 == 0) again.op.n[1] += 8;
  if (op.n[1] % 16 == 1) sent_ago += seconds(op.n[2] % 40);
  if (op.n[1] % 16 == 2) again.id += "y";
  Keep(Prepare(std::move(again), sent_ago), Received(op));
}

// A parked call is cancelled, or its client goes.
void Walk::DoParked(const WalkOp& op) {
  std::vector<Prepared*> parked;
  for (const auto& each : open_) {
    if (each->call->parked) parked.push_back(each.get());
  }
  if (parked.empty()) return;
  const Prepared& of = *parked[op.n[0] % parked.size()];
  WalkCall& call = *of.call;
  model_->Begin(SetOf(ShardOf(NameIn(of))));  // also when it has ended, and is not saved
  if (op.what == WalkOp::kCancel) {
    call.Cancel(*poller_);
    model_->Cancel(call.id);
  } else {
    call.Abandon(*poller_);
    model_->Abandon(call.id);
  }
}

// An answer with signals was never written. Each is told of once.
void Walk::DoUnwritten(const WalkOp& op) {
  if (answered_.empty()) return;
  const size_t at = answered_.size() - 1 - op.n[0] % answered_.size() % 4;
  const std::unique_ptr<Prepared> lost = std::move(answered_[at]);
  answered_.erase(answered_.begin() + static_cast<long>(at));
  const Nanos linger = op.n[1] % 3 == 0 ? Nanos(0) : milliseconds(op.n[1] % 3000) + Unique();
  lost->call->Unwritten(*poller_, linger);
  model_->Unwritten(*lost->call->expected, linger);
}

// Several operations at once: those of one shard in their order, shard by shard, between two polls.
void Walk::DoRun(const WalkOp& op) {
  std::vector<Prepared*> all;
  std::vector<Operation> operations;
  const Instant received = Received(op);
  for (uint32_t i = 0; i < op.n[0] % 5 + 2; ++i) {
    WalkOp one = op;
    for (uint32_t j = 0; j < one.n.size(); ++j) one.n[j] = op.n[(i + j) % 6] * (2 * i + 3) + i + j;
    one.what = static_cast<WalkOp::What>(one.n[5] % (WalkOp::kAck + 1));
    if (one.what == WalkOp::kAck && deliveries_.empty()) continue;
    Asked asked = Draw(one);
    asked.first = received;
    all.push_back(open_.emplace_back(Prepare(std::move(asked), Nanos(0))).get());
    story_ += "    " + Text(*all.back()) + '\n';
    AddTo(operations, *all.back());
  }
  poller_->Run(received, operations);
  for (auto from = all.begin(); from != all.end();) {
    const auto is_poll = [](const Prepared* each) {
      return std::holds_alternative<PollArgs>(each->args);
    };
    const auto poll = std::find_if(from, all.end(), is_poll);
    std::stable_sort(from, poll, [](const Prepared* a, const Prepared* b) {
      return ShardOf(NameIn(*a)) < ShardOf(NameIn(*b));
    });
    for (; from != poll; ++from) AskModel(**from, received);
    model_->MakeRoom();
    if (poll == all.end()) break;
    AskModel(**poll, received);
    model_->MakeRoom();
    ++from;
  }
}

}  // namespace waitd::core
