#include "server/process/timer_thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>
#include <variant>

namespace waitd::server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

// A wait whose end a test can wait for.
class Wait final : public core::WaitCall {
 public:
  void Done() override {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_one();
  }
  std::string_view client() const override { return "test"; }

  // False: no end within a time that no working machine needs.
  bool Await() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return done_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

class Opened final : public core::OpenCall {
 public:
  void Done() override {}
};

class Moved final : public core::SetDeadlineCall {
 public:
  void Done() override {}
};

class TimerThreadTest : public testing::Test {
 protected:
  TimerThreadTest()
      : poller_({}, clock_, nullptr, [this](core::Instant at) { timers_.Alarm(at); }) {
    Opened opened;
    poller_.Open(core::kWhenCarriedOut, {.name = "a", .options = {}}, opened);
  }
  ~TimerThreadTest() override { timers_.Stop(); }

  void Park(Wait& wait, std::optional<core::Nanos> timeout) {
    poller_.Wait(core::kWhenCarriedOut, {.name = "a", .timeout = timeout}, wait);
  }
  void SetDeadline(core::Nanos timeout) {
    Moved moved;
    poller_.SetDeadline(
        core::kWhenCarriedOut,
        {.name = "a", .what = core::SetDeadlineArgs::What::kTimeout, .timeout = timeout, .at = {}},
        moved);
    EXPECT_TRUE(std::get<core::SetDeadlineResult>(moved.result()).applied);
  }

  const core::RealClock clock_{};

  TimerThread timers_{clock_};
  core::Poller poller_;
};

TEST_F(TimerThreadTest, EndsAWaitWhenItIsDueAndNotBefore) {
  timers_.Start(poller_);
  Wait wait;
  const core::Instant begin = clock_.Read().mono;
  Park(wait, milliseconds(20));
  ASSERT_TRUE(wait.Await());
  EXPECT_GE(clock_.Read().mono - begin, milliseconds(20));
  EXPECT_EQ(std::get<core::WaitResult>(wait.result()).cause, core::TimeoutCause::kWait);
}

TEST_F(TimerThreadTest, AnAlarmBeforeTheStartIsNotLost) {
  Wait wait;
  Park(wait, milliseconds(1));
  timers_.Start(poller_);
  EXPECT_TRUE(wait.Await());
}

TEST_F(TimerThreadTest, AnEarlierInstantWakesAThreadThatSleepsTowardsAFarOne) {
  timers_.Start(poller_);
  Wait wait;
  SetDeadline(hours(1));
  Park(wait, std::nullopt);
  SetDeadline(milliseconds(5));
  ASSERT_TRUE(wait.Await());
  EXPECT_EQ(std::get<core::WaitResult>(wait.result()).cause, core::TimeoutCause::kDeadline);
}

TEST_F(TimerThreadTest, AnInstantCenturiesAwayDoesNotSpinNorEnd) {
  timers_.Start(poller_);
  SetDeadline(hours(24 * 365 * 200));
  Wait wait;
  Park(wait, milliseconds(5));
  ASSERT_TRUE(wait.Await());
  EXPECT_EQ(std::get<core::WaitResult>(wait.result()).cause, core::TimeoutCause::kWait);
}

TEST_F(TimerThreadTest, StopsWhileItSleeps) {
  timers_.Start(poller_);
  SetDeadline(hours(1));
  timers_.Stop();
}

}  // namespace
}  // namespace waitd::server
