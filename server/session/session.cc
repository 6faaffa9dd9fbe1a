#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/session/flush_scope.h"

namespace waitd::server {
namespace {

constexpr size_t kResponseBytesMax = size_t{1} << 20;   // about; what clients receive is 4 MiB
constexpr size_t kUnwrittenBytesMax = size_t{4} << 20;  // above this nothing more is read
constexpr size_t kResultBytes = 1024;                   // larger results count as several
constexpr uint64_t kInFlightMax = 1 << 16;              // and above this, besides the waits

Error BadSession(std::string message) {
  return {.reason = "BAD_SESSION", .message = std::move(message), .field = {}};
}

grpc::ByteBuffer Encode(const v1::SessionResponse& message, size_t* size) {
  *size = message.ByteSizeLong();
  grpc::Slice slice(*size);
  // A slice is made to be filled; its pointer is const for who receives it.
  auto* const bytes = const_cast<uint8_t*>(slice.begin());
  message.SerializeWithCachedSizesToArray(bytes);
  return {&slice, 1};
}

// One that only tries needs no place.
template <class Args>
bool MayPark(const Args& args) {
  return !args.timeout.has_value() || *args.timeout > core::Nanos(0);
}

// Operations that are carried out in one step, and results that make a response though another is
// being written: so many that each step costs little, and so few that they stay in the cache.
constexpr size_t kBatch = 256;
static_assert(kBatch <= core::Poller::kRunMax);

// The session whose message this thread is carrying out, and of which it holds `work_`.
thread_local const Session* current_receiver = nullptr;

}  // namespace

// What one message asks for, up to a cancel: carried out in one step.
struct Session::Batch {
  google::protobuf::Arena& arena;
  core::Instant now;          // when the message was received
  bool unacked_full = false;  // of the limits, at its beginning
  bool unacked_over = false;
  uint64_t waits_left = 0;
  std::vector<core::Operation> operations = {};
  std::vector<SessionOperation*> started = {};  // these as the session has them
  std::vector<SessionOperation*> done = {};     // with their results already
  uint64_t cancels = 0;                         // an operation, after the others
};

Session::Session(const SessionContext& context, uint64_t number, Visitor visitor,
                 const v1::SessionHello& hello, std::string token, core::Nanos linger)
    : context_(context),
      number_(number),
      owner_(visitor.number),
      client_(visitor.ShownAs(hello.client())),
      token_(std::move(token)),
      linger_(linger),
      visitor_(std::move(visitor)) {
  heard_ = said_ = context.clock.Read().mono;
}

v1::SessionWelcome Session::Welcome(bool resumed) const {
  const auto to_proto = [](core::Nanos from, google::protobuf::Duration* to) {
    to->set_seconds(std::chrono::duration_cast<std::chrono::seconds>(from).count());
    to->set_nanos(static_cast<int32_t>((from % std::chrono::seconds(1)).count()));
  };
  v1::SessionWelcome welcome;
  welcome.set_resume_token(token_);
  welcome.set_resumed(resumed);
  welcome.set_server("waitd " WAITD_VERSION);
  welcome.set_received_through(last_id_);
  to_proto(context_.keepalive, welcome.mutable_keepalive());
  to_proto(context_.retention, welcome.mutable_retention());
  const auto parked_max = std::min<uint64_t>(context_.parked_max, UINT32_MAX);
  welcome.set_max_parked(static_cast<uint32_t>(parked_max));
  welcome.set_max_payload_bytes(static_cast<uint32_t>(context_.signals.bytes_max));
  return welcome;
}

bool Session::Attach(std::shared_ptr<Link> link, bool resumed, uint64_t acked_sequence,
                     std::optional<Error>* error) {
  // Whatever came by the former link is done with, or will be passed over.
  const core::MutexLock work(work_);
  if (*error = Acknowledge(acked_sequence); error->has_value()) return true;
  std::shared_ptr<Link> former;
  v1::SessionResponse message;
  *message.mutable_welcome() = Welcome(resumed);
  size_t size = 0;
  {
    const core::MutexLock lock(mutex_);
    if (ended_) return false;
    NoteLate();
    former = std::exchange(link_, std::move(link));
    connected_.store(true, std::memory_order_relaxed);
    writing_ = half_closed_ = false;
    broken_ = core::kNever;
    heard_ = context_.clock.Read().mono;
    next_ = responses_.empty() ? sequence_ + 1 : responses_.front().sequence;
    unwritten_bytes_ = 0;
    for (const Response& response : responses_) unwritten_bytes_ += response.size;
    control_ = Encode(message, &size);
  }
  if (former != nullptr) former->Break();
  Flush();
  return true;
}

// Responses up to this one have reached the client.
std::optional<Error> Session::Acknowledge(uint64_t sequence) {
  std::deque<Response> gone;
  const core::MutexLock lock(mutex_);
  if (sequence > sequence_) return BadSession("acked_sequence is above every response's sequence");
  while (!responses_.empty() && responses_.front().sequence <= sequence) {
    Response& first = responses_.front();
    unacked_ -= first.weight;
    if (first.sequence >= next_) {  // on a former stream, or its Written is on its way
      unwritten_bytes_ -= first.size;
      next_ = first.sequence + 1;
    }
    gone.push_back(std::move(first));
    responses_.pop_front();
  }
  return std::nullopt;
}

std::optional<Error> Session::CheckOrder(const v1::SessionRequest& message, bool first) {
  if (message.has_hello() && !first) return BadSession("hello stands in the first message only");
  for (const v1::Operation& operation : message.operations()) {
    if (operation.id() <= last_id_) {
      return BadSession(
          absl::StrCat("operation ", operation.id(), " comes after ", last_id_, "; ids increase"));
    }
    last_id_ = operation.id();
  }
  return std::nullopt;
}

std::optional<Error> Session::Receive(const Link& link, const v1::SessionRequest& message,
                                      google::protobuf::Arena& arena, bool first) {
  const core::MutexLock work(work_);
  const core::Instant now = context_.clock.Read().mono;
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() != &link || ended_) return std::nullopt;
    heard_ = now;
  }
  return CarryOut(message, arena, first, now);
}

