#include "server/store/record.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "server/store/payload.h"
#include "server/store/payload_rows.h"
#include "server/store/record_enums.h"

namespace waitd::server {
namespace {

using core::Nanos;
using core::WallTime;

int64_t Count(WallTime at) { return at.time_since_epoch().count(); }
WallTime WallOf(int64_t count) { return WallTime(Nanos(count)); }

class Writer {
 public:
  Writer(const InstantWriter& instants, OnPayload on_payload)
      : instants_(instants), on_payload_(on_payload) {}

  void Write(core::Instant at, store::v1::Instant* to) const {
    const StoredInstant written = instants_.Write(at);
    to->set_boot(written.boot.count());
    to->set_wall(written.wall.count());
  }

  // The setters below make a submessage only where there is something to say.
  template <class Message>
  void WriteSignal(const core::Payload& from, Message* to) const {
    if (from == nullptr) return;
    if (from->size() < kPayloadRowBytes) {
      to->mutable_signal()->set_here(*from);
    } else {
      to->mutable_signal()->set_row(on_payload_(from));
    }
  }

  bool IsNone(const core::Deadline& deadline) const {
    return deadline.state == core::Deadline::State::kNone && deadline.at == core::kNever &&
           deadline.wall == WallTime::max();
  }

  void Write(const core::Deadline& from, store::v1::Deadline* to) const {
    to->set_state(ToStored(from.state));
    if (from.at != core::kNever) to->set_boot(instants_.Write(from.at).boot.count());
    to->set_wall(Count(from.wall));
  }

  void Write(const core::SavedSide& from, store::v1::DescSide* to) const {
    to->set_ready(from.ready);
    to->set_coalesced(from.coalesced);
    WriteSignal(from.signal, to);
    to->set_ready_time(Count(from.ready_time));
    if (!IsNone(from.deadline)) Write(from.deadline, to->mutable_deadline());
    to->set_delivery(from.delivery);
    to->set_reset_through(from.reset_through);
  }

  // Of a descriptor, or of the answer that shows one.
  template <class From, class To>
  void WriteLife(const From& from, To* to) const {
    to->set_kind(ToStored(from.kind));
    to->set_generation(from.generation);
    to->set_open_time(Count(from.open_time));
    to->set_idle_ttl(from.idle_ttl.count());
    for (const auto& [key, value] : from.labels) {
      auto* const label = to->add_labels();
      label->set_key(key);
      label->set_value(value);
    }
    to->set_ephemeral(from.ephemeral);
    to->set_owner(from.owner);
  }

  void Write(const core::WaitResult& from, store::v1::WaitAnswer* to) const {
    to->set_outcome(ToStored(from.outcome));
    to->set_cause(ToStored(from.cause));
    to->set_coalesced(from.coalesced);
    to->set_generation(from.generation);
    WriteSignal(from.signal, to);
    to->set_parked(from.parked.count());
    to->set_late(from.late.count());
    to->set_delivery(from.delivery);
    to->set_attempt(from.attempt);
    to->set_side(ToStored(from.side));
    to->set_ready_time(Count(from.ready_time));
  }

  void Write(const core::PollResult& from, store::v1::PollAnswer* to) const {
    to->set_outcome(ToStored(from.outcome));
    to->set_cause(ToStored(from.cause));
    to->set_parked(from.parked.count());
    to->set_late(from.late.count());
    for (const core::PollResult::Target& target : from.targets) {
      auto* const added = to->add_targets();
      added->set_index(target.index);
      Write(target.result(core::Nanos(0)), added->mutable_result());
    }
  }

  void Write(const core::DescriptorInfo::SideInfo& from,
             store::v1::OpenAnswer::SideInfo* to) const {
    to->set_state(ToStored(from.state));
    to->set_waiters(from.waiters);
    to->set_payload_bytes(from.payload_bytes);
    to->set_unacked(from.unacked);
    to->set_returned(from.returned);
    if (!IsNone(from.deadline)) Write(from.deadline, to->mutable_deadline());
  }

  void Write(const core::OpenResult& from, store::v1::OpenAnswer* to) const {
    to->set_name(from.descriptor.name);
    WriteLife(from.descriptor, to);
    Write(from.descriptor.side[Index(core::Side::kRead)], to->mutable_read());
    Write(from.descriptor.side[Index(core::Side::kWrite)], to->mutable_write());
    to->set_created(from.created);
    if (from.decided != core::kNever) Write(from.decided, to->mutable_decided());
  }

