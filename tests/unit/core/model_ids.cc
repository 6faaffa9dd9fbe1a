// Ids and deliveries: what a repeated call is answered, and what comes back.
#include <algorithm>
#include <tuple>

#include "core/ids.h"
#include "core/shard.h"
#include "tests/unit/core/model.h"

namespace waitd::core {
namespace {

// How much longer than its first attempt a retry may have been under way.
constexpr Nanos kDelayMax = std::chrono::seconds(5);

// An answer that nobody is ever told again.
bool IsNoOutcome(const AnyAnswer& answer) {
  if (std::holds_alternative<Refusal>(answer)) return true;
  const auto nothing = [](const auto& result) {
    return result.outcome == Outcome::kCancelled || result.cause == TimeoutCause::kMaxWait;
  };
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) return nothing(*wait);
  if (const auto* const poll = std::get_if<PollResult>(&answer)) return nothing(*poll);
  return false;
}

}  // namespace

std::vector<WaitResult> SignalsIn(const AnyAnswer& answer) {
  std::vector<WaitResult> signals;
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) {
    if (wait->outcome == Outcome::kReady) signals.push_back(*wait);
  } else if (const auto* const poll = std::get_if<PollResult>(&answer)) {
    for (const auto& target : poll->targets) {
      if (target.ready()) signals.push_back(target.result(poll->parked));
    }
  }
  return signals;
}

void Model::Answer(CallId call, ExpectedRef answer) { answers_[call] = std::move(answer); }

void Model::Answer(CallId call, AnyAnswer answer, std::vector<Expected::Need> needs) {
  auto expected = std::make_shared<Expected>();
  expected->answer = std::move(answer);
  expected->needs = std::move(needs);
  Answer(call, std::move(expected));
}

// True: the disk is full, and the operation would need room there.
bool Model::Refuses(bool takes_room, CallId call) {
  if (!full_ || !takes_room) return false;
  Answer(call, Refusal{.reason = Reason::kLimitDisk});
  return true;
}

bool Model::Forgotten(const std::string& name, Instant received, Nanos sent_ago) const {
  if (sent_ago <= Nanos(0)) return false;
  return received - sent_ago < horizon_[ShardOf(name)] || sent_ago > options_.retention;
}

// True: what was answered once is answered again, or the id is refused.
bool Model::RecallRequest(const Key& key, const std::string& content, Instant received,
                          const Retry& retry, CallId call) {
  if (key.id.empty()) return false;
  const auto known = records_.find(key);
  if (known == records_.end()) {
    if (!Forgotten(key.name, received, retry.sent_ago)) return false;
    Answer(call, Refusal{.reason = Reason::kOutcomeUnknown});
  } else if (known->second.content != content) {
    Answer(call, Refusal{.reason = Reason::kIdReused});
  } else {
    ++seen_[kRepeated];
    Answer(call, known->second.answer);
  }
  return true;
}

bool Model::RecallWait(const Key& key, const std::string& content, Instant received,
                       const Retry& retry, CallId call) {
  if (const auto known = records_.find(key);
      known != records_.end() && known->second.content == content) {
    if (const WaitingRef parked = known->second.parked) {
      StillWaits(parked);
    } else {
      ReturnOverdue(key);
    }
  }
  const auto known = records_.find(key);
  if (known == records_.end()) {
    if (!Forgotten(key.name, received, retry.sent_ago)) return false;
    Answer(call, Refusal{.reason = Reason::kOutcomeUnknown});
    return true;
  }
  Record& record = known->second;
  if (record.content != content) {
    Answer(call, Refusal{.reason = Reason::kIdReused});
  } else if (record.parked != nullptr) {
    Adopt(*record.parked, call);
  } else if (record.stale) {
    Answer(call, Refusal{.reason = Reason::kStaleDelivery}, {{ShardOf(key.name), record.step}});
  } else {
    Repeat(key, record, call);
  }
  return true;
}

// The same wait goes on; only who is told of its end changes.
void Model::Adopt(Waiting& parked, CallId call) {
  if (parked.call != 0) Answer(parked.call, Refusal{.reason = Reason::kTakenOver});
  parked.call = call;
  parked.absent_until = kNever;
  ++seen_[kAdopted];
}

