#include "core/short_string.h"

#include <gtest/gtest.h>

#include <string>

namespace waitd::core {
namespace {

TEST(ShortString, HoldsAnyLengthAndBecomesAnother) {
  ShortString string;
  EXPECT_EQ(string.view(), "");
  for (const size_t size : {1U, 21U, 22U, 23U, 512U, 65535U, 22U, 0U, 23U}) {
    const std::string text(size, static_cast<char>('a' + size % 26));
    string.Set(text);
    EXPECT_EQ(string.view(), text);
  }
}

}  // namespace
}  // namespace waitd::core
