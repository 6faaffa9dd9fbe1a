#ifndef WAITD_SERVER_STORE_INSTANTS_H_
#define WAITD_SERVER_STORE_INSTANTS_H_

#include "core/clock.h"
#include "server/store/store_clock.h"

namespace waitd::server {

/// An instant as it is stored: on the boot clock, and on the wall clock since 1970.
struct StoredInstant {
  core::Nanos boot;
  core::Nanos wall;
};

/// Brings instants of the monotonic clock into the form in which they are stored. Made anew for
/// each batch, for in between the machine may be suspended, or the wall clock stepped.
///
/// Never early: the clocks cannot be read at once. Here the boot clock is read after the others,
/// and by the reader before them, so that the time between the readings makes an instant later, if
/// anything.
class InstantWriter {
 public:
  explicit InstantWriter(const StoreClock& clock);

  StoredInstant Write(core::Instant at) const;
  core::Nanos wall_minus_boot() const { return to_wall_ - to_boot_; }

 private:
  core::Nanos to_wall_;
  core::Nanos to_boot_;
};

/// Brings stored instants onto the monotonic clock of this process.
class InstantReader {
 public:
  /// By the `wall_minus_boot` of the epoch that goes on, see record.proto.
  InstantReader(const StoreClock& clock, core::Nanos wall_minus_boot);

  /// Of a row of the epoch that goes on.
  core::Instant FromBoot(core::Nanos boot) const;

  /// Of a row of an earlier one.
  core::Instant FromWall(core::Nanos wall) const;

 private:
  core::Nanos to_mono_;
  core::Nanos wall_minus_boot_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_INSTANTS_H_
