#include "core/ids.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/fingerprint.h"
#include "core/poll_desc.h"

namespace waitd::core {
namespace {

// What a call is, so that no two kinds of call ask for the same.
enum class Asked : uint8_t { kOpen, kClose, kReset, kWait, kReady, kSetDeadline, kPoll };

Fingerprint Begin(Asked what, std::string_view name, uint64_t generation) {
  Fingerprint content;
  content.Add(static_cast<uint64_t>(what)).Add(name).Add(generation);
  return content;
}

void Add(Fingerprint& content, const OpenOptions* options) {
  content.Add(options == nullptr ? 0U : 1U);
  if (options == nullptr) return;
  content.Add(options->kind.has_value() ? 1U + static_cast<uint64_t>(*options->kind) : 0U);
  for (const auto& [key, value] : options->labels) content.Add(key).Add(value);
  content.Add(static_cast<uint64_t>(options->idle_ttl.value_or(Nanos(-1)).count()));
  content.Add(options->ephemeral ? 1U : 0U);
}

void Add(Fingerprint& content, const std::optional<Nanos>& duration) {
  content.Add(static_cast<uint64_t>(duration.value_or(Nanos(-1)).count()));
}

// What a wait with an ack_timeout was answered; null: nothing yet, or it was another kind of call.
template <class R>
const R* AnswerOf(const IdRecord& record) {
  if (record.ack_timeout == Nanos(0) || record.answer == nullptr) return nullptr;
  return std::get_if<R>(record.answer.get());
}

void Add(std::vector<Handed>& to, const WaitResult& result, std::string_view name,
         const Retry& retry) {
  if (result.outcome != Outcome::kReady) return;
  to.push_back(
      {name, HandOffKeyOf(result.side, name, result.delivery, retry.caller, retry.id), &result});
}

}  // namespace

IdKey KeyOf(IdUse use, std::string_view name, uint64_t caller, std::string_view id) {
  return {use, Fingerprint().Add(name).value(), caller, id};
}

IdKey HandOffKeyOf(Side side, std::string_view name, uint64_t delivery, uint64_t caller,
                   std::string_view id) {
  return {HandOffOf(side), Fingerprint().Add(name).Add(delivery).value(), caller, id};
}

uint64_t ContentOf(const OpenArgs& args) {
  Fingerprint content = Begin(Asked::kOpen, args.name, args.must_create ? 1 : 0);
  Add(content, &args.options);
  return content.value();
}

uint64_t ContentOf(const CloseArgs& args) {
  return Begin(Asked::kClose, args.name, args.generation).value();
}

uint64_t ContentOf(const ResetArgs& args) {
  Fingerprint content = Begin(Asked::kReset, args.name, args.generation);
  return content.Add(static_cast<uint64_t>(args.mode)).value();
}

uint64_t ContentOf(const WaitArgs& args) {
  Fingerprint content = Begin(Asked::kWait, args.name, args.generation);
  content.Add(static_cast<uint64_t>(args.side)).Add(args.ignore_deadline ? 1U : 0U);
  Add(content, args.open_if_missing);
  Add(content, args.ack_timeout);
  return content.value();
}

uint64_t ContentOf(const ReadyArgs& args) {
  Fingerprint content = Begin(Asked::kReady, args.name, args.generation);
  content.Add(static_cast<uint64_t>(args.mode)).Add(static_cast<uint64_t>(args.condition));
  content.Add(args.signal == nullptr ? std::string_view() : std::string_view(*args.signal));
  Add(content, args.open_if_missing);
  return content.value();
}

uint64_t ContentOf(const SetDeadlineArgs& args) {
  Fingerprint content = Begin(Asked::kSetDeadline, args.name, args.generation);
  content.Add(static_cast<uint64_t>(args.mode)).Add(static_cast<uint64_t>(args.condition));
  content.Add(static_cast<uint64_t>(args.what));
  if (args.what == SetDeadlineArgs::What::kAt) {
    content.Add(static_cast<uint64_t>(args.at.time_since_epoch().count()));
  }
  Add(content, args.open_if_missing);
  return content.value();
}

uint64_t ContentOf(const PollArgs& args) {
  Fingerprint content = Begin(Asked::kPoll, {}, args.need);
  for (const PollTarget& target : args.targets) {
    content.Add(target.name).Add(static_cast<uint64_t>(target.side)).Add(target.generation);
  }
  Add(content, args.open_if_missing);
  Add(content, args.ack_timeout);
  return content.value();
}

std::vector<WaitResult> ReadysOf(const IdAnswer& answer) {
  std::vector<WaitResult> readys;
  const auto add = [&](const WaitResult& each) {
    if (each.outcome == Outcome::kReady && each.desc != nullptr) readys.push_back(each);
  };
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) add(*wait);
  if (const auto* const poll = std::get_if<PollResult>(&answer)) {
    for (const PollResult::Target& target : poll->targets) add(target.result);
  }
  return readys;
}

