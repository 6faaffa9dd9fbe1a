// Releases of more waits than one hold ends.
#include "core/release.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/core/fixture.h"
#include "tests/unit/core/world.h"

namespace waitd::core {
namespace {

constexpr size_t kWaits = 5000;
using Waits = std::vector<std::unique_ptr<TestWait>>;

Waits Crowd(Table& t, size_t count, const WaitArgs& args = {.name = "a"}) {
  Waits waits;
  for (size_t i = 0; i < count; ++i) waits.push_back(t.Wait(args));
  return waits;
}

size_t DoneOf(const Waits& waits) {
  return static_cast<size_t>(
      std::count_if(waits.begin(), waits.end(), [](const auto& wait) { return wait->done(); }));
}

enum class Means { kReady, kClose, kSet, kTime };

// Many wait on the latch "a", and something releases them all.
class Releases : public testing::TestWithParam<Means> {
 protected:
  Releases() { Ok(t.Open("a", Kind::kLatch)); }

  // Starts the release, and returns when that operation does.
  void Begin(std::string_view request_id = {}) {
    const Retry retry{.id = request_id};
    switch (GetParam()) {
      case Means::kReady:
        t.poller().Ready(t.now().mono, {.name = "a", .signal = Bytes("x"), .retry = retry}, ready);
        break;
      case Means::kClose:
        t.poller().Close(t.now().mono, {.name = "a", .retry = retry}, close);
        break;
      case Means::kSet:
        t.poller().SetDeadline(t.now().mono, Past(retry), set);
        break;
      case Means::kTime:
        t.Pass(kDue);
        t.poller().RunTimers();
        break;
    }
  }

  static SetDeadlineArgs Past(const Retry& retry) {
    return {.name = "a", .what = SetDeadlineArgs::What::kTimeout, .retry = retry};
  }

  bool answered() const {
    switch (GetParam()) {
      case Means::kReady:
        return ready.done();
      case Means::kClose:
        return close.done();
      case Means::kSet:
        return set.done();
      case Means::kTime:
        break;
    }
    return false;
  }

  uint32_t woken() const {
    switch (GetParam()) {
      case Means::kReady:
        return Ok(ready.result()).woken;
      case Means::kClose:
        return Ok(close.result()).woken;
      case Means::kSet:
        return Ok(set.result()).woken;
      case Means::kTime:
        break;
    }
    return 0;
  }

  static Outcome outcome() {
    return std::array{Outcome::kReady, Outcome::kClosed, Outcome::kTimedOut,
                      Outcome::kTimedOut}[static_cast<size_t>(GetParam())];
  }

  // Of time: the deadline that releases them.
  Waits CrowdOf(size_t count) {
    Waits waits = Crowd(t, count);
    if (GetParam() == Means::kTime) Ok(t.In("a", kDue));
    return waits;
  }

  void ExpectAllReleased(const Waits& waits) {
    for (const auto& wait : waits) {
      ASSERT_EQ(OutcomeOf(wait), outcome());
      ASSERT_EQ(ResultOf(wait).cause,
                outcome() == Outcome::kTimedOut ? TimeoutCause::kDeadline : TimeoutCause::kNone);
    }
  }

