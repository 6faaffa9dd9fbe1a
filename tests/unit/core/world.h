#ifndef WAITD_TESTS_UNIT_CORE_WORLD_H_
#define WAITD_TESTS_UNIT_CORE_WORLD_H_

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/core/disk.h"
#include "tests/unit/core/fixture.h"

namespace waitd::core {

/// A table that is saved when it is told, and comes back from what was. Threads: one.
class World {
 public:
  explicit World(Poller::Options options = {}) : options_(options) {
    Begin({});
    Save();  // that a new store knows nothing from before
    disk_.writes = 0;
    table_->Pass(seconds(1));
  }

  Table& t() { return *table_; }
  Poller& poller() { return table_->poller(); }
  Disk& disk() { return disk_; }

  /// Takes what is unsaved in these shards; it is on the disk, and nobody has heard of that yet.
  Poller::Cut Write(ShardSet shards = ~ShardSet{0}) {
    return Write(shards, [] {});
  }
  /// The same, with something done between any two pieces of it.
  template <class F>
  Poller::Cut Write(ShardSet shards, F between) {
    return disk_.Write(poller(), *journal_, shards, between);
  }
  void Save(ShardSet shards = ~ShardSet{0}) {
    Save(shards, [] {});
  }

  /// The same, with something done between any two pieces of it.
  template <class F>
  void Save(ShardSet shards, F between) {
    disk_.Save(poller(), *journal_, shards, between);
  }

  /// The process dies and a new one begins.
  void Crash(Nanos away = Nanos(0)) { Crash(options_, away); }

  /// The same, with other options from then on.
  void Crash(const Poller::Options& options, Nanos away) {
    options_ = options;
    Now now = table_->now();
    now.mono += away;
    now.wall += away;
    gone_.push_back(std::move(table_));  // calls that it had never end
    gone_journals_.push_back(std::move(journal_));
    Begin(now);
  }

  ShardSet dirty() const { return journal_->dirty; }

 private:
  void Begin(const Now& now) {
    journal_ = std::make_unique<Dirty>();
    table_ = std::make_unique<Table>(options_, journal_.get());
    if (now.mono > table_->now().mono) table_->Pass(now.mono - table_->now().mono);
    disk_.Restore(poller());
  }

  Poller::Options options_;
  Disk disk_;
  std::unique_ptr<Dirty> journal_;
  std::unique_ptr<Table> table_;
  std::vector<std::unique_ptr<Dirty>> gone_journals_;
  std::vector<std::unique_ptr<Table>> gone_;
};

/// A wait with an id that opens its name.
inline WaitArgs WaitWith(std::string_view name, std::string_view id, Nanos sent_ago = Nanos(0)) {
  static const OpenOptions any;
  return {.name = name, .open_if_missing = &any, .retry = {id, sent_ago}};
}

/// A Ready that is saved, and its answer.
inline ReadyResult SavedReady(World& w, const ReadyArgs& args) {
  Answered<ReadyCall> call;
  w.poller().Ready(w.t().now().mono, args, call);
  w.Save();
  EXPECT_TRUE(call.done());
  return Ok(call.result());
}

/// An Open that is saved.
inline void SavedOpen(World& w, std::string_view name, Kind kind = Kind::kExclusive) {
  Answered<OpenCall> call;
  OpenArgs args{.name = name};
  args.options.kind = kind;
  w.poller().Open(w.t().now().mono, args, call);
  w.Save();
  EXPECT_TRUE(call.done());
}

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_WORLD_H_
