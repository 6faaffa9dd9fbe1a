#include "client/waitctl/waits.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/waitctl/countdown.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(5);  // after a wait's own limit, for the answer

constexpr absl::Duration kPauseMax = absl::Milliseconds(300);  // between two attempts

// The attempts of one wait. Each gets what is left of --timeout.
class Attempts {
 public:
  Attempts(Caller& caller, const std::string& what)
      : caller_(caller),
        end_(caller.args.timeout.has_value()
                 ? absl::Now() + DurationOf(*caller.args.timeout, "--timeout")
                 : absl::InfiniteFuture()),
        countdown_(what, end_),
        random_(std::random_device{}()) {}

  template <class Request, class Response>
  grpc::Status Park(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    Request request, Response* response) {
    Interrupts::Call call(caller_.interrupts);
    if (end_ != absl::InfiniteFuture()) {
      const absl::Duration left = end_ - absl::Now();
      *request.mutable_timeout() = ToProto(left);
      call.context.set_deadline(
          absl::ToChronoTime(absl::Now() + std::max(left, absl::ZeroDuration()) + kGrace));
    }
    response->Clear();
    return (caller_.stub.get()->*method)(&call.context, request, response);
  }

  // After an attempt that found no server, which is said once: pauses, and then it is time for the
  // next. False: this is how the wait ends.
  bool Again(const grpc::Status& status) {
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return false;
    if (absl::Now() >= end_ || caller_.interrupts.code() != 0) return false;
    if (!std::exchange(told_, true) && !caller_.args.json()) {
      countdown_.Interject(absl::StrCat("waitctl: ", ErrorLine(status, caller_.args.server),
                                        "; trying again",
                                        end_ == absl::InfiniteFuture() ? "" : " until --timeout"));
    }
    // Short, so that a server that is back is found at once, and by not all at the same moment.
    const double share = std::uniform_real_distribution<>(0.5, 1.0)(random_);
    caller_.interrupts.Pause(std::min(kPauseMax * share, end_ - absl::Now()));
    // A channel gets on with its handshake only while somebody waits for it, but for once in 5 s.
    caller_.channel->WaitForConnected(absl::ToChronoTime(std::min(absl::Now() + kPauseMax, end_)));
    return true;
  }

 private:
  Caller& caller_;
  const absl::Time end_;
  Countdown countdown_;
  std::mt19937 random_;
  bool told_ = false;
};

// The life that a request names by its generation has ended.
bool IsOver(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::NOT_FOUND ||
         status.error_code() == grpc::StatusCode::ABORTED;
}

// In JSON the answer says all of this.
int SayEnd(const Args& args, const std::string& what, v1::Outcome outcome, v1::TimeoutCause cause) {
  const bool closed = outcome == v1::OUTCOME_CLOSED;
  if (!args.json()) {
    Say(absl::StrCat("waitctl: ", what,
                     closed                                ? " was closed"
                     : cause == v1::TIMEOUT_CAUSE_DEADLINE ? " timed out: its deadline has passed"
                                                           : " timed out: --timeout has passed"));
  }
  return closed ? kClosed : kTimedOut;
}

int SayFailure(const Args& args, const std::string& name, const v1::Signal& signal) {
  if (!signal.has_failure()) return kDone;
  const auto& failure = signal.failure();
  if (!args.json()) {
    Say(absl::StrCat("waitctl: ", name, " failed with code ", failure.code(),
                     failure.message().empty() ? "" : ": ", failure.message()));
  }
  return kFailure;
}

grpc::Status ParkWait(Caller& caller, const v1::WaitRequest& wanted, v1::WaitResponse* response) {
  Attempts attempts(caller, wanted.name());
  v1::WaitRequest request = wanted;
  bool bound = false;
  for (;;) {
    grpc::Status status = attempts.Park(&Stub::Wait, request, response);
    if (status.ok()) {
      if (response->timeout_cause() != v1::TIMEOUT_CAUSE_MAX_WAIT) return status;
      // It is this life that is waited for: one that is closed between two attempts is not opened
      // anew.
      request.set_generation(response->generation());
      request.clear_open_if_missing();
      bound = true;
    } else if (bound && IsOver(status)) {
      response->set_outcome(v1::OUTCOME_CLOSED);
      response->set_generation(request.generation());
      return grpc::Status::OK;
    } else if (attempts.Again(status)) {
      // A server that restarts may count generations from the beginning.
      request = wanted;
      bound = false;
    } else {
      return status;
    }
  }
}

// A poll over several attempts: which targets are still waited for, and in which life.
class PollTargets {
 public:
  explicit PollTargets(v1::PollRequest wanted) : wanted_(std::move(wanted)) { Forget(); }

  const v1::PollRequest& request() const { return request_; }
  bool bound() const { return bound_; }
  // The target in what was wanted, of an index in the request.
  uint32_t Original(uint32_t target) const {
    return target < index_.size() ? index_[target] : target;
  }

