// Goal: what changed is saved before anybody is told, in batches that form by themselves, and a
// store that fails is told of once. Method: a poller, and a store whose commits the test holds up,
// counts, and lets fail.
#include "server/store/committer.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace waitd::server {
namespace {

// Long after this a machine that works has done what it is to do.
constexpr std::chrono::seconds kLong(60);

/// Commits what it is given when the test lets it.
class FakeStore final : public Store {
 public:
  absl::StatusOr<Loaded> Load(const OnRow& /*on_row*/) override { return Loaded{}; }

  absl::Status Commit(const core::Changes& changes, size_t* bytes) override {
    std::unique_lock lock(mutex_);
    *bytes = 1;
    ++begun_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    if (!failure_.ok()) return failure_;
    std::vector<std::string>& names = commits_.emplace_back();
    for (const core::SavedDesc& desc : changes.descs) names.push_back(desc.name);
    changed_.notify_all();
    return absl::OkStatus();
  }
  uint64_t Bytes() const override { return 0; }
  absl::StatusOr<uint64_t> FreeBytes() const override {
    const std::lock_guard lock(mutex_);
    return free_;
  }
  absl::Status Backup(const std::string& /*path*/) override { return absl::OkStatus(); }

  void Hold() {
    Set([this] { open_ = false; });
  }
  void Release() {
    Set([this] { open_ = true; });
  }
  void FailFromNowOn() {
    Set([this] { failure_ = absl::UnavailableError("the test says so"); });
  }
  void SetFree(uint64_t bytes) {
    Set([this, bytes] { free_ = bytes; });
  }

  bool AwaitBegun(int commits) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return begun_ >= commits; });
  }
  /// The names of each commit so far.
  std::vector<std::vector<std::string>> commits() const {
    const std::lock_guard lock(mutex_);
    return commits_;
  }
  int begun() const {
    const std::lock_guard lock(mutex_);
    return begun_;
  }

 private:
  template <class F>
  void Set(const F& set) {
    const std::lock_guard lock(mutex_);
    set();
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int begun_ = 0;
  uint64_t free_ = 1000;
  absl::Status failure_;
  std::vector<std::vector<std::string>> commits_;
};

