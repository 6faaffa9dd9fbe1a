// The engine and streams that break: backoff, resuming, and what is sent again under which ids.

#include <malloc.h>

#include <map>

#include "client/engine/engine.h"
#include "tests/unit/client/fake_stream.h"

namespace waitd::internal {
namespace {

using absl::StatusCode;

class ResumeTest : public testing::Test {
 protected:
  // The stream is cut, and after the pause the hello of the next one has been written.
  void CutAndGreet() {
    stage_.BreakOff();
    stage_.Pass(Engine::kBackoffMax);
    stage_.engine.OnOpened();
    ASSERT_TRUE(stage_.last().hello.has_value());
    stage_.Written();
  }

  void WelcomeBack(bool resumed, uint64_t received_through = 0) {
    if (!resumed) stage_.sequence = 0;
    stage_.engine.OnMessage({.welcome = Welcome{.resume_token = resumed ? "token" : "other",
                                                .resumed = resumed,
                                                .received_through = received_through},
                             .results = {},
                             .sequence = 0});
    stage_.Settle();
  }

  Answered1 one_;
  Answered1 two_;
  Answered1 three_;
  Stage stage_;  // ends first, and answers what is left
};

TEST_F(ResumeTest, ResumedSessionGetsOnlyWhatDidNotArrive) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Written();
  stage_.Submit(two_, "b", WaitOptions{});
  stage_.Submit(three_, "c", WaitOptions{});
  const Written lost = stage_.last().operations[0];
  CutAndGreet();
  EXPECT_EQ(stage_.last().hello->resume_token, "token");
  WelcomeBack(true, 1);
  ASSERT_EQ(stage_.last().operations.size(), 2U);
  EXPECT_EQ(stage_.last().operations[0].id, 2U);
  EXPECT_EQ(stage_.last().operations[0].request.id, lost.request.id);
  EXPECT_GT(stage_.last().operations[0].first_sent_ago, absl::ZeroDuration());
  EXPECT_EQ(stage_.last().operations[1].id, 3U);
  EXPECT_EQ(stage_.last().operations[1].first_sent_ago, absl::ZeroDuration())
      << "it was never sent before";
  stage_.Answer(1, ReadyWith("survived"));
  EXPECT_EQ(one_.As<WaitResult>().signal.data, "survived");
}

TEST_F(ResumeTest, HelloSaysWhatWasSeenAndRepeatedResultsAreDropped) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Written();
  stage_.Answer(1, ReadyResult{.woken = 1});
  CutAndGreet();
  EXPECT_EQ(stage_.last().hello->acked_sequence, 1U);
  WelcomeBack(true, 1);
  stage_.Submit(two_, "b", ReadyCall({}));
  stage_.sequence = 0;
  stage_.Answer(2, ReadyResult{});
  EXPECT_FALSE(two_.done()) << "sequence 1 has been seen";
  stage_.Answer(2, ReadyResult{});
  EXPECT_TRUE(two_.done());
  EXPECT_EQ(one_.times, 1);
}

TEST_F(ResumeTest, LostSessionGetsAllThatIsUnansweredUnderTheSameIds) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.timeout = absl::Minutes(1)});
  stage_.Written();
  stage_.Submit(two_, "b", ReadyCall({}));
  stage_.Written();
  stage_.Submit(three_, "c", ReadyCall({}));
  stage_.Written();
  stage_.Answer(3, ReadyResult{});
  std::map<uint64_t, std::string> before;
  for (const WrittenMessage& message : stage_.transport.sent) {
    for (const Written& each : message.operations) before[each.id] = each.request.id;
  }
  CutAndGreet();
  WelcomeBack(false);
  ASSERT_EQ(stage_.last().operations.size(), 2U);
  for (const Written& each : stage_.last().operations) {
    EXPECT_EQ(each.request.id, before[each.id]);
    EXPECT_EQ(each.first_sent_ago, Engine::kBackoffMax);
  }
  EXPECT_EQ(stage_.last().operations[0].timeout, absl::Minutes(1)) << "from the first attempt";
  EXPECT_EQ(stage_.last().acked_sequence, 0U) << "sequences begin anew";
  stage_.Answer(1, ReadyWith("x"));
  EXPECT_TRUE(one_.done());
}

