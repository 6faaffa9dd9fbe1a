// What is saved, what waits for it, and what comes back after a crash.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "tests/unit/core/world.h"

namespace waitd::core {
namespace {

TEST(Save, AnEffectIsLetGoOnlyWhenItIsSaved) {
  World w;
  Table& t = w.t();
  Answered<OpenCall> open;
  t.poller().Open(t.now().mono, {.name = "a"}, open);
  EXPECT_FALSE(open.done());
  w.Save();
  EXPECT_TRUE(open.done());
  const auto wait = t.Wait("a");
  Answered<ReadyCall> first;
  Answered<ReadyCall> second;
  t.poller().Ready(t.now().mono, {.name = "a"}, first);
  t.poller().Ready(t.now().mono, {.name = "a"}, second);
  EXPECT_FALSE(wait->done() || first.done() || second.done());
  // A read of what is unsaved waits too, and so does a list of it.
  Answered<GetCall> get;
  Answered<ListCall> list;
  t.poller().Get({"a"}, get);
  t.poller().List({}, list);
  EXPECT_FALSE(get.done() || list.done());
  t.poller().Cancel(*wait);  // claimed and not yet answered: too late
  w.Save();
  EXPECT_TRUE(first.done() && second.done() && get.done() && list.done());
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  EXPECT_EQ(Ok(second.result()).effect, ReadyEffect::kRemembered);
  // What tells of nothing unsaved waits for nothing.
  Answered<GetCall> saved;
  Answered<ListCall> saved_list;
  t.poller().Get({"a"}, saved);
  t.poller().List({}, saved_list);
  EXPECT_TRUE(saved.done() && saved_list.done());
  EXPECT_EQ(w.dirty(), 0U);
}

TEST(Save, ARefusalWaitsForWhatItTellsOf) {
  World w;
  Table& t = w.t();
  SavedOpen(w, "a");
  Answered<CloseCall> close;
  t.poller().Close(t.now().mono, {.name = "a"}, close);
  const auto wait = t.Wait("a");  // NO_DESCRIPTOR, and the close is not saved
  EXPECT_FALSE(wait->done());
  w.Save();
  EXPECT_EQ(ReasonOf(wait->result()), Reason::kNoDescriptor);
}

TEST(Save, ATimeoutWaitsForItsDeadlineAndNotForItself) {
  World w;
  Table& t = w.t();
  SavedOpen(w, "a");
  auto wait = t.Wait("a");
  Answered<SetDeadlineCall> set;
  const SetDeadlineArgs in{
      .name = "a", .what = SetDeadlineArgs::What::kTimeout, .timeout = seconds(1)};
  t.poller().SetDeadline(t.now().mono, in, set);
  t.Advance(seconds(2));
  EXPECT_FALSE(wait->done());  // nobody knows of this deadline yet
  w.Save();
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);

  Answered<SetDeadlineCall> again;
  t.poller().SetDeadline(t.now().mono, in, again);
  w.Save();
  wait = t.Wait("a");
  t.Advance(seconds(2));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].deadline.state, Deadline::State::kExpired);
}

TEST(Save, AReadyADeadlineAndTheGenerationSurvive) {
  World w;
  SavedOpen(w, "a", Kind::kFifo);
  const uint64_t generation = Ok(w.t().Get("a")).generation;
  SavedReady(w, {.name = "a", .signal = Bytes("one")});
  Answered<SetDeadlineCall> set;
  w.poller().SetDeadline(w.t().now().mono,
                         {.name = "a",
                          .mode = Mode::kWrite,
                          .what = SetDeadlineArgs::What::kTimeout,
                          .timeout = seconds(10)},
                         set);
  w.Save();
  const Deadline before = Ok(set.result()).deadline[1];
  w.Crash(seconds(3));
  const DescriptorInfo info = Ok(w.t().Get("a"));
  EXPECT_EQ(info.kind, Kind::kFifo);
  EXPECT_EQ(info.generation, generation);
  EXPECT_EQ(info.side[0].state, SemaphoreState::kReady);
  EXPECT_EQ(info.side[1].deadline.at, before.at);
  const auto wait = w.t().Wait("a", Side::kWrite);
  w.t().Advance(seconds(7) - Nanos(1));
  EXPECT_FALSE(wait->done());
  w.t().Advance(Nanos(1));
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  auto ready = w.t().Wait({.name = "a", .timeout = Nanos(0)});
  EXPECT_FALSE(ready->done());
  w.Save();
  EXPECT_EQ(*ResultOf(ready).signal, "one");
  EXPECT_EQ(ResultOf(ready).delivery, 1U);
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
  // A closed name is gone, and its generation is nobody else's.
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = "a"}, close);
  w.Save();
  w.Crash();
  EXPECT_EQ(ReasonOf(w.t().Get("a")), Reason::kNoDescriptor);
  SavedOpen(w, "a");
  EXPECT_GT(Ok(w.t().Get("a")).generation, generation);
}

