#ifndef WAITD_CORE_SAVED_H_
#define WAITD_CORE_SAVED_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/call.h"
#include "core/hand_off.h"
#include "core/ids.h"

namespace waitd::core {

/// What is stored of a side.
struct SavedSide {
  bool ready = false;
  uint32_t coalesced = 0;  ///< of the READY, as are the next two
  Payload signal;
  WallTime ready_time;
  Deadline deadline;
  uint64_t delivery = 0;
  std::vector<Token> returned;  ///< the oldest delivery first
};

/// What is stored of a descriptor. Who waits on it is not: a client parks again with the same id.
struct SavedDesc {
  std::string name;
  Kind kind = Kind::kExclusive;
  uint64_t generation = 0;
  WallTime open_time;
  Nanos idle_ttl = kForever;
  Labels labels;
  bool ephemeral = false;
  std::string owner;
  SavedSide side[2];  ///< by Side
};

/// Which id is stored.
struct SavedIdKey {
  IdUse use = IdUse::kWait;
  uint64_t name = 0;    ///< the name's fingerprint
  uint64_t caller = 0;  ///< whose id it is
  std::string id;
};

/// What is stored of an id: the answer of its call, or the hand-off that waits for its Ack.
struct SavedId {
  struct SavedHandOff {
    uint64_t generation = 0;
    Side side = Side::kRead;
    Token token;
  };
  SavedIdKey key;
  uint32_t shard = 0;  ///< its home
  IdRecord::State state = IdRecord::State::kAnswered;
  uint64_t content = 0;
  Instant recorded;                ///< when it came into the order of those that can be forgotten
  Instant alarm = kNever;          ///< of kPending: when its READY is taken back
  Nanos ack_timeout{0};            ///< of a wait; 0: none
  std::optional<IdAnswer> answer;  ///< whose a READY was is told by its generation, not by `desc`
  std::optional<SavedHandOff> hand_off;
};

/// What changed in a few shards, all of it at one instant in each, to be stored in one batch.
struct Changes {
  std::vector<std::string> closed;  ///< names to be erased, before the next are put
  std::vector<SavedDesc> descs;
  std::vector<SavedIdKey> forgotten;  ///< ids to be erased, before the next are put
  std::vector<SavedId> ids;
  uint64_t next_generation = 0;  ///< above every generation in use
  struct Horizon {
    uint32_t shard = 0;
    Instant at;  ///< first attempts before this are not known
  };
  std::vector<Horizon> horizons;

  bool empty() const {
    return closed.empty() && descs.empty() && forgotten.empty() && ids.empty() && horizons.empty();
  }
};

}  // namespace waitd::core

#endif  // WAITD_CORE_SAVED_H_
