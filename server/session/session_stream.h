#ifndef WAITD_SERVER_SESSION_SESSION_STREAM_H_
#define WAITD_SERVER_SESSION_SESSION_STREAM_H_

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <optional>

#include "core/mutex.h"
#include "server/rpc/rpc.h"
#include "server/session/sessions.h"

namespace waitd::server {

/// One stream, from its arrival to its end, as the link of a session.
///
/// Threads:  its events come from one completion queue, which one thread polls, so that they are
///           serial; the Link's methods by any thread.
/// Lifetime: made by Await, and shared by its session; it holds itself until its last event.
class SessionStream final : public Link, public std::enable_shared_from_this<SessionStream> {
 public:
  /// Waits for the next stream.
  static void Await(Context& context, Sessions& sessions, AsyncService& service,
                    grpc::ServerCompletionQueue& queue);

  SessionStream(Context& context, Sessions& sessions, AsyncService& service,
                grpc::ServerCompletionQueue& queue);

  bool Write(const grpc::ByteBuffer& bytes) override;
  void End(const std::optional<Error>& error) override;
  void Break() override { server_context_.TryCancel(); }

 private:
  // An event that leads to a member function. Each has one under way at most.
  template <void (SessionStream::*kMember)(bool)>
  class To final : public Event {
   public:
    explicit To(SessionStream& stream) : stream_(stream) {}
    void Happened(bool ok) override {
      const std::shared_ptr<SessionStream> self = stream_.shared_from_this();
      (stream_.*kMember)(ok);
      stream_.Landed();
    }

   private:
    SessionStream& stream_;
  };

  void Arrived(bool ok);
  void HelloDue(bool ok);
  void HasRead(bool ok);
  void HasWritten(bool ok);
  void Left(bool ok);
  void Finished(bool /*ok*/) {}

  void Read();
  Fault Enter();
  void CarryOutLater(core::Instant received);
  void IsCarriedOut(bool ok);
  void ReadOn();
  void EndWith(const std::optional<Error>& error);
  std::optional<Error> CarryOut(google::protobuf::Arena& arena, core::Instant received);
  std::optional<Error> Begin(v1::SessionRequest& message);
  void AwaitHello();
  void Finish(const grpc::Status& status);
  void Depart() { events_.fetch_add(1, std::memory_order_relaxed); }
  void Landed();

  Context& context_;
  Sessions& sessions_;
  AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext server_context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&server_context_};
  grpc::ByteBuffer read_;
  core::Instant began_;
  core::Charge charge_;               // of the stream itself
  Visitor visitor_;                   // who it is; of the session, when there is one
  bool guest_ = false;                // it is let in, and has said no hello; of the events
  std::shared_ptr<Session> session_;  // from the first message on; of the events
  std::optional<Error> error_;        // of a message that the worker carried out
  bool paused_ = false;  // of the events: nothing is read, for too much is to be written

  // What other threads begin they begin under it, and nothing after finished_, which is set before
  // the last event: none begins when all others are over and this may go.
  core::Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Alarm hello_alarm_ ABSL_GUARDED_BY(mutex_);
  grpc::Alarm carried_out_alarm_ ABSL_GUARDED_BY(mutex_);

  // Relaxed: each event's count is taken before it is given to gRPC, whose queue orders the rest.
  std::atomic<int> events_{0};
  std::shared_ptr<SessionStream> self_;
  To<&SessionStream::Arrived> arrived_{*this};
  To<&SessionStream::HelloDue> hello_due_{*this};
  To<&SessionStream::HasRead> has_read_{*this};
  To<&SessionStream::IsCarriedOut> is_carried_out_{*this};
  To<&SessionStream::HasWritten> has_written_{*this};
  To<&SessionStream::Left> left_{*this};
  To<&SessionStream::Finished> finished_event_{*this};
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_SESSION_SESSION_STREAM_H_
