// What the walk has found: each fault by its shortest history.
#include <utility>

#include "tests/unit/core/disk.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

// What an operation settles is not what it does: its answer does not wait for that.
TEST(Found, ARefusalAfterADeadlineThatEndsAPollOfAnotherShard) {
  Table t;
  const auto [x, y] = Apart();
  Ok(t.Open(x, Kind::kFifo));
  Ok(t.Open(y, Kind::kFifo));
  const auto poll = t.Poll({{x}, {y}}, 2);
  Ok(t.In(x, seconds(1)));
  t.Pass(seconds(1));
  EXPECT_EQ(ReasonOf(t.Ready({.name = x, .generation = 99'999})), Reason::kStaleGeneration);
  EXPECT_EQ(Ok(t.Ready(x)).woken, 0U);
  t.RunTimers();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut);
}

TEST(Found, APollsEndPutsOffNoIdleCloseOfTheNameThatHasTheSlotOfALostTarget) {
  Table t;
  Ok(t.Open("{k}x", Kind::kFifo));
  Ok(t.Open("{k}y", Kind::kFifo));
  const auto poll = t.Poll({{"{k}x"}, {"{k}y"}});
  Ok(t.Close("{k}x"));
  OpenArgs other{.name = "{k}other"};
  other.options.idle_ttl = seconds(6);
  Ok(t.Open(other));
  t.Advance(seconds(3));
  Ok(t.Ready("{k}y"));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
  t.Advance(seconds(3));
  EXPECT_EQ(ReasonOf(t.Get("{k}other")), Reason::kNoDescriptor) << "idle for 6 s";
}

TEST(Found, AKeptAnswerWhoseNameWasClosedIsForgottenInTheEnd) {
  Table t;
  Ok(t.Open("a"));
  const auto gone = t.Wait(WaitAs("w1"));
  t.poller().Abandon(*gone);
  Ok(t.Ready("a"));
  Ok(t.Close("a"));
  EXPECT_EQ(OutcomeOf(t.Wait(WaitAs("w1"))), Outcome::kReady) << "C67: also after Close";
  EXPECT_EQ(Count(t).outcomes, 1U);
  Ok(t.Open("b"));
  const auto other = t.Wait(WaitAs("w2", "b"));
  t.poller().Abandon(*other);
  Ok(t.Ready("b"));
  Ok(t.Close("b"));
  t.Advance(hours(1));
  EXPECT_EQ(RefusedAs(t.Wait(WaitAs("w2", "b", hours(1)))), Reason::kOutcomeUnknown);
}

// The answer of w1, whose client has gone, is kept and saved.
class FoundKept : public testing::Test {
 protected:
  FoundKept() {
    Answered<OpenCall> open;
    t.poller().Open(t.now().mono, {.name = "a"}, open);
    gone = t.Wait(WaitAs("w1"));
    t.poller().Abandon(*gone);
    Answered<ReadyCall> ready;
    t.poller().Ready(t.now().mono, {.name = "a"}, ready);
    disk.Save(t.poller(), journal);
  }

  Dirty journal;
  Disk disk;
  Table t{{}, &journal};
  std::unique_ptr<TestWait> gone;
};

// The answer of somebody who came for a kept one must not be seen before it is stored that it is
// kept no more: after a crash its signal would come back, and be used twice.
TEST_F(FoundKept, WhoComesForAKeptAnswerWaitsUntilThatIsSaved) {
  const auto again = t.Wait(WaitAs("w1"));
  EXPECT_FALSE(again->done());
  disk.Save(t.poller(), journal);
  EXPECT_EQ(OutcomeOf(again), Outcome::kReady);
}

// A batch is a shard's state at one instant: what goes before its row is copied is in it.
TEST(Found, ASignalThatCameBackIsInTheBatchThatHasItsNameOpen) {
  Dirty journal;
  Disk disk;
  Table t({}, &journal);
  Answered<OpenCall> open;
  t.poller().Open(t.now().mono, {.name = "a"}, open);
  Answered<ReadyCall> ready;
  t.poller().Ready(t.now().mono, {.name = "a"}, ready);
  disk.Save(t.poller(), journal);
  const auto wait = t.Wait("a");
  disk.Save(t.poller(), journal);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  t.poller().Unwritten(*wait, Nanos(0));
  Answered<CloseCall> close;
  bool closed = false;
  disk.Write(t.poller(), journal, ~ShardSet{0}, [&] {
    if (!std::exchange(closed, true)) t.poller().Close(t.now().mono, {.name = "a"}, close);
  });
  EXPECT_EQ(disk.descs.size(), disk.deliveries.size());
}

// Since when an answer can be forgotten is in its row: it is changed after Touch, like the rest.
TEST_F(FoundKept, SinceWhenAKeptAnswerCanBeForgottenIsSavedWhenItsNameIsClosed) {
  t.Advance(seconds(10));
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  disk.Save(t.poller(), journal);
  ASSERT_EQ(disk.ids.size(), 1U);
  EXPECT_EQ(disk.ids.begin()->second.recorded, t.now().mono);
}

}  // namespace
}  // namespace waitd::core
