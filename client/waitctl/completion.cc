// Completion scripts for three shells, from the table of commands.
#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/waitctl/app.h"

namespace waitd::ctl {
namespace {

std::string Flags(const CLI::App& app) {
  std::string flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) absl::StrAppend(&flags, " --", name);
  }
  return flags;
}

std::string Bash(const CLI::App& app) {
  std::string names;
  std::string cases;
  for (const CLI::App* command : app.get_subcommands({})) {
    absl::StrAppend(&names, names.empty() ? "" : " ", command->get_name());
    absl::StrAppend(&cases, "    ", command->get_name(), ") words=\"", Flags(*command), Flags(app),
                    "\" ;;\n");
  }
  return absl::StrCat(
      "_waitctl() {\n  local words=\"", names, Flags(app),
      "\" word\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case $word in\n", cases,
      "    esac\n  done\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n"
      "complete -F _waitctl waitctl\n");
}

std::string Zsh(const CLI::App& app) {
  std::string commands;
  std::string cases;
  const auto quote = [](const std::string& text) {
    return absl::StrReplaceAll(text, {{"'", "'\\''"}, {":", "\\:"}});
  };
  const auto describe = [&](const CLI::App& of) {
    std::string flags;
    for (const CLI::Option* option : of.get_options()) {
      for (const std::string& name : option->get_lnames()) {
        absl::StrAppend(&flags, " '--", name, ":", quote(option->get_description()), "'");
      }
    }
    return flags;
  };
  for (const CLI::App* command : app.get_subcommands({})) {
    absl::StrAppend(&commands, " '", command->get_name(), ":", quote(command->get_description()),
                    "'");
    absl::StrAppend(&cases, "    ", command->get_name(), ") candidates=(", describe(*command),
                    describe(app), " ) ;;\n");
  }
  return absl::StrCat(
      "#compdef waitctl\n_waitctl() {\n  local -a candidates\n  candidates=(", commands,
      " )\n  local word\n  for word in ${words[2,CURRENT-1]}; do\n", "    case $word in\n", cases,
      "    esac\n  done\n  _describe waitctl candidates\n}\n", "compdef _waitctl waitctl\n");
}

std::string Fish(const CLI::App& app) {
  std::string script = "complete -c waitctl -f\n";
  const auto quote = [](const std::string& text) {
    return absl::StrReplaceAll(text, {{"'", "\\'"}});
  };
  const auto add_flags = [&](const CLI::App& of, const std::string& condition) {
    for (const CLI::Option* option : of.get_options()) {
      for (const std::string& name : option->get_lnames()) {
        absl::StrAppend(&script, "complete -c waitctl", condition, " -l ", name, " -d '",
                        quote(option->get_description()), "'\n");
      }
    }
  };
  add_flags(app, "");
  for (const CLI::App* command : app.get_subcommands({})) {
    const std::string& name = command->get_name();
    absl::StrAppend(&script, "complete -c waitctl -n __fish_use_subcommand -a ", name, " -d '",
                    quote(command->get_description()), "'\n");
    add_flags(*command, absl::StrCat(" -n '__fish_seen_subcommand_from ", name, "'"));
  }
  return script;
}

}  // namespace

std::string Completion(const std::string& shell) {
  Args args;
  const auto app = MakeApp(args);
  if (shell == "bash") return Bash(*app);
  if (shell == "zsh") return Zsh(*app);
  if (shell == "fish") return Fish(*app);
  return "";
}

}  // namespace waitd::ctl
