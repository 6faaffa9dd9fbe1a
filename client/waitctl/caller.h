#ifndef WAITD_CLIENT_WAITCTL_CALLER_H_
#define WAITD_CLIENT_WAITCTL_CALLER_H_

#include <google/protobuf/message.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/waitctl/app.h"
#include "client/waitctl/connection.h"
#include "waitd/v1/waitd.grpc.pb.h"

namespace waitd::ctl {

using Stub = v1::WaitService::Stub;

/// Wrong use that only shows when a command is carried out: what is wrong with it.
struct Wrong {
  std::string what;
};

/// What a command works with, and how it says what came of it.
class Caller {
 public:
  Caller(const Args& from, Interrupts& by);

  /// Says what went wrong, and returns its exit code.
  int Fail(const grpc::Status& status);

  /// Prints the answer in the format that was asked for; `text` is for people. `code`, or what
  /// became of it.
  int Print(const google::protobuf::Message& response, std::string_view text, int code) const;

  /// One call that does not wait.
  template <class Request, class Response>
  grpc::Status Try(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                   const Request& request, Response* response) {
    Interrupts::Call call(interrupts);
    SetDeadline(call.context);
    return (stub.get()->*method)(&call.context, request, response);
  }

  /// The same. False: it failed, which is said, and `code` says how.
  template <class Request, class Response>
  bool Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response* response, int* code) {
    const grpc::Status status = Try(method, request, response);
    if (!status.ok()) *code = Fail(status);
    return status.ok();
  }

  /// Limits a call that does not wait.
  static void SetDeadline(grpc::ClientContext& context);

  const Args& args;
  Interrupts& interrupts;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<Stub> stub;
};

/// What the flags said, for a request.
absl::Duration DurationOf(const std::string& text, const char* flag);
v1::Kind KindOf(const Args& args);
v1::Mode ModeOf(const Args& args);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_CALLER_H_
