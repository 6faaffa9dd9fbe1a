#ifndef WAITD_CLIENT_WAITCTL_WORDS_H_
#define WAITD_CLIENT_WAITCTL_WORDS_H_

#include <span>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace waitd::ctl {

/// The type name of a flag whose value may be left out, and stands behind a = where it is given.
/// Left out, the value is 1.
constexpr const char* kOptionalValue = "[=CODE]";

/// The operand that is a command line of its own, and stands behind --.
constexpr const char* kProgram = "CMD";

/// A command line, told apart by the table of commands.
struct Words {
  std::string command;                 ///< empty: none, or one that does not exist
  std::vector<std::string> arguments;  ///< the whole as it cannot be misread; see Sort
  std::string output = "text";         ///< the format that was asked for
  std::string problem;                 ///< the first thing wrong; empty: nothing so far
};

/// Tells words apart before CLI11 sees them, as that one guesses where it should not: it takes the
/// word behind `--data=` for the value, names for commands, and `[a,b]` for a list of names. In
/// what it gets from here each value is a word of its own, and names come last, behind `--`. The
/// first `--` ends the flags; the one behind the name begins the command line to run, so that it is
/// the same one when the name stands before it, and another when the name begins with a dash.
Words Sort(CLI::App& app, std::span<const char* const> words);

/// The candidate nearest to what was typed, or an empty string when none is near.
std::string Nearest(const std::string& typed, const std::vector<std::string>& candidates);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_WAITCTL_WORDS_H_
