#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/load/scenarios.h"

namespace waitd::bench {
namespace {

constexpr uint32_t kReadysMax = 4096;  // in flight, also when more waits are outstanding

/// The closed loop behind Wakes.
class WakeLoop {
 public:
  WakeLoop(const Setup& setup, Loop& loop)
      : session_(setup.target, loop, [this](const v1::SessionResponse& r) { Take(r); }) {
    std::vector<uint32_t> order(setup.count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    parked_.assign(order.begin(), order.end());
    AddMany(loop, session_, setup.count, true,
            [](v1::Operation& operation, uint32_t i) { SetName(operation.mutable_open(), i); });
    loop.RunUntil([this] { return opened_ == parked_.size(); });
    AddMany(loop, session_, setup.count, false,
            [](v1::Operation& operation, uint32_t i) { SetName(operation.mutable_wait(), i); });
    for (uint32_t i = 0; i < std::min(setup.count, kReadysMax); ++i) AddReady();
    session_.Flush();
  }

  int64_t wakes() const { return wakes_; }
  int64_t woke() const { return woke_; }
  int64_t readys() const { return readys_; }

 private:
  void Take(const v1::SessionResponse& response) {
    for (const v1::OperationResult& result : response.results()) {
      if (result.has_wait()) {
        if (result.wait().outcome() != v1::OUTCOME_READY) Fail("a wait was not READY");
        ++wakes_;
        const uint32_t number = Session::NumberOf(result.id());
        SetName(session_.Add(number).mutable_wait(), number);
        parked_.push_back(number);
        AddReady();
      } else if (result.has_ready()) {
        ++readys_;
        if (result.ready().effect() == v1::READY_EFFECT_WOKE) ++woke_;
      } else if (result.has_open()) {
        ++opened_;
      } else {
        Fail(absl::StrCat("an operation failed: ", result.error().message()));
      }
    }
  }

  // Of the wait that has been parked for longest.
  void AddReady() {
    const uint32_t number = parked_.front();
    parked_.pop_front();
    SetName(session_.Add(number).mutable_ready(), number);
  }

  std::deque<uint32_t> parked_;  // those to which no Ready is on its way
  size_t opened_ = 0;
  int64_t wakes_ = 0;
  int64_t readys_ = 0;
  int64_t woke_ = 0;
  Session session_;
};

}  // namespace

void AddMany(Loop& loop, Session& session, uint32_t count, bool answered,
             const std::function<void(v1::Operation&, uint32_t)>& fill) {
  constexpr uint32_t kChunk = 4096;
  constexpr uint32_t kAnswersMax = 16 * kChunk;
  const size_t before = session.results();
  for (uint32_t i = 0; i < count;) {
    for (const uint32_t end = std::min(count, i + kChunk); i < end; ++i) fill(session.Add(i), i);
    session.Flush();
    loop.RunUntil([&] {
      return !session.writing() && (!answered || session.results() + kAnswersMax >= before + i);
    });
  }
}

Report Wakes(const Setup& setup) {
  Loop loop;
  WakeLoop wakes(setup, loop);
  loop.RunFor(setup.warm_up_seconds());
  const int64_t began = NowNanos();
  const int64_t wakes_before = wakes.wakes();
  const int64_t client_before = UsageOf(getpid()).cpu_nanos;
  const int64_t server_before = UsageOf(setup.server).cpu_nanos;
  loop.RunFor(setup.seconds);
  const auto count = static_cast<double>(wakes.wakes() - wakes_before);
  if (count == 0) Fail("no wake was seen");
  Report report;
  report.Add("wakes_per_s", count * 1e9 / static_cast<double>(NowNanos() - began));
  report.Add("server_cpu_us",
             static_cast<double>(UsageOf(setup.server).cpu_nanos - server_before) / 1e3 / count);
  report.Add("client_cpu_us",
             static_cast<double>(UsageOf(getpid()).cpu_nanos - client_before) / 1e3 / count);
  report.Add("parked_share", static_cast<double>(wakes.woke()) /
                                 static_cast<double>(std::max<int64_t>(wakes.readys(), 1)));
  return report;
}

}  // namespace waitd::bench
