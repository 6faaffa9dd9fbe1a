#ifndef WAITD_CLIENT_COMMAND_LINE_H_
#define WAITD_CLIENT_COMMAND_LINE_H_

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/command_table.h"

namespace waitd::ctl {

/// The words of a call, sorted: which command, its operands, its flags' values as they were given.
struct CommandLine {
  const CommandSpec* command = nullptr;  ///< null: none was given, and help was asked for
  std::vector<std::string> operands;
  std::array<std::vector<std::string>, kFlagCount> flags;

  bool Has(Flag flag) const { return !flags[static_cast<size_t>(flag)].empty(); }
  const std::vector<std::string>& Values(Flag flag) const {
    return flags[static_cast<size_t>(flag)];
  }
};

/// Sorts the words of a call (without the program's name). Flags may stand anywhere, also before
/// the command; after `--` everything is an operand. INVALID_ARGUMENT, with a message for the user
/// and a suggestion where one is near: an unknown command or flag, a flag that the command does not
/// take, a value missing or out of place, the wrong number of operands.
absl::StatusOr<CommandLine> ReadCommandLine(const std::vector<std::string>& words);

/// Whether a call asks for its errors in JSON; also for one that cannot be read.
bool AsksForJson(const std::vector<std::string>& words);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_COMMAND_LINE_H_
