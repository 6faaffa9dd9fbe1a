#include <algorithm>
#include <chrono>

#include "server/session/session.h"

namespace waitd::server {

v1::SessionWelcome Session::Welcome(bool resumed) const {
  const auto to_proto = [](core::Nanos from, google::protobuf::Duration* to) {
    to->set_seconds(std::chrono::duration_cast<std::chrono::seconds>(from).count());
    to->set_nanos(static_cast<int32_t>((from % std::chrono::seconds(1)).count()));
  };
  v1::SessionWelcome welcome;
  welcome.set_resume_token(token_);
  welcome.set_resumed(resumed);
  welcome.set_server("waitd " WAITD_VERSION);
  welcome.set_received_through(last_id_);
  to_proto(context_.keepalive, welcome.mutable_keepalive());
  to_proto(context_.retention, welcome.mutable_retention());
  const auto parked_max = std::min<uint64_t>(context_.parked_max, UINT32_MAX);
  welcome.set_max_parked(static_cast<uint32_t>(parked_max));
  welcome.set_max_payload_bytes(static_cast<uint32_t>(context_.signals.bytes_max));
  return welcome;
}

}  // namespace waitd::server
