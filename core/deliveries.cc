// Signals that have left their semaphore, and may come back.
#include <memory>
#include <utility>

#include "core/check.h"
#include "core/poll_desc.h"
#include "core/step.h"

namespace waitd::core {

using DeliveryState = Delivery::State;

namespace {

constexpr Amount kOne = Amount::Whole(sizeof(Delivery));

// It is there whether or not there is room: that was asked for when its wait began.
void HoldOne(DescEnv& env, const AccountRef& whose) {
  env.budget.Add(Held::kDeliveries, whose.get(), kOne);
}
void LetGoOne(DescEnv& env, const AccountRef& whose) {
  env.budget.Give(Held::kDeliveries, whose.get(), kOne);
}

// So many leave the sum of all; each one's account is told in its turn.
void LetGo(DescEnv& env, uint64_t many) {
  env.budget.GiveOfAll(Held::kDeliveries, {many, many * kOne.bytes});
}

void AddReturned(DescEnv& env, Delivery& delivery) {
  delivery.owner->returned.emplace(delivery.number, &delivery);
  ++env.counters.returned;
  HoldOne(env, delivery.account);
}

}  // namespace

Deliveries& PollDesc::deliveries(Side s) {
  SideExtra& at = extra(s);
  if (at.deliveries == nullptr) {
    at.deliveries = std::make_unique<Deliveries>();
    at.deliveries->desc = this;
  }
  return *at.deliveries;
}

Delivery* PollDesc::FindDelivery(Side s, uint64_t number) const {
  const Deliveries* const all = side(s).deliveries();
  if (all == nullptr) return nullptr;
  const auto found = all->all.find(number);
  return found == all->all.end() ? nullptr : found->second;
}

Delivery& PollDesc::Deliver(const WaitResult& taken, DeliveryState state, Instant alarm,
                            const AccountRef& whose) {
  Delivery& delivery = AddDelivery(taken, state, alarm, whose);
  if (state == DeliveryState::kKept) return delivery;
  Touch();  // whoever sees one more waits for it, too
  env_.unsaved.Touch(delivery);
  return delivery;
}

// What Deliver does, but for what is to be saved.
Delivery& PollDesc::AddDelivery(const WaitResult& taken, DeliveryState state, Instant alarm,
                                const AccountRef& whose) {
  Deliveries& owner = deliveries(taken.side);
  Delivery& delivery = env_.deliveries.Get();
  WAITD_CHECK(owner.all.emplace(taken.delivery, &delivery).second, "a delivery is there twice");
  delivery.owner = &owner;
  delivery.account = whose;
  delivery.state = state;
  delivery.generation = generation_;
  delivery.side = taken.side;
  delivery.number = taken.delivery;
  delivery.attempt = taken.attempt;
  delivery.coalesced = taken.coalesced;
  delivery.signal = taken.signal;
  delivery.ready_time = taken.ready_time;
  delivery.acknowledgeable = state == DeliveryState::kPending;
  if (state == DeliveryState::kPending) {
    ++owner.pending;
    ++env_.counters.unacked;
    HoldOne(env_, whose);
  } else if (state == DeliveryState::kKept) {
    ++owner.kept;
    HoldOne(env_, whose);
  } else if (state == DeliveryState::kReturned) {
    AddReturned(env_, delivery);
  }
  delivery.set_when(alarm);
  if (alarm != kNever) env_.timers.Arm(delivery, alarm);
  return delivery;
}

// It leaves the state in which it is.
void PollDesc::LeaveState(Delivery& delivery) {
  Deliveries& owner = *delivery.owner;
  env_.timers.Cancel(delivery);
  delivery.Renew();  // one on its way here is of that state
  delivery.answer.reset();
  switch (delivery.state) {
    case DeliveryState::kKept:
      --owner.kept;
      LetGoOne(env_, delivery.account);
      break;
    case DeliveryState::kPending:
      --owner.pending;
      --env_.counters.unacked;
      LetGoOne(env_, delivery.account);
      break;
    case DeliveryState::kReturned:
      if (owner.returned.erase(delivery.number) > 0) {  // else a Reset has forgotten it
        --env_.counters.returned;
        LetGo(env_, 1);
      }
      env_.budget.GiveOwn(Held::kDeliveries, delivery.account.get(), kOne);
      break;
    case DeliveryState::kAcked:
    case DeliveryState::kStale:
      break;
  }
  if (delivery.state != DeliveryState::kKept) {
    Touch();
    env_.unsaved.Touch(delivery);
  }
}

void PollDesc::EndDelivery(Delivery& delivery) {
  LeaveState(delivery);
  delivery.owner->all.erase(delivery.number);
  FreeDelivery(env_, delivery);
}

void PollDesc::FreeDelivery(DescEnv& env, Delivery& delivery) {
  WAITD_CHECK(delivery.bytes == 0, "a delivery goes that is in the list of those to be forgotten");
  env.unsaved.Gone(delivery);
  delivery.signal = nullptr;
  delivery.answer.reset();
  delivery.wait_id.clear();
  delivery.caller = 0;
  delivery.account = {};
  delivery.owner = nullptr;
  env.deliveries.Put(delivery);
}

void PollDesc::Retire(Step& step, Delivery& delivery, DeliveryState state) {
  if (!delivery.acknowledgeable) return EndDelivery(delivery);
  LeaveState(delivery);
  delivery.state = state;
  delivery.signal = nullptr;
  step.poller().Age(step, env_, delivery, sizeof(Delivery), step.now().mono);
}

bool PollDesc::WasReset(Side s, uint64_t number) const {
  const auto& extra = side(s).extra;
  return extra != nullptr && number <= extra->reset_through;
}

bool PollDesc::Return(Step& step, Delivery& delivery) {
  if (WasReset(delivery.side, delivery.number)) {
    Retire(step, delivery, DeliveryState::kStale);
    return false;
  }
  LeaveState(delivery);
  delivery.state = DeliveryState::kReturned;
  AddReturned(env_, delivery);
  Touch();
  env_.unsaved.Touch(delivery);
  HandOut(step, delivery.side);
  return true;
}

bool PollDesc::Return(Step& step, const WaitResult& taken) {
  if (WasReset(taken.side, taken.delivery)) return false;
  Deliver(taken, DeliveryState::kReturned, kNever, {});
  HandOut(step, taken.side);
  return true;
}

// A signal has come back to this side.
void PollDesc::HandOut(Step& step, Side s) {
  NoteUse(step.now().mono);
  uint32_t woken = 0;
  if (step.units_left() > 0) {
    Serve(step, s, &woken);
  } else {
    RecountLater(s, true);
  }
  Recount(step, s);
}

uint64_t PollDesc::deliveries_held(Side s) const {
  const auto& extra = side(s).extra;
  if (extra == nullptr) return 0;
  const Deliveries* const all = extra->deliveries.get();
  return extra->reserved + (all == nullptr ? 0 : all->held());
}

void PollDesc::ReserveDelivery(Side s, const AccountRef& whose) {
  ++extra(s).reserved;
  HoldOne(env_, whose);
}

void PollDesc::EndReservation(Side s, const AccountRef& whose) {
  --extra(s).reserved;
  LetGoOne(env_, whose);
}

/// Retires signals that had come back, and that a Reset has forgotten.
class PollDesc::RetireWork final : public Work {
 public:
  RetireWork(PollDesc& desc, absl::btree_map<uint64_t, Delivery*> forgotten)
      : desc_(desc), generation_(desc.generation()), forgotten_(std::move(forgotten)) {}

