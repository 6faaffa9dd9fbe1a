#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

constexpr uint64_t kInFlightMax = 1 << 16;  // besides the waits: above this nothing more is read

// Operations of one message, polls by their targets, before others have their turn.
constexpr int kSlice = 4096;
constexpr int kOpenWork = 8;  // an open is answered with its labels

constexpr const char* kNotWritten = "acked_sequence is above every response that was written";

Error BadSession(std::string message) {
  return {.reason = "BAD_SESSION", .message = std::move(message), .field = {}};
}

// One that only tries needs no place.
template <class Args>
bool MayPark(const Args& args) {
  return !args.timeout.has_value() || *args.timeout > core::Nanos(0);
}

static_assert(Outbox::kBatch <= core::Poller::kRunMax);

}  // namespace

// What one message asks for, up to a cancel and as much as one batch: carried out in one step.
struct Session::Portion {
  google::protobuf::Arena& arena;
  core::Instant now;          // when the message was received
  bool unacked_full = false;  // of the limits, at its beginning
  bool unacked_over = false;
  uint64_t waits_left = 0;
  uint64_t work = 0;  // of all that is prepared, by its results
  std::vector<core::Operation> operations = {};
  std::vector<SessionOperation*> started = {};  // these as the session has them
  Outbox::Operations done = {};                 // with their results already
  uint64_t cancels = 0;                         // an operation, after the others
};

Session::Session(const SessionContext& context, uint64_t number, Visitor visitor,
                 const v1::SessionHello& hello, std::string token, core::Nanos linger,
                 core::Charge charge)
    : context_(context),
      number_(number),
      owner_(visitor.number),
      account_(visitor.account),
      client_(visitor.ShownAs(hello.client())),
      token_(std::move(token)),
      linger_(linger),
      charge_(std::move(charge)),
      visitor_(std::move(visitor)),
      outbox_(context.clock, context.metrics),
      waits_(context.poller.budget(), core::Held::kWaits, account_, {}),
      calls_(context.poller.budget(), core::Held::kCalls, account_, {}),
      results_(context.poller.budget(), core::Held::kResults, account_, {}),
      broken_at_(core::kNever) {
  heard_ = said_ = context.clock.Read().mono;
}

bool Session::Attach(std::shared_ptr<Link> link, bool resumed, uint64_t acked_sequence,
                     std::optional<Error>* error) {
  {
    const core::MutexLock lock(mutex_);
    if (!alive()) return false;
  }
  // Whatever came by the former link is done with, or will be passed over.
  const core::MutexLock work(work_);
  v1::SessionResponse message;
  *message.mutable_welcome() = Welcome(resumed);
  std::vector<Outbox::Response> gone;
  std::shared_ptr<Link> former;
  {
    const core::MutexLock lock(mutex_);
    if (!alive()) return false;
    if (!outbox_.Acknowledge(acked_sequence, &gone)) {
      *error = BadSession(kNotWritten);
      return true;
    }
    outbox_.Begin(link.get(), message);
    former = std::exchange(link_, std::move(link));
    phase_ = Phase::kUp;
    connected_.store(true, std::memory_order_relaxed);
    heard_ = context_.clock.Read().mono;
  }
  if (former != nullptr) former->Break();
  Flush();
  return true;
}

std::optional<Error> Session::CheckOrder(const v1::SessionRequest& message, bool first) {
  if (message.has_hello() && !first) return BadSession("hello stands in the first message only");
  if (message.operations_size() > kOperationsMax) {
    return BadSession(absl::StrCat("a message has at most ", kOperationsMax, " operations"));
  }
  uint64_t last = last_id_;
  for (const v1::Operation& operation : message.operations()) {
    if (operation.id() <= last) {
      return BadSession(
          absl::StrCat("operation ", operation.id(), " comes after ", last, "; ids increase"));
    }
    last = operation.id();
  }
  return std::nullopt;
}

