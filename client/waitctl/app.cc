#include "client/waitctl/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <span>

#include "absl/strings/str_cat.h"
#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  waitctl wait build/42 --timeout 10m && deploy    wait for a build, ten minutes at most\n"
    "  waitctl ready build/42 --data ok                 say that it is done\n"
    "  waitctl ready build/42 --fail=3 -m 'tests fail'  say that it went wrong\n"
    "  waitctl deadline worker/7 10s --arm-or-extend    a heartbeat\n"
    "  waitctl poll a b c --need 2                      wait for two of three\n"
    "  waitctl ls build/ --waiting                      who waits for what\n";

// Flags that several commands share, each written once.
enum Shared : unsigned {
  kKind = 1,
  kMode = 2,
  kGeneration = 4,
  kTimeout = 8,
  kMustExist = 16,
  kName = 32,
  kLabels = 64,
};

CLI::App* AddCommand(CLI::App& app, Args& args, const char* name, const char* help,
                     unsigned shared) {
  CLI::App* const command = app.add_subcommand(name, help);
  if ((shared & kName) != 0) command->add_option("NAME", args.name, "the descriptor")->required();
  if ((shared & kKind) != 0) {
    command->add_option("--kind", args.kind, "what to open a missing name as")
        ->check(CLI::IsMember({"exclusive", "fifo", "latch"}))
        ->type_name("KIND");
  }
  if ((shared & kMode) != 0) {
    command->add_option("--mode", args.mode, "the side: read, write, or both where it makes sense")
        ->check(CLI::IsMember({"read", "write", "both"}))
        ->type_name("MODE");
  }
  if ((shared & kGeneration) != 0) {
    command->add_option("--generation", args.generation, "refuse another life of the name")
        ->type_name("N");
  }
  if ((shared & kTimeout) != 0) {
    command->add_option("--timeout", args.timeout, "how long at most: 250ms, 10s, 1h30m")
        ->type_name("DURATION");
  }
  if ((shared & kMustExist) != 0) {
    command->add_flag("--must-exist", args.must_exist, "do not open a missing name");
  }
  if ((shared & kLabels) != 0) {
    command->add_option("--label", args.labels, "a label, KEY=VALUE; may be repeated")
        ->type_name("LABEL")
        ->allow_extra_args(false);
  }
  return command;
}

void AddWaits(CLI::App& app, Args& args) {
  CLI::App* const wait =
      AddCommand(app, args, "wait", "wait until NAME is ready, and print its data and nothing else",
                 kName | kKind | kMode | kGeneration | kTimeout | kMustExist);
  wait->add_flag("--ignore-deadline", args.ignore_deadline,
                 "wait past the descriptor's deadline, for a ready or a close alone");
  CLI::App* const poll =
      AddCommand(app, args, "poll", "wait until some of NAMES are ready, and print which",
                 kKind | kMode | kTimeout | kMustExist);
  poll->add_option("NAMES", args.names, "the descriptors")->required();
  CLI::Option* const need =
      poll->add_option("--need", args.need, "how many must be ready; 1 if not said")
          ->check(CLI::Range(1, 1000))
          ->type_name("K");
  poll->add_flag("--all", args.all, "all of them must be ready")->excludes(need);
}

void AddSignals(CLI::App& app, Args& args) {
  CLI::App* const ready =
      AddCommand(app, args, "ready", "wake who waits for NAME, or be remembered",
                 kName | kKind | kMode | kGeneration | kMustExist);
  CLI::Option* const data =
      ready->add_option("--data", args.data, "what to hand over")->type_name("TEXT");
  ready->add_option("--file", args.file, "hand over this file's content; - is standard input")
      ->type_name("FILE")
      ->excludes(data);
  ready->add_option("--content-type", args.content_type, "what the data is, as in HTTP")
      ->type_name("TYPE");
  ready
      ->add_flag("--fail{1}", args.fail_code,
                 "what was waited for went wrong, with this code; 1 if not said")
      ->type_name("[=CODE]")
      ->each([&args](const std::string&) { args.fails = true; });
  ready->add_option("-m,--message", args.message, "what went wrong, for people")->type_name("TEXT");
  ready->add_option("--if", args.only_if, "only if somebody is waiting, or if not-expired")
      ->check(CLI::IsMember({"waiting", "not-expired"}))
      ->type_name("CONDITION");
  CLI::App* const deadline =
      AddCommand(app, args, "deadline", "set NAME's deadline, also while somebody waits",
                 kName | kKind | kMode | kGeneration | kMustExist);
  deadline
      ->add_option("WHEN", args.when,
                   "a duration from now (10s), a time (2026-01-02T15:04:05Z), now, or clear")
      ->required();
  CLI::Option* const later =
      deadline->add_flag("--only-later", args.only_later, "extend, never shorten");
  CLI::Option* const earlier =
      deadline->add_flag("--only-earlier", args.only_earlier, "shorten, never extend");
  deadline
      ->add_flag("--arm-or-extend", args.arm_or_extend,
                 "a heartbeat: arm or extend, never shorten or revive")
      ->excludes(later)
      ->excludes(earlier);
  later->excludes(earlier);
}

