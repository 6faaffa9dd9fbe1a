#ifndef WAITD_TESTS_UNIT_CORE_MODEL_H_
#define WAITD_TESTS_UNIT_CORE_MODEL_H_

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/call.h"

namespace waitd::core {

/// The poller as plainly as it can be said: one list of waits, no shards, no timers, no claims.
/// Time passes by letting everything happen that was due, in the order of the instants, a tie to
/// the deadline.
class Model {
 public:
  struct Place {
    std::string name;
    Side side = Side::kRead;
    bool lost = false;
    WaitResult end;
  };
  struct Waiting {
    bool poll = false;
    std::vector<Place> places;  // one, or a poll's targets
    uint32_t need = 1;
    Instant begin;
    Instant until = kNever;
    TimeoutCause bound = TimeoutCause::kWait;
    bool ignore_deadline = false;
    bool over = false;
    std::optional<Reason> refused;
    WaitResult result;  // of a single wait
    PollResult polled;  // of a poll
  };
  struct SideOf {
    bool ready = false;
    std::string data;
    uint32_t coalesced = 0;
    uint64_t delivery = 0;
    Deadline deadline;
  };
  struct Desc {
    Kind kind = Kind::kExclusive;
    SideOf sides[2];
  };

  explicit Model(Nanos max_wait) : max_wait_(max_wait) {}

  void Pass(Instant now) {
    now_ = now;
    while (HappenNext()) {
    }
  }

  /// When something happens next, if that is not after `limit`; else `limit`.
  Instant NextDue(Instant limit) {
    Instant next = limit;
    for (const auto& waiting : waits) {
      if (waiting->until > now_) next = std::min(next, waiting->until);
    }
    for (const auto& [name, desc] : descs) {
      for (const SideOf& side : desc.sides) {
        if (side.deadline.state == Deadline::State::kArmed) next = std::min(next, side.deadline.at);
      }
    }
    return next;
  }

  bool polls() const {
    return std::any_of(waits.begin(), waits.end(), [](const auto& each) { return each->poll; });
  }

  bool Open(const std::string& name, Kind kind) {
    return descs.try_emplace(name, Desc{kind, {}}).second || descs[name].kind == kind;
  }

  std::optional<uint32_t> Close(const std::string& name) {
    if (!descs.contains(name)) return std::nullopt;
    uint32_t woken = 0;
    for (const auto& waiting : std::vector(waits)) {
      for (Place& place : waiting->places) {
        if (!waiting->over && place.name == name && !place.lost) {
          woken += Lose(*waiting, place, Outcome::kClosed, TimeoutCause::kNone, now_) ? 1 : 0;
        }
      }
    }
    descs.erase(name);
    return woken;
  }

  std::optional<ResetResult> Reset(const std::string& name, Mode mode) {
    if (!descs.contains(name)) return std::nullopt;
    ResetResult result;
    for (const Side s : kSides) {
      if (!Includes(mode, s)) continue;
      SideOf& side = descs[name].sides[Index(s)];
      if (side.deadline.state == Deadline::State::kExpired) {
        result.reset = false;
      } else {
        result.forgot |= side.ready;
        side.ready = false;
      }
    }
    return result;
  }

  std::shared_ptr<Waiting> Wait(const std::string& name, Side side, std::optional<Nanos> timeout,
                                bool ignore) {
    auto waiting = Begin(timeout);
    waiting->ignore_deadline = ignore;
    waiting->places.push_back({name, side});
    const bool parks = waiting->until > now_;
    if (!descs.contains(name)) {
      waiting->refused = Reason::kNoDescriptor;
    } else if (Expired(waiting->places[0]) && !ignore && !Open(waiting->places[0])) {
      Place& place = waiting->places[0];
      Lose(*waiting, place, Outcome::kTimedOut, TimeoutCause::kDeadline, At(place).deadline.at);
    } else if (At(waiting->places[0]).ready) {
      Take(*waiting);
    } else if (!parks) {
      End(*waiting, Outcome::kTimedOut, TimeoutCause::kWait, waiting->until);
    } else if (descs[name].kind == Kind::kExclusive && Occupied(name, side)) {
      waiting->refused = Reason::kDoubleWait;
    } else {
      waits.push_back(waiting);
    }
    return waiting;
  }