void Model::Repeat(const Key& key, Record& record, CallId call) {
  ++seen_[kRepeated];
  ++*record.answer->holders;
  if (record.kept) {
    record.kept = false;
    record.step = step_;
    if (record.age == 0) Age(record);
    for (const WaitResult& taken : SignalsIn(record.answer->answer)) {
      Desc* const desc = DescOf(taken.generation);
      if (desc == nullptr) continue;
      auto& all = desc->side[Index(taken.side)].out;
      const auto out = all.find(taken.delivery);
      if (out == all.end() || out->second.state != Delivery::State::kKept) continue;
      all.erase(out);
      desc->idle_since = std::max(desc->idle_since, now_);
    }
  }
  const auto again = std::make_shared<Expected>(*record.answer);
  again->needs.push_back({ShardOf(key.name), record.step});
  Answer(call, again);
}

Model::Desc* Model::DescOf(uint64_t generation) {
  for (auto& [name, desc] : descs_) {
    if (desc.generation == generation) return &desc;
  }
  return nullptr;
}

std::string Model::NameOf(uint64_t generation) const {
  for (const auto& [name, desc] : descs_) {
    if (desc.generation == generation) return name;
  }
  return "";
}

// What of the answer's deliveries is overdue comes back before anybody is told that it did.
void Model::ReturnOverdue(const Key& key) {
  const ExpectedRef answer = records_.at(key).answer;
  if (!answer->acks) return;
  for (const WaitResult& taken : SignalsIn(answer->answer)) {
    const std::string name = NameOf(taken.generation);
    if (!name.empty()) ReturnIfOverdue(name, taken.side, taken.delivery);
  }
}

void Model::ReturnIfOverdue(const std::string& name, Side s, uint64_t number) {
  auto& all = descs_.at(name).side[Index(s)].out;
  const auto out = all.find(number);
  if (out == all.end() || out->second.state != Delivery::State::kPending) return;
  if (out->second.alarm <= now_) FireDelivery(name, s, number);
}

// A call other than a wait has its answer.
void Model::Remember(const Key& key, const std::string& content, const ExpectedRef& answer) {
  if (key.id.empty()) return;
  Record& record = records_[key];
  record = {.serial = ++serial_,
            .shard = ShardOf(key.name),
            .content = content,
            .answer = answer,
            .step = step_};
  answer->needs.push_back({ShardOf(key.name), step_});
  Age(record);
}

// A wait with an id has ended.
void Model::RememberWait(const Waiting& waiting, const ExpectedRef& answer, bool absent) {
  const Key& key = *waiting.key;
  if (IsNoOutcome(answer->answer)) {
    records_.erase(key);
    return;
  }
  const std::vector<WaitResult> taken = SignalsIn(answer->answer);
  answer->acks = waiting.ack_timeout.has_value();
  *answer->holders = absent ? 0 : 1;
  const uint64_t serial = records_.contains(key) ? records_.at(key).serial : ++serial_;
  Record& record = records_[key];
  record = {.serial = serial,
            .shard = ShardOf(key.name),
            .content = waiting.content,
            .answer = answer,
            .step = step_};
  answer->record = serial;
  answer->key = key;
  answer->needs.push_back({ShardOf(key.name), step_});
  Age(record);
  if (answer->acks) {
    AddOut(key, taken, Delivery::State::kPending, SaturatingAdd(now_, *waiting.ack_timeout));
  } else if (absent) {
    Keep(key, record, waiting.absent_until);
  }
}

// Nobody has the answer: somebody may come for it yet.
void Model::Keep(const Key& key, Record& record, Instant until) {
  record.step = step_;
  const std::vector<WaitResult> taken = SignalsIn(record.answer->answer);
  if (!AddOut(key, taken, Delivery::State::kKept, until)) return;
  record.kept = true;
  record.age = 0;
  ++seen_[kKept];
}

// False: of none, for their names are closed, or latches.
bool Model::AddOut(const Key& key, const std::vector<WaitResult>& taken, Delivery::State state,
                   Instant alarm) {
  bool any = false;
  for (const WaitResult& each : taken) {
    Desc* const desc = DescOf(each.generation);
    if (desc == nullptr || (desc->kind == Kind::kLatch)) continue;
    any = true;
    const bool full =
        state == Delivery::State::kKept && DeliveriesFull(NameOf(each.generation), each.side, 1);
    Out& out = desc->side[Index(each.side)].out[each.delivery];
    out.state = state;
    out.acknowledgeable = state == Delivery::State::kPending;
    out.attempt = each.attempt;
    out.signal = {*each.signal, each.ready_time, each.coalesced};
    out.id = key.id;
    out.caller = key.caller;
    out.alarm = full ? now_ : alarm;
    out.key = key;
    out.record = records_.at(key).serial;
    out.signals = taken;
    if (state != Delivery::State::kKept) Touch(*desc);
  }
  return any;
}

