// Goal: what was committed is what a store that is opened anew shows, whatever it is and whatever
// the clocks did meanwhile. Method: records with every field set, the ends of every range, and
// seeded random changes against a plain model.
#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <random>
#include <thread>

#include "tests/unit/server/store_fixture.h"

namespace waitd::server {
namespace {

using core::Deadline;
using core::Instant;
using core::Nanos;
using core::Payload;
using core::WallTime;

Payload Bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Flip() { return Below(2) == 0; }
  template <class E>
  E Enum(E last) {
    return static_cast<E>(Below(static_cast<uint64_t>(last) + 1));
  }

  template <class T>
  T Number() {
    const auto any = static_cast<T>(random_());
    return std::array{T{0}, T{1}, std::numeric_limits<T>::max(), any}[Below(4)];
  }

  Instant At() {
    const Instant near = Instant(hours(5)) + Nanos(Number<int32_t>());
    return std::array{core::kNever, Instant::min(), near, near, near}[Below(5)];
  }
  WallTime Wall() { return WallTime(Span()); }
  Nanos Span() {
    return std::array{Nanos::max(), Nanos::min(), Nanos(0), Nanos(Number<int64_t>())}[Below(4)];
  }

  std::string Text() {
    std::string text(std::array{0, 1, 7, 300}[Below(4)], '\0');
    for (char& byte : text) byte = static_cast<char>(random_());
    return text;
  }

  // One of a few that are shared, or one of its own.
  Payload Signal() {
    if (shared_.size() < 3) shared_.push_back(Bytes(Text()));
    if (Below(40) == 0) shared_.clear();
    switch (Below(4)) {
      case 0:
        return nullptr;
      case 1:
        return Bytes(Text());
      default:
        return shared_.empty() ? Bytes("") : shared_[Below(shared_.size())];
    }
  }

  Deadline ADeadline() { return {At(), Wall(), Enum(Deadline::State::kExpired)}; }
  core::Labels Labels() {
    core::Labels labels(Below(3));
    for (auto& [key, value] : labels) key = Text(), value = Text();
    return labels;
  }

  core::SavedDesc Desc(std::string name) {
    core::SavedDesc desc{.name = std::move(name),
                         .kind = Enum(core::Kind::kLatch),
                         .generation = Below(1000),
                         .open_time = Wall(),
                         .idle_ttl = Span(),
                         .labels = Labels(),
                         .ephemeral = Flip(),
                         .owner = Text()};
    for (core::SavedSide& side : desc.side) {
      side = {Flip(),      Number<uint32_t>(), Signal(),          Wall(),
              ADeadline(), Number<uint64_t>(), Number<uint64_t>()};
    }
    return desc;
  }

  core::WaitResult Wait() {
    return {.outcome = Enum(core::Outcome::kCancelled),
            .cause = Enum(core::TimeoutCause::kMaxWait),
            .coalesced = Number<uint32_t>(),
            .generation = Number<uint64_t>(),
            .signal = Signal(),
            .parked = Span(),
            .late = Span(),
            .delivery = Number<uint64_t>(),
            .attempt = Number<uint32_t>(),
            .side = Enum(core::Side::kWrite),
            .ready_time = Wall()};
  }

  core::IdAnswer Answer(uint64_t which) {
    switch (which) {
      case 0:
        return Wait();
      case 1: {
        core::PollResult poll{Enum(core::Outcome::kCancelled),
                              Enum(core::TimeoutCause::kMaxWait),
                              Span(),
                              Span(),
                              {}};
        for (uint64_t n = Below(4); n > 0; --n)
          poll.targets.emplace_back(Number<uint32_t>(), Wait());
        return poll;
      }
      case 2: {
        core::OpenResult open{.created = Flip(), .decided = At()};
        core::DescriptorInfo& shown = open.descriptor;
        shown = {
            Text(), Enum(core::Kind::kLatch), Number<uint64_t>(), Wall(), Span(), Labels(), Flip(),
            Text()};
        for (auto& side : shown.side) {
          side = {.state = Enum(core::SemaphoreState::kWaiting),
                  .waiters = Number<uint32_t>(),
                  .payload_bytes = Number<uint64_t>(),
                  .unacked = Number<uint32_t>(),
                  .returned = Number<uint32_t>(),
                  .deadline = ADeadline()};
        }
        return open;
      }
      case 3:
        return core::CloseResult{Number<uint32_t>()};
      case 4:
        return core::ResetResult{Flip(), Flip()};
      case 5:
        return core::ReadyResult{Enum(core::ReadyEffect::kRefused), Number<uint32_t>(),
                                 Number<uint64_t>(), Flip()};
      default:
        return core::SetDeadlineResult{
            Flip(),
            Number<uint32_t>(),
            Number<uint64_t>(),
            {ADeadline(), ADeadline()},
            {Enum(core::DeadlineEffect::kRefused), Enum(core::DeadlineEffect::kRefused)},
            At()};
    }
  }

