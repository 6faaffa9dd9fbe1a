#include "client/waitctl/streams.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace waitd::ctl {
namespace {

class StreamsTest : public testing::Test {
 protected:
  // A file with this many bytes.
  std::string File(size_t bytes) const {
    const std::string path = testing::TempDir() + "waitctl_streams_test";
    std::ofstream(path, std::ios::binary) << std::string(bytes, '\0');
    return path;
  }

  std::string error_;
};

TEST_F(StreamsTest, AFileIsReadUpToTheLimit) {
  for (const size_t bytes : {size_t{0}, size_t{1}, (1U << 20) - size_t{1}, size_t{1} << 20}) {
    EXPECT_EQ(ReadIn(File(bytes), 1 << 20, &error_), std::string(bytes, '\0')) << error_;
  }
  EXPECT_EQ(ReadIn(File((1U << 20) + 1), 1 << 20, &error_), std::nullopt);
  EXPECT_NE(error_.find("more than 1 MiB; "), std::string::npos) << error_;
}

TEST_F(StreamsTest, WhatCannotBeReadSaysWhyAndWhatToGive) {
  EXPECT_EQ(ReadIn("/nowhere", 1, &error_), std::nullopt);
  EXPECT_EQ(error_,
            "cannot read '/nowhere': No such file or directory; give a file, or - for standard "
            "input");
  EXPECT_EQ(ReadIn("/", 1, &error_), std::nullopt);
  EXPECT_NE(error_.find("Is a directory"), std::string::npos) << error_;
}

TEST_F(StreamsTest, WhatIsWrittenArrivesWhole) {
  const std::string text("a\0b\n", 4);
  testing::internal::CaptureStdout();
  EXPECT_EQ(WriteOut(text), "");
  EXPECT_EQ(WriteOut(""), "");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), text);
}

TEST_F(StreamsTest, ALineIsOneLineWhateverIsInIt) {
  testing::internal::CaptureStderr();
  Say("a\nb\x1b[2J");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "a\\nb\\x1b[2J\n");
}

}  // namespace
}  // namespace waitd::ctl
