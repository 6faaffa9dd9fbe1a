#include "core/denial.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

constexpr uint64_t kAlice = 1;
constexpr uint64_t kBob = 2;

// A call that says whose it is, as the server's do.
template <class Base>
class Owned : public Parked<Base> {
 public:
  explicit Owned(uint64_t caller) : caller_(caller) {}
  uint64_t caller() const override { return caller_; }

 private:
  const uint64_t caller_;
};

// Takes names away from one caller.
class Taken final : public Denial {
 public:
  Taken(uint64_t from, std::set<std::string, std::less<>> names)
      : from_(from), names_(std::move(names)) {}

  size_t From(Poller& poller) {
    while (EndSome(poller)) {
    }
    return ended();
  }

 protected:
  bool Concerns(uint64_t caller) const override { return caller == from_; }
  bool Denies(uint64_t caller, std::string_view name) const override {
    EXPECT_EQ(caller, from_);
    return names_.contains(name);
  }

 private:
  const uint64_t from_;
  const std::set<std::string, std::less<>> names_;
};

class DenialTest : public testing::TestWithParam<uint32_t> {
 protected:
  std::unique_ptr<Owned<WaitCall>> Wait(uint64_t caller, WaitArgs args) {
    args.retry.caller = caller;
    auto call = std::make_unique<Owned<WaitCall>>(caller);
    t_.poller().Wait(t_.now().mono, args, *call);
    EXPECT_FALSE(call->done());
    return call;
  }
  std::unique_ptr<Owned<WaitCall>> Wait(uint64_t caller, std::string_view name) {
    return Wait(caller, {.name = name});
  }
  std::unique_ptr<Owned<PollCall>> Poll(uint64_t caller, std::vector<PollTarget> targets,
                                        uint32_t need = 1) {
    auto call = std::make_unique<Owned<PollCall>>(caller);
    t_.poller().Poll(t_.now().mono, {.targets = std::move(targets), .need = need}, *call);
    EXPECT_FALSE(call->done());
    return call;
  }
  void Open(const std::vector<std::string>& names) {
    for (const auto& name : names) Ok(t_.Open(name, Kind::kFifo));
  }

  Table t_{{.units_max = GetParam()}};
};

TEST_P(DenialTest, EndsThoseWaitsAndNoOthers) {
  const auto [a, b] = Apart();
  Open({a, b});
  const auto hers = Wait(kAlice, a);
  const auto elsewhere = Wait(kAlice, b);
  const auto his = Wait(kBob, a);
  const auto her_poll = Poll(kAlice, {{b}, {a}});
  const auto her_other_poll = Poll(kAlice, {{b}});
  const auto his_poll = Poll(kBob, {{a}, {b}});
  EXPECT_EQ(Taken(kAlice, {a}).From(t_.poller()), 2U);
  EXPECT_EQ(ReasonOf(hers->result()), Reason::kForbidden);
  EXPECT_EQ(ReasonOf(her_poll->result()), Reason::kForbidden);
  EXPECT_FALSE(elsewhere->done());
  EXPECT_FALSE(his->done());
  EXPECT_FALSE(her_other_poll->done());
  EXPECT_FALSE(his_poll->done());
  EXPECT_EQ(t_.poller().waiters(), 5U);
  EXPECT_EQ(Taken(kAlice, {a}).From(t_.poller()), 0U) << "they are gone";
  t_.Ready(a);
  EXPECT_EQ(OutcomeOf(his), Outcome::kReady) << "who is left is next";
  t_.Ready(b);
  EXPECT_EQ(OutcomeOf(elsewhere), Outcome::kReady);
  t_.poller().Cancel(*her_other_poll);
  t_.poller().Cancel(*his_poll);
}