template <class C>
class Awaited final : public C {
 public:
  void Done() override {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }
  bool done() const {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  bool Await() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [this] { return done_; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};
using Opened = Awaited<core::OpenCall>;

template <class C>
bool IsRefused(const C& call, core::Reason reason) {
  const auto* const refusal = std::get_if<core::Refusal>(&call.result());
  return refusal != nullptr && refusal->reason == reason;
}

class CommitterTest : public testing::Test {
 protected:
  ~CommitterTest() override {
    store_.Release();
    committer_.Stop();
  }

  void Start() { committer_.Start(poller_, store_); }
  void Open(std::string_view name, Opened& call) {
    poller_.Open(core::kWhenCarriedOut, {.name = name}, call);
  }

  const core::RealClock clock_{};
  FakeStore store_;
  std::atomic<int> failing_{0};
  std::atomic<int> failed_{0};
  std::atomic<bool> told_before_failing_{false};
  Opened waits_for_failure_;
  Committer committer_{clock_,
                       {.free_bytes_min = 100,
                        .failing =
                            [this] {
                              ++failing_;
                              told_before_failing_ = waits_for_failure_.done();
                            },
                        .failed = [this] { ++failed_; }}};
  core::Poller poller_{{}, clock_, &committer_, nullptr};
};

TEST_F(CommitterTest, NobodyIsToldBeforeTheCommit) {
  store_.Hold();
  Start();
  Opened call;
  Open("a", call);
  ASSERT_TRUE(store_.AwaitBegun(1));
  EXPECT_FALSE(call.done());
  store_.Release();
  ASSERT_TRUE(call.Await());
  EXPECT_EQ(store_.commits(), (std::vector<std::vector<std::string>>{{"a"}}));
}

TEST_F(CommitterTest, WhatChangesDuringACommitIsTheNextBatch) {
  store_.Hold();
  Start();
  Opened first;
  Open("first", first);
  ASSERT_TRUE(store_.AwaitBegun(1));
  std::vector<Opened> calls(100);
  for (size_t i = 0; i < calls.size(); ++i) Open(std::to_string(i), calls[i]);
  store_.Release();
  for (Opened& call : calls) ASSERT_TRUE(call.Await());
  const auto commits = store_.commits();
  ASSERT_EQ(commits.size(), 2);
  EXPECT_EQ(commits[0], std::vector<std::string>{"first"});
  EXPECT_EQ(commits[1].size(), calls.size());
  const CommitCounters counters = committer_.counters();
  EXPECT_GE(counters.records_sum, calls.size() + 1);
  EXPECT_EQ(counters.errors, 0);
}

// Of a change over several shards, some may be in a cut already.
TEST_F(CommitterTest, WhatStaysOfACutComesWithALaterCommit) {
  store_.Hold();
  Start();
  Opened first;
  Open("first", first);
  ASSERT_TRUE(store_.AwaitBegun(1));
  const core::OpenOptions open;
  std::vector<std::string> names;
  core::PollArgs args{.timeout = core::Nanos(0), .open_if_missing = &open};
  for (int i = 0; i < 200; ++i) names.push_back(std::to_string(i));
  for (const std::string& name : names) args.targets.push_back({.name = name});
  class Poll final : public core::PollCall {
   public:
    void Done() override { done = true; }
    std::string_view client() const override { return "test"; }
    std::atomic<bool> done{false};
  } poll;
  poller_.Poll(core::kWhenCarriedOut, args, poll);
  store_.Release();
  Opened last;
  Open("last", last);
  ASSERT_TRUE(last.Await());
  committer_.Stop();
  EXPECT_TRUE(poll.done);
  size_t saved = 0;
  for (const auto& commit : store_.commits()) saved += commit.size();
  EXPECT_EQ(saved, names.size() + 2);
}

TEST_F(CommitterTest, NothingIsCommittedWhenNothingChanged) {
  Start();
  Opened call;
  Open("a", call);
  ASSERT_TRUE(call.Await());
  const int before = store_.begun();
  Opened again;
  Open("a", again);
  ASSERT_TRUE(again.Await());
  committer_.Stop();
  EXPECT_EQ(store_.begun(), before);
}

TEST_F(CommitterTest, StopSavesWhatIsLeft) {
  store_.Hold();
  Start();
  Opened first;
  Opened second;
  Open("first", first);
  ASSERT_TRUE(store_.AwaitBegun(1));
  Open("second", second);
  store_.Release();
  committer_.Stop();
  EXPECT_TRUE(first.done());
  EXPECT_TRUE(second.done());
  EXPECT_EQ(store_.commits().size(), 2);
}

TEST_F(CommitterTest, AFailureIsToldOnceAndRefusesWhateverWaits) {
  Start();
  Opened before;
  Open("before", before);
  ASSERT_TRUE(before.Await());
  store_.Hold();
  store_.FailFromNowOn();
  Open("waits", waits_for_failure_);
  ASSERT_TRUE(store_.AwaitBegun(2));
  Opened later;
  Open("later", later);
  store_.Release();
  ASSERT_TRUE(waits_for_failure_.Await());
  ASSERT_TRUE(later.Await());
  EXPECT_TRUE(IsRefused(waits_for_failure_, core::Reason::kStoreFailed));
  EXPECT_TRUE(IsRefused(later, core::Reason::kStoreFailed));
  Opened after;
  Open("after", after);
  ASSERT_TRUE(after.Await());
  EXPECT_TRUE(IsRefused(after, core::Reason::kStoreFailed));
  committer_.Stop();
  EXPECT_EQ(failing_, 1);
  EXPECT_EQ(failed_, 1);
  EXPECT_FALSE(told_before_failing_);
  EXPECT_EQ(store_.begun(), 2) << "nothing is committed after a failure";
  EXPECT_EQ(committer_.counters().errors, 1);
}

TEST_F(CommitterTest, WithoutRoomNothingNewIsTakenFromTheStartOn) {
  store_.SetFree(99);
  Start();
  Opened call;
  Open("a", call);
  ASSERT_TRUE(call.Await());
  EXPECT_TRUE(IsRefused(call, core::Reason::kLimitDisk));
  EXPECT_EQ(store_.begun(), 0);
}

}  // namespace
}  // namespace waitd::server
