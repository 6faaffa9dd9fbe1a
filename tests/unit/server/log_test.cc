#include "server/process/log.h"

#include <gtest/gtest.h>

namespace waitd::server {
namespace {

TEST(JsonEscape, LeavesPlainTextAlone) {
  EXPECT_EQ(JsonEscape("listen=127.0.0.1:7411 \xC3\xA9"), "listen=127.0.0.1:7411 \xC3\xA9");
}

TEST(JsonEscape, EscapesWhatAStringCannotHold) {
  EXPECT_EQ(JsonEscape("a\"b\\c\nd\x01"), "a\\\"b\\\\c\\u000ad\\u0001");
}

TEST(JsonEscape, ReplacesWhatIsNotUtf8) {
  const std::string good =
      "\x7F\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEF\xBF\xBF \xF0\x90\x80\x80"
      " \xF4\x8F\xBF\xBF";
  EXPECT_EQ(JsonEscape(good), good);
  EXPECT_EQ(JsonEscape("a\xFFz"), "a\\ufffdz");
  EXPECT_EQ(JsonEscape("\xC3"), "\\ufffd");
  EXPECT_EQ(JsonEscape("\xC3\""), "\\ufffd\\\"");
  for (const char* bad : {"\xC1\x80", "\x80\x80"}) EXPECT_EQ(JsonEscape(bad), "\\ufffd\\ufffd");
  for (const char* bad : {"\xE0\x9F\x80", "\xED\xA0\x80"}) {
    EXPECT_EQ(JsonEscape(bad), "\\ufffd\\ufffd\\ufffd");
  }
  for (const char* bad : {"\xF0\x8F\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"}) {
    EXPECT_EQ(JsonEscape(bad), "\\ufffd\\ufffd\\ufffd\\ufffd");
  }
}

TEST(OneLine, EscapesWhatWouldBeginAnother) {
  EXPECT_EQ(OneLine("a \xC3\xA9 \\ \"b\""), "a \xC3\xA9 \\ \"b\"");
  EXPECT_EQ(OneLine("a\nb\r\x7F"), "a\\x0ab\\x0d\\x7f");
}

}  // namespace
}  // namespace waitd::server
