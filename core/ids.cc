#include "core/ids.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/fingerprint.h"

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

}  // namespace

IdKey KeyOf(IdUse use, std::string_view name, const Retry& retry) {
  return {use, Fingerprint().Add(name).value(), retry.caller, retry.id};
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

std::vector<WaitResult> SignalsOf(const WaitResult& result) {
  if (result.outcome != Outcome::kReady || result.desc == nullptr) return {};
  return {result};
}

std::vector<WaitResult> SignalsOf(const PollResult& result) {
  std::vector<WaitResult> signals;
  for (const PollResult::Target& target : result.targets) {
    const WaitResult each = target.result(result.parked);
    if (each.outcome == Outcome::kReady && each.desc != nullptr) signals.push_back(each);
  }
  return signals;
}

std::vector<WaitResult> SignalsOf(const IdAnswer& answer) {
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) return SignalsOf(*wait);
  if (const auto* const poll = std::get_if<PollResult>(&answer)) return SignalsOf(*poll);
  return {};
}

// Of what has no fixed size. A signal is shared, and counts for each that refers to it.
size_t SizeOf(const IdAnswer& answer) {
  size_t size = sizeof(IdRecord) + sizeof(Remembered);
  const auto add = [&size](const Payload& signal) {
    if (signal != nullptr) size += signal->size();
  };
  if (const auto* const wait = std::get_if<WaitResult>(&answer)) {
    add(wait->signal);
  } else if (const auto* const poll = std::get_if<PollResult>(&answer)) {
    size += poll->targets.size() * sizeof(PollResult::Target);
    for (const PollResult::Target& target : poll->targets) add(target.signal());
  } else if (const auto* const open = std::get_if<OpenResult>(&answer)) {
    size += open->descriptor.name.size() + open->descriptor.owner.size();
    for (const auto& [key, value] : open->descriptor.labels) {
      size += sizeof(Labels::value_type) + key.size() + value.size();
    }
  }
  return size;
}

size_t IdTable::ByKey::Hash(const IdKey& key) {
  return absl::HashOf(static_cast<uint8_t>(key.use), key.name, key.caller,
                      absl::string_view(key.id.data(), key.id.size()));
}

IdRecord* IdTable::Find(const IdKey& key) { return index_.Find(key); }

IdRecord& IdTable::Insert(const IdKey& key, uint64_t content) {
  IdRecord& record = records_.Get();
  record.use = key.use;
  record.name = key.name;
  record.caller = key.caller;
  record.id = key.id;
  record.content = content;
  index_.Insert(record);
  return record;
}

void IdTable::Erase(IdRecord& record) {
  WAITD_CHECK(record.bytes == 0 && record.absent == nullptr && record.dirty_at == 0,
              "the record of an id goes while something refers to it");
  index_.Erase(record);
  if (record.answer != nullptr) record.answer->record = nullptr;
  record.answer.reset();
  record.waiter = nullptr;
  record.ack_timeout = Nanos(0);
  record.account = {};
  records_.Put(record);
}

void IdTable::MoveHorizon(Instant to, uint64_t caller, Instant useful_from) {
  // One that lies further back than what is remembered at all may as well be everybody's.
  if (!horizons_.contains(caller)) {
    absl::erase_if(horizons_, [&](const auto& each) {
      if (each.second >= useful_from) return false;
      MoveHorizon(each.second);
      return true;
    });
  }
  Instant& own = horizons_.try_emplace(caller, Instant::min()).first->second;
  own = std::max(own, to);
  last_own_ = std::max(last_own_, to);
}

Absent& IdTable::MakeAbsent(IdRecord& record, std::string_view client) {
  record.absent = &absents_.Get();
  record.absent->record = &record;
  record.absent->client = client;
  return *record.absent;
}

void IdTable::EndAbsent(IdRecord& record) {
  Absent& absent = *std::exchange(record.absent, nullptr);
  absent.Renew();
  absent.record = nullptr;
  absents_.Put(absent);
}

}  // namespace waitd::core
