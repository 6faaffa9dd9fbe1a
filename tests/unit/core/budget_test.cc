// What one identity may hold beside others, and that every charge ends.
#include "core/budget.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tests/unit/core/fixture.h"
#include "tests/unit/core/world.h"

namespace waitd::core {
namespace {

using std::chrono::minutes;

constexpr Held kKind = Held::kSessions;

TEST(Sum, KeepsThingsAndBytesApart) {
  Sum sum;
  sum.Add({.things = 3, .bytes = 17});
  const Amount after = sum.Add({.things = 1, .bytes = 16});
  EXPECT_EQ(after.things, 4U);
  EXPECT_EQ(after.bytes, 48U) << "in units of 16, each charge rounded up";
  sum.Subtract({.things = 3, .bytes = 17});
  sum.Subtract({.things = 1, .bytes = 16});
  EXPECT_EQ(sum.get().things, 0U);
  EXPECT_EQ(sum.get().bytes, 0U);
}

TEST(Budget, OneTakesAllButTheLastThirtySecondWhichIsForOthers) {
  Budget budget;
  budget.SetLimit(kKind, 640);
  const AccountRef alice = budget.Open(1);
  const AccountRef bob = budget.Open(2);
  uint64_t taken = 0;
  while (!budget.Take(kKind, alice.get(), {.things = 1}).over) ++taken;
  EXPECT_EQ(taken, 620U);
  EXPECT_EQ(budget.Take(kKind, alice.get(), {.things = 1}).limit, 620U)
      << "the limit that forbids it";
  EXPECT_EQ(budget.held(kKind).things, 620U) << "what is refused is not charged";
  taken = 0;
  while (!budget.Take(kKind, bob.get(), {.things = 1}).over) ++taken;
  EXPECT_EQ(taken, 10U) << "a 64th of it";
  const AccountRef carol = budget.Open(3);
  EXPECT_FALSE(budget.Take(kKind, carol.get(), {.things = 10}).over);
  EXPECT_EQ(budget.Take(kKind, budget.Open(4).get(), {.things = 1}).limit, 640U) << "all is taken";
  budget.Give(kKind, alice.get(), {.things = 1});
  EXPECT_EQ(budget.Take(kKind, alice.get(), {.things = 1}).limit, 620U)
      << "what is free is others'";
}

TEST(Budget, BytesAreALimitOfTheirOwn) {
  Budget budget;
  budget.SetLimit(kKind, {10, 3200});
  const AccountRef alice = budget.Open(1);
  EXPECT_FALSE(budget.Take(kKind, alice.get(), {.things = 1, .bytes = 3088}).over);
  EXPECT_EQ(budget.Take(kKind, alice.get(), {.things = 1, .bytes = 16}).limit, 3100U);
}

TEST(Budget, ALimitOfNothingIsOne) {
  Budget budget;
  budget.SetLimit(kKind, 0);
  EXPECT_TRUE(budget.Take(kKind, nullptr, {.things = 1}).over);
  EXPECT_TRUE(budget.Add(kKind, nullptr, {.things = 1}).over);
}

TEST(Budget, AnAccountIsTheSameAsLongAsSomebodyHasIt) {
  Budget budget;
  AccountRef first = budget.Open(7);
  const AccountRef second = first;
  EXPECT_EQ(budget.Open(7).get(), first.get());
  EXPECT_NE(budget.Open(8).get(), first.get());
  ASSERT_FALSE(budget.Take(kKind, first.get(), {.things = 5}).over);
  first = {};
  EXPECT_EQ(budget.Open(7).get()->held(kKind).things, 5U);
  budget.Give(kKind, second.get(), {.things = 5});
}

TEST(Charge, EndsOnceWhereverItGoes) {
  Budget budget;
  const AccountRef alice = budget.Open(1);
  ASSERT_FALSE(budget.Take(kKind, alice.get(), {.things = 2, .bytes = 32}).over);
  {
    Charge charge(budget, kKind, alice, {.things = 2, .bytes = 32});
    Charge other = std::move(charge);
    charge = std::move(other);
    EXPECT_EQ(budget.held(kKind).things, 2U);
  }
  EXPECT_EQ(budget.held(kKind).things, 0U);
  EXPECT_EQ(alice.get()->held(kKind).bytes, 0U);
}

// A call of somebody's.
template <class Base>
class Of : public Base {
 public:
  explicit Of(Account* account) : account_(account) {}
  Account* account() const override { return account_; }

