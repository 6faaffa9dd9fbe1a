#ifndef WAITD_TESTS_BENCH_PEERS_PEER_H_
#define WAITD_TESTS_BENCH_PEERS_PEER_H_

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

#include "tests/bench/event.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::bench {

/// What a peer offers of waitd's contract: the one unary call and the one stream that are measured.
using PeerService = v1::WaitService::WithAsyncMethod_Ready<
    v1::WaitService::WithAsyncMethod_Session<v1::WaitService::Service>>;

/// A unary call that answers at once, with an empty message: the least that a Ready can cost. As in
/// waitd its messages live on an arena.
class Echo {
 public:
  static void Await(PeerService& service, grpc::ServerCompletionQueue& queue) {
    new Echo(service, queue);
  }

 private:
  Echo(PeerService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue) {
    service.RequestReady(&context_, request_, &writer_, &queue, &queue, &arrived_);
  }

  void Arrived(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    Await(service_, queue_);
    writer_.Finish(*response_, grpc::Status::OK, &ended_);
  }
  void Ended(bool /*ok*/) { delete this; }

  PeerService& service_;
  grpc::ServerCompletionQueue& queue_;
  google::protobuf::Arena arena_;
  v1::ReadyRequest* const request_ =
      google::protobuf::Arena::CreateMessage<v1::ReadyRequest>(&arena_);
  v1::ReadyResponse* const response_ =
      google::protobuf::Arena::CreateMessage<v1::ReadyResponse>(&arena_);
  grpc::ServerContext context_;
  grpc::ServerAsyncResponseWriter<v1::ReadyResponse> writer_{&context_};
  To<Echo, &Echo::Arrived> arrived_{*this};
  To<Echo, &Echo::Ended> ended_{*this};
};

/// Serves at the address until the process is told to stop: two completion queues, a thread each,
/// as waitd has them. `await` is to wait for the first calls on a queue.
/// Returns the process's exit code.
int ServePeer(const std::string& address,
              const std::function<void(PeerService&, grpc::ServerCompletionQueue&)>& await);

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_PEERS_PEER_H_
