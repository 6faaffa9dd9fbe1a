#include "client/transport/grpc_transport.h"

#include <grpc/support/time.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>

#include "client/transport/convert.h"

namespace waitd::internal {
namespace {

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  // A stream with parked waits is silent, and what is silent is cut, or is gone and nobody knows.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A message is as large as the signals in it, and the server bounds those.
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

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

GrpcTransport::GrpcTransport(std::string address)
    : address_(std::move(address)), out_arena_(Blocks()), in_arena_(Blocks()) {}

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
  stub_ = v1::WaitService::NewStub(Connect(address_));
  stream_ = stub_->PrepareAsyncSession(context_.get(), &queue_);
  stream_->StartCall(Tag(Event::kOpened));
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
      engine.OnClosed(absl::Status(static_cast<absl::StatusCode>(status_.error_code()),
                                   status_.error_message()));
      break;
    case Event::kWoken:
      engine.OnWoken();
      break;
  }
}

}  // namespace waitd::internal