 private:
  Account* account_;
};

class Shares : public ::testing::Test {
 protected:
  explicit Shares(const Poller::Options& options = {}) : t(options) {}

  AccountRef Open(uint64_t key) { return t.poller().budget().Open(key); }

  Result<ReadyResult> Ready(Account* of, const ReadyArgs& args) {
    Of<Answered<ReadyCall>> call(of);
    t.poller().Ready(kWhenCarriedOut, args, call);
    return call.result();
  }

  Table t;
};

class SharesOfOutcomes : public Shares {
 protected:
  SharesOfOutcomes() : Shares({.max_outcomes = 64}) {}
};

ReadyArgs As(std::string_view id, std::string_view name, uint64_t caller,
             Nanos sent_ago = Nanos(0)) {
  return {.name = name, .retry = {.id = id, .sent_ago = sent_ago, .caller = caller}};
}

TEST_F(SharesOfOutcomes, WhoHasMoreThanItsShareLosesItsOwnOldest) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  Ok(t.Open("a"));
  Ok(Ready(bob.get(), As("old", "a", 2)));
  t.Advance(seconds(10));
  for (int i = 0; i < 200; ++i) {
    const std::string id = "x" + std::to_string(i);
    Ok(Ready(alice.get(), As(id, "a", 1)));
  }
  t.Advance(seconds(1));
  EXPECT_EQ(Count(t).outcomes, 62U) << "all but the last 1/32";
  EXPECT_EQ(alice.get()->held(Held::kOutcomes).things, 61U);
  Ok(Ready(bob.get(), As("old", "a", 2, seconds(11))));
  EXPECT_EQ(Count(t).outcomes, 62U) << "his was known, though it was the oldest of all";
  EXPECT_EQ(ReasonOf(Ready(alice.get(), As("x0", "a", 1, seconds(1)))), Reason::kOutcomeUnknown);
  Ok(Ready(bob.get(), As("sent before, and lost on its way", "a", 2, seconds(5))));
  EXPECT_EQ(ReasonOf(Ready(alice.get(), As("the same of hers", "a", 1, seconds(5)))),
            Reason::kOutcomeUnknown)
      << "it may have been forgotten";
}

TEST_F(SharesOfOutcomes, WhereNobodyHasMuchTheOldestOfAllGoes) {
  std::vector<AccountRef> accounts;
  Ok(t.Open("a"));
  for (uint64_t i = 1; i <= 70; ++i) {
    accounts.push_back(Open(i));
    const std::string id = "x" + std::to_string(i);
    Ok(Ready(accounts.back().get(), As(id, "a", i)));
    t.Advance(seconds(2));
  }
  EXPECT_EQ(Count(t).outcomes, 64U);
  EXPECT_EQ(accounts.front().get()->held(Held::kOutcomes).things, 0U);
  EXPECT_EQ(accounts.back().get()->held(Held::kOutcomes).things, 1U);
}

TEST(SharesOverARestart, WhatOneHasForgottenIsCarriedOutForNobody) {
  World w({.max_outcomes = 64});
  SavedOpen(w, "a");
  {
    const AccountRef alice = w.poller().budget().Open(1);
    for (int i = 0; i < 100; ++i) {
      const std::string id = "x" + std::to_string(i);
      Of<Answered<ReadyCall>> call(alice.get());
      w.poller().Ready(kWhenCarriedOut, As(id, "a", 1), call);
      w.Save();
      ASSERT_TRUE(call.done());
    }
  }
  w.t().Advance(seconds(1));
  w.Crash();
  const AccountRef alice = w.poller().budget().Open(1);
  EXPECT_EQ(alice.get()->held(Held::kOutcomes).things, 62U) << "whose ids they are is stored";
  for (const uint64_t caller : {1, 2}) {
    EXPECT_EQ(ReasonOf(w.t().Ready(As("x0", "a", caller, seconds(1)))), Reason::kOutcomeUnknown)
        << "of whom it was is not told any more: it is refused to all";
  }
}

class SharesOfBytes : public Shares {
 protected:
  SharesOfBytes() : Shares({.max_outcomes = {Limit::kMost, 64 * 1024}}) {}

