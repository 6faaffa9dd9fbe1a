#ifndef WAITD_SERVER_OPTIONS_OPTIONS_H_
#define WAITD_SERVER_OPTIONS_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace waitd::server {

/// How the server tells callers apart.
enum class AuthMode : uint8_t {
  kNone,   ///< not at all
  kToken,  ///< by the bearer token in their metadata
  kMtls,   ///< by the certificate of their connection
};

/// What waitd runs with, after flags, environment and configuration file.
struct Options {
  std::string listen_address;
  std::string metrics_address;
  std::string log_level;
  std::string log_format;
  uint64_t max_memory = 0;       ///< bytes; 0: three quarters of what there is
  uint64_t max_descriptors = 0;  ///< 0: as many as memory allows, as the other numbers of things
  uint64_t max_waiters = 0;
  uint64_t max_payload_bytes;
  absl::Duration max_wait;          ///< zero: no bound
  absl::Duration default_idle_ttl;  ///< zero: for ever
  absl::Duration linger = absl::Seconds(30);
  absl::Duration retention = absl::Minutes(10);
  uint64_t max_outcomes = 0;
  uint64_t max_deliveries = 0;
  uint64_t max_deliveries_per_side = 1 << 16;
  absl::Duration max_ack_timeout = absl::Hours(24);
  uint64_t max_sessions = 0;
  uint64_t max_parked = 1 << 20;   ///< in one session
  uint64_t max_unacked = 1 << 18;  ///< results, in one session
  absl::Duration drain_timeout;
  std::string store = "memory";  ///< rocksdb or memory
  std::string data_dir;          ///< empty: DefaultDataDir
  std::string sync;              ///< always, interval or never
  uint64_t min_free_disk_bytes = 0;
  std::string backup_dir;     ///< empty: no backups are made
  std::string tls_cert_file;  ///< empty: plaintext
  std::string tls_key_file;
  std::string tls_client_ca_file;  ///< empty: clients need no certificate
  AuthMode auth = AuthMode::kNone;
  std::string token_file;
  std::string acl_file;
  bool reflection = true;
  uint64_t max_rate = 0;              ///< operations a second for each identity; 0: any number
  uint64_t max_held_bytes = 0;        ///< of all payloads; 0: as memory allows
  uint64_t max_grpc_bytes = 0;        ///< of gRPC's buffers; 0: any number
  absl::Duration max_connection_age;  ///< zero: for ever
  absl::Duration max_connection_age_grace;
  absl::Duration max_connection_idle;  ///< zero: for ever
  bool check_store = false;            ///< only look whether the data directory is good
};

/// What the command line asks for.
struct CommandLine {
  enum class Action : uint8_t { kRun, kHelp, kVersion, kFail };
  Action action = Action::kRun;
  std::string error;  ///< of kFail: one line that says what is wrong and what to do
  Options options;    ///< of kRun
};

/// Where the store is when nobody says: where the service manager wants it, or below /var/lib for
/// root, or where the user's programs keep their state. Empty: there is no such place.
std::string DefaultDataDir(const std::function<const char*(const char*)>& variable, bool root);

/// An option, for the help text and the manual page.
struct OptionDoc {
  std::string_view name;  ///< with dashes
  std::string_view value;
};
std::span<const OptionDoc> OptionDocs();

/// The help text of an option and its default.
std::string HelpOf(const OptionDoc& option);
std::string DefaultOf(const OptionDoc& option);

/// Reads the options: flags go before variables (WAITD_LISTEN_ADDRESS), and those before the file
/// that --config names. `variable` answers the value of an environment variable, or null. Not
/// thread-safe: the flags are the process's.
CommandLine ReadCommandLine(std::span<const std::string> arguments,
                            const std::function<const char*(const char*)>& variable);

/// The `name = value` lines of a configuration file; # begins a comment. False: `error` names the
/// line and what is wrong with it.
bool ParseConfig(std::string_view text, std::vector<std::pair<std::string, std::string>>* settings,
                 std::string* error);

/// What --help prints.
std::string HelpText();

}  // namespace waitd::server

#endif  // WAITD_SERVER_OPTIONS_OPTIONS_H_
