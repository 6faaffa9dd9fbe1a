#ifndef WAITD_SERVER_API_SIGNAL_H_
#define WAITD_SERVER_API_SIGNAL_H_

#include <cstddef>
#include <string_view>

#include "core/budget.h"
#include "core/types.h"
#include "server/api/status.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// What a signal may take, and who is charged for it.
struct SignalLimits {
  size_t bytes_max = 0;  ///< of one, encoded
  core::Budget& budget;  ///< of all that are held at a time
};

/// What a READY carries, as the core holds it: the signal's bytes, and before them, where one is
/// known, who sent it. Null: neither. `signal` is null when none is given.
Fault ToPayload(const v1::Signal* signal, std::string_view sender, const SignalLimits& limits,
                const core::AccountRef& account, core::Payload* to);

/// The same as the one who waited is told it.
void WritePayload(const core::Payload& payload, v1::WaitResponse& to);

}  // namespace waitd::server

#endif  // WAITD_SERVER_API_SIGNAL_H_