  // A wait of that id and caller gets `bytes` bytes, which are remembered.
  void Remember(Account* of, uint64_t caller, std::string_view name, std::string_view id,
                size_t bytes) {
    Ok(t.Ready(name, Mode::kRead, std::string(bytes, 'x')));
    Of<TestWait> call(of);
    t.poller().Wait(kWhenCarriedOut, {.name = name, .retry = {.id = id, .caller = caller}}, call);
    ASSERT_EQ(OutcomeOf(&call), Outcome::kReady);
  }
};

// Of those that are forgotten for one large answer, each may be small, and in another shard than
// the next.
TEST_F(SharesOfBytes, AsManyGoAsMakeRoom) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  const auto [a, b] = Apart();
  Ok(t.Open(a));
  Ok(t.Open(b));
  Remember(bob.get(), 2, a, "his", 100);
  for (int i = 0; i < 100; ++i) {
    t.Advance(seconds(2));
    Remember(alice.get(), 1, i % 2 == 0 ? a : b, "x" + std::to_string(i), 300);
  }
  Remember(alice.get(), 1, a, "large", 50'000);
  EXPECT_LE(alice.get()->held(Held::kOutcomes).bytes, 62U * 1024);
  EXPECT_LE(t.poller().budget().held(Held::kOutcomes).bytes, 62U * 1024);
  EXPECT_EQ(bob.get()->held(Held::kOutcomes).things, 1U) << "hers go, though his is the oldest";
  EXPECT_EQ(t.poller().budget().Over(Held::kOutcomes, alice.get()).over, false);
}

TEST_F(SharesOfBytes, WhoeverEndsInTheSameHoldIsNotAtFault) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  const AccountRef carol = Open(3);
  Ok(t.Open("a"));
  Ok(t.Open("l", Kind::kLatch));
  Remember(carol.get(), 3, "a", "hers", 100);
  t.Advance(seconds(2));
  Of<TestWait> first(alice.get());
  Of<TestWait> last(bob.get());
  t.poller().Wait(kWhenCarriedOut, {.name = "l", .retry = {.id = "i", .caller = 1}}, first);
  Of<TestWait> second(alice.get());
  t.poller().Wait(kWhenCarriedOut, {.name = "l", .retry = {.id = "j", .caller = 1}}, second);
  t.poller().Wait(kWhenCarriedOut, {.name = "l", .retry = {.id = "k", .caller = 2}}, last);
  // The last is not over his share, and there is too much of hers.
  for (int i = 0; i < 30; ++i) Remember(alice.get(), 1, "a", "x" + std::to_string(i), 1900);
  Ok(t.Ready("l", Mode::kRead, std::string(700, 'x')));
  EXPECT_GT(carol.get()->held(Held::kOutcomes).things, 0U);
  EXPECT_GT(bob.get()->held(Held::kOutcomes).things, 0U);
}

// Where the oldest were found once says nothing of what has come to other shards since then.
TEST_F(SharesOfOutcomes, WhereOneShardHadAllOfThemOthersAreLookedAtLater) {
  const AccountRef alice = Open(1);
  const auto [a, b] = Apart();
  Ok(t.Open(a));
  Ok(t.Open(b));
  for (int i = 0; i < 70; ++i) Ok(Ready(alice.get(), As("x" + std::to_string(i), a, 1)));
  t.Advance(seconds(10));
  for (int i = 0; i < 50; ++i) Ok(Ready(alice.get(), As("y" + std::to_string(i), b, 1)));
  t.Advance(seconds(10));
  for (int i = 0; i < 20; ++i) Ok(Ready(alice.get(), As("z" + std::to_string(i), a, 1)));
  t.Advance(seconds(1));
  Ok(Ready(alice.get(), As("z0", a, 1, seconds(1))));  // refused, if it was forgotten
  EXPECT_EQ(ReasonOf(Ready(alice.get(), As("y0", b, 1, seconds(11)))), Reason::kOutcomeUnknown);
}

