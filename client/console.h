#ifndef WAITD_CLIENT_CONSOLE_H_
#define WAITD_CLIENT_CONSOLE_H_

#include <string>
#include <string_view>

#include "client/exit_code.h"
#include "client/options.h"
#include "google/protobuf/message.h"

namespace waitd::ctl {

/// An error as a user meets it.
struct UserError {
  ExitCode exit = ExitCode::kOther;
  std::string code;     ///< a canonical status name
  std::string reason;   ///< of the server, or of waitctl itself
  std::string message;  ///< one line
  std::string hint;     ///< what to do next; may be empty
};

/// The two ways out: answers to standard output, words to standard error. Used by one thread.
class Console {
 public:
  explicit Console(Output output) : output_(output) {}

  Output output() const { return output_; }
  bool json() const { return output_ == Output::kJson || output_ == Output::kJsonLines; }

  /// Bytes as they are.
  void Write(std::string_view bytes);
  void Line(std::string_view text);

  /// A message as protobuf's JSON: indented for json, on one line for jsonl. Every field stands in
  /// it, also those at their default, so that a script finds what it asks for.
  void Json(const google::protobuf::Message& message);

  /// A line for people; in the JSON modes nothing.
  void Note(std::string_view text) const;

  /// What went wrong, in the form that the output has.
  void Error(const UserError& error) const;

  /// Writes out what is buffered. False: something was lost, such as on a full disk; said on
  /// standard error.
  bool Flush();

 private:
  const Output output_;
  bool lost_ = false;
};

/// Whether the file descriptor is a terminal that takes control sequences.
bool IsTerminal(int fd);

/// Whether to colour what goes there: a terminal, and NO_COLOR not set.
bool WantsColour(int fd);

/// One line of protobuf's JSON.
std::string CompactJson(const google::protobuf::Message& message);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_CONSOLE_H_
