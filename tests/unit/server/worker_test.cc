// What may take long, on a thread of its own.
#include "server/session/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <vector>

namespace waitd::server {
namespace {

TEST(Worker, DoesEverythingInItsOrder) {
  std::vector<int> done;
  Worker worker;
  for (int i = 0; i < 100; ++i) worker.Do([&done, i] { done.push_back(i); });
  worker.Drain();
  ASSERT_EQ(done.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[static_cast<size_t>(i)], i);
}

TEST(Worker, WhoAsksDoesNotWait) {
  std::promise<void> may_end;
  std::atomic<bool> ended{false};
  Worker worker;
  worker.Do([&] {
    may_end.get_future().wait();
    ended = true;
  });
  EXPECT_FALSE(ended);
  may_end.set_value();
  worker.Drain();
  EXPECT_TRUE(ended);
}

TEST(Worker, GoesWhenAllIsDone) {
  std::atomic<int> done{0};
  {
    Worker worker;
    for (int i = 0; i < 10; ++i) {
      worker.Do([&] { ++done; });
    }
  }
  EXPECT_EQ(done, 10);
}

}  // namespace
}  // namespace waitd::server
