#include "core/fingerprint.h"

#include <gtest/gtest.h>

#include "core/shard.h"

namespace waitd::core {
namespace {

// Stored ids are found by these numbers, and names stand in the shards that they say: another
// number would lose all that older versions have stored.
TEST(Fingerprint, IsTheSameInEveryVersion) {
  EXPECT_EQ(Fingerprint().Add("a").value(), 8776543329019288425U);
  EXPECT_EQ(Fingerprint().Add("build/linux/42").value(), 3603873235560154493U);
  EXPECT_EQ(Fingerprint().Add(42U).Add("").Add("12345678").value(), 540712852598724647U);
  EXPECT_EQ(ShardOf("build/linux/42"), 61U);
  EXPECT_EQ(ShardOf("job/{42}/done"), 19U);
}

}  // namespace
}  // namespace waitd::core
