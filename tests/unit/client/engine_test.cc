// The engine on a time of its own: batches, ids, acknowledgements, limits, cancels.

#include "client/engine/engine.h"

#include <set>

#include "client/engine/status.h"
#include "tests/unit/client/fake_stream.h"

namespace waitd::internal {
namespace {

using absl::StatusCode;

class EngineTest : public testing::Test {
 protected:
  Answered1 one_;
  Answered1 two_;
  Answered1 three_;
  std::vector<Answered1> many_;
  Stage stage_;  // ends first, and answers what is left
};

TEST_F(EngineTest, HelloGoesFirstAndOperationsFollowTheWelcome) {
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Greet();
  ASSERT_EQ(stage_.transport.sent.size(), 1U);
  ASSERT_TRUE(stage_.last().hello.has_value());
  EXPECT_EQ(stage_.last().hello->client, "tester");
  EXPECT_EQ(stage_.last().hello->resume_token, "");
  EXPECT_TRUE(stage_.last().operations.empty());

  stage_.engine.OnMessage({.welcome = Welcome{.resume_token = "t"}, .results = {}, .sequence = 0});
  ASSERT_EQ(stage_.transport.sent.size(), 2U);
  EXPECT_FALSE(stage_.last().hello.has_value());
  ASSERT_EQ(stage_.last().operations.size(), 1U);
  EXPECT_EQ(stage_.last().operations[0].request.name, "a");
}

TEST_F(EngineTest, LoneCallIsWrittenByItsCallerAtOnce) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  EXPECT_EQ(stage_.transport.sent.size(), 2U);
}

TEST_F(EngineTest, WhatComesWhileAMessageIsWrittenLeavesTogetherInTheNext) {
  many_.resize(100);
  stage_.BeUp();
  stage_.Submit(one_, "first", ReadyCall({}));
  for (Answered1& each : many_) stage_.Submit(each, "more", ReadyCall({}));
  EXPECT_EQ(stage_.transport.sent.size(), 2U);
  EXPECT_EQ(stage_.last().operations.size(), 1U);
  stage_.Written();
  EXPECT_EQ(stage_.transport.sent.size(), 3U);
  ASSERT_EQ(stage_.last().operations.size(), 100U);
  uint64_t before = 1;
  std::set<std::string> ids;
  for (const Written& each : stage_.last().operations) {
    EXPECT_EQ(each.id, ++before);
    EXPECT_EQ(each.request.id.size(), 15U);
    EXPECT_EQ(each.first_sent_ago, absl::ZeroDuration());
    ids.insert(each.request.id);
  }
  EXPECT_EQ(ids.size(), 100U);
  stage_.Written();
  EXPECT_EQ(stage_.transport.sent.size(), 3U) << "nothing is left to be said";
}

TEST_F(EngineTest, MessageIsBoundedAndTheRestFollows) {
  many_.resize(40);
  stage_.BeUp();
  stage_.Submit(one_, "first", ReadyCall({}));
  const Signal large(std::string(64 << 10, 'x'));
  for (Answered1& each : many_) stage_.Submit(each, "more", ReadyCall(large));
  size_t operations = 0;
  while (stage_.writing()) {
    stage_.Written();
    if (!stage_.writing()) break;
    EXPECT_LE(stage_.last().operations.size(), 17U);
    operations += stage_.last().operations.size();
  }
  EXPECT_EQ(operations, many_.size());
}

TEST_F(EngineTest, AnswersReachTheirCallersOnceInAnyOrder) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.mode = Mode::kWrite});
  stage_.Submit(two_, "b", ReadyCall({}));
  stage_.Written();
  const Written wait = stage_.transport.sent[1].operations[0];
  stage_.Answer(2, ReadyResult{.woken = 7});
  stage_.Answer(1, ReadyWith("done"));
  stage_.Answer(1, ReadyWith("again"));
  EXPECT_EQ(two_.As<ReadyResult>().woken, 7U);
  EXPECT_EQ(one_.times, 1);
  const auto& result = one_.As<WaitResult>();
  EXPECT_EQ(result.signal.data, "done");
  EXPECT_EQ(result.name, "a");
  EXPECT_EQ(result.mode, Mode::kWrite);
  EXPECT_EQ(result.wait_id, wait.request.id) << "what an Ack has to say";
}

