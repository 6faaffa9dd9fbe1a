#include "server/api/convert.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

namespace waitd::server {
namespace {

using core::Deadline;
using core::Nanos;
using std::chrono::milliseconds;
using std::chrono::seconds;

const core::Now kNow{core::Instant(seconds(1000)), core::WallTime(seconds(5000))};

Deadline Armed(Nanos from_now) {
  return {.at = core::SaturatingAdd(kNow.mono, from_now),
          .wall = core::SaturatingAdd(kNow.wall, from_now),
          .state = Deadline::State::kArmed};
}

TEST(ConvertWait, AReadyCarriesItsSignalAndWhereItCameFrom) {
  v1::Signal signal;
  signal.set_data("data");
  signal.mutable_failure()->set_code(3);
  const core::WaitResult result{
      .outcome = core::Outcome::kReady,
      .coalesced = 2,
      .generation = 7,
      .signal = std::make_shared<const std::string>(signal.SerializeAsString()),
      .parked = milliseconds(1500),
      .delivery = 9,
      .ready_time = core::WallTime(milliseconds(1250))};
  v1::WaitResponse response;
  Write(result, response);
  EXPECT_EQ(response.outcome(), v1::OUTCOME_READY);
  EXPECT_EQ(response.timeout_cause(), v1::TIMEOUT_CAUSE_UNSPECIFIED);
  EXPECT_EQ(response.signal().data(), "data");
  EXPECT_EQ(response.signal().failure().code(), 3);
  EXPECT_EQ(response.generation(), 7U);
  EXPECT_EQ(response.parked().seconds(), 1);
  EXPECT_EQ(response.parked().nanos(), 500'000'000);
  EXPECT_FALSE(response.has_late());
  EXPECT_EQ(response.delivery(), 9U);
  EXPECT_EQ(response.attempt(), 1U);
  EXPECT_EQ(response.ready_time().seconds(), 1);
  EXPECT_EQ(response.ready_time().nanos(), 250'000'000);
  EXPECT_EQ(response.coalesced(), 2U);
}

TEST(ConvertWait, AnEmptySignalIsToldFromNone) {
  v1::WaitResponse response;
  Write(core::WaitResult{.signal = nullptr, .ready_time = {}}, response);
  EXPECT_FALSE(response.has_signal());
  Write(core::WaitResult{.signal = std::make_shared<const std::string>(), .ready_time = {}},
        response);
  EXPECT_TRUE(response.has_signal());
}

TEST(ConvertWait, ATimeoutSaysWhyAndHowLate) {
  v1::WaitResponse response;
  Write(core::WaitResult{.outcome = core::Outcome::kTimedOut,
                         .cause = core::TimeoutCause::kMaxWait,
                         .signal = nullptr,
                         .late = Nanos(5),
                         .ready_time = {}},
        response);
  EXPECT_EQ(response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(response.timeout_cause(), v1::TIMEOUT_CAUSE_MAX_WAIT);
  EXPECT_EQ(response.late().nanos(), 5);
  EXPECT_FALSE(response.has_ready_time());
  EXPECT_EQ(response.attempt(), 0U);
}

TEST(ConvertPoll, ResultsNameTheirTargets) {
  core::PollResult result{.outcome = core::Outcome::kClosed, .targets = {}};
  result.targets.emplace_back(
      4, core::WaitResult{.outcome = core::Outcome::kClosed, .signal = nullptr, .ready_time = {}});
  v1::PollResponse response;
  Write(result, response);
  EXPECT_EQ(response.outcome(), v1::OUTCOME_CLOSED);
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).target(), 4U);
  EXPECT_EQ(response.results(0).response().outcome(), v1::OUTCOME_CLOSED);
}

TEST(ConvertReady, EveryEffectHasItsNumber) {
  const std::pair<core::ReadyEffect, v1::ReadyEffect> pairs[] = {
      {core::ReadyEffect::kWoke, v1::READY_EFFECT_WOKE},
      {core::ReadyEffect::kRemembered, v1::READY_EFFECT_REMEMBERED},
      {core::ReadyEffect::kCoalesced, v1::READY_EFFECT_COALESCED},
      {core::ReadyEffect::kRefused, v1::READY_EFFECT_REFUSED}};
  for (const auto& [from, to] : pairs) {
    v1::ReadyResponse response;
    Write(core::ReadyResult{.effect = from, .woken = 3, .generation = 4, .expired = true},
          response);
    EXPECT_EQ(response.effect(), to);
    EXPECT_EQ(response.woken(), 3U);
    EXPECT_EQ(response.generation(), 4U);
    EXPECT_TRUE(response.expired());
  }
}

TEST(ConvertDeadline, NoneIsUnsetAndAnotherSaysWhatIsLeft) {
  core::SetDeadlineResult result{
      .applied = true,
      .deadline = {Armed(milliseconds(2500)), Deadline{}},
      .effect = {core::DeadlineEffect::kArmed, core::DeadlineEffect::kNone}};
  v1::SetDeadlineResponse response;
  Write(kNow, result, response);
  EXPECT_TRUE(response.applied());
  EXPECT_EQ(response.read().at().seconds(), 5002);
  EXPECT_EQ(response.read().at().nanos(), 500'000'000);
  EXPECT_EQ(response.read().remaining().seconds(), 2);
  EXPECT_EQ(response.read().remaining().nanos(), 500'000'000);
  EXPECT_FALSE(response.read().expired());
  EXPECT_FALSE(response.write().has_at());
  EXPECT_EQ(response.read_effect(), v1::DEADLINE_EFFECT_ARMED);
  EXPECT_EQ(response.write_effect(), v1::DEADLINE_EFFECT_UNSPECIFIED);
}

TEST(ConvertDeadline, AnExpiredOneIsSoLongAgo) {
  Deadline expired = Armed(-milliseconds(1500));
  expired.state = Deadline::State::kExpired;
  v1::SetDeadlineResponse response;
  Write(kNow, {.deadline = {expired, Deadline{}}, .effect = {}}, response);
  EXPECT_TRUE(response.read().expired());
  EXPECT_EQ(response.read().remaining().seconds(), -1);
  EXPECT_EQ(response.read().remaining().nanos(), -500'000'000);
}

TEST(ConvertDeadline, NeverAndTheFarPastStayInRange) {
  v1::SetDeadlineResponse response;
  Deadline far = Armed(core::kForever);
  Deadline old{.at = core::Instant::min(),
               .wall = core::WallTime::min(),
               .state = Deadline::State::kExpired};
  Write(kNow, {.deadline = {far, old}, .effect = {}}, response);
  EXPECT_EQ(response.read().at().seconds(), 9'223'372'036);
  EXPECT_GT(response.read().remaining().seconds(), 0);
  EXPECT_EQ(response.write().at().seconds(), -9'223'372'037);
  EXPECT_GE(response.write().at().nanos(), 0);
  EXPECT_LT(response.write().remaining().seconds(), 0);
}

TEST(ConvertDeadline, EveryEffectHasItsNumber) {
  const std::pair<core::DeadlineEffect, v1::DeadlineEffect> pairs[] = {
      {core::DeadlineEffect::kExtended, v1::DEADLINE_EFFECT_EXTENDED},
      {core::DeadlineEffect::kShortened, v1::DEADLINE_EFFECT_SHORTENED},
      {core::DeadlineEffect::kUnchanged, v1::DEADLINE_EFFECT_UNCHANGED},
      {core::DeadlineEffect::kCleared, v1::DEADLINE_EFFECT_CLEARED},
      {core::DeadlineEffect::kExpired, v1::DEADLINE_EFFECT_EXPIRED},
      {core::DeadlineEffect::kRefused, v1::DEADLINE_EFFECT_REFUSED}};
  for (const auto& [from, to] : pairs) {
    v1::SetDeadlineResponse response;
    Write(kNow, {.deadline = {}, .effect = {core::DeadlineEffect::kNone, from}}, response);
    EXPECT_EQ(response.write_effect(), to);
  }
}

TEST(ConvertDescriptor, ShowsBothSidesAndWhoWaits) {
  core::DescriptorInfo info;
  info.name = "job/1";
  info.kind = core::Kind::kFifo;
  info.generation = 12;
  info.open_time = core::WallTime(seconds(77));
  info.labels = {{"a", "1"}, {"b", "2"}};
  info.side[0] = {
      .state = core::SemaphoreState::kWaiting,
      .waiters = 2,
      .payload_bytes = 0,
      .deadline = Armed(seconds(1)),
      .waiter_details = {{.client = "one", .since = kNow.wall, .until = std::nullopt},
                         {.client = "two", .since = kNow.wall, .until = kNow.wall + seconds(3)}}};
  info.side[1].state = core::SemaphoreState::kReady;
  info.side[1].payload_bytes = 5;
  v1::PollDescriptor shown;
  Write(kNow, info, shown);
  EXPECT_EQ(shown.name(), "job/1");
  EXPECT_EQ(shown.kind(), v1::KIND_FIFO);
  EXPECT_EQ(shown.generation(), 12U);
  EXPECT_EQ(shown.open_time().seconds(), 77);
  EXPECT_EQ(shown.labels().at("b"), "2");
  EXPECT_FALSE(shown.has_idle_ttl());
  EXPECT_EQ(shown.read().state(), v1::SEMAPHORE_STATE_WAITING);
  EXPECT_EQ(shown.read().waiters(), 2U);
  EXPECT_EQ(shown.read().deadline().remaining().seconds(), 1);
  ASSERT_EQ(shown.read().waiter_details_size(), 2);
  EXPECT_EQ(shown.read().waiter_details(0).client(), "one");
  EXPECT_FALSE(shown.read().waiter_details(0).has_until());
  EXPECT_EQ(shown.read().waiter_details(1).until().seconds(), 5003);
  EXPECT_EQ(shown.write().state(), v1::SEMAPHORE_STATE_READY);
  EXPECT_EQ(shown.write().payload_bytes(), 5U);
  EXPECT_FALSE(shown.write().deadline().has_at());
}

TEST(ConvertDescriptor, AnIdleTtlIsShownWhenItEnds) {
  core::DescriptorInfo info;
  info.idle_ttl = seconds(60);
  v1::PollDescriptor shown;
  Write(kNow, info, shown);
  EXPECT_EQ(shown.idle_ttl().seconds(), 60);
}

}  // namespace
}  // namespace waitd::server
