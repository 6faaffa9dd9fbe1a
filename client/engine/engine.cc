#include "client/engine/engine.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "client/engine/validate.h"

namespace waitd::internal {
namespace {

// Stale timers, and stale ids in the queue, may outnumber the operations by so many before they are
// thrown out.
constexpr size_t kStale = 1024;

// The wait's own limit, or none.
absl::Duration TimeoutOf(const Request& request) {
  if (const auto* wait = std::get_if<WaitCall>(&request.what)) return wait->options.timeout;
  if (const auto* poll = std::get_if<PollCall>(&request.what)) return poll->options.timeout;
  return absl::InfiniteDuration();
}

// For how long the caller has been using the wait's id.
absl::Duration FirstSentAgo(const Request& request) {
  if (const auto* wait = std::get_if<WaitCall>(&request.what)) return wait->options.first_sent_ago;
  if (const auto* poll = std::get_if<PollCall>(&request.what)) return poll->options.first_sent_ago;
  return absl::ZeroDuration();
}

}  // namespace

void OpDeleter::operator()(Op* op) const { delete op; }

void StopOp::operator()() const { op->engine.Cancel(*op); }

Engine::Engine(std::string client, Transport& transport, const Clock& clock, Entropy& entropy,
               EngineOptions options)
    : client_(std::move(client)),
      transport_(transport),
      clock_(clock),
      entropy_(entropy),
      options_(std::move(options)) {}

void Engine::Submit(std::unique_ptr<Op> op, Completion& completion) {
  op->completion = &completion;
  absl::Status fault = Validate(op->request);
  // Registered before the operation is known, so that no stop is missed: Cancel then only marks it.
  if (op->request.stop.stop_possible()) {
    op->on_stop = std::make_unique<std::stop_callback<StopOp>>(op->request.stop, StopOp{op.get()});
  }
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    const Instant now = clock_.Now();
    if (!fault.ok()) {
      EndLocked(std::move(op), std::move(fault));
    } else if (closing_ || op->cancelled) {
      EndLocked(std::move(op),
                absl::CancelledError(closing_ ? "the client was closed" : "the call was stopped"));
    } else {
      AddLocked(std::move(op), now);
      EncodeLocked(now, todo);
    }
    WakeLocked(todo);
  }
  Do(todo);
}

void Engine::AddLocked(OpPtr op, Instant now) {
  op->submitted = now;
  op->limit = now + op->allowance;
  op->id = ++last_id_;
  Op& added = *op;
  ops_.emplace(added.id, std::move(op));
  if (std::holds_alternative<std::monostate>(added.request.what)) {
    added.state = Op::State::kTimer;
  } else {
    if (added.request.parks()) {
      added.limit = now + std::max(TimeoutOf(added.request), absl::ZeroDuration()) + kGrace;
      added.own_id = !added.request.id.empty();
      const absl::Duration ago = FirstSentAgo(added.request);
      if (ago > absl::ZeroDuration()) added.first_sent = now - ago;
    }
    if (added.request.id.empty()) added.request.id = NewId();
    QueueLocked(added);
    AskLaterLocked(added, now);
  }
  ArmLocked(added.limit, added.id);
}

void Engine::QueueLocked(Op& op) {
  op.state = Op::State::kQueued;
  if (queue_.size() > 2 * ops_.size() + kStale) {
    std::erase_if(queue_, [this](uint64_t id) {
      const Op* const each = FindLocked(id);
      return each == nullptr || each->state != Op::State::kQueued;
    });
  }
  queue_.push_back(op.id);
}

void Engine::Cancel(Op& op) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    const bool known = op.state != Op::State::kNew && op.state != Op::State::kDone;
    const bool first = !op.cancelled;
    op.cancelled = true;
    if (!known || !first) return;
    const Instant now = clock_.Now();
    if (op.state == Op::State::kSent) {
      // It may have its outcome already, which then is the answer: a READY is not thrown away.
      SendCancelLocked(op.id);
      op.limit = std::min(op.limit, now + kGrace);
      ArmLocked(op.limit, op.id);
      EncodeLocked(now, todo);
    } else {
      EndLocked(op.id, absl::CancelledError("the call was stopped"));
    }
    WakeLocked(todo);
  }
  Do(todo);
}

void Engine::SendCancelLocked(uint64_t target) {
  auto cancel = std::make_unique<Op>(
      *this, Request{.name = {}, .id = {}, .what = CancelCall{target}}, kNever);
  cancel->id = ++last_id_;
  QueueLocked(*cancel);
  ops_.emplace(cancel->id, std::move(cancel));
}

void Engine::Close() {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    const Instant now = clock_.Now();
    closing_ = true;
    close_by_ = now + kCloseWait;
    const absl::Status closed = absl::CancelledError("the client was closed");
    std::vector<uint64_t> sent;
    std::vector<uint64_t> rest;
    for (const auto& [id, op] : ops_) {
      const bool goes_on =
          !op->request.parks() && !op->request.asks() && op->state != Op::State::kTimer;
      if (op->request.parks() && op->state == Op::State::kSent) {
        if (!std::exchange(op->cancelled, true)) sent.push_back(id);
      } else if (!goes_on) {
        rest.push_back(id);
      }
    }
    for (const uint64_t id : rest) EndLocked(id, closed);
    for (const uint64_t id : sent) SendCancelLocked(id);
    EncodeLocked(now, todo);
    // The client's thread does not know of close_by_ yet.
    if (!std::exchange(waking_, true)) todo.wake = true;
  }
  Do(todo);
}

