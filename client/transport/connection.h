#ifndef WAITD_CLIENT_TRANSPORT_CONNECTION_H_
#define WAITD_CLIENT_TRANSPORT_CONNECTION_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "client/engine/engine.h"
#include "client/engine/op.h"
#include "client/transport/grpc_transport.h"
#include "waitd/call.h"
#include "waitd/client.h"

namespace waitd::internal {

/// The machine's monotonic clock. Nothing else in the client reads it.
class SteadyClock final : public Clock {
 public:
  Instant Now() const override;
};

/// The system's source of randomness, a handful at a time.
class SystemEntropy final : public Entropy {
 public:
  uint64_t Bits() override;

 private:
  std::array<uint64_t, 32> bits_ = {};  // 256 bytes: as much as the system gives in one piece
  size_t used_ = bits_.size();
};

/// An engine with its stream, its thread, its clock and its chance: all that a Client is.
class Connection {
 public:
  Connection(std::string address, ClientOptions options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// An operation that has the time of a call.
  OpPtr Make(Request request) { return Make(std::move(request), call_timeout_); }
  /// One with a time of its own. An empty request is a timer: it is answered, with nothing, when
  /// its time has come, or as cancelled when the client ends first.
  OpPtr Make(Request request, absl::Duration allowance) {
    return OpPtr(new Op(engine_, std::move(request), allowance));
  }

  const Clock& clock() const { return clock_; }
  absl::Duration call_timeout() const { return call_timeout_; }

 private:
  const absl::Duration call_timeout_;
  const SteadyClock clock_;
  SystemEntropy entropy_;
  GrpcTransport transport_;
  Engine engine_;
  std::thread thread_;
};

}  // namespace waitd::internal

#endif  // WAITD_CLIENT_TRANSPORT_CONNECTION_H_