TEST(Save, ADeadlineThatPassedMeanwhileHasExpired) {
  World w;
  SavedOpen(w, "a");
  Answered<SetDeadlineCall> set;
  w.poller().SetDeadline(
      w.t().now().mono,
      {.name = "a", .what = SetDeadlineArgs::What::kTimeout, .timeout = seconds(10)}, set);
  w.Save();
  w.Crash(seconds(11));
  const auto wait = w.t().Wait("a");
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  EXPECT_EQ(ResultOf(wait).late, Nanos(0));  // it began after the instant
}

TEST(Save, WhatIsNotSavedNeverHappened) {
  World w;
  SavedOpen(w, "a");
  Answered<ReadyCall> ready;
  w.poller().Ready(w.t().now().mono, {.name = "a"}, ready);
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
  EXPECT_FALSE(ready.done());
}

TEST(Save, ARetryAfterACrashGetsTheSameAnswer) {
  World w;
  auto wait = w.t().Wait(WaitWith("a", "w1"));
  w.Save();
  EXPECT_FALSE(wait->done());
  const ReadyArgs args{.name = "a", .signal = Bytes("one"), .retry = {"r1", Nanos(0)}};
  EXPECT_EQ(SavedReady(w, args).effect, ReadyEffect::kWoke);
  EXPECT_EQ(OutcomeOf(wait), Outcome::kReady);
  w.Crash(seconds(1));
  auto retried = w.t().Wait(WaitWith("a", "w1", seconds(1)));
  EXPECT_EQ(*ResultOf(retried).signal, "one");
  EXPECT_EQ(ResultOf(retried).delivery, ResultOf(wait).delivery);
  Answered<ReadyCall> again;
  w.poller().Ready(w.t().now().mono,
                   {.name = "a", .signal = Bytes("one"), .retry = {"r1", seconds(1)}}, again);
  EXPECT_TRUE(again.done());
  EXPECT_EQ(Ok(again.result()).effect, ReadyEffect::kWoke);
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
  // Its time is that of before the crash.
  w.t().Advance(std::chrono::minutes(11));
  EXPECT_EQ(ReasonOf(w.t().Wait(WaitWith("a", "w1", std::chrono::minutes(11)))->result()),
            Reason::kOutcomeUnknown);
}

TEST(Save, AHandOffIsTakenBackAtItsInstantAcrossACrash) {
  World w;
  WaitArgs args = WaitWith("a", "w1");
  args.ack_timeout = seconds(10);
  auto wait = w.t().Wait(args);
  SavedReady(w, {.name = "a", .signal = Bytes("one")});
  const AckArgs ack = AckOf(ResultOf(wait), "w1");
  w.Crash(seconds(4));
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].unacked, 1U);
  w.t().Advance(seconds(6) - Nanos(1));
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].returned, 0U);
  w.t().Advance(Nanos(1));
  w.Save();
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].returned, 1U);
  Answered<AckCall> late;
  w.poller().Ack(ack, late);
  EXPECT_EQ(ReasonOf(late.result()), Reason::kStaleDelivery);
  auto second = w.t().Wait({.name = "a", .timeout = Nanos(0)});
  w.Save();
  EXPECT_EQ(ResultOf(second).attempt, 2U);
  EXPECT_EQ(*ResultOf(second).signal, "one");
}

TEST(Save, AnAckSurvives) {
  World w;
  WaitArgs args = WaitWith("a", "w1");
  args.ack_timeout = seconds(10);
  auto wait = w.t().Wait(args);
  SavedReady(w, {.name = "a"});
  const AckArgs ack = AckOf(ResultOf(wait), "w1");
  Answered<AckCall> first;
  w.poller().Ack(ack, first);
  EXPECT_FALSE(first.done());
  w.Save();
  EXPECT_TRUE(first.done());
  w.Crash(seconds(20));
  Answered<AckCall> again;
  w.poller().Ack(ack, again);
  EXPECT_TRUE(again.done());
  EXPECT_TRUE(std::holds_alternative<AckResult>(again.result()));
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].returned, 0U);
}

