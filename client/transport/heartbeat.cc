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

// A server remembers ids for longer: what it says it does not know was before its own time.
constexpr absl::Duration kRememberedMin = absl::Minutes(5);

bool IsOfBefore(const absl::Status& status) { return ReasonOf(status) == "OUTCOME_UNKNOWN"; }

// What another beat may overcome. One that was under way when its server ended is such a one.
bool Passes(const absl::Status& status) {
  return status.code() == absl::StatusCode::kDeadlineExceeded ||
         status.code() == absl::StatusCode::kResourceExhausted ||
         status.code() == absl::StatusCode::kUnavailable || IsOfBefore(status);
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
      : connection_(connection),
        name_(name),
        ttl_(ttl),
        options_(options),
        labels_(internal::Keep(options_.open_if_missing)),
        generation_(options.generation) {}

  absl::Status Begin() {
    absl::Status begun = BeatFirst();
    // It may have had to wait for a connection. How much of the ttl is left then nobody here knows,
    // and there may be none: another one tells.
    if (begun.ok() && connection_.clock().Now() - confirmed() >= ttl_ / kBeatsPerTtl) {
      begun = BeatFirst();
    }
    if (begun.ok()) Pause();
    return begun;
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

  uint64_t generation() const {
    const std::lock_guard lock(mutex_);
    return generation_;
  }

  bool Forgotten() { return options_.generation == 0 && IsOfBefore(Doubt().Get().status()); }

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

  // The connection may have to be made first, so that this one has the time of any call.
  absl::Status BeatFirst() {
    const internal::Instant sent = connection_.clock().Now();
    const absl::StatusOr<DeadlineResult> first =
        Beat(options_.generation, connection_.call_timeout()).Get();
    if (!first.ok()) return first.status();
    if (Expired(*first)) return ExpiredError(name_);
    Confirm(sent, first->generation);
    return absl::OkStatus();
  }

  Call<DeadlineResult> Beat(uint64_t generation, absl::Duration allowance) {
    const DeadlineOptions options = {.mode = options_.mode,
                                     .condition = DeadlineCondition::kArmOrExtend,
                                     .open_if_missing = options_.open_if_missing,
                                     .generation = generation};
    return Call<DeadlineResult>(connection_.Make(
        {.name = name_, .id = {}, .what = internal::DeadlineCall(ttl_, options)}, allowance));
  }

  // Whether the server knows of the time when the last beat was answered: by a repetition of a wait
  // that never was, on a life that never is, so that it takes nothing. OUTCOME_UNKNOWN: no.
  Call<WaitResult> Doubt() {
    const WaitOptions options = {.timeout = absl::ZeroDuration(),
                                 .open_if_missing = std::nullopt,
                                 .generation = internal::PollCall::kOver,
                                 .first_sent_ago = std::min(SinceAnswered(), kRememberedMin)};
    return Call<WaitResult>(
        connection_.Make({.name = name_, .id = "heartbeat", .what = internal::WaitCall(options)}));
  }

  absl::Duration SinceAnswered() const {
    const std::lock_guard lock(mutex_);
    return connection_.clock().Now() - answered_;
  }

  void Confirm(internal::Instant sent, uint64_t generation) {
    const std::lock_guard lock(mutex_);
    confirmed_ = std::max(confirmed_, sent);
    answered_ = connection_.clock().Now();
    generation_ = generation;
  }

  internal::Instant confirmed() const {
    const std::lock_guard lock(mutex_);
    return confirmed_;
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
    if (now - confirmed() >= ttl_) {
      Lose(absl::DeadlineExceededError("no heartbeat got through to " + name_));
      return;
    }
    BeatOn(generation());
    Pause();
  }

  // Not when it was stopped meanwhile: who did so may have taken the deadline away since, and a
  // beat behind that would arm it again.
  void BeatOn(uint64_t generation) {
    const internal::Instant now = connection_.clock().Now();
    Call<DeadlineResult> beat = Beat(generation, ttl_ / kBeatsPerTtl);
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    std::move(beat).Then(
        [self = shared_from_this(), generation, now](const absl::StatusOr<DeadlineResult>& result) {
          self->Answered(generation, now, result);
        });
  }

  // `on`: the generation that the beat was for; 0: any.
  void Answered(uint64_t on, internal::Instant sent, const absl::StatusOr<DeadlineResult>& result) {
    if (stopped()) return;
    if (!result.ok()) {
      if (Passes(result.status()) || (on != 0 && on != generation())) return;
      if (options_.generation == 0 && on != 0 && internal::IsOtherLife(result.status())) {
        Doubted(on, result.status());
      } else {
        Lose(result.status());
      }
    } else if (Expired(*result)) {
      Lose(ExpiredError(name_));
    } else {
      Confirm(sent, result->generation);
    }
  }

  // The life is over: it was closed, or it is of a former world.
  void Doubted(uint64_t generation, const absl::Status& why) {
    Doubt().Then([self = shared_from_this(), generation,
                  why](const absl::StatusOr<WaitResult>& doubt) {
      if (self->stopped() || generation != self->generation()) return;
      if (IsOfBefore(doubt.status())) {
        self->BeatOn(0);
      } else if (!Passes(doubt.status()) && doubt.status().code() != absl::StatusCode::kCancelled) {
        self->Lose(why);
      }
    });
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
  HeartbeatOptions options_;
  const internal::Labels labels_;  // what options_ shows, for each beat
  std::stop_source lost_;
  mutable std::mutex mutex_;
  // When the last beat that got through was sent. Guarded by mutex_, as all below.
  internal::Instant confirmed_ = -internal::kNever;
  internal::Instant answered_ = -internal::kNever;
  uint64_t generation_;
  bool stopped_ = false;
  absl::Status status_;
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

void Heartbeat::Stop() { state_->Stop(); }

bool Heartbeat::Forgotten() { return state_->Forgotten(); }

std::stop_token Heartbeat::lost() const { return state_->lost(); }

absl::Status Heartbeat::status() const { return state_->status(); }

uint64_t Heartbeat::generation() const { return state_->generation(); }

}  // namespace waitd