TEST_F(EngineTest, PollsTargetsAreSignedForTheirAcks) {
  stage_.BeUp();
  stage_.Submit(one_, "", PollCall({{.name = "a"}, {.name = "b", .mode = Mode::kWrite}}));
  PollResult answer;
  answer.targets.push_back({.index = 1, .result = ReadyWith("x")});
  answer.targets.push_back({.index = 9, .result = ReadyWith("no such target")});
  stage_.Answer(1, answer);
  const auto& result = one_.As<PollResult>();
  EXPECT_EQ(result.targets[0].result.name, "b");
  EXPECT_EQ(result.targets[0].result.mode, Mode::kWrite);
  EXPECT_EQ(result.targets[0].result.wait_id, stage_.last().operations[0].request.id);
}

TEST_F(EngineTest, AnswerOfAnotherKindIsAnError) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Answer(1, ResetResult{});
  EXPECT_EQ(one_.code(), StatusCode::kInternal);
}

TEST_F(EngineTest, AcknowledgementRidesOnTheNextMessage) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Written();
  stage_.Answer(1, ReadyResult{});
  stage_.Submit(two_, "b", ReadyCall({}));
  EXPECT_EQ(stage_.last().operations.size(), 1U);
  EXPECT_EQ(stage_.last().acked_sequence, 1U);
}

TEST_F(EngineTest, AcknowledgementGoesAloneWhenNothingElseDoes) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Written();
  stage_.Answer(1, ReadyResult{});
  ASSERT_EQ(stage_.transport.sent.size(), 2U);
  stage_.Pass(Engine::kAckWait - absl::Nanoseconds(1));
  EXPECT_EQ(stage_.transport.sent.size(), 2U);
  stage_.Pass(absl::Nanoseconds(1));
  ASSERT_EQ(stage_.transport.sent.size(), 3U);
  EXPECT_TRUE(stage_.last().operations.empty());
  EXPECT_EQ(stage_.last().acked_sequence, 1U);
  stage_.Written();
  stage_.Pass(absl::Minutes(1));
  EXPECT_EQ(stage_.transport.sent.size(), 3U) << "once";
}

TEST_F(EngineTest, ManyResultsAreAcknowledgedAtOnce) {
  stage_.BeUp();
  many_.resize(Engine::kAckResults);
  for (Answered1& each : many_) stage_.Submit(each, "a", ReadyCall({}));
  while (stage_.writing()) stage_.Written();
  const size_t sent = stage_.transport.sent.size();
  std::vector<Answered> results;
  for (uint64_t id = 1; id < many_.size(); ++id) results.push_back({id, Answer(ReadyResult{})});
  stage_.engine.OnMessage(
      {.welcome = {}, .results = std::move(results), .sequence = ++stage_.sequence});
  EXPECT_EQ(stage_.transport.sent.size(), sent);
  stage_.Answer(many_.size(), ReadyResult{});
  ASSERT_EQ(stage_.transport.sent.size(), sent + 1);
  EXPECT_EQ(stage_.last().acked_sequence, 2U);
}

TEST_F(EngineTest, MessageThatCameAlreadyIsDropped) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Submit(two_, "b", ReadyCall({}));
  stage_.Written();
  stage_.Answer(1, ReadyResult{});
  stage_.sequence = 0;
  stage_.Answer(2, ReadyResult{});  // sequence 1 again
  EXPECT_FALSE(two_.done());
  stage_.Answer(2, ReadyResult{});
  EXPECT_TRUE(two_.done());
  EXPECT_EQ(stage_.transport.broken, 0);
}

TEST_F(EngineTest, GapBreaksTheStream) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.sequence = 1;
  stage_.Answer(1, ReadyResult{});
  EXPECT_FALSE(one_.done());
  EXPECT_EQ(stage_.transport.broken, 1);
}

TEST_F(EngineTest, KeepaliveIsSentInTimeAndSilenceBreaksTheStream) {
  stage_.BeUp({.resume_token = "t", .keepalive = absl::Seconds(10)});
  stage_.Pass(absl::Seconds(5));
  ASSERT_EQ(stage_.transport.sent.size(), 2U);
  EXPECT_TRUE(stage_.last().operations.empty());
  stage_.Written();
  stage_.engine.OnMessage({});  // the server's keepalive
  stage_.Pass(absl::Seconds(5));
  EXPECT_EQ(stage_.transport.sent.size(), 3U);
  stage_.Written();
  stage_.Pass(absl::Seconds(14));
  EXPECT_EQ(stage_.transport.broken, 0);
  stage_.Written();
  stage_.Pass(absl::Seconds(1));
  EXPECT_EQ(stage_.transport.broken, 1);
}