  core::SavedId Id(core::SavedIdKey key) {
    core::SavedId id{.key = std::move(key),
                     .shard = static_cast<uint32_t>(Below(64)),
                     .kept = Flip(),
                     .content = Number<uint64_t>(),
                     .recorded = At(),
                     .ack_timeout = Span()};
    id.answer = Answer(Below(7));
    return id;
  }

  core::SavedDelivery Delivery() {
    using State = core::Delivery::State;
    return {.key = DeliveryKey(),
            .shard = static_cast<uint32_t>(Below(64)),
            .state = static_cast<State>(1 + Below(static_cast<uint64_t>(State::kStale))),
            .acknowledgeable = Flip(),
            .attempt = Number<uint32_t>(),
            .coalesced = Number<uint32_t>(),
            .signal = Signal(),
            .ready_time = Wall(),
            .wait_id = Text(),
            .caller = Number<uint64_t>(),
            .alarm = At(),
            .recorded = At()};
  }

  core::SavedDeliveryKey DeliveryKey() {
    return {Below(20), Enum(core::Side::kWrite), uint64_t{1} << (Below(3) * 31)};
  }

  core::SavedIdKey Key() {
    return {Enum(core::IdUse::kRequest), Below(2) * ~uint64_t{0}, Below(2) * 0x8000'0000'0000'0001U,
            std::to_string(Below(20))};
  }

  core::Changes Changes() {
    core::Changes changes;
    for (uint64_t n = Below(4); n > 0; --n) {
      changes.closed.push_back({std::to_string(Below(20)), Below(20)});
    }
    for (uint64_t n = Below(4); n > 0; --n) changes.ended.push_back(DeliveryKey());
    for (uint64_t n = Below(9); n > 0; --n) changes.deliveries.push_back(Delivery());
    for (uint64_t n = Below(6); n > 0; --n)
      changes.descs.push_back(Desc(std::to_string(Below(20))));
    for (uint64_t n = Below(9); n > 0; --n) changes.forgotten.push_back(Key());
    for (uint64_t n = Below(9); n > 0; --n) changes.ids.push_back(Id(Key()));
    changes.shards.push_back({static_cast<uint32_t>(Below(64)), At(), 100 + Below(100)});
    return changes;
  }

 private:
  std::mt19937_64 random_;
  std::vector<Payload> shared_;
};

class StoreTest : public ::testing::Test {
 protected:
  // Opens it anew, as another process would.
  Contents Reopen() {
    store_.reset();
    store_ = Open(data(), machine_);
    auto contents = LoadAll(*store_);
    EXPECT_TRUE(contents.ok()) << contents.status();
    return contents.ok() ? *contents : Contents();
  }

  // The only descriptor that is stored, after opening anew.
  core::SavedDesc OnlyDesc() {
    core::Changes found;
    store_.reset();
    store_ = Open(data(), machine_);
    EXPECT_TRUE(LoadInto(*store_, &found).ok());
    EXPECT_EQ(found.descs.size(), 1);
    return found.descs.empty() ? core::SavedDesc() : found.descs.front();
  }

  StoreReport Check() {
    store_.reset();
    auto report = CheckStore(data());
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return {};
    EXPECT_EQ(report->faults, std::vector<std::string>());
    return *report;
  }

  std::string data() const { return temp_.path() + "/data"; }

