#ifndef WAITD_SERVER_API_VALIDATE_H_
#define WAITD_SERVER_API_VALIDATE_H_

#include <google/protobuf/map.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/call.h"
#include "server/api/status.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// Everything below answers what is wrong with a part of a request, or nothing, and writes what it
/// means for the core only then. `field` is the part's path in the request.
using LabelMap = google::protobuf::Map<std::string, std::string>;

/// UTF-8, which the parser has seen to, 1 to 512 bytes, no control characters.
Fault CheckName(std::string_view name, std::string_view field);

/// How names may begin: as a name, or empty.
Fault CheckPrefix(std::string_view prefix, std::string_view field);

/// What a label may say, and a client of itself: at most 256 bytes, no control characters.
bool IsLabelValue(std::string_view value);

/// An id, if there is one: at most 128 bytes.
Fault CheckId(std::string_view id, std::string_view field);

Fault ToMode(v1::Mode mode, std::string_view field, core::Mode* to);

/// Of the calls that take one side only.
Fault ToSide(v1::Mode mode, std::string_view field, core::Side* to);

/// Any valid Duration; beyond 292 years it saturates.
Fault ToNanos(const google::protobuf::Duration& duration, std::string_view field, core::Nanos* to);

/// How long ago the first attempt was: not negative.
Fault ToSentAgo(const google::protobuf::Duration& duration, core::Nanos* to);

/// Above zero, and at most `max`, which --max-ack-timeout gives.
Fault ToAckTimeout(const google::protobuf::Duration& duration, core::Nanos max, core::Nanos* to);

/// Any valid Timestamp; beyond the year 2262 it saturates.
Fault ToWallTime(const google::protobuf::Timestamp& at, std::string_view field, core::WallTime* to);

Fault ToLabels(const LabelMap& labels, std::string_view field, core::Labels* to);

/// `in_session`: only there may a descriptor be ephemeral.
Fault ToOpenOptions(const v1::OpenOptions& options, bool in_session, std::string_view field,
                    core::OpenOptions* to);

Fault ToReadyCondition(v1::ReadyCondition condition, core::ReadyCondition* to);

Fault ToDeadlineCondition(v1::DeadlineCondition condition, core::DeadlineCondition* to);

}  // namespace waitd::server

#endif  // WAITD_SERVER_API_VALIDATE_H_
