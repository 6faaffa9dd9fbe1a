// Goal: a list has each name that is open all the time once and in order, whatever its filters and
// pages. Method: random names against a std::map, with names that open and close between pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/core/fixture.h"

namespace waitd::core {
namespace {

struct Known {
  bool odd = false;
  std::unique_ptr<TestWait> wait;
};
using Model = std::map<std::string, Known>;

// A poller and what should be in it.
class Names {
 public:
  explicit Names(uint32_t seed) : random_(seed) {}

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  // Opens a name, closes one, or lets a wait begin on one or end.
  void Change() {
    // Some names are kept together in one shard by braces.
    std::string name = (Random(2) == 0 ? "a/" : "b/") + std::to_string(Random(500));
    if (Random(3) == 0) name = "{a}/" + name;
    const auto known = model_.find(name);
    if (known == model_.end()) {
      const bool odd = Random(2) == 0;
      Ok(table_.Open({.name = name, .options = {.labels = {{"odd", odd ? "1" : "0"}}}}));
      model_.emplace(name, Known{odd, nullptr});
    } else if (Random(2) == 0 && known->second.wait == nullptr) {
      known->second.wait = table_.Wait(name);
    } else {
      Ok(table_.Close(name));
      model_.erase(known);
    }
  }

  static bool Matches(const ListArgs& args, const std::string& name, const Known& known) {
    return name.starts_with(args.prefix) && (args.labels.empty() || known.odd) &&
           (!args.waiting_only || known.wait != nullptr);
  }

  ListArgs RandomArgs() {
    ListArgs args{.page_size = 1 + Random(Random(2) == 0 ? 20 : 500)};
    constexpr std::string_view kPrefixes[] = {"", "a/", "b/1", "{a}", "{a}/b/", "none"};
    args.prefix = kPrefixes[Random(std::size(kPrefixes))];
    if (Random(3) == 0) args.labels = {{"odd", "1"}};
    args.waiting_only = Random(4) == 0;
    return args;
  }

  std::vector<std::string> Matching(const ListArgs& args) const {
    std::vector<std::string> matching;
    for (const auto& [name, known] : model_) {
      if (Matches(args, name, known)) matching.push_back(name);
    }
    return matching;
  }

  // All pages, with so many changes between two.
  std::vector<std::string> ListAll(ListArgs args, int changes) {
    std::vector<std::string> names;
    do {
      const auto page = Ok(table_.List(args));
      EXPECT_LE(page.descriptors.size(), args.page_size);
      for (const auto& each : page.descriptors) names.push_back(each.name);
      EXPECT_TRUE(page.next_after.empty() || page.next_after > args.after);
      args.after = page.next_after;
      for (int i = 0; i < changes; ++i) Change();
    } while (!args.after.empty() && !testing::Test::HasFailure());
    return names;
  }

 private:
  std::mt19937 random_;
  Model model_;
  Table table_;
};

TEST(List, HasEachMatchingNameOnceAndInOrder) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Names names(seed);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 200; ++i) names.Change();
      const ListArgs args = names.RandomArgs();
      ASSERT_EQ(names.ListAll(args, 0), names.Matching(args));
    }
  }
}

TEST(List, HasEachNameThatMatchedAllTheTimeWhileOthersChange) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Names names(seed);
    for (int i = 0; i < 1000; ++i) names.Change();
    ListArgs args = names.RandomArgs();
    args.page_size = 1 + names.Random(50);
    const auto before = names.Matching(args);
    const auto listed = names.ListAll(args, 3);
    const auto after = names.Matching(args);
    EXPECT_TRUE(std::is_sorted(listed.begin(), listed.end(), std::less_equal<>()) &&
                std::adjacent_find(listed.begin(), listed.end()) == listed.end());
    for (const std::string& name : before) {
      if (!std::binary_search(after.begin(), after.end(), name)) continue;
      EXPECT_TRUE(std::binary_search(listed.begin(), listed.end(), name)) << name << " is missing";
    }
  }
}

TEST(List, PagesAreFullHoweverTheNamesAreSpread) {
  for (const std::string prefix : {"spread/", "{one}/"}) {
    Table t;
    for (int i = 0; i < 2500; ++i) Ok(t.Open(prefix + std::to_string(10'000 + i)));
    ListArgs args{.page_size = 1000};
    std::vector<size_t> sizes;
    do {
      const auto page = Ok(t.List(args));
      sizes.push_back(page.descriptors.size());
      args.after = page.next_after;
    } while (!args.after.empty());
    EXPECT_EQ(sizes, (std::vector<size_t>{1000, 1000, 500})) << prefix;
  }
}

TEST(ListDeathTest, APageWithoutRoomStopsTheProcess) {
  Table t;
  EXPECT_DEATH(t.List({.page_size = 0}), "has no room");
}

}  // namespace
}  // namespace waitd::core