std::optional<Error> Session::Receive(const Link& link, const v1::SessionRequest& message,
                                      google::protobuf::Arena& arena, core::Instant received,
                                      bool first, int* next) {
  const bool begins = *next == 0;
  const int rest = std::exchange(*next, message.operations_size());
  {
    // Whoever ends the session may hold `work_` for long.
    const core::MutexLock lock(mutex_);
    if (!Carries(link)) return std::nullopt;
  }
  const core::MutexLock work(work_);
  std::vector<Outbox::Response> gone;
  Portion portion{arena, received};
  {
    const core::MutexLock lock(mutex_);
    if (!Carries(link)) return std::nullopt;
    if (begins) {
      heard_ = received;
      if (!outbox_.Acknowledge(message.acked_sequence(), &gone)) return BadSession(kNotWritten);
    }
    Measure(portion);
  }
  if (Fault fault = context_.gate.Refresh(&visitor_)) return fault;
  if (begins) {
    if (auto fault = CheckOrder(message, first)) return fault;
    ForgetEphemeral();
  }
  *next = rest;
  return CarryOut(message, portion, next);
}

// A slice. What is behind it counts as not received, should the session be resumed before it comes.
std::optional<Error> Session::CarryOut(const v1::SessionRequest& message, Portion& portion,
                                       int* next) {
  for (int work = 0; *next < message.operations_size() && work < kSlice; ++*next) {
    const v1::Operation& operation = message.operations(*next);
    if (portion.unacked_over) {
      return Error{.reason = "LIMIT_UNACKED",
                   .message = absl::StrCat("twice as many results as the ", context_.unacked_max,
                                           " that may be are not acknowledged, or they take more "
                                           "memory than there is; send acked_sequence"),
                   .field = {}};
    }
    work += std::max(operation.has_open() ? kOpenWork : 1, operation.poll().targets_size());
    last_id_ = operation.id();
    Prepare(operation, portion);
    if (portion.cancels == 0 && ++portion.work < Outbox::kBatch) continue;
    CarryOut(portion);
  }
  CarryOut(portion);
  return std::nullopt;
}

// What the limits leave room for.
void Session::Measure(Portion& portion) {
  const uint64_t unacked = outbox_.unacked();
  // What all sessions have is the fault of those with much of it. There is to be room for one more
  // result with its signal: else it would be carried out, and held back.
  const core::Budget& budget = context_.poller.budget();
  const size_t one =
      std::min<size_t>(context_.signals.bytes_max, budget.limit(core::Held::kResults).bytes / 128);
  auto memory = budget.Over(core::Held::kResults, account_.get(), {1, one});
  for (const core::Held what : {core::Held::kWaits, core::Held::kCalls}) {
    if (!memory.over) memory = budget.Over(what, account_.get());
  }
  portion.unacked_full = unacked >= context_.unacked_max || memory.over;
  // Refusals are results, too: who goes on all the same must end somewhere.
  if (!portion.unacked_full) refused_ = 0;
  portion.unacked_over =
      unacked >= 2 * context_.unacked_max || (memory.own && refused_ >= Outbox::kBatch);
  portion.waits_left =
      context_.parked_max - std::min<uint64_t>(context_.parked_max, parking_.size());
}

// Carries out what is prepared, and lets results go. Whoever ends this session meanwhile waits for
// `work_` to take back what is added here.
void Session::CarryOut(Portion& portion) {
  {
    const core::MutexLock lock(mutex_);
    pinned_ = true;  // also what others end: it may be cancelled here
    if (in_flight_ == 0 && !portion.started.empty()) self_ = shared_from_this();
    in_flight_ += portion.started.size();
    for (SessionOperation* const each : portion.started) {
      if (each->parkable() != nullptr) parking_.insert(each);
    }
  }
  {
    core::EffectBatch batch;
    if (!portion.operations.empty()) context_.poller.Run(portion.now, portion.operations, &batch);
    if (portion.cancels != 0) Cancel(std::exchange(portion.cancels, 0), batch);
  }
  Todo todo;
  {
    const core::MutexLock lock(mutex_);
    pinned_ = false;
    for (auto& each : portion.done) outbox_.Add(std::move(each));
    todo = Next();
    Measure(portion);
  }
  portion.work = 0;
  portion.operations.clear();
  portion.started.clear();
  portion.done.clear();
  Do(todo);
}