  static constexpr Nanos kDue = seconds(10);
  Table t{{.max_waiters = kWaits}};
  Answered<ReadyCall> ready;
  Answered<CloseCall> close;
  Answered<SetDeadlineCall> set;
};

std::string NameOf(const testing::TestParamInfo<Means>& info) {
  return std::array{"Ready", "Close", "SetDeadline", "Time"}[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(All, Releases,
                         testing::Values(Means::kReady, Means::kClose, Means::kSet, Means::kTime),
                         NameOf);

TEST_P(Releases, EndAtMostAThousandWaitsInAHoldAndAnswerAfterTheLast) {
  const Waits waits = CrowdOf(kWaits);
  Begin();
  size_t done = DoneOf(waits);
  EXPECT_GT(done, 0U);
  EXPECT_LE(done, 2 * kUnitsMax) << "of the operation, and of a first piece of work";
  if (GetParam() != Means::kTime) {
    EXPECT_LE(done, kUnitsMax);
  }
  while (done < kWaits) {
    EXPECT_FALSE(answered());
    t.poller().RunTimers();
    const size_t before = std::exchange(done, DoneOf(waits));
    ASSERT_GT(done, before);
    ASSERT_LE(done - before, kUnitsMax);
  }
  ExpectAllReleased(waits);
  if (GetParam() == Means::kTime) return;
  t.RunTimers();
  ASSERT_TRUE(answered());
  EXPECT_EQ(woken(), kWaits);
}

TEST_P(Releases, AThousandWaitsEndInOneHold) {
  const Waits waits = CrowdOf(kUnitsMax);
  Begin();
  EXPECT_EQ(DoneOf(waits), waits.size());
  ExpectAllReleased(waits);
  if (GetParam() == Means::kTime) return;
  ASSERT_TRUE(answered());
  EXPECT_EQ(woken(), waits.size());
}

TEST_P(Releases, TheirWaitsAreNotCountedFromTheFirstHoldOn) {
  const Waits waits = CrowdOf(kWaits);
  EXPECT_EQ(RefusedAs(t.Wait("a")), Reason::kLimitWaiters);
  t.Pass(seconds(1));
  Begin();
  EXPECT_LT(DoneOf(waits), kWaits);
  EXPECT_EQ(t.poller().waiters(), 0U);
  EXPECT_EQ(Count(t).waiters[static_cast<size_t>(WaitMode::kRead)], 0U);
  EXPECT_EQ(Count(t).oldest_waiter, Nanos(0));
  EXPECT_TRUE(Ok(t.List({.waiting_only = true})).descriptors.empty());
  if (GetParam() != Means::kClose) {
    const auto info = Ok(t.Get("a"));
    EXPECT_EQ(info.side[0].waiters, 0U);
    EXPECT_TRUE(info.side[0].waiter_details.empty());
  }
  EXPECT_LT(DoneOf(waits), kWaits) << "or nothing was shown";
  Ok(t.Open("b"));
  const auto other = t.Wait("b");
  EXPECT_FALSE(other->done()) << "there is room for another";
  t.RunTimers();
  EXPECT_EQ(t.poller().waiters(), 1U);
  t.poller().Cancel(*other);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

TEST_P(Releases, WhatComesBeforeItsTurnGetsTheirOutcome) {
  Waits waits = Crowd(t, kWaits - 4);
  waits.push_back(t.Wait("a"));
  waits.push_back(t.Wait("a", kDue + seconds(1)));
  waits.push_back(t.Wait(WaitAs("gone")));
  auto former = t.Wait(WaitAs("again"));
  if (GetParam() == Means::kTime) Ok(t.In("a", kDue));
  Begin();
  TestWait& cancelled = *waits[kWaits - 4];
  ASSERT_FALSE(cancelled.done());
  t.poller().Cancel(cancelled);
  EXPECT_TRUE(cancelled.done());
  TestWait& gone = *waits[kWaits - 2];
  ASSERT_FALSE(gone.done());
  t.poller().Abandon(gone);
  EXPECT_TRUE(gone.done());
  ASSERT_FALSE(former->done());
  auto again = t.Wait(WaitAs("again", "a", milliseconds(1)));
  EXPECT_TRUE(former->done()) << "it has its outcome, and nobody adopts it";
  EXPECT_TRUE(again->done());
  t.Pass(kDue + seconds(1));
  ASSERT_FALSE(waits[kWaits - 3]->done());
  t.RunTimers();
  waits.push_back(std::move(former));
  waits.push_back(std::move(again));
  ExpectAllReleased(waits);
  if (GetParam() == Means::kTime) return;
  ASSERT_TRUE(answered());
  EXPECT_EQ(woken(), kWaits) << "those, too";
}

TEST_P(Releases, WhatComesLaterOnTheNameDoesNotTouchThem) {
  const Waits waits = CrowdOf(kWaits);
  Begin();
  ASSERT_LT(DoneOf(waits), kWaits);
  if (GetParam() == Means::kClose) {
    EXPECT_TRUE(Ok(t.Open("a", Kind::kFifo)).created);
  }
  Answered<ResetCall> reset;
  t.poller().Reset(t.now().mono, {.name = "a"}, reset);
  EXPECT_TRUE(reset.done());
  Ok(t.In("a", hours(1)));
  const auto newcomer = t.Wait("a");
  EXPECT_FALSE(newcomer->done()) << "it came after the release";
  Answered<CloseCall> closed;
  t.poller().Close(t.now().mono, {.name = "a"}, closed);
  EXPECT_TRUE(Ok(t.Open("a", Kind::kExclusive)).created);
  t.poller().Ready(t.now().mono, {.name = "a"}, *std::make_unique<Answered<ReadyCall>>());
  ASSERT_LT(DoneOf(waits), kWaits) << "or nothing was shown";
  t.RunTimers();
  ExpectAllReleased(waits);
  EXPECT_EQ(OutcomeOf(newcomer), Outcome::kClosed);
  EXPECT_EQ(Ok(closed.result()).woken, 1U);
}

TEST_P(Releases, APollIsJudgedInItsTurn) {
  Ok(t.Open("b"));
  Ok(t.Open("c", Kind::kFifo));
  const Waits waits = Crowd(t, kWaits - 8);
  const auto first = t.Poll({{"a"}, {"b"}});
  const auto both = t.Poll({{"a"}, {"c"}}, 2);
  const auto timed = t.Poll({.targets = {{"a"}, {"c"}}, .need = 2, .timeout = kDue - seconds(1)});
  if (GetParam() == Means::kTime) Ok(t.In("a", kDue));
  Begin();
  ASSERT_LT(DoneOf(waits), waits.size());
  EXPECT_FALSE(both->done());
  EXPECT_EQ(Ok(t.Ready("c")).effect, ReadyEffect::kRemembered) << "nobody lacks this alone";
  t.RunTimers();
  if (GetParam() == Means::kReady) {
    EXPECT_EQ(OutcomeOf(first), Outcome::kReady);
    EXPECT_EQ(OutcomeOf(both), Outcome::kReady) << "with what came on the other target meanwhile";
    EXPECT_EQ(Ok(ready.result()).woken, kWaits - 8 + 2);
    t.Advance(kDue);
    EXPECT_EQ(OutcomeOf(timed), Outcome::kTimedOut);
  } else {
    EXPECT_FALSE(first->done()) << "it has another target";
    EXPECT_EQ(OutcomeOf(both), outcome());
    EXPECT_EQ(OutcomeOf(timed), GetParam() == Means::kTime ? Outcome::kTimedOut : outcome());
    EXPECT_EQ(t.Try("c").outcome, Outcome::kReady) << "and used nothing";
    Ok(t.Ready("b"));
    EXPECT_EQ(OutcomeOf(first), Outcome::kReady);
  }
}

TEST_P(Releases, ARepeatedCallGetsTheSameAnswerAfterTheLast) {
  if (GetParam() == Means::kTime) return;
  const Waits waits = Crowd(t, kWaits);
  Begin("r");
  Answered<ReadyCall> ready_again;
  Answered<CloseCall> close_again;
  Answered<SetDeadlineCall> set_again;
  const auto repeat = [&](Nanos ago) {
    const Retry retry{.id = "r", .sent_ago = ago};
    if (GetParam() == Means::kReady) {
      t.poller().Ready(t.now().mono, {.name = "a", .signal = Bytes("x"), .retry = retry},
                       ready_again);
    } else if (GetParam() == Means::kClose) {
      t.poller().Close(t.now().mono, {.name = "a", .retry = retry}, close_again);
    } else {
      t.poller().SetDeadline(t.now().mono, Past(retry), set_again);
    }
  };
  const auto done = [&] { return ready_again.done() || close_again.done() || set_again.done(); };
  repeat(milliseconds(1));
  EXPECT_FALSE(done());
  t.RunTimers();
  ASSERT_TRUE(answered() && done());
  EXPECT_EQ(woken(), kWaits);
  const auto woken_again = [&] {
    if (GetParam() == Means::kReady) return Ok(ready_again.result()).woken;
    if (GetParam() == Means::kClose) return Ok(close_again.result()).woken;
    return Ok(set_again.result()).woken;
  };
  EXPECT_EQ(woken_again(), kWaits);
  ExpectAllReleased(waits);
}

TEST(Release, BothSidesOfALatchAreOneAnswer) {
  Table t;
  Ok(t.Open("a", Kind::kLatch));
  const Waits read = Crowd(t, 3000);
  const Waits write = Crowd(t, 400, {.name = "a", .side = Side::kWrite});
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a", .mode = Mode::kReadWrite}, ready);
  EXPECT_LE(DoneOf(read) + DoneOf(write), kUnitsMax);
  EXPECT_FALSE(ready.done());
  t.RunTimers();
  EXPECT_EQ(Ok(ready.result()).woken, 3400U);
  EXPECT_EQ(Ok(ready.result()).effect, ReadyEffect::kWoke);
}

TEST(Release, ADeadlineLeavesThoseWhoIgnoreIt) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const Waits waits = Crowd(t, 2000);
  const auto ignoring = t.Wait({.name = "a", .ignore_deadline = true});
  const auto set = Ok(t.In("a", Nanos(0)));
  EXPECT_EQ(set.woken, 2000U);
  EXPECT_FALSE(ignoring->done());
  EXPECT_EQ(Ok(t.Get("a")).side[0].waiters, 1U);
  EXPECT_EQ(Ok(t.Ready("a")).woken, 1U);
  EXPECT_EQ(OutcomeOf(ignoring), Outcome::kReady);
}

TEST(Release, OwnBoundsThatCameFirstEndBeforeTheDeadlineThatNobodySettled) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const Waits waits = Crowd(t, 2000, {.name = "a", .timeout = seconds(1)});
  const Waits later = Crowd(t, 2000, {.name = "a", .timeout = seconds(3)});
  Ok(t.In("a", seconds(2)));
  t.Pass(seconds(4));
  Ok(t.Get("a"));  // settles
  t.RunTimers();
  for (const auto& wait : waits) ASSERT_EQ(ResultOf(wait).cause, TimeoutCause::kWait);
  for (const auto& wait : later) ASSERT_EQ(ResultOf(wait).cause, TimeoutCause::kDeadline);
  EXPECT_EQ(ResultOf(waits.back()).late, seconds(3));
  EXPECT_EQ(ResultOf(later.back()).late, seconds(2));
}

TEST(Release, NobodysAnswerWaitsForThatOfTime) {
  Table t;
  Ok(t.Open("a", Kind::kFifo));
  const Waits waits = Crowd(t, kWaits);
  Ok(t.In("a", seconds(1)));
  t.Pass(seconds(1));
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a"}, ready);
  EXPECT_LT(DoneOf(waits), kWaits);
  EXPECT_TRUE(ready.done());
  EXPECT_EQ(Ok(ready.result()).effect, ReadyEffect::kRemembered);
  EXPECT_TRUE(Ok(ready.result()).expired);
  EXPECT_EQ(Ok(ready.result()).woken, 0U);
  t.RunTimers();
  EXPECT_EQ(DoneOf(waits), kWaits);
}

// As on the other kinds: max-wait bounds a wait only where no deadline does.
TEST(Release, MaxWaitDoesNotBoundWhatADeadlineBounds) {
  for (const Kind kind : {Kind::kExclusive, Kind::kFifo, Kind::kLatch}) {
    for (const bool fires : {false, true}) {
      Table t{{.max_wait = seconds(10)}};
      Ok(t.Open("a", kind));
      Ok(t.In("a", hours(1)));
      const auto wait = t.Wait("a");
      t.Pass(seconds(20));
      if (fires) t.RunTimers();
      EXPECT_FALSE(wait->done());
      Ok(t.Ready("a"));
      EXPECT_EQ(OutcomeOf(wait), Outcome::kReady) << static_cast<int>(kind) << fires;
    }
  }
}

// However many polls there are that lack others.
TEST(Release, AReadyThatOnlyWakesAndWokeNobodyIsRefused) {
  for (const size_t count : {10U, 3000U}) {
    Table t;
    Ok(t.Open("a", Kind::kLatch));
    Ok(t.Open("b", Kind::kLatch));
    std::vector<std::unique_ptr<TestPoll>> polls;
    for (size_t i = 0; i < count; ++i) polls.push_back(t.Poll({{"a"}, {"b"}}, 2));
    const auto ready = Ok(t.Ready({.name = "a", .condition = ReadyCondition::kWaiting}));
    EXPECT_EQ(ready.effect, ReadyEffect::kRefused) << count;
    EXPECT_EQ(ready.woken, 0U);
    EXPECT_EQ(Ok(t.Get("a")).side[0].state, SemaphoreState::kWaiting);
  }
}

TEST(Release, DrainGivesItsWaitsTheirOutcome) {
  Table t;
  Ok(t.Open("a", Kind::kLatch));
  const Waits waits = Crowd(t, kWaits);
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a"}, ready);
  t.poller().RefuseWaits();
  while (t.poller().EndWaits()) {
  }
  for (const auto& wait : waits) ASSERT_EQ(OutcomeOf(wait), Outcome::kReady);
  t.RunTimers();
  EXPECT_EQ(Ok(ready.result()).woken, kWaits);
}

// Until their outcomes are stored, nothing that is stored says that the release has happened.
class ReleaseCrash : public testing::Test {
 protected:
  ReleaseCrash() {
    SavedOpen(w, "a", Kind::kLatch);
    for (size_t i = 0; i < kWaits; ++i) {
      const std::string id = std::to_string(i);
      waits.push_back(w.t().Wait(WaitAs(id)));
    }
  }

  // All come again with their ids after a crash.
  void Return() {
    w.Crash(seconds(1));
    for (size_t i = 0; i < kWaits; ++i) {
      const std::string id = std::to_string(i);
      again.push_back(w.t().Wait(WaitAs(id, "a", seconds(1))));
    }
    w.t().RunTimers();
    w.Save();
  }

  World w;
  Waits waits;
  Waits again;
};

// What comes on the name while the release goes on is not saved before the last of its outcomes.
TEST_F(ReleaseCrash, ALatchThatIsResetMeanwhileForgetsNoWait) {
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a", .retry = {.id = "r"}}, ready);
  w.Save();
  ASSERT_GT(DoneOf(waits), 0U) << "some are told while it goes on";
  ASSERT_LT(DoneOf(waits), kWaits) << "the release goes on";
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = "a"}, reset);
  w.Save();
  EXPECT_FALSE(reset.done()) << "it is answered after the release";
  Return();
  for (size_t i = 0; i < kWaits; ++i) ASSERT_EQ(OutcomeOf(again[i]), Outcome::kReady) << i;
}

TEST_F(ReleaseCrash, ADeadlineThatIsSetAnewMeanwhileForgetsNoExpiry) {
  Answered<SetDeadlineCall> expire;
  w.poller().SetDeadline(w.t().now().mono, {.name = "a", .what = SetDeadlineArgs::What::kTimeout},
                         expire);
  w.Save();
  ASSERT_LT(DoneOf(waits), kWaits) << "the release goes on";
  Answered<SetDeadlineCall> clear;
  w.poller().SetDeadline(w.t().now().mono, {.name = "a"}, clear);
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a"}, ready);
  w.Save();
  EXPECT_FALSE(clear.done() || ready.done()) << "they are answered after the release";
  Return();
  for (size_t i = 0; i < kWaits; ++i) ASSERT_EQ(OutcomeOf(again[i]), Outcome::kTimedOut) << i;
}

// A Close is saved with the last of its outcomes, so that a wait which opens its name does not open
// a next one beside a Close that counted it.
TEST_F(ReleaseCrash, ACloseAndItsOutcomesAreOneChange) {
  OpenOptions latch;
  latch.kind = Kind::kLatch;
  const auto come = [&](Nanos ago) {
    Waits came;
    for (int i = 0; i < 3000; ++i) {
      const std::string id = "o" + std::to_string(i);
      came.push_back(w.t().Wait(
          {.name = "a", .open_if_missing = &latch, .retry = {.id = id, .sent_ago = ago}}));
    }
    return came;
  };
  const Waits before = come(Nanos(0));
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = "a", .retry = {.id = "c"}}, close);
  w.Save();
  Answered<OpenCall> open;
  w.poller().Open(w.t().now().mono, {.name = "a"}, open);
  w.Save();
  EXPECT_FALSE(close.done() || open.done()) << "they are answered after the release";
  w.Crash(seconds(1));
  const Waits after = come(seconds(1));
  w.Save();
  Answered<CloseCall> repeated;
  w.poller().Close(w.t().now().mono, {.name = "a", .retry = {.id = "c", .sent_ago = seconds(1)}},
                   repeated);
  w.t().RunTimers();
  w.Save();
  EXPECT_EQ(Ok(repeated.result()).woken, 3000U);
  EXPECT_EQ(DoneOf(after), 3000U);
}

