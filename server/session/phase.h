#ifndef WAITD_SERVER_SESSION_PHASE_H_
#define WAITD_SERVER_SESSION_PHASE_H_

#include <cstdint>

namespace waitd::server {

/// Where a session is in its life.
///
///   | event \ phase        | kUp         | kDraining   | kBroken     | kEnding      | kEnded     |
///   |----------------------|-------------|-------------|-------------|--------------|------------|
///   | Attach               | kUp         | kUp         | kUp         | refused      | refused    |
///   | Receive              | carried out | passed over | passed over | passed over  | passed over|
///   | HalfClosed           | kDraining   |             |             |              |            |
///   | everything written   |             | kEnding     |             |              |            |
///   | its link is lost     | kBroken     | kBroken     |             | has no link  | is over    |
///   | linger has passed    |             |             | kEnding     |              |            |
///   | End                  | kEnding     | kEnding     | kEnding     |              |            |
///   | nothing of it is in the core     |             |             | kEnded       |            |
///
/// What comes by another link than the present one is passed over in every phase. In kEnded and
/// without a link it is over, and its table lets go of it.
enum class Phase : uint8_t {
  kUp,        ///< a link carries it
  kDraining,  ///< the same, and the client sends nothing more: it ends when all is answered
  kBroken,    ///< it waits for a link, for as long as it lingers
  kEnding,    ///< its waits are ended, its ephemeral names closed, and signals given back
  kEnded,     ///< all that may be left is its link, with the last write
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_PHASE_H_
