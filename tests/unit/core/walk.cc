// The steps of a walk that are no operations, and what is compared.
#include "tests/unit/core/walk.h"

#include <algorithm>
#include <numeric>

#include "core/shard.h"

namespace waitd::core {
namespace {

constexpr size_t kNames = 6;
constexpr size_t kKept = 24;  // of each of the last things

std::vector<std::string> NamesFor(bool one_shard) {
  std::vector<std::string> names;
  for (size_t i = 0; i < kNames; ++i) {
    names.push_back((one_shard ? "{k}n" : i % 3 == 0 ? "{a}n" : "n") + std::to_string(i));
  }
  return names;
}

template <class T>
void KeepSome(std::deque<T>& list) {
  if (list.size() > kKept) list.pop_front();
}

}  // namespace

Walk::World::World(uint32_t seed)
    : one_shard(seed % 2 == 0),
      journal(seed / 2 % 2 == 0),
      fails(seed / 8 % 2 == 0),
      pieces(seed / 16 % 2 == 0) {
  options.max_wait = seconds(15);
  options.default_idle_ttl = seed % 3 == 0 ? kForever : seconds(9);
  options.linger = seconds(3);
  options.retention = seconds(20);
  options.unwritten_for = seconds(5);
  if (pieces) options.units_max = 5;  // as many as a poll has targets
  if (seed / 4 % 2 != 0) return;
  options.max_waiters = 7;
  options.max_descriptors = 4;
  options.max_deliveries = 6;
  options.max_deliveries_of_side = 2;
  if (one_shard) options.max_outcomes = 12;
}

Walk::Walk(const World& world, Model::Seen& seen)
    : world_(world), seen_(seen), names_(NamesFor(world.one_shard)) {
  Begin();
  Pass(seconds(1));
}

Walk::~Walk() = default;

// A poller begins with what is on the disk, and the model with what it had when that was collected.
void Walk::Begin() {
  const bool fresh = disk_.shards.empty();
  journal_.dirty = 0;
  saving_ = Saving::kIdle;
  poller_ = std::make_unique<Poller>(world_.options, clock_, world_.journal ? &journal_ : nullptr,
                                     nullptr);
  disk_.Restore(*poller_);
  model_ = std::make_unique<Model>(world_.options, seen_);
  model_->SetClock(clock_.now);
  model_->Restore(stored_, fresh);
  for (Model::Stored& each : stored_) each.step = 0;
  full_ = false;
}

std::string Walk::Step(const WalkOp& op) {
  wrong_.str("");
  ++steps_;
  story_ += "  " + std::to_string(steps_) + ' ' + Text(op) + '\n';
  Do(op);
  model_->MakeRoom();
  TakeAnswers();
  // In one shard nothing is left for other holds, unless in pieces: the timers may come later.
  if (!world_.one_shard || world_.pieces || op.n[5] % 4 != 0) {
    if (op.what != WalkOp::kPass || op.n[5] % 2 == 0) RunTimers();
  }
  return wrong_.str();
}

void Walk::Do(const WalkOp& op) {
  // Nothing of two steps is due at one instant, but a step may come exactly at one.
  if (!std::exchange(exact_, false)) clock_.Pass(Nanos(1));
  model_->SetClock(clock_.now);
  switch (op.what) {
    case WalkOp::kPass:
      return PassSome(op, milliseconds(op.n[1] % (op.n[0] % 3 == 0 ? 4000 : 300)));
    case WalkOp::kBack:
      if (world_.one_shard) Pass(-Nanos(op.n[0] % 5'000'000));
      return;
    case WalkOp::kTimers:
      return RunTimers();
    case WalkOp::kRun:
      // In pieces, which of two releases ends a poll depends on whose turn comes first.
      if (!world_.pieces) DoRun(op);
      return;
    case WalkOp::kRetry:
      return DoRetry(op);
    case WalkOp::kCancel:
    case WalkOp::kAbandon:
      return DoParked(op);
    case WalkOp::kUnwritten:
      return DoUnwritten(op);
    case WalkOp::kSave:
      if (op.n[0] % 8 == 0) return SaveAll();
      for (uint32_t i = 0; i < op.n[1] % 4 + 1; ++i) SavePiece();
      return;
    case WalkOp::kCrash:
      if (world_.journal && op.n[0] % 4 == 0) Crash(milliseconds(op.n[1] % 2000));
      return;
    case WalkOp::kFull:
      full_ = world_.journal && op.n[0] % 4 == 0;
      poller_->SetFull(full_);
      return model_->SetFull(full_);
    default:
      return Keep(Prepare(Draw(op), Nanos(0)), Received(op));
  }
}

void Walk::Pass(Nanos by) {
  clock_.Pass(by + Unique());
  model_->SetClock(clock_.now);
}

// What ends a poll of several shards is told in the order in which their timers run: with one
// parked, no two things are due at once there.
void Walk::PassSome(const WalkOp& op, Nanos by) {
  const Instant end = clock_.now.mono + by;
  if (world_.one_shard && op.n[2] % 2 == 0) {
    const Instant next = model_->NextInstant();
    exact_ = next > clock_.now.mono && next < end;
    if (exact_) clock_.Pass(next - clock_.now.mono);
    if (exact_) return model_->SetClock(clock_.now);
  }
  while (!world_.one_shard && model_->HasPolls() && wrong_.str().empty()) {
    const Instant next = model_->NextInstant();
    if (next > end) break;
    clock_.Pass(std::max(next - clock_.now.mono, Nanos(0)));
    model_->SetClock(clock_.now);
    if (op.n[5] % 2 != 0) return;  // it is due, and its timer has not run
    RunTimers();
  }
  if (clock_.now.mono < end) Pass(end - clock_.now.mono);
}

// Until nothing is due by the latest time of any shard, which may be a little ahead of the clock.
void Walk::RunTimers() {
  for (int i = 0; i < 2; ++i) {
    while (poller_->RunTimers() <= clock_.now.mono) {
    }
  }
  model_->RunTimers();
  TakeAnswers();
  if (!wrong_.str().empty()) return;
  for (const auto& each : open_) {
    if (!each->call->done()) continue;
    wrong_ << "the call of step " << each->call->step << " should go on, and has "
           << Text(each->call->answer()) << '\n';
  }
  if (!wrong_.str().empty()) return;
  const Counters counters = poller_->Count();
  const auto same = [&](const char* what, uint64_t real, uint64_t model) {
    if (real != model) wrong_ << what << " is " << real << ", not " << model << '\n';
  };
  same("names",
       std::accumulate(counters.descriptors.begin(), counters.descriptors.end(), uint64_t{0}),
       model_->descs().size());
  same("waiters", poller_->waiters(), model_->waiters());
  same("unacked", counters.unacked, model_->unacked());
  same("returned", counters.returned, model_->returned());
  same("outcomes", counters.outcomes, model_->outcomes());
  if (AllSaved()) CompareAtRest();
}

bool Walk::AllSaved() const { return saving_ == Saving::kIdle && journal_.dirty == 0; }

// What the model has answered, and what the poller has.
void Walk::TakeAnswers() {
  std::map<Model::CallId, ExpectedRef> answers = model_->TakeAnswers();
  for (const auto& each : open_) {
    const auto found = answers.find(each->call->id);
    if (found == answers.end()) continue;
    each->call->expected = found->second;
    story_ += "      step " + std::to_string(each->call->step) + " should have " +
              Text(found->second->answer) + '\n';
  }
  for (size_t i = 0; i < open_.size() && wrong_.str().empty();) {
    // One that is due and has been met has ended; the model sees to it when timers run.
    if (!open_[i]->call->done() || open_[i]->call->expected == nullptr) {
      ++i;
      continue;
    }
    std::unique_ptr<Prepared> ended = std::move(open_[i]);
    open_.erase(open_.begin() + static_cast<long>(i));
    Compare(*ended->call);
    NoteSignals(*ended);
    if (SignalsIn(ended->call->answer()).empty()) continue;
    answered_.push_back(std::move(ended));
    KeepSome(answered_);
  }
}

void Walk::Compare(WalkCall& call) {
  const AnyAnswer real = call.answer();
  story_ += "      step " + std::to_string(call.step) + " has " + Text(real) + '\n';
  const auto begin = [&]() -> std::ostream& {
    return wrong_ << "the call of step " << call.step << ": ";
  };
  std::string differs =
      call.expected->loose ? DiffersFromAnEnd(real) : Differs(real, call.expected->answer, false);
  std::optional<AnyAnswer>& first = *call.expected->first;
  if (differs.empty() && first.has_value()) differs = Differs(real, *first, true);
  first = real;
  if (!differs.empty()) begin() << differs << '\n';
  if (!world_.journal || call.expected->loose) return;
  for (const Expected::Need& need : call.expected->needs) {
    if (stored_[need.shard].step < need.step) {
      begin() << "is answered, and a crash could undo it: of shard " << need.shard << " step "
              << need.step << " is needed and " << stored_[need.shard].step << " stored\n";
      return;
    }
  }
}

void Walk::NoteSignals(const Prepared& ended) {
  const auto note = [&](const WaitResult& taken, const std::string& name) {
    Asked ack = ended.asked;
    ack.op.what = WalkOp::kAck;
    ack.ack_name = name;
    ack.ack_id = ended.asked.id;
    ack.ack = AckOf(taken, "");
    deliveries_.push_back(std::move(ack));
    KeepSome(deliveries_);
  };
  const AnyAnswer answer = ended.call->answer();
  if (ended.asked.id.empty()) return;
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) {
    if (wait->outcome == Outcome::kReady) note(*wait, ended.names[0]);
  } else if (const auto* const poll = std::get_if<PollResult>(&answer)) {
    for (const auto& target : poll->targets) {
      if (target.ready()) note(target.result(poll->parked), ended.names[target.index]);
    }
  }
}

