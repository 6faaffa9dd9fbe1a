// Signals that have left their semaphore: their limits, their end, and what a Reset leaves.
#include "core/delivery.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

WaitArgs Acked(std::string_view id, std::string_view name = "a", Nanos ack_timeout = hours(1)) {
  WaitArgs args = WaitAs(id, name);
  args.ack_timeout = ack_timeout;
  return args;
}

// A signal of "a", handed to the wait of that id, to be acknowledged.
WaitResult Handed(Table& t, std::string_view id, std::string_view name = "a",
                  Nanos ack_timeout = hours(1)) {
  Ok(t.Ready(name, Mode::kRead, id));
  return ResultOf(t.Wait(Acked(id, name, ack_timeout)));
}

TEST(DeliveryLimit, OfASideIsChargedWhenAWaitBeginsAndFreedByItsAck) {
  Table t({.max_deliveries_of_side = 2});
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("b", Kind::kFifo));
  const WaitResult first = Handed(t, "w1");
  const auto parked = t.Wait(Acked("w2"));
  EXPECT_FALSE(parked->done()) << "at the limit";
  const auto refused = t.Wait(Acked("w3"));
  EXPECT_EQ(RefusedAs(refused), Reason::kLimitDeliveries);
  EXPECT_EQ(std::get<Refusal>(refused->result()).limit, 2U);
  EXPECT_FALSE(t.Wait("a")->done()) << "without an ack_timeout there is no limit";
  EXPECT_FALSE(
      t.Wait({.name = "a", .side = Side::kWrite, .ack_timeout = seconds(1), .retry = {.id = "w4"}})
          ->done())
      << "the other side has its own";
  Ok(t.Ready("a"));
  ASSERT_TRUE(parked->done()) << "nothing is refused at the signal";
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w5"))), Reason::kLimitDeliveries) << "held until the Ack";
  Ok(t.Ack(AckOf(first, "w1")));
  const auto again = t.Wait(Acked("w6"));
  EXPECT_FALSE(again->done());
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w7"))), Reason::kLimitDeliveries);
  t.poller().Cancel(*again);
  EXPECT_FALSE(t.Wait(Acked("w8"))->done()) << "freed at the end of the wait";
}

TEST(DeliveryLimit, OfAllNamesToo) {
  Table t({.max_deliveries = 2});
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name, Kind::kFifo));
  const auto [near, far] = Apart();
  const WaitResult first = Handed(t, "w1", "a");
  const auto parked = t.Wait(Acked("w2", "b"));
  EXPECT_FALSE(parked->done());
  const auto refused = t.Wait(Acked("w3", "c"));
  EXPECT_EQ(RefusedAs(refused), Reason::kLimitDeliveries);
  EXPECT_EQ(std::get<Refusal>(refused->result()).limit, 2U);
  const auto poll =
      t.Poll({.targets = {{"a"}, {"b"}}, .ack_timeout = seconds(1), .retry = {.id = "p"}});
  EXPECT_EQ(ReasonOf(poll->result()), Reason::kLimitDeliveries);
  Ok(t.Close("a"));
  EXPECT_FALSE(t.Wait(Acked("w3", "c"))->done()) << "Close ends the delivery";
  Ok(t.Close("b"));
  EXPECT_EQ(OutcomeOf(parked), Outcome::kClosed);
  Ok(t.Open("b", Kind::kFifo));
  EXPECT_FALSE(t.Wait(Acked("w4", "b"))->done()) << "and its wait";
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w5", "b"))), Reason::kLimitDeliveries);
}

TEST(DeliveryLimit, APollIsChargedForEachTarget) {
  Table t({.max_deliveries = 3});
  for (const char* name : {"a", "b", "c"}) Ok(t.Open(name, Kind::kFifo));
  PollArgs args{.targets = {{"a"}, {"b"}}, .ack_timeout = hours(1), .retry = {.id = "p"}};
  const auto poll = t.Poll(args);
  EXPECT_FALSE(poll->done());
  args.retry.id = "q";
  EXPECT_EQ(ReasonOf(t.Poll(args)->result()), Reason::kLimitDeliveries);
  const auto wait = t.Wait(Acked("w", "c"));
  EXPECT_FALSE(wait->done()) << "there is room for one";
  Ok(t.Ready("b"));
  ASSERT_TRUE(poll->done());
  EXPECT_FALSE(t.Wait(Acked("v", "c"))->done()) << "one of its two is held, the other is free";
  EXPECT_EQ(RefusedAs(t.Wait(Acked("u", "c"))), Reason::kLimitDeliveries);
}