TEST_F(EngineTest, FrozenServerEndsATimedCallAsDeadlineExceeded) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.timeout = absl::Seconds(5)});
  stage_.Submit(two_, "b", ReadyCall({}), absl::Seconds(3));
  stage_.Pass(absl::Seconds(3) - absl::Nanoseconds(1));
  EXPECT_FALSE(two_.done());
  stage_.Pass(absl::Nanoseconds(1));
  EXPECT_EQ(two_.code(), StatusCode::kDeadlineExceeded);
  stage_.Pass(absl::Seconds(3) - absl::Nanoseconds(1));
  EXPECT_FALSE(one_.done());
  stage_.Pass(absl::Nanoseconds(1));
  EXPECT_EQ(one_.code(), StatusCode::kDeadlineExceeded);
  // The wait is not left on the server to swallow a READY, once the server reads again.
  stage_.Written();
  stage_.Written();
  ASSERT_EQ(stage_.last().operations.size(), 1U);
  EXPECT_EQ(stage_.last().operations[0].cancels(), 1U);
  stage_.Answer(1, ReadyWith("late"));
  EXPECT_EQ(one_.times, 1);
}

TEST_F(EngineTest, UnreachableServerEndsATimedCallAndSaysWhy) {
  stage_.Submit(one_, "a", ReadyCall({}), absl::Seconds(2));
  stage_.Settle();
  for (int i = 0; i < 20; ++i) {
    stage_.engine.OnClosed(absl::UnavailableError("connection refused"));
    stage_.Pass(absl::Milliseconds(200));
  }
  EXPECT_EQ(one_.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(one_.answer.status().message().find("connection refused"), absl::string_view::npos);
}

TEST_F(EngineTest, EarlierLimitWakesTheThreadOnceAndALaterOneDoesNot) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.timeout = absl::Seconds(5)});
  EXPECT_EQ(stage_.transport.woken, 1);
  stage_.Submit(two_, "b", WaitOptions{.timeout = absl::Seconds(4)});
  EXPECT_EQ(stage_.transport.woken, 1) << "it is on its way already";
  stage_.engine.OnWoken();
  stage_.Settle();
  stage_.Submit(three_, "c", WaitOptions{.timeout = absl::Seconds(6)});
  EXPECT_EQ(stage_.transport.woken, 1);
}

TEST_F(EngineTest, TimeoutCountsFromTheCallAlsoWhenItCouldNotBeSent) {
  stage_.Submit(one_, "a", WaitOptions{.timeout = absl::Seconds(5)});
  stage_.Submit(two_, "b", WaitOptions{.timeout = absl::Seconds(2)});
  stage_.Submit(three_, "c", WaitOptions{.timeout = absl::ZeroDuration()});
  stage_.clock.now += absl::Seconds(2);
  stage_.engine.OnOpened();  // the thread has been busy
  stage_.Settle();
  stage_.engine.OnOpened();
  stage_.Written();
  stage_.engine.OnMessage({.welcome = Welcome{.resume_token = "t"}, .results = {}, .sequence = 0});
  ASSERT_EQ(stage_.last().operations.size(), 2U) << "the third is over";
  EXPECT_EQ(stage_.last().operations[0].timeout, absl::Seconds(3));
  EXPECT_EQ(stage_.last().operations[1].timeout, absl::ZeroDuration());
  EXPECT_EQ(three_.code(), StatusCode::kDeadlineExceeded);
}

TEST_F(EngineTest, StopSendsACancelAndTheServersAnswerCounts) {
  stage_.BeUp();
  std::stop_source stop;
  stage_.Submit(one_, "a", WaitOptions{}, stop.get_token());
  stage_.Submit(two_, "b", WaitOptions{}, stop.get_token());
  stage_.Written();
  stop.request_stop();
  while (stage_.writing()) stage_.Written();
  std::set<uint64_t> cancelled;
  for (const WrittenMessage& message : stage_.transport.sent) {
    for (const Written& each : message.operations) {
      if (each.request.cancels()) cancelled.insert(each.cancels());
    }
  }
  EXPECT_EQ(cancelled, (std::set<uint64_t>{1, 2}));
  EXPECT_FALSE(one_.done());
  stage_.Answer(1, absl::CancelledError("cancelled"));
  stage_.Answer(2, ReadyWith("was faster"));
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
  EXPECT_EQ(two_.As<WaitResult>().signal.data, "was faster");
}

