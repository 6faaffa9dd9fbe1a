#include "client/call_error.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace waitd::ctl {

CallError ToCallError(const grpc::Status& status) {
  CallError error{.code = status.error_code(),
                  .message = status.error_message(),
                  .reason = {},
                  .metadata = {},
                  .field = {},
                  .retry_delay = {}};
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return error;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      error.reason = info.reason();
      error.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
      error.field = bad.field_violations(0).field();
    } else if (detail.UnpackTo(&retry)) {
      error.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                          absl::Nanoseconds(retry.retry_delay().nanos());
    }
  }
  return error;
}

}  // namespace waitd::ctl
