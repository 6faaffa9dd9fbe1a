#ifndef WAITD_SERVER_SESSION_SESSION_CALL_H_
#define WAITD_SERVER_SESSION_SESSION_CALL_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "core/poller.h"
#include "core/waiter.h"
#include "server/api/status.h"
#include "server/rpc/methods.h"
#include "server/rpc/rpc_metrics.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

class SessionOperation;

/// Whose operations these are.
class OperationOwner {
 public:
  virtual ~OperationOwner() = default;

  /// Takes the operation, which has its result. On any thread, once for each.
  virtual void Completed(SessionOperation& operation, core::EffectBatch& batch) = 0;

  virtual std::string_view client() const = 0;
  virtual bool connected() const = 0;

  /// Whose it is, as Visitor::number, and who is charged.
  virtual uint64_t owner() const = 0;
  virtual core::Account* account() const = 0;
};

/// An operation of a session, from its arrival to its result. Threads: as the core's calls; what
/// comes after Completed is its owner's.
class SessionOperation {
 public:
  SessionOperation(OperationOwner& owner, uint64_t id) : owner_(owner), id_(id) {}
  virtual ~SessionOperation() = default;
  SessionOperation(const SessionOperation&) = delete;
  SessionOperation& operator=(const SessionOperation&) = delete;

  /// Writes the result as the client is to read it.
  virtual void Write(const core::Now& now, RpcMetrics& metrics, v1::OperationResult& to) = 0;

  /// For a cancel; null: it does not park.
  virtual core::Parkable* parkable() { return nullptr; }

  /// About how many bytes Write writes.
  virtual size_t size() const { return kSmall; }

  /// Memory that it takes with its result, but for signals, which are charged by themselves.
  virtual size_t held() const { return kHeld; }

  /// Its result was never written, and nobody will ask for it. Once.
  virtual void GiveBack(core::Poller& /*poller*/) {}

  uint64_t id() const { return id_; }

  // Recycled. The sized delete is the match, which the check does not know.
  static void* operator new(size_t size);  // NOLINT(misc-new-delete-overloads)
  static void operator delete(void* bytes, size_t size);

 protected:
  static constexpr size_t kSmall = 64;
  static constexpr size_t kHeld = core::WaitsOf(1).bytes;  // as when it was parked

  /// Last of all: the owner may delete it.
  void Complete(core::EffectBatch& batch) { owner_.Completed(*this, batch); }
  const OperationOwner& owner() const { return owner_; }

 private:
  friend class CompletedOperations;
  OperationOwner& owner_;
  const uint64_t id_;
  SessionOperation* next_ = nullptr;  // of those that were completed
};

/// Finds operations by their ids.
struct OperationId {
  static uint64_t Of(uint64_t id) { return id; }
  static uint64_t Of(const SessionOperation* operation) { return operation->id(); }
  struct Hash {
    using is_transparent = void;
    size_t operator()(const auto& each) const { return absl::HashOf(Of(each)); }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return Of(a) == Of(b); }
  };
};

