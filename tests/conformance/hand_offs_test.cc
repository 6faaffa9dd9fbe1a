// Hand-offs that wait for their Ack, through the core.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

WaitArgs AckedWait(std::string_view id, Nanos ack_timeout = seconds(5)) {
  WaitArgs args = WaitAs(id);
  args.ack_timeout = ack_timeout;
  return args;
}

class HandOffTest : public testing::Test {
 protected:
  HandOffTest() { Ok(t.Open("a")); }

  // Generation 0: the one that is open.
  Result<AckResult> Ack(std::string_view id, uint64_t delivery, std::string_view name = "a",
                        uint64_t generation = 0) {
    const auto info = t.Get(name);
    if (const auto* const open = std::get_if<DescriptorInfo>(&info); generation == 0 && open) {
      generation = open->generation;
    }
    return t.Ack({.name = name, .wait_id = id, .delivery = delivery, .generation = generation});
  }

  // A poll that finds "x" on "a" and "y" on "b", both of which it needs.
  PollArgs PollOfBoth() {
    Ok(t.Open("b"));
    Ok(t.Ready("a", Mode::kRead, "x"));
    Ok(t.Ready("b", Mode::kRead, "y"));
    return {.targets = {{.name = "a"}, {.name = "b"}},
            .need = 2,
            .ack_timeout = seconds(5),
            .retry = {.id = "p"}};
  }

  // The READY on "a" that was taken back: it is there at once, and the timer adds no other.
  void ExpectBackOnce() {
    EXPECT_EQ(t.Try("a").attempt, 2U);
    t.RunTimers();
    EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  }

  Table t{{.unwritten_for = Nanos(0)}};
};

TEST_F(HandOffTest, C72_WithoutAnAckTheReadyComesBack) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto first = t.Wait(AckedWait("w1"));
  EXPECT_EQ(ResultOf(first).attempt, 1U);
  EXPECT_EQ(Ok(t.Get("a")).side[0].unacked, 1U);
  Ok(t.Ready("a", Mode::kRead, "y"));
  t.Advance(seconds(5) - Nanos(1));
  EXPECT_EQ(Count(t).unacked, 1U);
  t.Advance(Nanos(1));
  EXPECT_EQ(Count(t).unacked, 0U);
  EXPECT_EQ(Ok(t.Get("a")).side[0].returned, 1U);
  EXPECT_EQ(ReasonOf(Ack("w1", ResultOf(first).delivery)), Reason::kStaleDelivery);
  EXPECT_EQ(RefusedAs(t.Wait(AckedWait("w1"))), Reason::kStaleDelivery);
  const WaitResult again = t.Try("a");
  EXPECT_EQ(*again.signal, "x") << "before the remembered one";
  EXPECT_EQ(again.attempt, 2U);
  EXPECT_GT(again.delivery, ResultOf(first).delivery);
  EXPECT_EQ(*t.Try("a").signal, "y") << "which it did not coalesce with";
  EXPECT_EQ(Count(t).redeliveries, 1U);
}

TEST_F(HandOffTest, C72_AnAckEndsIt) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  const auto wait = t.Wait(AckedWait("w1"));
  const uint64_t delivery = ResultOf(wait).delivery;
  EXPECT_EQ(ReasonOf(Ack("w1", delivery + 1)), Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(Ack("w2", delivery)), Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(Ack("w1", delivery, "a", 99)), Reason::kStaleGeneration);
  Ok(Ack("w1", delivery));
  Ok(Ack("w1", delivery));
  EXPECT_EQ(*ResultOf(t.Wait(AckedWait("w1"))).signal, "x") << "the outcome is there all the same";
  t.Advance(seconds(10));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(Count(t).unacked, 0U);
}

TEST_F(HandOffTest, C72_AnAckAfterItsTimeFindsItTakenBackBeforeTheTimerRan) {
  Ok(t.Ready("a"));
  const auto wait = t.Wait(AckedWait("w1"));
  t.Pass(seconds(5));
  EXPECT_EQ(ReasonOf(Ack("w1", ResultOf(wait).delivery)), Reason::kStaleDelivery);
  EXPECT_EQ(RefusedAs(t.Wait(AckedWait("w1"))), Reason::kStaleDelivery);
  ExpectBackOnce();
}

TEST_F(HandOffTest, C72_WhoIsToldThatItWasTakenBackFindsItThereBeforeTheTimerRan) {
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Wait(AckedWait("w1"))), Outcome::kReady);
  t.Pass(seconds(5) - Nanos(1));
  EXPECT_EQ(OutcomeOf(t.Wait(AckedWait("w1"))), Outcome::kReady) << "the same again";
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  t.Pass(Nanos(1));
  EXPECT_EQ(RefusedAs(t.Wait(AckedWait("w1"))), Reason::kStaleDelivery);
  ExpectBackOnce();
}