// Releases of other names that go on meanwhile do not keep it from being saved.
TEST(Release, WhatHasEndedIsHeldNoMore) {
  World w;
  Waits waits;
  const auto name = [](int i) { return "{s}" + std::to_string(i); };
  for (int i = 0; i < 12; ++i) {
    SavedOpen(w, name(i), Kind::kLatch);
    for (int j = 0; j < 2500; ++j) waits.push_back(w.t().Wait(name(i)));
  }
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = name(0)}, close);
  std::array<Answered<SetDeadlineCall>, 12> sets;
  int rounds = 1;
  for (; rounds < 12 && !close.done(); ++rounds) {
    w.poller().SetDeadline(w.t().now().mono,
                           {.name = name(rounds), .what = SetDeadlineArgs::What::kTimeout},
                           sets[static_cast<size_t>(rounds)]);
    w.poller().RunTimers();
    w.Save();
  }
  EXPECT_LE(rounds, 5) << "its own release ended with the second piece";
}

TEST_F(ReleaseCrash, ALatchThatOnlyWakesForgetsNoWait) {
  ReadyArgs args{.name = "a", .condition = ReadyCondition::kWaiting, .retry = {.id = "r"}};
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, args, ready);
  w.Save();
  ASSERT_FALSE(ready.done()) << "the release goes on";
  Return();
  args.retry.sent_ago = seconds(1);
  Answered<ReadyCall> repeated;
  w.poller().Ready(w.t().now().mono, args, repeated);
  w.t().RunTimers();
  w.Save();
  EXPECT_EQ(Ok(repeated.result()).woken, kWaits);
  EXPECT_EQ(DoneOf(again), kWaits);
}