std::optional<Error> Session::CarryOut(const v1::SessionRequest& message,
                                       google::protobuf::Arena& arena, bool first,
                                       core::Instant now) {
  if (Fault fault = context_.gate.Refresh(&visitor_)) return fault;
  if (auto fault = Acknowledge(message.acked_sequence())) return fault;
  if (auto fault = CheckOrder(message, first)) return fault;
  ForgetEphemeral();
  Batch batch{arena, now};
  Measure(batch);
  if (batch.unacked_over) {
    return Error{.reason = "LIMIT_UNACKED",
                 .message = absl::StrCat("twice as many results as the ", context_.unacked_max,
                                         " that may be are not acknowledged; send acked_sequence"),
                 .field = {}};
  }
  for (const v1::Operation& operation : message.operations()) {
    Prepare(operation, batch);
    if (batch.cancels == 0 && batch.operations.size() + batch.done.size() < kBatch) continue;
    Run(batch);
    Measure(batch);
  }
  Run(batch);
  return std::nullopt;
}

// What the limits leave room for.
void Session::Measure(Batch& batch) const {
  const core::MutexLock lock(mutex_);
  batch.unacked_full = unacked_ >= context_.unacked_max;
  // Refusals are results, too: who goes on all the same must end somewhere.
  batch.unacked_over = unacked_ >= 2 * context_.unacked_max;
  batch.waits_left = context_.parked_max - std::min<uint64_t>(context_.parked_max, parking_.size());
}