TEST_F(HandOffTest, C72_ARepeatedWaitLetsAnotherHaveWhatWasTakenBack) {
  Ok(t.Open("b"));
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Wait(AckedWait("w1"))), Outcome::kReady);
  const auto poll = t.Poll({{.name = "b"}, {.name = "a"}});
  t.Pass(seconds(5));
  EXPECT_EQ(RefusedAs(t.Wait(AckedWait("w1"))), Reason::kStaleDelivery);
  ASSERT_TRUE(poll->done());
  const auto& ready = std::get<PollResult>(poll->result()).targets;
  ASSERT_EQ(ready.size(), 1U);
  EXPECT_EQ(ready[0].result(Nanos(0)).attempt, 2U);
}

TEST_F(HandOffTest, C72_CloseForgetsItAndResetForgetsWhatCameBack) {
  Ok(t.Ready("a"));
  const auto wait = t.Wait(AckedWait("w1"));
  Ok(t.Close("a"));
  EXPECT_EQ(Count(t).unacked, 0U);
  EXPECT_EQ(ReasonOf(Ack("w1", ResultOf(wait).delivery)), Reason::kOutcomeUnknown);
  Ok(t.Open("a"));
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  Ok(t.Ready("a"));
  const auto second = t.Wait(AckedWait("w2"));
  t.Advance(seconds(5));
  EXPECT_TRUE(Ok(t.Reset("a")).forgot);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(Count(t).returned, 0U);
}

TEST_F(HandOffTest, C72_TheOldestDeliveryComesFirst) {
  Ok(t.Open("q", Kind::kFifo));
  for (const char* data : {"1", "2", "3"}) {
    Ok(t.Ready("q", Mode::kRead, data));
    WaitArgs args = WaitAs(data, "q");
    args.ack_timeout = seconds(10 - (data[0] - '0'));  // the last one comes back first
    EXPECT_EQ(OutcomeOf(t.Wait(args)), Outcome::kReady);
  }
  t.Advance(seconds(10));
  EXPECT_EQ(*t.Try("q").signal, "1");
  EXPECT_EQ(*t.Try("q").signal, "2");
  EXPECT_EQ(*t.Try("q").signal, "3");
}

TEST_F(HandOffTest, C72_APollsReadysAreEachAcknowledged) {
  const PollArgs args = PollOfBoth();
  const auto poll = t.Poll(args);
  const auto& targets = std::get<PollResult>(poll->result()).targets;
  Ok(Ack("p", targets[0].result(Nanos(0)).delivery, "a"));
  t.Advance(seconds(5));
  EXPECT_EQ(ReasonOf(Ack("p", targets[1].result(Nanos(0)).delivery, "b")), Reason::kStaleDelivery);
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kStaleDelivery);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(*t.Try("b").signal, "y");
}

TEST_F(HandOffTest, C72_ARepeatedPollFindsAllTakenBackBeforeTheTimersRan) {
  const PollArgs args = PollOfBoth();
  EXPECT_EQ(OutcomeOf(t.Poll(args)), Outcome::kReady);
  t.Pass(seconds(5));
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kStaleDelivery);
  EXPECT_EQ(*t.Try("a").signal, "x");
  EXPECT_EQ(*t.Try("b").signal, "y");
}

TEST_F(HandOffTest, C72_AParkedPollHandsOverToo) {
  Ok(t.Open("b"));
  const auto poll = t.Poll({.targets = {{.name = "a"}, {.name = "b"}},
                            .need = 2,
                            .ack_timeout = seconds(5),
                            .retry = {.id = "p"}});
  Ok(t.Ready("a"));
  Ok(t.Ready("b"));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
  EXPECT_EQ(Count(t).unacked, 2U);
  t.Advance(seconds(5));
  EXPECT_EQ(Count(t).returned, 2U);
}

