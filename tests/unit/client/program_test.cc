#include "client/waitctl/program.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <optional>
#include <string>

namespace waitd::ctl {
namespace {

Interrupts& NoInterrupts() {
  static Interrupts& interrupts = *new Interrupts(true);
  return interrupts;
}

TEST(ProgramTest, WhatIsThereIsFoundAsAShellWould) {
  EXPECT_FALSE(MissingProgram("sh").has_value());
  EXPECT_FALSE(MissingProgram("/bin/sh").has_value());
  EXPECT_EQ(MissingProgram("no-such-program")->code, 127);
  EXPECT_EQ(MissingProgram("/no/such")->code, 127);
  EXPECT_EQ(MissingProgram("")->code, 127);
  EXPECT_EQ(MissingProgram("/etc/passwd")->code, 126);
  EXPECT_EQ(MissingProgram("/etc")->code, 126);
  EXPECT_FALSE(MissingProgram("/etc")->ran);
}

TEST(ProgramTest, ItsEndHasTheCodeThatShellsGiveIt) {
  const auto run = [](const char* script) {
    return RunProgram({"sh", "-c", script}, std::nullopt, NoInterrupts());
  };
  EXPECT_EQ(run("exit 0").code, 0);
  EXPECT_EQ(run("exit 0").how, "");
  EXPECT_EQ(run("exit 255").code, 255);
  EXPECT_EQ(run("exit 3").how, "ended with exit code 3");
  EXPECT_EQ(run("kill -KILL $$").code, 137);
  EXPECT_EQ(run("kill -KILL $$").how, "was ended by a signal: Killed");
  EXPECT_TRUE(run("exit 3").ran);
}

TEST(ProgramTest, ItsEndIsKnownWhereThoseOfChildrenWereIgnored) {
  (void)signal(SIGCHLD, SIG_IGN);
  EXPECT_EQ(RunProgram({"sh", "-c", "exit 7"}, std::nullopt, NoInterrupts()).code, 7);
}

TEST(ProgramTest, WhatCannotBeRunSaysWhy) {
  const ProgramEnd end = RunProgram({"/etc/passwd"}, "", NoInterrupts());
  EXPECT_FALSE(end.ran);
  EXPECT_EQ(end.code, 126);
  EXPECT_EQ(end.how, "cannot be run: Permission denied");
}

TEST(ProgramTest, ScriptThatDoesNotNameItsShellIsRunByOne) {
  const std::string path = testing::TempDir() + "waitd-script";
  const auto run = [&](const std::string& content) {
    std::ofstream(path) << content;
    chmod(path.c_str(), 0755);
    return RunProgram({path, "a b"}, "in", NoInterrupts());
  };
  EXPECT_EQ(run("test \"$1\" = 'a b' && test \"$(cat)\" = in && exit 3").code, 3);
  EXPECT_EQ(run("").code, 0);
  EXPECT_EQ(run(std::string("exit\0\n", 6)).how, "cannot be run: Exec format error");
  EXPECT_EQ(run("\x7f"
                "ELF of another machine")
                .code,
            126);
}

TEST(ProgramTest, ItsInputIsWhatItIsGiven) {
  const std::string large(200'000, 'x');
  EXPECT_EQ(RunProgram({"sh", "-c", "test \"$(wc -c)\" -eq 200000"}, large, NoInterrupts()).code,
            0);
  EXPECT_EQ(RunProgram({"sh", "-c", "test -z \"$(cat)\""}, "", NoInterrupts()).code, 0);
}

}  // namespace
}  // namespace waitd::ctl