TEST(Save, WhoSeesThatAHandOffHasItsAckWaitsWithIt) {
  World w;
  WaitArgs args = WaitWith("a", "w1");
  args.ack_timeout = seconds(10);
  auto wait = w.t().Wait(args);
  SavedReady(w, {.name = "a"});
  Answered<AckCall> ack;
  w.poller().Ack(AckOf(ResultOf(wait), "w1"), ack);
  Answered<GetCall> get;
  w.poller().Get({"a"}, get);
  Answered<ListCall> list;
  w.poller().List({}, list);
  EXPECT_FALSE(get.done()) << "a crash could undo what it would tell";
  EXPECT_FALSE(list.done());
  w.Save();
  EXPECT_EQ(Ok(get.result()).side[0].unacked, 0U);
  EXPECT_TRUE(get.done() && list.done());
}

TEST(Save, HandOffsOfOneIdAreApartAcrossACrash) {
  World w({.max_outcomes = 1});
  SavedOpen(w, "a", Kind::kFifo);
  WaitArgs args = WaitWith("a", "w1");
  args.ack_timeout = seconds(10);
  std::vector<AckArgs> deliveries;
  for (const char* data : {"x", "y"}) {
    const auto wait = w.t().Wait(args);
    SavedReady(w, {.name = "a", .signal = Bytes(data)});
    deliveries.push_back(AckOf(ResultOf(wait), "w1"));
    SavedReady(w, {.name = "a", .condition = ReadyCondition::kWaiting, .retry = {.id = data}});
  }
  w.Crash(seconds(1));
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].unacked, 2U);
  Answered<AckCall> ack;
  w.poller().Ack(deliveries[1], ack);
  w.Save();
  Ok(ack.result());
  w.t().Advance(seconds(10));
  auto back = w.t().Wait({.name = "a", .timeout = Nanos(0)});
  w.Save();
  EXPECT_EQ(*ResultOf(back).signal, "x");
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].unacked, 0U);
}

TEST(Save, AReadyThatIsKeptStandsAcrossACrash) {
  World w;
  OpenOptions brief;
  brief.idle_ttl = seconds(10);
  auto wait = w.t().Wait({.name = "a", .open_if_missing = &brief, .retry = {"w1"}});
  w.poller().Abandon(*wait);
  SavedReady(w, {.name = "a", .signal = Bytes("one")});
  w.Crash();
  for (int i = 0; i < 30; ++i) w.t().Advance(seconds(1));
  w.Save();
  auto next = w.t().Wait({.name = "a", .timeout = Nanos(0)});
  w.Save();
  EXPECT_EQ(*ResultOf(next).signal, "one");
}

TEST(Save, AReadyThatNobodyCameForGoesBackAcrossACrash) {
  World w;
  auto wait = w.t().Wait(WaitWith("a", "w1"));
  w.poller().Abandon(*wait);
  SavedReady(w, {.name = "a", .signal = Bytes("one")});
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
  w.t().Advance(seconds(30));
  w.Save();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kReady);
}

TEST(Save, AReadyThatGoesBackAndItsOutcomeAreOneChange) {
  World w;
  auto wait = w.t().Wait(WaitWith("a", "w1"));
  w.poller().Abandon(*wait);
  SavedReady(w, {.name = "a", .signal = Bytes("one")});
  w.t().Advance(seconds(30));  // it goes back
  w.Save();
  w.Crash();
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kReady);
  auto anew = w.t().Wait(WaitWith("a", "w1", seconds(30)));
  w.Save();
  EXPECT_EQ(*ResultOf(anew).signal, "one");
  EXPECT_EQ(Ok(w.t().Get("a")).side[0].state, SemaphoreState::kNil);
}

TEST(Save, ATimeoutWithAnIdWaitsForItsOutcome) {
  World w;
  WaitArgs args = WaitWith("a", "w1");
  args.timeout = seconds(1);
  auto wait = w.t().Wait(args);
  w.Save();
  w.t().Advance(seconds(1));
  EXPECT_FALSE(wait->done());
  w.Save();
  EXPECT_EQ(OutcomeOf(wait), Outcome::kTimedOut);
  w.Crash();
  EXPECT_EQ(ResultOf(w.t().Wait(args)).outcome, Outcome::kTimedOut);
}

