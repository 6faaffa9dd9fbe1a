// Polls over the server's bound on waits: each goes on in the lives on which it stood.

#include <gtest/gtest.h>

#include "tests/unit/client/fake_stream.h"

namespace waitd::internal {
namespace {

using absl::StatusCode;

class EnginePollTest : public testing::Test {
 protected:
  void SetUp() override { stage_.BeUp(); }

  void Poll(const std::vector<PollTarget>& targets, PollOptions options = {}) {
    stage_.Submit(one_, "", PollCall(targets, options));
    Flush();
  }

  // Whatever is written is taken at once.
  void Flush() {
    while (stage_.writing()) stage_.Written();
  }

  void Reply(uint64_t id, absl::StatusOr<Answer> answer) {
    stage_.Answer(id, std::move(answer));
    Flush();
  }

  // What was written since the last time, of one kind.
  template <class Call>
  std::vector<Written> New() {
    std::vector<Written> found;
    for (; read_ < stage_.transport.sent.size(); ++read_) {
      for (const Written& each : stage_.transport.sent[read_].operations) {
        if (std::holds_alternative<Call>(each.request.what)) found.push_back(each);
      }
    }
    return found;
  }

  void AskEarly() {
    stage_.Pass(Engine::kAskAfter);
    Flush();
  }

  static PollResult Spent() {
    PollResult nothing;
    nothing.outcome = Outcome::kTimedOut;
    nothing.timeout_cause = TimeoutCause::kMaxWait;
    return nothing;
  }

  static DeadlineResult Lives(uint64_t generation) {
    DeadlineResult result;
    result.generation = generation;
    return result;
  }

  static absl::Status Gone() { return Refused(StatusCode::kNotFound, "NO_DESCRIPTOR"); }
  static absl::Status Stale() { return Refused(StatusCode::kAborted, "STALE_GENERATION"); }

  static std::vector<uint64_t> Generations(const Written& poll) {
    std::vector<uint64_t> generations;
    for (const auto& each : std::get<PollCall>(poll.request.what).targets) {
      generations.push_back(each.generation);
    }
    return generations;
  }

  // Parked again, bound to 7 and 8 and so on; the id of the attempt.
  uint64_t Bind() {
    const Written first = New<PollCall>().at(0);
    const size_t count = std::get<PollCall>(first.request.what).targets.size();
    Reply(first.id, Spent());
    const auto asks = New<LifeCall>();
    EXPECT_EQ(asks.size(), count);
    for (size_t i = 0; i < count; ++i) Reply(asks[i].id, Lives(7 + i));
    return New<PollCall>().at(0).id;
  }

  // Before the stage, whose end answers what is left.
  Answered1 one_;
  Answered1 two_;
  Stage stage_;

 private:
  size_t read_ = 0;
};

using Numbers = std::vector<uint64_t>;

TEST_F(EnginePollTest, IsBoundToTheLivesOnWhichItStood) {
  Poll({{.name = "a"}, {.name = "b", .generation = 3}}, {.wait_id = "mine"});
  const Written first = New<PollCall>().at(0);
  AskEarly();
  const auto asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 1U) << "the other one's life is known";
  EXPECT_EQ(asks[0].request.name, "a");
  EXPECT_EQ(asks[0].request.id, "") << "leaves nothing behind on the server";
  Reply(asks[0].id, Lives(42));
  Reply(first.id, Spent());
  const Written again = New<PollCall>().at(0);
  EXPECT_EQ(Generations(again), (Numbers{42, 3}));
  EXPECT_NE(again.request.id, "mine");
  EXPECT_EQ(again.first_sent_ago, absl::ZeroDuration());
  stage_.Pass(absl::Hours(1));
  EXPECT_TRUE(New<LifeCall>().empty()) << "there is nothing to ask any more";
  EXPECT_FALSE(one_.done());
}

TEST_F(EnginePollTest, ThatIsSoonOverAsksNothing) {
  Poll({{.name = "a"}});
  stage_.Pass(Engine::kAskAfter - absl::Nanoseconds(1));
  Flush();
  const Written first = New<PollCall>().at(0);
  Reply(first.id, PollResult{});
  stage_.Pass(absl::Hours(1));
  EXPECT_TRUE(New<LifeCall>().empty());
}

TEST_F(EnginePollTest, WithALimitOfItsOwnAsksNothing) {
  Poll({{.name = "a"}}, {.timeout = absl::Hours(2)});
  stage_.Pass(absl::Hours(1));
  Flush();
  EXPECT_TRUE(New<LifeCall>().empty());
}

TEST_F(EnginePollTest, WhatWasClosedMeanwhileEndsItAsClosed) {
  for (const absl::Status& refusal : {Gone(), Stale()}) {
    Answered1 one;
    stage_.Submit(one, "", PollCall({{.name = "a"}, {.name = "b"}}, {.need = 2}));
    Flush();
    const uint64_t bound = Bind();
    Reply(bound, refusal);
    EXPECT_FALSE(one.done()) << "which one is not known yet";
    const auto asks = New<LifeCall>();
    ASSERT_EQ(asks.size(), 2U);
    EXPECT_EQ(std::get<LifeCall>(asks[1].request.what).generation, 8U);
    Reply(asks[0].id, Lives(7));
    Reply(asks[1].id, refusal);
    const auto& result = one.As<PollResult>();
    EXPECT_EQ(result.outcome, Outcome::kClosed);
    ASSERT_EQ(result.targets.size(), 1U);
    EXPECT_EQ(result.targets[0].index, 1U);
    EXPECT_EQ(result.targets[0].result.name, "b");
    EXPECT_EQ(result.targets[0].result.outcome, Outcome::kClosed);
    EXPECT_EQ(result.targets[0].result.generation, 8U);
    EXPECT_TRUE(New<PollCall>().empty());
  }
}

TEST_F(EnginePollTest, GoesOnWithoutWhatWasClosedMeanwhile) {
  Poll({{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}}, {.need = 2});
  Reply(Bind(), Stale());
  auto asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 4U);
  for (const size_t i : {0U, 2U, 3U}) Reply(asks[i].id, Lives(7 + i));
  Reply(asks[1].id, Gone());
  Written again = New<PollCall>().at(0);
  EXPECT_EQ(Generations(again), (Numbers{7, 9, 10}));
  Reply(again.id, Gone());
  asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 3U);
  for (const size_t i : {1U, 2U}) Reply(asks[i].id, Lives(8 + i));
  Reply(asks[0].id, Gone());
  again = New<PollCall>().at(0);
  EXPECT_EQ(Generations(again), (Numbers{9, 10}));
  PollResult ready;
  ready.targets.push_back({.index = 0, .result = ReadyWith("x")});
  ready.targets.push_back({.index = 1, .result = ReadyWith("y")});
  Reply(again.id, ready);
  const auto& result = one_.As<PollResult>();
  ASSERT_EQ(result.targets.size(), 2U);
  EXPECT_EQ(result.targets[0].index, 2U) << "as the caller counts them";
  EXPECT_EQ(result.targets[0].result.name, "c");
  EXPECT_EQ(result.targets[1].index, 3U);
  EXPECT_EQ(result.targets[1].result.wait_id, again.request.id);
}

