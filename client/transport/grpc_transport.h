#ifndef WAITD_CLIENT_TRANSPORT_GRPC_TRANSPORT_H_
#define WAITD_CLIENT_TRANSPORT_GRPC_TRANSPORT_H_

#include <google/protobuf/arena.h>
#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>

#include <memory>

#include "client/engine/engine.h"
#include "client/engine/transport.h"
#include "client/transport/dialer.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::internal {

/// The session's stream over gRPC, by a completion queue that one thread of the client's polls: the
/// threads of the callback API sleep when nothing happens, and who waits is idle by nature.
///
/// Threads:  as Transport says; Run is the client's thread.
/// Lifetime: outlives Run. Nothing of a stream is left when its OnClosed has come and no write is
///           under way, which the engine makes sure of before it opens another.
class GrpcTransport final : public Transport {
 public:
  explicit GrpcTransport(Dialer dialer);
  ~GrpcTransport() override;

  void Open() override;
  void Encode(const OutMessage& message) override;
  void Send() override;
  void Break() override { context_->TryCancel(); }
  void Wake() override;

  /// Hands events and time to the engine until it has finished.
  void Run(Engine& engine, const Clock& clock);

 private:
  // What a completion queue hands back. There is one stream, so that a tag says it all.
  enum class Event : intptr_t { kOpened = 1, kRead, kWritten, kEnded, kWoken };
  static void* Tag(Event event);

  void Happened(Engine& engine, Event event, bool ok);
  absl::Status Connect();
  void BeginRead();

  Dialer dialer_;
  grpc::CompletionQueue queue_;
  grpc::Alarm alarm_;
  grpc::Alarm ended_;  // in place of a stream that could not be begun
  // A new one for each stream: another connection is tried at once, at the engine's pace, and not a
  // former one whose peer may be gone without a word.
  std::unique_ptr<v1::WaitService::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::SessionRequest, v1::SessionResponse>> stream_;
  grpc::Status status_;
  // Each message is laid out in one piece: made field by field, with a thousand operations in it,
  // it would cost the client more than all the rest. What is written belongs to whoever writes.
  google::protobuf::Arena out_arena_;
  v1::SessionRequest* out_ = nullptr;
  bool last_ = false;
  google::protobuf::Arena in_arena_;
  v1::SessionResponse* in_ = nullptr;
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_TRANSPORT_GRPC_TRANSPORT_H_