// Whoever saves one of a poll's shards saves all of what it changed, or nothing.
TEST(Save, APollsReadyAndItsOutcomeAreOneChange) {
  const auto [near, far] = Apart();
  for (const uint32_t need : {1U, 2U}) {
    World w;
    SavedOpen(w, near);
    SavedOpen(w, far);
    auto poll = w.t().Poll({.targets = {{near}, {far}}, .need = need, .retry = {"p1"}});
    if (need == 2) SavedReady(w, {.name = near, .signal = Bytes("near")});
    Answered<ReadyCall> ready;
    w.poller().Ready(w.t().now().mono, {.name = far, .signal = Bytes("far")}, ready);
    EXPECT_FALSE(poll->done() || ready.done());
    w.Save(SetOf(ShardOf(far)));
    {
      Table crashed;
      w.disk().Restore(crashed.poller());
      EXPECT_EQ(Ok(crashed.Get(far)).side[0].state, SemaphoreState::kNil);
      const bool taken = !w.disk().ids.empty();
      EXPECT_EQ(poll->done(), taken);
      EXPECT_EQ(Ok(crashed.Get(near)).side[0].state,
                need == 2 && !taken ? SemaphoreState::kReady : SemaphoreState::kNil);
    }
    w.Save();
    EXPECT_EQ(OutcomeOf(poll), Outcome::kReady);
    w.Crash();
    EXPECT_EQ(Ok(w.t().Get(far)).side[0].state, SemaphoreState::kNil);
    auto again =
        w.t().Poll({.targets = {{near}, {far}}, .need = need, .retry = {"p1", seconds(1)}});
    ASSERT_TRUE(again->done());
    const PollResult& result = Ok(again->result());
    EXPECT_EQ(result.targets.size(), need);
    EXPECT_EQ(*result.targets.back().result(result.parked).signal, "far");
  }
}

TEST(Save, APollThatIsClosedWaitsForTheClose) {
  const auto [near, far] = Apart();
  World w;
  SavedOpen(w, near);
  SavedOpen(w, far);
  auto poll = w.t().Poll({{near}, {far}}, 2);
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = far}, close);
  EXPECT_FALSE(poll->done());
  w.Save();
  EXPECT_EQ(OutcomeOf(poll), Outcome::kClosed);
}

TEST(Save, WhatCameAndWentUnsavedIsNotWritten) {
  World w;
  Answered<OpenCall> open;
  Answered<CloseCall> close;
  w.poller().Open(w.t().now().mono, {.name = "a"}, open);
  w.poller().Close(w.t().now().mono, {.name = "a"}, close);
  w.Save();
  EXPECT_TRUE(open.done() && close.done());
  EXPECT_TRUE(w.disk().descs.empty());
  const int writes = w.disk().writes;  // of the generation that was used
  // A cancelled wait with an id leaves nothing to be written but the name that it opened.
  auto wait = w.t().Wait(WaitWith("b", "w1"));
  w.Save();
  w.poller().Cancel(*wait);
  w.Save();
  EXPECT_TRUE(wait->done());
  EXPECT_EQ(w.disk().writes, writes + 1);
}

TEST(Save, AnEphemeralNameEndsWithTheProcess) {
  World w;
  OpenArgs args{.name = "a"};
  args.options.ephemeral = true;
  Answered<OpenCall> open;
  w.poller().Open(w.t().now().mono, args, open);
  w.Save();
  EXPECT_EQ(w.disk().descs.size(), 1U);
  w.Crash();
  EXPECT_EQ(ReasonOf(w.t().Get("a")), Reason::kNoDescriptor);
  w.Save();
  EXPECT_TRUE(w.disk().descs.empty());
}

TEST(Save, AFailedStoreAnswersNothingAsDone) {
  const auto [near, far] = Apart();
  World w;
  SavedOpen(w, near);
  SavedOpen(w, far);
  Answered<ReadyCall> ready;
  Answered<ListCall> list;
  auto parked = w.t().Wait(far);
  w.poller().Ready(w.t().now().mono, {.name = near}, ready);
  w.poller().List({}, list);
  w.poller().FailStore();
  EXPECT_TRUE(ready.done() && parked->done() && list.done());
  EXPECT_EQ(ReasonOf(ready.result()), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(parked->result()), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(list.result()), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(w.t().Ready(near)), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(w.t().Get(near)), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(w.t().List({})), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(w.t().Close(near)), Reason::kStoreFailed);
  EXPECT_EQ(ReasonOf(w.t().Poll({{near}})->result()), Reason::kStoreFailed);
  EXPECT_EQ(w.poller().waiters(), 0U);
}