  // After a restart.
  void Forget() {
    request_ = wanted_;
    index_.resize(static_cast<size_t>(wanted_.targets_size()));
    std::iota(index_.begin(), index_.end(), 0U);
    bound_ = false;
  }

  // Binds each target to its life, and drops those whose life is over: an answer that names no
  // target carries no generations, and a poll that had stayed parked would have lost them too.
  // NOT_FOUND: too few are left.
  grpc::Status Bind(Caller& caller) {
    v1::PollRequest next = request_;
    next.clear_targets();
    next.clear_open_if_missing();
    std::vector<uint32_t> index;
    for (int i = 0; i < request_.targets_size(); ++i) {
      v1::PollRequest::Target target = request_.targets(i);
      v1::GetPollDescriptorRequest get;
      get.set_name(target.name());
      v1::GetPollDescriptorResponse got;
      grpc::Status status = caller.Try(&Stub::GetPollDescriptor, get, &got);
      if (status.error_code() == grpc::StatusCode::NOT_FOUND) continue;
      if (!status.ok()) return status;
      const uint64_t generation = got.poll_descriptor().generation();
      if (target.generation() != 0 && target.generation() != generation) continue;
      target.set_generation(generation);
      *next.add_targets() = std::move(target);
      index.push_back(index_[static_cast<size_t>(i)]);
    }
    request_ = std::move(next);
    index_ = std::move(index);
    bound_ = true;
    if (index_.size() >= std::max(request_.need(), 1U)) return grpc::Status::OK;
    return {grpc::StatusCode::NOT_FOUND, ""};
  }

 private:
  const v1::PollRequest wanted_;
  v1::PollRequest request_;
  std::vector<uint32_t> index_;  // of each of the request's targets in what was wanted
  bool bound_ = false;
};

grpc::Status ParkPoll(Caller& caller, const v1::PollRequest& wanted, v1::PollResponse* response) {
  Attempts attempts(caller, "the poll");
  PollTargets targets(wanted);
  for (;;) {
    grpc::Status status = attempts.Park(&Stub::Poll, targets.request(), response);
    const bool spent = status.ok() && response->timeout_cause() == v1::TIMEOUT_CAUSE_MAX_WAIT;
    if (spent || (targets.bound() && IsOver(status))) {
      status = targets.Bind(caller);
      if (status.ok()) continue;
      if (IsOver(status)) {
        response->Clear();
        response->set_outcome(v1::OUTCOME_CLOSED);
        return grpc::Status::OK;
      }
    }
    if (status.ok()) {
      for (auto& result : *response->mutable_results()) {
        result.set_target(targets.Original(result.target()));
      }
      return status;
    }
    if (!attempts.Again(status)) return status;
    targets.Forget();
  }
}

}  // namespace

int Wait(Caller& caller) {
  const Args& args = caller.args;
  v1::WaitRequest request;
  request.set_name(args.name);
  request.set_mode(ModeOf(args));
  request.set_generation(args.generation);
  request.set_ignore_deadline(args.ignore_deadline);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  v1::WaitResponse response;
  const grpc::Status status = ParkWait(caller, request, &response);
  if (!status.ok()) return caller.Fail(status);
  const bool ready = response.outcome() == v1::OUTCOME_READY;
  const int code = ready ? SayFailure(args, args.name, response.signal())
                         : SayEnd(args, args.name, response.outcome(), response.timeout_cause());
  // The data, byte by byte, and nothing else.
  return ready || args.json() ? caller.Print(response, response.signal().data(), code) : code;
}

int Poll(Caller& caller) {
  const Args& args = caller.args;
  v1::PollRequest request;
  for (const std::string& name : args.names) {
    auto& target = *request.add_targets();
    target.set_name(name);
    target.set_mode(ModeOf(args));
  }
  request.set_need(args.all ? static_cast<uint32_t>(args.names.size()) : args.need);
  if (!args.must_exist) request.mutable_open_if_missing()->set_kind(KindOf(args));
  v1::PollResponse response;
  const grpc::Status status = ParkPoll(caller, request, &response);
  if (!status.ok()) return caller.Fail(status);
  const bool ready = response.outcome() == v1::OUTCOME_READY;
  int code = kDone;
  std::vector<std::string> names;
  for (const auto& result : response.results()) {
    if (result.target() >= args.names.size()) continue;
    names.push_back(args.names[result.target()]);
    if (!ready) continue;
    if (SayFailure(args, names.back(), result.response().signal()) != kDone) code = kFailure;
  }
  if (!ready) {
    const std::string which = names.empty() ? "" : absl::StrCat(" of ", absl::StrJoin(names, ", "));
    code = SayEnd(args, "the poll" + which, response.outcome(), response.timeout_cause());
  }
  if (args.json()) return caller.Print(response, "", code);
  std::string lines;
  if (ready) {
    for (const std::string& name : names) absl::StrAppend(&lines, name, "\n");
  }
  return Print(args, lines, code);
}

}  // namespace waitd::ctl
