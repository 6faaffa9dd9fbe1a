// What is remembered of calls with ids, and what is forgotten first.
#include "core/ids.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <string>
#include <variant>
#include <vector>

#include "core/fingerprint.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

using std::chrono::minutes;

ReadyArgs ReadyAs(std::string_view id, std::string_view name, Nanos sent_ago = Nanos(0)) {
  return {.name = name, .retry = {.id = id, .sent_ago = sent_ago}};
}

bool Knows(Table& t, std::string_view id, std::string_view name, Nanos sent_ago) {
  return std::holds_alternative<ReadyResult>(t.Ready(ReadyAs(id, name, sent_ago)));
}

// The ids x0 to x3 of a name.
void RememberFour(Table& t, std::string_view name) {
  for (int i = 0; i < 4; ++i) {
    const std::string id = "x" + std::to_string(i);
    Ok(t.Ready(ReadyAs(id, name)));
  }
}

TEST(Outcomes, TheOldestOfAllShardsGoesFirst) {
  Table t({.max_outcomes = 4});
  const auto [x, y] = Apart();
  Ok(t.Open(x));
  Ok(t.Open(y));
  RememberFour(t, x);
  t.Advance(minutes(5));
  Ok(t.Ready(ReadyAs("y", y)));
  t.Advance(milliseconds(1));
  EXPECT_EQ(Count(t).outcomes, 4U);
  EXPECT_EQ(Count(t).outcomes_dropped, 1U);
  EXPECT_TRUE(Knows(t, "y", y, milliseconds(1))) << "it is the newest of all";
  EXPECT_TRUE(Knows(t, "x1", x, minutes(5)));
  EXPECT_FALSE(Knows(t, "x0", x, minutes(5)));
}

TEST(Outcomes, ABusyNameRefusesNoRetryOfAnother) {
  Table t({.max_outcomes = 4});
  const auto [x, y] = Apart();
  Ok(t.Open(x));
  Ok(t.Open(y));
  RememberFour(t, x);
  t.Advance(minutes(1));
  for (int i = 0; i < 2; ++i) {
    const std::string id = "a" + std::to_string(i);
    Ok(t.Ready(ReadyAs(id, y)));
    t.Advance(milliseconds(100));
    const std::string unseen = "never seen " + std::to_string(i);
    EXPECT_TRUE(std::holds_alternative<ReadyResult>(
        t.Ready({.name = y,
                 .condition = ReadyCondition::kWaiting,
                 .retry = {.id = unseen, .sent_ago = milliseconds(50)}})))
        << "what was forgotten is a minute older, and of another shard";
  }
}

TEST(Outcomes, CountOneForEachKiBBegun) {
  const WaitResult empty;
  const size_t overhead = SizeOf(empty);
  ASSERT_LT(overhead, 1024U);
  for (const size_t kib : {1U, 2U, 5U}) {
    for (const size_t above : {0U, 1U}) {
      Table t({.max_outcomes = 6});
      Ok(t.Open("a"));
      Ok(t.Open("b"));
      for (int i = 0; i < 5; ++i) {
        const std::string id = std::to_string(i);
        Ok(t.Ready(ReadyAs(id, "b")));
      }
      t.Pass(seconds(1));
      Ok(t.Ready("a", Mode::kRead, std::string(kib * 1024 - overhead + above, 'x')));
      ASSERT_TRUE(t.Wait(WaitAs("w"))->done());
      const uint64_t weight = kib + above;
      const uint64_t dropped = weight > 1 ? weight - 1 : 0;
      EXPECT_EQ(Count(t).outcomes_dropped, dropped) << kib << " KiB and " << above;
    }
  }
}

TEST(Outcomes, OneThatIsLargerThanAllRoomIsForgottenAtOnce) {
  Table t({.max_outcomes = 2});
  Ok(t.Open("a"));
  Ok(t.Ready("a", Mode::kRead, std::string(4096, 'x')));
  ASSERT_TRUE(t.Wait(WaitAs("w"))->done());
  EXPECT_EQ(Count(t).outcomes, 0U);
  EXPECT_EQ(RefusedAs(t.Wait(WaitAs("w", "a", milliseconds(1)))), Reason::kOutcomeUnknown);
}

