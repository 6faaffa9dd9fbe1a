#ifndef WAITD_TESTS_UNIT_SERVER_STORE_FIXTURE_H_
#define WAITD_TESTS_UNIT_SERVER_STORE_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/store/store.h"

namespace waitd::server {

using std::chrono::hours;
using std::chrono::seconds;

/// A directory that goes away with the object. In memory, where there is such a place, for each
/// opening of a store syncs a dozen times.
class TempDir {
 public:
  TempDir() {
    const bool memory = access("/dev/shm", W_OK) == 0;
    path_ = (memory ? "/dev/shm/" : ::testing::TempDir()) + "waitd-store-XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void WriteFile(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

/// A machine whose clocks stand still unless they are told to go, jump, or begin anew.
struct Machine {
  core::Now now{core::Instant(hours(5)), core::WallTime(hours(24 * 365 * 55))};
  core::Nanos boottime = hours(7);
  std::string boot = "first";

  void Pass(core::Nanos by) {
    now.mono += by;
    now.wall += by;
    boottime += by;
  }
  void StepWall(core::Nanos by) { now.wall += by; }
  void Suspend(core::Nanos by) {
    now.wall += by;
    boottime += by;
  }
  void Reboot(core::Nanos taking) {
    now = {core::Instant(seconds(3)), now.wall + taking};
    boottime = seconds(3);
    boot += "+";
  }

  StoreClock clock() {
    return {[this] { return now; }, [this] { return boottime; }, boot};
  }
};

/// What a record holds, every field of it, so that two can be compared and the difference read.
class Shown {
 public:
  template <class T>
  static std::string Of(const T& value) {
    Shown shown;
    shown.Add(value);
    return shown.text_.str();
  }

 private:
  template <class T>
  requires std::is_integral_v<T>
  void Add(T number) { text_ << +number << ' '; }
  template <class T>
  requires std::is_enum_v<T>
  void Add(T value) { text_ << 'e' << static_cast<int>(value) << ' '; }
  void Add(const std::string& text) { text_ << text.size() << '\'' << text << "' "; }
  void Add(core::Nanos nanos) { text_ << nanos.count() << "ns "; }
  void Add(core::Instant at) { text_ << '@' << at.time_since_epoch().count() << ' '; }
  void Add(core::WallTime at) { text_ << 'w' << at.time_since_epoch().count() << ' '; }
  void Add(const core::Payload& payload) {
    payload == nullptr ? void(text_ << "null ") : Add(*payload);
  }
  template <class T>
  void Add(const std::vector<T>& items) {
    text_ << '[';
    for (const T& item : items) Add(item);
    text_ << "] ";
  }
  template <class... T>
  void All(const T&... fields) {
    text_ << '{';
    (Add(fields), ...);
    text_ << "} ";
  }
  void Add(const std::pair<std::string, std::string>& p) { All(p.first, p.second); }
  void Add(const core::Deadline& d) { All(d.at, d.wall, d.state); }
  void Add(const core::SavedSide& s) {
    All(s.ready, s.coalesced, s.signal, s.ready_time, s.deadline, s.delivery, s.reset_through);
  }
  void Add(const core::SavedDesc& d) {
    All(d.name, d.kind, d.generation, d.open_time, d.idle_ttl, d.labels, d.ephemeral, d.owner,
        d.side[0], d.side[1]);
  }
  void Add(const core::WaitResult& r) {
    All(r.outcome, r.cause, r.coalesced, r.generation, r.signal, r.parked, r.late, r.delivery,
        r.attempt, r.side, r.ready_time);
  }
  void Add(const core::PollResult::Target& t) { All(t.index, t.result(core::Nanos(0))); }
  void Add(const core::PollResult& r) { All(r.outcome, r.cause, r.parked, r.late, r.targets); }
  void Add(const core::CloseResult& r) { All(r.woken); }
  void Add(const core::ResetResult& r) { All(r.reset, r.forgot); }
  void Add(const core::ReadyResult& r) { All(r.effect, r.woken, r.generation, r.expired); }
  void Add(const core::SetDeadlineResult& r) {
    All(r.applied, r.woken, r.generation, r.deadline[0], r.deadline[1], r.effect[0], r.effect[1],
        r.decided);
  }
  void Add(const core::DescriptorInfo::SideInfo& s) {
    All(s.state, s.waiters, s.payload_bytes, s.unacked, s.returned, s.deadline);
  }
  void Add(const core::OpenResult& r) {
    const core::DescriptorInfo& d = r.descriptor;
    All(d.name, d.kind, d.generation, d.open_time, d.idle_ttl, d.labels, d.ephemeral, d.owner,
        d.side[0], d.side[1], r.created, r.decided);
  }
  void Add(const core::SavedIdKey& k) { All(k.use, k.name, k.caller, k.id); }
  void Add(const core::SavedId& i) {
    All(i.key, i.shard, i.kept, i.content, i.recorded, i.ack_timeout);
    text_ << '#' << i.answer.index();
    std::visit([this](const auto& answer) { Add(answer); }, i.answer);
  }
  void Add(const core::SavedDeliveryKey& k) { All(k.generation, k.side, k.number); }
  void Add(const core::SavedDelivery& d) {
    All(d.key, d.shard, d.state, d.acknowledgeable, d.attempt, d.coalesced, d.signal, d.ready_time,
        d.wait_id, d.caller, d.alarm, d.recorded);
  }
  void Add(const core::SavedShard& s) { All(s.shard, s.horizon, s.lives); }

  std::ostringstream text_;
};

/// For parts of core::Changes.
template <class T>
std::deque<T> RowsOf(std::vector<T> items) {
  std::deque<T> rows;
  for (T& item : items) rows.push_back(std::move(item));
  return rows;
}
inline std::deque<core::SavedDesc> Descs(std::vector<core::SavedDesc> items) {
  return RowsOf(std::move(items));
}
inline std::deque<core::SavedId> Ids(std::vector<core::SavedId> items) {
  return RowsOf(std::move(items));
}
inline std::deque<core::SavedDelivery> Deliveries(std::vector<core::SavedDelivery> items) {
  return RowsOf(std::move(items));
}
inline std::deque<core::ClosedDesc> Closed(std::vector<core::ClosedDesc> items) {
  return RowsOf(std::move(items));
}
/// One shard that has given out enough generations for a test.
inline std::deque<core::SavedShard> Lives(uint64_t lives = 100) {
  return RowsOf<core::SavedShard>({{.shard = 0, .lives = lives}});
}

/// What a store holds, or should hold: records as they are shown, by their keys.
struct Contents {
  std::map<std::string, std::string> descs;
  std::map<std::string, std::string> ids;
  std::map<uint64_t, std::map<std::string, std::string>> deliveries;  // by generation
  std::map<uint32_t, std::string> shards;

  bool operator==(const Contents&) const = default;

  void Apply(const core::Changes& changes) {
    for (const core::ClosedDesc& closed : changes.closed) {
      descs.erase(closed.name);
      deliveries.erase(closed.generation);
    }
    for (const core::SavedIdKey& id : changes.forgotten) ids.erase(Shown::Of(id));
    for (const core::SavedDeliveryKey& key : changes.ended) {
      deliveries[key.generation].erase(Shown::Of(key));
    }
    for (const core::SavedDesc& desc : changes.descs) descs[desc.name] = Shown::Of(desc);
    for (const core::SavedId& id : changes.ids) ids[Shown::Of(id.key)] = Shown::Of(id);
    for (const core::SavedDelivery& delivery : changes.deliveries) {
      deliveries[delivery.key.generation][Shown::Of(delivery.key)] = Shown::Of(delivery);
    }
    for (const core::SavedShard& each : changes.shards) shards[each.shard] = Shown::Of(each);
    std::erase_if(deliveries, [](const auto& each) { return each.second.empty(); });
  }

  friend std::ostream& operator<<(std::ostream& out, const Contents& contents) {
    for (const auto& [key, desc] : contents.descs) out << "\n  " << desc;
    for (const auto& [key, id] : contents.ids) out << "\n  " << id;
    for (const auto& [generation, rows] : contents.deliveries) {
      for (const auto& [key, delivery] : rows) out << "\n  " << delivery;
    }
    for (const auto& [number, shard] : contents.shards) out << "\n  " << shard;
    return out << '\n';
  }
};

inline std::unique_ptr<Store> Open(const std::string& path, Machine& machine,
                                   SyncMode sync = SyncMode::kNever) {
  auto store = OpenRocksStore({.data_dir = path, .sync = sync, .clock = machine.clock()});
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

/// As changes that would make it what it is.
inline absl::StatusOr<Loaded> LoadInto(Store& store, core::Changes* found) {
  struct Taker {
    core::Changes& to;
    void operator()(core::SavedDesc desc) const { to.descs.push_back(std::move(desc)); }
    void operator()(core::SavedId id) const { to.ids.push_back(std::move(id)); }
    void operator()(core::SavedDelivery delivery) const {
      to.deliveries.push_back(std::move(delivery));
    }
  };
  auto loaded = store.Load([&](Store::Row row) { std::visit(Taker{*found}, std::move(row)); });
  if (loaded.ok()) found->shards = RowsOf(loaded->shards);
  return loaded;
}

inline absl::StatusOr<Contents> LoadAll(Store& store) {
  Contents contents;
  core::Changes found;
  auto loaded = LoadInto(store, &found);
  if (!loaded.ok()) return loaded.status();
  EXPECT_EQ(loaded->descs, found.descs.size());
  EXPECT_EQ(loaded->ids, found.ids.size());
  EXPECT_EQ(loaded->deliveries, found.deliveries.size());
  contents.Apply(found);
  return contents;
}

/// Opens a store and loads it, whatever comes of it.
inline absl::StatusOr<Contents> OpenAndLoad(const std::string& path, Machine& machine,
                                            SyncMode sync = SyncMode::kNever) {
  auto store = OpenRocksStore({.data_dir = path, .sync = sync, .clock = machine.clock()});
  if (!store.ok()) return store.status();
  return LoadAll(**store);
}

inline void Commit(Store& store, const core::Changes& changes) {
  size_t bytes = 0;
  const auto status = store.Commit(changes, &bytes);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace waitd::server

#endif  // WAITD_TESTS_UNIT_SERVER_STORE_FIXTURE_H_
