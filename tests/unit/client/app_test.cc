#include "client/waitctl/app.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace waitd::ctl {
namespace {

using List = std::vector<std::string>;

// What Parse said: an exit code or nothing, and the two outputs.
struct Said {
  std::optional<int> code;
  std::string out;
  std::string err;
};

Said ParseOf(std::vector<const char*> words, Args& args) {
  words.insert(words.begin(), "waitctl");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Said said;
  said.code = Parse(static_cast<int>(words.size()), words.data(), args);
  said.out = testing::internal::GetCapturedStdout();
  said.err = testing::internal::GetCapturedStderr();
  return said;
}

Args Parsed(const std::vector<const char*>& words) {
  Args args;
  const Said said = ParseOf(words, args);
  EXPECT_EQ(said.code, std::nullopt) << said.err;
  return args;
}

TEST(AppTest, WhatIsNotSaidHasADefault) {
  const Args args = Parsed({"wait", "x"});
  EXPECT_EQ(args.command, "wait");
  EXPECT_EQ(args.name, "x");
  EXPECT_EQ(args.server, "127.0.0.1:7411");
  EXPECT_EQ(args.output, "text");
  EXPECT_EQ(args.mode, "read");
  EXPECT_EQ(args.generation, 0U);
  EXPECT_EQ(args.timeout, std::nullopt);
  EXPECT_FALSE(args.must_exist);
  EXPECT_EQ(args.fail_code, std::nullopt);
}

TEST(AppTest, EachFlagIsReadWhereverItStands) {
  const Args args = Parsed({"--server=h:1", "ready", "--fail=-3", "x", "-m", "why", "--data",
                            "--file", "-o", "jsonl", "--if=waiting", "--generation=5"});
  EXPECT_EQ(args.server, "h:1");
  EXPECT_EQ(args.fail_code, -3);
  EXPECT_EQ(args.message, "why");
  EXPECT_EQ(args.data, "--file");
  EXPECT_EQ(args.file, std::nullopt);
  EXPECT_TRUE(args.json());
  EXPECT_EQ(args.only_if, "waiting");
  EXPECT_EQ(args.generation, 5U);
}

TEST(AppTest, FilesOfCredentialsAreFlagsOrVariables) {
  const std::map<const char*, std::string> variables = {{"WAITCTL_CA_FILE", "a"},
                                                        {"WAITCTL_CERT_FILE", "b"},
                                                        {"WAITCTL_KEY_FILE", "c"},
                                                        {"WAITCTL_TOKEN_FILE", "d"}};
  const auto given = [](const std::vector<const char*>& words) {
    const Credentials files = Parsed(words).credentials;
    return List{files.ca_file, files.cert_file, files.key_file, files.token_file};
  };
  const std::vector<const char*> flags = {
      "--ca-file=1", "get", "x", "--cert-file=2", "--key-file", "3", "--token-file", "4"};
  EXPECT_EQ(given({"get", "x"}), (List{"", "", "", ""}));
  EXPECT_EQ(given(flags), (List{"1", "2", "3", "4"}));
  for (const auto& [name, value] : variables) setenv(name, value.c_str(), 1);
  EXPECT_EQ(given({"get", "x"}), (List{"a", "b", "c", "d"}));
  EXPECT_EQ(given(flags), (List{"1", "2", "3", "4"}));
  unsetenv("WAITCTL_CA_FILE");
  Args args;
  EXPECT_NE(ParseOf({"get", "x"}, args).err.find("needs --ca-file"), std::string::npos);
  for (const auto& [name, value] : variables) unsetenv(name);
}

TEST(AppTest, NamesAndLabelsAreLiteral) {
  for (const List& names : {List{"[a,b]"}, List{"{}"}, List{"[]", "[a]"}, List{"", "%%"},
                            List{"wait", "ls", "poll"}, List{"-x", "++", "--"}}) {
    std::vector<const char*> words = {"poll", "--"};
    for (const std::string& each : names) words.push_back(each.c_str());
    EXPECT_EQ(Parsed(words).names, names);
  }
  EXPECT_EQ(Parsed({"open", "x", "--label", "[a=1,b=2]", "--label={}"}).labels,
            (List{"[a=1,b=2]", "{}"}));
}

TEST(AppTest, TheCommandToRunIsLiteral) {
  for (const List& program :
       {List{"a"}, List{"[a,b]"}, List{"{}", "[]"}, List{"a", "--", "-o", "json", "", "--ttl"}}) {
    std::vector<const char*> words = {"exec", "[n]", "--ttl", "1s", "--"};
    for (const std::string& each : program) words.push_back(each.c_str());
    const Args args = Parsed(words);
    EXPECT_EQ(args.program, program);
    EXPECT_EQ(args.name, "[n]");
    EXPECT_EQ(args.ttl, "1s");
  }
  EXPECT_TRUE(Parsed({"wait", "x"}).program.empty());
}

TEST(AppTest, AHandOffIsNamedByItsWaitAndItsNumber) {
  const Args args = Parsed({"ack", "x", "--wait-id", "a b", "--delivery=18446744073709551615",
                            "--generation", "7", "--mode=write"});
  EXPECT_EQ(args.wait_id, "a b");
  EXPECT_EQ(args.delivery, 18446744073709551615U);
  EXPECT_EQ(args.generation, 7U);
  EXPECT_EQ(args.mode, "write");
  EXPECT_EQ(Parsed({"wait", "x", "--ack-timeout", "30s"}).ack_timeout, "30s");
  EXPECT_EQ(Parsed({"wait", "x"}).ack_timeout, std::nullopt);
}

TEST(AppTest, WrongUsageIsOneLineAndExitCode2) {
  const std::vector<std::vector<const char*>> cases = {
      {},
      {"wait"},
      {"get", "a", "b"},
      {"wait", "x", "--kind", "queue"},
      {"wait", "x", "--kind="},
      {"wait", "x", "--generation", "-1"},
      {"poll"},
      {"poll", "a", "--need", "0"},
      {"poll", "a", "--need", "1001"},
      {"poll", "a", "--need", "1", "--all"},
      {"ready", "x", "--fail=off"},
      {"ready", "x", "-m", "why"},
      {"ready", "x", "--data", "a", "--file", "b"},
      {"deadline", "x", "1s", "--only-later", "--arm-or-extend"},
      {"ack", "x", "--wait-id", "a", "--generation", "1"},
      {"ack", "x", "--delivery", "1", "--generation", "1"},
      {"ack", "x", "--wait-id", "a", "--delivery", "1"},
      {"ack", "x", "--wait-id", "a", "--delivery", "1", "--generation", "0"},
      {"ack", "x", "--wait-id=", "--delivery", "1", "--generation", "1"},
      {"exec", "x", "--", "a"},
      {"bench", "--waits", "0"},
      {"bench", "--waits", "1000001"},
      {"bench", "--seconds", "3601"},
      {"completion", "tcsh"},
      {"get", "x", "-o", "yaml"},
      {"get", "x", "--server="},
      {"get", "x", "--ca-file="},
      {"get", "x", "--ca-file", "a", "--cert-file", "b"},
      {"get", "x", "--ca-file", "a", "--key-file", "b"},
      {"get", "x", "--cert-file", "a", "--key-file", "b"},
  };
  for (std::vector<const char*> words : cases) {
    Args args;
    const Said said = ParseOf(words, args);
    EXPECT_EQ(said.code, 2);
    EXPECT_EQ(said.out, "");
    EXPECT_TRUE(said.err.starts_with("waitctl: ") && said.err.find('\n') == said.err.size() - 1 &&
                said.err.find(';') != std::string::npos)
        << said.err;
    if (!words.empty() && words.back() == std::string("yaml")) continue;
    words.insert(words.begin(), {"-o", "json"});
    EXPECT_TRUE(ParseOf(words, args)
                    .err.starts_with(R"({"error":{"code":"INVALID_ARGUMENT","reason":"USAGE")"))
        << said.err;
  }
}

TEST(AppTest, HelpBeginsWithExamples) {
  Args args;
  const Said whole = ParseOf({"--help"}, args);
  EXPECT_EQ(whole.code, 0);
  EXPECT_TRUE(whole.out.starts_with("Examples:\n")) << whole.out;
  for (const char* command :
       {"wait", "poll", "ready", "deadline", "open", "close", "reset", "get", "ls", "watch", "ack",
        "exec", "bench", "health", "version", "completion"}) {
    const Said said = ParseOf({command, "-h"}, args);
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_TRUE(said.out.starts_with("Examples:\n")) << said.out;
    EXPECT_NE(said.out.find(std::string("Usage: waitctl ") + command), std::string::npos);
    EXPECT_NE(whole.out.find(std::string("\n  ") + command + " "), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace waitd::ctl
