#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/waitctl/app.h"
#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

TEST(ManTest, ThePageHasEveryCommandFlagAndExitCode) {
  const std::string page = ManPage();
  EXPECT_TRUE(page.starts_with(".TH WAITCTL 1 "));
  for (const char* part : {".SH NAME\n", ".SH SYNOPSIS\n", ".SH EXIT STATUS\n",
                           ".SS waitctl wait\n", ".SS waitctl completion\n", R"(\-\-must\-exist)",
                           R"(\-m, \-\-message)", R"(\-\-fail\fI [=CODE]\fR)", "WAITCTL_SERVER",
                           "WAITCTL_TOKEN_FILE", R"(\-\-ca\-file\fI FILE\fR)", ".BR waitd (8)"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  for (const ExitDoc& doc : ExitDocs()) {
    const std::string entry = absl::StrCat(".TP\n.B ", static_cast<int>(doc.code), "\n");
    EXPECT_NE(page.find(entry), std::string::npos) << entry;
  }
}

TEST(ManTest, NoTextIsTakenForARequest) {
  std::istringstream lines(ManPage());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_FALSE(line.starts_with("'")) << line;
    if (!line.starts_with(".")) continue;
    EXPECT_TRUE(line[1] >= 'A' && line[1] <= 'Z') << line;
  }
}

}  // namespace
}  // namespace waitd::ctl
