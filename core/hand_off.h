#ifndef WAITD_CORE_HAND_OFF_H_
#define WAITD_CORE_HAND_OFF_H_

#include <cstdint>
#include <vector>

#include "core/clock.h"
#include "core/types.h"

namespace waitd::core {

class PollDesc;

/// A READY that was handed over and came back: it stands before the one that is remembered.
struct Token {
  Payload signal;
  WallTime ready_time;
  uint32_t coalesced = 0;
  uint32_t attempt = 1;   ///< of the hand-over to come
  uint64_t delivery = 0;  ///< of the last one
};

/// A READY that was handed over, and comes back without an Ack.
struct HandOff {
  PollDesc* desc = nullptr;  ///< null: closed before it was restored; then it is not pending
  uint64_t generation = 0;
  Side side = Side::kRead;
  Token token;
};

/// The hand-offs of a side.
struct HandOffs {
  uint32_t unacked = 0;         ///< how many wait for their Ack
  uint32_t kept = 0;            ///< READYs that nobody has come for, by the id of their wait
  std::vector<Token> returned;  ///< the oldest delivery first
};

}  // namespace waitd::core

#endif  // WAITD_CORE_HAND_OFF_H_
