#ifndef WAITD_TESTS_UNIT_CORE_DISK_H_
#define WAITD_TESTS_UNIT_CORE_DISK_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <tuple>

#include "core/recovery.h"
#include "core/saved.h"

namespace waitd::core {

/// What was saved, as a store would have it.
class Disk {
 public:
  void Apply(const Changes& changes) {
    ++writes;
    for (const std::string& name : changes.closed) descs.erase(name);
    for (const SavedDesc& desc : changes.descs) descs[desc.name] = desc;
    for (const SavedIdKey& key : changes.forgotten) ids.erase(Of(key));
    for (const SavedId& id : changes.ids) ids[Of(id.key)] = id;
    for (const Changes::Horizon& each : changes.horizons) horizons[each.shard] = each.at;
    next_generation = std::max(next_generation, changes.next_generation);
  }

  void Restore(Poller& poller, const Now& now) const {
    Recovery recovery(poller, now);
    ByTwoThreads(descs, [&](const SavedDesc& desc) { recovery.Restore(desc); });
    EXPECT_TRUE(recovery.EndOfDescs());
    ByTwoThreads(ids, [&](const SavedId& id) { EXPECT_TRUE(recovery.Restore(id)); });
    for (const auto& [shard, at] : horizons) recovery.MoveHorizon(shard, at);
    recovery.Finish(next_generation);
  }

  int writes = 0;
  using Key = std::tuple<IdUse, uint64_t, uint64_t, std::string>;
  std::map<std::string, SavedDesc> descs;
  std::map<Key, SavedId> ids;

 private:
  // As a server does.
  template <class Rows, class F>
  static void ByTwoThreads(const Rows& rows, const F& restore) {
    const auto every_second = [&](bool this_one) {
      for (const auto& [key, row] : rows) {
        if (this_one) restore(row);
        this_one = !this_one;
      }
    };
    const std::jthread other(every_second, true);
    every_second(false);
  }

  static Key Of(const SavedIdKey& key) { return {key.use, key.name, key.caller, key.id}; }

  std::map<uint32_t, Instant> horizons;
  uint64_t next_generation = 0;
};

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_DISK_H_