void AddTables(CLI::App& app, Args& args) {
  CLI::App* const open =
      AddCommand(app, args, "open", "open NAME, or show it if it is open", kName | kKind | kLabels);
  open->add_option("--idle-ttl", args.idle_ttl, "close it after this long without use")
      ->type_name("DURATION");
  open->add_flag("--must-create", args.must_create, "refuse a name that is open");
  AddCommand(app, args, "close", "close NAME and end every wait on it", kName | kGeneration);
  AddCommand(app, args, "reset", "forget a ready that nobody took; close a latch",
             kName | kMode | kGeneration);
  AddCommand(app, args, "get", "show NAME and who waits on it", kName);
  CLI::App* const list = AddCommand(app, args, "ls", "list descriptors by name", kLabels);
  list->add_option("PREFIX", args.name, "only names that begin so");
  list->add_flag("--waiting", args.waiting, "only those on which somebody waits");
  CLI::App* const watch = AddCommand(
      app, args, "watch", "show one descriptor, or a list of them, each second", kLabels);
  watch->add_option("NAME", args.name, "a descriptor; or, ending in /, all names below it");
  watch->add_flag("--waiting", args.waiting, "of a list: only those on which somebody waits");
  CLI::App* const health =
      AddCommand(app, args, "health", "ask whether the server serves; for probes", 0);
  health->add_option("SERVICE", args.name, "such as waitd-readiness");
  AddCommand(app, args, "version", "print the version", 0);
  CLI::App* const completion = AddCommand(app, args, "completion", "print a completion script", 0);
  completion->add_option("SHELL", args.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// What may have been meant by a word that is neither a command nor a flag of one.
std::string Suggestion(CLI::App& app, std::span<const char* const> words) {
  std::vector<std::string> commands;
  for (const CLI::App* each : app.get_subcommands({})) commands.push_back(each->get_name());
  CLI::App* command = nullptr;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i];
    if (!word.starts_with("-")) {
      if (command != nullptr) continue;
      if (std::find(commands.begin(), commands.end(), word) != commands.end()) {
        command = app.get_subcommand(word);
        continue;
      }
      const std::string near = Nearest(word, commands);
      return near.empty() ? "" : absl::StrCat("; did you mean waitctl ", near, "?");
    }
    std::vector<std::string> flags;
    const CLI::Option* known = nullptr;
    for (CLI::App* const from : {command, &app}) {
      if (from == nullptr) continue;
      for (const CLI::Option* option : from->get_options()) {
        for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
        if (option->check_name(word)) known = option;
      }
    }
    if (known != nullptr) {
      if (known->get_items_expected_min() > 0) ++i;  // its value
      continue;
    }
    const std::string near = Nearest(word.substr(0, word.find('=')), flags);
    const bool itself = word.starts_with(near + "=");
    if (!near.empty() && !itself) return absl::StrCat("; did you mean ", near, "?");
  }
  return "";
}

}  // namespace

std::string Nearest(const std::string& typed, const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t distance = 3;
  for (const std::string& candidate : candidates) {
    const size_t d = EditDistance(typed, candidate);
    if (d < distance) {
      distance = d;
      nearest = candidate;
    }
  }
  return nearest;
}

std::unique_ptr<CLI::App> MakeApp(Args& args) {
  auto app =
      std::make_unique<CLI::App>("Waits, signals and deadlines on a waitd server.", "waitctl");
  app->require_subcommand(1);
  app->fallthrough();
  app->set_help_flag("-h,--help", "show this help");
  app->add_option("--server", args.server, "HOST:PORT or unix:PATH; also WAITCTL_SERVER")
      ->envname("WAITCTL_SERVER")
      ->type_name("ADDRESS");
  app->add_option("-o,--output", args.output, "text, json, jsonl or name")
      ->check(CLI::IsMember({"text", "json", "jsonl", "name"}))
      ->type_name("FORMAT");
  AddWaits(*app, args);
  AddSignals(*app, args);
  AddTables(*app, args);
  return app;
}

std::optional<int> Parse(int argc, const char* const* argv, Args& args) {
  const std::unique_ptr<CLI::App> app = MakeApp(args);
  try {
    app->parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto commands = app->get_subcommands();
    const bool whole = commands.empty();
    if (whole) std::fputs(kExamples, stdout);
    std::fputs((whole ? *app : *commands.front()).help().c_str(), stdout);
    return kDone;
  } catch (const CLI::ParseError& error) {
    const std::span<const char* const> words(argv + 1, static_cast<size_t>(argc) - 1);
    const std::string suggestion = Suggestion(*app, words);
    std::fprintf(stderr, "waitctl: %s%s\n", error.what(),
                 suggestion.empty() ? "; see waitctl --help" : suggestion.c_str());
    return kUsage;
  }
  args.command = app->get_subcommands().front()->get_name();
  return std::nullopt;
}

}  // namespace waitd::ctl