  void Write(const core::CloseResult& from, store::v1::CloseAnswer* to) const {
    to->set_woken(from.woken);
  }

  void Write(const core::ResetResult& from, store::v1::ResetAnswer* to) const {
    to->set_reset(from.reset);
    to->set_forgot(from.forgot);
  }

  void Write(const core::ReadyResult& from, store::v1::ReadyAnswer* to) const {
    to->set_effect(ToStored(from.effect));
    to->set_woken(from.woken);
    to->set_generation(from.generation);
    to->set_expired(from.expired);
  }

  void Write(const core::SetDeadlineResult& from, store::v1::SetDeadlineAnswer* to) const {
    constexpr size_t kRead = Index(core::Side::kRead);
    constexpr size_t kWrite = Index(core::Side::kWrite);
    to->set_applied(from.applied);
    to->set_woken(from.woken);
    to->set_generation(from.generation);
    if (!IsNone(from.deadline[kRead])) Write(from.deadline[kRead], to->mutable_read());
    if (!IsNone(from.deadline[kWrite])) Write(from.deadline[kWrite], to->mutable_write());
    to->set_read_effect(ToStored(from.effect[kRead]));
    to->set_write_effect(ToStored(from.effect[kWrite]));
    if (from.decided != core::kNever) Write(from.decided, to->mutable_decided());
  }

 private:
  const InstantWriter& instants_;
  OnPayload on_payload_;
};

struct AnswerWriter {
  const Writer& writer;
  store::v1::Id& row;

  void operator()(const core::WaitResult& from) const { writer.Write(from, row.mutable_wait()); }
  void operator()(const core::PollResult& from) const { writer.Write(from, row.mutable_poll()); }
  void operator()(const core::OpenResult& from) const { writer.Write(from, row.mutable_open()); }
  void operator()(const core::CloseResult& from) const { writer.Write(from, row.mutable_close()); }
  void operator()(const core::ResetResult& from) const { writer.Write(from, row.mutable_reset()); }
  void operator()(const core::ReadyResult& from) const { writer.Write(from, row.mutable_ready()); }
  void operator()(const core::SetDeadlineResult& from) const {
    writer.Write(from, row.mutable_set_deadline());
  }
};

// Goes through to the end whatever it finds, and keeps the last fault.
class Reader {
 public:
  Reader(const RowInstants& instants, ReadPayload read_payload)
      : instants_(instants), read_payload_(read_payload) {}

  const char* fault() const { return fault_; }

  template <class E>
  E Enum(typename StoredEnum<E>::Stored from) {
    E value{};
    if (!FromStored(from, &value)) fault_ = "a number that stands for nothing";
    return value;
  }

  // An instant that may be absent: it never comes then.
  core::Instant Instant(bool has, const store::v1::Instant& from) const {
    return has ? instants_.Read(Nanos(from.boot()), Nanos(from.wall())) : core::kNever;
  }

  template <class Message>
  core::Payload Signal(const Message& from) {
    if (!from.has_signal()) return nullptr;
    core::Payload payload = read_payload_(from.signal());
    if (payload == nullptr) fault_ = "a payload that is not there";
    return payload;
  }

  core::Deadline Deadline(bool has, const store::v1::Deadline& from) {
    if (!has) return {};
    core::Deadline to;
    to.state = Enum<core::Deadline::State>(from.state());
    to.wall = WallOf(from.wall());
    if (from.has_boot()) to.at = instants_.Read(Nanos(from.boot()), Nanos(from.wall()));
    return to;
  }

  void Read(const store::v1::DescSide& from, core::SavedSide* to) {
    to->ready = from.ready();
    to->coalesced = from.coalesced();
    to->signal = Signal(from);
    to->ready_time = WallOf(from.ready_time());
    to->deadline = Deadline(from.has_deadline(), from.deadline());
    to->delivery = from.delivery();
    to->reset_through = from.reset_through();
  }

