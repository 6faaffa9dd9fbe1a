// What one identity may hold beside others, and that every charge ends.
#include "core/budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
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

}  // namespace
}  // namespace waitd::core