// Everything is saved and nothing is due: no answer is missing, and both show the same.
void Walk::CompareAtRest() {
  for (const auto& each : open_) {
    if (each->call->expected == nullptr) continue;
    wrong_ << "the call of step " << each->call->step << " is not answered\n";
    return;
  }
  Answered<ListCall> list;
  poller_->List({}, list);
  if (!list.done()) {
    wrong_ << "a List waits for nothing\n";
    return;
  }
  const std::vector<DescriptorInfo>& real = std::get<ListResult>(list.result()).descriptors;
  const std::vector<DescriptorInfo> model = model_->List();
  if (real.size() != model.size()) {
    wrong_ << real.size() << " names are open, not " << model.size() << '\n';
    return;
  }
  for (size_t i = 0; i < real.size(); ++i) {
    const std::string differs =
        real[i].name != model[i].name ? "another name" : Differs(real[i], model[i], false);
    if (!differs.empty()) wrong_ << "of " << model[i].name << ": " << differs << '\n';
  }
}

// One of: a part of what is dirty is collected, it is written, a part of its answers leaves.
void Walk::SavePiece() {
  if (!world_.journal) return;
  switch (saving_) {
    case Saving::kIdle:
      if (journal_.dirty == 0) return;
      dirty_ = 0;
      changes_ = {};
      cut_ = {};
      cut_shards_ = 0;
      saving_ = Saving::kCollecting;
      [[fallthrough]];
    case Saving::kCollecting: {
      // Also what has changed since, for a cut takes shards along that are linked by then.
      dirty_ |= std::exchange(journal_.dirty, 0);
      const ShardSet before = dirty_;
      const bool more = poller_->Collect(dirty_, changes_, cut_);
      for (ShardSet left = before & ~dirty_; left != 0; left &= left - 1) {
        collected_[First(left)] = model_->Store(First(left));
      }
      cut_shards_ |= before & ~dirty_;
      model_->Begin(before & ~dirty_);
      if (more) return;
      journal_.dirty |= dirty_;
      saving_ = Saving::kCollected;
      return;
    }
    case Saving::kCollected:
      if (!changes_.empty()) disk_.Apply(changes_);
      for (ShardSet left = cut_shards_; left != 0; left &= left - 1) {
        stored_[First(left)] = std::move(collected_[First(left)]);
      }
      saving_ = Saving::kWritten;
      return;
    case Saving::kWritten:
      if (!poller_->Saved(cut_)) saving_ = Saving::kIdle;
      TakeAnswers();
      return;
  }
}