  template <class From, class To>
  void ReadLife(const From& from, To* to) {
    to->kind = Enum<core::Kind>(from.kind());
    to->generation = from.generation();
    to->open_time = WallOf(from.open_time());
    to->idle_ttl = Nanos(from.idle_ttl());
    for (const auto& label : from.labels()) to->labels.emplace_back(label.key(), label.value());
    to->ephemeral = from.ephemeral();
    to->owner = from.owner();
  }

  core::WaitResult Answer(const store::v1::WaitAnswer& from) {
    return {.outcome = Enum<core::Outcome>(from.outcome()),
            .cause = Enum<core::TimeoutCause>(from.cause()),
            .coalesced = from.coalesced(),
            .generation = from.generation(),
            .signal = Signal(from),
            .parked = Nanos(from.parked()),
            .late = Nanos(from.late()),
            .delivery = from.delivery(),
            .attempt = from.attempt(),
            .side = Enum<core::Side>(from.side()),
            .ready_time = WallOf(from.ready_time())};
  }

  core::PollResult Answer(const store::v1::PollAnswer& from) {
    core::PollResult to{.outcome = Enum<core::Outcome>(from.outcome()),
                        .cause = Enum<core::TimeoutCause>(from.cause()),
                        .parked = Nanos(from.parked()),
                        .late = Nanos(from.late())};
    for (const auto& target : from.targets()) {
      to.targets.emplace_back(target.index(), Answer(target.result()));
    }
    return to;
  }

  core::DescriptorInfo::SideInfo Info(const store::v1::OpenAnswer::SideInfo& from) {
    return {.state = Enum<core::SemaphoreState>(from.state()),
            .waiters = from.waiters(),
            .payload_bytes = from.payload_bytes(),
            .unacked = from.unacked(),
            .returned = from.returned(),
            .deadline = Deadline(from.has_deadline(), from.deadline())};
  }

  core::OpenResult Answer(const store::v1::OpenAnswer& from) {
    core::OpenResult to{.created = from.created(),
                        .decided = Instant(from.has_decided(), from.decided())};
    to.descriptor.name = from.name();
    ReadLife(from, &to.descriptor);
    to.descriptor.side[Index(core::Side::kRead)] = Info(from.read());
    to.descriptor.side[Index(core::Side::kWrite)] = Info(from.write());
    return to;
  }

  core::SetDeadlineResult Answer(const store::v1::SetDeadlineAnswer& from) {
    return {.applied = from.applied(),
            .woken = from.woken(),
            .generation = from.generation(),
            .deadline = {Deadline(from.has_read(), from.read()),
                         Deadline(from.has_write(), from.write())},
            .effect = {Enum<core::DeadlineEffect>(from.read_effect()),
                       Enum<core::DeadlineEffect>(from.write_effect())},
            .decided = Instant(from.has_decided(), from.decided())};
  }

  core::IdAnswer Answer(const store::v1::Id& from) {
    switch (from.answer_case()) {
      case store::v1::Id::kWait:
        return Answer(from.wait());
      case store::v1::Id::kPoll:
        return Answer(from.poll());
      case store::v1::Id::kOpen:
        return Answer(from.open());
      case store::v1::Id::kClose:
        return core::CloseResult{from.close().woken()};
      case store::v1::Id::kReset:
        return core::ResetResult{from.reset().reset(), from.reset().forgot()};
      case store::v1::Id::kReady:
        return core::ReadyResult{Enum<core::ReadyEffect>(from.ready().effect()),
                                 from.ready().woken(), from.ready().generation(),
                                 from.ready().expired()};
      case store::v1::Id::kSetDeadline:
        return Answer(from.set_deadline());
      case store::v1::Id::ANSWER_NOT_SET:
        break;
    }
    fault_ = "an id without its answer";
    return {};
  }

  void State(store::v1::IdState from, core::SavedId* to) {
    to->kept = from == store::v1::ID_STATE_KEPT;
    to->stale = from == store::v1::ID_STATE_STALE;
    if (from != store::v1::ID_STATE_ANSWERED && !to->kept && !to->stale) {
      fault_ = "a number that stands for nothing";
    }
  }

  core::Delivery::State State(store::v1::DeliveryState from) {
    const auto state = Enum<core::Delivery::State>(from);
    if (state == core::Delivery::State::kKept) fault_ = "a number that stands for nothing";
    return state;
  }