  TempDir temp_;
  Machine machine_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, EveryKindOfRecordComesBackAsItWas) {
  Draw draw(1);
  Contents expected = Reopen();
  EXPECT_EQ(expected, Contents());
  core::Changes changes{.shards = Lives()};
  for (int i = 0; i < 500; ++i) {
    changes.descs.push_back(draw.Desc("d" + std::to_string(i)));
    changes.ids.push_back(draw.Id({core::IdUse::kWait, 7, 0, "i" + std::to_string(i)}));
    changes.ids.back().answer = draw.Answer(static_cast<uint64_t>(i) % 7);
    changes.deliveries.push_back(draw.Delivery());
    changes.deliveries.back().key.number = static_cast<uint64_t>(i);
  }
  expected.Apply(changes);
  Commit(*store_, changes);
  EXPECT_EQ(Reopen(), expected);
  Check();
}

TEST_F(StoreTest, RandomChangesLeaveWhatTheModelHas) {
  for (const uint64_t seed : {11, 12, 13, 14}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    store_.reset();
    std::filesystem::remove_all(data());
    Draw draw(seed);
    Contents expected = Reopen();
    for (int step = 0; step < 300; ++step) {
      const core::Changes changes = draw.Changes();
      expected.Apply(changes);
      Commit(*store_, changes);
      if (draw.Below(60) == 0) {
        ASSERT_EQ(Reopen(), expected);
      }
    }
    ASSERT_EQ(Reopen(), expected);
    Check();
  }
}

TEST_F(StoreTest, NamesAndPayloadsMayBeAnything) {
  Contents expected = Reopen();
  core::Changes changes{.shards = Lives()};
  for (const std::string& name :
       {std::string("a"), std::string("\xC3\xA9/\xE2\x82\xAC/\xF0\x9F\x98\x80"),
        std::string(512, 'n'), std::string("\xFF\xFE"), std::string("m"), std::string("p\0p", 3)}) {
    core::SavedDesc desc{.name = name, .generation = 1};
    desc.side[0].signal = Bytes(std::string(64 << 10, '\0'));
    desc.side[1].signal = Bytes("");
    changes.descs.push_back(desc);
    changes.ids.emplace_back().key = {core::IdUse::kRequest, 0, 0, name};
    changes.deliveries.push_back({.key = {1, core::Side::kRead, 1}, .wait_id = name});
  }
  changes.ids.emplace_back().key = {core::IdUse::kRequest, 0, 0, ""};
  expected.Apply(changes);
  Commit(*store_, changes);
  EXPECT_EQ(Reopen(), expected);
}

TEST_F(StoreTest, ANameMayBeClosedAndOpenedInOneBatch) {
  Reopen();
  const std::deque<core::SavedId> id = Ids({{.key = {core::IdUse::kWait, 1, 0, "x"}}});
  Commit(*store_, {.descs = Descs({{.name = "a", .generation = 1}, {.name = "b", .generation = 2}}),
                   .shards = Lives()});
  Commit(*store_, {.closed = Closed({{"a", 1}, {"b", 2}}),
                   .descs = Descs({{.name = "a", .generation = 3}})});
  Commit(*store_, {.forgotten = RowsOf<core::SavedIdKey>({id.begin()->key}), .ids = id});
  const Contents contents = Reopen();
  Contents expected;
  expected.Apply({.descs = Descs({{.name = "a", .generation = 3}}), .ids = id, .shards = Lives()});
  EXPECT_EQ(contents, expected);
}

core::SavedDelivery DeliveryOf(uint64_t generation, core::Side side, uint64_t number,
                               const Payload& signal = nullptr) {
  return {.key = {generation, side, number}, .signal = signal, .wait_id = "w"};
}

TEST_F(StoreTest, DeliveriesGoWithTheirNameAndTheirPayloadsWithThem) {
  using core::Side;
  const Payload big = Bytes(std::string(1000, 'x'));
  Reopen();
  core::Changes changes{
      .descs = Descs({{.name = "a", .generation = 1}, {.name = "b", .generation = 256}}),
      .shards = Lives()};
  for (uint64_t number = 1; number <= 300; ++number) {
    changes.deliveries.push_back(DeliveryOf(1, Side::kRead, number, big));
    changes.deliveries.push_back(DeliveryOf(1, Side::kWrite, number));
  }
  changes.deliveries.push_back(DeliveryOf(256, Side::kRead, 1, Bytes(std::string(1000, 'y'))));
  Commit(*store_, changes);
  Contents expected;
  expected.Apply(changes);
  // Also of those that another process stored.
  EXPECT_EQ(Reopen(), expected);
  EXPECT_EQ(Check().payloads, 2);
  Reopen();
  const core::Changes ended{
      .ended = RowsOf<core::SavedDeliveryKey>({{1, Side::kRead, 1}, {1, Side::kRead, 999}})};
  Commit(*store_, ended);
  expected.Apply(ended);
  EXPECT_EQ(Reopen(), expected);
  const core::Changes closed{.closed = Closed({{"a", 1}}),
                             .descs = Descs({{.name = "a", .generation = 2}}),
                             .deliveries = Deliveries({DeliveryOf(2, Side::kRead, 1)})};
  Commit(*store_, closed);
  expected.Apply(closed);
  EXPECT_EQ(Reopen(), expected);
  const StoreReport report = Check();
  EXPECT_EQ(report.payloads, 1);
  EXPECT_EQ(report.deliveries, 2);
}

TEST_F(StoreTest, ADeliverysPayloadMovesToWhatComesAfterIt) {
  const Payload big = Bytes(std::string(1000, 'x'));
  Reopen();
  core::Changes returned{.descs = Descs({{.name = "a", .generation = 1}}),
                         .deliveries = Deliveries({DeliveryOf(1, core::Side::kRead, 1, big)}),
                         .shards = Lives()};
  Commit(*store_, returned);
  size_t bytes = 0;
  core::SavedDelivery stale = DeliveryOf(1, core::Side::kRead, 1);
  stale.state = core::Delivery::State::kStale;
  ASSERT_TRUE(
      store_
          ->Commit({.deliveries = Deliveries({stale, DeliveryOf(1, core::Side::kRead, 2, big)})},
                   &bytes)
          .ok());
  EXPECT_LT(bytes, 300);
  EXPECT_EQ(Check().payloads, 1);
}

TEST_F(StoreTest, NothingIsWrittenForNoChanges) {
  Reopen();
  size_t bytes = 1;
  EXPECT_TRUE(store_->Commit({}, &bytes).ok());
  EXPECT_EQ(bytes, 0);
  EXPECT_TRUE(store_->Commit({.shards = Lives()}, &bytes).ok());
  EXPECT_GT(bytes, 0);
}

core::SavedId OutcomeWith(const Payload& payload, int number) {
  return {.key = {core::IdUse::kWait, 1, 0, std::to_string(number)},
          .answer = core::WaitResult{.signal = payload}};
}

TEST_F(StoreTest, ALatchsPayloadIsStoredOnceAndGoesWithItsLastOutcome) {
  constexpr int kWaits = 1000;
  constexpr size_t kBig = 64 << 10;
  Reopen();
  const Payload payload = Bytes(std::string(kBig, 'x'));
  core::Changes changes{.descs = Descs({{.name = "latch", .generation = 1}}), .shards = Lives()};
  changes.descs.front().side[0].signal = payload;
  for (int i = 0; i < kWaits; ++i) changes.ids.push_back(OutcomeWith(payload, i));
  size_t bytes = 0;
  ASSERT_TRUE(store_->Commit(changes, &bytes).ok());
  EXPECT_LT(bytes, kBig + kWaits * 100);
  EXPECT_EQ(Check().payloads, 1);

  // Who carries it shares it again, and so do those that come later.
  core::Changes found;
  store_ = Open(data(), machine_);
  ASSERT_TRUE(LoadInto(*store_, &found).ok());
  ASSERT_EQ(found.ids.size(), kWaits);
  const Payload again = found.descs.front().side[0].signal;
  for (const core::SavedId& id : found.ids) {
    ASSERT_EQ(std::get<core::WaitResult>(id.answer).signal, again);
  }
  ASSERT_TRUE(store_->Commit({.ids = Ids({OutcomeWith(again, kWaits)})}, &bytes).ok());
  EXPECT_LT(bytes, 200);

  core::Changes forget{.closed = Closed({{"latch", 1}})};
  for (int i = 0; i < kWaits; ++i) forget.forgotten.push_back(OutcomeWith(nullptr, i).key);
  Commit(*store_, forget);
  EXPECT_EQ(Check().payloads, 1);
  Reopen();
  Commit(*store_, {.ids = Ids({OutcomeWith(Bytes("small"), kWaits)})});
  EXPECT_EQ(Check().payloads, 0);
}

TEST_F(StoreTest, APayloadHasARowOfItsOwnFromItsSizeOn) {
  constexpr size_t kFrom = 128;
  Reopen();
  for (const size_t size : {kFrom - 1, kFrom, kFrom + 1}) {
    const int number = static_cast<int>(size);
    Commit(*store_, {.ids = Ids({OutcomeWith(Bytes(std::string(size, 'x')), number)})});
  }
  EXPECT_EQ(Check().payloads, 2);
}

core::Changes WithDeadline(Deadline deadline) {
  core::Changes changes{.descs = Descs({{.name = "a", .generation = 1}}), .shards = Lives()};
  changes.descs.front().side[0].deadline = deadline;
  return changes;
}

Deadline In(Nanos time, const Machine& machine) {
  return {machine.now.mono + time, machine.now.wall + time, Deadline::State::kArmed};
}

TEST_F(StoreTest, OnTheSameBootNoStepOfTheWallClockMovesADeadline) {
  for (const Nanos step : {Nanos(hours(1)), Nanos(-hours(1))}) {
    Reopen();
    const Deadline deadline = In(seconds(100), machine_);
    Commit(*store_, WithDeadline(deadline));
    machine_.Pass(seconds(7));
    machine_.StepWall(step);
    const core::SavedDesc desc = OnlyDesc();
    EXPECT_EQ(desc.side[0].deadline.at, deadline.at);
    EXPECT_EQ(desc.side[0].deadline.wall, deadline.wall);
  }
}

TEST_F(StoreTest, TimeInWhichTheMachineWasSuspendedHasPassed) {
  Reopen();
  const Deadline deadline = In(seconds(100), machine_);
  Commit(*store_, WithDeadline(deadline));
  machine_.Suspend(seconds(30));
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, deadline.at - seconds(30));
}

