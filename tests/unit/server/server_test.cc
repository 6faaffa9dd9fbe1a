// The server as a whole, with a client in the same process: starting, draining, and that what a
// client does to a call leaves nothing behind. What the calls mean is tested through the contract.
#include "server/process/server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/options/memory.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::server {
namespace {

using grpc::StatusCode;

Options OptionsOn(const std::string& address) {
  return {.listen_address = address,
          .metrics_address = "127.0.0.1:0",
          .log_level = "error",
          .log_format = "text",
          .max_descriptors = 100,
          .max_waiters = 100,
          .max_payload_bytes = 1000,
          .max_wait = absl::Hours(1),
          .default_idle_ttl = absl::Hours(1),
          .drain_timeout = absl::ZeroDuration()};
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& each : details.details()) {
    if (each.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::string FieldOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::BadRequest bad;
  for (const auto& each : details.details()) {
    if (each.UnpackTo(&bad)) return bad.field_violations(0).field();
  }
  return "";
}

// A Wait that is under way.
class ParkedWait {
 public:
  ParkedWait(v1::WaitService::Stub& stub, const std::string& name) {
    v1::WaitRequest request;
    request.set_name(name);
    request.mutable_open_if_missing()->set_kind(v1::KIND_LATCH);
    reader_ = stub.AsyncWait(&context_, request, &queue_);
    reader_->Finish(&response_, &status_, this);
  }
  ~ParkedWait() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Cancel() { context_.TryCancel(); }

  const grpc::Status& Await() {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue_.Next(&tag, &ok));
    return status_;
  }

  const v1::WaitResponse& response() const { return response_; }

 private:
  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  grpc::Status status_;
  v1::WaitResponse response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::WaitResponse>> reader_;
};

// With memory as a small machine has it.
class TestServer : public Server {
 public:
  explicit TestServer(const Options& options)
      : Server(options, PlanMemory(options, uint64_t{4} << 30U), nullptr) {}
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    ASSERT_TRUE(server_.Start(&error)) << error;
    channel_ = grpc::CreateChannel(server_.address(), grpc::InsecureChannelCredentials());
    stub_ = v1::WaitService::NewStub(channel_);
  }

  grpc::Status Ready(const std::string& name, v1::ReadyResponse* response) {
    grpc::ClientContext context;
    v1::ReadyRequest request;
    request.set_name(name);
    request.mutable_open_if_missing();
    return stub_->Ready(&context, request, response);
  }

  void AwaitWaiters(uint64_t count) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (server_.waiters() != count) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << server_.waiters() << " waits are parked";
      std::this_thread::yield();
    }
  }

  TestServer server_{OptionsOn("127.0.0.1:0")};
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::WaitService::Stub> stub_;
};

TEST_F(ServerTest, SaysWhichPortsItGot) {
  EXPECT_NE(server_.address(), "127.0.0.1:0");
  EXPECT_NE(server_.metrics_address(), "127.0.0.1:0");
}

TEST_F(ServerTest, AnAddressInUseIsRefusedAndTheFirstServerStays) {
  TestServer second(OptionsOn(server_.address()));
  std::string error;
  EXPECT_FALSE(second.Start(&error));
  EXPECT_NE(error.find(server_.address()), std::string::npos) << error;
  EXPECT_NE(error.find("--listen-address"), std::string::npos) << error;
  v1::ReadyResponse response;
  EXPECT_TRUE(Ready("a", &response).ok());
}

TEST_F(ServerTest, AMetricsAddressInUseIsRefusedAndNothingStaysBehind) {
  Options options = OptionsOn("127.0.0.1:0");
  options.metrics_address = server_.metrics_address();
  TestServer second(options);
  std::string error;
  EXPECT_FALSE(second.Start(&error));
  EXPECT_NE(error.find("--metrics-address"), std::string::npos) << error;
}

TEST_F(ServerTest, ACancelledWaitLeavesAndSpendsNothing) {
  ParkedWait wait(*stub_, "a");
  AwaitWaiters(1);
  wait.Cancel();
  EXPECT_EQ(wait.Await().error_code(), StatusCode::CANCELLED);
  AwaitWaiters(0);
  v1::ReadyResponse response;
  ASSERT_TRUE(Ready("a", &response).ok());
  EXPECT_EQ(response.effect(), v1::READY_EFFECT_REMEMBERED);
}

TEST_F(ServerTest, AWaitThatIsWokenIsAnsweredOnce) {
  ParkedWait wait(*stub_, "a");
  AwaitWaiters(1);
  v1::ReadyResponse response;
  ASSERT_TRUE(Ready("a", &response).ok());
  EXPECT_EQ(response.effect(), v1::READY_EFFECT_WOKE);
  ASSERT_TRUE(wait.Await().ok());
  EXPECT_EQ(wait.response().outcome(), v1::OUTCOME_READY);
  AwaitWaiters(0);
}