TEST(Outcomes, LabelsOfAnOpenCount) {
  OpenResult plain;
  OpenResult labelled;
  labelled.descriptor.labels = {{"key", std::string(1024, 'v')}};
  EXPECT_GE(SizeOf(labelled), SizeOf(plain) + 1024);
  PollResult poll;
  const size_t none = SizeOf(poll);
  WaitResult taken;
  taken.signal = Bytes("12345678");
  poll.targets.emplace_back(0U, taken);
  EXPECT_EQ(SizeOf(poll), none + sizeof(PollResult::Target) + 8);
}

TEST(Retention, WithoutEndForgetsNothing) {
  for (const Nanos retention : {kForever, Nanos::max() - Nanos(1), Nanos::max() - seconds(6)}) {
    Table t({.retention = retention});
    Ok(t.Open("a"));
    Ok(t.Ready(ReadyAs("r", "a")));
    t.Advance(hours(24) * 365 * 100);
    EXPECT_EQ(Count(t).outcomes, 1U);
    EXPECT_EQ(Ok(t.Ready(ReadyAs("r", "a", hours(24) * 365 * 100))).effect,
              ReadyEffect::kRemembered)
        << "the first answer";
  }
}

TEST(Retention, ForgetsAtItsInstantAndNotBefore) {
  Table t({.retention = minutes(10)});
  Ok(t.Open("a"));
  Ok(t.Ready(ReadyAs("r", "a")));
  Ok(t.Ready(ReadyAs("s", "a")));
  t.Advance(minutes(10));
  EXPECT_EQ(Ok(t.Ready(ReadyAs("r", "a", minutes(10)))).effect, ReadyEffect::kRemembered);
  t.Advance(seconds(5) - Nanos(1));
  EXPECT_EQ(Count(t).outcomes, 2U);
  t.Advance(Nanos(1));
  EXPECT_EQ(Count(t).outcomes, 0U);
  EXPECT_EQ(ReasonOf(t.Ready(ReadyAs("r", "a", minutes(10) + seconds(5)))),
            Reason::kOutcomeUnknown);
}

TEST(MaxWaitWithAnId, IsNoOutcomeAndTheSameIdWaitsAnew) {
  Table t({.max_wait = seconds(1), .retention = hours(1)});
  Ok(t.Open("a"));
  const auto wait = t.Wait(WaitAs("w"));
  t.Advance(seconds(2));
  EXPECT_EQ(ResultOf(wait).cause, TimeoutCause::kMaxWait);
  EXPECT_EQ(Count(t).outcomes, 0U);
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Wait(WaitAs("w"))), Outcome::kReady);
  const auto poll = t.Poll({.targets = {{"a"}}, .retry = {.id = "p"}});
  t.Advance(seconds(2));
  EXPECT_EQ(OutcomeOf(poll), Outcome::kTimedOut);
  Ok(t.Ready("a"));
  EXPECT_EQ(OutcomeOf(t.Poll({.targets = {{"a"}}, .retry = {.id = "p"}})), Outcome::kReady);
}