TEST(DeliveryLimit, WhatComesBackOrIsTimedOutIsFree) {
  Table t({.max_deliveries_of_side = 1});
  Ok(t.Open("a", Kind::kFifo));
  Handed(t, "w1", "a", seconds(5));
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w2"))), Reason::kLimitDeliveries);
  t.Advance(seconds(5));
  EXPECT_EQ(ResultOf(t.Wait(Acked("w3", "a", seconds(5)))).attempt, 2U);
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w4"))), Reason::kLimitDeliveries);
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").attempt, 3U);
  WaitArgs timed = Acked("w5");
  timed.timeout = seconds(1);
  const auto out = t.Wait(timed);
  EXPECT_EQ(RefusedAs(t.Wait(Acked("w6"))), Reason::kLimitDeliveries);
  t.Advance(seconds(1));
  EXPECT_EQ(OutcomeOf(out), Outcome::kTimedOut);
  EXPECT_FALSE(t.Wait(Acked("w7"))->done());
}

TEST(DeliveryEnd, CloseEndsThemWithAllTheyHold) {
  Table t;
  Ok(t.Open("a"));
  std::weak_ptr<const std::string> payload;
  {
    const Payload signal = Bytes("payload");
    payload = signal;
    Ok(t.Ready({.name = "a", .signal = signal}));
  }
  ASSERT_TRUE(t.Wait(Acked("w", "a", hours(24) * 365 * 50))->done());
  EXPECT_EQ(Count(t).unacked, 1U);
  Ok(t.Close("a"));
  EXPECT_EQ(Count(t).unacked, 0U);
  t.Advance(hours(24));  // the retention of the wait's answer is long over
  EXPECT_TRUE(payload.expired());
  EXPECT_EQ(Count(t).timers, 0U);
}

TEST(DeliveryEnd, CloseEndsManyInPieces) {
  constexpr int kMany = 5000;
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  for (int i = 0; i < kMany; ++i) Handed(t, "w" + std::to_string(i));
  EXPECT_EQ(Count(t).unacked, static_cast<uint64_t>(kMany));
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  EXPECT_TRUE(close.done()) << "nobody waits for that";
  EXPECT_EQ(Count(t).unacked, 0U);
  Ok(t.Open("a", Kind::kFifo));
  EXPECT_EQ(Ok(t.Get("a")).side[0].unacked, 0U);
  const uint64_t timers = Count(t).timers;
  t.poller().RunTimers();
  EXPECT_LE(timers - Count(t).timers, kUnitsMax) << "in one hold";
  t.RunTimers();
  EXPECT_LE(Count(t).timers, 1U) << "that of the retention is left";
  Handed(t, "new");
  t.Advance(hours(2));
  EXPECT_EQ(*t.Try("a").signal, "new");
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(DeliveryEnd, AnAckOfAFormerLifeEndsNothing) {
  Table t({.retention = seconds(1)});
  Ok(t.Open("a"));
  const WaitResult former = Handed(t, "w");
  Ok(t.Close("a"));
  t.Advance(seconds(10));
  Ok(t.Open("a"));
  const WaitResult newer = Handed(t, "w");
  EXPECT_EQ(newer.delivery, former.delivery) << "numbers begin anew with the life";
  AckArgs unset = AckOf(former, "w");
  unset.generation = 0;
  EXPECT_EQ(ReasonOf(t.Ack(unset)), Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(former, "w"))), Reason::kStaleGeneration);
  EXPECT_EQ(Count(t).unacked, 1U);
  Ok(t.Ack(AckOf(newer, "w")));
  EXPECT_EQ(Count(t).unacked, 0U);
}

TEST(DeliveryEnd, WhatBecameOfItIsKnownForTheRetentionAndNoLonger) {
  Table t({.retention = seconds(60)});
  Ok(t.Open("a", Kind::kFifo));
  const WaitResult acked = Handed(t, "w1", "a", seconds(5));
  const WaitResult stale = Handed(t, "w2", "a", seconds(5));
  Ok(t.Ack(AckOf(acked, "w1")));
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").attempt, 2U);
  Ok(t.Ack(AckOf(acked, "w1")));
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(stale, "w2"))), Reason::kStaleDelivery);
  t.Advance(seconds(55));
  Ok(t.Ack(AckOf(acked, "w1")));
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(stale, "w2"))), Reason::kStaleDelivery);
  t.Advance(seconds(60));
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(acked, "w1"))), Reason::kOutcomeUnknown);
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(stale, "w2"))), Reason::kOutcomeUnknown);
  EXPECT_EQ(Count(t).outcomes, 0U);
}

