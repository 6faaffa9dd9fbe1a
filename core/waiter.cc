#include "core/waiter.h"

#include "core/check.h"

namespace waitd::core {
namespace {

// The claim word: the state in the low two bits, above them how many targets can still be lost.
constexpr uint32_t kIdle = 0;
constexpr uint32_t kPublished = 1;
constexpr uint32_t kParked = 2;
constexpr uint32_t kClaimed = 3;
constexpr uint32_t kStateMask = 3;
constexpr uint32_t kOneSpare = 4;

}  // namespace

void Waiter::Publish(uint32_t spare) {
  // MO[claim-publish]: release; pairs with the acquire of Claim and Lose. Who finds the waiter in
  // a place sees all that the parking thread wrote before.
  word_.store(kPublished + spare * kOneSpare, std::memory_order_release);
}

bool Waiter::CommitPark() {
  // MO[claim-commit]: acq_rel; pairs with Claim and Lose. One modification order of one word
  // decides between the two: either this fails and the parking thread sees the claim, or the
  // claimer sees kParked and finishes the wait. No second word is read, so no fence is needed.
  uint32_t word = word_.load(std::memory_order_relaxed);  // a stale value fails the exchange
  while ((word & kStateMask) == kPublished) {
    const uint32_t parked = (word & ~kStateMask) | kParked;
    if (word_.compare_exchange_weak(word, parked, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      return true;
    }
  }
  WAITD_CHECK((word & kStateMask) == kClaimed, "a waiter commits that was never published");
  return false;
}

Waiter::Claimed Waiter::Claim() {
  // MO[claim-commit]: acq_rel; pairs with CommitPark and with the other claimers.
  // MO[claim-publish]: its acquire half pairs with Publish.
  uint32_t word = word_.load(std::memory_order_relaxed);  // a stale value fails the exchange
  for (;;) {
    const uint32_t state = word & kStateMask;
    if (state != kPublished && state != kParked) return Claimed::kNo;
    if (word_.compare_exchange_weak(word, word | kClaimed, std::memory_order_acq_rel,
                                    std::memory_order_relaxed)) {
      return state == kParked ? Claimed::kParked : Claimed::kBeforePark;
    }
  }
}

Waiter::Claimed Waiter::Lose() {
  // MO[claim-commit]: acq_rel; pairs with CommitPark and with the other claimers.
  // MO[claim-publish]: its acquire half pairs with Publish. What the targets lost before wrote is
  // read under their own locks, not through this word.
  uint32_t word = word_.load(std::memory_order_relaxed);  // a stale value fails the exchange
  for (;;) {
    const uint32_t state = word & kStateMask;
    if (state != kPublished && state != kParked) return Claimed::kNo;
    const bool last = word < kOneSpare;
    const uint32_t after = last ? kClaimed : word - kOneSpare;
    if (word_.compare_exchange_weak(word, after, std::memory_order_acq_rel,
                                    std::memory_order_relaxed)) {
      if (!last) return Claimed::kSpared;
      return state == kParked ? Claimed::kParked : Claimed::kBeforePark;
    }
  }
}

bool Waiter::claimed() const {
  // MO[claim-commit]: acquire; pairs with the claimers.
  return (word_.load(std::memory_order_acquire) & kStateMask) == kClaimed;
}

void Waiter::Recycle() {
  // Relaxed: no place holds the waiter, and the home shard's lock orders this before its next use.
  word_.store(kIdle, std::memory_order_relaxed);
  Renew();
  set_when(kNever);
  bound = TimeoutCause::kWait;
  ignore_deadline = false;
}

}  // namespace waitd::core