// Two calls with one id are one call only if they ask for the same.
TEST(Content, TellsAllThatACallAsksFor) {
  const OpenOptions any;
  OpenOptions fifo;
  fifo.kind = Kind::kFifo;
  OpenOptions labelled;
  labelled.labels = {{"k", "v"}};
  OpenOptions brief;
  brief.idle_ttl = seconds(1);
  OpenOptions ephemeral;
  ephemeral.ephemeral = true;
  const auto all_differ = [](std::vector<uint64_t> contents) {
    std::sort(contents.begin(), contents.end());
    return std::adjacent_find(contents.begin(), contents.end()) == contents.end();
  };
  EXPECT_TRUE(all_differ(
      {ContentOf(OpenArgs{.name = "a"}), ContentOf(OpenArgs{.name = "b"}),
       ContentOf(OpenArgs{.name = "a", .must_create = true}),
       ContentOf(OpenArgs{.name = "a", .options = fifo}),
       ContentOf(OpenArgs{.name = "a", .options = labelled}),
       ContentOf(OpenArgs{.name = "a", .options = brief}),
       ContentOf(OpenArgs{.name = "a", .options = ephemeral}), ContentOf(CloseArgs{.name = "a"}),
       ContentOf(CloseArgs{.name = "a", .generation = 1}), ContentOf(ResetArgs{.name = "a"}),
       ContentOf(ResetArgs{.name = "a", .mode = Mode::kWrite}),
       ContentOf(ResetArgs{.name = "a", .generation = 1})}));
  EXPECT_TRUE(all_differ({ContentOf(WaitArgs{.name = "a"}),
                          ContentOf(WaitArgs{.name = "a", .side = Side::kWrite}),
                          ContentOf(WaitArgs{.name = "a", .generation = 1}),
                          ContentOf(WaitArgs{.name = "a", .ignore_deadline = true}),
                          ContentOf(WaitArgs{.name = "a", .open_if_missing = &any}),
                          ContentOf(WaitArgs{.name = "a", .open_if_missing = &fifo}),
                          ContentOf(WaitArgs{.name = "a", .ack_timeout = seconds(1)}),
                          ContentOf(WaitArgs{.name = "a", .ack_timeout = seconds(2)})}));
  EXPECT_EQ(ContentOf(WaitArgs{.name = "a", .timeout = seconds(1)}),
            ContentOf(WaitArgs{.name = "a"}))
      << "how long it waits is not in it";
  EXPECT_TRUE(all_differ({ContentOf(ReadyArgs{.name = "a"}),
                          ContentOf(ReadyArgs{.name = "a", .mode = Mode::kWrite}),
                          ContentOf(ReadyArgs{.name = "a", .generation = 1}),
                          ContentOf(ReadyArgs{.name = "a", .signal = Bytes("x")}),
                          ContentOf(ReadyArgs{.name = "a", .condition = ReadyCondition::kWaiting}),
                          ContentOf(ReadyArgs{.name = "a", .open_if_missing = &any})}));
  using What = SetDeadlineArgs::What;
  EXPECT_TRUE(all_differ(
      {ContentOf(SetDeadlineArgs{.name = "a"}),
       ContentOf(SetDeadlineArgs{.name = "a", .mode = Mode::kWrite}),
       ContentOf(SetDeadlineArgs{.name = "a", .generation = 1}),
       ContentOf(SetDeadlineArgs{.name = "a", .what = What::kTimeout}),
       ContentOf(SetDeadlineArgs{.name = "a", .what = What::kAt}),
       ContentOf(SetDeadlineArgs{.name = "a", .what = What::kAt, .at = WallTime(seconds(1))}),
       ContentOf(SetDeadlineArgs{.name = "a", .condition = DeadlineCondition::kOnlyLater}),
       ContentOf(SetDeadlineArgs{.name = "a", .open_if_missing = &any})}));
  EXPECT_TRUE(all_differ({ContentOf(PollArgs{.targets = {{"a"}}}),
                          ContentOf(PollArgs{.targets = {{"a"}, {"b"}}}),
                          ContentOf(PollArgs{.targets = {{"b"}, {"a"}}}),
                          ContentOf(PollArgs{.targets = {{"a"}, {"b"}}, .need = 2}),
                          ContentOf(PollArgs{.targets = {{"a", Side::kWrite}}}),
                          ContentOf(PollArgs{.targets = {{"a", Side::kRead, 1}}}),
                          ContentOf(PollArgs{.targets = {{"a"}}, .open_if_missing = &any}),
                          ContentOf(PollArgs{.targets = {{"a"}}, .ack_timeout = seconds(1)})}));
}

