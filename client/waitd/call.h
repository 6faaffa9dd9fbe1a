#ifndef WAITD_CALL_H_
#define WAITD_CALL_H_

#include <coroutine>
#include <memory>
#include <utility>
#include <variant>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "waitd/types.h"

namespace waitd {

namespace internal {

struct Op;
struct OpDeleter {
  void operator()(Op* op) const;
};
using OpPtr = std::unique_ptr<Op, OpDeleter>;

/// In the order of Request::what (engine/op.h): what an operation is answered with stands where the
/// operation does.
using Answer = std::variant<std::monostate, OpenResult, CloseResult, ResetResult, WaitResult,
                            ReadyResult, DeadlineResult, PollResult, AckResult>;

/// Where the answer of an operation goes. Lifetime: until Done is called, which happens exactly
/// once, on the client's thread; it may delete itself then.
class Completion {
 public:
  virtual void Done(absl::StatusOr<Answer> answer) = 0;

 protected:
  ~Completion() = default;
};

void Start(OpPtr op, Completion& completion);
absl::StatusOr<Answer> Run(OpPtr op);

template <class T>
absl::StatusOr<T> Unwrap(absl::StatusOr<Answer> answer) {
  if (!answer.ok()) return std::move(answer).status();
  return std::get<T>(*std::move(answer));
}

}  // namespace internal

/// One call that has not begun. It begins, once, in one of three forms:
///
///     auto result = client.Wait("build/42").Get();      // blocks
///     client.Wait("build/42").Then(callback);           // calls back, with what Get returns
///     auto result = co_await client.Wait("build/42");   // suspends
///
/// What is dropped without one of them is never sent.
///
/// Threads:  begins on any one thread. Then's callback and the code after co_await run on the
///           client's thread: they are quick, never block, and let no exception out; they may begin
///           further calls, but for Get.
/// Lifetime: begins before the client is destroyed. A coroutine that awaits may not be destroyed
///           before it is resumed; stop it by its stop_token, or end the client.
/// Errors:   CANCELLED when it was stopped or the client ended first; DEADLINE_EXCEEDED when no
///           answer came in time, and what the call did, if anything, is not known; otherwise what
///           the server, or the check before it was sent, refuses it with: see ReasonOf.
template <class T>
class [[nodiscard]] Call {
 public:
  explicit Call(internal::OpPtr op) : op_(std::move(op)) {}

  /// Waits for the answer. On the client's own thread, which it would block for ever, it is
  /// FAILED_PRECONDITION and nothing is sent.
  absl::StatusOr<T> Get() && { return internal::Unwrap<T>(internal::Run(std::move(op_))); }

  /// Hands the answer to `done`, exactly once.
  void Then(absl::AnyInvocable<void(absl::StatusOr<T>)> done) && {
    internal::Start(std::move(op_), *new Callback(std::move(done)));
  }

  auto operator co_await() && { return Awaiter(std::move(op_)); }

 private:
  class Callback final : public internal::Completion {
   public:
    explicit Callback(absl::AnyInvocable<void(absl::StatusOr<T>)> done) : done_(std::move(done)) {}
    void Done(absl::StatusOr<internal::Answer> answer) override {
      const std::unique_ptr<Callback> self(this);
      done_(internal::Unwrap<T>(std::move(answer)));
    }

   private:
    absl::AnyInvocable<void(absl::StatusOr<T>)> done_;
  };

  // Lives in the frame of the coroutine that awaits it.
  class Awaiter final : public internal::Completion {
   public:
    explicit Awaiter(internal::OpPtr op) : op_(std::move(op)) {}
    bool await_ready() const noexcept { return false; }
    // The answer may come, and the frame be gone, before this returns: it is not touched again.
    void await_suspend(std::coroutine_handle<> waiting) {
      waiting_ = waiting;
      internal::Start(std::move(op_), *this);
    }
    absl::StatusOr<T> await_resume() { return internal::Unwrap<T>(std::move(answer_)); }
    void Done(absl::StatusOr<internal::Answer> answer) override {
      answer_ = std::move(answer);
      waiting_.resume();
    }

   private:
    internal::OpPtr op_;
    std::coroutine_handle<> waiting_;
    absl::StatusOr<internal::Answer> answer_;
  };

  internal::OpPtr op_;
};

}  // namespace waitd

#endif  // WAITD_CALL_H_
