#ifndef WAITD_TESTS_UNIT_CORE_DISK_H_
#define WAITD_TESTS_UNIT_CORE_DISK_H_

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "core/journal.h"
#include "core/recovery.h"
#include "core/saved.h"

namespace waitd::core {

/// A journal that notes which shards have changed. Threads: one.
class Dirty : public Journal {
 public:
  void Changed(ShardSet shards) override { dirty |= shards; }
  ShardSet dirty = 0;
};

/// What was saved, as a store would have it.
class Disk {
 public:
  void Apply(const Changes& changes) {
    ++writes;
    for (const ClosedDesc& closed : changes.closed) Erase(closed);
    for (const SavedIdKey& key : changes.forgotten) ids.erase(Of(key));
    for (const SavedDeliveryKey& key : changes.ended) deliveries.erase(Of(key));
    for (const SavedDesc& desc : changes.descs) descs[desc.name] = desc;
    for (const SavedId& id : changes.ids) ids[Of(id.key)] = id;
    for (const SavedDelivery& delivery : changes.deliveries) {
      deliveries[Of(delivery.key)] = delivery;
    }
    for (const SavedShard& shard : changes.shards) shards[shard.shard] = shard;
  }

  void Restore(Poller& poller) const {
    Recovery recovery(poller);
    for (const auto& [name, desc] : descs) EXPECT_TRUE(recovery.Restore(desc)) << name;
    for (const auto& [key, id] : ids) EXPECT_TRUE(recovery.Restore(id)) << id.key.id;
    for (const auto& [key, delivery] : deliveries) {
      EXPECT_TRUE(recovery.Restore(delivery)) << delivery.key.number;
    }
    for (const auto& [number, shard] : shards) EXPECT_TRUE(recovery.Restore(shard)) << number;
    recovery.Finish(/*fresh=*/shards.empty());
  }

  /// Collects what is unsaved in these shards and writes it; nobody has heard of that yet.
  /// `between` is called, with no lock held, between any two pieces.
  template <class F>
  Poller::Cut Write(Poller& poller, Dirty& journal, ShardSet of, F between) {
    ShardSet dirty = journal.dirty & of;
    journal.dirty &= ~dirty;
    Changes changes;
    Poller::Cut cut;
    while (poller.Collect(dirty, changes, cut)) between();
    journal.dirty |= dirty;
    between();
    if (!changes.empty()) Apply(changes);
    return cut;
  }

  /// Writes it, and lets go of what waited for it.
  template <class F>
  void Save(Poller& poller, Dirty& journal, ShardSet of, F between) {
    Poller::Cut cut = Write(poller, journal, of, between);
    do {
      between();
    } while (poller.Saved(cut));
  }
  void Save(Poller& poller, Dirty& journal) {
    while (journal.dirty != 0) Save(poller, journal, ~ShardSet{0}, [] {});
  }

  using IdKey = std::tuple<IdUse, uint64_t, uint64_t, std::string>;
  using DeliveryKey = std::tuple<uint64_t, Side, uint64_t>;

  int writes = 0;
  std::map<std::string, SavedDesc> descs;
  std::map<IdKey, SavedId> ids;
  std::map<DeliveryKey, SavedDelivery> deliveries;
  std::map<uint32_t, SavedShard> shards;

 private:
  static IdKey Of(const SavedIdKey& key) { return {key.use, key.name, key.caller, key.id}; }
  static DeliveryKey Of(const SavedDeliveryKey& key) {
    return {key.generation, key.side, key.number};
  }

  // A name that is closed takes its deliveries along.
  void Erase(const ClosedDesc& closed) {
    descs.erase(closed.name);
    deliveries.erase(deliveries.lower_bound({closed.generation, Side::kRead, 0}),
                     deliveries.lower_bound({closed.generation + 1, Side::kRead, 0}));
  }
};

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_DISK_H_