TEST_F(ServerTest, DrainRefusesNewWaitsAndLeavesTheParkedOnes) {
  ParkedWait parked(*stub_, "a");
  AwaitWaiters(1);
  server_.Drain();
  ParkedWait late(*stub_, "a");
  const grpc::Status refused = late.Await();
  EXPECT_EQ(refused.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused), "DRAINING");
  EXPECT_EQ(server_.waiters(), 1U);
  v1::ReadyResponse response;
  ASSERT_TRUE(Ready("a", &response).ok());
  EXPECT_TRUE(parked.Await().ok());
}

TEST_F(ServerTest, StopAnswersWhatIsStillParked) {
  std::vector<std::unique_ptr<ParkedWait>> waits;
  for (int i = 0; i < 50; ++i) waits.push_back(std::make_unique<ParkedWait>(*stub_, "a"));
  AwaitWaiters(50);
  server_.Drain();
  server_.Stop();
  for (const auto& wait : waits) {
    const grpc::Status& status = wait->Await();
    EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << status.error_message();
    EXPECT_EQ(ReasonOf(status), "DRAINING");
  }
  EXPECT_EQ(server_.waiters(), 0U);
}

TEST_F(ServerTest, APollsFaultNamesTheFieldOfItsTarget) {
  const auto poll = [this](const v1::PollRequest& request) {
    grpc::ClientContext context;
    v1::PollResponse response;
    return stub_->Poll(&context, request, &response);
  };
  v1::PollRequest request;
  EXPECT_EQ(FieldOf(poll(request)), "targets");
  for (const char* name : {"a", "b", "a"}) request.add_targets()->set_name(name);
  EXPECT_EQ(FieldOf(poll(request)), "targets[2]");
  request.mutable_targets(2)->set_name("c");
  request.set_need(4);
  const grpc::Status needs = poll(request);
  EXPECT_EQ(ReasonOf(needs), "BAD_POLL");
  EXPECT_EQ(FieldOf(needs), "need");
  request.set_need(3);
  request.mutable_targets(1)->set_mode(v1::MODE_READ_WRITE);
  EXPECT_EQ(FieldOf(poll(request)), "targets[1].mode");
}

TEST_F(ServerTest, AStreamWithoutHelloIsRefused) {
  grpc::ClientContext context;
  const auto session = stub_->Session(&context);
  session->Write(v1::SessionRequest());
  session->WritesDone();
  const grpc::Status ended = session->Finish();
  EXPECT_EQ(ended.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(ended), "BAD_SESSION");
}

TEST_F(ServerTest, AStreamThatSaysNothingEndsWell) {
  grpc::ClientContext context;
  const auto session = stub_->Session(&context);
  session->WritesDone();
  EXPECT_TRUE(session->Finish().ok());
}

// Names and labels as long as they may be, so that a whole page would be above what gRPC takes.
TEST(ServerPages, AreShorterThanAClientReceives) {
  constexpr int kDescriptors = 1000;
  Options options = OptionsOn("127.0.0.1:0");
  options.max_descriptors = 2 * kDescriptors;  // one caller has not all of them
  TestServer server(options);
  std::string error;
  ASSERT_TRUE(server.Start(&error)) << error;
  const auto stub = v1::WaitService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  for (int i = 0; i < kDescriptors; ++i) {
    grpc::ClientContext context;
    v1::OpenPollDescriptorRequest request;
    v1::OpenPollDescriptorResponse response;
    const std::string number = std::to_string(i);
    request.set_name(number + std::string(512 - number.size(), 'n'));
    for (char label = 'a'; label < 'a' + 16; ++label) {
      (*request.mutable_options()->mutable_labels())[std::string(63, label)] =
          std::string(256, 'v');
    }
    ASSERT_TRUE(stub->OpenPollDescriptor(&context, request, &response).ok());
  }
  v1::ListPollDescriptorsRequest request;
  request.set_page_size(kDescriptors);
  std::string last;
  int listed = 0;
  do {
    grpc::ClientContext context;
    v1::ListPollDescriptorsResponse response;
    const grpc::Status status = stub->ListPollDescriptors(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    for (const auto& descriptor : response.poll_descriptors()) {
      EXPECT_LT(last, descriptor.name());
      last = descriptor.name();
      ++listed;
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, kDescriptors);
}

TEST(ServerOnAUnixSocket, ServesAndIsNotPushedAside) {
  const std::string address =
      "unix:" + testing::TempDir() + "waitd_server_" + std::to_string(getpid()) + ".sock";
  TestServer server(OptionsOn(address));
  std::string error;
  ASSERT_TRUE(server.Start(&error)) << error;
  EXPECT_EQ(server.address(), address);
  TestServer second(OptionsOn(address));
  EXPECT_FALSE(second.Start(&error));
  EXPECT_NE(error.find("another server"), std::string::npos) << error;
  const auto stub =
      v1::WaitService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::GetPollDescriptorRequest request;
  v1::GetPollDescriptorResponse response;
  request.set_name("a");
  EXPECT_EQ(stub->GetPollDescriptor(&context, request, &response).error_code(),
            StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace waitd::server