TEST_P(DenialTest, ASignalThatAPollHasNotTakenStays) {
  const auto [a, b] = Apart();
  Open({a, b});
  const auto both = Poll(kAlice, {{a}, {b}}, 2);
  t_.Ready(b, Mode::kRead, "kept");
  EXPECT_EQ(Taken(kAlice, {a}).From(t_.poller()), 1U);
  EXPECT_EQ(ReasonOf(both->result()), Reason::kForbidden);
  EXPECT_EQ(*t_.Try(b).signal, "kept");
}

TEST_P(DenialTest, ATargetThatIsLostIsWaitedForNoMore) {
  const auto [a, b] = Apart();
  Open({a, b});
  const auto either = Poll(kAlice, {{a}, {b}});
  Ok(t_.Close(a));
  EXPECT_EQ(Taken(kAlice, {a}).From(t_.poller()), 0U);
  EXPECT_FALSE(either->done());
  EXPECT_EQ(Taken(kAlice, {b}).From(t_.poller()), 1U);
  EXPECT_EQ(ReasonOf(either->result()), Reason::kForbidden);
}

TEST_P(DenialTest, WhoHasTheSignalKeepsIt) {
  Open({"a"});
  const auto wait = Wait(kAlice, "a");
  t_.Ready("a");
  EXPECT_EQ(Taken(kAlice, {"a"}).From(t_.poller()), 0U);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
}

TEST_P(DenialTest, EndsAWaitWhoseClientHasGone) {
  Open({"a"});
  const auto wait = Wait(kAlice, WaitAs("w"));
  t_.poller().Abandon(*wait);
  EXPECT_EQ(t_.poller().waiters(), 1U) << "it lingers";
  EXPECT_EQ(Taken(kBob, {"a"}).From(t_.poller()), 0U);
  EXPECT_EQ(Taken(kAlice, {"a"}).From(t_.poller()), 1U);
  EXPECT_EQ(t_.poller().waiters(), 0U);
  t_.Ready("a", Mode::kRead, "hers no more");
  EXPECT_EQ(*t_.Try("a").signal, "hers no more");
}

TEST_P(DenialTest, FindsEachOfMany) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back("n" + std::to_string(i));
  Open(names);
  std::vector<std::unique_ptr<Owned<WaitCall>>> hers;
  std::vector<std::unique_ptr<Owned<WaitCall>>> his;
  for (const auto& name : names) {
    hers.push_back(Wait(kAlice, name));
    his.push_back(Wait(kBob, name));
  }
  EXPECT_EQ(Taken(kAlice, {names.begin(), names.end()}).From(t_.poller()), names.size());
  for (const auto& each : hers) EXPECT_EQ(ReasonOf(each->result()), Reason::kForbidden);
  EXPECT_EQ(t_.poller().waiters(), names.size());
  for (const auto& each : his) t_.poller().Cancel(*each);
}

INSTANTIATE_TEST_SUITE_P(UnitsMax, DenialTest, testing::Values(1U, 3U, kUnitsMax));

TEST(DenialWork, OneHoldIsBounded) {
  Table t({.units_max = 10});
  Ok(t.Open("a", Kind::kFifo));
  std::vector<std::unique_ptr<Owned<WaitCall>>> hers;
  for (int i = 0; i < 100; ++i) {
    hers.push_back(std::make_unique<Owned<WaitCall>>(kAlice));
    t.poller().Wait(t.now().mono, {.name = "a"}, *hers.back());
  }
  Taken taken(kAlice, {"a"});
  size_t most = 0;
  for (bool more = true; more;) {
    const size_t before = taken.ended();
    more = taken.EndSome(t.poller());
    most = std::max(most, taken.ended() - before);
  }
  EXPECT_EQ(taken.ended(), 100U);
  EXPECT_EQ(most, 10U);
}

TEST(CancelWithAReason, IsARefusal) {
  Table t;
  Ok(t.Open("a"));
  const auto wait = t.Wait("a");
  t.poller().Cancel(*wait, nullptr, Reason::kForbidden);
  EXPECT_EQ(RefusedAs(wait), Reason::kForbidden);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

}  // namespace
}  // namespace waitd::core
