// The least that gRPC can do: a unary call that answers at once, and a stream that answers each
// message with one of as many results. Usage: echo_peer HOST:PORT
#include <iostream>

#include "tests/bench/peers/peer.h"

namespace waitd::bench {
namespace {

/// A stream on which one message is read, answered, and then the next one is read.
class PingPong {
 public:
  static void Await(PeerService& service, grpc::ServerCompletionQueue& queue) {
    new PingPong(service, queue);
  }

 private:
  PingPong(PeerService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue) {
    service.RequestSession(&context_, &stream_, &queue, &queue, &arrived_);
  }

  void Arrived(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    Await(service_, queue_);
    stream_.Read(&request_, &read_);
  }

  void Read(bool ok) {
    if (!ok) {
      stream_.Finish(grpc::Status::OK, &ended_);
      return;
    }
    response_.Clear();
    if (request_.has_hello()) response_.mutable_welcome();
    for (const v1::Operation& operation : request_.operations()) {
      v1::OperationResult& result = *response_.add_results();
      result.set_id(operation.id());
      result.mutable_wait()->set_outcome(v1::OUTCOME_READY);
    }
    stream_.Write(response_, &written_);
  }

  void Written(bool ok) {
    if (ok) {
      stream_.Read(&request_, &read_);
    } else {
      stream_.Finish(grpc::Status::OK, &ended_);
    }
  }

  void Ended(bool /*ok*/) { delete this; }

  PeerService& service_;
  grpc::ServerCompletionQueue& queue_;
  v1::SessionRequest request_;
  v1::SessionResponse response_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<v1::SessionResponse, v1::SessionRequest> stream_{&context_};
  To<PingPong, &PingPong::Arrived> arrived_{*this};
  To<PingPong, &PingPong::Read> read_{*this};
  To<PingPong, &PingPong::Written> written_{*this};
  To<PingPong, &PingPong::Ended> ended_{*this};
};

}  // namespace
}  // namespace waitd::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: echo_peer HOST:PORT\n";
    return 2;
  }
  using waitd::bench::Echo;
  using waitd::bench::PingPong;
  return waitd::bench::ServePeer(
      argv[1], [](waitd::bench::PeerService& service, grpc::ServerCompletionQueue& queue) {
        for (int i = 0; i < 4; ++i) Echo::Await(service, queue);
        PingPong::Await(service, queue);
      });
}