TEST_F(HandOffTest, C72_AWaitAndAPollOfOneIdHandOverEachItsOwn) {
  Ok(t.Open("q", Kind::kFifo));
  const auto poll = t.Poll({.targets = {{.name = "a"}, {.name = "q"}},
                            .ack_timeout = seconds(5),
                            .retry = {.id = "same"}});
  Ok(t.Ready("q", Mode::kRead, "x"));
  WaitArgs args = AckedWait("same");
  args.name = "q";
  const auto wait = t.Wait(args);
  Ok(t.Ready("q", Mode::kRead, "y"));
  EXPECT_EQ(Count(t).unacked, 2U);
  const uint64_t delivery =
      std::get<PollResult>(poll->result()).targets[0].result(Nanos(0)).delivery;
  Ok(Ack("same", delivery, "q"));
  EXPECT_EQ(*ResultOf(t.Wait(args)).signal, "y") << "the other's Ack is not its own";
  t.Advance(seconds(5));
  EXPECT_EQ(RefusedAs(t.Wait(args)), Reason::kStaleDelivery);
  EXPECT_EQ(*t.Try("q").signal, "y");
  EXPECT_EQ(t.Try("q").outcome, Outcome::kTimedOut);
}

TEST(HandOffMemory, C72_AnIdThatIsUsedAgainLosesNoReady) {
  Table t({.max_outcomes = 1});
  Ok(t.Open("q", Kind::kFifo));
  WaitArgs args = AckedWait("w1");
  args.name = "q";
  for (const char* data : {"x", "y"}) {
    Ok(t.Ready("q", Mode::kRead, data));
    EXPECT_EQ(*ResultOf(t.Wait(args)).signal, data);
    Ok(t.Ready({.name = "q", .condition = ReadyCondition::kWaiting, .retry = {.id = data}}));
  }
  EXPECT_EQ(Ok(t.Get("q")).side[0].unacked, 2U) << "their outcomes are forgotten, not they";
  t.Advance(seconds(5));
  EXPECT_EQ(*t.Try("q").signal, "x");
  EXPECT_EQ(*t.Try("q").signal, "y");
  EXPECT_EQ(Count(t).unacked, 0U);
}

TEST(HandOffMemory, C72_AHandOffThatIsForgottenBeforeItsPollIsNotRepeated) {
  Table t({.max_outcomes = 2});
  const auto [first, other] = Apart();
  Ok(t.Open(first));
  Ok(t.Open(other));
  PollArgs args{.targets = {{.name = first}, {.name = other}},
                .ack_timeout = seconds(5),
                .retry = {.id = "p"}};
  Ok(t.Ready(other, Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Poll(args)), Outcome::kReady);
  t.Advance(seconds(5));
  Ok(t.Ready({.name = other, .condition = ReadyCondition::kWaiting, .retry = {.id = "r"}}));
  EXPECT_EQ(*t.Try(other).signal, "x");
  args.retry.sent_ago = seconds(5);
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kOutcomeUnknown) << "another has its READY";
}

// Makes room by forgetting the oldest outcome.
void ForgetOne(Table& t, std::string_view name, std::string_view id = "r") {
  Ok(t.Ready({.name = name, .condition = ReadyCondition::kWaiting, .retry = {.id = id}}));
}

TEST(HandOffMemory, C72_AnAnswerNeverWrittenComesBackByItsHandOffAlone) {
  Table t({.max_outcomes = 1});
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, "x"));
  WaitArgs args = WaitAs("w1");
  args.ack_timeout = seconds(5);
  const auto w = t.Wait(args);
  EXPECT_EQ(OutcomeOf(w), Outcome::kReady);
  ForgetOne(t, "a", "r");
  t.poller().Unwritten(*w, Nanos(0));
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kReady);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(HandOffMemory, C72_NorIsItRepeatedWhenItsNameIsClosed) {
  Table t({.max_outcomes = 2});
  const auto [first, other] = Apart();
  Ok(t.Open(first));
  Ok(t.Open(other));
  PollArgs args{.targets = {{.name = first}, {.name = other}},
                .ack_timeout = seconds(5),
                .retry = {.id = "p"}};
  Ok(t.Ready(other, Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Poll(args)), Outcome::kReady);
  t.Advance(seconds(5));
  ForgetOne(t, other, "r");
  EXPECT_EQ(*t.Try(other).signal, "x");
  Ok(t.Close(other));
  args.retry.sent_ago = seconds(5);
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kOutcomeUnknown) << "another has its READY";
}

TEST(HandOffMemory, C72_NorWhenANewLifeOfTheNameTookItsPlace) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Open("q", Kind::kFifo));
  const PollArgs poll{.targets = {{.name = "a"}, {.name = "q"}},
                      .ack_timeout = seconds(5),
                      .retry = {.id = "same"}};
  Ok(t.Ready("q", Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Poll(poll)), Outcome::kReady);
  t.Advance(seconds(5));
  EXPECT_EQ(*t.Try("q").signal, "x");
  Ok(t.Close("q"));
  Ok(t.Open("q", Kind::kFifo));
  EXPECT_EQ(ReasonOf(t.Poll(poll)->result()), Reason::kStaleDelivery);
  WaitArgs args = WaitAs("same");
  args.ack_timeout = seconds(5);
  args.name = "q";
  Ok(t.Ready("q", Mode::kRead, "y"));
  EXPECT_EQ(*ResultOf(t.Wait(args)).signal, "y");
  EXPECT_TRUE(std::holds_alternative<Refusal>(t.Poll(poll)->result()));
}

