#include "client/waitctl/words.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "client/waitctl/app.h"

namespace waitd::ctl {
namespace {

using List = std::vector<std::string>;

Words SortOf(const std::vector<const char*>& words) {
  Args args;
  const auto app = MakeApp(args);
  return Sort(*app, words);
}

TEST(WordsTest, EachValueIsAWordOfItsOwnAndNamesComeLast) {
  const Words sorted = SortOf({"-o", "json", "ready", "x", "--data=", "--must-exist", "-mwhy",
                               "--fail", "--mode=write", "--file", "--data=x"});
  EXPECT_EQ(sorted.problem, "");
  EXPECT_EQ(sorted.command, "ready");
  EXPECT_EQ(sorted.output, "json");
  EXPECT_EQ(sorted.arguments,
            (List{"ready", "-o", "json", "--data", "", "--must-exist", "-m", "why", "--fail", "1",
                  "--mode", "write", "--file", "--data=x", "--", "x"}));
}

TEST(WordsTest, BehindADoubleDashEverythingIsAName) {
  EXPECT_EQ(SortOf({"poll", "a", "--", "-x", "--", "--all"}).arguments,
            (List{"poll", "--", "a", "-x", "--", "--all"}));
  EXPECT_EQ(SortOf({"get", "-"}).arguments, (List{"get", "--", "-"}));
}

TEST(WordsTest, BehindTheNameADoubleDashBeginsTheCommandToRun) {
  const Words sorted = SortOf({"wait", "x", "--timeout=1s", "--", "a", "--", "-o", "json", ""});
  EXPECT_EQ(sorted.problem, "");
  EXPECT_EQ(sorted.output, "text");
  EXPECT_EQ(sorted.arguments,
            (List{"wait", "--timeout", "1s", "--", "x", "a", "--", "-o", "json", ""}));
  EXPECT_EQ(SortOf({"wait", "--", "-x", "--", "a", "-b"}).arguments,
            (List{"wait", "--", "-x", "a", "-b"}));
  EXPECT_EQ(SortOf({"wait", "--", "--"}).arguments, (List{"wait", "--", "--"}));
  EXPECT_EQ(SortOf({"--", "wait", "x", "--", "a"}).arguments, (List{"wait", "--", "x", "a"}));
  EXPECT_EQ(SortOf({"get", "--", "x", "--"}).arguments, (List{"get", "--", "x", "--"}))
      << "what runs nothing has names alone";
}

TEST(WordsTest, ANegativeNumberIsNoFlag) {
  EXPECT_EQ(SortOf({"deadline", "x", "-5s"}).arguments, (List{"deadline", "--", "x", "-5s"}));
}

TEST(WordsTest, TheFormatIsKnownWhateverElseIsWrong) {
  EXPECT_EQ(SortOf({"wiat", "x", "--frob", "-ojsonl"}).output, "jsonl");
  EXPECT_EQ(SortOf({"--output=json"}).output, "json");
  EXPECT_EQ(SortOf({"get", "x", "--", "-o", "json"}).output, "text");
}

TEST(WordsTest, WhatIsWrongIsSaidWithAWayOut) {
  const std::vector<std::pair<std::vector<const char*>, std::string>> cases = {
      {{}, "give a command, such as: waitctl wait NAME"},
      {{"wiat"}, "there is no command wiat; did you mean waitctl wait?"},
      {{"frobnicate"}, "there is no command frobnicate"},
      {{"wait", "x", "--timeot", "3s"}, "there is no flag --timeot; did you mean --timeout?"},
      {{"wait", "x", "--timeot=3s"}, "there is no flag --timeot; did you mean --timeout?"},
      {{"--version"}, "there is no flag --version; did you mean waitctl version?"},
      {{"--need", "3"}, "there is no flag --need; a command's flags stand behind the command"},
      {{"get", "-x"}, "there is no flag -x here (a name that begins so stands behind --)"},
      {{"wait", "x", "--timeout"}, "--timeout needs a value: --timeout DURATION"},
      {{"wait", "x", "a"},
       "'a' is a word too many; what is to be run stands behind --: waitctl wait NAME -- CMD"},
      {{"wait", "--", "-x", "a"},
       "'a' is a word too many; what is to be run stands behind --: waitctl wait NAME -- CMD"},
      {{"wait", "x", "--"}, "there is nothing to run behind --; give a command"},
      {{"exec", "x", "--ttl=1s"}, "give what is to be run, behind --; see waitctl exec --help"},
      {{"wait", "x", "--must-exist=no"}, "--must-exist takes no value"},
      {{"wait", "x", "--timeout=1s", "--timeout=2s"}, "--timeout is given twice"},
  };
  for (const auto& [words, problem] : cases) EXPECT_EQ(SortOf(words).problem, problem);
  EXPECT_EQ(SortOf({"--help"}).problem, "");
  EXPECT_EQ(SortOf({"exec", "--help"}).problem, "");
  EXPECT_EQ(SortOf({"open", "x", "--label", "a=b", "--label=c=d"}).problem, "");
}

TEST(WordsTest, TheNearestIsNearForItsLength) {
  const List candidates = {"get", "ls", "wait", "watch"};
  EXPECT_EQ(Nearest("wiat", candidates), "wait");
  EXPECT_EQ(Nearest("wathc", candidates), "watch");
  EXPECT_EQ(Nearest("gt", candidates), "get");
  EXPECT_EQ(Nearest("ab", candidates), "");
  EXPECT_EQ(Nearest("", candidates), "");
  EXPECT_EQ(Nearest("deadline", candidates), "");
  EXPECT_EQ(Nearest("wait", {}), "");
}

}  // namespace
}  // namespace waitd::ctl
