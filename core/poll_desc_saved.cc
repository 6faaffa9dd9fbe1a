// What is saved of a descriptor, and a new life from it.
#include <memory>
#include <utility>

#include "core/poll_desc.h"
#include "core/release.h"

namespace waitd::core {
namespace {

// What a side remembers, whichever way.
template <class From, class To>
void Copy(const From& from, To& to) {
  to.ready = from.ready;
  to.coalesced = from.coalesced;
  to.signal = from.signal;
  to.ready_time = from.ready_time;
  to.deadline = from.deadline;
  to.delivery = from.delivery;
}

}  // namespace

void PollDesc::Note(bool waited) {
  env_.unsaved.Touch(*this);
  if (env_.releases > 0) {
    for (const Side s : kSides) {
      if (side(s).extra == nullptr) continue;
      for (Release* const release : side(s).extra->releases) release->Hold();
    }
  }
  if (waited) changed = env_.unsaved.Changed();
}

SavedDesc PollDesc::Save() const {
  SavedDesc saved;
  saved.name = name();
  saved.kind = kind_;
  saved.generation = generation_;
  saved.open_time = open_time_;
  saved.idle_ttl = idle_ttl();
  if (options != nullptr) {
    saved.labels = options->labels;
    saved.ephemeral = options->ephemeral;
    saved.owner = options->owner;
  }
  for (const Side s : kSides) {
    const SideState& from = side(s);
    SavedSide& to = saved.side[Index(s)];
    Copy(from, to);
    if (from.extra != nullptr) to.reset_through = from.extra->reset_through;
  }
  return saved;
}

void PollDesc::Restore(const SavedDesc& saved) {
  open_time_ = saved.open_time;
  if (!saved.labels.empty()) {
    OpenOptions opened;
    opened.labels = saved.labels;
    options = std::make_unique<const OpenOptions>(std::move(opened));
  }
  for (const Side s : kSides) {
    const SavedSide& from = saved.side[Index(s)];
    const bool untouched =
        !from.ready && from.delivery == 0 && from.deadline.state == Deadline::State::kNone;
    if (untouched) continue;
    Copy(from, at(s));
    if (from.reset_through > 0) extra(s).reset_through = from.reset_through;
  }
  SyncTimers();
}

Delivery& PollDesc::Restore(SavedDelivery saved) {
  const WaitResult taken{.coalesced = saved.coalesced,
                         .generation = saved.key.generation,
                         .signal = std::move(saved.signal),
                         .delivery = saved.key.number,
                         .attempt = saved.attempt,
                         .side = saved.key.side,
                         .ready_time = saved.ready_time};
  const AccountRef whose = saved.caller == 0 ? AccountRef() : env_.budget.Open(saved.caller);
  Delivery& delivery = AddDelivery(taken, saved.state, saved.alarm, whose);
  delivery.acknowledgeable = saved.acknowledgeable;
  delivery.wait_id = std::move(saved.wait_id);
  delivery.caller = saved.caller;
  delivery.recorded = saved.recorded;
  delivery.stored = true;
  return delivery;
}

}  // namespace waitd::core