void Walk::SaveAll() {
  for (int i = 0; !AllSaved() && world_.journal; ++i) {
    SavePiece();
    if (i > 10'000) {
      wrong_ << "there is always something to save\n";
      return;
    }
  }
}

// The process dies and a new one begins. Calls that it had never end.
void Walk::Crash(Nanos away) {
  clock_.Pass(away + Unique());
  poller_.reset();
  open_.clear();
  answered_.clear();
  Begin();
  RunTimers();  // so that both know the time in every shard
}

std::string Walk::End() {
  wrong_.str("");
  poller_->RefuseWaits();
  model_->RefuseWaits();
  if (world_.fails) {
    poller_->FailStore();
    for (int i = 0; i < 2; ++i) poller_->RunTimers();
    for (const auto& each : open_) {
      if (!each->call->done()) wrong_ << "a call of step " << each->call->step << " never ends\n";
    }
    if (poller_->waiters() != 0) wrong_ << "some still wait\n";
    return wrong_.str();
  }
  RunTimers();
  while (poller_->EndWaits()) {
  }
  model_->EndWaits();
  SaveAll();
  if (wrong_.str().empty()) RunTimers();
  SaveAll();
  if (wrong_.str().empty() && AllSaved()) CompareAtRest();
  return wrong_.str();
}

}  // namespace waitd::core