// Carries out what is prepared, and lets results go.
void Session::Run(Batch& batch) {
  FlushScope scope;
  scope.Add(*this);
  {
    const core::MutexLock lock(mutex_);
    ++pins_;  // the operations stay, also those that others end
    if (in_flight_ == 0 && !batch.started.empty()) self_ = shared_from_this();
    in_flight_ += batch.started.size();
    for (SessionOperation* const each : batch.started) {
      if (each->parkable() != nullptr) parking_.insert(each);
    }
  }
  current_receiver = this;
  running_ = &batch;
  if (!batch.operations.empty()) context_.poller.Run(batch.now, batch.operations);
  running_ = nullptr;
  current_receiver = nullptr;
  if (batch.cancels != 0) Cancel(std::exchange(batch.cancels, 0));
  for (SessionOperation* const each : batch.done) Completed(*each);
  batch.operations.clear();
  batch.started.clear();
  batch.done.clear();
  const core::MutexLock lock(mutex_);
  --pins_;
}

void Session::Prepare(const v1::Operation& operation, Batch& batch) {
  switch (operation.operation_case()) {
    case v1::Operation::kOpen:
      return PrepareAs<OpenMethod>(operation.id(), operation.open(), batch);
    case v1::Operation::kClose:
      return PrepareAs<CloseMethod>(operation.id(), operation.close(), batch);
    case v1::Operation::kReset:
      return PrepareAs<ResetMethod>(operation.id(), operation.reset(), batch);
    case v1::Operation::kWait:
      return PrepareAs<WaitMethod>(operation.id(), operation.wait(), batch);
    case v1::Operation::kReady:
      return PrepareAs<ReadyMethod>(operation.id(), operation.ready(), batch);
    case v1::Operation::kSetDeadline:
      return PrepareAs<SetDeadlineMethod>(operation.id(), operation.set_deadline(), batch);
    case v1::Operation::kPoll:
      return PrepareAs<PollMethod>(operation.id(), operation.poll(), batch);
    case v1::Operation::kAck:
      return PrepareAs<AckMethod>(operation.id(), operation.ack(), batch);
    case v1::Operation::kCancel:
      context_.gate.Note(visitor_, batch.now);
      batch.cancels = operation.cancel();
      batch.done.push_back(new EmptyOperation(*this, operation.id()));
      return;
    case v1::Operation::OPERATION_NOT_SET:
      break;
  }
  if (Fault fault = context_.gate.Charge(visitor_, batch.now, 1)) {
    return Fail(operation.id(), batch, *std::move(fault));
  }
  Fail(operation.id(), batch,
       {.reason = "BAD_OPTIONS",
        .message = "this server does not know what the operation asks for",
        .field = "operation"});
}

