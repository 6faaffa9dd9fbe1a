#ifndef WAITD_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
#define WAITD_TESTS_UNIT_CLIENT_FAKE_SERVER_H_

#include <grpcpp/grpcpp.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::internal {

/// A server that speaks sessions and waits on nothing: how it answers an operation is the test's
/// affair, by default not at all. It forgets a session with its stream.
class FakeServer final : public v1::WaitService::Service {
 public:
  /// Writes the answer, and says whether there is one. Runs under the server's lock.
  using Answers = std::function<bool(const v1::Operation&, v1::OperationResult&)>;

  explicit FakeServer(Answers answers) : answers_(std::move(answers)) {
    std::string folder = testing::TempDir() + "waitd-XXXXXX";
    folder_ = mkdtemp(folder.data());
    Start();
  }
  ~FakeServer() override {
    Stop();
    unlink((folder_ + "/socket").c_str());
    rmdir(folder_.c_str());
  }

  std::string address() const { return "unix:" + folder_ + "/socket"; }

  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address(), grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  /// Cuts all streams.
  void Stop() {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  /// Waits until an operation has come that fits.
  v1::Operation Await(const std::function<bool(const v1::Operation&)>& fits) {
    std::unique_lock lock(mutex_);
    size_t next = 0;
    while (true) {
      for (; next < arrived_.size(); ++next) {
        if (fits(arrived_[next])) return arrived_[next];
      }
      came_.wait(lock);
    }
  }
  v1::Operation AwaitName(const std::string& name) {
    return Await([&](const v1::Operation& each) { return each.wait().name() == name; });
  }

  /// How many operations fit, so far.
  size_t Count(const std::function<bool(const v1::Operation&)>& fits) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(arrived_.begin(), arrived_.end(), fits));
  }

 private:
  grpc::Status Session(
      grpc::ServerContext* /*context*/,
      grpc::ServerReaderWriter<v1::SessionResponse, v1::SessionRequest>* stream) override {
    v1::SessionRequest request;
    v1::SessionResponse response;
    if (!stream->Read(&request) || !request.has_hello()) return grpc::Status::CANCELLED;
    response.mutable_welcome()->set_resume_token("token");
    response.mutable_welcome()->set_max_payload_bytes(1000);
    stream->Write(response);
    uint64_t sequence = 0;
    while (stream->Read(&request)) {
      response.Clear();
      for (const v1::Operation& each : request.operations()) Answer(each, response);
      if (response.results_size() == 0) continue;
      response.set_sequence(++sequence);
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  void Answer(const v1::Operation& operation, v1::SessionResponse& response) {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(operation);
    came_.notify_all();
    v1::OperationResult result;
    result.set_id(operation.id());
    if (operation.has_cancel()) {
      v1::OperationResult& cancelled = *response.add_results();
      cancelled.set_id(operation.cancel());
      cancelled.mutable_error()->set_code(grpc::StatusCode::CANCELLED);
    } else if (!answers_(operation, result)) {
      return;
    }
    *response.add_results() = std::move(result);
  }

  const Answers answers_;
  std::string folder_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<v1::Operation> arrived_;  // guarded by mutex_
};

}  // namespace waitd::internal

#endif  // WAITD_TESTS_UNIT_CLIENT_FAKE_SERVER_H_
