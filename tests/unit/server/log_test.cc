#include "server/log.h"

#include <gtest/gtest.h>

namespace waitd::server {
namespace {

TEST(JsonEscape, LeavesPlainTextAlone) {
  EXPECT_EQ(JsonEscape("listen=127.0.0.1:7411 \xC3\xA9"), "listen=127.0.0.1:7411 \xC3\xA9");
}

TEST(JsonEscape, EscapesWhatAStringCannotHold) {
  EXPECT_EQ(JsonEscape("a\"b\\c\nd\x01"), "a\\\"b\\\\c\\u000ad\\u0001");
}

}  // namespace
}  // namespace waitd::server
