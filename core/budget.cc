#include "core/budget.h"

namespace waitd::core {

void AccountRef::Hold() const {
  // Relaxed: who copies it has one already, or the budget's lock.
  if (account_ != nullptr) account_->refs_.fetch_add(1, std::memory_order_relaxed);
}

void AccountRef::Drop() {
  Budget& budget = account_->budget_;
  const uint64_t key = account_->key_;  // afterwards it may be gone
  // MO[account]: release, and acquire in Close: what others did with it comes before its end.
  if (account_->refs_.fetch_sub(1, std::memory_order_release) == 1) budget.Close(key);
}

AccountRef Budget::Open(uint64_t key) {
  const MutexLock lock(mutex_);
  std::unique_ptr<Account>& account = accounts_[key];
  if (account == nullptr) account = std::make_unique<Account>(*this, key);
  return AccountRef(account.get());
}

// The last reference of this account went; it may have been opened anew since then, or be gone
// already, when that went, too.
void Budget::Close(uint64_t key) {
  std::unique_ptr<Account> gone;
  {
    const MutexLock lock(mutex_);
    const auto found = accounts_.find(key);
    if (found == accounts_.end()) return;
    // MO[account]: acquire, as above.
    if (found->second->refs_.load(std::memory_order_acquire) > 0) return;
    gone = std::move(found->second);
    accounts_.erase(found);
  }
}

}  // namespace waitd::core
