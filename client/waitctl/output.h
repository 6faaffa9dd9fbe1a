#ifndef WAITD_CLIENT_WAITCTL_OUTPUT_H_
#define WAITD_CLIENT_WAITCTL_OUTPUT_H_

#include <google/protobuf/message.h>

#include <span>
#include <string>

#include "waitd/v1/waitd.pb.h"

namespace waitd::ctl {

/// A message in protobuf's JSON mapping: over several lines, or (jsonl) on one.
std::string Json(const google::protobuf::Message& message, bool one_line);

/// The same, with a field before all others.
std::string JsonWith(const std::string& field, const std::string& value,
                     const google::protobuf::Message& message, bool one_line);

/// A descriptor over several lines, with who waits on it.
std::string Describe(const v1::PollDescriptor& descriptor);

/// Descriptors as a table, under a line of headings.
std::string Table(std::span<const v1::PollDescriptor> descriptors);

/// A deadline in words: "in 9.5s (2026-01-02T15:04:05.000Z)", "expired 3s ago (...)", or "none".
std::string Describe(const v1::Deadline& deadline);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_OUTPUT_H_