TEST(Save, AFullDiskRefusesWhatNeedsRoomAndKeepsWhatIsThere) {
  World w;
  SavedOpen(w, "a");
  SavedOpen(w, "b");
  SavedReady(w, {.name = "b", .retry = {"r1"}});
  auto former = w.t().Wait({.name = "a", .timeout = seconds(1), .retry = {"w1"}});
  w.poller().SetFull(true);
  // What was done is answered again, and a wait that is parked may be taken over.
  Answered<ReadyCall> again;
  w.poller().Ready(w.t().now().mono, {.name = "b", .retry = {"r1"}}, again);
  EXPECT_EQ(Ok(again.result()).effect, ReadyEffect::kRemembered);
  auto parked = w.t().Wait({.name = "a", .timeout = seconds(1), .retry = {"w1"}});
  EXPECT_EQ(ReasonOf(former->result()), Reason::kTakenOver);
  EXPECT_EQ(ReasonOf(w.t().Ready("a")), Reason::kLimitDisk);
  EXPECT_EQ(ReasonOf(w.t().Open("c")), Reason::kLimitDisk);
  EXPECT_EQ(ReasonOf(w.t().Wait("b")->result()), Reason::kLimitDisk);
  EXPECT_EQ(ReasonOf(w.t().Poll({{"b"}})->result()), Reason::kLimitDisk);
  Ok(w.t().Get("a"));
  Answered<CloseCall> close;
  w.poller().Close(w.t().now().mono, {.name = "b"}, close);
  w.Save();
  EXPECT_TRUE(close.done());
  w.t().Advance(seconds(1));
  w.Save();
  EXPECT_EQ(OutcomeOf(parked), Outcome::kTimedOut);
  w.poller().SetFull(false);
  EXPECT_EQ(SavedReady(w, {.name = "a"}).effect, ReadyEffect::kRemembered);
}