void Session::Prepare(const v1::Operation& operation, Portion& portion) {
  switch (operation.operation_case()) {
    case v1::Operation::kOpen:
      return PrepareAs<OpenMethod>(operation.id(), operation.open(), portion);
    case v1::Operation::kClose:
      return PrepareAs<CloseMethod>(operation.id(), operation.close(), portion);
    case v1::Operation::kReset:
      return PrepareAs<ResetMethod>(operation.id(), operation.reset(), portion);
    case v1::Operation::kWait:
      return PrepareAs<WaitMethod>(operation.id(), operation.wait(), portion);
    case v1::Operation::kReady:
      return PrepareAs<ReadyMethod>(operation.id(), operation.ready(), portion);
    case v1::Operation::kSetDeadline:
      return PrepareAs<SetDeadlineMethod>(operation.id(), operation.set_deadline(), portion);
    case v1::Operation::kPoll:
      return PrepareAs<PollMethod>(operation.id(), operation.poll(), portion);
    case v1::Operation::kAck:
      return PrepareAs<AckMethod>(operation.id(), operation.ack(), portion);
    case v1::Operation::kCancel:
      context_.gate.Note(visitor_, portion.now);
      portion.cancels = operation.cancel();
      portion.done.push_back(std::make_unique<EmptyOperation>(*this, operation.id()));
      return;
    case v1::Operation::OPERATION_NOT_SET:
      break;
  }
  if (Fault fault = context_.gate.Charge(visitor_, portion.now, 1)) {
    return Fail(operation.id(), portion, *std::move(fault));
  }
  Fail(operation.id(), portion,
       {.reason = "BAD_OPTIONS",
        .message = "this server does not know what the operation asks for",
        .field = "operation"});
}

template <class T>
void Session::PrepareAs(uint64_t id, const typename T::Request& request, Portion& portion) {
  using Call = SessionCall<T>;
  const Caller caller{visitor_, client_, context_.signals, context_.ack_timeout_max, number_};
  auto* const parsed = google::protobuf::Arena::Create<Parsed<typename T::Args>>(&portion.arena);
  if (T::kGivesBack) {
    context_.gate.Note(visitor_, portion.now);
  } else if (Fault fault = context_.gate.Charge(visitor_, portion.now, T::Work(request))) {
    return Fail(id, portion, *std::move(fault));
  }
  if (Fault fault = T::Parse(caller, request, *parsed)) {
    Fail(id, portion, *std::move(fault));
    return;
  }
  bool parks = false;
  if constexpr (Call::kParks) parks = MayPark(parsed->args);
  if (auto error = OverLimit(parks, T::kGivesBack, portion)) {
    Fail(id, portion, *std::move(error));
    return;
  }
  if constexpr (requires { parsed->args.options; }) {
    if (parsed->args.options.ephemeral) NoteEphemeral(parsed->args.name);
  } else if (parsed->open_if_missing != nullptr && parsed->open_if_missing->ephemeral) {
    if constexpr (requires { parsed->args.name; }) {
      NoteEphemeral(parsed->args.name);
    } else {
      for (const auto& target : parsed->args.targets) NoteEphemeral(target.name);
    }
  }
  portion.work += (std::is_same_v<T, OpenMethod> ? kOpenWork : T::Work(request)) - 1;
  auto* const call = new Call(*this, id);
  portion.started.push_back(call);
  portion.operations.emplace_back(
      core::Op<typename T::Args, typename T::CoreCall>{&parsed->args, call});
}

void Session::NoteEphemeral(std::string_view name) { ephemeral_.emplace(name); }

// Those that were closed meanwhile, or that it never opened. None is about to be opened: the core
// has all that came so far.
void Session::ForgetEphemeral() {
  constexpr size_t kFew = 1024;
  if (ephemeral_.size() < 2 * ephemeral_left_ + kFew) return;
  absl::erase_if(ephemeral_, [this](const std::string& name) {
    return !context_.poller.HasEphemeral(name, number_);
  });
  ephemeral_left_ = ephemeral_.size();
}

std::optional<Error> Session::OverLimit(bool parks, bool gives_back, Portion& portion) {
  if (!gives_back && portion.unacked_full) {
    ++refused_;
    return Error{.reason = "LIMIT_UNACKED",
                 .message = absl::StrCat(context_.unacked_max,
                                         " results are not acknowledged, or such results take more "
                                         "memory than there is; send acked_sequence"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(context_.unacked_max)}}};
  }
  if (!parks) return std::nullopt;
  if (portion.waits_left == 0) {
    return Error{.reason = "LIMIT_WAITERS",
                 .message = absl::StrCat("a session parks at most ", context_.parked_max,
                                         " waits; end some, or begin another session"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(context_.parked_max)}}};
  }
  --portion.waits_left;
  return std::nullopt;
}