TEST_F(ResumeTest, ForgottenWaitParksAnewWithWhatIsLeftOfItsTime) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.timeout = absl::Minutes(1)});
  stage_.Written();
  const Written first = stage_.last().operations[0];
  CutAndGreet();
  WelcomeBack(false);
  stage_.Written();
  stage_.Answer(1, Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"));
  EXPECT_FALSE(one_.done());
  const Written again = stage_.last().operations.at(0);
  EXPECT_NE(again.request.id, first.request.id);
  EXPECT_EQ(again.first_sent_ago, absl::ZeroDuration());
  EXPECT_EQ(again.timeout, absl::Minutes(1) - Engine::kBackoffMax);
}

TEST_F(ResumeTest, ForgottenReadyIsReported) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Submit(two_, "a", WaitOptions{.wait_id = "mine"});
  stage_.Written();
  CutAndGreet();
  WelcomeBack(false);
  stage_.Answer(1, Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"));
  stage_.Answer(2, Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"));
  EXPECT_EQ(ReasonOf(one_.answer.status()), "OUTCOME_UNKNOWN");
  EXPECT_EQ(ReasonOf(two_.answer.status()), "OUTCOME_UNKNOWN") << "the caller chose its id";
}

TEST_F(ResumeTest, WaitUnderAnOlderIdSaysSinceWhen) {
  stage_.BeUp();
  stage_.Submit(
      one_, "a",
      WaitOptions{
          .timeout = absl::Minutes(1), .wait_id = "mine", .first_sent_ago = absl::Seconds(20)});
  EXPECT_EQ(stage_.last().operations[0].request.id, "mine");
  EXPECT_EQ(stage_.last().operations[0].first_sent_ago, absl::Seconds(20));
  EXPECT_EQ(stage_.last().operations[0].timeout, absl::Minutes(1));
}

TEST_F(ResumeTest, CancelledWaitIsNotSentToASessionThatDoesNotKnowIt) {
  std::stop_source stop;
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{}, stop.get_token());
  stage_.Written();
  stop.request_stop();
  CutAndGreet();
  WelcomeBack(false);
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
  EXPECT_TRUE(stage_.last().hello.has_value()) << "nothing to say";
}

TEST_F(ResumeTest, CancelDuringTheBreakReachesAResumedSession) {
  std::stop_source stop;
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{}, stop.get_token());
  stage_.Written();
  stage_.BreakOff();
  stop.request_stop();
  stage_.Pass(absl::Milliseconds(100));
  stage_.engine.OnOpened();
  stage_.Written();
  WelcomeBack(true, 1);
  ASSERT_EQ(stage_.last().operations.size(), 1U);
  EXPECT_EQ(stage_.last().operations[0].cancels(), 1U);
  stage_.Answer(1, absl::CancelledError(""));
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
}

TEST_F(ResumeTest, StreamIsTouchedNoMoreUntilItsWriterIsDone) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));  // its write is under way
  stage_.engine.OnClosed(absl::UnavailableError("cut"));
  stage_.Pass(absl::Seconds(5));
  EXPECT_EQ(stage_.transport.opened, 1);
  stage_.engine.OnWritten(false);
  stage_.Pass(Engine::kBackoffMax);
  EXPECT_EQ(stage_.transport.opened, 2);
}

TEST_F(ResumeTest, PausesGrowToASecondAndAreNeverTheSameForAll) {
  stage_.Settle();
  Instant before = stage_.clock.now;
  for (int i = 0; i < 20; ++i) {
    const int opened = stage_.transport.opened;
    stage_.engine.OnClosed(absl::UnavailableError("refused"));
    const Instant next = stage_.Settle();
    const absl::Duration most =
        std::min(Engine::kBackoffMax, absl::Milliseconds(50) * (1 << std::min(i, 10)));
    EXPECT_GE(next - before, most / 2);
    EXPECT_LE(next - before, most);
    stage_.clock.now = before = next;
    stage_.Settle();
    EXPECT_EQ(stage_.transport.opened, opened + 1);
  }
}

TEST_F(ResumeTest, ServerThatSaysNothingIsLeft) {
  stage_.Greet();
  stage_.Pass(Engine::kWelcomeWait);
  EXPECT_EQ(stage_.transport.broken, 1);
}