TEST_F(EnginePollTest, AllThatLeftTooFewAreNamed) {
  Poll({{.name = "a"}, {.name = "b"}});
  Reply(Bind(), Stale());
  const auto asks = New<LifeCall>();
  Reply(asks.at(0).id, Gone());
  Reply(asks.at(1).id, Lives(8));
  PollResult closed;
  closed.outcome = Outcome::kClosed;
  WaitResult end;
  end.outcome = Outcome::kClosed;
  closed.targets.push_back({.index = 0, .result = end});
  Reply(New<PollCall>().at(0).id, closed);
  const auto& result = one_.As<PollResult>();
  ASSERT_EQ(result.targets.size(), 2U);
  EXPECT_EQ(result.targets[0].index, 0U);
  EXPECT_EQ(result.targets[0].result.name, "a");
  EXPECT_EQ(result.targets[1].result.name, "b");
}

TEST_F(EnginePollTest, WhatIsClosedWhileItIsParkedIsNotOpenedAnewByIt) {
  Poll({{.name = "a"}, {.name = "b"}});
  const Written first = New<PollCall>().at(0);
  AskEarly();
  const auto asks = New<LifeCall>();
  Reply(asks.at(0).id, Gone());
  Reply(asks.at(1).id, Lives(8));
  EXPECT_FALSE(one_.done()) << "it stands on the other one";
  Reply(first.id, Spent());
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{8}));
}

TEST_F(EnginePollTest, WhatTheCallerBoundIsRefusedToTheCaller) {
  Poll({{.name = "a", .generation = 3}});
  Reply(New<PollCall>().at(0).id, Spent());
  Reply(New<PollCall>().at(0).id, Gone());
  absl::Status refusal = Stale();
  SetDetail(refusal, "generation", "4");
  Reply(New<LifeCall>().at(0).id, refusal);
  EXPECT_EQ(one_.code(), StatusCode::kAborted);
  EXPECT_EQ(DetailOf(one_.answer.status(), "generation"), "4");
}

TEST_F(EnginePollTest, ItGoesOnWithoutWhatTheCallerBoundWhereOthersAreLeft) {
  Poll({{.name = "a", .generation = 3}, {.name = "b", .generation = 4}});
  Reply(New<PollCall>().at(0).id, Spent());
  Reply(New<PollCall>().at(0).id, Stale());
  const auto asks = New<LifeCall>();
  Reply(asks.at(0).id, Stale());
  Reply(asks.at(1).id, Lives(4));
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{4}));
}

TEST_F(EnginePollTest, ARefusalOfTheFirstAttemptIsTheCallers) {
  Poll({{.name = "a", .generation = 3}});
  Reply(New<PollCall>().at(0).id, Stale());
  EXPECT_EQ(one_.code(), StatusCode::kAborted);
  EXPECT_TRUE(New<LifeCall>().empty());
}

TEST_F(EnginePollTest, ARefusalThatNothingExplainsIsTheEnd) {
  Poll({{.name = "a"}});
  Reply(Bind(), Stale());
  Reply(New<LifeCall>().at(0).id, Lives(7));
  EXPECT_EQ(one_.code(), StatusCode::kAborted);
}