TEST_F(StoreTest, OnANewBootTheWallClockCounts) {
  Reopen();
  const Deadline deadline = In(seconds(100), machine_);
  Commit(*store_, WithDeadline(deadline));
  machine_.Reboot(seconds(40));
  const Instant there = machine_.now.mono + seconds(60);
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, there);

  // From then on it stands on this boot's clock, though it was never written again.
  machine_.StepWall(hours(1));
  machine_.Pass(seconds(5));
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, there);

  // What is written now, and what was before, are told apart in the boot after.
  Commit(*store_, {.closed = Closed({{"a", 1}})});
  const Deadline next = In(seconds(50), machine_);
  Commit(*store_, WithDeadline(next));
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, next.at);
  machine_.Reboot(seconds(20));
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, machine_.now.mono + seconds(30));
}

TEST_F(StoreTest, ABootThatIsNotKnownIsLikeNoOther) {
  machine_.boot = "";
  Reopen();
  Commit(*store_, WithDeadline(In(seconds(100), machine_)));
  machine_.StepWall(seconds(10));
  EXPECT_EQ(OnlyDesc().side[0].deadline.at, machine_.now.mono + seconds(90));
}

TEST_F(StoreTest, TheEndsOfTheRangeSurviveEveryBoot) {
  Reopen();
  core::Changes changes = WithDeadline({core::kNever, WallTime::max(), Deadline::State::kArmed});
  changes.descs.front().idle_ttl = core::kForever;
  // Its wall time is beyond the range, its instant is not: early is what it must not be.
  changes.descs.front().side[1].deadline = {core::kNever - seconds(1), WallTime::max(),
                                            Deadline::State::kArmed};
  changes.ids = Ids({{.key = {core::IdUse::kWait, 1, 0, "x"}, .recorded = Instant::min()}});
  changes.deliveries = Deliveries({{.key = {1, core::Side::kRead, 1}, .recorded = Instant::min()}});
  changes.shards.push_back({5, Instant::min(), 1});
  Commit(*store_, changes);
  changes.descs.front().side[1].deadline.at = core::kNever;
  Contents expected;
  expected.Apply(changes);
  EXPECT_EQ(Reopen(), expected);
  machine_.Reboot(hours(1));
  EXPECT_EQ(Reopen(), expected);
}