 private:
  const RowInstants& instants_;
  ReadPayload read_payload_;
  const char* fault_ = nullptr;
};

}  // namespace

void WriteRecord(const core::SavedDesc& desc, const InstantWriter& instants, OnPayload on_payload,
                 store::v1::Desc* row) {
  const Writer writer(instants, on_payload);
  writer.WriteLife(desc, row);
  writer.Write(desc.side[Index(core::Side::kRead)], row->mutable_read());
  writer.Write(desc.side[Index(core::Side::kWrite)], row->mutable_write());
}

void WriteRecord(const core::SavedId& id, const InstantWriter& instants, OnPayload on_payload,
                 store::v1::Id* row) {
  const Writer writer(instants, on_payload);
  row->set_shard(id.shard);
  row->set_state(id.kept    ? store::v1::ID_STATE_KEPT
                 : id.stale ? store::v1::ID_STATE_STALE
                            : store::v1::ID_STATE_ANSWERED);
  row->set_content(id.content);
  if (id.recorded != core::kNever) writer.Write(id.recorded, row->mutable_recorded());
  row->set_ack_timeout(id.ack_timeout.count());
  std::visit(AnswerWriter{writer, *row}, id.answer);
}

void WriteRecord(const core::SavedDelivery& delivery, const InstantWriter& instants,
                 OnPayload on_payload, store::v1::Delivery* row) {
  const Writer writer(instants, on_payload);
  row->set_shard(delivery.shard);
  row->set_state(ToStored(delivery.state));
  row->set_acknowledgeable(delivery.acknowledgeable);
  row->set_attempt(delivery.attempt);
  row->set_coalesced(delivery.coalesced);
  writer.WriteSignal(delivery.signal, row);
  row->set_ready_time(Count(delivery.ready_time));
  row->set_wait_id(delivery.wait_id);
  row->set_caller(delivery.caller);
  if (delivery.alarm != core::kNever) writer.Write(delivery.alarm, row->mutable_alarm());
  if (delivery.recorded != core::kNever) writer.Write(delivery.recorded, row->mutable_recorded());
}

void WriteRecord(const core::SavedShard& shard, const InstantWriter& instants,
                 store::v1::Shard* row) {
  const StoredInstant horizon = instants.Write(shard.horizon);
  row->mutable_horizon()->set_boot(horizon.boot.count());
  row->mutable_horizon()->set_wall(horizon.wall.count());
  row->set_lives(shard.lives);
}

const char* ReadRecord(const store::v1::Desc& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedDesc* desc) {
  Reader reader(instants, read_payload);
  reader.ReadLife(row, desc);
  reader.Read(row.read(), &desc->side[Index(core::Side::kRead)]);
  reader.Read(row.write(), &desc->side[Index(core::Side::kWrite)]);
  return reader.fault();
}

const char* ReadRecord(const store::v1::Id& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedId* id) {
  Reader reader(instants, read_payload);
  id->shard = row.shard();
  reader.State(row.state(), id);
  id->content = row.content();
  id->recorded = reader.Instant(row.has_recorded(), row.recorded());
  id->ack_timeout = Nanos(row.ack_timeout());
  id->answer = reader.Answer(row);
  return reader.fault();
}

const char* ReadRecord(const store::v1::Delivery& row, const RowInstants& instants,
                       ReadPayload read_payload, core::SavedDelivery* delivery) {
  Reader reader(instants, read_payload);
  delivery->shard = row.shard();
  delivery->state = reader.State(row.state());
  delivery->acknowledgeable = row.acknowledgeable();
  delivery->attempt = row.attempt();
  delivery->coalesced = row.coalesced();
  delivery->signal = reader.Signal(row);
  delivery->ready_time = WallOf(row.ready_time());
  delivery->wait_id = row.wait_id();
  delivery->caller = row.caller();
  delivery->alarm = reader.Instant(row.has_alarm(), row.alarm());
  delivery->recorded = reader.Instant(row.has_recorded(), row.recorded());
  return reader.fault();
}

void ReadRecord(const store::v1::Shard& row, const RowInstants& instants, core::SavedShard* shard) {
  const store::v1::Instant& horizon = row.horizon();
  if (row.has_horizon()) {
    shard->horizon = instants.Read(Nanos(horizon.boot()), Nanos(horizon.wall()));
  }
  shard->lives = row.lives();
}

}  // namespace waitd::server
