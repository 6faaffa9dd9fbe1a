#ifndef WAITD_CLIENT_WAITCTL_APP_H_
#define WAITD_CLIENT_WAITCTL_APP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace waitd::ctl {

/// What the command line said, as it was written.
struct Args {
  std::string command;
  std::string server = "127.0.0.1:7411";
  std::string output = "text";
  std::string name;
  std::vector<std::string> names;
  std::string when;
  std::string kind;
  std::string mode = "read";
  uint64_t generation = 0;
  std::string timeout;
  bool must_exist = false;
  uint32_t need = 0;
  bool all = false;
  bool must_create = false;
  bool ignore_deadline = false;
  std::vector<std::string> labels;
  std::string idle_ttl;
  std::optional<std::string> data;
  std::string file;
  std::string content_type;
  bool fails = false;
  int fail_code = 1;
  std::string message;
  std::string only_if;
  bool only_later = false;
  bool only_earlier = false;
  bool arm_or_extend = false;
  bool waiting = false;
  std::string shell;
};

/// The commands and flags of waitctl, which write what they read into `args`. From this one table
/// come parsing, --help, waitctl(1) and the completions.
std::unique_ptr<CLI::App> MakeApp(Args& args);

/// Reads a command line. Null: go on with `args`. Else the exit code; what there was to say is
/// said.
std::optional<int> Parse(int argc, const char* const* argv, Args& args);

/// The candidate nearest to what was typed, or an empty string when none is near.
std::string Nearest(const std::string& typed, const std::vector<std::string>& candidates);

/// The manual page, and a completion script for bash, zsh or fish (else an empty string).
std::string ManPage();
std::string Completion(const std::string& shell);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_APP_H_