TEST(DeliveryEnd, AfterCloseAnAckIsUnknown) {
  Table t;
  Ok(t.Open("a"));
  const WaitResult handed = Handed(t, "w");
  Ok(t.Ack(AckOf(handed, "w")));
  Ok(t.Close("a"));
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(handed, "w"))), Reason::kOutcomeUnknown);
}

// Those that are remembered as acknowledged leave in pieces after a Close, and may be forgotten
// before.
TEST(DeliveryEnd, TheRetentionOfAClosedNamesDeliveriesMayEndMeanwhile) {
  Table t({.retention = seconds(60)});
  Ok(t.Open("a", Kind::kFifo));
  for (int i = 0; i < 3000; ++i) {
    const std::string id = std::to_string(i);
    Ok(t.Ack(AckOf(Handed(t, id), id)));
  }
  t.Pass(seconds(70));
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  t.RunTimers();
  EXPECT_EQ(Count(t).outcomes, 0U);
}

TEST(DeliveryEnd, ThereMayBeNoMoreRoomForAClosedNamesDeliveriesMeanwhile) {
  Table t({.max_outcomes = 6000});
  Ok(t.Open("a", Kind::kFifo));
  Ok(t.Open("{a}b"));
  for (int i = 0; i < 3000; ++i) {
    const std::string id = std::to_string(i);
    Ok(t.Ack(AckOf(Handed(t, id), id)));
  }
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  for (int i = 0; i < 3000; ++i) {
    const std::string id = "r" + std::to_string(i);
    Ok(t.Ready({.name = "{a}b", .retry = {.id = id}}));
  }
  t.RunTimers();
  EXPECT_EQ(t.Try("{a}b").outcome, Outcome::kReady);
}

TEST(DeliveryReset, WhatIsOnItsWayBackIsForgottenAndItsOutcomeStays) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait(WaitAs("w"));
  t.poller().Abandon(*wait);
  Ok(t.Ready("a", Mode::kRead, "x"));
  EXPECT_FALSE(Ok(t.Reset("a")).forgot);
  Ok(t.Ready("a", Mode::kRead, "after"));
  t.Advance(seconds(31));
  EXPECT_EQ(*t.Try("a").signal, "after");
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut) << "a signal from before the Reset";
  const auto again = t.Wait(WaitAs("w", "a", seconds(31)));
  EXPECT_EQ(*ResultOf(again).signal, "x") << "its client may fetch it yet";
}

TEST(DeliveryReset, WhatWasPendingIsForgottenWhenItsTimeIsOver) {
  Table t;
  Ok(t.Open("a"));
  const WaitResult handed = Handed(t, "w", "a", seconds(5));
  Ok(t.Reset("a"));
  EXPECT_EQ(Ok(t.Get("a")).side[0].unacked, 1U);
  t.Advance(seconds(5));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
  EXPECT_EQ(ReasonOf(t.Ack(AckOf(handed, "w"))), Reason::kStaleDelivery);
  Ok(t.Ready("a", Mode::kRead, "new"));
  EXPECT_EQ(*t.Try("a").signal, "new");
}

TEST(DeliveryReset, AnUnwrittenOneWithoutAnIdIsForgottenToo) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a"));
  const auto wait = t.Wait("a");
  Ok(t.Reset("a"));
  t.poller().Unwritten(*wait, Nanos(0));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(DeliveryReset, ManyThatCameBackAreForgottenInPieces) {
  constexpr int kMany = 5000;
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  for (int i = 0; i < kMany; ++i) Handed(t, std::to_string(i), "a", seconds(5));
  t.Advance(seconds(5));
  ASSERT_EQ(Count(t).returned, static_cast<uint64_t>(kMany));
  Answered<ResetCall> reset;
  const uint64_t before = t.clock().reads;
  const uint64_t remembered = Count(t).outcomes;  // and each that is stale from now on
  t.poller().Reset(t.now().mono, {.name = "a"}, reset);
  const uint64_t holds = t.clock().reads - before;
  EXPECT_EQ(Count(t).returned, 0U);
  EXPECT_LE(Count(t).outcomes - remembered, kUnitsMax * holds);
  t.RunTimers();
  EXPECT_TRUE(Ok(reset.result()).forgot);
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

TEST(DeliveryReset, ACloseBeforeAllAreForgottenLeavesNoneCounted) {
  constexpr int kMany = 5000;
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  for (int i = 0; i < kMany; ++i) Handed(t, std::to_string(i), "a", seconds(5));
  t.Advance(seconds(5));
  Answered<ResetCall> reset;
  t.poller().Reset(t.now().mono, {.name = "a"}, reset);
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  t.RunTimers();
  EXPECT_EQ(Count(t).returned, 0U);
  EXPECT_EQ(Count(t).unacked, 0U);
}

TEST(DeliveryCount, RedeliveriesAreOfDeliveriesOnly) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a"));
  const auto wait = t.Wait("a");
  t.poller().Unwritten(*wait, Nanos(0));
  EXPECT_EQ(Count(t).returned, 1U);
  EXPECT_EQ(t.Try("a").attempt, 1U);
  EXPECT_EQ(Count(t).redeliveries, 0U);
  Handed(t, "w", "a", seconds(1));
  t.Advance(seconds(1));
  EXPECT_EQ(t.Try("a").attempt, 2U);
  EXPECT_EQ(Count(t).redeliveries, 1U);
  EXPECT_EQ(Count(t).returned, 0U);
}

