// C22 and C25: the race between a waiter that parks and whoever wants to wake it. Each of Close,
// SetDeadline into the past, the timer, and Ready meets a wait, and a poll over two shards, before
// it is published, published and not yet committed to parking, parked, and claimed and not yet
// answered.
//
// Method: the machine's own probe lets the intruder run between the steps, on the same thread; so
// each cell is forced, not hoped for. The steps are those of poll_desc.h and are right even without
// the shard's lock, which makes them one step for everybody else.
#include <set>

#include "core/poll_desc.h"
#include "core/shard.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

enum class Intruder { kClose, kPast, kTimer, kReady };
enum class When { kBefore, kPublished, kParked, kClaimed };

class OnProbe : public Probe {
 public:
  OnProbe(Point point, std::function<void()> act) : point_(point), act_(std::move(act)) {}
  void At(Point point) override {
    if (point == point_ && act_) std::exchange(act_, nullptr)();
  }

 private:
  const Point point_;
  std::function<void()> act_;
};

struct Machine {
  Machine() {
    now.mono = Instant(hours(1));
    for (PollDesc* desc : {&a, &b}) desc->Init("n", Kind::kExclusive, 7, now);
  }

  Now now{};
  DescEnv env;
  PollDesc a{env};
  PollDesc b{env};
};

class LostWake : public testing::TestWithParam<std::tuple<Intruder, When>> {
 protected:
  // What the intruder does to the descriptor `a`. The timer's deadline is armed beforehand.
  void Intrude(Machine& machine, Moment& m) {
    switch (std::get<0>(GetParam())) {
      case Intruder::kClose:
        machine.a.Evict(m);
        break;
      case Intruder::kPast: {
        PollDesc::NewDeadline past;
        past.state = Deadline::State::kExpired;
        past.at = m.now.mono;
        SetDeadlineResult result;
        machine.a.SetDeadline(m, Mode::kRead, past, DeadlineCondition::kAlways, result);
        break;
      }
      case Intruder::kTimer:
        machine.a.ReadDeadline(m, number_);
        break;
      case Intruder::kReady:
        effect_ = machine.a.Unblock(m, Side::kRead, nullptr, ReadyCondition::kAlways).effect;
        break;
    }
  }

  void ArmTimer(Machine& machine) {
    if (std::get<0>(GetParam()) != Intruder::kTimer) return;
    Moment m{machine.now};
    PollDesc::NewDeadline soon;
    soon.state = Deadline::State::kArmed;
    soon.at = machine.now.mono + seconds(1);
    SetDeadlineResult result;
    machine.a.SetDeadline(m, Mode::kRead, soon, DeadlineCondition::kAlways, result);
    number_ = machine.a.sequence(Side::kRead);
  }

  // The machine's time when the intruder comes: for the timer, its instant.
  Now Later(const Machine& machine) const {
    Now later = machine.now;
    later.mono += seconds(1);
    return later;
  }

  Outcome Expected() const {
    switch (std::get<0>(GetParam())) {
      case Intruder::kClose:
        return Outcome::kClosed;
      case Intruder::kPast:
      case Intruder::kTimer:
        return Outcome::kTimedOut;
      case Intruder::kReady:
        return Outcome::kReady;
    }
    return Outcome::kCancelled;
  }

  uint32_t number_ = 0;  // of the timer
  ReadyEffect effect_ = ReadyEffect::kRefused;
};

TEST_P(LostWake, C22_AWaitDoesNotParkPastIt) {
  const When when = std::get<1>(GetParam());
  Machine machine;
  ArmTimer(machine);
  TestWait call;
  SingleWaiter waiter;
  waiter.call = &call;
  waiter.begin = machine.now.mono;
  waiter.desc = &machine.a;
  Moment other{Later(machine)};
  OnProbe probe(when == When::kBefore ? Probe::Point::kChecked : Probe::Point::kPublished, [&] {
    if (when == When::kBefore || when == When::kPublished) Intrude(machine, other);
  });
  Moment m{machine.now, &probe};
  const Waiter* holder = nullptr;
  const auto blocked = machine.a.Block(m, waiter, true, &holder);
  if (when == When::kBefore || when == When::kPublished) {
    EXPECT_EQ(blocked, PollDesc::Blocked::kEnded) << "it must not park";
    EXPECT_EQ(other.ended_first, nullptr) << "the parking thread answers, nobody else";
  } else {
    ASSERT_EQ(blocked, PollDesc::Blocked::kParked);
    Intrude(machine, other);
    EXPECT_EQ(other.ended_first, &waiter);
  }
  ASSERT_TRUE(std::holds_alternative<WaitResult>(call.result()));
  EXPECT_EQ(std::get<WaitResult>(call.result()).outcome, Expected());
  EXPECT_FALSE(waiter.standing() && blocked == PollDesc::Blocked::kEnded);
  EXPECT_EQ(machine.a.side(Side::kRead).places, 0U);
  if (when == When::kClaimed) {
    // Whoever comes second finds nobody: its READY is remembered, and the outcome stays.
    Moment late{Later(machine)};
    if (Expected() != Outcome::kClosed) {
      EXPECT_EQ(machine.a.Unblock(late, Side::kRead, nullptr, ReadyCondition::kAlways).effect,
                ReadyEffect::kRemembered);
    }
    Intrude(machine, late);
    EXPECT_EQ(std::get<WaitResult>(call.result()).outcome, Expected());
    EXPECT_EQ(late.ended_first, nullptr);
  } else {
    EXPECT_FALSE(machine.a.side(Side::kRead).ready) << "a READY was used once, or never came";
  }
}