  std::shared_ptr<Waiting> Poll(const std::vector<PollTarget>& targets, uint32_t need,
                                std::optional<Nanos> timeout) {
    auto waiting = Begin(timeout);
    waiting->poll = true;
    waiting->need = need;
    for (const PollTarget& target : targets) {
      waiting->places.push_back({std::string(target.name), target.side});
      if (!descs.contains(waiting->places.back().name)) {
        waiting->refused = Reason::kNoDescriptor;
        return waiting;
      }
    }
    const bool parks = waiting->until > now_;
    for (Place& place : waiting->places) {
      if (waiting->over || !Expired(place) || Open(place)) continue;
      Lose(*waiting, place, Outcome::kTimedOut, TimeoutCause::kDeadline, At(place).deadline.at);
    }
    if (!waiting->over && CanTake(*waiting)) Take(*waiting);
    if (!waiting->over && !parks) {
      End(*waiting, Outcome::kTimedOut, TimeoutCause::kWait, waiting->until);
    }
    if (waiting->over) return waiting;
    for (const Place& place : waiting->places) {
      if (!place.lost && descs[place.name].kind == Kind::kExclusive &&
          Occupied(place.name, place.side)) {
        waiting->refused = Reason::kDoubleWait;
        return waiting;
      }
    }
    waits.push_back(waiting);
    return waiting;
  }

  void Cancel(Waiting& waiting) {
    if (!waiting.over && !waiting.refused)
      End(waiting, Outcome::kCancelled, TimeoutCause::kNone, now_);
  }

  std::optional<ReadyResult> Ready(const std::string& name, Mode mode, const std::string& data,
                                   ReadyCondition condition) {
    if (!descs.contains(name)) return std::nullopt;
    ReadyResult result;
    for (const Side s : kSides) {
      if (!Includes(mode, s)) continue;
      const auto [effect, woken] = ReadyOne(name, s, data, condition);
      result.effect = std::min(result.effect, effect);
      result.woken += woken;
      const bool kept = effect == ReadyEffect::kRemembered || effect == ReadyEffect::kCoalesced;
      result.expired |= kept && Expired({name, s});
    }
    return result;
  }

  std::optional<SetDeadlineResult> SetDeadline(const std::string& name, Mode mode,
                                               std::optional<Nanos> timeout,
                                               DeadlineCondition condition) {
    if (!descs.contains(name)) return std::nullopt;
    SetDeadlineResult result;
    // Both sides first, then whoever waits: a poll on both sides ends once.
    for (const Side s : kSides) {
      if (!Includes(mode, s)) continue;
      SideOf& side = descs[name].sides[Index(s)];
      result.effect[Index(s)] = Change(side.deadline, timeout, condition);
      result.applied |= result.effect[Index(s)] != DeadlineEffect::kRefused;
    }
    for (const Side s : kSides) {
      if (result.effect[Index(s)] == DeadlineEffect::kExpired) {
        result.woken += EndSide(name, s, now_);
      }
      if (result.effect[Index(s)] == DeadlineEffect::kCleared) Unbind(name, s);
    }
    return result;
  }

  uint32_t Standing(const std::string& name, Side side) const {
    uint32_t count = 0;
    for (const auto& waiting : waits) {
      for (const Place& place : waiting->places) {
        count += !waiting->over && !place.lost && place.name == name && place.side == side ? 1 : 0;
      }
    }
    return count;
  }

  std::map<std::string, Desc> descs;
  std::vector<std::shared_ptr<Waiting>> waits;

 private:
  SideOf& At(const Place& place) { return descs[place.name].sides[Index(place.side)]; }
  bool Expired(const Place& place) { return At(place).deadline.state == Deadline::State::kExpired; }
  // An open latch, which is open whatever its deadline.
  bool Open(const Place& place) {
    return descs[place.name].kind == Kind::kLatch && At(place).ready;
  }
  bool Occupied(const std::string& name, Side side) const { return Standing(name, side) > 0; }

