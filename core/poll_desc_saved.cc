// What is saved of a descriptor, and a new life from it.
#include <memory>

#include "core/poll_desc.h"

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
    if (from.hand_offs != nullptr) to.returned = from.hand_offs->returned;
  }
  return saved;
}

void PollDesc::Restore(const SavedDesc& saved) {
  open_time_ = saved.open_time;
  if (!saved.labels.empty()) {
    options = std::make_unique<const OpenOptions>(OpenOptions{.labels = saved.labels});
  }
  for (const Side s : kSides) {
    const SavedSide& from = saved.side[Index(s)];
    const bool untouched = !from.ready && from.delivery == 0 && from.returned.empty() &&
                           from.deadline.state == Deadline::State::kNone;
    if (untouched) continue;
    SideState& to = at(s);
    Copy(from, to);
    if (!from.returned.empty()) {
      to.hand_offs = std::make_unique<HandOffs>();
      to.hand_offs->returned = from.returned;
      env_.counters.returned += from.returned.size();
    }
  }
  SyncTimers();
}

}  // namespace waitd::core
