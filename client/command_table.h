#ifndef WAITD_CLIENT_COMMAND_TABLE_H_
#define WAITD_CLIENT_COMMAND_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace waitd::ctl {

/// Every flag there is. One meaning each, whatever the command.
enum class Flag : uint8_t {
  kServer,
  kOutput,
  kTimeout,
  kKind,
  kMode,
  kGeneration,
  kMustExist,
  kMustCreate,
  kLabel,
  kIdleTtl,
  kIgnoreDeadline,
  kNeed,
  kAll,
  kData,
  kFile,
  kFail,
  kMessage,
  kIf,
  kOnlyLater,
  kOnlyEarlier,
  kArmOrExtend,
  kWaiting,
  kHelp,
};
inline constexpr size_t kFlagCount = static_cast<size_t>(Flag::kHelp) + 1;

/// A set of flags.
class FlagSet {
 public:
  constexpr FlagSet(std::initializer_list<Flag> flags) {
    for (const Flag flag : flags) bits_ |= Bit(flag);
  }
  constexpr bool Has(Flag flag) const { return (bits_ & Bit(flag)) != 0; }

 private:
  static constexpr uint32_t Bit(Flag flag) { return uint32_t{1} << static_cast<unsigned>(flag); }
  uint32_t bits_ = 0;
};
static_assert(kFlagCount <= 32, "a FlagSet has a bit for each flag");

/// A flag as users see it.
struct FlagSpec {
  enum class Value : uint8_t { kNone, kOptional, kNeeded };
  Flag flag;
  std::string_view name;        ///< without dashes
  char letter;                  ///< its short form, or 0
  Value value;                  ///< kOptional: only as --name=VALUE
  bool repeats;                 ///< may be given more than once
  std::string_view value_name;  ///< such as DURATION; choices are split by '|', in lower case
  std::string_view help;
};

enum class Command : uint8_t {
  kOpen,
  kClose,
  kReset,
  kWait,
  kReady,
  kDeadline,
  kGet,
  kLs,
  kPoll,
  kWatch,
  kHealth,
  kVersion,
  kCompletion,
};

/// A call and what it does.
struct Example {
  std::string_view call;
  std::string_view effect;
};

/// A command as users see it.
struct CommandSpec {
  Command command;
  std::string_view name;
  std::string_view operands;  ///< as in the synopsis
  size_t operands_min;
  size_t operands_max;
  std::string_view summary;      ///< a phrase for a list
  std::string_view description;  ///< sentences; a newline begins a paragraph
  std::span<const Example> examples;
  FlagSet flags;
};

/// The two tables that the parser, the help texts, the manual page and the completions are made
/// of. Constant data; any thread may read them.
std::span<const FlagSpec> Flags();
std::span<const CommandSpec> Commands();

/// The calls that open `waitctl --help`.
std::span<const Example> FirstExamples();

const FlagSpec& SpecOf(Flag flag);

/// The command of this name; null when there is none.
const CommandSpec* FindCommand(std::string_view name);

}  // namespace waitd::ctl

#endif  // WAITD_CLIENT_COMMAND_TABLE_H_
