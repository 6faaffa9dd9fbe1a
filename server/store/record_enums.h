#ifndef WAITD_SERVER_STORE_RECORD_ENUMS_H_
#define WAITD_SERVER_STORE_RECORD_ENUMS_H_

#include "core/delivery.h"
#include "core/ids.h"
#include "core/types.h"
#include "server/store/record.pb.h"

namespace waitd::server {

/// Ties an enum of the core to the stored one, whose numbers stand one above: a core that gives one
/// of its values another number must not compile, for every store out there would be misread.
template <class C>
struct StoredEnum;

template <class S, int kCount>
struct StoredEnumOf {
  using Stored = S;
  static constexpr int count = kCount;
};

template <>
struct StoredEnum<core::Kind> : StoredEnumOf<store::v1::Kind, 3> {};
template <>
struct StoredEnum<core::Side> : StoredEnumOf<store::v1::Side, 2> {};
template <>
struct StoredEnum<core::IdUse> : StoredEnumOf<store::v1::IdUse, 2> {};
template <>
struct StoredEnum<core::Delivery::State> : StoredEnumOf<store::v1::DeliveryState, 5> {};
template <>
struct StoredEnum<core::Outcome> : StoredEnumOf<store::v1::Outcome, 4> {};
template <>
struct StoredEnum<core::TimeoutCause> : StoredEnumOf<store::v1::TimeoutCause, 4> {};
template <>
struct StoredEnum<core::ReadyEffect> : StoredEnumOf<store::v1::ReadyEffect, 4> {};
template <>
struct StoredEnum<core::Deadline::State> : StoredEnumOf<store::v1::DeadlineState, 3> {};
template <>
struct StoredEnum<core::DeadlineEffect> : StoredEnumOf<store::v1::DeadlineEffect, 8> {};
template <>
struct StoredEnum<core::SemaphoreState> : StoredEnumOf<store::v1::SemaphoreState, 3> {};

template <class C>
constexpr typename StoredEnum<C>::Stored ToStored(C value) {
  return static_cast<typename StoredEnum<C>::Stored>(static_cast<int>(value) + 1);
}

/// Whether it is one of the core's.
template <class C>
constexpr bool FromStored(typename StoredEnum<C>::Stored stored, C* value) {
  const int number = static_cast<int>(stored) - 1;
  if (number < 0 || number >= StoredEnum<C>::count) return false;
  *value = static_cast<C>(number);
  return true;
}

namespace stored_enums {
using core::DeadlineEffect;
using core::IdUse;
using core::Kind;
using core::Outcome;
using core::ReadyEffect;
using core::SemaphoreState;
using core::Side;
using core::TimeoutCause;
using DeadlineState = core::Deadline::State;
using DeliveryState = core::Delivery::State;
static_assert(ToStored(Kind::kExclusive) == store::v1::KIND_EXCLUSIVE);
static_assert(ToStored(Kind::kFifo) == store::v1::KIND_FIFO);
static_assert(ToStored(Kind::kLatch) == store::v1::KIND_LATCH);
static_assert(ToStored(Side::kRead) == store::v1::SIDE_READ);
static_assert(ToStored(Side::kWrite) == store::v1::SIDE_WRITE);
static_assert(ToStored(IdUse::kWait) == store::v1::ID_USE_WAIT);
static_assert(ToStored(IdUse::kRequest) == store::v1::ID_USE_REQUEST);
static_assert(ToStored(DeliveryState::kKept) == store::v1::DELIVERY_STATE_KEPT);
static_assert(ToStored(DeliveryState::kPending) == store::v1::DELIVERY_STATE_PENDING);
static_assert(ToStored(DeliveryState::kReturned) == store::v1::DELIVERY_STATE_RETURNED);
static_assert(ToStored(DeliveryState::kAcked) == store::v1::DELIVERY_STATE_ACKED);
static_assert(ToStored(DeliveryState::kStale) == store::v1::DELIVERY_STATE_STALE);
static_assert(ToStored(Outcome::kReady) == store::v1::OUTCOME_READY);
static_assert(ToStored(Outcome::kTimedOut) == store::v1::OUTCOME_TIMED_OUT);
static_assert(ToStored(Outcome::kClosed) == store::v1::OUTCOME_CLOSED);
static_assert(ToStored(Outcome::kCancelled) == store::v1::OUTCOME_CANCELLED);
static_assert(ToStored(TimeoutCause::kNone) == store::v1::TIMEOUT_CAUSE_NONE);
static_assert(ToStored(TimeoutCause::kDeadline) == store::v1::TIMEOUT_CAUSE_DEADLINE);
static_assert(ToStored(TimeoutCause::kWait) == store::v1::TIMEOUT_CAUSE_WAIT);
static_assert(ToStored(TimeoutCause::kMaxWait) == store::v1::TIMEOUT_CAUSE_MAX_WAIT);
static_assert(ToStored(ReadyEffect::kWoke) == store::v1::READY_EFFECT_WOKE);
static_assert(ToStored(ReadyEffect::kRemembered) == store::v1::READY_EFFECT_REMEMBERED);
static_assert(ToStored(ReadyEffect::kCoalesced) == store::v1::READY_EFFECT_COALESCED);
static_assert(ToStored(ReadyEffect::kRefused) == store::v1::READY_EFFECT_REFUSED);
static_assert(ToStored(DeadlineState::kNone) == store::v1::DEADLINE_STATE_NONE);
static_assert(ToStored(DeadlineState::kArmed) == store::v1::DEADLINE_STATE_ARMED);
static_assert(ToStored(DeadlineState::kExpired) == store::v1::DEADLINE_STATE_EXPIRED);
static_assert(ToStored(DeadlineEffect::kNone) == store::v1::DEADLINE_EFFECT_NONE);
static_assert(ToStored(DeadlineEffect::kArmed) == store::v1::DEADLINE_EFFECT_ARMED);
static_assert(ToStored(DeadlineEffect::kExtended) == store::v1::DEADLINE_EFFECT_EXTENDED);
static_assert(ToStored(DeadlineEffect::kShortened) == store::v1::DEADLINE_EFFECT_SHORTENED);
static_assert(ToStored(DeadlineEffect::kUnchanged) == store::v1::DEADLINE_EFFECT_UNCHANGED);
static_assert(ToStored(DeadlineEffect::kCleared) == store::v1::DEADLINE_EFFECT_CLEARED);
static_assert(ToStored(DeadlineEffect::kExpired) == store::v1::DEADLINE_EFFECT_EXPIRED);
static_assert(ToStored(DeadlineEffect::kRefused) == store::v1::DEADLINE_EFFECT_REFUSED);
static_assert(ToStored(SemaphoreState::kNil) == store::v1::SEMAPHORE_STATE_NIL);
static_assert(ToStored(SemaphoreState::kReady) == store::v1::SEMAPHORE_STATE_READY);
static_assert(ToStored(SemaphoreState::kWaiting) == store::v1::SEMAPHORE_STATE_WAITING);
}  // namespace stored_enums

}  // namespace waitd::server

#endif  // WAITD_SERVER_STORE_RECORD_ENUMS_H_
