#ifndef WAITD_CORE_HASH_INDEX_H_
#define WAITD_CORE_HASH_INDEX_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/check.h"

namespace waitd::core {

/// A hash set of pointers to objects that live elsewhere, found by a key that is in the object. No
/// operation takes long, however large the set: it is used under a shard's lock, and a table that
/// rehashes at once stops the shard for some hundred milliseconds at a million entries.
///
/// `Traits` has the type `Key` and three static functions: `Hash(const Key&)`, `KeyOf(const T&)`
/// and `Same(const Key&, const T&)`. Clients choose the names and ids. So that none can choose many
/// with one hash, Hash must cover the whole key with a seed that differs in each process:
/// absl::HashOf does. Fingerprint does not, nor does a seed mixed into a Fingerprint, since two
/// names with one fingerprint would still have one hash.
///
/// A group is one cache line: five pointers, 32 bits of the hash of each, and counts of the entries
/// that found it full and are in a later group. Most lookups read one line, and then the object. A
/// hash's first group is the hash scaled to the number of groups. So this can be any number, and an
/// entry keeps its relative position when the table grows.
///
/// The table grows by a quarter. Each insertion then moves up to 40 entries from the former table,
/// and lookups look into both. Moving needs no object and no key, for the hash is in the group.
/// Memory comes in segments of 16 KiB, each when its first entry comes, and is returned one segment
/// an insertion. A zeroed block of the whole size would not do: malloc may have to clear it, and
/// must return its pages all at once. What is still proportional is the list of segments: 8 bytes
/// for 1000 entries. A table takes 16 to 20 bytes an entry, does not shrink, and is as fast when
/// few entries are left.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. An entry is in the first group that had room, from its hash's first group on, and
///                each group before counts it in `passed`. A lookup ends where that is 0.
///             2. The groups before `drained_` of the former table are empty, and that table and
///                its memory are gone before the next growth.
/// Source:     folly's F14 counts what passed a full group; Redis moves its tables step by step.
template <class T, class Traits>
class HashIndex {
 public:
  using Key = typename Traits::Key;

  /// The entry of this key, or null.
  T* Find(const Key& key) const {
    const uint32_t hash = HashOf(key);
    T* const found = FindIn(table_, key, hash);
    return found != nullptr || former_.groups == 0 ? found : FindIn(former_, key, hash);
  }

  /// Puts an object in, whose key is not.
  void Insert(T& item) {
    MoveSome();
    if (size_ == table_.groups * kInGroupMean) Grow();
    ++size_;
    Place(HashOf(Traits::KeyOf(item)), &item);
  }

  /// Takes an object out, which is in and has the key that it had then. Compares no keys.
  void Erase(const T& item) {
    const uint32_t hash = HashOf(Traits::KeyOf(item));
    const bool erased = EraseFrom(table_, item, hash) || EraseFrom(former_, item, hash);
    WAITD_CHECK(erased, "what is to be erased is not in the index");
    --size_;
  }

  size_t size() const { return size_; }

  /// How many entries growing has moved so far.
  size_t moved() const { return moved_; }

 private:
  friend struct HashIndexPeer;  // of its test

  static constexpr size_t kInGroup = 5;
  static constexpr size_t kInGroupMean = 4;          // when the table is full
  static constexpr size_t kInSegment = 256;          // groups
  static constexpr int kGroupsMoved = 8;             // by one insertion
  static constexpr uint8_t kManyPassed = UINT8_MAX;  // that many or more: never counted down

  struct alignas(64) Group {
    uint32_t hashes[kInGroup];  // 0: the slot is free
    uint8_t passed[4];          // by two bits of the hash, so that few lookups go on in vain
    T* items[kInGroup];

    // A bit for each slot with this hash. Branches would often be predicted wrong.
    unsigned Match(uint32_t hash) const {
      unsigned slots = 0;
      for (unsigned i = 0; i < kInGroup; ++i) slots |= unsigned{hashes[i] == hash} << i;
      return slots;
    }
    uint8_t& Passed(uint32_t hash) { return passed[hash >> 1U & 3U]; }
    bool NonePassed(uint32_t hash) const { return passed[hash >> 1U & 3U] == 0; }
  };
  static_assert(sizeof(Group) == 64, "a group is a cache line");