  std::shared_ptr<Waiting> Begin(std::optional<Nanos> timeout) {
    auto waiting = std::make_shared<Waiting>();
    waiting->begin = now_;
    waiting->bound = timeout ? TimeoutCause::kWait : TimeoutCause::kMaxWait;
    waiting->until = SaturatingAdd(now_, timeout.value_or(max_wait_));
    return waiting;
  }

  bool CanTake(Waiting& waiting) {
    uint32_t there = 0;
    for (const Place& place : waiting.places) there += !place.lost && At(place).ready ? 1 : 0;
    return there >= waiting.need;
  }

  void Take(Waiting& waiting) {
    End(waiting, Outcome::kReady, TimeoutCause::kNone, now_);
    for (uint32_t i = 0; i < waiting.places.size(); ++i) {
      if (waiting.places[i].lost) continue;  // a closed one has no side any more
      SideOf& side = At(waiting.places[i]);
      if (!side.ready) continue;
      WaitResult taken;
      taken.coalesced = side.coalesced;
      taken.signal = std::make_shared<const std::string>(side.data);
      const bool latch = descs[waiting.places[i].name].kind == Kind::kLatch;
      taken.delivery = latch ? side.delivery : ++side.delivery;
      if (!latch) side.ready = false;
      taken.parked = waiting.result.parked;
      if (!waiting.poll) {
        waiting.result = taken;
        return;
      }
      waiting.polled.targets.push_back({i, taken});
      if (waiting.polled.targets.size() == waiting.need) return;
    }
  }

  void End(Waiting& waiting, Outcome outcome, TimeoutCause cause, Instant due) {
    waiting.over = true;
    waiting.result.outcome = waiting.polled.outcome = outcome;
    waiting.result.cause = waiting.polled.cause = cause;
    waiting.result.parked = waiting.polled.parked = now_ - waiting.begin;
    if (outcome == Outcome::kTimedOut) {
      waiting.result.late = waiting.polled.late = now_ - std::max(due, waiting.begin);
    }
    std::erase_if(waits, [&](const auto& each) { return each.get() == &waiting; });
  }

  // True: this ended the wait.
  bool Lose(Waiting& waiting, Place& place, Outcome outcome, TimeoutCause cause, Instant due) {
    place.lost = true;
    place.end.outcome = outcome;
    place.end.cause = cause;
    const auto left = std::count_if(waiting.places.begin(), waiting.places.end(),
                                    [](const Place& each) { return !each.lost; });
    if (left >= waiting.need) return false;
    End(waiting, outcome, cause, due);
    for (uint32_t i = 0; i < waiting.places.size(); ++i) {
      if (waiting.places[i].lost) waiting.polled.targets.push_back({i, waiting.places[i].end});
    }
    return true;
  }

  std::pair<ReadyEffect, uint32_t> ReadyOne(const std::string& name, Side s,
                                            const std::string& data, ReadyCondition condition) {
    SideOf& side = descs[name].sides[Index(s)];
    const bool latch = descs[name].kind == Kind::kLatch;
    if (condition == ReadyCondition::kNotExpired && Expired({name, s})) {
      return {ReadyEffect::kRefused, 0};
    }
    if (side.ready && condition == ReadyCondition::kWaiting) return {ReadyEffect::kRefused, 0};
    if (side.ready) {
      ++side.coalesced;
      side.data = data;
      return {ReadyEffect::kCoalesced, 0};
    }
    side.ready = true;
    side.coalesced = 0;
    side.data = data;
    if (latch) ++side.delivery;
    uint32_t woken = 0;
    for (const auto& waiting : std::vector(waits)) {
      if (!side.ready) break;
      const bool stands =
          std::any_of(waiting->places.begin(), waiting->places.end(),
                      [&](const Place& p) { return !p.lost && p.name == name && p.side == s; });
      if (!stands || waiting->over || !CanTake(*waiting)) continue;
      Take(*waiting);
      ++woken;
    }
    ReadyEffect effect = woken > 0 ? ReadyEffect::kWoke : ReadyEffect::kRemembered;
    if (condition == ReadyCondition::kWaiting) {
      side.ready = false;
      if (woken == 0) {
        effect = ReadyEffect::kRefused;
        if (latch) --side.delivery;
      }
    }
    return {effect, woken};
  }