void Session::Fail(uint64_t id, Portion& portion, Error error) {
  portion.done.push_back(std::make_unique<RefusedOperation>(*this, id, std::move(error)));
}

void Session::Cancel(uint64_t id, core::EffectBatch& batch) {
  core::Parkable* parked = nullptr;
  {
    const core::MutexLock lock(mutex_);
    const auto found = parking_.find(id);
    if (found != parking_.end()) parked = (*found)->parkable();
  }
  if (parked != nullptr) context_.poller.Cancel(*parked, &batch);
}

void Session::Completed(SessionOperation& operation, core::EffectBatch& batch) {
  if (completed_.Add(operation)) batch.Note(*this);
}

void Session::Run() {
  std::shared_ptr<Session> self;  // with its last operation a session may let go of itself
  Outbox::Operations back;
  Todo todo;
  {
    const core::MutexLock lock(mutex_);
    self = self_;
    // After the end nobody waits for them.
    const bool late = !alive() && !pinned_;
    completed_.Take([&](SessionOperation& each) {
      mutex_.AssertHeld();
      --in_flight_;
      if (each.parkable() != nullptr) parking_.erase(&each);
      if (late) {
        back.emplace_back(&each);
      } else {
        outbox_.Add(std::unique_ptr<SessionOperation>(&each));
      }
    });
    if (in_flight_ == 0) self_.reset();
    todo = Next();
  }
  GiveBack(back);
  Do(todo);
}

// What is ready leaves, if nothing is being written.
Session::Todo Session::Next() {
  Todo todo;
  if (!pinned_ && alive()) {
    todo.bytes = outbox_.Next([this](size_t bytes) {
      mutex_.AssertHeld();
      return results_.Take({1, bytes + bytes / 4});  // with what is told beside the signals
    });
  }
  ChargeResults();
  if (pinned_ || !alive()) return todo;
  if (todo.bytes.has_value()) {
    said_ = context_.clock.Read().mono;
    todo.link = link_;
  } else {
    todo.end = phase_ == Phase::kDraining && in_flight_ == 0 && outbox_.written();
    // Who sends nothing more acknowledges nothing either.
    todo.full = phase_ == Phase::kDraining && outbox_.held_back();
  }
  return todo;
}

// After each change of the outbox, whether or not there is room: for want of it what comes next is
// refused (Measure).
void Session::ChargeResults() {
  const OutboxAmounts amounts = outbox_.amounts();
  waits_.Set(amounts.waits);
  calls_.Set(amounts.calls);
  results_.Set(amounts.results);
}

void Session::Do(const Todo& todo) {
  if (todo.end) {
    End(std::nullopt);
  } else if (todo.full) {
    End(Error{.reason = "LIMIT_UNACKED",
              .message = "there is no memory for the results that are left, and who sends nothing "
                         "more acknowledges none",
              .field = {}});
  } else if (todo.link != nullptr && !todo.link->Write(*todo.bytes)) {
    Written(*todo.link, false);
  }
}

void Session::Flush() {
  Todo todo;
  {
    const core::MutexLock lock(mutex_);
    todo = Next();
  }
  Do(todo);
}

void Session::Written(const Link& link, bool ok) {
  Outbox::Decided decided;
  std::shared_ptr<Link> former;  // which is let go
  Todo todo;
  std::optional<Error> error;
  bool is_over = false;
  {
    const core::MutexLock lock(mutex_);
    decided = outbox_.Written(&link, ok);
    if (link_.get() == &link && (!ok || !alive())) {
      error = error_;
      former = LoseLink();
      is_over = over();
      ChargeResults();
    } else {
      todo = Next();
    }
  }
  GiveBack(decided.back);
  if (former != nullptr && ok) former->End(error);
  if (is_over) context_.ended(*this);
  Do(todo);
}

void Session::HalfClosed(const Link& link) {
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() != &link || phase_ != Phase::kUp) return;
    phase_ = Phase::kDraining;
    // A stream that broke looks the same. One more message tells: it is written, or it is not.
    outbox_.Say(v1::SessionResponse());
  }
  Flush();
}

void Session::Broken(const Link& link) {
  std::shared_ptr<Link> former;
  bool is_over = false;
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() != &link) return;
    former = LoseLink();
    is_over = over();
  }
  if (is_over) context_.ended(*this);
}

