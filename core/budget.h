#ifndef WAITD_CORE_BUDGET_H_
#define WAITD_CORE_BUDGET_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "core/account_ref.h"
#include "core/aging.h"
#include "core/journal.h"
#include "core/mutex.h"

namespace waitd::core {

/// What a client can make waitd hold, kind by kind. Each kind has limits of its own.
enum class Held : uint8_t {
  kDescriptors,  ///< open names, with their labels
  kWaits,        ///< parked waits; a poll counts by its targets
  kOutcomes,     ///< what calls with an id were answered, and how deliveries ended; in KiB begun
  kDeliveries,   ///< signals that may come back, or have
  kPayloads,     ///< what signals carry
  kResults,      ///< results of sessions that their clients have not acknowledged
  kSessions,
  kCalls,  ///< unary calls and streams under way
};
inline constexpr size_t kHeldKinds = 8;

/// So many things, and the memory that they take. `bytes` is kept in units of 16, begun ones too.
struct Amount {
  static constexpr uint64_t kUnit = 16;

  /// One thing of so many bytes, in whole units: of such, a sum ends as well one by one.
  static constexpr Amount Whole(uint64_t bytes) { return {1, (bytes + kUnit - 1) / kUnit * kUnit}; }

  uint64_t things = 0;
  uint64_t bytes = 0;
};

/// What may be held of a kind.
struct Limit {
  static constexpr uint64_t kMost = uint64_t{1} << 27U;
  static constexpr uint64_t kMostBytes = uint64_t{1} << 39U;

  // NOLINTNEXTLINE(google-explicit-constructor): most limits are a number of things
  constexpr Limit(uint64_t things_max = kMost, uint64_t bytes_max = kMostBytes)
      : things(std::min(things_max, kMost)), bytes(std::min(bytes_max, kMostBytes)) {}

  uint64_t things;
  uint64_t bytes;
};

/// A place that adds amounts up, both numbers in one word, so that a charge is one instruction.
/// Threads: any. Relaxed: nothing else is read or written on the strength of what it says.
class Sum {
 public:
  Amount Add(Amount more) { return Of(word_.fetch_add(Word(more), kRelaxed) + Word(more)); }
  void Subtract(Amount less) { word_.fetch_sub(Word(less), kRelaxed); }
  void Replace(Amount was, Amount is) { word_.fetch_add(Word(is) - Word(was), kRelaxed); }
  Amount get() const { return Of(word_.load(kRelaxed)); }

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  static constexpr unsigned kThings = 36;  // from this bit on
  static constexpr uint64_t kUnit = Amount::kUnit;

  static uint64_t Word(Amount of) { return of.things << kThings | (of.bytes + kUnit - 1) / kUnit; }
  static Amount Of(uint64_t word) {
    return {word >> kThings, (word & ((uint64_t{1} << kThings) - 1)) * kUnit};
  }

  std::atomic<uint64_t> word_{0};
};

class Budget;

/// What one identity holds: whose fault it is when there is no room, and who is refused then.
///
/// Threads:  any; the lists of outcomes, the lock of their shard.
/// Lifetime: as long as an AccountRef refers to it, and as its budget.
class Account {
 public:
  Account(Budget& budget, uint64_t key) : budget_(budget), key_(key) {
    outcomes.fill(AgingList(AgingList::kOfAccount));
  }

  Amount held(Held what) const { return held_[static_cast<size_t>(what)].get(); }

  /// What can be forgotten of it in each shard, the oldest first; and where the oldest was found.
  std::array<AgingList, kShards> outcomes;
  OldestShard oldest;

 private:
  friend class AccountRef;
  friend class Budget;

  Budget& budget_;
  const uint64_t key_;
  std::atomic<uint64_t> refs_{0};
  std::array<Sum, kHeldKinds> held_;
};

/// All that clients make waitd hold, for the process and for each identity.
///
/// One identity may have all of a limit but the last 1/32. That is for those that have less than
/// 1/64 of it, so that one who takes what there is stops nobody else, and a lone user loses little.
///
/// Threads:  any; SetLimit comes first.
/// Lifetime: outlives every account, and everything that is charged.
class Budget {
 public:
  void SetLimit(Held what, Limit limit) { limits_[static_cast<size_t>(what)] = limit; }
  Limit limit(Held what) const { return limits_[static_cast<size_t>(what)]; }

  /// The account of this identity.
  AccountRef Open(uint64_t key);

  /// Whether there is too much of something, and by which limit.
  struct Verdict {
    bool over = false;
    bool own = false;    ///< the limit is what one account may have
    bool bytes = false;  ///< it is one of bytes
    uint64_t limit = 0;
  };

