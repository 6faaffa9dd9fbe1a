#ifndef WAITD_TESTS_UNIT_CORE_DISK_H_
#define WAITD_TESTS_UNIT_CORE_DISK_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
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
    for (const auto& [name, desc] : descs) EXPECT_TRUE(recovery.Restore(desc));
    for (const auto& [key, id] : ids) EXPECT_TRUE(recovery.Restore(id));
    for (const auto& [shard, at] : horizons) recovery.MoveHorizon(shard, at);
    recovery.Finish(next_generation);
  }

  int writes = 0;
  using Key = std::tuple<IdUse, uint64_t, uint64_t, std::string>;
  std::map<std::string, SavedDesc> descs;
  std::map<Key, SavedId> ids;

 private:
  static Key Of(const SavedIdKey& key) { return {key.use, key.name, key.caller, key.id}; }

  std::map<uint32_t, Instant> horizons;
  uint64_t next_generation = 0;
};

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_DISK_H_