TEST_F(EngineTest, StopWithoutAnAnswerEndsTheCallAfterTheGrace) {
  stage_.BeUp();
  std::stop_source stop;
  stage_.Submit(one_, "a", WaitOptions{}, stop.get_token());
  stop.request_stop();
  stage_.Pass(Engine::kGrace);
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
}

TEST_F(EngineTest, StopBeforeSendingSendsNothing) {
  std::stop_source before;
  std::stop_source meanwhile;
  before.request_stop();
  stage_.Submit(one_, "a", WaitOptions{}, before.get_token());
  stage_.Submit(two_, "b", WaitOptions{}, meanwhile.get_token());
  meanwhile.request_stop();
  stage_.Settle();
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
  EXPECT_EQ(two_.code(), StatusCode::kCancelled);
  stage_.BeUp();
  EXPECT_EQ(stage_.transport.sent.size(), 1U) << "the hello alone";
}

TEST_F(EngineTest, MaxWaitParksAgainInTheGenerationItWasTold) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{});
  stage_.Written();
  const Written first = stage_.last().operations[0];
  WaitResult nothing;
  nothing.outcome = Outcome::kTimedOut;
  nothing.timeout_cause = TimeoutCause::kMaxWait;
  nothing.generation = 42;
  stage_.Answer(1, nothing);
  EXPECT_FALSE(one_.done());
  const Written again = stage_.last().operations.at(0);
  EXPECT_EQ(std::get<WaitCall>(again.request.what).options.generation, 42U);
  EXPECT_GT(again.id, first.id);
  EXPECT_NE(again.request.id, first.request.id);
  EXPECT_EQ(again.first_sent_ago, absl::ZeroDuration());
  stage_.Answer(again.id, Refused(StatusCode::kAborted, "STALE_GENERATION"));
  EXPECT_EQ(one_.As<WaitResult>().outcome, Outcome::kClosed) << "closed between its two waits";
  EXPECT_EQ(one_.As<WaitResult>().generation, 42U);
}

TEST_F(EngineTest, RefusalReachesTheCallerWithItsReason) {
  stage_.BeUp();
  stage_.Submit(one_, "a", WaitOptions{.generation = 3});
  absl::Status refusal = Refused(StatusCode::kAborted, "STALE_GENERATION");
  SetDetail(refusal, "generation", "4");
  SetField(refusal, "generation");
  stage_.Answer(1, refusal);
  EXPECT_EQ(one_.code(), StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(one_.answer.status()), "STALE_GENERATION");
  EXPECT_EQ(FieldOf(one_.answer.status()), "generation");
  EXPECT_EQ(DetailOf(one_.answer.status(), "generation"), "4");
}

TEST_F(EngineTest, UnavailableIsTriedAgainByItsId) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}), absl::Seconds(30));
  stage_.Written();
  const Written first = stage_.last().operations[0];
  absl::Status draining = Refused(StatusCode::kUnavailable, "DRAINING");
  SetRetryDelay(draining, absl::Seconds(2));
  stage_.Answer(1, draining);
  stage_.Pass(absl::Seconds(2));
  EXPECT_TRUE(stage_.last().operations.empty()) << "an acknowledgement";
  if (stage_.writing()) stage_.Written();
  stage_.Pass(absl::Milliseconds(100));
  const Written again = stage_.last().operations.at(0);
  EXPECT_GT(again.id, first.id);
  EXPECT_EQ(again.request.id, first.request.id);
  EXPECT_GE(again.first_sent_ago, absl::Seconds(2));
  stage_.Answer(again.id, ReadyResult{.woken = 1});
  EXPECT_EQ(one_.As<ReadyResult>().woken, 1U);
}

TEST_F(EngineTest, LimitThatAnAcknowledgementLiftsIsNotTheCallersAffair) {
  stage_.BeUp();
  stage_.Submit(one_, "a", ReadyCall({}));
  stage_.Submit(two_, "a", ReadyCall({}));
  stage_.Written();
  stage_.Answer(1, Refused(StatusCode::kResourceExhausted, "LIMIT_UNACKED"));
  stage_.Answer(2, Refused(StatusCode::kResourceExhausted, "LIMIT_DESCRIPTORS"));
  EXPECT_FALSE(one_.done());
  EXPECT_EQ(two_.code(), StatusCode::kResourceExhausted);
}

