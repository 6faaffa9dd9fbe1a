// Goal: I14 and I15 with real threads, under ThreadSanitizer too: in whatever was written up to a
// moment, each READY whose answer was seen stands in its descriptor, or is in an outcome, and never
// in both. Method: each READY carries a number of its own; threads signal, wait and
// poll with ids over names of different shards, and abandon some; one thread saves all the while,
// one of the shards or all of them, and looks at what a crash would leave.
#include <atomic>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "tests/unit/core/disk.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

constexpr int kThreads = 6;
constexpr int kNames = 6;
constexpr int kRounds = 300;

std::string NameOf(uint64_t n) { return "s" + std::to_string(n % kNames); }

class SharedDirty final : public Journal {
 public:
  void Changed(ShardSet shards) override { dirty.fetch_or(shards); }
  std::atomic<ShardSet> dirty{0};
};

// The numbers of Readys that woke somebody, and whose answer came: such a number is never replaced
// by a later one.
class Seen {
 public:
  void Add(const std::string& number) {
    const MutexLock lock(mutex_);
    numbers_.push_back(number);
  }
  std::vector<std::string> All() const {
    const MutexLock lock(mutex_);
    return numbers_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> numbers_ ABSL_GUARDED_BY(mutex_);
};

// No number is in two places, and those that were seen are in one.
void ExpectOnePlaceEach(const Disk& disk, const std::vector<std::string>& seen) {
  std::multiset<std::string> standing;
  for (const auto& [name, desc] : disk.descs) {
    const SavedSide& side = desc.side[0];
    if (side.ready) standing.insert(*side.signal);
  }
  for (const auto& [key, delivery] : disk.deliveries) {
    if (delivery.state == Delivery::State::kReturned) standing.insert(*delivery.signal);
  }
  for (const auto& [key, id] : disk.ids) {
    if (const auto* const wait = std::get_if<WaitResult>(&id.answer);
        wait != nullptr && wait->outcome == Outcome::kReady) {
      standing.insert(*wait->signal);
    } else if (const auto* const poll = std::get_if<PollResult>(&id.answer)) {
      for (const auto& target : poll->targets) {
        if (target.ready()) standing.insert(*target.result(poll->parked).signal);
      }
    }
  }
  for (const std::string& number : standing) ASSERT_EQ(standing.count(number), 1U) << number;
  for (const std::string& number : seen) ASSERT_TRUE(standing.contains(number)) << number;
}

class Worker {
 public:
  Worker(Poller& poller, const Clock& clock, unsigned seed, Seen& seen)
      : poller_(poller), clock_(clock), seed_(seed), seen_(seen), random_(seed) {}

  void Run() {
    for (int i = 0; i < kRounds; ++i) {
      const std::string id = std::to_string(seed_) + "/" + std::to_string(i);
      switch (random_() % 4) {
        case 0:
        case 1:
          Signal(id);
          break;
        case 2:
          Wait(id);
          break;
        case 3:
          Poll(id);
          break;
      }
    }
  }

  uint64_t got = 0;

 private:
  void Signal(const std::string& id) {
    Answered<ReadyCall> call;
    const std::string name = NameOf(random_());
    poller_.Ready(clock_.Read().mono,
                  {.name = name, .signal = Bytes(id), .open_if_missing = &fifo_, .retry = {id}},
                  call);
    call.Await();
    if (Ok(call.result()).effect == ReadyEffect::kWoke) seen_.Add(id);
  }

  void Wait(const std::string& id) {
    TestWait call;
    const std::string name = NameOf(random_());
    poller_.Wait(clock_.Read().mono,
                 {.name = name,
                  .timeout = microseconds(random_() % 2000),
                  .open_if_missing = &fifo_,
                  .retry = {id}},
                 call);
    End(call);
  }

  void Poll(const std::string& id) {
    TestPoll call;
    const uint64_t n = random_();
    const std::string one = NameOf(n);
    const std::string two = NameOf(n + 1 + random_() % (kNames - 1));
    poller_.Poll(clock_.Read().mono,
                 {.targets = {{one}, {two}},
                  .need = static_cast<uint32_t>(random_() % 2 + 1),
                  .timeout = microseconds(random_() % 2000),
                  .open_if_missing = &fifo_,
                  .retry = {id}},
                 call);
    End(call);
  }

  template <class C>
  void End(C& call) {
    if (random_() % 4 == 0) poller_.Abandon(call);
    call.Await();
    const auto* const result = std::get_if<0>(&call.result());
    if (result == nullptr || result->outcome != Outcome::kReady) return;
    ++got;
    if (random_() % 3 == 0) {
      poller_.Unwritten(call, microseconds(random_() % 2 * 300));
    }
  }

  Poller& poller_;
  const Clock& clock_;
  const unsigned seed_;
  Seen& seen_;
  std::mt19937 random_;
  const OpenOptions fifo_{.kind = Kind::kFifo};
};

TEST(StressSave, WhatIsWrittenIsWholeAtEveryMomentI15) {
  const RealClock clock;
  SharedDirty journal;
  Poller poller({.linger = microseconds(200)}, clock, &journal, nullptr);
  std::atomic<bool> stop{false};
  Seen seen;
  std::jthread timers([&](const std::stop_token& over) {
    while (!over.stop_requested()) poller.RunTimers();
  });
  Disk disk;
  std::thread saver([&] {
    std::mt19937 random(7);
    while (!stop || journal.dirty != 0) {
      ShardSet shards = journal.dirty.exchange(0);
      if (random() % 2 == 0 && shards != 0 && !stop) {
        const ShardSet one = SetOf(First(shards));
        journal.dirty.fetch_or(shards & ~one);
        shards = one;
      }
      const std::vector<std::string> seen_before = seen.All();
      Changes changes;
      Poller::Cut cut;
      while (poller.Collect(shards, changes, cut)) {
      }
      journal.dirty.fetch_or(shards);
      disk.Apply(changes);
      if (disk.writes % 4 == 0) ExpectOnePlaceEach(disk, seen_before);
      while (poller.Saved(cut)) {
      }
    }
  });
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    workers.push_back(std::make_unique<Worker>(poller, clock, t + 1, seen));
    threads.emplace_back([&worker = *workers.back()] { worker.Run(); });
  }
  for (auto& thread : threads) thread.join();
  while (poller.waiters() > 0) std::this_thread::yield();  // those that linger
  timers.request_stop();
  timers.join();
  stop = true;
  saver.join();
  ExpectOnePlaceEach(disk, seen.All());
  uint64_t got = 0;
  for (const auto& worker : workers) got += worker->got;
  EXPECT_GT(got, 100U) << "the run was too quiet to show anything";
  EXPECT_GT(disk.writes, 100);
  // What comes back is what is there.
  Table restored;
  disk.Restore(restored.poller());
  for (const auto& [name, saved] : disk.descs) {
    Answered<GetCall> live;
    Answered<GetCall> back;
    poller.Get({name}, live);
    restored.poller().Get({name}, back);
    EXPECT_EQ(Ok(back.result()).side[0].state, Ok(live.result()).side[0].state) << name;
    EXPECT_EQ(Ok(back.result()).side[0].returned, Ok(live.result()).side[0].returned) << name;
    EXPECT_EQ(Ok(back.result()).generation, Ok(live.result()).generation);
  }
}

}  // namespace
}  // namespace waitd::core
