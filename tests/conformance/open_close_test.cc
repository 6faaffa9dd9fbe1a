// Conformance C1 to C12, through the core with a manual clock.
#include <thread>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

TEST(Open, C1_NewDescriptorHasNothingAndAWaitParks) {
  Table t;
  const auto opened = Ok(t.Open("a"));
  EXPECT_TRUE(opened.created);
  for (const Side side : kSides) {
    EXPECT_EQ(opened.descriptor.side[Index(side)].state, SemaphoreState::kNil);
    EXPECT_EQ(opened.descriptor.side[Index(side)].deadline.state, Deadline::State::kNone);
  }
  const auto read = t.Wait("a", Side::kRead);
  const auto write = t.Wait("a", Side::kWrite);
  EXPECT_FALSE(read->done());
  EXPECT_FALSE(write->done());
  Ok(t.Close("a"));
}

TEST(Open, C2_RecycledSlotShowsNothingOfItsFormerLife) {
  Table t;
  t.Open({.name = "a", .options = {.kind = Kind::kLatch, .labels = {{"k", "v"}}}});
  Ok(t.Ready("a", Mode::kReadWrite, "payload"));
  Ok(t.In("a", seconds(0), Mode::kWrite));
  Ok(t.In("a", hours(1), Mode::kRead));
  Ok(t.Close("a"));
  const auto opened = Ok(t.Open("a"));
  EXPECT_EQ(opened.descriptor.kind, Kind::kExclusive);
  EXPECT_TRUE(opened.descriptor.labels.empty());
  EXPECT_EQ(opened.descriptor.idle_ttl, kForever);
  for (const Side side : kSides) {
    const auto& shown = opened.descriptor.side[Index(side)];
    EXPECT_EQ(shown.state, SemaphoreState::kNil);
    EXPECT_EQ(shown.deadline.state, Deadline::State::kNone);
    EXPECT_EQ(shown.deadline.at, kNever);
    EXPECT_EQ(shown.payload_bytes, 0U);
    const auto wait = t.Wait("a", side);
    EXPECT_FALSE(wait->done());
    Ok(t.Ready("a", side == Side::kRead ? Mode::kRead : Mode::kWrite));
    const auto& result = std::get<WaitResult>(wait->result());
    EXPECT_EQ(result.signal, nullptr);
    EXPECT_EQ(result.coalesced, 0U);
    EXPECT_EQ(result.delivery, 1U);
  }
}

TEST(Open, C3_GenerationsGrowAndOldTimersTouchNoNewLife) {
  Table t;
  const uint64_t first = Ok(t.Open("a")).descriptor.generation;
  Ok(t.In("a", seconds(1)));
  Ok(t.Close("a"));
  const uint64_t second = Ok(t.Open("a")).descriptor.generation;
  EXPECT_GT(second, first);
  const auto wait = t.Wait("a");
  t.Advance(seconds(2));
  EXPECT_FALSE(wait->done());
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .generation = first})), Reason::kStaleGeneration);
  EXPECT_FALSE(wait->done());
  Ok(t.Ready({.name = "a", .generation = second}));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}

TEST(Open, C3_GenerationsOfOtherNamesDifferToo) {
  Table t;
  const uint64_t a = Ok(t.Open("a")).descriptor.generation;
  const uint64_t b = Ok(t.Open("b")).descriptor.generation;
  Ok(t.Close("a"));
  const uint64_t c = Ok(t.Open("c")).descriptor.generation;
  EXPECT_NE(a, b);
  EXPECT_NE(c, a);
  EXPECT_NE(c, b);
}

TEST(Open, C5_OpenOfAnOpenNameReturnsItUnchanged) {
  Table t;
  const auto first = Ok(t.Open("a", Kind::kFifo));
  Ok(t.Ready("a"));
  const auto again = Ok(t.Open({.name = "a", .options = {.labels = {{"other", "label"}}}}));
  EXPECT_FALSE(again.created);
  EXPECT_EQ(again.descriptor.generation, first.descriptor.generation);
  EXPECT_EQ(again.descriptor.kind, Kind::kFifo);
  EXPECT_TRUE(again.descriptor.labels.empty());
  EXPECT_EQ(again.descriptor.side[0].state, SemaphoreState::kReady);
}

TEST(Open, C5_MustCreateAndOtherKindsAreRefused) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  EXPECT_EQ(ReasonOf(t.Open({.name = "a", .must_create = true})), Reason::kExists);
  EXPECT_EQ(ReasonOf(t.Open("a", Kind::kLatch)), Reason::kKindMismatch);
  EXPECT_TRUE(Ok(t.Open({.name = "b", .must_create = true})).created);
  EXPECT_EQ(Ok(t.Get("b")).kind, Kind::kExclusive);
  const OpenOptions latch{.kind = Kind::kLatch};
  const OpenOptions any;
  EXPECT_EQ(ReasonOf(t.Wait({.name = "a", .open_if_missing = &latch})->result()),
            Reason::kKindMismatch);
  EXPECT_EQ(Ok(t.Ready({.name = "a", .open_if_missing = &any})).effect, ReadyEffect::kRemembered);
}