/// Operations that have their results, until their owner takes them. To add one needs no lock.
///
/// Threads: any; Take by one at a time.
class CompletedOperations {
 public:
  /// True: it is the first since the last Take, and whoever added it sees to the next. When this
  /// returns false, the operation and its owner may be gone.
  [[nodiscard]] bool Add(SessionOperation& operation) {
    SessionOperation* last = last_.load(std::memory_order_relaxed);
    do {
      operation.next_ = last;
      // MO[completed]: acq_rel; pairs with Take, which sees the operation and its result. The first
      // one sees that the former Take has begun, which has no use any more for what notes the next.
    } while (!last_.compare_exchange_weak(last, &operation, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return last == nullptr;
  }

  /// Calls `take` with each, in the order in which they were added; it may delete them.
  void Take(const auto& take) {
    // MO[completed]: acq_rel; pairs with Add, both ways.
    SessionOperation* each = last_.exchange(nullptr, std::memory_order_acq_rel);
    SessionOperation* first = nullptr;
    while (each != nullptr) {
      SessionOperation* const before = std::exchange(each->next_, first);
      first = std::exchange(each, before);
    }
    while (first != nullptr) take(*std::exchange(first, first->next_));
  }

 private:
  std::atomic<SessionOperation*> last_{nullptr};  // each knows the one that was added before
};

/// One that was refused before it got to the core, or one without a result of its own.
class RefusedOperation final : public SessionOperation {
 public:
  RefusedOperation(OperationOwner& owner, uint64_t id, Error error)
      : SessionOperation(owner, id), error_(std::move(error)) {}
  void Write(const core::Now& /*now*/, RpcMetrics& metrics, v1::OperationResult& to) override {
    metrics.Refused(error_.reason);
    server::Write(error_, *to.mutable_error());
  }
  size_t size() const override { return kSmall + error_.message.size() + error_.field.size(); }
  size_t held() const override {
    constexpr size_t kEntry = sizeof(decltype(error_.metadata)::value_type);
    return kHeld + size() + error_.metadata.size() * kEntry;
  }

 private:
  const Error error_;
};

class EmptyOperation final : public SessionOperation {
 public:
  using SessionOperation::SessionOperation;
  void Write(const core::Now& /*now*/, RpcMetrics& /*metrics*/,
             v1::OperationResult& /*to*/) override {}
};

/// What a session's operation is for the core: one that parks is shown by its session's client.
template <class Base>
class ShownCall : public Base, public SessionOperation {
 public:
  using SessionOperation::SessionOperation;
  core::Account* account() const override { return owner().account(); }
};
template <class R>
class ShownCall<core::ParkingCall<R>> : public core::ParkingCall<R>, public SessionOperation {
 public:
  using SessionOperation::SessionOperation;
  core::Account* account() const override { return owner().account(); }
  std::string_view client() const override { return owner().client(); }
  bool connected() const override { return owner().connected(); }
  uint64_t caller() const override { return owner().owner(); }
  core::Parkable* parkable() override { return this; }
  void GiveBack(core::Poller& poller) override { poller.Unwritten(*this, core::Nanos(0)); }
};

/// One that the core carries out. T says which (methods.h).
template <class T>
class SessionCall final : public ShownCall<typename T::CoreCall> {
 public:
  static constexpr bool kParks = std::is_base_of_v<core::Parkable, typename T::CoreCall>;

  using ShownCall<typename T::CoreCall>::ShownCall;

  void Done() override {
    core::EffectBatch alone;
    DoneIn(alone);
  }
  void DoneIn(core::EffectBatch& batch) override { this->Complete(batch); }

  void Write(const core::Now& now, RpcMetrics& metrics, v1::OperationResult& to) override {
    if (const auto* const refusal = std::get_if<core::Refusal>(&this->result())) {
      Error error = ToError(*refusal);
      if (error.field.empty()) error.field = T::FieldOf(*refusal);
      metrics.Refused(error.reason);
      server::Write(error, *to.mutable_error());
      return;
    }
    using Result = typename T::CoreCall::Answer;
    const auto& answer = std::get<Result>(this->result());
    if constexpr (kParks) {
      if (answer.outcome == core::Outcome::kCancelled) {
        to.mutable_error()->set_code(static_cast<int>(grpc::StatusCode::CANCELLED));
        to.mutable_error()->set_message("the operation was cancelled");
        return;
      }
      metrics.Woke(now, answer);
    }
    T::Answer(now, answer, *T::ResultIn(to));
  }

  size_t size() const override {
    const auto* const refusal = std::get_if<core::Refusal>(&this->result());
    if (refusal != nullptr) return this->kSmall + refusal->name.size() + refusal->waiter.size();
    [[maybe_unused]] const auto& answer = std::get<typename T::CoreCall::Answer>(this->result());
    size_t sum = this->kSmall;
    if constexpr (std::is_same_v<T, WaitMethod>) {
      if (answer.signal != nullptr) sum += answer.signal->size();
    } else if constexpr (std::is_same_v<T, PollMethod>) {
      for (const auto& target : answer.targets) {
        sum += this->kSmall + (target.signal() == nullptr ? 0 : target.signal()->size());
      }
    } else if constexpr (std::is_same_v<T, OpenMethod>) {
      sum += answer.descriptor.name.size() + answer.descriptor.owner.size();
      for (const auto& [key, value] : answer.descriptor.labels) sum += key.size() + value.size();
    }
    return sum;
  }

  size_t held() const override {
    const auto* const refusal = std::get_if<core::Refusal>(&this->result());
    if (refusal != nullptr) return this->kHeld + refusal->name.size() + refusal->waiter.size();
    [[maybe_unused]] const auto& answer = std::get<typename T::CoreCall::Answer>(this->result());
    size_t sum = std::max(this->kHeld, sizeof(*this));
    if constexpr (std::is_same_v<T, PollMethod>) {
      sum += answer.targets.size() * sizeof(answer.targets.front());
    } else if constexpr (std::is_same_v<T, OpenMethod>) {
      sum += size() + answer.descriptor.labels.size() * sizeof(core::Labels::value_type);
    }
    return sum;
  }
};
static_assert(sizeof(SessionCall<WaitMethod>) <= 96, "a parked wait is promised to be small");

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSION_CALL_H_
