#ifndef WAITD_SERVER_STORE_PAYLOAD_H_
#define WAITD_SERVER_STORE_PAYLOAD_H_

#include <cstddef>
#include <string>

#include "core/budget.h"
#include "core/types.h"

namespace waitd::server {

/// What a payload of so many bytes is charged.
core::Amount PayloadAmount(size_t bytes);

/// What a READY carries, as the core has it. The charge lasts until the last who shares it, be it a
/// side, an outcome or a result on its way, has let it go.
core::Payload MakePayload(std::string bytes, core::Charge charge);

/// One that was stored: whose it was is not known. `budget`: null: nothing is charged.
core::Payload StoredPayload(std::string bytes, core::Budget* budget);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_PAYLOAD_H_
