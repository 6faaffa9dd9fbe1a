#include "server/session/session_stream.h"

#include <google/protobuf/arena.h>
#include <grpcpp/impl/codegen/proto_buffer_reader.h>

#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace waitd::server {

namespace {

constexpr int kHelloSeconds = 10;  // for a client to say hello

// Between two slices, for others: a slice takes some milliseconds.
constexpr std::chrono::microseconds kPause{100};

// A larger message may have so many operations that others would wait for it.
constexpr size_t kAtOnceBytesMax = size_t{48} << 10U;

// Where a message is taken apart: one block a thread, for one message at a time.
google::protobuf::ArenaOptions MessageBlock() {
  constexpr size_t kBytes = size_t{256} << 10;
  thread_local std::vector<char> block(kBytes);
  google::protobuf::ArenaOptions options;
  options.initial_block = block.data();
  options.initial_block_size = kBytes;
  options.max_block_size = kBytes;
  return options;
}

}  // namespace

void SessionStream::Await(Context& context, Sessions& sessions, AsyncService& service,
                          grpc::ServerCompletionQueue& queue) {
  const auto stream = std::make_shared<SessionStream>(context, sessions, service, queue);
  stream->self_ = stream;
  stream->Depart();  // Left comes for every stream that arrives
  stream->server_context_.AsyncNotifyWhenDone(&stream->left_);
  stream->Depart();
  service.RequestSession(&stream->server_context_, &stream->stream_, &queue, &queue,
                         &stream->arrived_);
}

SessionStream::SessionStream(Context& context, Sessions& sessions, AsyncService& service,
                             grpc::ServerCompletionQueue& queue)
    : context_(context), sessions_(sessions), service_(service), queue_(queue) {}

void SessionStream::Landed() {
  if (events_.fetch_sub(1, std::memory_order_acq_rel) == 1) self_.reset();
}

void SessionStream::Arrived(bool ok) {
  if (!ok) {  // the server is shutting down, and Left does not come
    Landed();
    return;
  }
  Await(context_, sessions_, service_, queue_);
  began_ = context_.clock.Read().mono;
  context_.metrics.Started(Method::kSession);
  if (context_.closed.load(std::memory_order_relaxed)) {
    End(context_.SentAway());
    return;
  }
  if (const Fault fault = Enter()) {
    End(fault);
    return;
  }
  AwaitHello();
  Read();
}

// Before anything is read: a stranger gets no further.
Fault SessionStream::Enter() {
  if (Fault fault = context_.gate.Admit(server_context_, &visitor_)) return fault;
  core::Budget& budget = context_.poller.budget();
  const auto verdict = budget.Take(core::Held::kCalls, visitor_.account.get(), kOneCall);
  if (verdict.over) return OverMemory("calls and streams", verdict);
  charge_ = {budget, core::Held::kCalls, visitor_.account, kOneCall};
  guest_ = true;
  return std::nullopt;
}

void SessionStream::AwaitHello() {
  const core::MutexLock lock(mutex_);
  if (finished_) return;
  Depart();
  hello_alarm_.Set(&queue_,
                   gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_seconds(kHelloSeconds, GPR_TIMESPAN)),
                   &hello_due_);
}

// Also when it was called off.
void SessionStream::HelloDue(bool ok) {
  if (!ok || !guest_) return;
  End(Error{.reason = "BAD_SESSION",
            .message = absl::StrCat("no hello came within ", kHelloSeconds,
                                    " seconds; the first message of a stream says hello"),
            .field = "hello"});
}

void SessionStream::Read() {
  Depart();
  stream_.Read(&read_, &has_read_);
}

void SessionStream::HasRead(bool ok) {
  if (guest_) {
    // What comes after the end makes no session.
    const core::MutexLock lock(mutex_);
    hello_alarm_.Cancel();
    if (finished_) return;
  }
  if (!ok) {
    if (session_ != nullptr) {
      session_->HalfClosed(*this);
    } else {
      End(std::nullopt);
    }
    return;
  }
  const core::Instant received = context_.clock.Read().mono;
  if (session_ != nullptr && read_.Length() > kAtOnceBytesMax) return CarryOutLater(received);
  google::protobuf::Arena arena(MessageBlock());
  if (const auto error = CarryOut(arena, received)) return EndWith(error);
  ReadOn();
}