// Time passes between any two readings of the clocks, as it does on a machine.
TEST_F(StoreTest, NoInstantComesBackEarlier) {
  StoreClock clock = machine_.clock();
  const auto passing = [this](auto read) {
    return [this, read] {
      machine_.Pass(Nanos(1000));
      return read();
    };
  };
  clock.now = passing(clock.now);
  clock.boottime = passing(clock.boottime);
  Instant at = machine_.now.mono + seconds(10);
  const WallTime wall = machine_.now.wall + seconds(10);
  for (int i = 0; i < 10; ++i) {
    auto store = OpenRocksStore({data(), SyncMode::kNever, clock});
    ASSERT_TRUE(store.ok()) << store.status();
    core::Changes found;
    ASSERT_TRUE(LoadInto(**store, &found).ok());
    const Instant restored = found.descs.empty() ? at : found.descs.front().side[0].deadline.at;
    EXPECT_GE(restored, at);
    EXPECT_LE(restored, at + Nanos(10'000));
    at = restored;
    Commit(**store, WithDeadline({at, wall, Deadline::State::kArmed}));
  }
}

TEST_F(StoreTest, ABackupIsAStoreLikeTheOther) {
  Draw draw(3);
  Contents expected = Reopen();
  for (int i = 0; i < 50; ++i) {
    const core::Changes changes = draw.Changes();
    expected.Apply(changes);
    Commit(*store_, changes);
  }
  const std::string copy = temp_.path() + "/copy";
  const auto made = store_->Backup(copy);
  ASSERT_TRUE(made.ok()) << made;
  Commit(*store_, {.descs = Descs({{.name = "later", .generation = 1}})});
  auto contents = OpenAndLoad(copy, machine_);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(*contents, expected);
  EXPECT_EQ(store_->Backup(copy).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::filesystem::status(copy).permissions(), std::filesystem::perms::owner_all);
  EXPECT_FALSE(store_->Backup("/proc/none/copy").ok());
}

TEST_F(StoreTest, SyncsInEveryMode) {
  for (const SyncMode sync : {SyncMode::kAlways, SyncMode::kInterval, SyncMode::kNever}) {
    store_.reset();
    std::filesystem::remove_all(data());
    store_ = Open(data(), machine_, sync);
    ASSERT_TRUE(LoadAll(*store_).ok());
    Contents expected;
    Draw draw(5);
    for (int i = 0; i < 20; ++i) {
      const core::Changes changes = draw.Changes();
      expected.Apply(changes);
      Commit(*store_, changes);
    }
    EXPECT_EQ(Reopen(), expected);
  }
}

// One who finds nothing yet, and another who makes a store there meanwhile.
TEST_F(StoreTest, OfTwoThatStartAtOnceInANewDirectoryNoneUndoesTheOthersStore) {
  for (int round = 0; round < 30; ++round) {
    const TempDir dir;
    const std::string path = dir.path() + "/store";
    std::array<std::unique_ptr<Store>, 2> stores;
    std::atomic<int> there{0};
    const auto open = [&](size_t which) {
      ++there;
      while (there < 2) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(which == 0 ? 0 : round % 10));
      auto store = OpenRocksStore({.data_dir = path});
      if (store.ok()) stores[which] = *std::move(store);
    };
    std::thread other([&] { open(1); });
    open(0);
    other.join();
    ASSERT_NE(stores[0] == nullptr, stores[1] == nullptr) << "in round " << round;
    ASSERT_NE(ReadFile(path + "/waitd-store").find(", ready\n"), std::string::npos)
        << "in round " << round;
  }
}

TEST_F(StoreTest, TellsItsSizeAndWhatIsLeft) {
  Reopen();
  const uint64_t before = store_->Bytes();
  std::string noise(1 << 20, '\0');
  std::mt19937_64 random(1);
  for (char& byte : noise) byte = static_cast<char>(random());
  Commit(*store_, {.ids = Ids({OutcomeWith(Bytes(noise), 1)})});
  EXPECT_GE(store_->Bytes(), before + noise.size());
  const auto left = store_->FreeBytes();
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_GT(*left, 0);
}

// On the clocks of the machine that the test runs on.
TEST_F(StoreTest, TheMachinesClocksBringAnInstantBack) {
  const StoreClock clock = StoreClock::OfMachine();
  EXPECT_NE(clock.boot, "");
  const Instant at = clock.now().mono + hours(1);
  for (int i = 0; i < 2; ++i) {
    auto store = OpenRocksStore({.data_dir = data()});
    ASSERT_TRUE(store.ok()) << store.status();
    core::Changes found;
    ASSERT_TRUE(LoadInto(**store, &found).ok());
    const Instant restored = found.descs.empty() ? at : found.descs.front().side[0].deadline.at;
    EXPECT_GE(restored, at);
    EXPECT_LE(restored, at + seconds(10));  // as far apart as a loaded machine reads its clocks
    if (i == 0) Commit(**store, WithDeadline({at, WallTime(), Deadline::State::kArmed}));
  }
}

}  // namespace
}  // namespace waitd::server
