#include "waitd/heartbeat.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "client/engine/status.h"
#include "client/transport/connection.h"

namespace waitd {
namespace {

// A third, so that two beats may be lost before the deadline passes.
constexpr int kBeatsPerTtl = 3;

bool Expired(const DeadlineResult& result) { return result.read.expired || result.write.expired; }

absl::Status ExpiredError(std::string_view name) {
  return internal::Refusal(absl::StatusCode::kFailedPrecondition, "EXPIRED", "",
                           "the deadline of " + std::string(name) + " has passed");
}

// What another beat may overcome.
bool Passes(absl::StatusCode code) {
  return code == absl::StatusCode::kDeadlineExceeded ||
         code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kUnavailable;
}

}  // namespace

/// What the beats share with their Heartbeat, which may be gone when one is answered.
///
/// Threads:  beats run on the client's thread, one after the other.
/// Lifetime: by the last of its Heartbeat and the beat that is under way.
class Heartbeat::State : public std::enable_shared_from_this<State> {
 public:
  State(internal::Connection& connection, std::string_view name, absl::Duration ttl,
        const HeartbeatOptions& options)
      : connection_(connection), name_(name), ttl_(ttl), options_(options) {}

  absl::Status Begin() {
    // The connection may have to be made first, so that this one has the time of any call.
    const internal::Instant sent = connection_.clock().Now();
    absl::StatusOr<DeadlineResult> first = Beat(connection_.call_timeout()).Get();
    if (!first.ok()) return first.status();
    if (Expired(*first)) return ExpiredError(name_);
    confirmed_ = sent;
    options_.generation = first->generation;
    Pause();
    return absl::OkStatus();
  }

  void Stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }

  std::stop_token lost() const { return lost_.get_token(); }

  absl::Status status() const {
    const std::lock_guard lock(mutex_);
    return status_;
  }

  uint64_t generation() const { return options_.generation; }

 private:
  // A third of the ttl between two beats.
  class Timer final : public internal::Completion {
   public:
    explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}
    void Done(absl::StatusOr<internal::Answer> answer) override {
      const std::unique_ptr<Timer> self(this);
      if (answer.ok()) state_->Next();
    }

   private:
    const std::shared_ptr<State> state_;
  };

  Call<DeadlineResult> Beat(absl::Duration allowance) {
    const DeadlineOptions options = {.mode = options_.mode,
                                     .condition = DeadlineCondition::kArmOrExtend,
                                     .open_if_missing = options_.open_if_missing,
                                     .generation = options_.generation};
    return Call<DeadlineResult>(connection_.Make(
        {.name = name_, .id = {}, .what = internal::DeadlineCall(ttl_, options)}, allowance));
  }

  void Pause() {
    internal::Start(connection_.Make({}, ttl_ / kBeatsPerTtl), *new Timer(shared_from_this()));
  }

  bool stopped() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

  // The next beat goes out when its time has come, whether or not this one is answered by then.
  void Next() {
    if (stopped()) return;
    const internal::Instant now = connection_.clock().Now();
    if (now - confirmed_ >= ttl_) {
      Lose(absl::DeadlineExceededError("no heartbeat got through to " + name_));
      return;
    }
    Beat(ttl_ / kBeatsPerTtl)
        .Then([self = shared_from_this(), now](const absl::StatusOr<DeadlineResult>& result) {
          self->Answered(now, result);
        });
    Pause();
  }

  void Answered(internal::Instant sent, const absl::StatusOr<DeadlineResult>& result) {
    if (stopped()) return;
    if (!result.ok()) {
      if (!Passes(result.status().code())) Lose(result.status());
    } else if (Expired(*result)) {
      Lose(ExpiredError(name_));
    } else {
      confirmed_ = std::max(confirmed_, sent);
    }
  }

  void Lose(absl::Status why) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(stopped_, true)) return;
      status_ = std::move(why);
    }
    lost_.request_stop();
  }

  internal::Connection& connection_;
  const std::string name_;
  const absl::Duration ttl_;
  HeartbeatOptions options_;     // constant after Begin
  internal::Instant confirmed_;  // when the last beat that got through was sent; by the beats alone
  std::stop_source lost_;
  mutable std::mutex mutex_;
  bool stopped_ = false;  // guarded by mutex_
  absl::Status status_;   // guarded by mutex_
};

absl::StatusOr<Heartbeat> Heartbeat::Start(Client& client, std::string_view name,
                                           absl::Duration ttl, HeartbeatOptions options) {
  auto state = std::make_shared<State>(*client.connection_, name, ttl, options);
  if (absl::Status begun = state->Begin(); !begun.ok()) return begun;
  return Heartbeat(std::move(state));
}

Heartbeat::Heartbeat(std::shared_ptr<State> state) : state_(std::move(state)) {}

Heartbeat::~Heartbeat() {
  if (state_ != nullptr) state_->Stop();
}

Heartbeat::Heartbeat(Heartbeat&&) noexcept = default;

Heartbeat& Heartbeat::operator=(Heartbeat&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->Stop();
    state_ = std::move(other.state_);
  }
  return *this;
}

std::stop_token Heartbeat::lost() const { return state_->lost(); }

absl::Status Heartbeat::status() const { return state_->status(); }

uint64_t Heartbeat::generation() const { return state_->generation(); }

}  // namespace waitd
