// Names, time, and the operations that are neither waits nor about ids.
#include "tests/unit/core/model.h"

#include <algorithm>

#include "core/shard.h"

namespace waitd::core {
namespace {

constexpr Nanos kDelayMax = std::chrono::seconds(5);

template <class... T>
std::string Join(const T&... part) {
  std::string text;
  const auto add = [&](const auto& each) {
    if constexpr (requires { std::string(each); }) {
      text += std::string(each);
    } else {
      text += std::to_string(static_cast<int64_t>(each));
    }
    text += '|';
  };
  (add(part), ...);
  return text;
}

Model::Key KeyOfRequest(std::string_view name, const Retry& retry) {
  return {false, std::string(name), retry.caller, std::string(retry.id)};
}

}  // namespace

std::string TextOf(const OpenOptions* options) {
  if (options == nullptr) return "-";
  std::string text = "open" + std::to_string(options->kind ? static_cast<int>(*options->kind) : 9);
  text += options->ephemeral ? "e" : "";
  text += options->idle_ttl ? std::to_string(options->idle_ttl->count()) : "";
  return text;
}

void Model::Begin(ShardSet locks) {
  ++step_;
  now_ = clock_.mono;
  wall_ = clock_.wall;
  Widen(locks);
}

// Time does not go back within a shard.
void Model::Widen(ShardSet locks) {
  for (ShardSet left = locks; left != 0; left &= left - 1) {
    now_ = std::max(now_, latest_[First(left)]);
  }
  for (ShardSet left = locks; left != 0; left &= left - 1) latest_[First(left)] = now_;
  used_ |= locks;
}

Instant Model::TimeOf(size_t shard) const { return std::max(clock_.mono, latest_[shard]); }

Model::Desc* Model::Find(std::string_view name) {
  const auto found = descs_.find(std::string(name));
  return found == descs_.end() ? nullptr : &found->second;
}

Model::Desc& Model::Create(std::string_view name, const OpenOptions& options, Nanos idle_ttl) {
  const size_t shard = ShardOf(name);
  Desc& desc = descs_[std::string(name)];
  desc.kind = KindToOpen(&options);
  desc.generation = ++lives_[shard] * kShards + shard;
  lives_stored_[shard] = lives_[shard];
  desc.ephemeral = options.ephemeral;
  desc.idle_ttl = options.idle_ttl.value_or(idle_ttl);
  desc.idle_since = now_;
  desc.idle_timer = SaturatingAdd(now_, desc.idle_ttl);
  Touch(desc);
  return desc;
}

Model::Desc* Model::Resolve(std::string_view name, uint64_t generation, const OpenOptions* open,
                            Refusal& why) {
  Desc* const desc = Find(name);
  if (desc == nullptr) {
    why.reason = Reason::kNoDescriptor;
    if (generation != 0 || open == nullptr) return nullptr;
    if (descs_.size() >= options_.max_descriptors.things) {
      why.reason = Reason::kLimitDescriptors;
      return nullptr;
    }
    return &Create(name, *open, options_.default_idle_ttl);
  }
  if (generation != 0 && generation != desc->generation) {
    why.reason = Reason::kStaleGeneration;
    return nullptr;
  }
  if (open != nullptr && open->kind.has_value() && *open->kind != desc->kind) {
    why.reason = Reason::kKindMismatch;
    return nullptr;
  }
  desc->idle_since = std::max(desc->idle_since, now_);
  Settle(std::string(name));
  return desc;
}

DescriptorInfo Model::Describe(const std::string& name) const {
  const Desc& desc = descs_.at(name);
  DescriptorInfo info;
  info.name = name;
  info.kind = desc.kind;
  info.generation = desc.generation;
  info.idle_ttl = desc.idle_ttl;
  info.ephemeral = desc.ephemeral;
  for (const Side s : kSides) {
    const SideOf& side = desc.side[Index(s)];
    DescriptorInfo::SideInfo& shown = info.side[Index(s)];
    shown.waiters = static_cast<uint32_t>(Standing(name, s).size());
    shown.state = HasReady(side)      ? SemaphoreState::kReady
                  : shown.waiters > 0 ? SemaphoreState::kWaiting
                                      : SemaphoreState::kNil;
    shown.payload_bytes = side.ready ? side.signal.data.size() : 0;
    shown.deadline = side.deadline;
    for (const auto& [number, out] : side.out) {
      shown.unacked += out.state == Delivery::State::kPending ? 1 : 0;
      shown.returned += out.state == Delivery::State::kReturned ? 1 : 0;
    }
  }
  return info;
}

void Model::Open(Instant received, const OpenArgs& args, CallId call) {
  const size_t shard = ShardOf(args.name);
  Begin(SetOf(shard));
  if (Refuses(false, call)) return;
  const Key key = KeyOfRequest(args.name, args.retry);
  const std::string content = Join("open", args.must_create, TextOf(&args.options));
  if (RecallRequest(key, content, received, args.retry, call)) return;
  if (Refuses(true, call)) return;
  Desc* const found = Find(args.name);
  Refusal why;
  if (found != nullptr && args.must_create) {
    why.reason = Reason::kExists;
    return Answer(call, why, {{shard, found->step}});
  }
  Desc* desc = nullptr;
  if (found == nullptr && descs_.size() < options_.max_descriptors.things) {
    desc = &Create(args.name, args.options, kForever);
  } else if (found == nullptr) {
    why.reason = Reason::kLimitDescriptors;
  } else {
    desc = Resolve(args.name, 0, &args.options, why);
  }
  if (desc == nullptr) return Answer(call, why);
  auto answer = std::make_shared<Expected>();
  answer->answer = OpenResult{Describe(std::string(args.name)), found == nullptr, now_};
  answer->needs = {{shard, desc->step}};
  Remember(key, content, answer);
  Answer(call, answer);
}

// Everything about the name goes. Returns how many waits that ended.
uint32_t Model::CloseNow(const std::string& name) {
  Desc& desc = descs_.at(name);
  uint32_t woken = 0;
  std::array<bool, 2> was_armed{};
  for (const Side s : kSides) was_armed[Index(s)] = CanExpire(desc.side[Index(s)].deadline);
  for (const Side s : kSides) {
    desc.side[Index(s)].ready = false;
    for (const auto& [number, out] : std::exchange(desc.side[Index(s)].out, {})) {
      if (out.state == Delivery::State::kKept) EndKept(out);
    }
    woken += EndSide(name, s, Outcome::kClosed, SaturatingAdd(now_, Nanos(1)), was_armed[Index(s)]);
  }
  descs_.erase(name);
  return woken;
}

void Model::Close(Instant received, const CloseArgs& args, CallId call) {
  const size_t shard = ShardOf(args.name);
  Begin(SetOf(shard));
  if (Refuses(false, call)) return;
  const Key key = KeyOfRequest(args.name, args.retry);
  if (Find(args.name) != nullptr) Settle(std::string(args.name));
  const std::string content = Join("close", args.generation);
  if (RecallRequest(key, content, received, args.retry, call)) return;
  Refusal why;
  if (Resolve(args.name, args.generation, nullptr, why) == nullptr) return Answer(call, why);
  auto answer = std::make_shared<Expected>();
  answer->answer = CloseResult{CloseNow(std::string(args.name))};
  answer->needs = {{shard, step_}};
  Remember(key, content, answer);
  Answer(call, answer);
}

void Model::Reset(Instant received, const ResetArgs& args, CallId call) {
  const size_t shard = ShardOf(args.name);
  Begin(SetOf(shard));
  if (Refuses(false, call)) return;
  const Key key = KeyOfRequest(args.name, args.retry);
  const std::string content = Join("reset", args.generation, static_cast<int>(args.mode));
  if (RecallRequest(key, content, received, args.retry, call)) return;
  if (Refuses(true, call)) return;
  Refusal why;
  Desc* const desc = Resolve(args.name, args.generation, nullptr, why);
  if (desc == nullptr) return Answer(call, why);
  ResetResult result;
  for (const Side s : kSides) {
    SideOf& side = desc->side[Index(s)];
    if (!Includes(args.mode, s)) continue;
    if (side.deadline.state == Deadline::State::kExpired) {
      result.reset = false;
      continue;
    }
    if (HasReady(side)) {
      result.forgot = true;
      Touch(*desc);
    }
    side.ready = false;
    if (desc->kind != Kind::kLatch) side.reset_through = side.delivery;
    for (auto out = side.out.begin(); out != side.out.end();) {
      const bool back = out->second.state == Delivery::State::kReturned;
      if (back && !out->second.acknowledgeable) {
        out = side.out.erase(out);
        continue;
      }
      if (back) Retire(out->second, Delivery::State::kStale);
      ++out;
    }
  }
  auto answer = std::make_shared<Expected>();
  answer->answer = result;
  answer->needs = {{shard, desc->step}};
  Remember(key, content, answer);
  Answer(call, answer);
}

void Model::Ready(Instant received, const ReadyArgs& args, CallId call) {
  const size_t shard = ShardOf(args.name);
  const std::string name(args.name);
  Begin(SetOf(shard));
  if (Refuses(false, call)) return;
  const Key key = KeyOfRequest(args.name, args.retry);
  if (Find(args.name) != nullptr) Settle(std::string(args.name));
  const std::string content =
      Join("ready", args.generation, static_cast<int>(args.mode), static_cast<int>(args.condition),
           *args.signal, TextOf(args.open_if_missing));
  if (RecallRequest(key, content, received, args.retry, call)) return;
  if (Refuses(true, call)) return;
  ReadyResult result;
  auto answer = std::make_shared<Expected>();
  const bool opens = Find(name) == nullptr && args.generation == 0 && args.open_if_missing;
  if (!opens || args.condition != ReadyCondition::kWaiting) {
    Refusal why;
    Desc* const desc = Resolve(name, args.generation, args.open_if_missing, why);
    if (desc == nullptr) return Answer(call, why);
    result.generation = desc->generation;
    for (const Side s : kSides) {
      if (!Includes(args.mode, s)) continue;
      const auto [effect, woken] = ReadyOne(name, s, args);
      result.effect = std::min(result.effect, effect);
      result.woken += woken;
      const bool kept = effect == ReadyEffect::kRemembered || effect == ReadyEffect::kCoalesced;
      const bool expired = desc->side[Index(s)].deadline.state == Deadline::State::kExpired;
      result.expired = result.expired || (kept && expired);
    }
    if (result.effect != ReadyEffect::kRefused) Touch(*desc);
    answer->needs = {{shard, desc->step}};
  }
  answer->answer = result;
  Remember(key, content, answer);
  Answer(call, answer);
}

// A deadline from what was asked.
Deadline Model::ToDeadline(Instant received, const SetDeadlineArgs& args) const {
  Deadline to;
  if (args.what == SetDeadlineArgs::What::kClear) return to;
  if (args.what == SetDeadlineArgs::What::kAt) {
    to.at = SaturatingAdd(now_, SaturatingSubtract(args.at, wall_));
  } else {
    to.at = SaturatingAdd(received, SaturatingSubtract(args.timeout, args.retry.sent_ago));
  }
  to.state = to.at > now_ ? Deadline::State::kArmed : Deadline::State::kExpired;
  to.at = std::max(to.at, now_);
  const bool absolute = args.what == SetDeadlineArgs::What::kAt;
  to.wall = absolute && to.at > now_ ? args.at : WallOf({now_, wall_}, to.at);
  return to;
}

// What the condition makes of the change.
DeadlineEffect Model::Change(Deadline& from, const Deadline& to, DeadlineCondition condition) {
  using State = Deadline::State;
  // No deadline is the latest, an expired one the earliest.
  const auto rank = [](const Deadline& deadline) {
    return deadline.state == State::kNone      ? Instant::max()
           : deadline.state == State::kExpired ? Instant::min()
                                               : deadline.at;
  };
  const Instant before = rank(from);
  const Instant after = rank(to);
  const bool expired = from.state == State::kExpired;
  const bool same = before == after;
  switch (condition) {
    case DeadlineCondition::kAlways:
      break;
    case DeadlineCondition::kOnlyLater:
      if (!same && (expired || after < before)) return DeadlineEffect::kRefused;
      break;
    case DeadlineCondition::kOnlyEarlier:
      if (to.state == State::kNone || after > before) return DeadlineEffect::kRefused;
      break;
    case DeadlineCondition::kArmOrExtend:
      if (expired || to.state != State::kArmed) return DeadlineEffect::kRefused;
      if (from.state == State::kArmed && after < before) return DeadlineEffect::kRefused;
      break;
  }
  if (same) return DeadlineEffect::kUnchanged;
  const bool armed = from.state == State::kArmed;
  from = to;
  if (to.state == State::kNone) return DeadlineEffect::kCleared;
  if (to.state == State::kExpired) return DeadlineEffect::kExpired;
  if (!armed) return DeadlineEffect::kArmed;
  return after > before ? DeadlineEffect::kExtended : DeadlineEffect::kShortened;
}

void Model::SetDeadline(Instant received, const SetDeadlineArgs& args, CallId call) {
  const size_t shard = ShardOf(args.name);
  const std::string name(args.name);
  Begin(SetOf(shard));
  if (Refuses(false, call)) return;
  const Key key = KeyOfRequest(args.name, args.retry);
  const std::string content =
      Join("set", args.generation, static_cast<int>(args.mode), static_cast<int>(args.what),
           args.what == SetDeadlineArgs::What::kAt ? args.at.time_since_epoch().count() : 0,
           static_cast<int>(args.condition), TextOf(args.open_if_missing));
  const Deadline to = ToDeadline(received, args);
  if (to.state == Deadline::State::kExpired && Find(name) != nullptr) Settle(name);
  if (RecallRequest(key, content, received, args.retry, call)) return;
  if (Refuses(true, call)) return;
  const bool future = args.what == SetDeadlineArgs::What::kTimeout
                          ? args.timeout > Nanos(0)
                          : to.state == Deadline::State::kArmed;
  Refusal why;
  if (args.condition == DeadlineCondition::kArmOrExtend && !future) {
    why.reason = Reason::kBadTime;
    return Answer(call, why);
  }
  auto answer = std::make_shared<Expected>();
  SetDeadlineResult result;
  Deadline none;
  const bool opens = Find(name) == nullptr && args.generation == 0 && args.open_if_missing;
  if (opens && Change(none, to, args.condition) == DeadlineEffect::kRefused) {
    for (const Side s : kSides) {
      if (Includes(args.mode, s)) result.effect[Index(s)] = DeadlineEffect::kRefused;
    }
  } else {
    if (Resolve(name, args.generation, args.open_if_missing, why) == nullptr) {
      return Answer(call, why);
    }
    SetSides(name, args, to, result);
    answer->needs = {{shard, descs_.at(name).step}};
  }
  answer->answer = result;
  Remember(key, content, answer);
  Answer(call, answer);
}

// Both sides first, then whoever waits: a poll on both sides ends once.
void Model::SetSides(const std::string& name, const SetDeadlineArgs& args, const Deadline& to,
                     SetDeadlineResult& result) {
  Desc& desc = descs_.at(name);
  std::array<bool, 2> was_armed{};
  result.generation = desc.generation;
  for (const Side s : kSides) {
    if (!Includes(args.mode, s)) continue;
    SideOf& side = desc.side[Index(s)];
    was_armed[Index(s)] = CanExpire(side.deadline);
    Deadline asked = to;
    // The same wall time is the same deadline.
    const bool same = args.what == SetDeadlineArgs::What::kAt && CanExpire(to) &&
                      CanExpire(side.deadline) && side.deadline.wall == to.wall;
    if (same) asked.at = side.deadline.at;
    result.effect[Index(s)] = Change(side.deadline, asked, args.condition);
    if (result.effect[Index(s)] == DeadlineEffect::kRefused) continue;
    result.applied = true;
    if (result.effect[Index(s)] == DeadlineEffect::kUnchanged) continue;
    side.deadline_step = step_;
    Touch(desc);
  }
  for (const Side s : kSides) {
    if (result.effect[Index(s)] == DeadlineEffect::kExpired) {
      const Instant due = desc.side[Index(s)].deadline.at;
      result.woken += EndSide(name, s, Outcome::kTimedOut, due, was_armed[Index(s)]);
    }
    result.deadline[Index(s)] = desc.side[Index(s)].deadline;
  }
}

void Model::Get(std::string_view name, CallId call) {
  const size_t shard = ShardOf(name);
  Begin(SetOf(shard));
  Refusal why;
  const Desc* const desc = Resolve(name, 0, nullptr, why);
  if (desc == nullptr) return Answer(call, why);
  Answer(call, Describe(std::string(name)), {{shard, desc->step}});
}

std::vector<DescriptorInfo> Model::List() const {
  std::vector<DescriptorInfo> list;
  for (const auto& [name, desc] : descs_) list.push_back(Describe(name));
  return list;
}

// What happens in the shard by its own instant, in that order.
std::vector<Model::Due> Model::DueIn(size_t shard, Instant now) {
  std::vector<Due> all;
  Instant oldest = kNever;
  const auto add = [&](Due due) {
    if (due.at <= now) all.push_back(std::move(due));
  };
  for (const auto& [name, desc] : descs_) {
    if (desc.generation % kShards != shard) continue;
    add({.what = Due::kIdle, .at = desc.idle_timer, .name = name});
    for (const Side s : kSides) {
      const SideOf& side = desc.side[Index(s)];
      if (CanExpire(side.deadline)) {
        add({.what = Due::kSide, .at = side.deadline.at, .name = name, .side = s});
      }
      for (const auto& [number, out] : side.out) {
        add({Due::kDelivery, out.alarm, name, s, number, nullptr});
        if (out.age > 0) oldest = std::min(oldest, out.recorded);
      }
    }
  }
  for (const WaitingRef& each : waits_) {
    if (each->targets.front().generation % kShards != shard) continue;
    const bool bound = each->poll || IsBoundByItself(*each);
    if (bound) add({.what = Due::kWait, .at = each->until, .waiting = each});
    add({.what = Due::kAbsent, .at = each->absent_until, .waiting = each});
  }
  for (const auto& [key, record] : records_) {
    if (record.shard == shard && record.age > 0) oldest = std::min(oldest, record.recorded);
  }
  add({.what = Due::kForget, .at = SaturatingAdd(oldest, KeptFor()), .number = shard});
  std::stable_sort(all.begin(), all.end(), [](const Due& x, const Due& y) { return x.at < y.at; });
  return all;
}

// For how long an outcome is remembered.
Nanos Model::KeptFor() const { return SaturatingAdd(options_.retention, kDelayMax); }

void Model::Fire(const Due& due) {
  switch (due.what) {
    case Due::kSide:
      return Settle(due.name);
    case Due::kIdle:
      return FireIdle(due.name);
    case Due::kWait:
      StillWaits(due.waiting);
      return;
    case Due::kAbsent:
      return FireAbsent(due.waiting);
    case Due::kDelivery:
      return FireDelivery(due.name, due.side, due.number);
    case Due::kForget:
      return ForgetOld(due.number);
  }
}

// Whatever of the shard is remembered for long enough.
void Model::ForgetOld(size_t shard) {
  const auto over = [&](Instant recorded) { return SaturatingAdd(recorded, KeptFor()) <= now_; };
  for (auto& [name, desc] : descs_) {
    if (desc.generation % kShards != shard) continue;
    for (SideOf& side : desc.side) {
      std::vector<uint64_t> gone;
      for (const auto& [number, out] : side.out) {
        if (out.age > 0 && over(out.recorded)) gone.push_back(number);
      }
      for (const uint64_t number : gone) {
        MoveHorizon(name, side.out.at(number).recorded);
        side.out.erase(number);
      }
    }
  }
  std::vector<Key> gone;
  for (const auto& [key, record] : records_) {
    if (record.shard == shard && record.age > 0 && over(record.recorded)) gone.push_back(key);
  }
  for (const Key& key : gone) ForgetAged(key);
}

// The timer stays where it is while calls come: only when it fires is it seen how long nothing has
// happened.
void Model::FireIdle(const std::string& name) {
  Settle(name);
  Desc& desc = descs_.at(name);
  bool idle = true;
  for (const Side s : kSides) {
    const SideOf& side = desc.side[Index(s)];
    idle = idle && Standing(name, s).empty() && !HasReady(side) &&
           side.deadline.state == Deadline::State::kNone;
    for (const auto& [number, out] : side.out) {
      idle = idle && out.state != Delivery::State::kPending && out.state != Delivery::State::kKept;
    }
  }
  const Instant since = idle ? desc.idle_since : now_;
  desc.idle_timer = SaturatingAdd(since, desc.idle_ttl);
  if (desc.idle_timer > now_) return;
  CloseNow(name);
  ++seen_[kIdleClosed];
}

void Model::RunTimers() {
  for (Instant& latest : latest_) latest = std::max(latest, clock_.mono);
  for (bool more = true; more;) {
    more = false;
    for (ShardSet left = used_; left != 0; left &= left - 1) {
      // All that is due is taken at once; what that brings about comes the next time round.
      for (const Due& due : DueIn(First(left), TimeOf(First(left)))) {
        more = true;
        const std::vector<Due> still = DueIn(First(left), TimeOf(First(left)));
        if (std::find(still.begin(), still.end(), due) == still.end()) continue;
        Begin(SetOf(First(left)));
        Fire(due);
        MakeRoom();
      }
    }
  }
}

Instant Model::NextInstant() {
  Instant next = kNever;
  for (ShardSet left = used_; left != 0; left &= left - 1) {
    for (const Due& due : DueIn(First(left), kNever)) next = std::min(next, due.at);
  }
  return next;
}

bool Model::HasPolls() const {
  return std::any_of(waits_.begin(), waits_.end(), [](const auto& each) { return each->poll; });
}

Model::Stored Model::Store(size_t shard) const {
  Stored stored;
  for (const auto& [name, desc] : descs_) {
    if (desc.generation % kShards == shard) stored.descs.emplace(name, desc);
  }
  for (const auto& [key, record] : records_) {
    if (record.answer != nullptr && record.shard == shard) stored.records.emplace(key, record);
  }
  stored.horizon = horizon_[shard];
  stored.lives = lives_stored_[shard];
  stored.step = step_;
  return stored;
}

}  // namespace waitd::core