  /// Charges it, unless a limit forbids it: then there would be too much. The account may be null.
  [[nodiscard]] Verdict Take(Held what, Account* account, Amount more) {
    const Verdict verdict = Add(what, account, more);
    if (verdict.over) Give(what, account, more);
    return verdict;
  }

  /// Charges it whether or not there is room, and tells whether there is too much then.
  Verdict Add(Held what, Account* account, Amount more) {
    const Amount all = held_[static_cast<size_t>(what)].Add(more);
    const Amount own =
        account == nullptr ? Amount{} : account->held_[static_cast<size_t>(what)].Add(more);
    return Judge(what, all, own);
  }

  /// Whether there would be too much with so much more.
  Verdict Over(Held what, const Account* account, Amount more = {}) const {
    const auto with = [&](Amount sum) {
      return Amount{sum.things + more.things, sum.bytes + more.bytes};
    };
    return Judge(what, with(held(what)), account == nullptr ? Amount{} : with(account->held(what)));
  }

  /// The end of a charge. In its two halves: many things may leave the sum of all at once, and
  /// each one's account afterwards.
  void Give(Held what, Account* account, Amount less) {
    GiveOfAll(what, less);
    GiveOwn(what, account, less);
  }
  void GiveOfAll(Held what, Amount less) { held_[static_cast<size_t>(what)].Subtract(less); }
  static void GiveOwn(Held what, Account* account, Amount less) {
    if (account != nullptr) account->held_[static_cast<size_t>(what)].Subtract(less);
  }

  /// A charge is another one from now on, whether or not there is room.
  void Replace(Held what, Account* account, Amount was, Amount is) {
    held_[static_cast<size_t>(what)].Replace(was, is);
    if (account != nullptr) account->held_[static_cast<size_t>(what)].Replace(was, is);
  }

  Amount held(Held what) const { return held_[static_cast<size_t>(what)].get(); }

 private:
  friend class AccountRef;

  Verdict Judge(Held what, Amount all, Amount own) const {
    const Limit limit = limits_[static_cast<size_t>(what)];
    const Verdict verdict = JudgeOne(limit.things, all.things, own.things, false);
    return verdict.over ? verdict : JudgeOne(limit.bytes, all.bytes, own.bytes, true);
  }
  static Verdict JudgeOne(uint64_t limit, uint64_t all, uint64_t own, bool bytes) {
    const uint64_t kept = limit / 32;
    const bool much = kept > 0 && own > limit / 64;
    const uint64_t most = much ? limit - kept : limit;
    return all <= most ? Verdict{} : Verdict{true, much, bytes, most};
  }
  void Close(uint64_t key);

  std::array<Limit, kHeldKinds> limits_;
  std::array<Sum, kHeldKinds> held_;
  Mutex mutex_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Account>> accounts_ ABSL_GUARDED_BY(mutex_);
};

/// A charge that ends with it. Threads: as what it is part of.
class Charge {
 public:
  Charge() = default;
  Charge(Budget& budget, Held what, AccountRef account, Amount amount)
      : budget_(&budget), what_(what), account_(std::move(account)), amount_(amount) {}
  Charge(Charge&& from) noexcept { *this = std::move(from); }
  Charge& operator=(Charge&& from) noexcept {
    Release();
    budget_ = std::exchange(from.budget_, nullptr);
    what_ = from.what_;
    account_ = std::move(from.account_);
    amount_ = from.amount_;
    return *this;
  }
  ~Charge() { Release(); }

  /// It is so much from now on, whether or not there is room.
  void Set(Amount amount) {
    if (amount.things == amount_.things && amount.bytes == amount_.bytes) return;
    budget_->Replace(what_, account_.get(), std::exchange(amount_, amount), amount);
  }

  /// It is so much more until it is set, unless a limit forbids it.
  [[nodiscard]] bool Take(Amount more) {
    const Amount sum = {amount_.things + more.things, amount_.bytes + more.bytes};
    Set(sum);
    if (!budget_->Over(what_, account_.get()).over) return true;
    Set({sum.things - more.things, sum.bytes - more.bytes});
    return false;
  }

 private:
  void Release() {
    if (budget_ != nullptr) budget_->Give(what_, account_.get(), amount_);
    budget_ = nullptr;
  }

  Budget* budget_ = nullptr;  // null: nothing is charged
  Held what_ = Held::kCalls;
  AccountRef account_;
  Amount amount_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_BUDGET_H_
