#include "waitd/call.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "client/engine/engine.h"
#include "client/engine/op.h"

namespace waitd::internal {
namespace {

// Where a thread waits for an answer.
class Blocked final : public Completion {
 public:
  void Done(absl::StatusOr<Answer> answer) override {
    // Notified under the lock: this is gone as soon as the other thread sees the answer.
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
    came_.notify_one();
  }

  absl::StatusOr<Answer> Await() {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [this] { return answer_.has_value(); });
    return *std::move(answer_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::optional<absl::StatusOr<Answer>> answer_;  // guarded by mutex_
};

}  // namespace

void Start(OpPtr op, Completion& completion) {
  Engine& engine = op->engine;
  engine.Submit(std::unique_ptr<Op>(op.release()), completion);
}

absl::StatusOr<Answer> Run(OpPtr op) {
  if (op->engine.OnClientThread()) {
    return absl::FailedPreconditionError(
        "Get on the client's own thread would wait for itself: use Then or co_await there");
  }
  Blocked blocked;
  Start(std::move(op), blocked);
  return blocked.Await();
}

}  // namespace waitd::internal
