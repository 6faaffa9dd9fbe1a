#ifndef WAITD_CORE_UNSAVED_H_
#define WAITD_CORE_UNSAVED_H_

#include <cstdint>
#include <deque>
#include <utility>

#include "core/journal.h"
#include "core/saved.h"

namespace waitd::core {

/// Things that have changed since the last cut, and those of the cut that are not copied yet; each
/// once, in no order. T has a `dirty_at`, which is this list's. Threads: none of its own.
template <class T>
class DirtyList {
 public:
  void Add(T& item) {
    if (item.dirty_at != 0) return;
    now().push_back(&item);
    item.dirty_at = static_cast<uint32_t>(now().size() << 1U) | parity_;
  }

  void Remove(T& item) {
    if (item.dirty_at == 0) return;
    std::deque<T*>& list = lists_[item.dirty_at & 1U];
    T& last = *list.back();
    last.dirty_at = item.dirty_at;
    list[(item.dirty_at >> 1U) - 1] = &last;
    list.pop_back();
    item.dirty_at = 0;
  }

  /// It is in the cut, and not copied yet.
  bool InCut(const T& item) const { return item.dirty_at != 0 && (item.dirty_at & 1U) != parity_; }

  /// What has changed so far is the cut. That of the former one is copied. O(1).
  void Cut() { parity_ ^= 1U; }

  /// One that is in the cut; null: all are copied.
  T* FirstOfCut() {
    std::deque<T*>& cut = lists_[parity_ ^ 1U];
    return cut.empty() ? nullptr : cut.back();
  }

 private:
  std::deque<T*>& now() { return lists_[parity_]; }

  std::deque<T*> lists_[2];
  uint32_t parity_ = 0;
};

/// What of a shard is to be saved. Stays empty in a poller without a journal.
///
/// A batch is the shard's state at one instant, the cut, though it is copied in several holds of
/// the lock: what is to change and is in the cut is copied first. So whatever changes something
/// calls Touch before it does.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. What differs from what is stored, or was cut, is in a dirty list or an erasure.
///             2. No cut has what came on a name during a release of its waits, and lacks an
///             outcome
///                of that release: from the first such change to its end the shard is held.
///             3. `number()` grows with each change that somebody waits for, and an answer that
///                tells of it leaves when `saved()` has reached it.
class Unsaved {
 public:
  Unsaved(Journal* journal, size_t shard) : journal_(journal), shard_(shard) {}

  bool kept() const { return journal_ != nullptr; }  ///< it is, for there is a journal
  uint64_t number() const { return number_; }
  uint64_t saved() const { return saved_; }

  /// The item is about to change, and nothing waits for that to be saved.
  void Touch(PollDesc& desc) { TouchIn(descs_, desc); }
  void Touch(IdRecord& record) { TouchIn(ids_, record); }
  void Touch(Delivery& delivery) { TouchIn(deliveries_, delivery); }

  /// What was touched has changed: the number that an answer which tells of it waits for.
  uint64_t Changed() {
    if (!kept()) return 0;
    Tell();
    return ++number_;
  }

  /// The item is about to go.
  void Gone(PollDesc& desc);
  void Gone(IdRecord& record);
  void Gone(Delivery& delivery);

  /// A name that is stored was not restored. Nothing waits.
  void Erase(ClosedDesc desc) {
    Tell();
    erased_.closed.push_back(std::move(desc));
  }
  void Erase(SavedDeliveryKey key) {
    Tell();
    erased_.ended.push_back(key);
  }

  /// The horizon or the number of lives has moved.
  void TouchShard() {
    if (!kept()) return;
    Tell();
    shard_moved_ = true;
  }

  /// Changed in one step with these shards, under all their locks: all of it is in one cut.
  void Link(ShardSet shards) { linked_ |= shards; }
  ShardSet linked() const { return linked_; }

  /// No cut until as many LetGo, for what has changed last may not be saved before what changes
  /// until then.
  void Hold() { ++holds_; }
  void LetGo();
  bool held() const { return holds_ > 0; }
  /// These shards were to be cut with this one, which is held: LetGo tells of them again.
  void PutOff(ShardSet shards) { put_off_ |= shards; }

  /// What has changed so far is to be saved. `state`: the shard's row, if it has moved. Returns the
  /// number up to which the cut reaches. O(1).
  uint64_t Cut(SavedShard state);

  /// Moves what is copied to `to`, and copies up to `rows_max` more. True: more are left.
  bool Copy(size_t rows_max, Changes& to);

  /// The cut up to this number is safe.
  void Saved(uint64_t number) { saved_ = number; }

 private:
  template <class T>
  void TouchIn(DirtyList<T>& list, T& item) {
    if (!kept()) return;
    Tell();
    if (list.InCut(item)) CopyRow(list, item);
    list.Add(item);
  }
  template <class T>
  bool GoneFrom(DirtyList<T>& list, T& item);
  template <class T>
  void CopyRow(DirtyList<T>& list, T& item);
  template <class T>
  bool CopySome(DirtyList<T>& list, size_t* rows_left);
  void AddRow(const PollDesc& desc);
  void AddRow(const IdRecord& record);
  void AddRow(const Delivery& delivery);

  /// Once between two cuts.
  void Tell() {
    if (!kept() || std::exchange(told_, true)) return;
    journal_->Changed(SetOf(shard_));
  }

  Journal* const journal_;  // null: nothing is saved
  const size_t shard_;
  uint64_t number_ = 0;
  uint64_t saved_ = 0;
  bool shard_moved_ = false;
  bool told_ = false;
  uint32_t holds_ = 0;
  ShardSet put_off_ = 0;
  ShardSet linked_ = 0;  // with which it was changed in one step since the last cut
  DirtyList<PollDesc> descs_;
  DirtyList<IdRecord> ids_;
  DirtyList<Delivery> deliveries_;
  Changes erased_;  // since the last cut
  Changes cut_;     // of the cut, copied and not collected yet
};

}  // namespace waitd::core

#endif  // WAITD_CORE_UNSAVED_H_
