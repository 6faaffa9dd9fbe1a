#ifndef WAITD_SERVER_STORE_RECOVER_H_
#define WAITD_SERVER_STORE_RECOVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/clock.h"
#include "core/poller.h"
#include "server/options/memory.h"
#include "server/options/options.h"
#include "server/store/store.h"

namespace waitd::server {

/// Opens the store that the options name, and fills the new poller with what is there. Says in the
/// log how far it is. An error says what to do.
absl::StatusOr<std::unique_ptr<Store>> Recover(const Options& options, const MemoryPlan& plan,
                                               const core::Clock& clock, core::Poller& poller);

/// Begins a new poller that no store backs.
void BeginWithNothing(const core::Clock& clock, core::Poller& poller);

/// What --check-store does: reads the store, says what it found on stdout, and returns the exit
/// code.
int CheckStoreAndSay(const Options& options);

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_RECOVER_H_
