// Goal: what a store of format 1 holds is there in format 2, and a start that breaks off undoes
// nothing. Method: rows as format 1 had them, written by hand.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/shard.h"
#include "rocksdb/db.h"
#include "server/store/format1.pb.h"
#include "server/store/record.pb.h"
#include "tests/unit/server/store_fixture.h"

namespace waitd::server {
namespace {

namespace f1 = store::format1;
namespace f2 = store::v1;
using State = core::Delivery::State;

constexpr uint64_t kNext = 1'000'000;

class Format1Test : public ::testing::Test {
 protected:
  Format1Test() {
    // A store of today, and then of format 1.
    EXPECT_TRUE(OpenAndLoad(data(), machine_).ok());
    WriteFile(marker(), "waitd store, format 1, ready\n");
    f2::Format format;
    format.set_magic("waitd");
    format.set_version(1);
    Put("mformat", format);
    f1::Generation generation;
    generation.set_next(kNext);
    Put("mgeneration", generation);
  }

  std::string data() const { return temp_.path() + "/data"; }
  std::string marker() const { return data() + "/waitd-store"; }

  void WithDatabase(const std::function<void(rocksdb::DB&)>& run) {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, data() + "/rocksdb", &db).ok());
    run(*db);
    delete db;
  }
  void PutBytes(const std::string& key, const std::string& value) {
    WithDatabase([&](rocksdb::DB& db) { EXPECT_TRUE(db.Put({}, key, value).ok()); });
  }
  void Put(const std::string& key, const google::protobuf::MessageLite& row) {
    PutBytes(key, row.SerializeAsString());
  }
  bool Has(const std::string& key) {
    bool has = false;
    WithDatabase([&](rocksdb::DB& db) {
      std::string value;
      has = db.Get({}, key, &value).ok();
    });
    return has;
  }

  static std::string Number(uint64_t number) {
    std::string bytes;
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xFF);
    return bytes;
  }
  static std::string IdKey(int use, uint64_t caller, const std::string& id) {
    return "i" + std::string(1, static_cast<char>(use)) + Number(7) + Number(caller) + id;
  }

  static f1::Token TokenOf(uint64_t delivery, uint32_t attempt, const std::string& signal) {
    f1::Token token;
    token.mutable_signal()->set_here(signal);
    token.set_ready_time(55);
    token.set_coalesced(2);
    token.set_attempt(attempt);
    token.set_delivery(delivery);
    return token;
  }

  // A name with these signals that came back.
  void PutDesc(const std::string& name, uint64_t generation, std::vector<f1::Token> returned) {
    f2::Desc desc;
    desc.set_epoch(1);
    desc.set_kind(f2::KIND_FIFO);
    desc.set_generation(generation);
    desc.set_owner("kept as it is");
    desc.mutable_read()->set_delivery(9);
    desc.mutable_read()->mutable_signal()->set_here("remembered");
    desc.mutable_write();
    f1::Desc more;
    for (f1::Token& token : returned) *more.mutable_read()->add_returned() = std::move(token);
    // As messages are: what is added to the bytes is merged.
    PutBytes("d" + name, desc.SerializeAsString() + more.SerializeAsString());
  }

  void PutHandOff(const std::string& id, uint64_t generation, f1::IdState state, f1::Token token) {
    f1::Id row;
    row.set_epoch(1);
    row.set_shard(3);
    row.set_state(state);
    f2::Instant* const at =
        state == f1::ID_STATE_PENDING ? row.mutable_alarm() : row.mutable_recorded();
    at->set_boot((machine_.boottime + seconds(30)).count());
    at->set_wall(machine_.now.wall.time_since_epoch().count());
    row.mutable_hand_off()->set_generation(generation);
    row.mutable_hand_off()->set_side(f2::SIDE_READ);
    *row.mutable_hand_off()->mutable_token() = std::move(token);
    Put(IdKey(3, 42, id), row);
  }

  // Opens it, which converts it, and again, as it is then.
  core::Changes Converted() {
    const auto first = OpenAndLoad(data(), machine_);
    EXPECT_TRUE(first.ok()) << first.status();
    auto store = Open(data(), machine_);
    core::Changes found;
    EXPECT_TRUE(LoadInto(*store, &found).ok());
    Contents again;
    again.Apply(found);
    if (first.ok()) {
      EXPECT_EQ(*first, again);
    }
    store.reset();
    const auto report = CheckStore(data());
    EXPECT_TRUE(report.ok()) << report.status();
    if (report.ok()) {
      EXPECT_EQ(report->faults, std::vector<std::string>());
      EXPECT_FALSE(report->old);
    }
    return found;
  }

  TempDir temp_;
  Machine machine_;
};