void SessionStream::EndWith(const std::optional<Error>& error) {
  if (session_ != nullptr) {
    session_->End(error);
  } else {
    End(error);
  }
}

void SessionStream::ReadOn() {
  paused_ = session_->congested();
  if (!paused_) Read();
}

// A large message, on a thread where it makes nobody wait; one at a time is parsed.
void SessionStream::CarryOutLater(core::Instant received) {
  Depart();
  sessions_.worker().Do([this, received, self = shared_from_this()] {
    {
      google::protobuf::Arena arena;
      error_ = CarryOut(arena, received);
    }
    {
      const core::MutexLock lock(mutex_);
      if (!finished_) {
        carried_out_alarm_.Set(&queue_, gpr_inf_past(GPR_CLOCK_MONOTONIC), &is_carried_out_);
        return;
      }
    }
    Landed();
  });
}

void SessionStream::IsCarriedOut(bool /*ok*/) {
  if (error_.has_value()) return EndWith(error_);
  ReadOn();
}

// The message that was read. An error ends the stream, and its session if it has one.
std::optional<Error> SessionStream::CarryOut(google::protobuf::Arena& arena,
                                             core::Instant received) {
  const bool first = session_ == nullptr;
  const size_t bytes_max = first ? kAtOnceBytesMax : kMessageOverhead + context_.signals.bytes_max;
  if (read_.Length() > bytes_max) {
    return Error{.reason = "BAD_SESSION",
                 .message = absl::StrCat(first ? "the first message" : "a message",
                                         " of a session has at most ", bytes_max, " bytes"),
                 .field = {}};
  }
  auto& message = *google::protobuf::Arena::CreateMessage<v1::SessionRequest>(&arena);
  {
    grpc::ProtoBufferReader reader(&read_);
    if (!message.ParseFromZeroCopyStream(&reader)) {
      return Error{.reason = "BAD_SESSION", .message = "the message cannot be parsed", .field = {}};
    }
  }
  read_.Clear();
  if (first) {
    if (auto error = Begin(message)) return error;
  }
  for (int next = 0;;) {
    if (auto error = session_->Receive(*this, message, arena, received, first, &next)) return error;
    if (next == message.operations_size()) return std::nullopt;
    // A lock goes to whoever asks first, and who waits for one asks later than this thread.
    std::this_thread::sleep_for(kPause);
  }
}

std::optional<Error> SessionStream::Begin(v1::SessionRequest& message) {
  // Whoever waits is shown by some name to those who find its place taken.
  if (message.has_hello() && message.hello().client().empty()) {
    message.mutable_hello()->set_client(server_context_.peer());
  }
  if (Fault fault = context_.gate.Refresh(&visitor_)) return fault;
  std::shared_ptr<Session> session;
  guest_ = false;
  if (auto error = sessions_.Begin(shared_from_this(), std::move(visitor_), message, &session)) {
    return error;
  }
  session_ = std::move(session);
  return std::nullopt;
}

// The session may have picked this link just before it heard that it is broken, and may come when
// its last event is over.
bool SessionStream::Write(const grpc::ByteBuffer& bytes) {
  const core::MutexLock lock(mutex_);
  if (finished_) return false;
  Depart();
  stream_.Write(bytes, &has_written_);
  return true;
}

void SessionStream::HasWritten(bool ok) {
  session_->Written(*this, ok);
  if (ok && paused_ && !session_->congested()) {
    paused_ = false;
    Read();
  }
}

void SessionStream::End(const std::optional<Error>& error) {
  if (error.has_value()) context_.metrics.Refused(error->reason);
  Finish(error.has_value() ? ToStatus(*error) : grpc::Status::OK);
}

// Left comes here, too, unless it tells of this end: before that has begun it is not the last.
void SessionStream::Finish(const grpc::Status& status) {
  const core::MutexLock lock(mutex_);
  if (std::exchange(finished_, true)) return;
  context_.metrics.Handled(Method::kSession, status.error_code(),
                           context_.clock.Read().mono - began_);
  hello_alarm_.Cancel();
  Depart();
  stream_.Finish(status, &finished_event_);
}

// The client has gone, or has its answer.
void SessionStream::Left(bool /*ok*/) {
  if (!server_context_.IsCancelled()) return;
  if (session_ != nullptr) session_->Broken(*this);
  Finish({grpc::StatusCode::CANCELLED, "the stream broke"});
}

}  // namespace waitd::server
