#ifndef WAITD_CORE_IDS_H_
#define WAITD_CORE_IDS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/aging.h"
#include "core/call.h"
#include "core/hash_index.h"
#include "core/poll_cache.h"
#include "core/timer_wheel.h"
#include "core/waiter.h"

namespace waitd::core {

class Conclusion;

/// What an id is of. Ids of different use never meet.
enum class IdUse : uint8_t {
  kWait,     ///< a Wait or a Poll
  kRequest,  ///< any other call
};

/// Which id of which name.
struct IdKey {
  IdUse use = IdUse::kWait;
  uint64_t name = 0;    ///< the name's fingerprint
  uint64_t caller = 0;  ///< whose id it is: another one's is another id
  std::string_view id;
};

IdKey KeyOf(IdUse use, std::string_view name, const Retry& retry);

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

/// Memory that an answer takes, in bytes.
size_t SizeOf(const IdAnswer& answer);

/// The signals in an answer that could come back.
std::vector<WaitResult> SignalsOf(const WaitResult& result);
std::vector<WaitResult> SignalsOf(const PollResult& result);
std::vector<WaitResult> SignalsOf(const IdAnswer& answer);

struct IdRecord;

/// What a call with an id was answered, shared by its record and by the calls that have its
/// signals: the record may be forgotten before it is known whether an answer was written.
///
/// Threads: the lock of the id's home; `stale` instead: the locks of its signals' names, of one to
/// write it, of all to read it.
struct Remembered {
  explicit Remembered(IdAnswer answer) : value(std::move(answer)) {}

  IdAnswer value;
  IdRecord* record = nullptr;  ///< null: it was forgotten
  uint8_t shard = 0;           ///< its home
  uint32_t holders = 0;        ///< calls that have it, and were not found to be unwritten
  bool kept = false;           ///< nobody has it, and its signals wait in deliveries
  bool acks = false;           ///< of a wait with an ack_timeout
  bool stale = false;          ///< one of its signals has come back, for another wait
  Conclusion* late = nullptr;  ///< what completes it; null: it is complete
};

/// A wait whose client has gone: when it ends, and what is still shown of the client. In a slab,
/// for a timer that is on its way may be of a former life.
struct Absent : Timer {
  Absent() : Timer(TimerUse::kAbsent) {}
  IdRecord* record = nullptr;
  std::string client;
};

/// What is remembered of a call with an id.
///
/// | state    | event                                        | state after |
/// |----------|----------------------------------------------|-------------|
/// | -        | a wait with the id parks                     | parked      |
/// | -        | a call with the id ends                      | answered    |
/// | parked   | the wait ends with an outcome                | answered    |
/// | parked   | it is cancelled or refused, or by max-wait   | gone        |
/// | answered | retention is over, or there is no room       | gone        |
/// | answered | its signals come back                        | gone        |
///
/// Threads:  the lock of the name's shard; a poll's also, while it is parked, those of its targets.
/// Lifetime: in a slab, and reused.
struct IdRecord : Aging {
  IdRecord() : Aging(false) {}

  IdKey key() const { return {use, name, caller, id}; }
  bool parked() const { return waiter != nullptr; }
  /// Whether it is of a call that answers R and asks for this. Two calls that ask for the same
  /// number can be made, so that more than the number has to fit.
  template <class R>
  bool IsOf(uint64_t asked) const {
    if (content != asked) return false;
    if (parked()) return waiter->poll == std::is_same_v<R, PollResult>;
    return std::holds_alternative<R>(answer->value);
  }

  IdUse use = IdUse::kWait;
  bool stored = false;    ///< it was collected to be saved
  uint32_t dirty_at = 0;  ///< its place among those to be saved; 0: it is none
  uint64_t name = 0;
  uint64_t caller = 0;
  uint64_t content = 0;
  std::string id;
  Nanos ack_timeout{0};                ///< of a wait; 0: none
  Waiter* waiter = nullptr;            ///< of a parked one
  Absent* absent = nullptr;            ///< of a parked one whose client has gone
  std::shared_ptr<Remembered> answer;  ///< of an answered one
};

/// The ids of the names of one shard.
///
/// Threads:    none of its own; the shard's lock guards it.
/// Invariants: 1. An id is in the index as long as its record is in use.
///             2. No id whose first attempt is at or after its caller's `horizon` was forgotten,
///                but those that were cancelled, or whose signals came back, which nobody asks for
///                again.
class IdTable {
 public:
  /// Null: not known.
  IdRecord* Find(const IdKey& key);

  /// A new record of an id that is not known.
  IdRecord& Insert(const IdKey& key, uint64_t content);

  /// The record is in no list and has no Absent.
  void Erase(IdRecord& record);

  /// The wait of this record has no client any more; and the end of that.
  Absent& MakeAbsent(IdRecord& record, std::string_view client);
  void EndAbsent(IdRecord& record);

  /// First attempts of this caller before this instant are not known any more. Moves forward only.
  Instant horizon(uint64_t caller) const {
    const auto own = horizons_.find(caller);
    return own == horizons_.end() ? horizon_ : std::max(horizon_, own->second);
  }
  /// Of everybody; or of this caller alone, whose oldest went though others had older ones.
  void MoveHorizon(Instant to) { horizon_ = std::max(horizon_, to); }
  void MoveHorizon(Instant to, uint64_t caller, Instant useful_from);

  /// No first attempt after this was forgotten: what is saved, for everybody.
  Instant last_horizon() const { return std::max(horizon_, last_own_); }

 private:
  struct ByKey {
    using Key = IdKey;
    static size_t Hash(const IdKey& key);
    static IdKey KeyOf(const IdRecord& record) { return record.key(); }
    static bool Same(const IdKey& key, const IdRecord& record) {
      return key.use == record.use && key.name == record.name && key.caller == record.caller &&
             key.id == record.id;
    }
  };

  HashIndex<IdRecord, ByKey> index_;
  PollCache<IdRecord> records_;
  PollCache<Absent> absents_;
  Instant horizon_ = Instant::min();
  absl::flat_hash_map<uint64_t, Instant> horizons_;  // of few: who had more than their share
  Instant last_own_ = Instant::min();                // the last of these
};

}  // namespace waitd::core

#endif  // WAITD_CORE_IDS_H_