TEST_F(ResumeTest, RefusedSessionEndsItsCallsAndBeginsAnew) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.BreakOff(absl::UnauthenticatedError("no"));
  EXPECT_EQ(one_.code(), StatusCode::kUnauthenticated);
  stage_.Submit(two_, "a", WaitOptions{});
  stage_.Pass(Engine::kBackoffMax);
  stage_.engine.OnOpened();
  EXPECT_EQ(stage_.last().hello->resume_token, "");
  stage_.Written();
  WelcomeBack(false);
  ASSERT_EQ(stage_.last().operations.size(), 1U);
}

TEST_F(ResumeTest, RefusedClientConnectsForTheNextCallAloneAndAtItsPace) {
  for (const StatusCode code : {StatusCode::kUnauthenticated, StatusCode::kPermissionDenied}) {
    Answered1 first;
    Answered1 second;
    Answered1 timer;
    Stage stage;
    stage.Submit(first, "a", WaitOptions{});
    stage.Submit(timer, "", std::monostate(), absl::Hours(2));
    stage.Settle();
    stage.BreakOff(Refused(code, "WHY"));
    EXPECT_EQ(first.code(), code);
    EXPECT_EQ(ReasonOf(first.answer.status()), "WHY");
    stage.Pass(absl::Hours(1));
    EXPECT_EQ(stage.transport.opened, 1) << "nobody has called";
    EXPECT_FALSE(timer.done());

    stage.Submit(second, "a", WaitOptions{});
    EXPECT_EQ(stage.transport.woken, 1) << "it has no limit that would wake the thread";
    stage.engine.OnWoken();
    stage.Settle();
    EXPECT_EQ(stage.transport.opened, 2);
    stage.BreakOff(Refused(code, "WHY"));
    EXPECT_EQ(second.code(), code);
    stage.Submit(first, "a", WaitOptions{});
    stage.Settle();
    EXPECT_EQ(stage.transport.opened, 2) << "a call in a loop is no flood";
    stage.Pass(Engine::kBackoffMax);
    EXPECT_EQ(stage.transport.opened, 3);
    stage.BreakOff();
    stage.Pass(Engine::kBackoffMax);
    EXPECT_EQ(stage.transport.opened, 4) << "what is no refusal is tried again";
  }
}

TEST_F(ResumeTest, RefusedOperationEndsAndTheOthersGoOn) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Submit(two_, "b", WaitOptions{});
  stage_.Written();
  stage_.Written();
  stage_.Answer(1, Refused(StatusCode::kPermissionDenied, "FORBIDDEN"));
  EXPECT_EQ(one_.code(), StatusCode::kPermissionDenied);
  EXPECT_FALSE(two_.done());
}

TEST(EngineStateTest, RefusalIsToldAsItWasSaid) {
  std::vector<absl::Status> states;
  Stage stage({.on_state = [&](const absl::Status& state) { states.push_back(state); }});
  stage.Settle();
  stage.engine.OnOpened();
  stage.engine.OnWritten(false);  // the hello, which nobody wants
  stage.engine.OnClosed(absl::UnauthenticatedError("no"));
  stage.Settle();
  ASSERT_EQ(states.size(), 1U);
  EXPECT_EQ(states[0], absl::UnauthenticatedError("no"));
  EXPECT_EQ(stage.transport.broken, 0) << "it would have been cancelled";
}

TEST(EngineStateTest, StreamThatCannotBeWrittenAndDoesNotEndIsBroken) {
  Answered1 call;  // what is left is answered when the engine goes
  Stage stage;
  stage.BeUp();
  stage.Submit(call, "a", ReadyCall({}));
  stage.engine.OnWritten(false);
  stage.Pass(Engine::kWelcomeWait - absl::Milliseconds(1));
  EXPECT_EQ(stage.transport.broken, 0);
  stage.Pass(absl::Milliseconds(1));
  EXPECT_EQ(stage.transport.broken, 1);
}