TEST(Close, C6_EndsWaitsOnBothSidesAlsoThoseThatIgnoreTheDeadline) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const auto read = t.Wait("a", Side::kRead);
  const auto write = t.Wait("a", Side::kWrite);
  const auto ignoring = t.Wait({.name = "a", .ignore_deadline = true});
  EXPECT_EQ(Ok(t.Close("a")).woken, 3U);
  EXPECT_EQ(OutcomeOf(read), Outcome::kClosed);
  EXPECT_EQ(OutcomeOf(write), Outcome::kClosed);
  EXPECT_EQ(OutcomeOf(ignoring), Outcome::kClosed);
}

TEST(Close, C7_StopsEveryTimer) {
  Table t;
  Ok(t.Open({.name = "a", .options = {.idle_ttl = hours(1)}}));
  Ok(t.In("a", seconds(1), Mode::kRead));
  Ok(t.In("a", seconds(2), Mode::kWrite));
  const auto wait = t.Wait("a", seconds(3));
  EXPECT_EQ(t.poller().Count().timers, 4U);
  Ok(t.Close("a"));
  EXPECT_EQ(t.poller().Count().timers, 0U);
}

TEST(Close, C8_TheNameIsFreeAndTheOldGenerationNeverOpens) {
  Table t;
  const uint64_t old = Ok(t.Open("a")).descriptor.generation;
  Ok(t.Close("a"));
  const OpenOptions open;
  EXPECT_EQ(ReasonOf(t.Wait("a")->result()), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Ready("a")), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.In("a", seconds(1))), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Reset("a")), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Get("a")), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Close("a")), Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Wait({.name = "a", .generation = old, .open_if_missing = &open})->result()),
            Reason::kNoDescriptor);
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .generation = old, .open_if_missing = &open})),
            Reason::kNoDescriptor);
  EXPECT_EQ(Ok(t.List({})).descriptors.size(), 0U);
  EXPECT_EQ(Ok(t.Ready({.name = "a", .open_if_missing = &open})).effect, ReadyEffect::kRemembered);
  EXPECT_EQ(ReasonOf(t.Ready({.name = "a", .generation = old, .open_if_missing = &open})),
            Reason::kStaleGeneration);
  EXPECT_EQ(ReasonOf(t.Close("a", old)), Reason::kStaleGeneration);
}

// Goal: C9 and C10. Method: Close races a Ready and a Wait on the same name from other threads,
// many times; whatever came first, the parked wait gets one outcome, and the late one parks on
// nothing.
TEST(Close, C9_C10_RacingReadyAndWaitEndsEveryWaitOnce) {
  const ManualClock clock;
  const Instant now = clock.now.mono;
  Poller poller({}, clock, nullptr, nullptr);
  struct Counting : WaitCall {
    void Done() override { ++answers; }
    std::string_view client() const override { return "racer"; }
    std::atomic<int> answers{0};
  };
  for (int round = 0; round < 2000; ++round) {
    Answered<OpenCall> open;
    poller.Open(now, {.name = "a", .options = {.kind = Kind::kFifo}}, open);
    Counting first;
    poller.Wait(now, {.name = "a"}, first);
    Counting late;
    Answered<ReadyCall> ready;
    std::thread signaller([&] { poller.Ready(now, {.name = "a"}, ready); });
    std::thread waiter([&] { poller.Wait(now, {.name = "a"}, late); });
    Answered<CloseCall> close;
    poller.Close(now, {.name = "a"}, close);
    signaller.join();
    waiter.join();
    ASSERT_EQ(first.answers, 1);
    ASSERT_EQ(late.answers, 1);
    const Outcome outcome = std::get<WaitResult>(first.result()).outcome;
    ASSERT_TRUE(outcome == Outcome::kReady || outcome == Outcome::kClosed);
    if (const auto* refusal = std::get_if<Refusal>(&late.result())) {
      ASSERT_EQ(refusal->reason, Reason::kNoDescriptor);
    }
    ASSERT_EQ(poller.waiters(), 0U);
  }
}

TEST(Close, C12_DiscardsARememberedReadyAndSaysNothingOfIt) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.Ready("a"));
  EXPECT_EQ(Ok(t.Close("a")).woken, 0U);
  Ok(t.Open("a"));
  EXPECT_EQ(t.Try("a").outcome, Outcome::kTimedOut);
}

}  // namespace
}  // namespace waitd::core
