#include <gtest/gtest.h>

#include <string>

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
  EXPECT_EQ(*(*tokens)->Find("abc"), "ci");
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

TEST(Visitor, IsToldThatANameIsMissingWhereItMayNotList) {
  const Visitor visitor{"ci", 1, RulesOf("ci a/ wait,list\nci b/ wait")};
  EXPECT_EQ(visitor.Check(Right::kWait, "a/1"), std::nullopt);
  EXPECT_EQ(visitor.Check(Right::kReady, "a/1")->reason, "FORBIDDEN");
  EXPECT_EQ(visitor.Check(Right::kReady, "b/1")->reason, "NO_DESCRIPTOR");
  EXPECT_EQ(visitor.CheckOpenly(Right::kOpen, "b/1")->reason, "FORBIDDEN");
  EXPECT_EQ(Visitor().Check(Right::kReady, "b/1"), std::nullopt) << "nobody is told from anybody";
}

TEST(Gate, LetsEachOneAskForSoMuchASecond) {
  Gate gate(AuthMode::kNone, 10);
  const Visitor one{"one", 1, nullptr};
  const Visitor two{"two", 2, nullptr};
  core::Instant now{std::chrono::seconds(1000)};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.Charge(one, now), std::nullopt) << i;
  ASSERT_TRUE(gate.Charge(one, now).has_value());
  EXPECT_EQ(gate.Charge(one, now)->reason, "LIMIT_RATE");
  EXPECT_EQ(gate.Charge(two, now), std::nullopt);
  now += std::chrono::milliseconds(99);
  EXPECT_TRUE(gate.Charge(one, now).has_value());
  now += std::chrono::milliseconds(1);
  EXPECT_EQ(gate.Charge(one, now), std::nullopt);
  EXPECT_TRUE(gate.Charge(one, now).has_value());
  now += std::chrono::hours(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.Charge(one, now), std::nullopt) << i;
  EXPECT_TRUE(gate.Charge(one, now).has_value());
}

}  // namespace
}  // namespace waitd::server