TEST_F(HandOffTest, C67_AnAnswerWhoseHandOffWentWithCloseIsRepeated) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Wait(AckedWait("w1"))), Outcome::kReady);
  const PollArgs args{.targets = {{.name = "a"}}, .ack_timeout = seconds(5), .retry = {.id = "p"}};
  Ok(t.Ready("a", Mode::kRead, "y"));
  EXPECT_EQ(OutcomeOf(t.Poll(args)), Outcome::kReady);
  Ok(t.Close("a"));
  Ok(t.Open("a"));
  t.Advance(seconds(5));
  EXPECT_EQ(*ResultOf(t.Wait(AckedWait("w1"))).signal, "x");
  EXPECT_EQ(OutcomeOf(t.Poll(args)), Outcome::kReady);
}

TEST_F(HandOffTest, C72_ADeliveryOfAFormerLifeIsNotThatOfTheNext) {
  Ok(t.Open("q", Kind::kFifo));
  const PollArgs poll{.targets = {{.name = "a"}, {.name = "q"}},
                      .ack_timeout = seconds(5),
                      .retry = {.id = "same"}};
  Ok(t.Ready("q", Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Poll(poll)), Outcome::kReady);
  Ok(t.Close("q"));
  Ok(t.Open("q", Kind::kFifo));
  WaitArgs args = AckedWait("same");
  args.name = "q";
  Ok(t.Ready("q", Mode::kRead, "y"));
  EXPECT_EQ(*ResultOf(t.Wait(args)).signal, "y");
  EXPECT_EQ(Count(t).unacked, 1U);
  t.Advance(seconds(5));
  EXPECT_EQ(OutcomeOf(t.Poll(poll)), Outcome::kReady) << "what came back is not its own";
  EXPECT_EQ(*t.Try("q").signal, "y");
}

// Waits and polls of a few ids that are used again and again, with next to no memory of outcomes.
class HandOffRun {
 public:
  explicit HandOffRun(unsigned seed) : random_(seed), t_({.max_outcomes = seed % 4}) {
    for (const std::string& name : names_) Ok(t_.Open(name, Kind::kFifo));
  }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step(i);
    EXPECT_GT(acknowledged_.size(), 10U);
    EXPECT_GT(Count(t_).redeliveries, 5U);
    t_.Advance(seconds(10));
    EXPECT_EQ(Count(t_).unacked, 0U);
    size_t left = 0;
    for (const std::string& name : names_) {
      for (WaitResult next = t_.Try(name); next.outcome == Outcome::kReady; next = t_.Try(name)) {
        EXPECT_FALSE(acknowledged_.contains(*next.signal)) << *next.signal << " is there again";
        ++left;
      }
    }
    EXPECT_EQ(acknowledged_.size() + left, accepted_);
  }

 private:
  struct Taken {
    std::string name, id;
    WaitResult ready;
  };

  void Step(int i) {
    const std::string& name = names_[random_() % 2];
    const std::string id = "w" + std::to_string(random_() % 3);
    switch (random_() % 6) {
      case 0:
      case 1:
        Signal(name, std::to_string(i));
        break;
      case 2:
        Wait(name, id);
        break;
      case 3:
        Poll(id);
        break;
      case 4:
        if (!taken_.empty()) Ack(taken_[taken_.size() - 1 - random_() % taken_.size() % 4]);
        break;
      default:
        t_.Pass(milliseconds(random_() % 1000));
        if (random_() % 2 == 0) t_.RunTimers();
    }
  }

  void Signal(const std::string& name, const std::string& number) {
    const auto ready = t_.Ready(name, Mode::kRead, number);
    if (Ok(ready).effect != ReadyEffect::kCoalesced) ++accepted_;
  }

  void Wait(const std::string& name, const std::string& id) {
    WaitArgs args = AckedWait(id, seconds(2));
    args.name = name;
    args.timeout = Nanos(0);
    const auto wait = t_.Wait(args);
    const auto* const result = std::get_if<WaitResult>(&wait->result());
    if (result != nullptr) Note(name, id, *result);
  }

  void Poll(const std::string& id) {
    const auto poll = t_.Poll({.targets = {{.name = names_[0]}, {.name = names_[1]}},
                               .need = 1 + static_cast<uint32_t>(random_() % 2),
                               .timeout = Nanos(0),
                               .ack_timeout = seconds(2),
                               .retry = {.id = id}});
    const auto* const result = std::get_if<PollResult>(&poll->result());
    if (result == nullptr) return;
    for (const auto& target : result->targets) {
      Note(names_[target.index], id, target.result(result->parked));
    }
  }

  void Note(const std::string& name, const std::string& id, const WaitResult& result) {
    if (result.outcome == Outcome::kReady) taken_.push_back({name, id, result});
  }

  void Ack(const Taken& taken) {
    const auto ack = t_.Ack(AckOf(taken.ready, taken.id, taken.name));
    if (!std::holds_alternative<AckResult>(ack)) return;
    const auto [of, first] = acknowledged_.try_emplace(*taken.ready.signal, taken.ready.delivery);
    EXPECT_EQ(of->second, taken.ready.delivery) << of->first << " was handed over again";
  }

  std::mt19937 random_;
  const std::array<std::string, 2> names_{Apart().first, Apart().second};
  Table t_;
  std::vector<Taken> taken_;
  std::map<std::string, uint64_t> acknowledged_;  // the numbers, and by which delivery
  size_t accepted_ = 0;                           // Readys, but those that replaced one
};