TEST_F(EngineTest, BadOperationHarmsNoOther) {
  stage_.BeUp({.resume_token = "t", .max_payload_bytes = 10});
  stage_.Submit(one_, "\xFF", ReadyCall({}));
  stage_.Submit(two_, "a", ReadyCall("123456789"));  // 9 and its 2 are 11
  stage_.Submit(three_, "a", ReadyCall("12345678"));
  EXPECT_FALSE(one_.done()) << "only on the client's thread";
  EXPECT_EQ(stage_.transport.woken, 1);
  stage_.Settle();
  EXPECT_EQ(ReasonOf(one_.answer.status()), "BAD_NAME");
  EXPECT_EQ(FieldOf(one_.answer.status()), "name");
  EXPECT_EQ(ReasonOf(two_.answer.status()), "PAYLOAD_TOO_LARGE");
  ASSERT_EQ(stage_.last().operations.size(), 1U);
  EXPECT_EQ(stage_.last().operations[0].request.name, "a");
}

TEST_F(EngineTest, TimerIsDoneAtItsTimeAndNeverSent) {
  stage_.BeUp();
  stage_.Submit(one_, "", std::monostate(), absl::Seconds(1));
  stage_.Pass(absl::Seconds(1) - absl::Nanoseconds(1));
  EXPECT_FALSE(one_.done());
  stage_.Pass(absl::Nanoseconds(1));
  EXPECT_TRUE(one_.answer.ok());
  EXPECT_EQ(stage_.transport.sent.size(), 1U);
}

TEST(EngineCloseTest, WhatIsOnItsWayIsAnsweredThenTheStreamIsHalfClosed) {
  Answered1 ready;
  Answered1 wait;
  Answered1 stays;
  {
    Stage stage;
    stage.BeUp();
    stage.Submit(ready, "a", ReadyCall({}));
    stage.Submit(wait, "b", WaitOptions{});
    stage.Submit(stays, "c", WaitOptions{});
    stage.Written();
    stage.Written();
    stage.Close();
    while (stage.writing()) stage.Written();
    EXPECT_TRUE(stage.last().last);
    EXPECT_EQ(stage.transport.sent.size(), 4U);
    EXPECT_EQ(stage.last().operations.size(), 2U) << "the cancels of both waits";
    stage.Answer(1, ReadyResult{});
    stage.Answer(2, ReadyWith("was faster"));
    EXPECT_FALSE(stays.done());
    Answered1 late;
    stage.Submit(late, "d", WaitOptions{});
    stage.engine.OnWoken();
    stage.Settle();
    EXPECT_EQ(late.code(), StatusCode::kCancelled);
    stage.engine.OnClosed(absl::OkStatus());
    stage.Settle();
    EXPECT_TRUE(stage.engine.Finished());
  }
  EXPECT_TRUE(ready.answer.ok());
  EXPECT_EQ(wait.As<WaitResult>().signal.data, "was faster");
  EXPECT_EQ(stays.code(), StatusCode::kCancelled);
}

TEST(EngineCloseTest, FrozenServerHoldsTheEndUpForABoundedTime) {
  Answered1 ready;
  Stage stage;
  stage.BeUp();
  stage.Submit(ready, "a", ReadyCall({}), absl::Hours(1));
  stage.Close();
  stage.Pass(Engine::kCloseWait - absl::Nanoseconds(1));
  EXPECT_EQ(stage.transport.broken, 0);
  stage.Pass(absl::Nanoseconds(1));
  EXPECT_EQ(stage.transport.broken, 1);
  stage.BreakOff(absl::CancelledError("broken"));
  EXPECT_TRUE(stage.engine.Finished());
  EXPECT_EQ(ready.code(), StatusCode::kCancelled);
}

TEST(EngineCloseTest, ReadyThatWasCalledBeforeTheConnectionStoodIsStillSent) {
  Answered1 ready;
  Answered1 wait;
  Stage stage;
  stage.Submit(ready, "a", ReadyCall({}));
  stage.Submit(wait, "b", WaitOptions{});
  stage.Close();
  stage.Settle();
  EXPECT_EQ(wait.code(), StatusCode::kCancelled);
  stage.BeUp();
  ASSERT_EQ(stage.last().operations.size(), 1U);
  EXPECT_TRUE(stage.last().last);
  stage.Written();
  stage.Answer(1, ReadyResult{});
  EXPECT_TRUE(ready.answer.ok());
  stage.engine.OnClosed(absl::OkStatus());
  stage.Settle();
  EXPECT_TRUE(stage.engine.Finished());
}

TEST(EngineCloseTest, NothingPendingAndNoStreamEndsAtOnce) {
  Stage stage;
  stage.Close();
  stage.Settle();
  EXPECT_TRUE(stage.engine.Finished());
}

}  // namespace
}  // namespace waitd::internal
