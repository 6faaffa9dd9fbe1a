#ifndef WAITD_SERVER_STORE_PAYLOAD_H_
#define WAITD_SERVER_STORE_PAYLOAD_H_

#include <cstdint>
#include <string>

#include "core/types.h"

namespace waitd::server {

/// What a READY carries, as the core has it. It counts as held until the last who shares it, be it
/// a side, an outcome or a result on its way, has let it go.
core::Payload MakePayload(std::string bytes);

/// How much memory all payloads of the process hold, about.
uint64_t HeldPayloadBytes();

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_PAYLOAD_H_