// Readys one after the other on each name, each until its answer is known, waits and polls with
// ids, likewise; saves and crashes in between. Each signal arrives exactly once.
class CrashRun {
 public:
  explicit CrashRun(uint32_t seed) : random_(seed), world_(Options()) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      Step();
      if (Chance(4)) world_.Save(Chance(2) ? ~ShardSet{0} : SetOf(ShardOf(kNames[random_() % 4])));
      if (Chance(60)) Crash(Chance(2));
    }
    for (int i = 0; i < 4; ++i) {  // everything ends that can
      for (size_t n = 0; n < kNames.size(); ++n) {
        Deliver(n);
        Await(n);
      }
      world_.Save();
      Gather();
      Crash(false);
    }
    for (const auto& [signal, times] : delivered_) EXPECT_EQ(times, 1) << signal;
    EXPECT_EQ(delivered_.size(), static_cast<size_t>(acknowledged_));
    EXPECT_GT(acknowledged_, steps / 40);
  }

 private:
  static constexpr std::array<const char*, 4> kNames = {"a", "b", "c", "d"};

  struct Sender {
    int number = 0;
    bool known = true;  // the answer of the last one
    std::unique_ptr<Answered<ReadyCall>> call;
    std::string signal, id;
    bool arrived = true;
  };
  struct Waiter {
    std::unique_ptr<TestWait> wait;
    std::unique_ptr<TestPoll> poll;
    int number = 0;
    std::string id;
    bool open = false;
  };

  static Poller::Options Options() { return {}; }
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }

  void Step() {
    const size_t n = random_() % kNames.size();
    if (Chance(2)) {
      Deliver(n);
    } else {
      Await(n);
    }
    Gather();
  }

  // The next signal of a name, when the one before has arrived.
  void Deliver(size_t n) {
    Sender& s = senders_[n];
    if (s.call != nullptr || (s.known && !s.arrived)) return;
    if (s.known) {
      s.signal = std::string(kNames[n]) + std::to_string(++s.number);
      s.id = "r" + std::to_string(s.number);
      s.known = s.arrived = false;
    }
    s.call = std::make_unique<Answered<ReadyCall>>();
    world_.poller().Ready(world_.t().now().mono,
                          {.name = kNames[n],
                           .signal = Bytes(s.signal),
                           .open_if_missing = &any_,
                           .retry = {s.id, milliseconds(1)}},
                          *s.call);
  }

  // A wait on a name, or a poll on it and its neighbour, with the id of the last one until that has
  // its answer.
  void Await(size_t n) {
    Waiter& w = waiters_[n];
    if (w.wait != nullptr || w.poll != nullptr) return;
    if (!w.open) {
      w.id = "w" + std::to_string(++w.number);
      w.open = true;
    }
    if (w.number % 3 == 0 && n + 1 < kNames.size()) {
      w.poll = world_.t().Poll({.targets = {{kNames[n]}, {kNames[n + 1]}},
                                .timeout = Nanos(0),
                                .open_if_missing = &any_,
                                .retry = {w.id, milliseconds(1)}});
    } else {
      WaitArgs args = WaitWith(kNames[n], w.id, milliseconds(1));
      if (w.number % 3 == 1) args.timeout = Nanos(0);
      w.wait = world_.t().Wait(args);
    }
  }

  void Gather() {
    for (Sender& s : senders_) {
      if (s.call == nullptr || !s.call->done()) continue;
      s.call.reset();
      s.known = true;
      ++acknowledged_;
    }
    for (Waiter& w : waiters_) {
      if (w.wait != nullptr && w.wait->done()) {
        Note(w, w.wait->result());
        w.wait.reset();
      } else if (w.poll != nullptr && w.poll->done()) {
        if (const auto* const result = std::get_if<PollResult>(&w.poll->result())) {
          for (const auto& target : result->targets) Arrived(target.result(result->parked));
          w.open = false;
        }
        w.poll.reset();
      }
    }
  }

  void Note(Waiter& w, const Result<WaitResult>& result) {
    if (const auto* const ended = std::get_if<WaitResult>(&result)) {
      Arrived(*ended);
      w.open = false;
    } else {
      // A second one on an exclusive side: it has not happened, and is tried again.
      EXPECT_EQ(std::get<Refusal>(result).reason, Reason::kDoubleWait);
    }
  }

  void Arrived(const WaitResult& result) {
    if (result.outcome != Outcome::kReady) return;
    ++delivered_[*result.signal];
    for (Sender& s : senders_) s.arrived = s.arrived || s.signal == *result.signal;
  }

  // The calls that were under way have no answer; what was written of them may be there.
  void Crash(bool written) {
    if (written) world_.Write();
    for (Sender& s : senders_) Keep(std::move(s.call));
    for (Waiter& w : waiters_) {
      Keep(std::move(w.wait));
      Keep(std::move(w.poll));
    }
    world_.Crash(milliseconds(1));
  }

  void Keep(std::unique_ptr<Effect> call) {
    if (call != nullptr) lost_.push_back(std::move(call));
  }

  std::mt19937 random_;
  World world_;
  const OpenOptions any_;
  std::array<Sender, kNames.size()> senders_;
  std::array<Waiter, kNames.size()> waiters_;
  std::map<std::string, int> delivered_;
  int acknowledged_ = 0;
  std::vector<std::unique_ptr<Effect>> lost_;
};

TEST(Save, EachSignalArrivesOnceWhateverCrashes) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    CrashRun(seed).Run(1500);
    if (HasFailure()) break;
  }
}

// A signal comes back, and its answer is forgotten, while a batch is made that may have either.
TEST(Save, ASignalThatComesBackMeanwhileIsNotInTwoPlaces) {
  World w;
  const auto [a, b] = Apart();
  SavedOpen(w, a);
  SavedOpen(w, b);
  const auto poll = w.t().Poll({.targets = {{a}, {b}}, .retry = {"id"}});
  SavedReady(w, {.name = b, .signal = Bytes("n")});
  ASSERT_TRUE(poll->done());
  w.poller().Unwritten(*poll, seconds(1));
  const auto expect_one_place = [&] {
    EXPECT_EQ(w.disk().ids.size() + w.disk().deliveries.size(), 1U);
  };
  w.Save(SetOf(ShardOf(a)), [&] {
    w.t().Advance(seconds(1));  // nobody came for it
    expect_one_place();
  });
  expect_one_place();
  w.Save(SetOf(ShardOf(b)));
  expect_one_place();
  w.Save();
  EXPECT_TRUE(w.disk().ids.empty());
  EXPECT_EQ(w.disk().deliveries.size(), 1U);
}

}  // namespace
}  // namespace waitd::core