// Closed amid a latch's release and opened anew, twice: whenever it crashes, each wait has the
// READY.
TEST(Release, ACloseAmidAReleaseTakesNoSignalAway) {
  constexpr int kMany = 3000;
  for (int stop = 0; stop < 5; ++stop) {
    World w;
    SavedOpen(w, "a", Kind::kLatch);
    Waits first;
    for (int i = 0; i < kMany; ++i) {
      const std::string id = std::to_string(i);
      first.push_back(w.t().Wait(WaitAs(id)));
    }
    int at = 0;
    const auto save = [&] { stop == at++ ? static_cast<void>(w.Write()) : w.Save(); };
    Answered<ReadyCall> ready;
    std::array<Answered<CloseCall>, 2> close;
    std::array<Answered<OpenCall>, 2> open;
    w.poller().Ready(w.t().now().mono, {.name = "a", .retry = {.id = "r"}}, ready);
    save();
    for (size_t i = 0; i < close.size(); ++i) {
      w.poller().Close(w.t().now().mono, {.name = "a"}, close[i]);
      save();
      w.poller().Open(w.t().now().mono, {.name = "a"}, open[i]);
      EXPECT_FALSE(close[i].done() || open[i].done());
    }
    w.poller().RunTimers();
    save();
    save();
    w.Crash(seconds(1));
    int got = 0;
    for (int i = 0; i < kMany; ++i) {
      const std::string id = std::to_string(i);
      const auto wait = w.t().Wait(WaitAs(id, "a", seconds(1)));
      w.Save();
      got += wait->done() && OutcomeOf(wait) == Outcome::kReady ? 1 : 0;
      w.poller().Cancel(*wait);
    }
    EXPECT_EQ(got, kMany) << stop;
  }
}