  struct Table {
    size_t groups = 0;
    std::vector<std::unique_ptr<Group[]>> segments;  // null: no entry was ever there

    // The hash's first group.
    size_t Home(uint32_t hash) const { return (uint64_t{hash} * groups) >> 32U; }
    size_t Next(size_t at) const { return at + 1 == groups ? 0 : at + 1; }

    // Null: no entry was ever there.
    Group* Find(size_t at) const {
      Group* const segment = segments[at / kInSegment].get();
      return segment == nullptr ? nullptr : &segment[at % kInSegment];
    }
  };

  static uint32_t HashOf(const Key& key) { return static_cast<uint32_t>(Traits::Hash(key)) | 1U; }

  static T* FindIn(const Table& table, const Key& key, uint32_t hash) {
    size_t at = table.Home(hash);
    for (size_t left = table.groups; left > 0; --left, at = table.Next(at)) {
      const Group* const group = table.Find(at);
      if (group == nullptr) break;
      for (unsigned slots = group->Match(hash); slots != 0; slots &= slots - 1) {
        T* const item = group->items[std::countr_zero(slots)];
        if (Traits::Same(key, *item)) return item;
      }
      if (group->NonePassed(hash)) break;
    }
    return nullptr;
  }

  static bool EraseFrom(Table& table, const T& item, uint32_t hash) {
    const size_t home = table.Home(hash);
    size_t at = home;
    for (size_t left = table.groups; left > 0; --left, at = table.Next(at)) {
      Group* const group = table.Find(at);
      if (group == nullptr) break;
      for (size_t i = 0; i < kInGroup; ++i) {
        if (group->items[i] != &item) continue;
        group->hashes[i] = 0;
        group->items[i] = nullptr;
        for (size_t before = home; before != at; before = table.Next(before)) {
          uint8_t& passed = table.Find(before)->Passed(hash);
          if (passed != kManyPassed) --passed;
        }
        return true;
      }
      if (group->NonePassed(hash)) break;
    }
    return false;
  }

  void Place(uint32_t hash, T* item) {
    for (size_t at = table_.Home(hash);; at = table_.Next(at)) {
      Group& group = Touch(at);
      for (size_t i = 0; i < kInGroup; ++i) {
        if (group.hashes[i] != 0) continue;
        group.hashes[i] = hash;
        group.items[i] = item;
        return;
      }
      uint8_t& passed = group.Passed(hash);
      if (passed != kManyPassed) ++passed;
    }
  }

  Group& Touch(size_t at) {
    std::unique_ptr<Group[]>& segment = table_.segments[at / kInSegment];
    if (segment == nullptr) {
      segment = std::make_unique<Group[]>(std::min(table_.groups, kInSegment));
    }
    return segment[at % kInSegment];
  }

  void Grow() {
    WAITD_CHECK(former_.segments.empty(), "an index grows before it has moved");
    former_ = std::exchange(table_, {});
    table_.groups = former_.groups + former_.groups / 4 + 1;
    table_.segments.resize((table_.groups + kInSegment - 1) / kInSegment);
  }

  // A drained group keeps its counts: entries that passed it may not have moved yet.
  void MoveSome() {
    for (int i = 0; i < kGroupsMoved && former_.groups > 0; ++i) {
      if (Group* const from = former_.Find(drained_); from != nullptr) Drain(*from);
      if (++drained_ == former_.groups) former_.groups = drained_ = 0;
    }
    if (former_.groups == 0 && !former_.segments.empty()) former_.segments.pop_back();
  }

  void Drain(Group& group) {
    for (size_t i = 0; i < kInGroup; ++i) {
      if (group.hashes[i] == 0) continue;
      Place(std::exchange(group.hashes[i], 0), std::exchange(group.items[i], nullptr));
      ++moved_;
    }
  }

  Table table_;
  Table former_;  // while entries move: those that have not
  size_t drained_ = 0;
  size_t size_ = 0;
  size_t moved_ = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_HASH_INDEX_H_