bool Lives(const PollDesc* desc, uint64_t generation) {
  return desc != nullptr && !desc->closing() && desc->generation() == generation;
}

void Keep(const IdAnswer& answer, int by, Instant now) {
  for (const WaitResult& ready : ReadysOf(answer)) {
    if (!Lives(ready.desc, ready.generation)) continue;
    ready.desc->AddKept(ready.side, by);
    ready.desc->idle_since = now;
  }
}

std::vector<Handed> HandedOver(const IdRecord& record, const WaitArgs& args) {
  std::vector<Handed> handed;
  const auto* const answer = AnswerOf<WaitResult>(record);
  if (answer != nullptr) Add(handed, *answer, args.name, args.retry);
  return handed;
}

std::vector<Handed> HandedOver(const IdRecord& record, const PollArgs& args) {
  std::vector<Handed> handed;
  const auto* const answer = AnswerOf<PollResult>(record);
  if (answer == nullptr) return handed;
  for (const PollResult::Target& target : answer->targets) {
    if (target.index >= args.targets.size()) continue;  // the id is another poll's
    Add(handed, target.result, args.targets[target.index].name, args.retry);
  }
  return handed;
}

size_t IdTable::Hash::operator()(const IdKey& key) const {
  return absl::HashOf(static_cast<uint8_t>(key.use), key.name, key.caller,
                      absl::string_view(key.id.data(), key.id.size()));
}

IdRecord* IdTable::Find(const IdKey& key) {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : *found;
}

IdRecord& IdTable::Insert(const IdKey& key, uint64_t content) {
  if (IdRecord* const former = Find(key); former != nullptr) Erase(*former);
  IdRecord& record = records_.Get();
  record.use = key.use;
  record.name = key.name;
  record.caller = key.caller;
  record.id = key.id;
  record.content = content;
  index_.insert(&record);
  return record;
}

void IdTable::Erase(IdRecord& record) {
  WAITD_CHECK(record.alarm == nullptr, "the record of an id goes while its alarm is set");
  index_.erase(&record);
  Unage(record);
  ++record.life;
  record.state = IdRecord::State::kParked;
  record.poll = false;
  record.stored = false;
  record.waiter = nullptr;
  record.ack_timeout = Nanos(0);
  record.next = nullptr;
  record.answer.reset();
  record.hand_off.reset();
  records_.Put(record);
}

IdAlarm& IdTable::GetAlarm(IdRecord& record) {
  record.alarm = &alarms_.Get();
  record.alarm->record = &record;
  return *record.alarm;
}

void IdTable::PutAlarm(IdRecord& record) {
  IdAlarm& alarm = *std::exchange(record.alarm, nullptr);
  alarm.Renew();
  alarm.record = nullptr;
  alarms_.Put(alarm);
}

void IdTable::Age(IdRecord& record, Instant now) {
  Unage(record);
  record.recorded = now;
  record.forgettable = true;
  record.older = newest_;
  record.newer = nullptr;
  (newest_ == nullptr ? oldest_ : newest_->newer) = &record;
  newest_ = &record;
}

void IdTable::Unage(IdRecord& record) {
  if (!std::exchange(record.forgettable, false)) return;
  (record.older == nullptr ? oldest_ : record.older->newer) = record.newer;
  (record.newer == nullptr ? newest_ : record.newer->older) = record.older;
}

}  // namespace waitd::core
