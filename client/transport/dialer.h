#ifndef WAITD_CLIENT_TRANSPORT_DIALER_H_
#define WAITD_CLIENT_TRANSPORT_DIALER_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "waitd/client.h"

namespace waitd::internal {

/// The way to a server: the one place where channels and what is shown on them are made, for the
/// library and for waitctl.
///
/// Errors:   INVALID_ARGUMENT, which names the file at fault and what to do, never what is in it.
/// Threads:  one at a time, but that Authorize may be called by anyone at any time.
/// Lifetime: its channels may outlive it. The files of TLS are looked at every few seconds from the
///           first Dial until the last channel is gone, by a thread of gRPC's.
class Dialer {
 public:
  Dialer(std::string address, Credentials files);

  /// Whether all files are there and can be what they are given for.
  absl::Status Check() const;

  /// A channel with a connection of its own, which is made when it is first used. Checks the files
  /// until they are all in order once: later a connection takes what TLS last found in them, so
  /// that no moment of a rotation matters.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Dial();

  /// Gives a call or a stream the token, as it is in its file now.
  absl::Status Authorize(grpc::ClientContext& context) const;

 private:
  const std::string address_;
  const Credentials files_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;  // null: not in order yet
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_TRANSPORT_DIALER_H_