// Shards that were changed with one that is held are put off with it, and told of again.
TEST_F(ReleaseCrash, WhatWasPutOffIsSavedAtTheEnd) {
  const auto [a, x] = Apart();
  SavedOpen(w, x);
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = a}, ready);
  w.Save();
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = a}, reset);
  Answered<ReadyCall> of_x;
  w.poller().Ready(w.t().now().mono, {.name = x}, of_x);
  const auto poll = w.t().Poll({.targets = {{x}, {a}}, .retry = {.id = "p"}});
  w.Save();
  EXPECT_EQ(w.dirty(), 0U) << "nobody looks again and again";
  EXPECT_FALSE(poll->done() || of_x.done() || reset.done());
  w.t().RunTimers();
  w.Save();
  EXPECT_TRUE(poll->done() && of_x.done() && reset.done() && ready.done());
  EXPECT_EQ(DoneOf(waits), kWaits);
}

TEST_F(ReleaseCrash, ARepeatedReadyCountsAllThatItWoke) {
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a", .retry = {.id = "r"}}, ready);
  w.Save();
  ASSERT_LT(DoneOf(waits), kWaits) << "the release goes on";
  while (!ready.done()) {
    w.t().RunTimers();
    w.Save();
  }
  w.Crash(seconds(1));
  EXPECT_EQ(Ok(w.t().Ready({.name = "a", .retry = {.id = "r", .sent_ago = seconds(1)}})).woken,
            kWaits);
}

}  // namespace
}  // namespace waitd::core
