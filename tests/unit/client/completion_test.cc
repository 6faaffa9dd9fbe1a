#include <gtest/gtest.h>

#include <string>

#include "client/waitctl/app.h"

namespace waitd::ctl {
namespace {

TEST(CompletionTest, EachShellGetsTheCommandsAndTheirFlags) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = Completion(shell);
    for (const char* word :
         {"wait",       "poll",       "ready",     "deadline",      "open",      "close",
          "reset",      "get",        "ls",        "watch",         "health",    "version",
          "completion", "must-exist", "need",      "arm-or-extend", "server",    "output",
          "help",       "ca-file",    "cert-file", "key-file",      "token-file"}) {
      EXPECT_NE(script.find(word), std::string::npos) << shell << " lacks " << word;
    }
  }
  EXPECT_NE(Completion("bash").find("complete -F _waitctl waitctl\n"), std::string::npos);
  EXPECT_TRUE(Completion("zsh").starts_with("#compdef waitctl\n"));
  EXPECT_TRUE(Completion("fish").starts_with("complete -c waitctl -f\n"));
}

TEST(CompletionTest, QuotesInHelpTextsAreQuoted) {
  EXPECT_NE(Completion("zsh").find(R"(set NAME'\''s deadline)"), std::string::npos);
  EXPECT_NE(Completion("fish").find(R"(set NAME\'s deadline)"), std::string::npos);
}

TEST(CompletionTest, AnotherShellGetsNothing) { EXPECT_EQ(Completion("tcsh"), ""); }

}  // namespace
}  // namespace waitd::ctl