TEST_F(Format1Test, APendingHandOffIsADelivery) {
  PutDesc("name", 17, {});
  PutHandOff("w", 17, f1::ID_STATE_PENDING, TokenOf(4, 3, "signal"));
  core::Changes found = Converted();
  ASSERT_EQ(found.deliveries.size(), 1);
  const core::SavedDelivery& delivery = found.deliveries.front();
  EXPECT_EQ(delivery.key.generation, 17);
  EXPECT_EQ(delivery.key.side, core::Side::kRead);
  EXPECT_EQ(delivery.key.number, 4);
  EXPECT_EQ(delivery.shard, core::ShardOf("name"));
  EXPECT_EQ(delivery.state, State::kPending);
  EXPECT_TRUE(delivery.acknowledgeable);
  EXPECT_EQ(delivery.attempt, 2) << "of the wait that had it, and no more of the next one";
  EXPECT_EQ(delivery.coalesced, 2);
  EXPECT_EQ(*delivery.signal, "signal");
  EXPECT_EQ(delivery.ready_time, core::WallTime(core::Nanos(55)));
  EXPECT_EQ(delivery.wait_id, "w");
  EXPECT_EQ(delivery.caller, 42);
  EXPECT_EQ(delivery.alarm, machine_.now.mono + seconds(30));
  EXPECT_EQ(found.ids.size(), 0);
  ASSERT_EQ(found.descs.size(), 1);
  EXPECT_EQ(found.descs.front().owner, "kept as it is");
  EXPECT_EQ(*found.descs.front().side[0].signal, "remembered");
}

TEST_F(Format1Test, WhatWasAcknowledgedOrIsStaleStaysSo) {
  PutDesc("name", 17, {});
  PutHandOff("acked", 17, f1::ID_STATE_ACKED, TokenOf(1, 2, "a"));
  PutHandOff("stale", 17, f1::ID_STATE_STALE, TokenOf(2, 2, "b"));
  core::Changes found = Converted();
  ASSERT_EQ(found.deliveries.size(), 2);
  const State expected[] = {State::kAcked, State::kStale};
  uint64_t number = 0;
  for (const core::SavedDelivery& delivery : found.deliveries) {
    EXPECT_EQ(delivery.state, expected[number]);
    EXPECT_EQ(delivery.key.number, ++number);
    EXPECT_TRUE(delivery.acknowledgeable);
    EXPECT_EQ(delivery.signal, nullptr);
    EXPECT_EQ(delivery.recorded, machine_.now.mono + seconds(30));
  }
}

TEST_F(Format1Test, ASignalThatCameBackAndItsStaleHandOffAreOneDelivery) {
  PutDesc("name", 17, {TokenOf(2, 2, "with"), TokenOf(5, 1, "without")});
  PutHandOff("stale", 17, f1::ID_STATE_STALE, TokenOf(2, 2, "with"));
  core::Changes found = Converted();
  ASSERT_EQ(found.deliveries.size(), 2);
  auto delivery = found.deliveries.begin();
  EXPECT_EQ(delivery->key.number, 2);
  EXPECT_EQ(delivery->state, State::kReturned);
  EXPECT_TRUE(delivery->acknowledgeable);
  EXPECT_EQ(delivery->attempt, 1);
  EXPECT_EQ(delivery->wait_id, "stale");
  EXPECT_EQ(delivery->caller, 42);
  EXPECT_EQ(*delivery->signal, "with");
  ++delivery;
  EXPECT_EQ(delivery->key.number, 5);
  EXPECT_EQ(delivery->state, State::kReturned);
  EXPECT_FALSE(delivery->acknowledgeable);
  EXPECT_EQ(delivery->attempt, 1);
  EXPECT_EQ(*delivery->signal, "without");
}

TEST_F(Format1Test, OfANameThatIsClosedNothingStaysAndNoPayload) {
  f1::Token token = TokenOf(1, 2, "");
  token.mutable_signal()->set_row(5);
  PutBytes("p" + Number(5), std::string(1000, 'x'));
  PutHandOff("w", 17, f1::ID_STATE_PENDING, token);
  EXPECT_EQ(Converted().deliveries.size(), 0);
  EXPECT_FALSE(Has("p" + Number(5)));
}