// Calls that ask for something else and have the same number: whoever knows the fingerprint can
// make them. Their ids are reused, and nothing else comes of it.
class SameNumber : public testing::Test {
 protected:
  // Sixteen letters and figures that bring the fingerprint from `before` to 0.
  template <class Fits>
  static std::string NameToZero(const Fingerprint& before, Fits fits) {
    for (uint64_t i = 0;; ++i) {
      std::array<char, 9> begin{};
      std::snprintf(begin.data(), begin.size(), "%08llx", static_cast<unsigned long long>(i));
      uint64_t word = 0;
      std::memcpy(&word, begin.data(), sizeof word);
      constexpr uint64_t kBehindSize = 16 + 0xD1B54A32D192ED03U;
      const uint64_t state = Fingerprint(before).Add(kBehindSize).Add(word).value();
      std::string end(sizeof state, ' ');
      std::memcpy(end.data(), &state, sizeof state);
      const std::string name = begin.data() + end;
      const bool readable =
          std::all_of(end.begin(), end.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
      if (readable && fits(name)) return name;
    }
  }
  static Fingerprint Begin(uint64_t what, std::string_view name, uint64_t generation) {
    Fingerprint content;
    content.Add(what).Add(name).Add(generation);
    return content;
  }
  static constexpr uint64_t kWait = 3;
  static constexpr uint64_t kPoll = 6;

  Table t;
};

TEST_F(SameNumber, AnIdOfAWaitIsNotAPolls) {
  const std::string name =
      NameToZero(Fingerprint().Add(kWait), [](const std::string&) { return true; });
  const uint64_t generation = Begin(kPoll, {}, 1).Add(name).Add(uint64_t{0}).value();
  const WaitArgs wait{.name = name, .retry = {.id = "w"}};
  const PollArgs poll{.targets = {{.name = name, .generation = generation}}, .retry = {.id = "w"}};
  ASSERT_EQ(ContentOf(wait), ContentOf({.targets = poll.targets, .need = 1}));
  Ok(t.Open(name));
  const auto parked = t.Wait(wait);
  EXPECT_EQ(ReasonOf(t.Poll(poll)->result()), Reason::kIdReused);
  Ok(t.Ready(name));
  EXPECT_EQ(OutcomeOf(parked), Outcome::kReady);
  EXPECT_EQ(ReasonOf(t.Poll(poll)->result()), Reason::kIdReused);
}

TEST_F(SameNumber, ARepeatedPollTakesTheLocksOfItsAnswer) {
  const auto [x, z] = Apart();
  const Fingerprint before = Begin(kPoll, {}, 2).Add(x).Add(uint64_t{0}).Add(uint64_t{0});
  const std::string y = NameToZero(before, [&x = x, &z = z](const std::string& name) {
    return ShardOf(name) != ShardOf(x) && ShardOf(name) != ShardOf(z);
  });
  const uint64_t generation = Fingerprint(before).Add(z).Add(uint64_t{0}).value();
  const PollArgs one{.targets = {{x}, {y}}, .need = 2, .retry = {.id = "w"}};
  const PollArgs other{
      .targets = {{x}, {.name = z, .generation = generation}}, .need = 2, .retry = {.id = "w"}};
  ASSERT_EQ(ContentOf(one), ContentOf(other));
  for (const std::string& name : {x, y, z}) Ok(t.Open(name));
  const auto first = t.Poll(one);
  t.poller().Abandon(*first);
  Ok(t.Ready(x));
  Ok(t.Ready(y));
  ASSERT_EQ(Count(t).deliveries, 2U) << "they are kept";
  const uint64_t holds = t.clock().reads;
  const auto second = t.Poll(other);
  EXPECT_EQ(t.clock().reads - holds, 2U) << "under its own locks, and then y's as well";
  EXPECT_EQ(OutcomeOf(second), Outcome::kReady) << "it has the answer of its number";
}

}  // namespace
}  // namespace waitd::core
