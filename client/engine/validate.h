#ifndef WAITD_CLIENT_ENGINE_VALIDATE_H_
#define WAITD_CLIENT_ENGINE_VALIDATE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "client/engine/request.h"

namespace waitd::internal {

/// Checks an operation before it shares a message with others: bytes that are no UTF-8 would end
/// the stream, with all that is on it. What it refuses the server would refuse with the same code
/// and reason; what depends on the descriptor's state is left to the server.
absl::Status Validate(const Request& request);

/// The refusal of a signal over the server's limit, or OK.
absl::Status CheckPayload(const Request& request, size_t bytes_max);

/// The size of a signal's encoding, which is what the server bounds.
size_t EncodedSize(const Signal& signal);

/// About how many bytes a request is on the wire, and not less.
size_t SizeBound(const Request& request);

bool IsUtf8(std::string_view text);

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_ENGINE_VALIDATE_H_
