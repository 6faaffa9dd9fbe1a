// What the table shows of itself: Get, List, and whose ephemeral descriptors are there.
#include <algorithm>
#include <array>
#include <utility>

#include "core/poll_desc.h"
#include "core/poller.h"
#include "core/shard.h"
#include "core/step.h"

namespace waitd::core {
namespace {

constexpr size_t kWaitersShownMax = 100;
// Names that one List looks at in a shard, under one hold of its lock. A filter that matches few
// makes short pages, not long holds.
constexpr uint32_t kNamesSeenMax = 2000;

bool HasAll(const PollDesc& desc, const Labels& wanted) {
  if (wanted.empty()) return true;
  if (desc.options == nullptr) return false;
  const Labels& have = desc.options->labels;
  return std::includes(have.begin(), have.end(), wanted.begin(), wanted.end());
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

DescriptorInfo Poller::Describe(Step& step, PollDesc& desc, bool with_waiters) const {
  const Now& now = step.moment.now;
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
    const PollDesc::SideState& side = desc.side(s);
    DescriptorInfo::SideInfo& shown = info.side[Index(s)];
    shown.state = side.HasReady()   ? SemaphoreState::kReady
                  : side.places > 0 ? SemaphoreState::kWaiting
                                    : SemaphoreState::kNil;
    shown.waiters = side.places;
    shown.payload_bytes = side.signal == nullptr ? 0 : side.signal->size();
    shown.deadline = side.deadline;
    if (side.hand_offs != nullptr) {
      shown.unacked = side.hand_offs->unacked;
      shown.returned = static_cast<uint32_t>(side.hand_offs->returned.size());
    }
    if (!with_waiters) continue;
    Place* place = side.first;
    for (size_t left = std::min<size_t>(side.places, kWaitersShownMax); left > 0; --left) {
      const Waiter& waiter = place->waiter();
      DescriptorInfo::Waiter& who = shown.waiter_details.emplace_back();
      const Parkable& call = CallOf(waiter);
      who.client = call.client();
      who.connected = call.connected();
      if (call.record_ != nullptr) who.id_hint = Hint(call.record_->id);
      who.since = WallOf(now, waiter.begin);
      if (waiter.until() != kNever) who.until = WallOf(now, waiter.until());
      place = place->next;
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
      if (numbers_[next_] <= shard.unsaved.saved) continue;
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

void Poller::Get(const Now& now, const GetArgs& args, GetCall& call) {
  Step step(*this, now);
  Shard& home = shard(ShardOf(args.name));
  const ShardSet set = SetOf(home.index());
  {
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    if (Refuses(false, call)) {
      step.Answer(home, call, 0);
    } else {
      Refusal refusal;
      PollDesc* const found = home.Find(args.name);
      PollDesc* const desc = Resolve(step, home, found, args.name, 0, nullptr, refusal);
      if (desc == nullptr) {
        call.result() = std::move(refusal);
      } else {
        call.result() = Describe(step, *desc, true);
      }
      step.Leave(set);
      step.Answer(home, call, Step::NumberFor(home, desc));
    }
  }
  step.Finish();
}

// First the names, from each shard in turn, then each one's description; a name closed in between
// is left out.
void Poller::List(const Now& now, const ListArgs& args, ListCall& call) {
  Step step(*this, now);
  ListResult& result = call.result().emplace<ListResult>();
  auto& hops = *new ListHops(*this, call);  // until its Done
  std::vector<std::string> names;
  std::optional<std::string>
      seen_through;  // every shard was looked at up to here; none: to the end
  for (const auto& each : shards_) {
    const MutexLock lock(each->mutex());
    hops.Add(each->index(), each->unsaved.number);
    const std::string_view from = std::max(args.prefix, std::string_view(args.after));
    auto it = each->ordered.lower_bound(from);
    uint32_t taken = 0;
    for (uint32_t seen = 0; it != each->ordered.end(); ++it, ++seen) {
      const PollDesc& desc = **it;
      const std::string_view name = desc.name();
      if (!name.starts_with(args.prefix)) break;
      if (seen == kNamesSeenMax || taken == args.page_size) {
        const std::string_view last = (*std::prev(it))->name();
        if (!seen_through.has_value() || last < *seen_through) seen_through = last;
        break;
      }
      if (name == args.after || !HasAll(desc, args.labels)) continue;
      const bool waiting = desc.side(Side::kRead).places + desc.side(Side::kWrite).places > 0;
      if (args.waiting_only && !waiting) continue;
      names.emplace_back(name);
      ++taken;
    }
  }
  std::sort(names.begin(), names.end());
  if (seen_through.has_value()) {
    names.erase(std::upper_bound(names.begin(), names.end(), *seen_through), names.end());
    result.next_after = *seen_through;
  }
  if (names.size() > args.page_size) {
    names.resize(args.page_size);
    result.next_after = names.back();
  }
  for (const std::string& name : names) {
    Shard& home = shard(ShardOf(name));
    const ShardSet set = SetOf(home.index());
    const Locks locks(*this, set);
    home.mutex().AssertHeld();
    PollDesc* const desc = home.Find(name);
    if (desc == nullptr) continue;
    if (desc->Settle(step.moment)) step.Expired(home, *desc);
    result.descriptors.push_back(Describe(step, *desc, false));
    hops.Add(home.index(), desc->changed);
    step.Leave(set);
  }
  step.Finish();
  hops.Done();
}

}  // namespace waitd::core