// Until its retry is too old for itself: that is judged by when that came, not by when it is
// carried out.
TEST_F(SharesOfOutcomes, AHorizonHoldsForRetriesThatWaitedForTheirTurn) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  const Nanos retention = Poller::Options().retention;
  Ok(t.Open("a"));
  const Instant begin = t.now().mono;
  for (int i = 0; i < 70; ++i) {
    Ok(Ready(alice.get(), As("x" + std::to_string(i), "a", 1)));
  }
  t.Pass(retention + seconds(5));
  t.RunTimers();
  t.Pass(milliseconds(1500));
  for (int i = 0; i < 70; ++i) Ok(Ready(bob.get(), As("y" + std::to_string(i), "a", 2)));
  // Four seconds and a half under way, and two in a queue.
  Of<Answered<ReadyCall>> again(alice.get());
  t.poller().Ready(begin + retention + milliseconds(4500), As("x0", "a", 1, retention), again);
  EXPECT_EQ(ReasonOf(again.result()), Reason::kOutcomeUnknown);
}

class SharesOfWaits : public Shares {
 protected:
  SharesOfWaits() : Shares({.max_descriptors = 64, .max_waiters = 64}) {}
};

TEST_F(SharesOfWaits, ParkedWaitsAndPollsAreChargedToTheirCallers) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  const OpenOptions fifo{.kind = Kind::kFifo};
  std::vector<std::unique_ptr<Of<TestWait>>> waits;
  const auto wait = [&](Account* of, std::string_view id = {}) {
    waits.push_back(std::make_unique<Of<TestWait>>(of));
    t.poller().Wait(kWhenCarriedOut,
                    {.name = "a", .open_if_missing = &fifo, .retry = {.id = id, .caller = 1}},
                    *waits.back());
    return waits.back().get();
  };
  Of<TestPoll> poll(alice.get());
  const PollArgs targets{.targets = {{.name = "a"}, {.name = "b"}}, .open_if_missing = &fifo};
  t.poller().Poll(kWhenCarriedOut, targets, poll);
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 2U);
  EXPECT_EQ(alice.get()->held(Held::kDescriptors).things, 2U);
  while (!wait(alice.get())->done()) {
  }
  EXPECT_EQ(ReasonOf(waits.back()->result()), Reason::kLimitWaiters);
  EXPECT_EQ(std::get<Refusal>(waits.back()->result()).limit, 62U);
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 62U);
  EXPECT_FALSE(wait(bob.get())->done()) << "the last are his";
  t.poller().Cancel(poll);
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 60U);
  EXPECT_FALSE(wait(alice.get(), "an id")->done());
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 61U);
  Ok(t.Close("a"));
  t.RunTimers();
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 0U);
  EXPECT_EQ(bob.get()->held(Held::kWaits).things, 0U);
  EXPECT_EQ(t.poller().budget().held(Held::kWaits).bytes, 0U);
  EXPECT_EQ(alice.get()->held(Held::kOutcomes).things, 1U) << "of the wait with an id";
  Ok(t.Close("b"));
  EXPECT_EQ(alice.get()->held(Held::kDescriptors).things, 0U);
  EXPECT_EQ(t.poller().budget().held(Held::kDescriptors).bytes, 0U);
}

TEST_F(SharesOfWaits, OneReleaseOfManyEndsTheChargesOfEachCaller) {
  const AccountRef alice = Open(1);
  const AccountRef bob = Open(2);
  Ok(t.Open("l", Kind::kLatch));
  std::vector<std::unique_ptr<Of<TestWait>>> waits;
  for (int i = 0; i < 30; ++i) {
    waits.push_back(std::make_unique<Of<TestWait>>(i % 3 == 0 ? bob.get() : alice.get()));
    t.poller().Wait(kWhenCarriedOut, {.name = "l"}, *waits.back());
  }
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 20U);
  EXPECT_EQ(bob.get()->held(Held::kWaits).things, 10U);
  Ok(t.Ready("l"));
  t.RunTimers();
  EXPECT_EQ(alice.get()->held(Held::kWaits).things, 0U);
  EXPECT_EQ(bob.get()->held(Held::kWaits).things, 0U);
  EXPECT_EQ(t.poller().budget().held(Held::kWaits).things, 0U);
}

