#include "server/session/session_call.h"

#include "core/blocks.h"

namespace waitd::server {

// NOLINTNEXTLINE(misc-new-delete-overloads): the sized delete is its match
void* SessionOperation::operator new(size_t size) { return core::GetBlock(size); }
void SessionOperation::operator delete(void* bytes, size_t size) { core::PutBlock(bytes, size); }

}  // namespace waitd::server