TEST_F(ResumeTest, WaitThatWasBoundToALifeParksInAnyOfAServerThatKnowsNone) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Submit(two_, "a", WaitOptions{.generation = 42});
  stage_.Written();
  stage_.Written();
  WaitResult nothing;
  nothing.outcome = Outcome::kTimedOut;
  nothing.timeout_cause = TimeoutCause::kMaxWait;
  nothing.generation = 42;
  stage_.Answer(1, nothing);
  stage_.Written();
  stage_.Answer(2, nothing);
  stage_.Written();
  CutAndGreet();
  WelcomeBack(false);
  stage_.Written();
  stage_.Answer(3, Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"));
  EXPECT_EQ(std::get<WaitCall>(stage_.last().operations.at(0).request.what).options.generation, 0U);
  stage_.Written();
  stage_.Answer(4, Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"));
  EXPECT_EQ(std::get<WaitCall>(stage_.last().operations.at(0).request.what).options.generation, 42U)
      << "the caller asked for that life";
  EXPECT_FALSE(one_.done() || two_.done());
}

TEST(EngineStateTest, EachChangeOfTheConnectionIsToldWithItsReason) {
  std::vector<absl::Status> states;
  Stage stage({.on_state = [&](const absl::Status& state) { states.push_back(state); }});
  stage.Settle();
  EXPECT_TRUE(states.empty());
  stage.BreakOff(absl::UnavailableError("nobody there"));
  ASSERT_EQ(states.size(), 1U);
  EXPECT_EQ(states[0], absl::UnavailableError("nobody there"));
  stage.Pass(Engine::kBackoffMax);
  stage.BeUp();
  ASSERT_EQ(states.size(), 2U);
  EXPECT_TRUE(states[1].ok());
  stage.BreakOff(absl::UnavailableError("gone"));
  ASSERT_EQ(states.size(), 3U);
  EXPECT_EQ(states[2].message(), "gone");
}

TEST(EngineStateTest, CallsThatGiveUpWhileThereIsNoServerLeaveNothingBehind) {
  constexpr int kCalls = 200'000;
  Stage stage;
  stage.Settle();
  const auto call = [&] {
    Answered1 answer;
    std::stop_source stop;
    stage.Submit(answer, "a", WaitOptions{}, stop.get_token());
    stop.request_stop();
    stage.Settle();
    EXPECT_EQ(answer.code(), absl::StatusCode::kCancelled);
  };
  for (int i = 0; i < kCalls / 10; ++i) call();
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < kCalls; ++i) call();
  EXPECT_LT(mallinfo2().uordblks, before + kCalls) << "less than a byte each";
}

// One thread is held up between the lock and the Wake that it owes: until that has been told, the
// transport must not go.
TEST(EngineStateTest, EndsOnlyWhenEachWakeHasBeenTold) {
  ManualClock clock;
  SeededEntropy entropy;
  FakeTransport transport;
  Engine engine("tester", transport, clock, entropy);
  engine.Tick();
  engine.OnClosed(absl::UnavailableError("nobody is there"));
  engine.Close();  // which owes a Wake
  ASSERT_EQ(transport.woken, 1);
  engine.Tick();
  EXPECT_FALSE(engine.Finished()) << "OnWoken is still to come";
  engine.OnWoken();
  engine.Tick();
  EXPECT_TRUE(engine.Finished());
}

TEST(EngineStateTest, ImpatientCallsEndWhenThereIsNoServer) {
  Answered1 ready;
  Answered1 wait;
  Stage stage({.wait_for_ready = false});
  stage.Submit(ready, "a", ReadyCall({}));
  stage.Submit(wait, "a", WaitOptions{});
  stage.Settle();
  stage.BreakOff(absl::UnavailableError("nobody there"));
  EXPECT_EQ(ready.code(), StatusCode::kUnavailable);
  EXPECT_EQ(ready.answer.status().message(), "nobody there");
  EXPECT_FALSE(wait.done());
}

TEST(EngineStateTest, ImpatientCallsAreRepeatedOnceTheServerWasThere) {
  Answered1 ready;
  Stage stage({.wait_for_ready = false});
  stage.BeUp();
  stage.Submit(ready, "a", ReadyCall({}));
  stage.Written();
  for (int i = 0; i < 3; ++i) {
    stage.BreakOff();
    stage.Pass(Engine::kBackoffMax);
  }
  EXPECT_FALSE(ready.done()) << "it may have been carried out: only a repetition tells";
}

}  // namespace
}  // namespace waitd::internal
