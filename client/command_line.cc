#include "client/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/text.h"

namespace waitd::ctl {
namespace {

absl::Status Usage(std::string_view message) { return absl::InvalidArgumentError(View(message)); }

std::string Suggestion(std::string_view near, std::string_view dashes) {
  if (near.empty()) return "";
  return absl::StrCat("; did you mean ", View(dashes), View(near), "?");
}

absl::Status UnknownFlag(std::string_view word) {
  const std::string_view name = word.substr(0, word.find('='));
  const size_t dashes = std::min(name.find_first_not_of('-'), name.size());
  if (FindCommand(name.substr(dashes)) != nullptr) {
    return Usage(absl::StrCat("unknown flag ", Printable(name),
                              Suggestion(name.substr(dashes), "waitctl ")));
  }
  std::vector<std::string_view> names;
  for (const FlagSpec& flag : Flags()) names.push_back(flag.name);
  return Usage(absl::StrCat("unknown flag ", Printable(name),
                            Suggestion(Closest(name.substr(dashes), names), "--")));
}

absl::Status UnknownCommand(std::string_view word) {
  std::vector<std::string_view> names;
  for (const CommandSpec& command : Commands()) names.push_back(command.name);
  return Usage(absl::StrCat("unknown command '", Printable(word), "'",
                            Suggestion(Closest(word, names), "waitctl ")));
}

// CLI11 takes the next word for a value when the one after = is empty, so that `--data= --if x`
// would send "--if". As words of their own it keeps them apart.
std::vector<std::string> SplitEmptyValues(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  bool operands_only = false;
  for (const std::string& word : words) {
    operands_only = operands_only || word == "--";
    if (!operands_only && word.size() > 3 && word.starts_with("--") && word.ends_with('=') &&
        word.find('=') == word.size() - 1) {
      result.push_back(word.substr(0, word.size() - 1));
      result.emplace_back();
    } else {
      result.push_back(word);
    }
  }
  return result;
}

// What CLI11 makes of the words: it knows how flags are written, and the tables what they mean.
absl::Status Sort(const std::vector<std::string>& words, CommandLine* line) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::array<CLI::Option*, kFlagCount> options;
  for (const FlagSpec& spec : Flags()) {
    const std::string names =
        absl::StrCat("--", View(spec.name), spec.letter == 0 ? "" : ",-",
                     spec.letter == 0 ? "" : std::string(1, spec.letter));
    CLI::Option* const option = spec.value == FlagSpec::Value::kNeeded ? app.add_option(names)
                                                                       : app.add_flag(names);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    options[static_cast<size_t>(spec.flag)] = option;
  }
  // Without extra arguments CLI11 leaves a name in brackets as it is.
  CLI::Option* const operands = app.add_option("operands");
  operands->expected(0, 1'000'000)->allow_extra_args(false);
  std::vector<std::string> reversed = SplitEmptyValues(words);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::ArgumentMismatch& e) {
    // The only one that remains: the last flag lacks its value.
    return Usage(absl::StrCat("a value is missing after ", Printable(words.back())));
  } catch (const CLI::Error& e) {
    return Usage(Printable(e.what()));
  }
  for (const std::string& extra : app.remaining()) {
    if (extra != "--") return UnknownFlag(extra);
  }
  for (size_t i = 0; i < kFlagCount; ++i) line->flags[i] = options[i]->results();
  line->operands = operands->results();
  return absl::OkStatus();
}

absl::Status CheckFlags(const CommandLine& line) {
  for (const FlagSpec& spec : Flags()) {
    const std::vector<std::string>& values = line.Values(spec.flag);
    if (values.empty()) continue;
    if (spec.flag != Flag::kHelp && !line.command->flags.Has(spec.flag)) {
      return Usage(absl::StrCat("'", View(line.command->name), "' takes no --", View(spec.name)));
    }
    if (values.size() > 1 && !spec.repeats) {
      return Usage(absl::StrCat("--", View(spec.name), " is given more than once"));
    }
    if (spec.value == FlagSpec::Value::kNone && values.front() != "true") {
      return Usage(absl::StrCat("--", View(spec.name), " takes no value"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ReadCommandLine(const std::vector<std::string>& words) {
  CommandLine line;
  if (absl::Status status = Sort(words, &line); !status.ok()) return status;
  if (line.operands.empty()) {
    if (line.Has(Flag::kHelp)) return line;
    return Usage("a command is missing");
  }
  line.command = FindCommand(line.operands.front());
  if (line.command == nullptr) return UnknownCommand(line.operands.front());
  line.operands.erase(line.operands.begin());
  if (line.Has(Flag::kHelp)) return line;
  if (absl::Status status = CheckFlags(line); !status.ok()) return status;
  if (line.operands.size() < line.command->operands_min ||
      line.operands.size() > line.command->operands_max) {
    const std::string_view operands = line.command->operands;
    return Usage(absl::StrCat("'", View(line.command->name), "' takes ",
                              operands.empty() ? "no operand" : View(operands), ", and got ",
                              line.operands.size(), " word", line.operands.size() == 1 ? "" : "s"));
  }
  return line;
}

bool AsksForJson(const std::vector<std::string>& words) {
  const auto json = [](std::string_view value) { return value == "json" || value == "jsonl"; };
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    const std::string_view word = words[i];
    if ((word == "-o" || word == "--output") && i + 1 < words.size() && json(words[i + 1])) {
      return true;
    }
    if (word.starts_with("-o") && json(word.substr(2))) return true;
    if (word.starts_with("--output=") && json(word.substr(9))) return true;
  }
  return false;
}

}  // namespace waitd::ctl
