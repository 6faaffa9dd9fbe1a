#ifndef WAITD_CORE_SAVED_H_
#define WAITD_CORE_SAVED_H_

#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "core/call.h"
#include "core/delivery.h"
#include "core/ids.h"

namespace waitd::core {

/// What is stored of a side.
struct SavedSide {
  bool ready = false;
  uint32_t coalesced = 0;  ///< of the signal that is remembered, as are the next two
  Payload signal;
  WallTime ready_time;
  Deadline deadline;
  uint64_t delivery = 0;
  uint64_t reset_through = 0;  ///< deliveries up to this one were handed out before the last Reset
};

/// What is stored of a name. Who waits on it is not: a client waits again with the same id.
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

/// A name that is no longer open. Its deliveries go with it.
struct ClosedDesc {
  std::string name;
  uint64_t generation = 0;
};

/// Which delivery is stored.
struct SavedDeliveryKey {
  uint64_t generation = 0;  ///< whose it is
  Side side = Side::kRead;
  uint64_t number = 0;
};

/// What is stored of a delivery.
struct SavedDelivery {
  SavedDeliveryKey key;
  uint32_t shard = 0;                                 ///< its home
  Delivery::State state = Delivery::State::kPending;  ///< never kKept: the id's row tells that
  bool acknowledgeable = false;
  uint32_t attempt = 1;
  uint32_t coalesced = 0;
  Payload signal;
  WallTime ready_time;
  std::string wait_id;
  uint64_t caller = 0;
  Instant alarm = kNever;  ///< of kPending: when its signal comes back
  Instant recorded;        ///< of kAcked and kStale: when it became so
};

/// Which id is stored.
struct SavedIdKey {
  IdUse use = IdUse::kWait;
  uint64_t name = 0;    ///< the name's fingerprint
  uint64_t caller = 0;  ///< whose id it is
  std::string id;
};

/// What is stored of an id: the answer of its call.
struct SavedId {
  SavedIdKey key;
  uint32_t shard = 0;  ///< its home
  bool stale = false;  ///< one of its signals has come back, for another wait
  bool kept = false;   ///< nobody has the answer: its signals come back unless somebody asks for it
  uint64_t content = 0;
  Instant recorded;
  Nanos ack_timeout{0};  ///< of a wait; 0: none
  IdAnswer answer;       ///< a signal's generation tells whose it was, not its `desc`
};

/// What is stored of a shard.
struct SavedShard {
  uint32_t shard = 0;
  Instant horizon = Instant::min();  ///< first attempts before this are not known
  uint64_t lives = 0;                ///< how many generations it has given out; never falls
};

/// What changed in some shards, of each as it was at one instant, to be stored in one batch.
/// Deques, for they grow under a lock, and move nothing when they do.
struct Changes {
  // What is erased, before the rest is put.
  std::deque<ClosedDesc> closed;
  std::deque<SavedIdKey> forgotten;
  std::deque<SavedDeliveryKey> ended;

  std::deque<SavedDesc> descs;
  std::deque<SavedId> ids;
  std::deque<SavedDelivery> deliveries;
  std::deque<SavedShard> shards;

  bool empty() const { return rows() == 0; }

  /// How many rows it puts or erases.
  size_t rows() const {
    return closed.size() + forgotten.size() + ended.size() + descs.size() + ids.size() +
           deliveries.size() + shards.size();
  }

  void Append(Changes&& other) {
    const auto join = [](auto& to, auto&& from) {
      to.insert(to.end(), std::make_move_iterator(from.begin()),
                std::make_move_iterator(from.end()));
    };
    join(closed, other.closed);
    join(forgotten, other.forgotten);
    join(ended, other.ended);
    join(descs, other.descs);
    join(ids, other.ids);
    join(deliveries, other.deliveries);
    join(shards, other.shards);
  }
};

}  // namespace waitd::core

#endif  // WAITD_CORE_SAVED_H_
