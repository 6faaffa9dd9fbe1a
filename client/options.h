#ifndef WAITD_CLIENT_OPTIONS_H_
#define WAITD_CLIENT_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/command_line.h"
#include "waitd/v1/waitd.pb.h"

namespace waitd::ctl {

/// How answers are printed.
enum class Output : uint8_t { kText, kJson, kJsonLines, kName };

/// The flags of a call, read and typed. What was not given has the value that leaves the choice to
/// the server.
struct Options {
  std::string server;  ///< as gRPC takes it
  Output output = Output::kText;
  std::optional<absl::Duration> timeout;
  v1::Kind kind = v1::KIND_UNSPECIFIED;
  v1::Mode mode = v1::MODE_UNSPECIFIED;
  uint64_t generation = 0;
  bool must_exist = false;
  bool must_create = false;
  std::vector<std::pair<std::string, std::string>> labels;
  std::optional<absl::Duration> idle_ttl;
  bool ignore_deadline = false;
  uint32_t need = 0;
  v1::DeadlineCondition deadline_condition = v1::DEADLINE_CONDITION_UNSPECIFIED;
  v1::ReadyCondition ready_condition = v1::READY_CONDITION_UNSPECIFIED;
  std::optional<std::string> data;
  std::optional<std::string> file;
  std::optional<v1::Signal::Failure> failure;
  bool waiting_only = false;
};

/// Reads the flags' values. `server_variable` is WAITCTL_SERVER, or null. INVALID_ARGUMENT with a
/// message for the user: a value that is none of its flag's, or flags that exclude each other.
absl::StatusOr<Options> ReadOptions(const CommandLine& line, const char* server_variable);

/// The address for gRPC of what --server takes: `HOST`, `HOST:PORT`, `[::1]:PORT`, `unix:PATH`, or
/// a name with a gRPC resolver, such as dns:///HOST:PORT. A missing port is 7411.
absl::StatusOr<std::string> ServerTarget(std::string_view text);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_OPTIONS_H_