void Engine::ArmLocked(Instant at, uint64_t id) {
  if (at == kNever) return;
  if (timers_.size() > 2 * ops_.size() + kStale) {
    std::vector<Timer> live;
    for (const auto& [each, op] : ops_) {
      if (op->limit != kNever) live.emplace_back(op->limit, each);
      if (op->retry_at != kNever) live.emplace_back(op->retry_at, each);
    }
    timers_ = decltype(timers_)(std::greater<>(), std::move(live));
  }
  timers_.emplace(at, id);
}

void Engine::FireLocked(Instant now) {
  while (!timers_.empty() && timers_.top().first <= now) {
    Op* op = FindLocked(timers_.top().second);
    timers_.pop();
    if (op == nullptr) continue;
    if (now >= op->limit) {
      ExpireLocked(*op);
    } else if (now >= op->retry_at) {
      op->retry_at = kNever;
      if (op->state == Op::State::kHeld) {
        Op& again = *FindLocked(RenumberLocked(op->id));
        QueueLocked(again);
        AskLaterLocked(again, now);
      } else {
        AskLocked(*op, now);
      }
    }
  }
}

void Engine::ExpireLocked(Op& op) {
  if (op.state == Op::State::kTimer) {
    EndLocked(op.id, Answer());
    return;
  }
  // So that the server does not hand a READY to a wait that nobody waits for any more.
  if (op.state == Op::State::kSent && op.request.parks() && !op.cancelled) SendCancelLocked(op.id);
  if (op.cancelled) {
    EndLocked(op.id, absl::CancelledError("the call was stopped"));
    return;
  }
  std::string text =
      absl::StrCat("no answer from the server in ", absl::FormatDuration(op.limit - op.submitted));
  if (!last_error_.ok()) {
    absl::StrAppend(&text, "; the last trouble on the way: ", last_error_.message());
  }
  EndLocked(op.id, absl::DeadlineExceededError(text));
}

Op* Engine::FindLocked(uint64_t id) {
  const auto it = ops_.find(id);
  return it == ops_.end() ? nullptr : it->second.get();
}

Engine::OpPtr Engine::TakeLocked(uint64_t id) {
  const auto it = ops_.find(id);
  OpPtr op = std::move(it->second);
  ops_.erase(it);
  return op;
}

// A new attempt of an operation that was answered is a new operation of the session.
uint64_t Engine::RenumberLocked(uint64_t id) {
  OpPtr op = TakeLocked(id);
  op->id = ++last_id_;
  Op& moved = *op;
  ops_.emplace(moved.id, std::move(op));
  ArmLocked(moved.limit, moved.id);
  return moved.id;
}

void Engine::EndLocked(OpPtr op, absl::StatusOr<Answer> answer) {
  op->state = Op::State::kDone;
  ended_.push_back({std::move(op), std::move(answer)});
}

void Engine::EndAllLocked(const absl::Status& status, bool timers) {
  std::vector<uint64_t> ids;
  for (const auto& [id, op] : ops_) {
    if (timers || op->state != Op::State::kTimer) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  for (const uint64_t id : ids) EndLocked(id, status);
}

// Whoever leaves something to be done sooner than the client's thread wakes has to wake it.
void Engine::WakeLocked(Todo& todo) {
  if (waking_) return;
  const Instant next = NextLocked();
  if (ended_.empty() ? next >= sleeps_until_ : sleeps_until_ == -kNever) return;
  waking_ = true;
  todo.wake = true;
}

void Engine::Do(const Todo& todo) {
  if (todo.open) transport_.Open();
  if (todo.breaks) transport_.Break();
  if (todo.send) transport_.Send();
  if (todo.wake) transport_.Wake();
}

void Engine::Complete() {
  std::vector<Ended> ended;
  std::vector<absl::Status> states;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
    states.swap(states_);
  }
  if (options_.on_state) {
    for (const absl::Status& each : states) options_.on_state(each);
  }
  for (Ended& each : ended) {
    // Once the caller has heard, a stop must not find the call any more.
    each.op->on_stop.reset();
    if (each.op->completion != nullptr) each.op->completion->Done(std::move(each.answer));
  }
}

// 15 characters, 90 bits: nobody guesses one, and the strings of the common libraries hold it
// without memory of its own, here and in the server.
std::string Engine::NewId() {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  constexpr int kPerWord = 10;
  std::string id(15, '\0');
  uint64_t bits = 0;
  int left = 0;
  for (char& each : id) {
    if (left == 0) {
      bits = entropy_.Bits();
      left = kPerWord;
    }
    each = kAlphabet[bits % 64];
    bits /= 64;
    --left;
  }
  return id;
}

Instant Engine::Tick() {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    thread_ = std::this_thread::get_id();
    sleeps_until_ = -kNever;
    const Instant now = clock_.Now();
    FireLocked(now);
    LinkLocked(now, todo);
    EncodeLocked(now, todo);
  }
  Do(todo);
  Complete();
  const std::lock_guard lock(mutex_);
  sleeps_until_ = ended_.empty() ? NextLocked() : clock_.Now();
  return sleeps_until_;
}

bool Engine::Finished() {
  const std::lock_guard lock(mutex_);
  // Whoever owes a Wake has left the lock, and is about to touch the transport.
  return finished_ && ended_.empty() && !waking_;
}

bool Engine::OnClientThread() {
  const std::lock_guard lock(mutex_);
  return thread_ == std::this_thread::get_id();
}

void Engine::OnWoken() {
  const std::lock_guard lock(mutex_);
  waking_ = false;
}

}  // namespace waitd::internal
