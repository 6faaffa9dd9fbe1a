// Goal: the index finds what is in it and nothing else, also while it grows, and no operation does
// much at once. Method: random operations against std::unordered_map, with traits that count.
#include "core/hash_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace waitd::core {

struct HashIndexPeer {
  // How many entries are counted as having passed a full group.
  static size_t Passed(const auto& index) {
    size_t passed = 0;
    for (size_t at = 0; at < index.table_.groups; ++at) {
      const auto* const group = index.table_.Find(at);
      if (group == nullptr) continue;
      passed += std::accumulate(std::begin(group->passed), std::end(group->passed), size_t{0});
    }
    return passed;
  }
};

namespace {

struct Item {
  std::string name;
};

// What of the objects was read: moving must read nothing.
struct Reads {
  uint64_t hashes = 0;
  uint64_t keys = 0;
  uint64_t compares = 0;
};
Reads reads;

template <uint64_t kHashes>
struct Counting {
  using Key = std::string_view;
  static size_t Hash(std::string_view name) {
    ++reads.hashes;
    return std::hash<std::string_view>()(name) % kHashes;
  }
  static std::string_view KeyOf(const Item& item) {
    ++reads.keys;
    return item.name;
  }
  static bool Same(std::string_view name, const Item& item) {
    ++reads.compares;
    return name == item.name;
  }
};
constexpr uint64_t kAnyHash = UINT64_MAX;

template <class Index>
void CompareWithMap(uint32_t seed, int operations, int names) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::deque<Item> items;
  for (int i = 0; i < names; ++i) items.push_back({"name/" + std::to_string(i)});
  Index index;
  std::unordered_map<std::string_view, Item*> model;
  for (int i = 0; i < operations; ++i) {
    // Now more insertions, now more erasures, so that it fills and empties several times.
    const bool filling = i / names % 2 == 0;
    Item& item = items[random() % items.size()];
    const auto known = model.find(item.name);
    ASSERT_EQ(index.Find(item.name), known == model.end() ? nullptr : &item) << "operation " << i;
    if (known == model.end()) {
      if (!filling && random() % 4 != 0) continue;
      index.Insert(item);
      model.emplace(item.name, &item);
    } else {
      if (filling && random() % 4 != 0) continue;
      index.Erase(item);
      model.erase(known);
    }
    ASSERT_EQ(index.size(), model.size());
  }
  for (Item& item : items) {
    ASSERT_EQ(index.Find(item.name), model.contains(item.name) ? &item : nullptr);
  }
}

TEST(HashIndex, IsLikeAMapUnderRandomOperations) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CompareWithMap<HashIndex<Item, Counting<kAnyHash>>>(seed, 3000, 200);
  }
  for (uint32_t seed = 21; seed <= 23; ++seed) {
    CompareWithMap<HashIndex<Item, Counting<kAnyHash>>>(seed, 150'000, 20'000);
  }
}

TEST(HashIndex, IsLikeAMapWhereHashesAreTheSame) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CompareWithMap<HashIndex<Item, Counting<1>>>(seed, 3000, 60);
    CompareWithMap<HashIndex<Item, Counting<7>>>(seed, 3000, 200);
  }
  // One group counts more that passed it than its counter holds.
  CompareWithMap<HashIndex<Item, Counting<1>>>(21, 9000, 1200);
}

TEST(HashIndex, FindsNothingInAnEmptyOne) {
  HashIndex<Item, Counting<kAnyHash>> index;
  EXPECT_EQ(index.Find("a"), nullptr);
  Item a{"a"};
  index.Insert(a);
  index.Erase(a);
  EXPECT_EQ(index.Find("a"), nullptr);
  EXPECT_EQ(index.size(), 0U);
}

TEST(HashIndex, GrowsToAMillionByAFewEntriesAnOperation) {
  constexpr size_t kItems = 1'000'000;
  HashIndex<Item, Counting<kAnyHash>> index;
  std::vector<Item> items(kItems);
  for (size_t i = 0; i < kItems; ++i) items[i].name = std::to_string(i);
  reads = {};
  size_t moved_most = 0;
  for (Item& item : items) {
    const size_t before = index.moved();
    index.Insert(item);
    moved_most = std::max(moved_most, index.moved() - before);
  }
  EXPECT_GT(moved_most, 0U);
  EXPECT_LE(moved_most, 256U);
  EXPECT_GT(index.moved(), kItems) << "it grew many times";
  EXPECT_EQ(reads.hashes, kItems) << "what moved was hashed again";
  EXPECT_EQ(reads.keys, kItems) << "what moved was read";
  for (Item& item : items) ASSERT_EQ(index.Find(item.name), &item);
  EXPECT_LT(reads.compares, kItems + kItems / 100);
  reads = {};
  for (size_t i = 0; i < kItems; i += 2) index.Erase(items[i]);
  EXPECT_EQ(reads.compares, 0U) << "to erase needs no key compared";
  for (size_t i = 0; i < kItems; ++i) {
    ASSERT_EQ(index.Find(items[i].name), i % 2 == 0 ? nullptr : &items[i]);
  }
}

TEST(HashIndex, OnceEmptyLeavesNothingThatLookupsPass) {
  HashIndex<Item, Counting<kAnyHash>> index;
  std::deque<Item> items;
  size_t passed_most = 0;
  for (int i = 0; i < 2000; ++i) {
    items.push_back({std::to_string(i)});
    index.Insert(items.back());
    passed_most = std::max(passed_most, HashIndexPeer::Passed(index));
  }
  EXPECT_GT(passed_most, 0U);
  for (const Item& item : items) index.Erase(item);
  EXPECT_EQ(HashIndexPeer::Passed(index), 0U);
}

TEST(HashIndexDeathTest, ErasingWhatIsNotInStopsTheProcess) {
  HashIndex<Item, Counting<kAnyHash>> index;
  Item a{"a"};
  Item other{"a"};
  EXPECT_DEATH(index.Erase(a), "not in the index");
  index.Insert(a);
  EXPECT_DEATH(index.Erase(other), "not in the index");
  index.Erase(a);
  EXPECT_DEATH(index.Erase(a), "not in the index");
}

}  // namespace
}  // namespace waitd::core
