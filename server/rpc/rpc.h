#ifndef WAITD_SERVER_RPC_RPC_H_
#define WAITD_SERVER_RPC_RPC_H_

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/budget.h"
#include "core/poller.h"
#include "server/api/status.h"
#include "server/options/memory.h"
#include "server/rpc/context.h"
#include "server/rpc/methods.h"
#include "server/rpc/rpc_metrics.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::server {

/// A call of the core's that knows who is charged.
template <class Base>
class PaidCall : public Base {
 public:
  core::Account* account() const override { return payer.get(); }

  core::AccountRef payer;
};

/// What a unary call is for the core: one that parks is shown by its identity and its address.
template <class Base>
class UnaryCall : public PaidCall<Base> {};
template <class R>
class UnaryCall<core::ParkingCall<R>> : public PaidCall<core::ParkingCall<R>> {
 public:
  std::string_view client() const override { return shown; }
  uint64_t caller() const override { return owner; }

  std::string shown;
  uint64_t owner = 0;
};

/// One unary call, from its arrival to its end. T says which: its messages, its core call, what it
/// means and how it answers (methods.h); kRequest asks gRPC for the next one.
///
/// Threads:  the events come from one completion queue, which one thread polls, so that they are
///           serial; the core's Done may come from any thread, once, and may come while Begin runs.
/// Lifetime: made by Await, deletes itself after its last event. A call that parks has two: its
///           end, and that its client is done with it.
template <class T, auto kRequest>
class Rpc final : public UnaryCall<typename T::CoreCall> {
 public:
  using Request = typename T::Request;
  using Response = typename T::Response;
  static constexpr bool kParks = std::is_base_of_v<core::Parkable, typename T::CoreCall>;

  /// Waits for the next call of this method.
  static void Await(Context& context, AsyncService& service, grpc::ServerCompletionQueue& queue) {
    new Rpc(context, service, queue);
  }

  /// The core has the result.
  void Done() override {
    if (const auto* refusal = std::get_if<core::Refusal>(&this->result())) {
      Refuse(ToError(*refusal), T::FieldOf(*refusal));
      return;
    }
    using Result = typename T::CoreCall::Answer;
    const auto& answer = std::get<Result>(this->result());
    const core::Now now = context_.clock.Read();
    if constexpr (kParks) {
      if (answer.outcome == core::Outcome::kCancelled) {
        End({grpc::StatusCode::CANCELLED, "the call was cancelled"});
        return;
      }
      context_.metrics.Woke(now, answer);
    }
    if constexpr (requires { T::Answer(now, *request_, answer, *response_); }) {
      T::Answer(now, *request_, answer, *response_);
    } else {
      T::Answer(now, answer, *response_);
    }
    End(grpc::Status::OK);
  }

 private:
  // An event that leads to a member function.
  template <void (Rpc::*kMember)(bool)>
  class To final : public Event {
   public:
    explicit To(Rpc& rpc) : rpc_(rpc) {}
    void Happened(bool ok) override { (rpc_.*kMember)(ok); }

   private:
    Rpc& rpc_;
  };

  Rpc(Context& context, AsyncService& service, grpc::ServerCompletionQueue& queue)
      : context_(context), service_(service), queue_(queue), writer_(&server_context_) {
    if constexpr (kParks) server_context_.AsyncNotifyWhenDone(&left_);
    (service.*kRequest)(&server_context_, request_, &writer_, &queue, &queue, &arrived_);
  }

