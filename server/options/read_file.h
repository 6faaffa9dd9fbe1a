#ifndef WAITD_SERVER_OPTIONS_READ_FILE_H_
#define WAITD_SERVER_OPTIONS_READ_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace waitd::server {

/// The whole of a file; an error names it and says why it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace waitd::server

#endif  // WAITD_SERVER_OPTIONS_READ_FILE_H_
