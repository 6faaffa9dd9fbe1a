#include "client/transport/grpc_transport.h"

#include <grpc/support/time.h>

#include <string>
#include <utility>

#include "client/transport/convert.h"

namespace waitd::internal {
namespace {

gpr_timespec After(absl::Duration pause) {
  if (pause == absl::InfiniteDuration()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(pause), GPR_TIMESPAN));
}

// Larger blocks than by default, for large messages.
google::protobuf::ArenaOptions Blocks() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 1 << 10;
  options.max_block_size = 1 << 16;
  return options;
}

}  // namespace

GrpcTransport::GrpcTransport(Dialer dialer)
    : dialer_(std::move(dialer)), out_arena_(Blocks()), in_arena_(Blocks()) {}

GrpcTransport::~GrpcTransport() {
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

// NOLINTNEXTLINE(performance-no-int-to-ptr): a tag is a pointer, and a number is what it says.
void* GrpcTransport::Tag(Event event) { return reinterpret_cast<void*>(event); }

void GrpcTransport::Open() {
  stream_.reset();
  context_ = std::make_unique<grpc::ClientContext>();
  if (absl::Status fault = Connect(); !fault.ok()) {
    status_ = {static_cast<grpc::StatusCode>(fault.code()), std::string(fault.message())};
    ended_.Set(&queue_, gpr_now(GPR_CLOCK_MONOTONIC), Tag(Event::kEnded));
    return;
  }
  stream_ = stub_->PrepareAsyncSession(context_.get(), &queue_);
  stream_->StartCall(Tag(Event::kOpened));
}

absl::Status GrpcTransport::Connect() {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = dialer_.Dial();
  if (!channel.ok()) return channel.status();
  stub_ = v1::WaitService::NewStub(*std::move(channel));
  return dialer_.Authorize(*context_);
}

void GrpcTransport::Encode(const OutMessage& message) {
  out_arena_.Reset();
  out_ = google::protobuf::Arena::CreateMessage<v1::SessionRequest>(&out_arena_);
  Write(message, *out_);
  last_ = message.last;
}

void GrpcTransport::Send() {
  if (last_) {
    stream_->WriteLast(*out_, grpc::WriteOptions(), Tag(Event::kWritten));
  } else {
    stream_->Write(*out_, Tag(Event::kWritten));
  }
}

void GrpcTransport::BeginRead() {
  in_arena_.Reset();
  in_ = google::protobuf::Arena::CreateMessage<v1::SessionResponse>(&in_arena_);
  stream_->Read(in_, Tag(Event::kRead));
}

void GrpcTransport::Wake() {
  alarm_.Set(&queue_, gpr_now(GPR_CLOCK_MONOTONIC), Tag(Event::kWoken));
}

void GrpcTransport::Run(Engine& engine, const Clock& clock) {
  while (true) {
    const Instant next = engine.Tick();
    if (engine.Finished()) return;
    void* tag = nullptr;
    bool ok = false;
    const gpr_timespec until = After(next == kNever ? next : next - clock.Now());
    if (queue_.AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) continue;
    Happened(engine, static_cast<Event>(reinterpret_cast<intptr_t>(tag)), ok);
  }
}

void GrpcTransport::Happened(Engine& engine, Event event, bool ok) {
  switch (event) {
    case Event::kOpened:
      if (ok) {
        BeginRead();
        engine.OnOpened();
      } else {
        stream_->Finish(&status_, Tag(Event::kEnded));
      }
      break;
    case Event::kRead:
      if (ok) {
        InMessage message = Read(*in_);
        BeginRead();  // the next one arrives while this one is worked on
        engine.OnMessage(std::move(message));
      } else {
        stream_->Finish(&status_, Tag(Event::kEnded));
      }
      break;
    case Event::kWritten:
      engine.OnWritten(ok);
      break;
    case Event::kEnded:
      engine.OnClosed(Read(status_));
      break;
    case Event::kWoken:
      engine.OnWoken();
      break;
  }
}

}  // namespace waitd::internal