  void Arrived(bool ok) {
    if (!ok) {  // the server is shutting down, and no other event of this call comes
      delete this;
      return;
    }
    Await(context_, service_, queue_);
    began_ = context_.clock.Read().mono;
    context_.metrics.Started(T::kMethod);
    if (context_.closed.load(std::memory_order_relaxed)) {
      Refuse(context_.SentAway(), {});
      return;
    }
    counted_ = true;
    context_.calls.fetch_add(1, std::memory_order_relaxed);
    Visitor visitor;
    Caller caller{.visitor = visitor,
                  .client = {},
                  .signals = context_.signals,
                  .ack_timeout_max = context_.ack_timeout_max};
    if (Fault fault = Enter(&visitor)) {
      Refuse(*std::move(fault), {});
      return;
    }
    if constexpr (kParks) {
      this->shown = visitor.ShownAs(server_context_.peer());
      this->owner = visitor.number;
      caller.client = this->shown;
    }
    Parsed<typename T::Args> parsed;
    if (Fault wrong = T::Parse(caller, *request_, parsed)) {
      Refuse(*std::move(wrong), {});
      return;
    }
    started_ = true;
    T::Start(context_.poller, began_, parsed.args, *this);
    if constexpr (kParks) {
      LookAgain(visitor);
      request_arena_.reset();  // it may be large, and the call may be parked for long
    }
  }

  Fault Enter(Visitor* visitor) {
    if (Fault fault = context_.gate.Admit(server_context_, visitor)) return fault;
    this->payer = visitor->account;
    core::Budget& budget = context_.poller.budget();
    const auto verdict = budget.Add(core::Held::kCalls, this->payer.get(), kOneCall);
    charge_ = {budget, core::Held::kCalls, this->payer, kOneCall};
    if (verdict.over && !T::kGivesBack) return OverMemory("calls and streams", verdict);
    if (request_->ByteSizeLong() > kMessageOverhead + context_.signals.bytes_max) {
      return Error{.reason = "PAYLOAD_TOO_LARGE",
                   .message = absl::StrCat("a request has at most ", kMessageOverhead,
                                           " bytes more than the largest signal"),
                   .field = {}};
    }
    if (!T::kGivesBack) return context_.gate.Charge(*visitor, began_, T::Work(*request_));
    context_.gate.Note(*visitor, began_);
    return std::nullopt;
  }

  // The rules may have changed since they were asked, and who ends waits for that may have looked
  // here before this one had parked.
  void LookAgain(Visitor& visitor) {
    if (context_.gate.version() == visitor.version) return;
    if (!context_.gate.Refresh(&visitor).has_value() && T::MayWait(visitor, *request_)) return;
    context_.poller.Cancel(*this, nullptr, core::Reason::kForbidden);
  }

  void Refuse(Error error, std::string field) {
    if (error.field.empty()) error.field = std::move(field);
    context_.metrics.Refused(error.reason);
    End(ToStatus(error));
  }

  // Exactly once for each call that arrived.
  void End(const grpc::Status& status) {
    context_.metrics.Handled(T::kMethod, status.error_code(), context_.clock.Read().mono - began_);
    if (status.ok()) {
      writer_.Finish(*response_, status, &ended_);
    } else {
      writer_.FinishWithError(status, &ended_);
    }
  }

  void Ended(bool ok) {
    // What was never written goes back.
    if constexpr (kParks) {
      if (!ok && started_) context_.poller.Unwritten(*this, context_.poller.linger());
    }
    Leave();
  }

  // The client has its answer, or has gone.
  void Left(bool /*ok*/) {
    if constexpr (kParks) {
      if (server_context_.IsCancelled()) context_.poller.Abandon(*this);
    }
    Leave();
  }

  void Leave() {
    if (--events_left_ > 0) return;
    if (counted_) context_.calls.fetch_sub(1, std::memory_order_relaxed);
    delete this;
  }

  Context& context_;
  AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  std::optional<google::protobuf::Arena> request_arena_{std::in_place};
  google::protobuf::Arena arena_;
  // Until the arena goes.
  Request* const request_ = google::protobuf::Arena::CreateMessage<Request>(&*request_arena_);
  Response* const response_ = google::protobuf::Arena::CreateMessage<Response>(&arena_);
  grpc::ServerContext server_context_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
  core::Instant began_;
  core::Charge charge_;  // of the call itself
  int events_left_ = kParks ? 2 : 1;
  bool counted_ = false;
  bool started_ = false;  // the core has it, or had it
  To<&Rpc::Arrived> arrived_{*this};
  To<&Rpc::Ended> ended_{*this};
  To<&Rpc::Left> left_{*this};
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_RPC_RPC_H_
