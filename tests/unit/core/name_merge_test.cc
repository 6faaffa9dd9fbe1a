// Goal: a page has each name once and in order, and few names more were looked at. Method: sets of
// names as sources, merged page by page, against one set of all.
#include "core/name_merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace waitd::core {
namespace {

constexpr size_t kSources = 64;
using Names = std::set<std::string>;

struct Listed {
  std::vector<std::string> names;
  uint64_t seen = 0;
  size_t pages = 0;
  size_t shortest = SIZE_MAX;  // of all pages but the last
};

Listed ListAll(const std::vector<Names>& sources, uint32_t page_size,
               const std::function<bool(const std::string&)>& matches) {
  Listed all;
  std::string after;
  do {
    NameMerge merge(sources.size(), after, page_size);
    const auto page = merge.Run([&](size_t i, NameMerge::Source& source, uint32_t looks) {
      EXPECT_GT(looks, 0U);
      EXPECT_LE(looks, NameMerge::kLookMax);
      auto it = sources[i].upper_bound(source.seen);
      uint32_t seen = 0;
      for (; it != sources[i].end() && seen < looks; ++it, ++seen) {
        source.seen = *it;
        if (matches(*it)) source.names.push_back(*it);
      }
      source.more = it != sources[i].end();
      return seen;
    });
    EXPECT_LE(page.names.size(), page_size);
    EXPECT_LE(merge.seen(), NameMerge::kSeenMax + NameMerge::kLookMax);
    all.names.insert(all.names.end(), page.names.begin(), page.names.end());
    all.seen += merge.seen();
    ++all.pages;
    if (!page.next_after.empty()) {
      EXPECT_GT(page.next_after, after);
      all.shortest = std::min(all.shortest, page.names.size());
    }
    after = page.next_after;
  } while (!after.empty() && !testing::Test::HasFailure());
  return all;
}

// So many names, each in a source chosen by `pick`.
std::vector<Names> Spread(size_t names, const std::function<size_t(size_t)>& pick) {
  std::vector<Names> sources(kSources);
  for (size_t i = 0; i < names; ++i) sources[pick(i)].insert(std::to_string(1'000'000 + i));
  return sources;
}

std::vector<std::string> All(const std::vector<Names>& sources,
                             const std::function<bool(const std::string&)>& matches) {
  Names all;
  for (const Names& each : sources) all.insert(each.begin(), each.end());
  std::vector<std::string> matching;
  std::copy_if(all.begin(), all.end(), std::back_inserter(matching), matches);
  return matching;
}

bool Any(const std::string&) { return true; }

TEST(NameMerge, LooksAtFewNamesMoreThanItLists) {
  std::mt19937 random(1);
  constexpr size_t kNames = 50'000;
  const auto even = Spread(kNames, [&](size_t) { return random() % kSources; });
  const auto uneven = Spread(kNames, [&](size_t) { return random() % (1 + random() % kSources); });
  const auto runs = Spread(kNames, [&](size_t i) { return i / 500 % kSources; });
  const auto one = Spread(kNames, [&](size_t) { return 7; });
  for (const auto& sources : {even, uneven, runs, one}) {
    const Listed all = ListAll(sources, 1000, Any);
    EXPECT_EQ(all.names, All(sources, Any));
    EXPECT_EQ(all.shortest, 1000U) << "a page was not full";
    EXPECT_EQ(all.pages, kNames / 1000);
    EXPECT_LE(all.seen, 2 * kNames);
  }
}

TEST(NameMerge, EndsAPageEarlyWhereFewMatch) {
  const auto sources = Spread(300'000, [](size_t i) { return i % kSources; });
  const auto rare = [](const std::string& name) { return name.ends_with("00000"); };
  const Listed all = ListAll(sources, 100, rare);
  EXPECT_EQ(all.names, (std::vector<std::string>{"1000000", "1100000", "1200000"}));
  EXPECT_GT(all.pages, 1U);
  EXPECT_LE(all.seen, 2 * 300'000U);
  EXPECT_EQ(ListAll(sources, 100, [](const std::string&) { return false; }).names.size(), 0U);
}

TEST(NameMerge, HasEachNameOnceForRandomSourcesFiltersAndPages) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const size_t used = 1 + random() % kSources;
    const auto sources = Spread(random() % 2000, [&](size_t) { return random() % used; });
    const uint32_t page_size =
        1 + static_cast<uint32_t>(random() % (random() % 2 == 0 ? 10 : 3000));
    const uint64_t every = 1 + random() % 50;
    const auto matches = [&](const std::string& name) { return std::stoul(name) % every == 0; };
    ASSERT_EQ(ListAll(sources, page_size, matches).names, All(sources, matches));
  }
}

TEST(NameMerge, FindsNothingInEmptySources) {
  EXPECT_EQ(ListAll(std::vector<Names>(kSources), 1, Any).pages, 1U);
}

}  // namespace
}  // namespace waitd::core
