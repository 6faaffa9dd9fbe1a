#ifndef WAITD_CORE_IDS_H_
#define WAITD_CORE_IDS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "core/call.h"
#include "core/hand_off.h"
#include "core/poll_cache.h"
#include "core/timer_wheel.h"

namespace waitd::core {

/// What an id is of. Ids of different use never meet.
enum class IdUse : uint8_t {
  kWait,          ///< a Wait or a Poll
  kRequest,       ///< any other call
  kReadHandOff,   ///< a READY of the read side that waits for its Ack, by its wait's id
  kWriteHandOff,  ///< the same of the write side
};
constexpr IdUse HandOffOf(Side side) {
  return side == Side::kRead ? IdUse::kReadHandOff : IdUse::kWriteHandOff;
}

/// Which id of which name.
struct IdKey {
  IdUse use = IdUse::kWait;
  uint64_t name = 0;    ///< the name's fingerprint
  uint64_t caller = 0;  ///< whose id it is: another one's is another id
  std::string_view id;
};

IdKey KeyOf(IdUse use, std::string_view name, uint64_t caller, std::string_view id);
inline IdKey KeyOf(IdUse use, std::string_view name, const Retry& retry) {
  return KeyOf(use, name, retry.caller, retry.id);
}

/// Under what a hand-off is known. Its delivery is in it: a wait and a poll may have the same id,
/// and an id whose outcome was forgotten may be used again while its hand-off waits for the Ack.
IdKey HandOffKeyOf(Side side, std::string_view name, uint64_t delivery, uint64_t caller,
                   std::string_view id);

/// What a call asks for, as a number: the same id with another one is another call's. How long a
/// call is to wait is not in it.
uint64_t ContentOf(const OpenArgs& args);
uint64_t ContentOf(const CloseArgs& args);
uint64_t ContentOf(const ResetArgs& args);
uint64_t ContentOf(const WaitArgs& args);
uint64_t ContentOf(const ReadyArgs& args);
uint64_t ContentOf(const SetDeadlineArgs& args);
uint64_t ContentOf(const PollArgs& args);

/// Whatever a call with an id may have answered.
using IdAnswer = std::variant<WaitResult, PollResult, OpenResult, CloseResult, ResetResult,
                              ReadyResult, SetDeadlineResult>;

/// The READYs in an answer that could go back.
std::vector<WaitResult> ReadysOf(const IdAnswer& answer);

/// Whether that life of the descriptor goes on; null: it was over long ago.
bool Lives(const PollDesc* desc, uint64_t generation);

/// READYs that an answer keeps for whoever comes with its id begin to stand at their descriptors,
/// or end to. Under the locks of these.
void Keep(const IdAnswer& answer, int by, Instant now);

struct IdRecord;

/// Fires when nobody came for an answer, or when an Ack is overdue. Few ids have one. In a slab,
/// for one that is on its way may be of a former life.
struct IdAlarm : Timer {
  IdAlarm() : Timer(TimerUse::kId) {}
  IdRecord* record = nullptr;
};

/// What is remembered of a call with an id, or of a hand-off.
///
/// Threads:  the lock of the name's shard; a poll's also, while it is parked, those of its targets.
/// Lifetime: in a slab, and reused; `life` tells one from the next.
struct IdRecord {
  enum class State : uint8_t {
    kParked,    ///< the wait has not ended
    kAnswered,  ///< the answer is known, and somebody was there to get it
    kKept,      ///< the answer is known and nobody was there: its READY goes back in the end
    kPending,   ///< of a hand-off: it waits for its Ack
    kAcked,     ///< of a hand-off: it had its Ack
    kStale,     ///< of a hand-off: it was taken back
  };

  IdKey key() const { return {use, name, caller, id}; }

  IdUse use = IdUse::kWait;
  State state = State::kParked;
  bool poll = false;  ///< of a parked one: which of the waiters it is
  uint32_t life = 0;
  uint64_t name = 0;
  uint64_t caller = 0;
  uint64_t content = 0;
  std::string id;
  Instant recorded;           ///< when it came into the order of those that can be forgotten
  IdRecord* older = nullptr;  ///< in that order
  IdRecord* newer = nullptr;
  uint32_t dirty_at = 0;     ///< its place among those to be saved, from 1; 0: it is none
  bool forgettable = false;  ///< it stands in that order
  bool stored = false;       ///< it was collected to be saved
  Waiter* waiter = nullptr;  ///< of kParked
  Nanos ack_timeout{0};      ///< of a wait; 0: none
  IdAlarm* alarm = nullptr;  ///< null: none is set
  PollCall* next = nullptr;  ///< of a poll that is decided and has not left: who asked meanwhile
  std::unique_ptr<const IdAnswer> answer;
  std::unique_ptr<HandOff> hand_off;
};

/// A READY of an answer, which waits for its Ack or has. Lifetime: that of the answer and of the
/// call that asked for it.
struct Handed {
  std::string_view name;
  IdKey key;  ///< of its hand-off
  const WaitResult* ready = nullptr;
};

/// Those of a known wait's answer, to a call that asks for it; none without an ack_timeout.
std::vector<Handed> HandedOver(const IdRecord& record, const WaitArgs& args);
std::vector<Handed> HandedOver(const IdRecord& record, const PollArgs& args);

/// The ids of the names of one shard: what came of each call, and of each hand-off.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. An id is in the index as long as its record is in use.
///             2. The order of those that can be forgotten is by `recorded`, oldest first.
///             3. No id whose first attempt is at or after `horizon` was forgotten, but those that
///                were cancelled or acknowledged, which nobody asks for again.
class IdTable {
 public:
  /// Null: not known.
  IdRecord* Find(const IdKey& key);

  /// A new record of an id that is not known, or of one that is to be known anew.
  IdRecord& Insert(const IdKey& key, uint64_t content);

  /// Its alarm is not set.
  void Erase(IdRecord& record);

  /// An alarm for the record, which has none; and back.
  IdAlarm& GetAlarm(IdRecord& record);
  void PutAlarm(IdRecord& record);

  /// From now on the record can be forgotten when its time comes; or no more.
  void Age(IdRecord& record, Instant now);
  void Unage(IdRecord& record);

  /// The one to be forgotten first, or null.
  IdRecord* oldest() const { return oldest_; }

  /// First attempts before this instant are not known any more. Moves forward only.
  Instant horizon() const { return horizon_; }
  void MoveHorizon(Instant to) { horizon_ = std::max(horizon_, to); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(const IdKey& key) const;
    size_t operator()(const IdRecord* record) const { return (*this)(record->key()); }
  };
  struct Same {
    using is_transparent = void;
    static IdKey Of(const IdKey& key) { return key; }
    static IdKey Of(const IdRecord* record) { return record->key(); }
    bool operator()(const auto& a, const auto& b) const {
      const IdKey x = Of(a);
      const IdKey y = Of(b);
      return x.use == y.use && x.name == y.name && x.caller == y.caller && x.id == y.id;
    }
  };

  absl::flat_hash_set<IdRecord*, Hash, Same> index_;
  PollCache<IdRecord> records_;
  PollCache<IdAlarm> alarms_;
  IdRecord* oldest_ = nullptr;
  IdRecord* newest_ = nullptr;
  Instant horizon_ = Instant::min();
};

}  // namespace waitd::core

#endif  // WAITD_CORE_IDS_H_