// A name goes whose signal an answer kept.
void Model::EndKept(const Out& out) {
  const auto known = records_.find(out.key);
  if (known == records_.end() || known->second.serial != out.record) return;
  // The others of the answer are kept as before.
  if (known->second.age > 0) return;
  Age(known->second);
  known->second.step = step_;
}

// The record can be forgotten from now on.
void Model::Age(Record& record) {
  record.recorded = now_;
  record.age = ++age_;
}

// A delivery is over, and remembered for a while.
void Model::Retire(Out& out, Delivery::State state) {
  out.state = state;
  out.alarm = kNever;
  out.recorded = now_;
  out.age = ++age_;
}

uint64_t Model::outcomes() const {
  uint64_t count = 0;
  for (const auto& [key, record] : records_) count += record.age > 0 ? 1 : 0;
  for (const auto& [name, desc] : descs_) {
    for (const SideOf& side : desc.side) {
      for (const auto& [number, out] : side.out) count += out.age > 0 ? 1 : 0;
    }
  }
  return count;
}

// The oldest is forgotten before its time.
void Model::MakeRoom() {
  while (outcomes() > options_.max_outcomes.things) {
    uint64_t first = UINT64_MAX;
    const Key* oldest = nullptr;
    for (const auto& [key, record] : records_) {
      if (record.age == 0 || record.age > first) continue;
      first = record.age;
      oldest = &key;
    }
    if (!ForgetOut(first)) ForgetAged(Key(*oldest));
  }
}

// Forgets the delivery that is older than `than`. False: none is.
bool Model::ForgetOut(uint64_t than) {
  uint64_t first = than;
  std::map<uint64_t, Out>* in = nullptr;
  uint64_t at = 0;
  const std::string* of = nullptr;
  for (auto& [name, desc] : descs_) {
    for (SideOf& side : desc.side) {
      for (const auto& [number, out] : side.out) {
        if (out.age == 0 || out.age >= first) continue;
        first = out.age;
        in = &side.out;
        at = number;
        of = &name;
      }
    }
  }
  if (in == nullptr) return false;
  MoveHorizon(*of, in->at(at).recorded);
  in->erase(at);
  return true;
}

// Whoever asks for what ended by then is refused.
void Model::MoveHorizon(const std::string& name, Instant recorded) {
  const size_t shard = ShardOf(name);
  const Instant through = SaturatingAdd(recorded, kDelayMax);
  if (through <= horizon_[shard]) return;
  horizon_[shard] = through;
  lives_stored_[shard] = lives_[shard];
}

void Model::ForgetAged(const Key& key) {
  MoveHorizon(key.name, records_.at(key).recorded);
  records_.erase(key);
  ++seen_[kForgotten];
}

// A delivery is overdue; or nobody came for its answer, of which all signals come back then.
void Model::FireDelivery(const std::string& name, Side s, uint64_t number) {
  const Out out = descs_.at(name).side[Index(s)].out.at(number);
  const auto known = records_.find(out.key);
  const bool remembered = known != records_.end() && known->second.serial == out.record;
  std::vector<WaitResult> signals(1);
  signals[0].generation = descs_.at(name).generation;
  signals[0].side = s;
  signals[0].delivery = number;
  const bool kept = out.state == Delivery::State::kKept;
  if (kept) signals = out.signals;
  bool returned = false;
  for (const WaitResult& each : signals) {
    if (const std::string of = NameOf(each.generation); !of.empty()) Settle(of);
  }
  for (const WaitResult& each : signals) {
    const std::string of = NameOf(each.generation);
    if (of.empty()) continue;
    const auto& all = descs_.at(of).side[Index(each.side)].out;
    const auto found = all.find(each.delivery);
    if (found == all.end() || found->second.record != out.record) continue;
    if (found->second.state != out.state) continue;
    returned = Return(of, each.side, each.delivery) || returned;
  }
  if (!remembered) return;
  if (kept && returned) {
    records_.erase(known);
  } else {
    if (known->second.kept && known->second.age == 0) Age(known->second);
    known->second.kept = false;
    known->second.stale = known->second.stale || returned;
    known->second.step = step_;
  }
}