template <class T>
void Session::PrepareAs(uint64_t id, const typename T::Request& request, Batch& batch) {
  using Call = SessionCall<T>;
  const Caller caller{visitor_, client_, context_.signals, context_.ack_timeout_max, number_};
  auto* const parsed = google::protobuf::Arena::Create<Parsed<typename T::Args>>(&batch.arena);
  if (T::kGivesBack) {
    context_.gate.Note(visitor_, batch.now);
  } else if (Fault fault = context_.gate.Charge(visitor_, batch.now, T::Work(request))) {
    return Fail(id, batch, *std::move(fault));
  }
  if (Fault fault = T::Parse(caller, request, *parsed)) {
    Fail(id, batch, *std::move(fault));
    return;
  }
  bool parks = false;
  if constexpr (Call::kParks) parks = MayPark(parsed->args);
  if (auto error = OverLimit(parks, T::kGivesBack, batch)) {
    Fail(id, batch, *std::move(error));
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
  auto* const call = new Call(*this, id);
  batch.started.push_back(call);
  batch.operations.emplace_back(
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

std::optional<Error> Session::OverLimit(bool parks, bool gives_back, Batch& batch) const {
  if (!gives_back && batch.unacked_full) {
    return Error{.reason = "LIMIT_UNACKED",
                 .message = absl::StrCat(context_.unacked_max,
                                         " results are not acknowledged; send acked_sequence"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(context_.unacked_max)}}};
  }
  if (!parks) return std::nullopt;
  if (batch.waits_left == 0) {
    return Error{.reason = "LIMIT_WAITERS",
                 .message = absl::StrCat("a session parks at most ", context_.parked_max,
                                         " waits; end some, or begin another session"),
                 .field = {},
                 .metadata = {{"limit", absl::StrCat(context_.parked_max)}}};
  }
  --batch.waits_left;
  return std::nullopt;
}

void Session::Fail(uint64_t id, Batch& batch, Error error) {
  batch.done.push_back(new RefusedOperation(*this, id, std::move(error)));
}

void Session::Cancel(uint64_t id) {
  core::Parkable* parked = nullptr;
  {
    const core::MutexLock lock(mutex_);
    const auto found = parking_.find(id);
    if (found != parking_.end()) parked = (*found)->parkable();
  }
  if (parked != nullptr) context_.poller.Cancel(*parked);
}

void Session::Completed(SessionOperation& operation) { FlushScope::Completed(*this, operation); }

std::string_view Session::NameOf(const SessionOperation& operation,
                                 const core::Refusal& refusal) const {
  if (current_receiver != this) return {};
  work_.AssertHeld();
  // In the order of their ids. One of a former message, which something here has ended, is not in.
  const auto& started = running_->started;
  const auto found =
      std::lower_bound(started.begin(), started.end(), operation.id(),
                       [](const SessionOperation* each, uint64_t id) { return each->id() < id; });
  if (found == started.end() || *found != &operation) return {};
  const auto name_in = [&](const auto& op) -> std::string_view {
    if constexpr (requires { op.args->name; }) {
      return op.args->name;
    } else {
      const auto& targets = op.args->targets;
      return refusal.target < targets.size() ? targets[refusal.target].name : std::string_view();
    }
  };
  return std::visit(name_in, running_->operations[static_cast<size_t>(found - started.begin())]);
}

void Session::Take(std::span<SessionOperation* const> operations) {
  std::shared_ptr<Session> self;
  bool late = false;
  {
    const core::MutexLock lock(mutex_);
    for (SessionOperation* const each : operations) {
      if (!each->in_core()) continue;
      --in_flight_;
      if (each->parkable() != nullptr) parking_.erase(each);
    }
    if (in_flight_ == 0) self = std::move(self_);
    late = ended_ && pins_ == 0;
    if (!late) {
      for (SessionOperation* const each : operations) {
        outbox_bytes_ += each->size();
        outbox_.emplace_back(each);
      }
    }
  }
  if (!late) return;
  // After the end nobody waits for them.
  for (SessionOperation* const each : operations) {
    each->GiveBack(context_.poller);
    delete each;
  }
}

// What is ready becomes a response, as much as fits into one.
void Session::Compose() {
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<v1::SessionResponse>(&arena);
  Response& response = responses_.emplace_back();
  const core::Now now = context_.clock.Read();
  size_t bytes = 0;
  while (!outbox_.empty() && bytes < kResponseBytesMax) {
    std::unique_ptr<SessionOperation> operation = std::move(outbox_.front());
    outbox_.pop_front();
    bytes += operation->size();
    outbox_bytes_ -= operation->size();
    v1::OperationResult& result = *message.add_results();
    result.set_id(operation->id());
    operation->Write(now, context_.metrics, result);
    ++response.weight;
    if (operation->parkable() != nullptr) response.unwritten.push_back(std::move(operation));
  }
  response.sequence = ++sequence_;
  message.set_sequence(response.sequence);
  response.bytes = Encode(message, &response.size);
  response.weight = std::max<uint64_t>(response.weight, response.size / kResultBytes);
  unacked_ += response.weight;
  unwritten_bytes_ += response.size;
}

void Session::Flush() {
  std::shared_ptr<Link> link;
  grpc::ByteBuffer bytes;
  {
    const core::MutexLock lock(mutex_);
    if (pins_ > 0 || ended_) return;
    // What they stand on is soon needed again; but for a slow reader, to whom a signal is shared
    // memory only as long as it is not copied for each.
    while (outbox_.size() >= kBatch && unwritten_bytes_ < kUnwrittenBytesMax) Compose();
    if (link_ == nullptr || writing_) return;
    if (control_.has_value()) {
      bytes = *std::exchange(control_, std::nullopt);
      written_ = 0;
    } else {
      if (next_ > sequence_ && !outbox_.empty()) Compose();
      if (next_ <= sequence_) {
        bytes = responses_[next_ - responses_.front().sequence].bytes;
        written_ = next_;
      }
    }
    if (bytes.Valid()) {
      writing_ = true;
      said_ = context_.clock.Read().mono;
      link = link_;
    } else if (!half_closed_ || in_flight_ > 0) {
      return;
    }
  }
  if (link == nullptr) {
    End(std::nullopt);  // half-closed, and everything is answered
  } else if (!link->Write(bytes)) {
    Written(*link, false);
  }
}

void Session::Written(const Link& link, bool ok) {
  std::vector<std::unique_ptr<SessionOperation>> spent;
  std::shared_ptr<Link> ends;
  std::optional<Error> error;
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() == &link) {
      if (!ok) {
        written_ = 0;  // nothing is; what is broken is told by Broken
        return;
      }
      writing_ = false;
      if (written_ >= next_) {
        Response& response = responses_[next_ - responses_.front().sequence];
        spent = std::move(response.unwritten);
        unwritten_bytes_ -= response.size;
        next_ = written_ + 1;
      }
      if (ended_) ends = std::exchange(link_, nullptr);
      error = error_;
    } else {
      if (late_link_ != &link) return;
      late_link_ = nullptr;
      if (responses_.empty() || late_ < responses_.front().sequence) return;
      auto& late = responses_[late_ - responses_.front().sequence].unwritten;
      const bool again = writing_ && written_ == late_;  // on another link
      if (ok || (ended_ && !again)) spent = std::move(late);
    }
  }
  if (ends != nullptr) {
    ends->End(error);
    Gone();
  } else if (ok) {
    Flush();
  } else {
    GiveBack(spent);
  }
}

