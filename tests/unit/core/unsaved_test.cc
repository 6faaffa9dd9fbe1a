// What is collected: the state at one instant, though it is copied in pieces.
#include "core/unsaved.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "tests/unit/core/world.h"

namespace waitd::core {
namespace {

constexpr int kNames = 5000;

std::string NameOf(int i) { return "{k}" + std::to_string(i); }

// Five thousand names of one shard, opened and not saved.
class ManyNames : public testing::Test {
 protected:
  ManyNames() : opens(kNames) {
    for (int i = 0; i < kNames; ++i) {
      const std::string name = NameOf(i);
      w.poller().Open(w.t().now().mono, {.name = name}, opens[static_cast<size_t>(i)]);
    }
  }

  size_t answered() const {
    size_t count = 0;
    for (const auto& open : opens) count += open.done() ? 1 : 0;
    return count;
  }

  World w;
  std::vector<Answered<OpenCall>> opens;
};

TEST_F(ManyNames, AreCopiedAThousandInAHold) {
  Dirty journal;
  journal.dirty = SetOf(ShardOf(NameOf(0)));
  Changes changes;
  Poller::Cut cut;
  size_t rows = 0;
  while (w.poller().Collect(journal.dirty, changes, cut)) {
    ASSERT_LE(changes.rows() - rows, kUnitsMax + 1) << "with that of the shard";
    rows = changes.rows();
  }
  EXPECT_EQ(changes.descs.size(), static_cast<size_t>(kNames));
  EXPECT_EQ(changes.shards.size(), 1U);
  EXPECT_EQ(answered(), 0U);
}

TEST_F(ManyNames, AreAnsweredAThousandInAHold) {
  Poller::Cut cut = w.Write();
  size_t before = 0;
  for (bool more = true; more;) {
    more = w.poller().Saved(cut);
    const size_t now = answered();
    ASSERT_LE(now - before, kUnitsMax);
    before = now;
  }
  EXPECT_EQ(before, static_cast<size_t>(kNames));
}

TEST_F(ManyNames, ChangesBetweenTwoPiecesAreInTheNextBatch) {
  w.Save();
  std::vector<std::unique_ptr<Answered<ReadyCall>>> readys;
  const auto ready = [&](int i, std::string_view signal) {
    const std::string name = NameOf(i);
    readys.push_back(std::make_unique<Answered<ReadyCall>>());
    w.poller().Ready(w.t().now().mono, {.name = name, .signal = Bytes(signal)}, *readys.back());
  };
  for (int i = 0; i < kNames; ++i) ready(i, "before");
  const std::vector<std::unique_ptr<Answered<ReadyCall>>> before = std::exchange(readys, {});
  std::vector<std::unique_ptr<Answered<CloseCall>>> closes;
  int changed = 0;
  Poller::Cut cut = w.Write(~ShardSet{0}, [&] {
    // One that may be copied, and one that may be not.
    for (const int i : {changed, kNames - 1 - changed}) ready(i, "after");
    for (const int i : {1000 + changed, kNames - 1001 - changed}) {
      const std::string name = NameOf(i);
      closes.push_back(std::make_unique<Answered<CloseCall>>());
      w.poller().Close(w.t().now().mono, {.name = name}, *closes.back());
    }
    ++changed;
  });
  ASSERT_GT(changed, 3) << "it was copied in pieces";
  ASSERT_EQ(w.disk().descs.size(), static_cast<size_t>(kNames)) << "as it was at the cut";
  for (const auto& [name, desc] : w.disk().descs) ASSERT_EQ(*desc.side[0].signal, "before") << name;
  while (w.poller().Saved(cut)) {
  }
  for (const auto& each : before) ASSERT_TRUE(each->done());
  for (const auto& each : readys) EXPECT_FALSE(each->done());
  for (const auto& close : closes) EXPECT_FALSE(close->done());
  w.Save();
  for (const auto& each : readys) EXPECT_TRUE(each->done());
  for (const auto& close : closes) EXPECT_TRUE(close->done());
  EXPECT_EQ(w.disk().descs.size(), static_cast<size_t>(kNames - 2 * changed));
  EXPECT_EQ(*w.disk().descs[NameOf(0)].side[0].signal, "after");
  EXPECT_EQ(*w.disk().descs[NameOf(kNames - 1)].side[0].signal, "after");
}

// A table that is saved by hand, with many ids and deliveries of one name.
class ManyRows : public testing::Test {
 protected:
  static constexpr int kRows = 3000;

  ManyRows() {
    SavedOpen(w, "a", Kind::kFifo);
    for (int i = 0; i < kRows; ++i) {
      const std::string id = std::to_string(i);
      calls.push_back(std::make_unique<Answered<ReadyCall>>());
      w.poller().Ready(w.t().now().mono, {.name = "a", .signal = Bytes(id)}, *calls.back());
      WaitArgs args = WaitAs(id);
      args.ack_timeout = seconds(100);
      waits.push_back(w.t().Wait(args));
    }
  }

