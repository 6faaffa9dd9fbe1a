#include "core/unsaved.h"

#include "core/poll_desc.h"

namespace waitd::core {

void Unsaved::AddRow(const PollDesc& desc) { cut_.descs.push_back(desc.Save()); }

void Unsaved::AddRow(const IdRecord& record) {
  SavedId& to = cut_.ids.emplace_back();
  to.key = {record.use, record.name, record.caller, record.id};
  to.shard = static_cast<uint32_t>(shard_);
  to.kept = record.answer->kept;
  to.stale = record.answer->stale;
  to.content = record.content;
  to.recorded = record.recorded;
  to.ack_timeout = record.ack_timeout;
  to.answer = record.answer->value;
}

void Unsaved::AddRow(const Delivery& delivery) {
  SavedDelivery& to = cut_.deliveries.emplace_back();
  to.key = {delivery.generation, delivery.side, delivery.number};
  to.shard = static_cast<uint32_t>(shard_);
  to.state = delivery.state;
  to.acknowledgeable = delivery.acknowledgeable;
  to.attempt = delivery.attempt;
  to.coalesced = delivery.coalesced;
  to.signal = delivery.signal;
  to.ready_time = delivery.ready_time;
  to.wait_id = delivery.wait_id;
  to.caller = delivery.caller;
  if (delivery.state == Delivery::State::kPending) to.alarm = delivery.when();
  to.recorded = delivery.recorded;
}

template <class T>
void Unsaved::CopyRow(DirtyList<T>& list, T& item) {
  AddRow(item);
  item.stored = true;
  list.Remove(item);
}

template void Unsaved::CopyRow(DirtyList<PollDesc>&, PollDesc&);
template void Unsaved::CopyRow(DirtyList<IdRecord>&, IdRecord&);
template void Unsaved::CopyRow(DirtyList<Delivery>&, Delivery&);

template <class T>
bool Unsaved::GoneFrom(DirtyList<T>& list, T& item) {
  if (list.InCut(item)) CopyRow(list, item);
  list.Remove(item);
  if (!std::exchange(item.stored, false)) return false;
  Tell();
  return true;
}

void Unsaved::Gone(PollDesc& desc) {
  if (GoneFrom(descs_, desc)) {
    erased_.closed.push_back({std::string(desc.name()), desc.generation()});
  }
}

void Unsaved::Gone(IdRecord& record) {
  if (GoneFrom(ids_, record)) {
    erased_.forgotten.push_back({record.use, record.name, record.caller, record.id});
  }
}

void Unsaved::Gone(Delivery& delivery) {
  if (GoneFrom(deliveries_, delivery)) {
    erased_.ended.push_back({delivery.generation, delivery.side, delivery.number});
  }
}

void Unsaved::LetGo() {
  --holds_;
  if (holds_ == 0 && put_off_ != 0) journal_->Changed(std::exchange(put_off_, 0));
}

uint64_t Unsaved::Cut(SavedShard state) {
  descs_.Cut();
  ids_.Cut();
  deliveries_.Cut();
  cut_ = std::exchange(erased_, {});
  if (std::exchange(shard_moved_, false)) cut_.shards.push_back(state);
  told_ = false;
  linked_ = 0;
  return number_;
}

template <class T>
bool Unsaved::CopySome(DirtyList<T>& list, size_t* rows_left) {
  for (; *rows_left > 0; --*rows_left) {
    T* const item = list.FirstOfCut();
    if (item == nullptr) return false;
    CopyRow(list, *item);
  }
  return list.FirstOfCut() != nullptr;
}

bool Unsaved::Copy(size_t rows_max, Changes& to) {
  const bool more =
      CopySome(descs_, &rows_max) || CopySome(ids_, &rows_max) || CopySome(deliveries_, &rows_max);
  to = std::exchange(cut_, {});
  return more;
}

}  // namespace waitd::core
