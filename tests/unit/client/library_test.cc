// The client library over real gRPC, against a server that the test plays.

#include <gtest/gtest.h>

#include <coroutine>
#include <fstream>
#include <future>
#include <utility>

#include "absl/time/clock.h"
#include "client/engine/validate.h"
#include "client/transport/convert.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/unit/client/fake_server.h"
#include "waitd/client.h"
#include "waitd/ephemeral_descriptor.h"
#include "waitd/heartbeat.h"

namespace waitd {
namespace {

using internal::FakeServer;

// Answers each operation as if all went well; a wait on "parks" parks.
bool Well(const v1::Operation& operation, v1::OperationResult& result) {
  switch (operation.operation_case()) {
    case v1::Operation::kWait:
      if (operation.wait().name() == "parks") return false;
      result.mutable_wait()->set_outcome(v1::OUTCOME_READY);
      result.mutable_wait()->mutable_signal()->set_data("for " + operation.wait().name());
      result.mutable_wait()->set_delivery(7);
      result.mutable_wait()->set_generation(5);
      return true;
    case v1::Operation::kReady:
      result.mutable_ready()->set_effect(v1::READY_EFFECT_WOKE);
      result.mutable_ready()->set_woken(1);
      return true;
    case v1::Operation::kSetDeadline:
      result.mutable_set_deadline()->set_applied(true);
      result.mutable_set_deadline()->set_generation(5);
      return true;
    case v1::Operation::kOpen:
      result.mutable_open()->mutable_poll_descriptor()->set_generation(5);
      result.mutable_open()->set_created(true);
      return true;
    case v1::Operation::kClose:
      result.mutable_close();
      return true;
    case v1::Operation::kReset:
      result.mutable_reset()->set_reset(true);
      return true;
    case v1::Operation::kAck:
      result.mutable_ack();
      return true;
    default:
      return false;
  }
}

// A coroutine that nobody awaits.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

TEST(LibraryTest, CallsComeInThreeForms) {
  FakeServer server(Well);
  std::promise<std::string> called;  // before the client, whose thread may still be inside it
  std::promise<std::string> resumed;
  Client client(server.address());
  const auto blocked = client.Wait("a", {.timeout = absl::Seconds(10)}).Get();
  ASSERT_TRUE(blocked.ok()) << blocked.status();
  EXPECT_EQ(blocked->outcome, Outcome::kReady);
  EXPECT_EQ(blocked->signal.data, "for a");
  EXPECT_EQ(blocked->name, "a");

  client.Wait("b").Then(
      [&](absl::StatusOr<WaitResult> result) { called.set_value(result->signal.data); });
  EXPECT_EQ(called.get_future().get(), "for b");

  [](Client& its, std::promise<std::string>& done) -> Detached {
    const auto first = co_await its.Wait("c", {.timeout = absl::Seconds(10)});
    const auto second = co_await its.Ready("c", "x");
    done.set_value(first->signal.data + (second->effect == ReadyEffect::kWoke ? " woke" : ""));
  }(client, resumed);
  EXPECT_EQ(resumed.get_future().get(), "for c woke");
}

TEST(LibraryTest, EachCallReachesTheServerAndIsAnswered) {
  FakeServer server(Well);
  Client client(server.address());
  EXPECT_TRUE(client.Open("a").Get()->created);
  EXPECT_EQ(client.Create("a", {.kind = Kind::kLatch}).Get()->generation, 5U);
  EXPECT_TRUE(client.SetDeadline("a", absl::Seconds(5)).Get()->applied);
  EXPECT_TRUE(client.SetDeadline("a", absl::Now()).Get()->applied);
  EXPECT_TRUE(client.ClearDeadline("a").Get()->applied);
  EXPECT_TRUE(client.Reset("a", {.mode = Mode::kReadWrite}).Get()->reset);
  EXPECT_TRUE(client.Close("a", {.generation = 5}).Get().ok());
  const auto result = client.Wait("a", {.ack_timeout = absl::Seconds(1)}).Get();
  EXPECT_TRUE(client.Ack(*result).Get().ok());
  const v1::Operation ack = server.Await([](const v1::Operation& each) { return each.has_ack(); });
  EXPECT_EQ(ack.ack().wait_id(), result->wait_id);
  EXPECT_EQ(ack.ack().delivery(), 7U);
  EXPECT_EQ(ack.ack().generation(), 5U);
}

TEST(LibraryTest, GetOnTheClientsThreadIsRefusedInsteadOfHanging) {
  FakeServer server(Well);
  std::promise<absl::Status> inside;
  Client client(server.address());
  client.Wait("a").Then(
      [&](const auto& /*result*/) { inside.set_value(client.Wait("b").Get().status()); });
  EXPECT_EQ(inside.get_future().get().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LibraryTest, SilentServerEndsATimedWaitAsDeadlineExceeded) {
  FakeServer server(Well);
  Client client(server.address(), {.call_timeout = absl::Milliseconds(50)});
  EXPECT_EQ(client.Wait("parks", {.timeout = absl::Milliseconds(1)}).Get().status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(LibraryTest, AbsentServerEndsATimedCallAndSaysWhy) {
  Client client("unix:/nonexistent/waitd", {.call_timeout = absl::Milliseconds(300)});
  const absl::Status status = client.Ready("a").Get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("trouble"), absl::string_view::npos) << status;
}

TEST(LibraryTest, WaitSurvivesARestartOfTheServerUnderItsId) {
  FakeServer server(Well);
  Client client(server.address());
  client.Wait("parks").Then([](const auto& /*result*/) {});
  const v1::Operation first = server.AwaitName("parks");
  server.Stop();
  server.Start();
  const v1::Operation again = server.Await([](const v1::Operation& each) {
    return each.wait().name() == "parks" && each.wait().has_first_sent_ago();
  });
  EXPECT_EQ(again.id(), first.id());
  EXPECT_EQ(again.wait().wait_id(), first.wait().wait_id());
}

TEST(LibraryTest, StopEndsAWait) {
  FakeServer server(Well);
  Client client(server.address());
  std::stop_source stop;
  std::thread stopper([&] {
    server.AwaitName("parks");
    stop.request_stop();
  });
  EXPECT_EQ(client.Wait("parks", {}, stop.get_token()).Get().status().code(),
            absl::StatusCode::kCancelled);
  stopper.join();
}

TEST(LibraryTest, EndOfTheClientEndsItsCallsAsCancelled) {
  FakeServer server(Well);
  std::promise<absl::StatusCode> wait;
  {
    Client client(server.address());
    client.Wait("parks").Then([&](const auto& result) { wait.set_value(result.status().code()); });
    server.AwaitName("parks");
  }
  EXPECT_EQ(wait.get_future().get(), absl::StatusCode::kCancelled);
}

TEST(LibraryTest, CallThatIsDroppedIsNotSent) {
  FakeServer server(Well);
  Client client(server.address());
  { const Call<WaitResult> dropped = client.Wait("dropped"); }
  EXPECT_TRUE(client.Wait("a").Get().ok());
  EXPECT_EQ(server.Count([](const v1::Operation& each) { return each.wait().name() == "dropped"; }),
            0U);
}

TEST(HeartbeatTest, BeatsByTheGenerationThatTheFirstBeatReached) {
  FakeServer server(Well);
  Client client(server.address());
  auto heartbeat = Heartbeat::Start(client, "worker", absl::Milliseconds(1500));
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  EXPECT_EQ(heartbeat->generation(), 5U);
  const v1::Operation later =
      server.Await([](const v1::Operation& each) { return each.set_deadline().generation() == 5; });
  EXPECT_EQ(later.set_deadline().condition(), v1::DEADLINE_CONDITION_ARM_OR_EXTEND);
  EXPECT_EQ(later.set_deadline().timeout().seconds(), 1);
  EXPECT_EQ(later.set_deadline().timeout().nanos(), 500'000'000);
  EXPECT_TRUE(heartbeat->status().ok());
  EXPECT_FALSE(heartbeat->lost().stop_requested());
}

TEST(HeartbeatTest, EachBeatHasTheLabelsThatItBeganWith) {
  FakeServer server(Well);
  Client client(server.address());
  TextMap labels = {{"team", "web"}};
  auto heartbeat = Heartbeat::Start(client, "worker", absl::Milliseconds(900),
                                    {.open_if_missing = OpenOptions{.labels = &labels}});
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  labels["team"] = "db";
  const v1::Operation later =
      server.Await([](const v1::Operation& each) { return each.set_deadline().generation() == 5; });
  EXPECT_EQ(later.set_deadline().open_if_missing().labels().at("team"), "web");
}

TEST(HeartbeatTest, BeginThatHadToWaitIsNoSilence) {
  constexpr absl::Duration kTtl = absl::Milliseconds(1500);
  bool first = true;
  FakeServer server([&](const v1::Operation& operation, v1::OperationResult& result) {
    if (std::exchange(first, false)) absl::SleepFor(kTtl);
    return Well(operation, result);
  });
  Client client(server.address());
  auto heartbeat = Heartbeat::Start(client, "worker", kTtl);
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  server.Await([](const v1::Operation& each) { return each.set_deadline().generation() == 5; });
  EXPECT_TRUE(heartbeat->status().ok()) << heartbeat->status();
}

TEST(HeartbeatTest, ExpiredDeadlineStopsIt) {
  int beats = 0;
  FakeServer server([&](const v1::Operation& operation, v1::OperationResult& result) {
    const bool expired = operation.has_set_deadline() && ++beats == 3;
    const bool answered = Well(operation, result);
    if (expired) {
      result.mutable_set_deadline()->set_applied(false);
      result.mutable_set_deadline()->mutable_read()->set_expired(true);
    }
    return answered;
  });
  Client client(server.address());
  auto heartbeat = Heartbeat::Start(client, "worker", absl::Seconds(2));
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  std::promise<void> lost;
  const std::stop_callback hears(heartbeat->lost(), [&] { lost.set_value(); });
  lost.get_future().get();
  EXPECT_EQ(ReasonOf(heartbeat->status()), "EXPIRED");
}

TEST(HeartbeatTest, NoneBeginsOnAnExpiredDeadline) {
  FakeServer server([](const v1::Operation& operation, v1::OperationResult& result) {
    const bool answered = Well(operation, result);
    if (answered) result.mutable_set_deadline()->mutable_read()->set_expired(true);
    return answered;
  });
  Client client(server.address());
  EXPECT_EQ(ReasonOf(Heartbeat::Start(client, "worker", absl::Seconds(1)).status()), "EXPIRED");
}

TEST(HeartbeatTest, SilenceIsLoss) {
  FakeServer server([](const v1::Operation& operation, v1::OperationResult& result) {
    return operation.set_deadline().generation() == 0 && Well(operation, result);
  });
  Client client(server.address());
  auto heartbeat = Heartbeat::Start(client, "worker", absl::Milliseconds(900));
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  std::promise<void> lost;
  const std::stop_callback hears(heartbeat->lost(), [&] { lost.set_value(); });
  lost.get_future().get();
  EXPECT_EQ(heartbeat->status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(EphemeralDescriptorTest, IsOpenedForTheSessionAndClosedByItsGeneration) {
  FakeServer server(Well);
  Client client(server.address());
  {
    auto descriptor = EphemeralDescriptor::Create(client, "mine", {.kind = Kind::kFifo});
    ASSERT_TRUE(descriptor.ok()) << descriptor.status();
    EXPECT_EQ(descriptor->generation(), 5U);
    const EphemeralDescriptor moved = *std::move(descriptor);
    EXPECT_EQ(moved.name(), "mine");
  }
  const v1::Operation close =
      server.Await([](const v1::Operation& each) { return each.has_close(); });
  EXPECT_EQ(close.close().generation(), 5U);
  const v1::Operation open =
      server.Await([](const v1::Operation& each) { return each.has_open(); });
  EXPECT_TRUE(open.open().options().ephemeral());
  EXPECT_TRUE(open.open().must_create());
  EXPECT_EQ(server.Count([](const v1::Operation& each) { return each.has_close(); }), 1U);
}

v1::Operation Converted(internal::Request request, absl::Duration timeout, absl::Duration ago) {
  internal::OutMessage message;
  message.attempts.push_back(
      {.id = 9, .request = &request, .timeout = timeout, .first_sent_ago = ago});
  v1::SessionRequest to;
  internal::Write(message, to);
  EXPECT_EQ(to.operations_size(), 1);
  return to.operations(0);
}

TEST(ConvertTest, WaitKeepsWhatWasAsked) {
  const TextMap labels = {{"k", "v"}};
  const v1::Operation to = Converted(
      {.name = "a",
       .id = "the id",
       .what = internal::WaitCall(WaitOptions{
           .mode = Mode::kWrite,
           .ignore_deadline = true,
           .open_if_missing =
               OpenOptions{.kind = Kind::kFifo, .labels = &labels, .idle_ttl = absl::Hours(1)},
           .ack_timeout = absl::Milliseconds(1500),
           .generation = 12})},
      absl::InfiniteDuration(), absl::Seconds(2));
  EXPECT_EQ(to.id(), 9U);
  EXPECT_EQ(to.wait().name(), "a");
  EXPECT_EQ(to.wait().wait_id(), "the id");
  EXPECT_EQ(to.wait().mode(), v1::MODE_WRITE);
  EXPECT_FALSE(to.wait().has_timeout());
  EXPECT_TRUE(to.wait().ignore_deadline());
  EXPECT_EQ(to.wait().open_if_missing().kind(), v1::KIND_FIFO);
  EXPECT_EQ(to.wait().open_if_missing().labels().at("k"), "v");
  EXPECT_EQ(to.wait().open_if_missing().idle_ttl().seconds(), 3600);
  EXPECT_EQ(to.wait().ack_timeout().seconds(), 1);
  EXPECT_EQ(to.wait().ack_timeout().nanos(), 500'000'000);
  EXPECT_EQ(to.wait().generation(), 12U);
  EXPECT_EQ(to.wait().first_sent_ago().seconds(), 2);
}

TEST(ConvertTest, DeadlinesComeInThreeFormsAndAreHeldInRange) {
  const auto deadline = [](auto when) {
    return Converted({.name = "a", .id = "i", .what = internal::DeadlineCall(when)},
                     absl::InfiniteDuration(), absl::ZeroDuration())
        .set_deadline();
  };
  EXPECT_EQ(deadline(absl::Milliseconds(-1)).timeout().nanos(), -1'000'000);
  EXPECT_EQ(deadline(absl::InfiniteDuration()).timeout().seconds(), 315'576'000'000);
  EXPECT_EQ(deadline(absl::UnixEpoch() - absl::Nanoseconds(1)).at().seconds(), -1);
  EXPECT_EQ(deadline(absl::UnixEpoch() - absl::Nanoseconds(1)).at().nanos(), 999'999'999);
  EXPECT_EQ(deadline(absl::InfiniteFuture()).at().seconds(), 253'402'300'799);
  EXPECT_EQ(deadline(absl::InfinitePast()).at().seconds(), -62'135'596'800);
  EXPECT_TRUE(deadline(internal::ClearDeadline()).has_clear());
}

TEST(ConvertTest, SizeOfASignalIsThatOfItsEncoding) {
  std::vector<Signal> signals = {
      Signal(),
      std::string(127, 'x'),
      Signal(std::string(128, 'x'), "text/plain"),
      Signal::Failed(0, ""),
      Signal::Failed(300, "two failed"),
      Signal::Failed(-1, std::string(20'000, 'x')),
      std::string("\0\xFF", 2),
  };
  signals[0].attributes = {{"traceparent", "00-abc"}, {"empty", ""}, {std::string(200, 'k'), "v"}};
  for (const Signal& signal : signals) {
    const v1::Operation to =
        Converted({.name = "a", .id = "i", .what = internal::ReadyCall(signal)},
                  absl::InfiniteDuration(), absl::ZeroDuration());
    EXPECT_EQ(internal::EncodedSize(signal), to.ready().signal().ByteSizeLong());
    EXPECT_EQ(to.ready().signal().data(), signal.data);
  }
}

TEST(ConvertTest, ErrorWithoutACodeIsNoAnswer) {
  v1::SessionResponse from;
  from.add_results()->mutable_error()->set_reason("ODD");
  (*from.mutable_results(0)->mutable_error()->mutable_metadata())["who"] = "me";
  from.mutable_results(0)->mutable_error()->mutable_retry_delay()->set_nanos(5);
  const internal::InMessage to = internal::Read(from);
  const absl::Status status = to.results.at(0).answer.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(ReasonOf(status), "ODD");
  EXPECT_EQ(DetailOf(status, "who"), "me");
  EXPECT_EQ(RetryDelayOf(status), absl::Nanoseconds(5));
}

TEST(ConvertTest, RefusalOfAStreamSaysAllThatItKnows) {
  EXPECT_TRUE(internal::Read(grpc::Status::OK).ok());
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason("FORBIDDEN");
  (*info.mutable_metadata())["who"] = "ci";
  google::rpc::BadRequest request;
  request.add_field_violations()->set_field("name");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  details.add_details()->PackFrom(request);
  details.add_details()->PackFrom(info);
  details.add_details()->PackFrom(retry);
  const absl::Status status = internal::Read(
      grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "no", details.SerializeAsString()));
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(status.message(), "no");
  EXPECT_EQ(ReasonOf(status), "FORBIDDEN");
  EXPECT_EQ(FieldOf(status), "name");
  EXPECT_EQ(RetryDelayOf(status), absl::Seconds(2));
  EXPECT_EQ(DetailOf(status, "who"), "ci");
}

TEST(ConvertTest, PollKeepsItsTargetsAndTheirResults) {
  const v1::Operation to =
      Converted({.name = {},
                 .id = "i",
                 .what = internal::PollCall({{.name = "a"}, {.name = "b", .mode = Mode::kWrite}},
                                            {.need = 2})},
                absl::Seconds(3), absl::ZeroDuration());
  EXPECT_EQ(to.poll().targets(1).mode(), v1::MODE_WRITE);
  EXPECT_EQ(to.poll().need(), 2U);
  EXPECT_EQ(to.poll().timeout().seconds(), 3);
  EXPECT_FALSE(to.poll().has_first_sent_ago());
  v1::SessionResponse from;
  v1::PollResponse& answer = *from.add_results()->mutable_poll();
  answer.set_outcome(v1::OUTCOME_TIMED_OUT);
  answer.set_timeout_cause(v1::TIMEOUT_CAUSE_DEADLINE);
  answer.add_results()->set_target(1);
  answer.mutable_results(0)->mutable_response()->set_outcome(v1::OUTCOME_CLOSED);
  const internal::InMessage read = internal::Read(from);
  const auto& result = std::get<PollResult>(*read.results.at(0).answer);
  EXPECT_EQ(result.outcome, Outcome::kTimedOut);
  EXPECT_EQ(result.timeout_cause, TimeoutCause::kDeadline);
  EXPECT_EQ(result.targets.at(0).index, 1U);
  EXPECT_EQ(result.targets.at(0).result.outcome, Outcome::kClosed);
}

TEST(LibraryStateTest, FileThatIsMissingEndsCallsUntilItIsThere) {
  FakeServer server(Well);
  const std::string path = testing::TempDir() + "waitd-token-" + std::to_string(getpid());
  Client client(server.address(), {.credentials = {.token_file = path}});
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = client.Wait("a").Get().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(path), absl::string_view::npos) << status;
  }
  std::ofstream(path) << "token";
  EXPECT_TRUE(client.Wait("a").Get().ok());
  unlink(path.c_str());
}

TEST(LibraryStateTest, ClientThatIsNotToWaitSaysThatNobodyIsThere) {
  std::promise<absl::Status> heard;
  bool told = false;
  {
    Client client("unix:" + testing::TempDir() + "nobody",
                  {.wait_for_ready = false, .on_state = [&](const absl::Status& state) {
                     if (!std::exchange(told, true)) heard.set_value(state);
                   }});
    EXPECT_EQ(client.Ready("a").Get().status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(client.Wait("a", {.timeout = absl::ZeroDuration()}).Get().status().code(),
              absl::StatusCode::kDeadlineExceeded)
        << "what waits waits for the server, too";
  }
  EXPECT_EQ(heard.get_future().get().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace waitd