// A signal comes back. False: a Reset came after it was handed out, and it is forgotten.
bool Model::Return(const std::string& name, Side s, uint64_t number) {
  Desc& desc = descs_.at(name);
  SideOf& side = desc.side[Index(s)];
  Out& out = side.out.at(number);
  out.alarm = kNever;
  if (number <= side.reset_through) {
    if (out.acknowledgeable) {
      Touch(desc);
      Retire(out, Delivery::State::kStale);
    } else {
      side.out.erase(number);
    }
    return false;
  }
  out.state = Delivery::State::kReturned;
  Touch(desc);
  ++seen_[kReturned];
  desc.idle_since = std::max(desc.idle_since, now_);
  Serve(name, s);
  return true;
}

// Signals that reached nobody come back, but those of a life that is over.
bool Model::ReturnAll(const std::vector<WaitResult>& taken) {
  bool any = false;
  for (const WaitResult& each : taken) {
    const std::string name = NameOf(each.generation);
    if (name.empty() || descs_.at(name).kind == Kind::kLatch) continue;
    Out& out = descs_.at(name).side[Index(each.side)].out[each.delivery];
    out.acknowledgeable = false;
    out.attempt = each.attempt;
    out.signal = {*each.signal, each.ready_time, each.coalesced};
    any = Return(name, each.side, each.delivery) || any;
  }
  return any;
}

void Model::Unwritten(Expected& answer, Nanos linger) {
  const std::vector<WaitResult> taken = SignalsIn(answer.answer);
  if (taken.empty()) return;
  ShardSet shards = answer.has_id ? SetOf(ShardOf(answer.key.name)) : 0;
  for (const WaitResult& each : taken) shards |= SetOf(each.generation % kShards);
  Begin(shards);
  if (answer.has_id && (--*answer.holders > 0 || answer.acks)) return;
  for (const WaitResult& each : taken) {
    if (const std::string name = NameOf(each.generation); !name.empty()) Settle(name);
  }
  if (answer.has_id) {
    const auto known = records_.find(answer.key);
    if (known != records_.end() && known->second.serial == answer.record) {
      if (linger > Nanos(0)) {
        return Keep(answer.key, known->second, SaturatingAdd(now_, linger));
      }
      if (ReturnAll(taken)) records_.erase(known);
      return;
    }
  }
  ReturnAll(taken);
}

void Model::Ack(const AckArgs& args, CallId call) {
  const std::string name(args.name);
  const size_t shard = ShardOf(name);
  Begin(SetOf(shard));
  Desc* const desc = Find(name);
  if (desc == nullptr || desc->generation != args.generation) {
    const bool other = desc != nullptr && args.generation != 0;
    return Answer(call,
                  Refusal{.reason = other ? Reason::kStaleGeneration : Reason::kOutcomeUnknown});
  }
  auto& all = desc->side[Index(args.side)].out;
  const auto found = all.find(args.delivery);
  const bool known = found != all.end() && found->second.acknowledgeable &&
                     found->second.id == args.wait_id && found->second.caller == args.caller;
  if (!known) return Answer(call, Refusal{.reason = Reason::kOutcomeUnknown});
  ReturnIfOverdue(name, args.side, args.delivery);
  Out& out = found->second;
  if (out.state == Delivery::State::kReturned || out.state == Delivery::State::kStale) {
    ++seen_[kStale];
    return Answer(call, Refusal{.reason = Reason::kStaleDelivery}, {{shard, desc->step}});
  }
  if (out.state == Delivery::State::kPending) {
    ++seen_[kAcked];
    Touch(*desc);
    desc->idle_since = std::max(desc->idle_since, now_);
    Retire(out, Delivery::State::kAcked);
  }
  Answer(call, AckResult{}, {{shard, desc->step}});
}

uint64_t Model::unacked() const { return CountOut(Delivery::State::kPending); }
uint64_t Model::returned() const { return CountOut(Delivery::State::kReturned); }