  bool Run(Step& step) override {
    if (!Lives(&desc_, generation_)) return true;
    while (!forgotten_.empty()) {
      if (!step.Spend(1)) return false;
      desc_.Retire(step, *forgotten_.begin()->second, DeliveryState::kStale);
      forgotten_.erase(forgotten_.begin());
    }
    return true;
  }

 private:
  PollDesc& desc_;
  const uint64_t generation_;
  absl::btree_map<uint64_t, Delivery*> forgotten_;
};

void PollDesc::ForgetReturned(Step& step, Side s) {
  auto& returned = deliveries(s).returned;
  env_.counters.returned -= returned.size();
  LetGo(env_, returned.size());
  auto work = std::make_unique<RetireWork>(*this, std::exchange(returned, {}));
  if (!work->Run(step)) env_.work.Push(std::move(work));
}

/// Frees the deliveries of a name that was closed.
class PollDesc::DisposeWork final : public Work {
 public:
  DisposeWork(DescEnv& env, std::unique_ptr<Deliveries> deliveries)
      : env_(env), deliveries_(std::move(deliveries)) {}

  ShardSet Needs() const override {
    return deliveries_->all.empty() ? 0 : Home(*deliveries_->all.begin()->second);
  }

  bool Run(Step& step) override {
    auto& all = deliveries_->all;
    for (auto it = all.begin(); it != all.end(); it = all.erase(it)) {
      Delivery& delivery = *it->second;
      if (!step.Holds(Home(delivery)) || !step.Spend(1)) return false;
      env_.timers.Cancel(delivery);
      delivery.Renew();
      if (delivery.state == DeliveryState::kAcked || delivery.state == DeliveryState::kStale) {
        step.poller().Unage(env_, delivery);  // if it was not forgotten meanwhile
      } else {
        env_.budget.GiveOwn(Held::kDeliveries, delivery.account.get(), kOne);
      }
      if (delivery.state == DeliveryState::kReturned) deliveries_->returned.erase(delivery.number);
      if (delivery.answer != nullptr) step.poller().AgeKept(step, *delivery.answer);
      FreeDelivery(env_, delivery);
    }
    return true;
  }

 private:
  // Of the answer that a kept one is part of.
  static ShardSet Home(const Delivery& delivery) {
    return delivery.answer == nullptr ? 0 : SetOf(delivery.answer->shard);
  }

  DescEnv& env_;
  const std::unique_ptr<Deliveries> deliveries_;
};

void PollDesc::Dispose(Step& step, Side s) {
  SideState& side = at(s);
  if (side.deliveries() == nullptr) return;
  std::unique_ptr<Deliveries> gone = std::move(side.extra->deliveries);
  gone->desc = nullptr;
  env_.counters.unacked -= gone->pending;
  env_.counters.returned -= gone->returned.size();
  LetGo(env_, gone->held());
  auto work = std::make_unique<DisposeWork>(env_, std::move(gone));
  if (!work->Run(step)) env_.work.Push(std::move(work));
}

}  // namespace waitd::core