  World w;
  std::vector<std::unique_ptr<Answered<ReadyCall>>> calls;
  std::vector<std::unique_ptr<TestWait>> waits;
};

TEST_F(ManyRows, ADeliveryThatEndsBetweenTwoPiecesIsInTheNextBatch) {
  std::vector<std::unique_ptr<Answered<AckCall>>> acks;
  const uint64_t generation = std::get<WaitResult>(waits[0]->result()).generation;
  const auto ack = [&](uint64_t number) {
    const std::string id = std::to_string(number - 1);
    acks.push_back(std::make_unique<Answered<AckCall>>());
    w.poller().Ack({.name = "a", .wait_id = id, .delivery = number, .generation = generation},
                   *acks.back());
  };
  uint64_t next = 1;
  Poller::Cut cut;
  {
    Changes changes;
    ShardSet dirty = w.dirty();
    while (w.poller().Collect(dirty, changes, cut)) {
      ack(next);
      ack(kRows - next + 1);
      ++next;
    }
    ASSERT_GT(next, 5U) << "it was copied in pieces";
    w.disk().Apply(changes);
  }
  ASSERT_EQ(w.disk().deliveries.size(), static_cast<size_t>(kRows));
  ASSERT_EQ(w.disk().ids.size(), static_cast<size_t>(kRows));
  for (const auto& [key, delivery] : w.disk().deliveries) {
    ASSERT_EQ(delivery.state, Delivery::State::kPending) << delivery.key.number;
  }
  while (w.poller().Saved(cut)) {
  }
  for (const auto& wait : waits) ASSERT_TRUE(wait->done());
  for (const auto& each : acks) EXPECT_FALSE(each->done());
  w.Save();
  for (const auto& each : acks) EXPECT_TRUE(each->done());
  EXPECT_EQ((w.disk().deliveries[{generation, Side::kRead, 1}].state), Delivery::State::kAcked);
}

TEST_F(ManyRows, AnIdThatIsForgottenBetweenTwoPiecesIsErasedByTheNext) {
  w.Save();
  w.t().Advance(seconds(1));
  SavedOpen(w, "b");
  Poller::Cut cut;
  Changes changes;
  // Their retention is over, and they are forgotten while this is copied.
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a", .signal = Bytes("x")}, ready);
  ShardSet dirty = w.dirty();
  bool first = true;
  while (w.poller().Collect(dirty, changes, cut)) {
    if (std::exchange(first, false)) w.t().Advance(std::chrono::minutes(11));
  }
  w.disk().Apply(changes);
  EXPECT_EQ(w.disk().ids.size(), static_cast<size_t>(kRows)) << "as it was at the cut";
  while (w.poller().Saved(cut)) {
  }
  w.Save();
  EXPECT_TRUE(w.disk().ids.empty());
}

TEST(Unsaved, WhatIsClosedAfterItWasSavedIsErased) {
  World w;
  SavedOpen(w, "a");
  EXPECT_EQ(w.disk().descs.size(), 1U);
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = "a"}, close);
  w.Save();
  EXPECT_TRUE(w.disk().descs.empty());
}

TEST(Unsaved, WhatChangedAfterTheCutIsNotLetGoWithIt) {
  World w;
  Answered<OpenCall> a;
  Answered<OpenCall> b;
  w.poller().Open(w.t().now().mono, {.name = "{k}a"}, a);
  Poller::Cut cut = w.Write();
  w.poller().Open(w.t().now().mono, {.name = "{k}b"}, b);  // while the batch is being written
  while (w.poller().Saved(cut)) {
  }
  EXPECT_TRUE(a.done());
  EXPECT_FALSE(b.done());
  w.Save();
  EXPECT_TRUE(b.done());
}

TEST(Unsaved, OtherShardsAreNotLetGoWithACut) {
  World w;
  const auto [near, far] = Apart();
  Answered<OpenCall> a;
  Answered<OpenCall> b;
  w.poller().Open(w.t().now().mono, {.name = near}, a);
  w.poller().Open(w.t().now().mono, {.name = far}, b);
  w.Save(SetOf(ShardOf(near)));
  EXPECT_TRUE(a.done());
  EXPECT_FALSE(b.done());
}