void Session::HalfClosed(const Link& link) {
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() != &link) return;
    half_closed_ = true;
    // A stream that broke looks the same. One more message tells: it is written, or it is not.
    size_t size = 0;
    control_ = Encode(v1::SessionResponse(), &size);
  }
  Flush();
}

bool Session::congested() const {
  const core::MutexLock lock(mutex_);
  return stopped_reading_ || Stuffed();
}

// Results take room before they are written, and operations until the store has them. Both end with
// a Written.
bool Session::Stuffed() const {
  return unwritten_bytes_ + outbox_bytes_ > kUnwrittenBytesMax ||
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
  return link_ == nullptr || (in_flight_ == 0 && !writing_ && outbox_.empty() && next_ > sequence_);
}

void Session::Tick(core::Instant now) {
  std::shared_ptr<Link> silent;
  bool over = false;
  {
    const core::MutexLock lock(mutex_);
    // Who is not read is not silent; whether it is there at all, the connection's own pings tell.
    if (Stuffed()) heard_ = now;
    if (ended_) {
      // Nobody waits for what it does not take.
      if (now - said_ > 2 * context_.keepalive) silent = link_;
    } else if (link_ == nullptr) {
      over = ended_ = broken_ != core::kNever && now - broken_ >= linger_;
    } else if (!half_closed_ && now - heard_ > 2 * context_.keepalive) {
      silent = link_;
    } else if (now - said_ >= context_.keepalive && !writing_) {
      size_t size = 0;
      control_ = Encode(v1::SessionResponse(), &size);
    }
  }
  if (over) {
    Leave();
  } else if (silent != nullptr) {
    silent->Break();
  } else {
    Flush();
  }
}

}  // namespace waitd::server
