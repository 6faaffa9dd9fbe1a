// How polls begin.
#include <algorithm>

#include "core/shard.h"
#include "tests/unit/core/model.h"

namespace waitd::core {
namespace {

std::string ContentOfPoll(const PollArgs& args) {
  std::string content = "poll" + std::to_string(args.need) + TextOf(args.open_if_missing) +
                        (args.ack_timeout ? std::to_string(args.ack_timeout->count()) : "");
  for (const PollTarget& target : args.targets) {
    content += "/" + std::string(target.name) + std::to_string(Index(target.side)) +
               std::to_string(target.generation);
  }
  return content;
}

}  // namespace

void Model::Poll(Instant received, const PollArgs& args, CallId call) {
  bool well_formed = !args.targets.empty() && args.need <= args.targets.size();
  ShardSet shards = 0;
  for (size_t i = 0; i < args.targets.size(); ++i) {
    shards |= SetOf(ShardOf(args.targets[i].name));
    for (size_t j = 0; j < i; ++j) {
      well_formed = well_formed && (args.targets[i].name != args.targets[j].name ||
                                    args.targets[i].side != args.targets[j].side);
    }
  }
  Begin(well_formed ? shards : SetOf(0));
  if (Refuses(false, call)) return;
  auto poll = std::make_shared<Waiting>();
  poll->poll = true;
  poll->call = call;
  poll->need = std::max(args.need, 1U);
  poll->ack_timeout = args.ack_timeout;
  Refusal why;
  if (well_formed && !args.retry.id.empty()) {
    const std::string home(args.targets.front().name);
    poll->key = Key{true, home, args.retry.caller, std::string(args.retry.id)};
    poll->content = ContentOfPoll(args);
    if (RecallWait(*poll->key, poll->content, received, args.retry, call)) return;
  }
  if (Refuses(true, call)) return;
  if (!well_formed) {
    why.reason = Reason::kBadPoll;
    return Answer(call, why);
  }
  LimitFrom(received, args.timeout, args.retry.sent_ago, *poll);
  if (!BeginPoll(args, poll, why)) Answer(call, why);
}

// What refuses a poll, before any name is opened.
bool Model::CheckPoll(const PollArgs& args, bool may_park, size_t& opens, Refusal& why) {
  std::vector<std::string_view> missing;
  for (const PollTarget& target : args.targets) {
    Desc* const desc = Find(target.name);
    if (desc == nullptr && (target.generation != 0 || args.open_if_missing == nullptr)) {
      why.reason = Reason::kNoDescriptor;
      return false;
    }
    const Kind kind = desc == nullptr ? KindToOpen(args.open_if_missing) : desc->kind;
    if (args.ack_timeout.has_value() && kind == Kind::kLatch) {
      why.reason = Reason::kBadOptions;
      return false;
    }
    const bool other = desc != nullptr && args.open_if_missing != nullptr &&
                       args.open_if_missing->kind.value_or(desc->kind) != desc->kind;
    if (desc == nullptr) {
      missing.push_back(target.name);
    } else if (target.generation != 0 && target.generation != desc->generation) {
      why.reason = Reason::kStaleGeneration;
      return false;
    } else if (other) {
      why.reason = Reason::kKindMismatch;
      return false;
    }
  }
  if (args.ack_timeout.has_value() && !MayDeliver(args)) {
    why.reason = Reason::kLimitDeliveries;
    return false;
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (!missing.empty() && !may_park) {
    why.reason = Reason::kLimitWaiters;
    return false;
  }
  opens = missing.size();
  return true;
}

// Within the limits, or it takes what came back and nothing else.
bool Model::MayDeliver(const PollArgs& args) {
  const bool full = std::any_of(args.targets.begin(), args.targets.end(), [&](const auto& each) {
    return DeliveriesFull(std::string(each.name), each.side, args.targets.size());
  });
  if (!full) return true;
  uint32_t taken = 0;
  const uint32_t need = std::max(args.need, 1U);
  for (const PollTarget& target : args.targets) {
    if (taken == need) break;
    if (Find(target.name) == nullptr) continue;
    Settle(std::string(target.name));
    const SideOf& side = Find(target.name)->side[Index(target.side)];
    if (!HasReady(side) || side.deadline.state == Deadline::State::kExpired) continue;
    if (!HasReturned(side)) return false;
    ++taken;
  }
  return taken == need;
}

bool Model::BeginPoll(const PollArgs& args, const WaitingRef& poll, Refusal& why) {
  const bool park = poll->until > now_;
  const bool slots = park && waiters() + args.targets.size() <= options_.max_waiters.things;
  if (draining_) {
    why.reason = Reason::kDraining;
    return false;
  }
  size_t opens = 0;
  if (!CheckPoll(args, slots || !park, opens, why)) return false;
  for (const PollTarget& target : args.targets) {
    poll->targets.push_back({std::string(target.name), target.side, 0, false, false, {}});
    Desc* const desc = Find(target.name);
    if (desc == nullptr) continue;
    poll->targets.back().generation = desc->generation;
    Settle(std::string(target.name));
  }
  const bool takes = CanTake(*poll);
  std::vector<Target*> expired;
  for (Target& target : poll->targets) {
    if (!IsThere(target) || Available(target)) continue;
    if (At(target).deadline.state == Deadline::State::kExpired) expired.push_back(&target);
  }
  const bool loses = expired.size() > args.targets.size() - poll->need;
  if (!takes && !loses && slots) {
    for (const Target& target : poll->targets) {
      if (!IsThere(target)) continue;
      const bool lost =
          !Available(target) && At(target).deadline.state == Deadline::State::kExpired;
      if (lost || !Occupied(target.name, target.side)) continue;
      why.reason = Reason::kDoubleWait;
      return false;
    }
  }
  if (opens > 0 && descs_.size() + opens > options_.max_descriptors.things) {
    why.reason = Reason::kLimitDescriptors;
    return false;
  }
  for (Target& target : poll->targets) {
    Desc* desc = Find(target.name);
    if (desc == nullptr) {
      desc = &Create(target.name, *args.open_if_missing, options_.default_idle_ttl);
    }
    target.generation = desc->generation;
    desc->idle_since = std::max(desc->idle_since, now_);
  }
  if (!takes && !loses && park && !slots) {
    why.reason = Reason::kLimitWaiters;
    return false;
  }
  StartPoll(poll, takes, park, expired);
  return true;
}

// Nothing refuses the poll any more.
void Model::StartPoll(const WaitingRef& poll, bool takes, bool park,
                      const std::vector<Target*>& expired) {
  if (!takes) {
    for (Target* const target : expired) {
      if (!poll->over) Lose(poll, *target, Outcome::kTimedOut, At(*target).deadline.at);
    }
  }
  if (poll->over) return;
  if (takes) {
    Take(poll);
  } else if (!park) {
    EndAtOnce(poll, poll->bound, poll->until);
  } else {
    Park(poll);
  }
}

}  // namespace waitd::core
