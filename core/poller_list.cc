// What the table shows of itself: Get, List, and whose ephemeral descriptors are there.
#include <algorithm>
#include <array>
#include <utility>

#include "core/check.h"
#include "core/name_merge.h"
#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

constexpr size_t kWaitersShownMax = 100;

bool HasAll(const PollDesc& desc, const Labels& wanted) {
  if (wanted.empty()) return true;
  if (desc.options == nullptr) return false;
  const Labels& have = desc.options->labels;
  return std::includes(have.begin(), have.end(), wanted.begin(), wanted.end());
}

bool Matches(const ListArgs& args, const PollDesc& desc) {
  if (args.waiting_only &&
      desc.side(Side::kRead).waiters() + desc.side(Side::kWrite).waiters() == 0) {
    return false;
  }
  return HasAll(desc, args.labels);
}

// Its last four characters: who knows an id can take its outcome.
std::string Hint(const std::string& id) {
  size_t at = id.size();
  for (int characters = 0; at > 0 && characters < 4;) {
    --at;
    const bool begins = (static_cast<unsigned char>(id[at]) & 0xC0U) != 0x80U;  // in UTF-8
    if (begins) ++characters;
  }
  return id.substr(at);
}

}  // namespace

DescriptorInfo Poller::Describe(const Now& now, const PollDesc& desc, bool with_waiters) const {
  DescriptorInfo info;
  info.name = desc.name();
  info.kind = desc.kind();
  info.generation = desc.generation();
  info.open_time = desc.open_time();
  info.idle_ttl = desc.idle_ttl();
  if (desc.options != nullptr) {
    info.labels = desc.options->labels;
    info.ephemeral = desc.options->ephemeral;
    info.owner = desc.options->owner;
  }
  for (const Side s : kSides) {
    const SideState& side = desc.side(s);
    DescriptorInfo::SideInfo& shown = info.side[Index(s)];
    shown.state = side.HasReady()      ? SemaphoreState::kReady
                  : side.waiters() > 0 ? SemaphoreState::kWaiting
                                       : SemaphoreState::kNil;
    shown.waiters = side.waiters();
    shown.payload_bytes = side.signal == nullptr ? 0 : side.signal->size();
    shown.deadline = side.deadline;
    if (const Deliveries* const deliveries = side.deliveries(); deliveries != nullptr) {
      shown.unacked = deliveries->pending;
      shown.returned = static_cast<uint32_t>(deliveries->returned.size());
    }
    if (!with_waiters) continue;
    for (const Place* const place : side.First(kWaitersShownMax)) {
      const Waiter& waiter = place->waiter();
      DescriptorInfo::Waiter& who = shown.waiter_details.emplace_back();
      const Parkable* const call = CallOf(waiter);
      who.client = call != nullptr ? call->client() : waiter.record->absent->client;
      who.connected = call != nullptr && call->connected();
      if (waiter.record != nullptr) who.id_hint = Hint(waiter.record->id);
      who.since = WallOf(now, waiter.begin);
      if (waiter.until() != kNever) who.until = WallOf(now, waiter.until());
    }
  }
  return info;
}

bool Poller::HasEphemeral(std::string_view name, uint64_t session) const {
  Shard& home = shard(ShardOf(name));
  const MutexLock lock(home.mutex());
  const PollDesc* const desc = home.Find(name);
  return desc != nullptr && desc->options != nullptr && desc->options->session == session;
}

// A list tells of many shards: it waits in the line of one after the other.
class Poller::ListHops final : public Effect {
 public:
  ListHops(Poller& poller, ListCall& call) : poller_(poller), call_(call) {}

  /// What is told of this shard waits for this change.
  void Add(size_t shard, uint64_t number) { numbers_[shard] = std::max(numbers_[shard], number); }

  void Done() override {
    for (; next_ < kShards; ++next_) {
      Shard& shard = poller_.shard(next_);
      const MutexLock lock(shard.mutex());
      if (poller_.Refuses(false, call_)) break;
      if (numbers_[next_] <= shard.env.unsaved.saved()) continue;
      shard.line.Push(*this, numbers_[next_]);
      return;
    }
    call_.Done();
    delete this;
  }

  void Fail(Reason reason) override {
    call_.Fail(reason);
    next_ = kShards;
  }

 private:
  Poller& poller_;
  ListCall& call_;
  std::array<uint64_t, kShards> numbers_{};
  size_t next_ = 0;
};

void Poller::Get(const GetArgs& args, GetCall& call) {
  Step step(*this);
  Shard& home = shard(ShardOf(args.name));
  step.Lock(SetOf(home.index()));
  home.mutex().AssertHeld();
  if (Refuses(false, call)) return step.Answer(home, call, 0);
  Refusal refusal;
  PollDesc* const found = home.Find(args.name);
  PollDesc* const desc = Resolve(step, home, found, args.name, 0, nullptr, nullptr, refusal);
  if (desc == nullptr) {
    call.result() = std::move(refusal);
  } else {
    call.result() = Describe(step.now(), *desc, true);
  }
  step.Answer(home, call, Step::NumberFor(home, desc), args.name);
}

// First the names, merged from all shards, then each one's description; a name closed in between is
// left out. Never two locks at once.
void Poller::List(const ListArgs& args, ListCall& call) {
  WAITD_CHECK(args.page_size > 0, "a page of a list has no room");
  ListResult& result = call.result().emplace<ListResult>();
  auto& hops = *new ListHops(*this, call);  // until its Done
  NameMerge merge(kShards, args.after, args.page_size);
  NameMerge::Page page = merge.Run([&](size_t i, NameMerge::Source& source, uint32_t looks) {
    Shard& each = shard(i);
    const MutexLock lock(each.mutex());
    hops.Add(i, each.env.unsaved.number());
    auto it = !source.begun && args.after < args.prefix ? each.ordered.lower_bound(args.prefix)
                                                        : each.ordered.upper_bound(source.seen);
    const PollDesc* last = nullptr;
    uint32_t seen = 0;
    for (; it != each.ordered.end() && (*it)->name().starts_with(args.prefix); ++it, ++seen) {
      if (seen == looks) break;
      last = *it;
      if (Matches(args, *last)) source.names.emplace_back(last->name());
    }
    source.more =
        seen == looks && it != each.ordered.end() && (*it)->name().starts_with(args.prefix);
    if (last != nullptr) source.seen = last->name();
    return seen;
  });
  result.next_after = std::move(page.next_after);
  for (const std::string& name : page.names) {
    Step step(*this);
    Shard& home = shard(ShardOf(name));
    step.Lock(SetOf(home.index()));
    home.mutex().AssertHeld();
    PollDesc* const desc = home.Find(name);
    if (desc == nullptr) continue;
    desc->Settle(step);
    result.descriptors.push_back(Describe(step.now(), *desc, false));
    hops.Add(home.index(), desc->changed);
  }
  hops.Done();
}

}  // namespace waitd::core
