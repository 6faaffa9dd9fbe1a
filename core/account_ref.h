#ifndef WAITD_CORE_ACCOUNT_REF_H_
#define WAITD_CORE_ACCOUNT_REF_H_

#include <utility>

namespace waitd::core {

class Account;

/// Refers to an account (budget.h), which lasts as long; null: nobody in particular is charged.
/// What is charged to somebody keeps one. Threads: as what it is part of.
class AccountRef {
 public:
  AccountRef() = default;
  explicit AccountRef(Account* account) : account_(account) { Hold(); }
  AccountRef(const AccountRef& from) : account_(from.account_) { Hold(); }
  AccountRef(AccountRef&& from) noexcept : account_(std::exchange(from.account_, nullptr)) {}
  AccountRef& operator=(AccountRef from) noexcept {
    std::swap(account_, from.account_);
    return *this;
  }
  ~AccountRef() {
    if (account_ != nullptr) Drop();
  }

  Account* get() const { return account_; }

 private:
  void Hold() const;
  void Drop();

  Account* account_ = nullptr;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_ACCOUNT_REF_H_