TEST_P(LostWake, C22_APollOverTwoShardsDoesNotParkPastIt) {
  const When when = std::get<1>(GetParam());
  Machine machine;
  ArmTimer(machine);
  TestPoll call;
  PollWaiter poll;
  poll.call = &call;
  poll.begin = machine.now.mono;
  poll.targets.resize(2);
  poll.targets[0].desc = &machine.a;
  poll.targets[1].desc = &machine.b;
  for (auto& target : poll.targets) target.poll = &poll;
  // Any of two, met by a Ready; all of two, so that the end of one target ends it.
  poll.need = Expected() == Outcome::kReady ? 1 : 2;
  Moment other{Later(machine)};
  OnProbe probe(when == When::kBefore ? Probe::Point::kChecked : Probe::Point::kPublished, [&] {
    if (when == When::kBefore || when == When::kPublished) Intrude(machine, other);
  });
  Moment m{machine.now, &probe};
  const Waiter* holder = nullptr;
  uint32_t at = 0;
  const auto blocked = PollDesc::BlockAll(m, poll, true, &holder, &at);
  if (when == When::kBefore || when == When::kPublished) {
    EXPECT_EQ(blocked, PollDesc::Blocked::kEnded);
    EXPECT_EQ(other.claimed, nullptr);
    for (const auto& target : poll.targets) EXPECT_FALSE(target.standing());
  } else {
    ASSERT_EQ(blocked, PollDesc::Blocked::kParked);
    Intrude(machine, other);
    EXPECT_EQ(other.claimed, &poll);
  }
  ASSERT_TRUE(std::holds_alternative<PollResult>(call.result()));
  EXPECT_EQ(std::get<PollResult>(call.result()).outcome, Expected());
  if (when == When::kClaimed) {
    // It still stands on the other shard's target; a Ready there takes its place for empty.
    EXPECT_TRUE(poll.targets[1].standing());
    Moment late{Later(machine)};
    EXPECT_EQ(machine.b.Unblock(late, Side::kRead, nullptr, ReadyCondition::kAlways).effect,
              ReadyEffect::kRemembered);
    EXPECT_EQ(late.claimed, nullptr);
    EXPECT_EQ(std::get<PollResult>(call.result()).outcome, Expected());
  }
}

INSTANTIATE_TEST_SUITE_P(SixteenCells, LostWake,
                         testing::Combine(testing::Values(Intruder::kClose, Intruder::kPast,
                                                          Intruder::kTimer, Intruder::kReady),
                                          testing::Values(When::kBefore, When::kPublished,
                                                          When::kParked, When::kClaimed)));

// The same cell through the poller, where the loser is in another shard: the poll is claimed by one
// Ready and has no answer yet, when the other target gets its Ready, and then a wait.
TEST(Claim, C25_ALoserTakesItsPlaceForEmptyAndTheAnswerComesLast) {
  std::string left = "left";
  std::string right = "right";
  ASSERT_NE(ShardOf(left), ShardOf(right));
  Table* table = nullptr;
  std::unique_ptr<TestPoll> poll;
  std::unique_ptr<TestWait> wait;
  OnProbe probe(Probe::Point::kClaimed, [&] {
    EXPECT_FALSE(poll->done()) << "it still stands on the other target";
    wait = table->Wait(right);
    EXPECT_FALSE(wait->done()) << "no double wait: the place is as good as empty";
    EXPECT_EQ(Ok(table->Ready(right)).effect, ReadyEffect::kWoke);
    EXPECT_EQ(Ok(table->Ready(right)).effect, ReadyEffect::kRemembered);
    table->poller().Cancel(table->now(), *poll);
  });
  Poller::Options options;
  options.probe = &probe;
  Table t(options);
  table = &t;
  Ok(t.Open(left));
  Ok(t.Open(right));
  poll = t.Poll({{left}, {right}});
  EXPECT_EQ(Ok(t.Ready(left)).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  EXPECT_EQ(t.Try(right).outcome, Outcome::kReady);
  EXPECT_EQ(t.poller().waiters(), 0U);
}

// The client has gone, and its time is over just when the poll is claimed and has no answer yet:
// nobody comes for the READY, so it goes back.
TEST(Claim, AnAlarmBetweenTheClaimAndTheAnswerIsNotTheLast) {
  Table* table = nullptr;
  OnProbe probe(Probe::Point::kClaimed, [&] { table->RunTimers(); });
  Poller::Options options;
  options.probe = &probe;
  Table t(options);
  table = &t;
  Ok(t.Open("left"));
  Ok(t.Open("right"));
  const auto poll = t.Poll({.targets = {{"left"}, {"right"}}, .retry = {"id"}});
  t.poller().Abandon(t.now(), *poll);
  t.Pass(options.linger);
  EXPECT_EQ(Ok(t.Ready("right")).effect, ReadyEffect::kWoke);
  t.RunTimers();
  EXPECT_EQ(t.Try("right").outcome, Outcome::kReady);
}

}  // namespace
}  // namespace waitd::core