// Signals that are held for somebody, or may be.
uint64_t Model::HeldOn(const std::string& name, Side side) const {
  uint64_t held = 0;
  if (const auto found = descs_.find(name); found != descs_.end()) {
    for (const auto& [number, out] : found->second.side[Index(side)].out) {
      const bool over =
          out.state == Delivery::State::kAcked || out.state == Delivery::State::kStale;
      held += over ? 0 : 1;
    }
  }
  for (const WaitingRef& waiting : waits_) {
    if (!waiting->ack_timeout.has_value()) continue;
    for (const Target& target : waiting->targets) {
      held += !target.lost && target.name == name && target.side == side ? 1 : 0;
    }
  }
  return held;
}

bool Model::DeliveriesFull(const std::string& name, Side side, uint64_t more) const {
  if (HeldOn(name, side) >= options_.max_deliveries_of_side) return true;
  uint64_t all = more;
  for (const auto& [each, desc] : descs_) {
    for (const Side s : kSides) all += HeldOn(each, s);
  }
  return all > options_.max_deliveries.things;
}

uint64_t Model::CountOut(Delivery::State state) const {
  uint64_t count = 0;
  for (const auto& [name, desc] : descs_) {
    for (const SideOf& side : desc.side) {
      for (const auto& [number, out] : side.out) count += out.state == state ? 1 : 0;
    }
  }
  return count;
}

// A new poller begins with what is stored. Waits are gone, and so is who had an answer.
void Model::Restore(const std::array<Stored, kShards>& stored, bool fresh) {
  for (size_t shard = 0; shard < kShards; ++shard) {
    Begin(SetOf(shard));
    horizon_[shard] = fresh ? now_ : stored[shard].horizon;
    lives_[shard] = lives_stored_[shard] = stored[shard].lives;
    for (const auto& [name, desc] : stored[shard].descs) {
      if (desc.ephemeral) continue;
      lives_[shard] = std::max(lives_[shard], desc.generation / kShards + 1);
      RestoreDesc(name, desc);
    }
  }
  for (const Stored& each : stored) {
    for (const auto& [key, record] : each.records) RestoreRecord(key, record);
  }
  RestoreAges();
}

// What can be forgotten is in the order of its instants again; of one instant, as it was restored.
void Model::RestoreAges() {
  using Rank = std::tuple<Instant, bool, IdUse, uint64_t, uint64_t, std::string, uint64_t>;
  std::map<Rank, uint64_t*> order;
  for (auto& [key, record] : records_) {
    const IdUse use = key.wait ? IdUse::kWait : IdUse::kRequest;
    const uint64_t name = KeyOf(use, key.name, Retry{}).name;
    if (record.kept) continue;
    order[{record.recorded, false, use, name, key.caller, key.id, 0}] = &record.age;
  }
  for (auto& [name, desc] : descs_) {
    for (const Side s : kSides) {
      for (auto& [number, out] : desc.side[Index(s)].out) {
        if (out.age == 0) continue;
        order[{out.recorded, true, IdUse::kWait, desc.generation, Index(s), "", number}] = &out.age;
      }
    }
  }
  for (const auto& [place, age] : order) *age = ++age_;
}

void Model::RestoreDesc(const std::string& name, Desc desc) {
  desc.idle_since = now_;
  desc.idle_timer = SaturatingAdd(now_, desc.idle_ttl);
  desc.step = 0;
  for (SideOf& side : desc.side) {
    side.deadline_step = 0;
    std::erase_if(side.out, [](const auto& each) {
      return each.second.state == Delivery::State::kKept;  // its answer tells of that
    });
    for (auto& [number, out] : side.out) age_ = std::max(age_, out.age);
  }
  descs_.emplace(name, std::move(desc));
}

void Model::RestoreRecord(const Key& key, Record record) {
  auto answer = std::make_shared<Expected>(*record.answer);
  answer->needs.clear();
  answer->holders = std::make_shared<uint32_t>(record.kept ? 0 : 1);
  record.answer = std::move(answer);
  record.step = 0;
  serial_ = std::max(serial_, record.serial);
  age_ = std::max(age_, record.age);
  const bool kept = std::exchange(record.kept, false);
  Record& restored = records_.emplace(key, std::move(record)).first->second;
  if (kept) Keep(key, restored, SaturatingAdd(clock_.mono, options_.linger));
  restored.step = 0;
}

}  // namespace waitd::core