TEST(HandOffMemory, C72_EachReadyIsAcknowledgedOnceOrThere) {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    HandOffRun(seed).Run(600);
    if (HasFailure()) break;
  }
}

TEST_F(HandOffTest, C72_ALatchHasNone) {
  Ok(t.Open("l", Kind::kLatch));
  WaitArgs args = AckedWait("w1");
  args.name = "l";
  EXPECT_EQ(RefusedAs(t.Wait(args)), Reason::kBadOptions);
  const OpenOptions latch{.kind = Kind::kLatch, .labels = {}, .owner = {}};
  args.name = "new";
  args.open_if_missing = &latch;
  EXPECT_EQ(RefusedAs(t.Wait(args)), Reason::kBadOptions);
  EXPECT_EQ(ReasonOf(t.Get("new")), Reason::kNoDescriptor);
  EXPECT_EQ(
      ReasonOf(t.Poll({.targets = {{.name = "l"}}, .ack_timeout = seconds(1), .retry = {.id = "p"}})
                   ->result()),
      Reason::kBadOptions);
}

TEST_F(HandOffTest, C73_TheNextWaiterGetsItAndAnExpiredSideKeepsIt) {
  Ok(t.Ready("a", Mode::kRead, "x"));
  EXPECT_EQ(OutcomeOf(t.Wait(AckedWait("w1"))), Outcome::kReady);
  Ok(t.In("a", seconds(1)));
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(Count(t).returned, 1U);
  Ok(t.Clear("a"));
  const auto next = t.Wait(AckedWait("w2"));
  EXPECT_EQ(*ResultOf(next).signal, "x");
  EXPECT_EQ(ResultOf(next).attempt, 2U);
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").attempt, 3U);
}

TEST_F(HandOffTest, C73_ItWakesWhoIsParkedOnEveryKindButALatch) {
  for (const Kind kind : {Kind::kExclusive, Kind::kFifo}) {
    const std::string name = kind == Kind::kFifo ? "fifo" : "exclusive";
    Ok(t.Open(name, kind));
    Ok(t.Ready(name, Mode::kRead, "x"));
    WaitArgs args = AckedWait("w1");
    args.name = name;
    EXPECT_EQ(OutcomeOf(t.Wait(args)), Outcome::kReady);
    const auto next = t.Wait(name);
    t.Advance(seconds(5));
    EXPECT_EQ(*ResultOf(next).signal, "x");
  }
}

TEST_F(HandOffTest, C76_IdleTtlDoesNotRunWhileAHandOffOrAReturnedTokenStands) {
  OpenArgs args{.name = "i"};
  args.options.idle_ttl = seconds(1);
  Ok(t.Open(args));
  Ok(t.Ready("i"));
  WaitArgs wait = AckedWait("w1", seconds(10));
  wait.name = "i";
  EXPECT_EQ(OutcomeOf(t.Wait(wait)), Outcome::kReady);
  t.Advance(seconds(9));
  EXPECT_EQ(Ok(t.Get("i")).side[0].unacked, 1U);
  t.Advance(seconds(9));
  EXPECT_EQ(Ok(t.Get("i")).side[0].returned, 1U);
  EXPECT_EQ(t.Try("i").outcome, Outcome::kReady);
  t.Advance(seconds(1));
  EXPECT_EQ(ReasonOf(t.Get("i")), Reason::kNoDescriptor);
}

}  // namespace
}  // namespace waitd::core