std::shared_ptr<Link> Session::LoseLink() {
  if (alive()) {
    phase_ = Phase::kBroken;
    broken_at_ = context_.clock.Read().mono;
  }
  connected_.store(false, std::memory_order_relaxed);
  outbox_.Lose();
  return std::exchange(link_, nullptr);
}

bool Session::congested() const {
  const core::MutexLock lock(mutex_);
  return stopped_reading_ || Stuffed();
}

// Results take room before they are written, and operations until the store has them. Both end with
// a Written.
bool Session::Stuffed() const {
  const OutboxBytes& bytes = outbox_.bytes();
  if (outbox_.held_back()) return false;  // the acknowledgement that it needs is to be read
  return bytes.waiting + bytes.unwritten > Outbox::kUnwrittenBytesMax ||
         in_flight_ > context_.parked_max + kInFlightMax;
}

void Session::Recheck() {
  Fault fault;
  {
    const core::MutexLock work(work_);
    fault = context_.gate.Refresh(&visitor_);
  }
  if (fault.has_value()) End(fault);
}

void Session::StopReading() {
  const core::MutexLock lock(mutex_);
  stopped_reading_ = true;
}

bool Session::flushed() const {
  const core::MutexLock lock(mutex_);
  return link_ == nullptr || (in_flight_ == 0 && outbox_.written());
}

void Session::Tick(core::Instant now) {
  std::shared_ptr<Link> silent;
  bool lingered = false;
  {
    const core::MutexLock lock(mutex_);
    // Who is not read is not silent; whether it is there at all, the connection's own pings tell.
    if (Stuffed()) heard_ = now;
    if (!alive()) {
      // Nobody waits for what it does not take.
      if (now - said_ > 2 * context_.keepalive) silent = link_;
    } else if (phase_ == Phase::kBroken) {
      lingered = broken_at_ != core::kNever && now - broken_at_ >= linger_;
      if (lingered) phase_ = Phase::kEnding;
    } else if (phase_ == Phase::kUp && now - heard_ > 2 * context_.keepalive) {
      silent = link_;
    } else if (now - said_ >= context_.keepalive && !outbox_.writing()) {
      outbox_.Say(v1::SessionResponse());
    }
  }
  if (lingered) {
    context_.finish(shared_from_this());
  } else if (silent != nullptr) {
    silent->Break();
  } else {
    Flush();
  }
}

void Session::End(const std::optional<Error>& error) {
  {
    const core::MutexLock lock(mutex_);
    if (!alive()) return;
    phase_ = Phase::kEnding;
    error_ = error;
  }
  context_.finish(shared_from_this());
}

void Session::Finish() {
  const std::shared_ptr<Session> self = shared_from_this();
  const core::MutexLock work(work_);  // what is being carried out is in the core by then
  std::vector<core::Parkable*> parked;
  {
    const core::MutexLock lock(mutex_);
    for (SessionOperation* const each : parking_) parked.push_back(each->parkable());
    pinned_ = true;
  }
  {
    core::EffectBatch batch;
    for (core::Parkable* each : parked) context_.poller.Cancel(*each, &batch);
  }
  Outbox::Operations back;
  std::shared_ptr<Link> former;
  std::optional<Error> error;
  {
    const core::MutexLock lock(mutex_);
    pinned_ = false;
    back = outbox_.TakeBack();
    ChargeResults();
    error = error_;
    if (!outbox_.writing()) former = LoseLink();
  }
  GiveBack(back);
  CloseEphemeral();
  if (former != nullptr) former->End(error);
  bool is_over = false;
  {
    const core::MutexLock lock(mutex_);
    phase_ = Phase::kEnded;
    is_over = over();
  }
  if (is_over) context_.ended(*this);
}

void Session::GiveBack(const Outbox::Operations& operations) {
  for (const auto& each : operations) each->GiveBack(context_.poller);
}

void Session::CloseEphemeral() {
  struct Call final : core::CloseCall {
    void Done() override { delete this; }
  };
  for (const std::string& name : std::exchange(ephemeral_, {})) {
    const core::CloseArgs args{.name = name, .session = number_};
    context_.poller.Close(core::kWhenCarriedOut, args, *new Call);
  }
}

}  // namespace waitd::server
