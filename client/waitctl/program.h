#ifndef WAITD_CLIENT_WAITCTL_PROGRAM_H_
#define WAITD_CLIENT_WAITCTL_PROGRAM_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/waitctl/interrupts.h"

namespace waitd::ctl {

/// What became of a program.
struct ProgramEnd {
  /// As shells and timeout(1) have it: its own, 128 and the signal that ended it, 127 when there is
  /// none, 126 when it cannot be run.
  int code = 0;
  bool ran = false;
  std::string how;  ///< For people, without the program's name; empty: it ended well.
};

/// Whether a program is there, before anything is done for its sake. Nothing: it is.
std::optional<ProgramEnd> MissingProgram(const std::string& name);

/// Runs a program, found as a shell would, to its end. Signals that come meanwhile go to it. Its
/// stdin is `input`, or without one ours.
ProgramEnd RunProgram(const std::vector<std::string>& words, std::optional<std::string_view> input,
                      Interrupts& interrupts);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_PROGRAM_H_
