#include "core/blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

namespace waitd::core {
namespace {

TEST(BlocksTest, BlocksOfAllSizesAreApartAndHoldWhatTheyWereAskedFor) {
  struct Got {
    unsigned char* bytes;
    size_t size;
  };
  std::vector<Got> all;
  for (size_t size = 1; size <= 300; ++size) {
    for (int i = 0; i < 3; ++i) {
      all.push_back({static_cast<unsigned char*>(GetBlock(size)), size});
      std::memset(all.back().bytes, static_cast<int>(size % 251), size);
    }
  }
  for (const Got& got : all) {
    EXPECT_TRUE(std::all_of(got.bytes, got.bytes + got.size, [&](unsigned char byte) {
      return byte == got.size % 251;
    })) << got.size;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got.bytes) % alignof(void*), 0U) << got.size;
    PutBlock(got.bytes, got.size);
  }
}

TEST(BlocksTest, ABlockThatWasPutBackIsTheNextOfItsSize) {
  void* const block = GetBlock(104);
  PutBlock(block, 104);
  void* const again = GetBlock(104);
  EXPECT_EQ(again, block);
  PutBlock(again, 104);
}

// What one thread makes and another ends comes back to the first, and memory does not grow: none is
// new once as many were made as are ever in use.
TEST(BlocksTest, BlocksThatAnotherThreadPutsBackAreUsedAgain) {
  constexpr size_t kSize = 248;  // of this test alone
  constexpr int kRounds = 50;
  constexpr size_t kMany = 1000;
  std::vector<void*> seen;
  std::vector<void*> now;
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < kMany; ++i) now.push_back(GetBlock(kSize));
    seen.insert(seen.end(), now.begin(), now.end());
    std::thread([&] {
      for (void* const block : now) PutBlock(block, kSize);
    }).join();
    now.clear();
  }
  std::sort(seen.begin(), seen.end());
  const auto kinds = std::unique(seen.begin(), seen.end()) - seen.begin();
  EXPECT_LE(kinds, static_cast<std::ptrdiff_t>(2 * kMany));
}

// Goal: no block is given to two at once. Method: threads pass blocks on over one slot each, and
// whoever has one writes to it and reads it again.
TEST(BlocksTest, ThreadsThatPassBlocksOnNeverShareOne) {
  constexpr size_t kSize = 64;
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  std::vector<std::atomic<int*>> slots(kThreads);
  std::atomic<int> faults{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        auto* const mine = static_cast<int*>(GetBlock(kSize));
        *mine = t * kRounds + i;
        std::this_thread::yield();
        if (*mine != t * kRounds + i) ++faults;
        int* const other = slots[static_cast<size_t>((t + i) % kThreads)].exchange(mine);
        if (other != nullptr) PutBlock(other, kSize);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& slot : slots) {
    if (slot != nullptr) PutBlock(slot, kSize);
  }
  EXPECT_EQ(faults, 0);
}

}  // namespace
}  // namespace waitd::core
