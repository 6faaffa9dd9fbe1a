// How --max-memory is shared out.
#include "server/options/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>

namespace waitd::server {
namespace {

using core::Held;

constexpr uint64_t kMiB = 1U << 20U;
constexpr uint64_t kGiB = 1024 * kMiB;

uint64_t Sum(const MemoryPlan& plan) {
  return std::accumulate(plan.limits.begin(), plan.limits.end(), uint64_t{0},
                         [](uint64_t sum, const core::Limit& each) { return sum + each.bytes; });
}

TEST(Memory, EveryShareTogetherStaysBelowTheWhole) {
  for (const uint64_t all : {128 * kMiB, 768 * kMiB, 18 * kGiB}) {
    for (const char* const store : {"rocksdb", "memory"}) {
      const MemoryPlan plan = PlanMemory({.max_memory = all, .store = store}, kGiB);
      EXPECT_EQ(plan.all, all);
      const uint64_t connections = plan.connections * 64 * 1024;
      const uint64_t buffers = std::string_view(store) == "memory" ? 0 : 3 * plan.write_buffer;
      EXPECT_LE(Sum(plan) + connections + buffers, all);
      EXPECT_GE(Sum(plan), all / 4) << "most of it is for clients";
      EXPECT_TRUE(plan.warnings.empty());
      for (const core::Limit& each : plan.limits) EXPECT_GT(each.bytes, 0U);
    }
  }
}

TEST(Memory, ThreeQuartersOfWhatThereIs) {
  EXPECT_EQ(PlanMemory({.max_memory = 0, .store = "memory"}, 4 * kGiB).all, 3 * kGiB);
  const uint64_t machine = MachineMemory();
  EXPECT_GT(machine, 64 * kMiB);
  EXPECT_LT(machine, uint64_t{1} << 50U) << "a control group without a limit is none";
}

TEST(Memory, ALimitThatIsSetHoldsBesideIt) {
  const MemoryPlan plan = PlanMemory(
      {.max_memory = kGiB, .max_waiters = 7, .store = "memory", .max_held_bytes = 1000}, kGiB);
  EXPECT_EQ(plan.limit(Held::kWaits).things, 7U);
  EXPECT_EQ(plan.limit(Held::kPayloads).bytes, 1000U);
  EXPECT_EQ(plan.limit(Held::kDescriptors).things, core::Limit::kMost);
  EXPECT_TRUE(plan.warnings.empty());
}

TEST(Memory, OneThatCannotFitIsToldOfWithBothNumbers) {
  const MemoryPlan plan =
      PlanMemory({.max_memory = 512 * kMiB, .max_waiters = 100'000'000, .store = "memory"}, kGiB);
  ASSERT_EQ(plan.warnings.size(), 1U);
  EXPECT_NE(plan.warnings[0].find("--max-waiters=100000000 may take 19836 MiB"), std::string::npos)
      << plan.warnings[0];
  EXPECT_NE(plan.warnings[0].find("--max-memory=512 MiB"), std::string::npos);
  EXPECT_LT(plan.limit(Held::kWaits).bytes, 512 * kMiB) << "its share holds all the same";
}

TEST(Memory, EachKindHasAName) {
  EXPECT_STREQ(NameOf(Held::kDescriptors), "descriptors");
  EXPECT_STREQ(NameOf(Held::kCalls), "calls");
  for (size_t i = 0; i < core::kHeldKinds; ++i) EXPECT_GT(LeastBytesOf(static_cast<Held>(i)), 0U);
}

}  // namespace
}  // namespace waitd::server
