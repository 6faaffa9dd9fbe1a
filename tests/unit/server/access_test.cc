#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/access/denials.h"
#include "server/access/gate.h"
#include "server/access/rules.h"
#include "server/access/tokens.h"

namespace waitd::server {
namespace {

std::shared_ptr<const Rules> RulesOf(std::string_view text) {
  auto rules = Rules::Parse(text);
  EXPECT_TRUE(rules.ok()) << rules.status();
  return rules.ok() ? *std::move(rules) : nullptr;
}

std::string FaultOf(std::string_view text) {
  return std::string(Rules::Parse(text).status().message());
}

TEST(Rules, AllowWhatALineSaysAndNothingElse) {
  const auto rules = RulesOf(
      "# who  where  what\n"
      "\n"
      "ci\tteam-a/  wait,ready   # both\r\n"
      "ci other/ list\n"
      "root * wait,ready,deadline,open,list,admin");
  EXPECT_TRUE(rules->Allow("ci", Right::kWait, "team-a/1"));
  EXPECT_TRUE(rules->Allow("ci", Right::kReady, "team-a/1"));
  EXPECT_FALSE(rules->Allow("ci", Right::kOpen, "team-a/1"));
  EXPECT_FALSE(rules->Allow("ci", Right::kList, "team-a/1")) << "that is of another line";
  EXPECT_FALSE(rules->Allow("ci", Right::kWait, "team-admin"));
  EXPECT_FALSE(rules->Allow("ci", Right::kWait, "team-a"));
  EXPECT_FALSE(rules->Allow("ci", Right::kAdmin, ""));
  EXPECT_FALSE(rules->Allow("c", Right::kWait, "team-a/1"));
  EXPECT_FALSE(rules->Allow("", Right::kWait, "team-a/1"));
  EXPECT_TRUE(rules->Allow("root", Right::kDeadline, "team-admin"));
  EXPECT_TRUE(rules->Allow("root", Right::kAdmin, ""));
  EXPECT_FALSE(RulesOf("")->Allow("ci", Right::kWait, "x"));
}

TEST(Rules, NameSomeOfManyPrefixes) {
  std::string text;
  for (int i = 0; i < 100; ++i)
    text += "a " + std::string(400, 'p') + std::to_string(i) + "/ wait\n";
  const auto rules = Rules::Parse(text);
  ASSERT_TRUE(rules.ok()) << rules.status();
  const std::string list = (*rules)->PrefixesOf("a", Right::kWait);
  EXPECT_LT(list.size(), 1100U) << "which has to fit into a status";
  EXPECT_TRUE(list.ends_with(", and 98 more")) << list;
}

TEST(Rules, SayWhichLineIsWrongAndHow) {
  EXPECT_EQ(FaultOf("\nci build/"),
            "line 2: not `IDENTITY PREFIX RIGHT[,RIGHT...]`, as in `ci build/ wait,ready,open`");
  EXPECT_NE(FaultOf("ci build/ wait, ready").find("line 1: not `IDENTITY"), std::string::npos);
  EXPECT_EQ(FaultOf("ci build wait"),
            "line 1: the prefix 'build' does not end at a /; give 'build/', or * for every name");
  EXPECT_EQ(FaultOf("ci build/ wait,write"),
            "line 1: there is no right 'write'; give some of wait, ready, deadline, open, list, "
            "admin");
  EXPECT_NE(FaultOf("ci build/ wait,").find("there is no right ''"), std::string::npos);
  EXPECT_NE(FaultOf("ci build/ admin").find("give it with the prefix *"), std::string::npos);
  EXPECT_NE(FaultOf(std::string(257, 'i') + " * wait").find("an identity is"), std::string::npos);
}

TEST(Tokens, AreFoundByTheirHash) {
  // The SHA-256 of "abc", as FIPS 180-2 gives it.
  const std::string hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const auto tokens = Tokens::Parse("ci " + hash + "\n");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_NE((*tokens)->Find("abc"), nullptr);
  EXPECT_EQ((*tokens)->Find("abc")->name, "ci");
  // The first eight bytes of the SHA-256 of "ci".
  EXPECT_EQ((*tokens)->Find("abc")->number, 0x1b158839f8aa339e);
  EXPECT_TRUE((*tokens)->Knows("ci"));
  EXPECT_FALSE((*tokens)->Knows("abc"));
  EXPECT_EQ((*tokens)->Find("abd"), nullptr);
  EXPECT_EQ((*tokens)->Find(hash), nullptr);
  EXPECT_EQ((*tokens)->Find(""), nullptr);
}

TEST(Tokens, NeverShowWhatStandsInTheFile) {
  const auto tokens = Tokens::Parse("ci sesame\n");
  EXPECT_NE(tokens.status().message().find("line 1: not `IDENTITY HASH`"), std::string::npos);
  EXPECT_EQ(tokens.status().message().find("sesame"), std::string::npos);
}

TEST(Tokens, BelongToOne) {
  const std::string hash(64, 'a');
  EXPECT_TRUE(Tokens::Parse("a " + hash + "\na " + hash).ok());
  EXPECT_FALSE(Tokens::Parse("a " + hash + "\nb " + hash).ok());
}

TEST(Rules, ReachANameByAnyRightToIt) {
  const auto rules = RulesOf("ci a/ ready\nroot * admin\nall * list");
  EXPECT_TRUE(rules->Reaches("ci", "a/1"));
  EXPECT_FALSE(rules->Reaches("ci", "b/1"));
  EXPECT_FALSE(rules->Reaches("root", "a/1")) << "admin is a right to no name";
  EXPECT_TRUE(rules->Reaches("all", "b/1"));
  EXPECT_FALSE(rules->Reaches("nobody", "a/1"));
}

TEST(Rules, OfSomeAreTheirsAlone) {
  const auto all = RulesOf("a x/ wait\nb x/ wait\na y/ list");
  const auto some = all->Of([](const std::string& identity) { return identity == "a"; });
  EXPECT_TRUE(some->Allow("a", Right::kWait, "x/1"));
  EXPECT_TRUE(some->Allow("a", Right::kList, "y/1"));
  EXPECT_FALSE(some->Knows("b"));
  EXPECT_EQ(all->ChangedIn(*some), std::vector<std::string>{"b"});
  EXPECT_EQ(some->ChangedIn(*all), std::vector<std::string>{});
  EXPECT_EQ(all->ChangedIn(*RulesOf("a x/ wait,list\nb x/ wait\na y/ list")),
            std::vector<std::string>{"a"});
}

TEST(LostRights, AreTheRightsToWaitThatAreGone) {
  class Seen final : public LostRights {
   public:
    using LostRights::Concerns;
    using LostRights::Denies;
    using LostRights::LostRights;
  };
  const auto former = RulesOf("a x/ wait\na y/ wait\nb * wait\nc x/ wait");
  const auto now = RulesOf("a x/ wait\na y/ ready\nb * wait");
  const Seen seen(*former, *now);
  const auto number = [](const char* name) { return MakeIdentity(name).number; };
  EXPECT_TRUE(seen.Concerns(number("a")));
  EXPECT_FALSE(seen.Concerns(number("b")));
  EXPECT_TRUE(seen.Concerns(number("c")));
  EXPECT_FALSE(seen.Denies(number("a"), "x/1"));
  EXPECT_TRUE(seen.Denies(number("a"), "y/1"));
  EXPECT_TRUE(seen.Denies(number("c"), "x/1"));
}

TEST(Visitor, IsToldThatANameIsMissingWhereItHasNoRightToIt) {
  const Visitor visitor{"ci", 1, RulesOf("ci a/ wait,list\nci b/ wait")};
  EXPECT_EQ(visitor.Check(Right::kWait, "a/1"), std::nullopt);
  EXPECT_EQ(visitor.Check(Right::kReady, "a/1")->reason, "FORBIDDEN");
  EXPECT_EQ(visitor.Check(Right::kReady, "b/1")->reason, "FORBIDDEN");
  EXPECT_EQ(visitor.Check(Right::kReady, "c/1")->reason, "NO_DESCRIPTOR");
  EXPECT_EQ(visitor.CheckOpenly(Right::kOpen, "c/1")->reason, "FORBIDDEN");
  EXPECT_EQ(Visitor().Check(Right::kReady, "b/1"), std::nullopt) << "nobody is told from anybody";
}

TEST(Visitor, IsShownBesideWhatItCallsItself) {
  EXPECT_EQ(Visitor{.identity = "ci"}.ShownAs("worker 7"), "ci (worker 7)");
  EXPECT_EQ(Visitor{}.ShownAs("worker 7"), "worker 7");
}

constexpr core::Instant kNow{std::chrono::seconds(1000)};

TEST(Gate, LetsEachOneAskForSoMuchASecond) {
  core::Budget budget;
  Gate gate(AuthMode::kNone, 10, budget);
  const Visitor one{.identity = "one", .payer = 1};
  const Visitor two{.identity = "two", .payer = 2};
  core::Instant now = kNow;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.Charge(one, now, 1), std::nullopt) << i;
  ASSERT_TRUE(gate.Charge(one, now, 1).has_value());
  EXPECT_EQ(gate.Charge(one, now, 1)->reason, "LIMIT_RATE");
  EXPECT_EQ(gate.Charge(two, now, 1), std::nullopt);
  now += std::chrono::milliseconds(99);
  EXPECT_TRUE(gate.Charge(one, now, 1).has_value());
  now += std::chrono::milliseconds(1);
  EXPECT_EQ(gate.Charge(one, now, 1), std::nullopt);
  EXPECT_TRUE(gate.Charge(one, now, 1).has_value());
  now += std::chrono::hours(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.Charge(one, now, 1), std::nullopt) << i;
  EXPECT_TRUE(gate.Charge(one, now, 1).has_value());
}

TEST(Gate, WhatIsMoreThanABurstPassesAloneAndIsOwed) {
  core::Budget budget;
  Gate gate(AuthMode::kNone, 10, budget);
  const Visitor one{.identity = "one", .payer = 1};
  core::Instant now = kNow;
  EXPECT_EQ(gate.Charge(one, now, 1), std::nullopt);
  EXPECT_TRUE(gate.Charge(one, now, 1000).has_value()) << "something is owed";
  EXPECT_EQ(gate.Charge(one, now, 9), std::nullopt) << "the refused one cost nothing";
  now += std::chrono::seconds(1);
  EXPECT_EQ(gate.Charge(one, now, 1000), std::nullopt);
  now += std::chrono::seconds(99);
  EXPECT_TRUE(gate.Charge(one, now, 11).has_value());
  EXPECT_TRUE(gate.Charge(one, now - std::chrono::milliseconds(1), 1).has_value());
  EXPECT_EQ(gate.Charge(one, now + std::chrono::milliseconds(100), 1), std::nullopt);
}

TEST(Gate, WhatIsNeverRefusedIsOwedForAMinuteAtMost) {
  core::Budget budget;
  Gate gate(AuthMode::kNone, 10, budget);
  const Visitor one{.identity = "one", .payer = 1};
  core::Instant now = kNow;
  for (int i = 0; i < 10; ++i) gate.Note(one, now);
  EXPECT_TRUE(gate.Charge(one, now, 1).has_value()) << "it was charged";
  for (int i = 0; i < 100'000; ++i) gate.Note(one, now);
  now += std::chrono::minutes(1);
  EXPECT_EQ(gate.Charge(one, now, 10), std::nullopt);
  EXPECT_EQ(gate.Charge(one, now + std::chrono::seconds(1), 1000), std::nullopt);
  gate.Note(one, now + std::chrono::seconds(1));
  EXPECT_TRUE(gate.Charge(one, now + std::chrono::seconds(100), 11).has_value())
      << "a larger debt stays";
}

}  // namespace
}  // namespace waitd::server