  DeadlineEffect Change(Deadline& deadline, std::optional<Nanos> timeout,
                        DeadlineCondition condition) {
    using State = Deadline::State;
    const bool clears = !timeout.has_value();
    const bool expires = !clears && *timeout <= Nanos(0);
    const Instant at = clears ? kNever : now_ + std::max(*timeout, Nanos(0));
    // No deadline is the latest, an expired one the earliest.
    const auto rank = [](State state, Instant when) {
      return state == State::kNone      ? Instant::max()
             : state == State::kExpired ? Instant::min()
                                        : when;
    };
    const State to = clears ? State::kNone : expires ? State::kExpired : State::kArmed;
    const Instant before = rank(deadline.state, deadline.at);
    const Instant after = rank(to, at);
    const bool same = before == after;
    const bool expired = deadline.state == State::kExpired;
    if (condition == DeadlineCondition::kOnlyLater && !same && (expired || after < before)) {
      return DeadlineEffect::kRefused;
    }
    if (condition == DeadlineCondition::kOnlyEarlier && (clears || after > before)) {
      return DeadlineEffect::kRefused;
    }
    if (condition == DeadlineCondition::kArmOrExtend &&
        (expired || (deadline.state == State::kArmed && after < before))) {
      return DeadlineEffect::kRefused;
    }
    if (same) return DeadlineEffect::kUnchanged;
    const State from = deadline.state;
    deadline.state = to;
    deadline.at = at;
    if (clears) return DeadlineEffect::kCleared;
    if (expires) return DeadlineEffect::kExpired;
    if (from != State::kArmed) return DeadlineEffect::kArmed;
    return after > before ? DeadlineEffect::kExtended : DeadlineEffect::kShortened;
  }

  // The side has expired: whoever waits there, and minds, times out.
  uint32_t EndSide(const std::string& name, Side s, Instant due) {
    uint32_t woken = 0;
    for (const auto& waiting : std::vector(waits)) {
      for (Place& place : waiting->places) {
        if (waiting->over || waiting->ignore_deadline || place.lost || place.name != name ||
            place.side != s || Open(place)) {
          continue;
        }
        woken += Lose(*waiting, place, Outcome::kTimedOut, TimeoutCause::kDeadline, due) ? 1 : 0;
      }
    }
    return woken;
  }

  // A clear leaves max-wait alone to bind: from now on, where it has passed.
  void Unbind(const std::string& name, Side s) {
    for (const auto& waiting : waits) {
      if (waiting->poll || waiting->ignore_deadline || waiting->bound != TimeoutCause::kMaxWait) {
        continue;
      }
      if (waiting->places[0].name != name || waiting->places[0].side != s) continue;
      waiting->until = std::max(waiting->until, now_);
    }
  }

  // Lets the earliest thing happen that is due. False: nothing is.
  bool HappenNext() {
    Instant first = now_;
    Waiting* own = nullptr;
    const std::string* name = nullptr;
    Side side = Side::kRead;
    for (const auto& waiting : waits) {
      const bool bound = waiting->bound == TimeoutCause::kWait || waiting->poll ||
                         waiting->ignore_deadline || !CanExpire(At(waiting->places[0]).deadline);
      if (bound && waiting->until <= now_ && (own == nullptr || waiting->until < first)) {
        own = waiting.get();
        first = waiting->until;
      }
    }
    for (auto& [each, desc] : descs) {
      for (const Side s : kSides) {
        const Deadline& deadline = desc.sides[Index(s)].deadline;
        if (deadline.state != Deadline::State::kArmed || deadline.at > first) continue;
        if (name != nullptr && deadline.at == first) continue;
        name = &each;
        side = s;
        first = deadline.at;
      }
    }
    if (name != nullptr) {
      descs[*name].sides[Index(side)].deadline.state = Deadline::State::kExpired;
      EndSide(*name, side, first);
      return true;
    }
    if (own != nullptr) End(*own, Outcome::kTimedOut, own->bound, own->until);
    return own != nullptr;
  }

  const Nanos max_wait_;
  Instant now_;
};

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_MODEL_H_
