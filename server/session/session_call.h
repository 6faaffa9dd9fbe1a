#ifndef WAITD_SERVER_SESSION_SESSION_CALL_H_
#define WAITD_SERVER_SESSION_SESSION_CALL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/poller.h"
#include "server/api/status.h"
#include "server/rpc/methods.h"
#include "server/rpc/rpc_metrics.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

class SessionOperation;

/// Where the results of a session's operations go.
class Outbox {
 public:
  virtual ~Outbox() = default;

  /// Takes the operation, which has its result. On any thread, once for each.
  virtual void Completed(SessionOperation& operation) = 0;

  /// Of the name that the core refused, as it was asked for: empty unless this thread is carrying
  /// out the message that asked.
  virtual std::string_view NameOf(const SessionOperation& operation,
                                  const core::Refusal& refusal) const = 0;

  virtual std::string_view client() const = 0;
  virtual bool connected() const = 0;

  /// Whose it is, as Visitor::number.
  virtual uint64_t owner() const = 0;
};

/// An operation of a session, from its arrival to its result. Threads: as the core's calls; what
/// comes after Completed is the outbox's.
class SessionOperation {
 public:
  SessionOperation(Outbox& outbox, uint64_t id) : outbox_(outbox), id_(id) {}
  virtual ~SessionOperation() = default;
  SessionOperation(const SessionOperation&) = delete;
  SessionOperation& operator=(const SessionOperation&) = delete;

  /// Writes the result as the client is to read it.
  virtual void Write(const core::Now& now, RpcMetrics& metrics, v1::OperationResult& to) = 0;

  /// For a cancel; null: it does not park.
  virtual core::Parkable* parkable() { return nullptr; }

  /// Whether it is the core that completes it.
  virtual bool in_core() const { return false; }

  /// About how many bytes Write writes.
  virtual size_t size() const { return kSmall; }

  /// Its result was never written, and nobody will ask for it. Once.
  virtual void GiveBack(core::Poller& /*poller*/) {}

  uint64_t id() const { return id_; }

  // Recycled. The sized delete is the match, which the check does not know.
  static void* operator new(size_t size);  // NOLINT(misc-new-delete-overloads)
  static void operator delete(void* bytes, size_t size);

 protected:
  static constexpr size_t kSmall = 64;

  /// Last of all: the outbox may delete it.
  void Complete() { outbox_.Completed(*this); }
  const Outbox& outbox() const { return outbox_; }

 private:
  Outbox& outbox_;
  const uint64_t id_;
};

/// One that was refused before it got to the core, or one without a result of its own.
class RefusedOperation final : public SessionOperation {
 public:
  RefusedOperation(Outbox& outbox, uint64_t id, Error error)
      : SessionOperation(outbox, id), error_(std::move(error)) {}
  void Write(const core::Now& /*now*/, RpcMetrics& metrics, v1::OperationResult& to) override {
    metrics.Refused(error_.reason);
    server::Write(error_, *to.mutable_error());
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
};
template <class R>
class ShownCall<core::ParkingCall<R>> : public core::ParkingCall<R>, public SessionOperation {
 public:
  using SessionOperation::SessionOperation;
  std::string_view client() const override { return outbox().client(); }
  bool connected() const override { return outbox().connected(); }
  uint64_t caller() const override { return outbox().owner(); }
  core::Parkable* parkable() override { return this; }
  void GiveBack(core::Poller& poller) override { poller.Unwritten(*this, core::Nanos(0)); }
};

/// One that the core carries out. T says which (methods.h).
template <class T>
class SessionCall final : public ShownCall<typename T::CoreCall> {
 public:
  static constexpr bool kParks = std::is_base_of_v<core::Parkable, typename T::CoreCall>;

  using ShownCall<typename T::CoreCall>::ShownCall;

  bool in_core() const override { return true; }

  void Done() override {
    if (const auto* const refusal = std::get_if<core::Refusal>(&this->result())) {
      // What is refused later, such as by a drain, says nothing of its name.
      const std::string_view name = this->outbox().NameOf(*this, *refusal);
      error_ = std::make_unique<Error>(ToError(*refusal, name));
      if (error_->field.empty()) error_->field = T::FieldOf(*refusal);
    }
    this->Complete();
  }

  void Write(const core::Now& now, RpcMetrics& metrics, v1::OperationResult& to) override {
    if (error_ != nullptr) {
      metrics.Refused(error_->reason);
      server::Write(*error_, *to.mutable_error());
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
    if constexpr (std::is_same_v<T, WaitMethod>) {
      const auto* const answer = std::get_if<core::WaitResult>(&this->result());
      if (answer != nullptr && answer->signal != nullptr)
        return this->kSmall + answer->signal->size();
    } else if constexpr (std::is_same_v<T, PollMethod>) {
      size_t sum = this->kSmall;
      const auto* const answer = std::get_if<core::PollResult>(&this->result());
      if (answer == nullptr) return sum;
      for (const auto& target : answer->targets) {
        sum += this->kSmall + (target.signal() == nullptr ? 0 : target.signal()->size());
      }
      return sum;
    }
    return this->kSmall;
  }

 private:
  std::unique_ptr<Error> error_;
};
static_assert(sizeof(SessionCall<WaitMethod>) <= 96, "a parked wait is promised to be small");

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSION_CALL_H_
