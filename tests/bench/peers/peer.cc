#include "tests/bench/peers/peer.h"

#include <csignal>
#include <iostream>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

namespace waitd::bench {

int ServePeer(const std::string& address,
              const std::function<void(PeerService&, grpc::ServerCompletionQueue&)>& await) {
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stops, nullptr);  // gRPC's threads inherit it

  PeerService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < 2; ++i) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cerr << "cannot listen on " << address << "\n";
    return 1;
  }
  std::vector<std::thread> threads;
  for (auto& queue : queues) {
    await(service, *queue);
    threads.emplace_back([&queue] { Serve(*queue); });
  }
  int signal = 0;
  sigwait(&stops, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  for (auto& queue : queues) queue->Shutdown();
  for (auto& thread : threads) thread.join();
  return 0;
}

}  // namespace waitd::bench