TEST(Unsaved, AnExpiryIsSavedWhoeverFindsIt) {
  for (const int finder : {0, 1, 2}) {
    World w;
    SavedOpen(w, "a");
    Answered<SetDeadlineCall> set;
    w.poller().SetDeadline(
        w.t().now().mono,
        {.name = "a", .what = SetDeadlineArgs::What::kTimeout, .timeout = seconds(1)}, set);
    const auto wait = w.t().Wait("a", seconds(1) - Nanos(1));
    w.Save();
    if (finder == 0) w.t().Advance(seconds(2));  // the wait's own timer, which is due first
    if (finder == 1) {
      w.t().Pass(seconds(2));
      Answered<GetCall> get;
      w.poller().Get({"a"}, get);
    }
    if (finder == 2) {
      w.t().Pass(seconds(2));
      w.poller().Cancel(*wait);
    }
    EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
    w.Save();
    EXPECT_EQ(w.disk().descs["a"].side[0].deadline.state, Deadline::State::kExpired) << finder;
  }
}

TEST(Unsaved, AnIdleCloseIsSaved) {
  World w;
  OpenArgs args{.name = "a"};
  args.options.idle_ttl = seconds(10);
  Answered<OpenCall> open;
  w.poller().Open(w.t().now().mono, args, open);
  w.Save();
  w.t().Advance(seconds(11));
  EXPECT_NE(w.dirty(), 0U) << "the journal is told";
  w.Save();
  EXPECT_TRUE(w.disk().descs.empty());
}

TEST(Unsaved, AResetIsSaved) {
  World w;
  SavedOpen(w, "a", Kind::kLatch);
  SavedReady(w, {.name = "a"});
  Answered<ResetCall> reset;
  w.poller().Reset(w.t().now().mono, {.name = "a"}, reset);
  EXPECT_FALSE(reset.done());
  w.Save();
  EXPECT_TRUE(reset.done());
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
}

TEST(Unsaved, ASignalIsSavedWithAllThatItCarries) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a", .mode = Mode::kWrite, .signal = Bytes("one")});
  auto first = w.t().Wait({.name = "a", .side = Side::kWrite});
  w.Save();
  SavedReady(w, {.name = "a", .mode = Mode::kWrite, .signal = Bytes("two")});
  const WallTime sent = w.t().now().wall;
  SavedReady(w, {.name = "a", .mode = Mode::kWrite, .signal = Bytes("three")});
  w.Crash(seconds(5));
  const auto wait = w.t().Wait({.name = "a", .side = Side::kWrite});
  w.Save();
  const WaitResult& result = ResultOf(wait);
  EXPECT_EQ(*result.signal, "three");
  EXPECT_EQ(result.coalesced, 1U);
  EXPECT_EQ(result.delivery, ResultOf(first).delivery + 1) << "no number comes twice";
  EXPECT_EQ(result.ready_time, sent);
}

TEST(Unsaved, AListWaitsForWhatItSaw) {
  World w;
  SavedOpen(w, "a");
  SavedOpen(w, "b");
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = "b"}, close);
  Answered<ListCall> without;
  w.poller().List({}, without);
  EXPECT_FALSE(without.done()) << "that b is closed is not saved";
  w.Save();
  EXPECT_TRUE(without.done());
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a"}, ready);
  Answered<ListCall> with;
  w.poller().List({}, with);
  EXPECT_FALSE(with.done());
  w.Save();
  EXPECT_TRUE(with.done());
}

/// A clock that does something the next time that it is read, under the lock of a hold.
class ClockWithHook final : public Clock {
 public:
  Now Read() const override {
    if (hook != nullptr) std::exchange(hook, nullptr)();
    return now;
  }
  mutable std::function<void()> hook;
  Now now{Instant(hours(1)), WallTime(hours(1))};
};

// After it has found the names, it looks at each again.
TEST(Unsaved, AListWaitsForWhatItsSecondLookSaw) {
  const auto [near, far] = Apart();
  ClockWithHook clock;
  Dirty journal;
  Disk disk;
  Poller poller({}, clock, &journal, nullptr);
  for (const std::string& name : {near, far}) {
    Answered<OpenCall> open;
    poller.Open(clock.now.mono, {.name = name}, open);
    disk.Save(poller, journal);
    EXPECT_TRUE(open.done());
  }
  Answered<ReadyCall> ready;
  clock.hook = [&] { poller.Ready(clock.now.mono, {.name = far}, ready); };
  Answered<ListCall> list;
  poller.List({}, list);
  ASSERT_EQ(clock.hook, nullptr);
  EXPECT_FALSE(list.done()) << "a crash could undo what it tells of the second name";
  disk.Save(poller, journal);
  ASSERT_TRUE(list.done());
  EXPECT_EQ(Ok(list.result()).descriptors[1].side[0].state, SemaphoreState::kReady);
}

TEST(Unsaved, AListSettlesWhatItShows) {
  Table t;
  Ok(t.Open("a"));
  Ok(t.In("a", seconds(1)));
  t.Pass(seconds(2));
  EXPECT_EQ(Ok(t.List({})).descriptors[0].side[0].deadline.state, Deadline::State::kExpired);
}

}  // namespace
}  // namespace waitd::core