TEST_F(SharesOfWaits, NamesThatAPollOpensTogetherAreGivenBackOneByOne) {
  const AccountRef alice = Open(1);
  const OpenOptions options{.labels = {{"k", "v"}}};
  Of<TestPoll> poll(alice.get());
  PollArgs args{.open_if_missing = &options};
  const std::vector<std::string> names = {"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"};
  for (const auto& name : names) args.targets.push_back({.name = name});
  t.poller().Poll(kWhenCarriedOut, args, poll);
  ASSERT_FALSE(poll.done());
  for (const auto& name : names) Ok(t.Close(name));
  for (const Held what : {Held::kDescriptors, Held::kWaits}) {
    EXPECT_EQ(t.poller().budget().held(what).things, 0U);
    EXPECT_EQ(t.poller().budget().held(what).bytes, 0U);
    EXPECT_EQ(alice.get()->held(what).things, 0U);
    EXPECT_EQ(alice.get()->held(what).bytes, 0U);
  }
}

class SharesInPieces : public Shares {
 protected:
  SharesInPieces() : Shares({.units_max = 2}) {}

  WaitResult Take(Account* of, std::string_view id, std::optional<Nanos> ack_timeout) {
    Of<TestWait> call(of);
    t.poller().Wait(kWhenCarriedOut,
                    {.name = "a", .ack_timeout = ack_timeout, .retry = {.id = id, .caller = 1}},
                    call);
    return Ok(call.result());
  }
};

TEST_F(SharesInPieces, ADeliveryThatIsForgottenOnItsWayOutWasNotHeld) {
  constexpr std::array<std::string_view, 9> kIds = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
  const AccountRef alice = Open(1);
  Ok(t.Open("a"));
  std::vector<AckArgs> acks;
  for (size_t i = 0; i < kIds.size(); ++i) {
    Ok(t.Ready("a"));
    acks.push_back(AckOf(Take(alice.get(), kIds[i], hours(1)), kIds[i]));
  }
  t.Advance(minutes(1));
  // The last is forgotten first, and the first is freed first.
  for (auto ack = acks.rbegin(); ack != acks.rend(); ++ack) {
    ack->caller = 1;
    Ok(t.Ack(*ack));
  }
  EXPECT_EQ(alice.get()->held(Held::kDeliveries).things, 0U) << "they are acknowledged";
  t.Advance(Poller::Options().retention - seconds(30));
  t.Pass(minutes(1));
  Answered<CloseCall> call;
  t.poller().Close(t.now().mono, {.name = "a"}, call);
  t.RunTimers();
  EXPECT_EQ(alice.get()->held(Held::kDeliveries).things, 0U);
  EXPECT_EQ(alice.get()->held(Held::kDeliveries).bytes, 0U);
  EXPECT_EQ(alice.get()->held(Held::kOutcomes).things, 0U);
}

TEST(SharesAfterARestart, ASignalThatCameBackIsNotThatOfWhoHadItsPlace) {
  World w;
  SavedOpen(w, "a");
  SavedReady(w, {.name = "a"});
  WaitArgs args = WaitAs("w");
  args.ack_timeout = hours(1);
  args.retry.caller = 7;
  const auto first = w.t().Wait(args);
  w.Save();
  AckArgs ack = AckOf(ResultOf(first), "w");
  ack.caller = 7;
  Answered<AckCall> acked;
  w.poller().Ack(ack, acked);
  w.Save();
  Ok(acked.result());
  w.t().Advance(Poller::Options().retention + minutes(1));  // its place is free
  w.Save();
  SavedReady(w, {.name = "a"});
  const auto lost = w.t().Wait("a");
  w.Save();
  ASSERT_EQ(OutcomeOf(lost), Outcome::kReady);
  w.poller().Unwritten(*lost, Nanos(0));
  w.Save();
  w.Crash();
  EXPECT_EQ(Count(w.t()).deliveries, 1U);
  EXPECT_EQ(w.poller().budget().Open(7).get()->held(Held::kDeliveries).things, 0U);
}

}  // namespace
}  // namespace waitd::core
