#ifndef WAITD_CLIENT_WAITCTL_APP_H_
#define WAITD_CLIENT_WAITCTL_APP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "waitd/client.h"

namespace CLI {
class App;
}

namespace waitd::ctl {

/// What the command line said, as it was written; numbers are within their bounds.
struct Args {
  std::string command;
  std::string server = "127.0.0.1:7411";
  std::string output = "text";
  Credentials credentials;
  std::string name;
  std::vector<std::string> names;
  std::string when;
  std::string kind;
  std::string mode = "read";
  uint64_t generation = 0;
  std::optional<std::string> timeout;
  bool must_exist = false;
  uint32_t need = 0;
  bool all = false;
  bool must_create = false;
  bool ignore_deadline = false;
  std::vector<std::string> labels;
  std::optional<std::string> idle_ttl;
  std::string data;
  std::optional<std::string> file;
  std::string content_type;
  std::optional<int32_t> fail_code;
  std::string message;
  std::string only_if;
  bool only_later = false;
  bool only_earlier = false;
  bool arm_or_extend = false;
  bool waiting = false;
  std::string shell;
  std::string wait_id;
  std::optional<std::string> ack_timeout;
  uint64_t delivery = 0;
  std::string ttl;
  uint32_t waits = 1000;
  uint32_t seconds = 5;
  std::vector<std::string> program;  ///< The command to run, and its arguments.

  /// Answers and errors are for programs.
  [[nodiscard]] bool json() const { return output == "json" || output == "jsonl"; }
};

/// Says what was wrong with the command line, in the format that it asks for. The exit code.
int SayUsage(const Args& args, const std::string& what);

/// Prints to stdout. `code`, or what became of it when stdout does not take it, which is said.
int Print(const Args& args, std::string_view text, int code);

/// The commands and flags of waitctl, which write what they read into `args`. From this one table
/// come parsing, --help, waitctl(1) and the completions.
std::unique_ptr<CLI::App> MakeApp(Args& args);

/// Reads a command line. Null: go on with `args`. Else the exit code; what there was to say is
/// said.
std::optional<int> Parse(int argc, const char* const* argv, Args& args);

/// The manual page, and a completion script for bash, zsh or fish (else an empty string).
std::string ManPage();
std::string Completion(const std::string& shell);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_APP_H_
