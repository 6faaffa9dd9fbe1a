#include "server/store/instants.h"

namespace waitd::server {

using core::Instant;
using core::Nanos;
using core::SaturatingAdd;

InstantWriter::InstantWriter(const StoreClock& clock) {
  const core::Now now = clock.now();
  to_wall_ = now.wall.time_since_epoch() - now.mono.time_since_epoch();
  to_boot_ = clock.boottime() - now.mono.time_since_epoch();
}

StoredInstant InstantWriter::Write(Instant at) const {
  const Nanos mono = at.time_since_epoch();
  if (at == Instant::min()) return {Nanos::min(), Nanos::min()};
  return {SaturatingAdd(mono, to_boot_), SaturatingAdd(mono, to_wall_)};
}

InstantReader::InstantReader(const StoreClock& clock, Nanos wall_minus_boot)
    : wall_minus_boot_(wall_minus_boot) {
  const Nanos boot = clock.boottime();
  to_mono_ = clock.now().mono.time_since_epoch() - boot;
}

Instant InstantReader::FromBoot(Nanos boot) const {
  if (boot == Nanos::max()) return core::kNever;
  if (boot == Nanos::min()) return Instant::min();
  return Instant(SaturatingAdd(boot, to_mono_));
}

Instant InstantReader::FromWall(Nanos wall) const {
  if (wall == Nanos::max() || wall == Nanos::min()) return FromBoot(wall);
  return FromBoot(SaturatingAdd(wall, -wall_minus_boot_));
}

}  // namespace waitd::server