TEST(DeliveryHold, FiveThousandOverdueComeBackInTheirOrderAndInPieces) {
  constexpr int kMany = 5000;
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  for (int i = 0; i < kMany; ++i) Handed(t, std::to_string(i), "a", seconds(5));
  t.Pass(seconds(5));
  uint64_t before = 0;
  while (Count(t).returned < kMany) {
    t.poller().RunTimers();
    const uint64_t now = Count(t).returned;
    ASSERT_GT(now, before);
    ASSERT_LE(now - before, kUnitsMax);
    before = now;
  }
  for (int i = 0; i < kMany; ++i) {
    const WaitResult next = t.Try("a");
    ASSERT_EQ(*next.signal, std::to_string(i));
    ASSERT_EQ(next.attempt, 2U);
  }
}

// Whoever lets them run out, on however many names, holds no more than the limit allows.
TEST(DeliveryLimit, WhatHasComeBackCounts) {
  Table t({.max_deliveries = 10});
  const auto lets_go = [&](const std::string& name, const std::string& id) {
    Ok(t.Ready(name));
    const auto wait = t.Wait({.name = name, .ack_timeout = seconds(1), .retry = {.id = id}});
    t.Advance(seconds(1));
    return std::holds_alternative<WaitResult>(wait->result());
  };
  for (int i = 0; i < 12; ++i) {
    const std::string name = "n" + std::to_string(i);
    Ok(t.Open(name, Kind::kFifo));
    EXPECT_EQ(lets_go(name, "w"), i < 10) << i;
  }
  EXPECT_EQ(Count(t).returned, 10U);
  EXPECT_EQ(Count(t).deliveries, 10U);
  EXPECT_TRUE(lets_go("n0", "v")) << "who takes one of these holds no more";
  EXPECT_EQ(Count(t).deliveries, 10U);
  EXPECT_EQ(OutcomeOf(t.Wait("n0")), Outcome::kReady);
  EXPECT_EQ(Count(t).deliveries, 9U);
  Ok(t.Reset("n1"));
  Ok(t.Close("n2"));
  EXPECT_EQ(Count(t).deliveries, 7U);
}

TEST(DeliveryLimit, APollThatTakesWhatCameBackHoldsNoMore) {
  Table t({.max_deliveries = 4});
  const auto poll = [&](std::vector<PollTarget> targets, uint32_t need, std::string_view id) {
    return t.Poll({.targets = std::move(targets),
                   .need = need,
                   .ack_timeout = seconds(1),
                   .retry = {.id = id}});
  };
  for (const char* name : {"a", "b", "c", "d"}) {
    Ok(t.Open(name, Kind::kFifo));
    Ok(t.Ready(name));
    EXPECT_EQ(OutcomeOf(poll({{name}}, 1, "v")), Outcome::kReady);
    t.Advance(seconds(1));
  }
  Ok(t.Open("fresh", Kind::kFifo));
  EXPECT_EQ(OutcomeOf(poll({{"a"}, {"b"}}, 2, "w")), Outcome::kReady);
  EXPECT_EQ(ReasonOf(poll({{"fresh"}, {"c"}}, 2, "x")->result()), Reason::kLimitDeliveries);
  Ok(t.Ready("fresh"));
  EXPECT_EQ(ReasonOf(poll({{"fresh"}, {"c"}}, 1, "y")->result()), Reason::kLimitDeliveries)
      << "it would take the fresh one";
  EXPECT_EQ(Count(t).deliveries, 4U);
}

}  // namespace
}  // namespace waitd::core