TEST_F(Format1Test, APayloadThatMovesStaysWhereItIs) {
  f1::Token token = TokenOf(1, 2, "");
  token.mutable_signal()->set_row(5);
  PutBytes("p" + Number(5), std::string(1000, 'x'));
  PutDesc("name", 17, {token});
  PutHandOff("w", 17, f1::ID_STATE_STALE, token);
  core::Changes found = Converted();
  ASSERT_EQ(found.deliveries.size(), 1);
  EXPECT_EQ(found.deliveries.front().signal->size(), 1000);
  EXPECT_TRUE(Has("p" + Number(5)));
}

TEST_F(Format1Test, AnswersStayButThoseOfMaxWait) {
  f2::Id row;
  row.set_epoch(1);
  row.set_shard(3);
  row.set_state(f2::ID_STATE_ANSWERED);
  row.mutable_wait()->set_outcome(f2::OUTCOME_TIMED_OUT);
  row.mutable_wait()->set_cause(f2::TIMEOUT_CAUSE_WAIT);
  row.mutable_wait()->set_side(f2::SIDE_READ);
  Put(IdKey(1, 0, "by itself"), row);
  row.set_state(f2::ID_STATE_KEPT);
  row.mutable_wait()->set_outcome(f2::OUTCOME_READY);
  row.mutable_wait()->set_cause(f2::TIMEOUT_CAUSE_NONE);
  Put(IdKey(1, 0, "kept"), row);
  row.set_state(f2::ID_STATE_ANSWERED);
  row.mutable_wait()->set_outcome(f2::OUTCOME_TIMED_OUT);
  row.mutable_wait()->set_cause(f2::TIMEOUT_CAUSE_MAX_WAIT);
  Put(IdKey(1, 0, "by max-wait"), row);
  row.mutable_poll()->set_outcome(f2::OUTCOME_TIMED_OUT);
  row.mutable_poll()->set_cause(f2::TIMEOUT_CAUSE_MAX_WAIT);
  Put(IdKey(1, 0, "a poll"), row);
  row.mutable_close()->set_woken(3);
  Put(IdKey(2, 0, "close"), row);
  core::Changes found = Converted();
  std::map<std::string, bool> kept;
  for (const core::SavedId& id : found.ids) kept[id.key.id] = id.kept;
  EXPECT_EQ(kept,
            (std::map<std::string, bool>{{"by itself", false}, {"kept", true}, {"close", false}}));
}

TEST_F(Format1Test, EachShardBeginsAboveEveryGeneration) {
  f1::Horizon horizon;
  horizon.set_epoch(1);
  horizon.mutable_at()->set_boot(machine_.boottime.count());
  horizon.mutable_at()->set_wall(machine_.now.wall.time_since_epoch().count());
  Put("mhorizon/" + std::string("\0\0\0\7", 4), horizon);
  core::Changes found = Converted();
  ASSERT_EQ(found.shards.size(), core::kShards);
  for (const core::SavedShard& shard : found.shards) {
    EXPECT_EQ(shard.lives, kNext / 64 + 1);
    EXPECT_EQ(shard.horizon, shard.shard == 7 ? machine_.now.mono : core::Instant::min());
  }
  EXPECT_FALSE(Has("mgeneration"));
}

TEST_F(Format1Test, ItIsKnownForOneOfFormat2AtOnceAndNotBefore) {
  PutDesc("name", 17, {});
  PutHandOff("w", 17, f1::ID_STATE_PENDING, TokenOf(4, 2, "signal"));
  const std::string before = ReadFile(marker());
  const auto report = CheckStore(data());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->faults, std::vector<std::string>());
  EXPECT_TRUE(report->old);
  EXPECT_EQ(report->descs, 1);
  EXPECT_EQ(report->deliveries, 1);
  EXPECT_EQ(ReadFile(marker()), before) << "to check it changes nothing";
  Converted();
  EXPECT_NE(ReadFile(marker()).find("format 2, ready"), std::string::npos);
  // A start that broke off before it was marked.
  WriteFile(marker(), before);
  Converted();
  EXPECT_NE(ReadFile(marker()).find("format 2, ready"), std::string::npos);
}

TEST_F(Format1Test, ARowThatCannotBeReadLeavesItOfFormat1) {
  PutDesc("name", 17, {});
  PutHandOff("w", 17, f1::ID_STATE_PENDING, TokenOf(4, 2, "signal"));
  PutBytes(IdKey(4, 0, "bad"), "\xFF");
  EXPECT_EQ(OpenAndLoad(data(), machine_).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(ReadFile(marker()).find("format 1, ready"), std::string::npos);
  EXPECT_TRUE(Has(IdKey(3, 42, "w")));
  const auto report = CheckStore(data());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->faults.empty());
}

}  // namespace
}  // namespace waitd::server