TEST_F(EnginePollTest, GoesOnUnboundWhereItMayNotAsk) {
  Poll({{.name = "a"}});
  Reply(New<PollCall>().at(0).id, Spent());
  Reply(New<LifeCall>().at(0).id, absl::PermissionDeniedError("no"));
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{0}));
  EXPECT_FALSE(one_.done());
}

TEST_F(EnginePollTest, AnAnswerToAFormerAttemptIsNothing) {
  Poll({{.name = "a"}});
  const Written first = New<PollCall>().at(0);
  AskEarly();
  const auto early = New<LifeCall>();
  Reply(first.id, Spent());
  const auto late = New<LifeCall>();
  ASSERT_EQ(late.size(), 1U);
  Reply(early.at(0).id, Gone());
  EXPECT_TRUE(New<PollCall>().empty());
  Reply(late.at(0).id, Lives(9));
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{9}));
}

TEST_F(EnginePollTest, IsStoppedWhileItAsks) {
  std::stop_source stop;
  Request request{
      .name = {}, .id = {}, .what = PollCall({{.name = "a"}}), .stop = stop.get_token()};
  stage_.engine.Submit(std::make_unique<Op>(stage_.engine, std::move(request), absl::Seconds(1)),
                       one_);
  Flush();
  Reply(New<PollCall>().at(0).id, Spent());
  const auto asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 1U);
  stop.request_stop();
  stage_.Settle();
  EXPECT_EQ(one_.code(), StatusCode::kCancelled);
  Reply(asks[0].id, Lives(9));
  EXPECT_TRUE(New<PollCall>().empty());
}

// A server that has forgotten everything has closed nothing.

class EnginePollResumeTest : public EnginePollTest {
 protected:
  void BeForgotten() {
    stage_.BreakOff();
    stage_.Pass(Engine::kBackoffMax);
    stage_.engine.OnOpened();
    stage_.Written();
    stage_.engine.OnMessage(
        {.welcome = Welcome{.resume_token = "anew"}, .results = {}, .sequence = 0});
    stage_.sequence = 0;
    stage_.Settle();
    Flush();
  }

  static absl::Status Unknown() { return Refused(StatusCode::kAborted, "OUTCOME_UNKNOWN"); }
};

TEST_F(EnginePollResumeTest, ABoundPollParksInAnyLifeOfAServerThatKnowsNone) {
  Poll({{.name = "a"}, {.name = "b", .generation = 3}});
  const Written first = New<PollCall>().at(0);
  Reply(first.id, Spent());
  const auto asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 2U);
  Reply(asks[0].id, Lives(7));
  Reply(asks[1].id, Lives(3));
  const uint64_t bound = New<PollCall>().at(0).id;
  BeForgotten();
  const Written repeated = New<PollCall>().at(0);
  EXPECT_EQ(repeated.id, bound);
  EXPECT_GT(repeated.first_sent_ago, absl::ZeroDuration());
  Reply(bound, Unknown());
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{0, 3}));
}

TEST_F(EnginePollResumeTest, WhatIsNotSentBeforeTheServerForgetsIsNoFirstAttempt) {
  stage_.Submit(one_, "w", WaitOptions{});
  stage_.Written();
  WaitResult nothing;
  nothing.outcome = Outcome::kTimedOut;
  nothing.timeout_cause = TimeoutCause::kMaxWait;
  nothing.generation = 42;
  stage_.Submit(two_, "b", ReadyCall({}));
  ASSERT_TRUE(stage_.writing()) << "so that what follows waits";
  stage_.Answer(1, nothing);
  (void)New<WaitCall>();
  BeForgotten();
  const Written again = New<WaitCall>().at(0);
  EXPECT_EQ(std::get<WaitCall>(again.request.what).options.generation, 42U);
  EXPECT_GT(again.first_sent_ago, absl::ZeroDuration());
  Reply(again.id, Unknown());
  EXPECT_EQ(std::get<WaitCall>(New<WaitCall>().at(0).request.what).options.generation, 0U);
}

TEST_F(EnginePollResumeTest, AQuestionThatAServerCannotAnswerParksItInAnyLife) {
  Poll({{.name = "a"}});
  Reply(New<PollCall>().at(0).id, Spent());
  (void)New<LifeCall>();
  BeForgotten();
  const auto asks = New<LifeCall>();
  ASSERT_EQ(asks.size(), 1U);
  EXPECT_NE(asks[0].request.id, "");
  EXPECT_GT(asks[0].first_sent_ago, absl::ZeroDuration());
  Reply(asks[0].id, Unknown());
  EXPECT_EQ(Generations(New<PollCall>().at(0)), (Numbers{0}));
}

TEST_F(EnginePollResumeTest, ClosingWaitsForNoQuestion) {
  Poll({{.name = "a"}});
  AskEarly();
  stage_.Close();
  stage_.Settle();
  EXPECT_TRUE(stage_.last().last) << "nothing else is to be sent";
}

}  // namespace
}  // namespace waitd::internal
