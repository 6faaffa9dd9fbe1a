#include "client/waitctl/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <functional>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/waitctl/outcome.h"
#include "client/waitctl/streams.h"
#include "client/waitctl/text.h"
#include "client/waitctl/words.h"

namespace waitd::ctl {
namespace {

constexpr const char* kExamples =
    "  waitctl wait build/42 --timeout 10m && deploy    wait for a build, ten minutes at most\n"
    "  waitctl ready build/42 --data ok                 say that it is done\n"
    "  waitctl ready build/42 --fail=3 -m 'tests fail'  say that it went wrong\n"
    "  waitctl exec worker/7 --ttl 10s -- make test     say whether it lives, and how it ends\n"
    "  waitctl poll a b c --need 2                      wait for two of three\n"
    "  waitctl ls build/ --waiting                      who waits for what\n";

struct Example {
  const char* command;
  const char* lines;
};
constexpr std::array kExamplesOf = {
    Example{
        "wait",
        "  body=$(waitctl wait hook/1)                      its data, and nothing else\n"
        "  waitctl wait build/42 --timeout 10m && deploy    exits with 124 when it takes longer\n"
        "  waitctl wait hook/1 -- handle --verbose          runs this, with the data as its input\n"
        "  waitctl wait job/7 --ack-timeout 30s -- do-it    comes back when do-it fails or dies\n"},
    Example{
        "exec",
        "  waitctl exec worker/7 --ttl 10s -- make test     its waits exit with 0, or 8 when it\n"
        "                                                   fails, or 124 when it falls silent\n"},
    Example{"ack", "  waitctl ack job/7 --wait-id worker-3 --delivery 12 --generation 9131\n"},
    Example{"poll",
            "  waitctl poll a b c --need 2 --timeout 1m         two of three\n"
            "  waitctl poll a b c --all                         all of them\n"},
    Example{"ready",
            "  waitctl ready build/42 --data ok\n"
            "  make 2>&1 | waitctl ready build/42 --file -      what a program said\n"
            "  waitctl ready build/42 --fail=3 -m 'tests fail'  the wait exits with 8\n"},
    Example{"deadline",
            "  waitctl deadline worker/7 10s --arm-or-extend    a heartbeat\n"
            "  waitctl deadline worker/7 2026-01-02T15:04:05Z\n"
            "  waitctl deadline worker/7 clear\n"},
    Example{"open", "  waitctl open rollout/v2 --kind latch --label team=web --idle-ttl 1h\n"},
    Example{"close", "  waitctl close build/42\n"},
    Example{"reset", "  waitctl reset rollout/v2\n"},
    Example{"get", "  waitctl get build/42 -o json\n"},
    Example{"ls", "  waitctl ls build/ --waiting\n"},
    Example{"watch", "  waitctl watch build/\n"},
    Example{"health", "  waitctl health waitd-readiness\n"},
    Example{
        "backup",
        "  waitctl backup                                   named after the time\n"
        "  waitctl backup before-upgrade\n"
        "  tar -cf store.tar \"$(waitctl backup)\"            and away from the machine with it\n"},
    Example{"bench", "  waitctl bench --waits 10000 --seconds 10\n"},
    Example{"version", "  waitctl version\n"},
    Example{"completion", "  source <(waitctl completion bash)\n"},
};

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

// An option for a whole number in decimal, and nothing else: CLI11's own take -1 for the largest
// one and 010 for 8. `take` gets it, and says whether it is within its bounds.
template <class Whole>
CLI::Option* AddWhole(CLI::App* command, const char* name, const char* help, const char* type,
                      const char* hint, const std::function<bool(Whole)>& take) {
  return command
      ->add_option_function<std::string>(
          name,
          [=](const std::string& text) {
            const auto whole = ParseWhole<Whole>(text);
            if (whole.has_value() && take(*whole)) return;
            throw CLI::ValidationError(
                absl::StrCat("'", text, "' is nothing for ", name, "; ", hint));
          },
          help)
      ->type_name(type);
}

// Texts, each as it was written: a vector would take [a,b] for two and {} for none.
CLI::Option* AddTexts(CLI::App* command, const char* name, const char* help,
                      std::vector<std::string>& texts) {
  const CLI::callback_t take = [&texts](const CLI::results_t& given) {
    texts = given;
    return true;
  };
  return command->add_option(name, take, help)
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args(false);
}

CLI::Option* AddWaitId(CLI::App* command, Args& args, const char* help) {
  return command->add_option("--wait-id", args.wait_id, help)
      ->check(CLI::Validator(
          [](const std::string& text) {
            return std::string(text.empty() ? "give an id of 1 to 128 bytes" : "");
          },
          ""))
      ->type_name("ID");
}

CLI::Option* AddProgram(CLI::App* command, Args& args, const char* help) {
  return AddTexts(command, kProgram, help, args.program)->type_name("[ARG]");
}

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
    AddWhole<uint64_t>(command, "--generation", "refuse another life of the name", "N",
                       "give the number that waitctl get NAME shows", [&args](uint64_t given) {
                         args.generation = given;
                         return true;
                       });
  }
  if ((shared & kTimeout) != 0) {
    command->add_option("--timeout", args.timeout, "how long at most: 250ms, 10s, 1h30m")
        ->type_name("DURATION");
  }
  if ((shared & kMustExist) != 0) {
    command->add_flag("--must-exist", args.must_exist, "do not open a missing name");
  }
  if ((shared & kLabels) != 0) {
    AddTexts(command, "--label", "a label, KEY=VALUE; may be repeated", args.labels)
        ->type_name("LABEL");
  }
  return command;
}

void AddWaits(CLI::App& app, Args& args) {
  CLI::App* const wait =
      AddCommand(app, args, "wait", "wait until NAME is ready, and print its data and nothing else",
                 kName | kKind | kMode | kGeneration | kTimeout | kMustExist);
  wait->add_flag("--ignore-deadline", args.ignore_deadline,
                 "wait past the descriptor's deadline, for a ready or a close alone");
  AddWaitId(wait, args, "a name for this wait, by which a repeated one is known as the same");
  wait->add_option("--ack-timeout", args.ack_timeout,
                   "hand the ready to another wait when it is not acknowledged by then: by waitctl "
                   "ack, or as CMD ends with 0, or as a failure, for which CMD is not run, ends "
                   "waitctl with 8")
      ->type_name("DURATION");
  AddProgram(wait, args, "run this once NAME is ready, with the data as its standard input");
  CLI::App* const poll =
      AddCommand(app, args, "poll", "wait until some of NAMES are ready, and print which",
                 kKind | kMode | kTimeout | kMustExist);
  AddTexts(poll, "NAMES", "the descriptors", args.names)->required();
  AddWaitId(poll, args, "a name for this poll, by which a repeated one is known as the same");
  CLI::Option* const need =
      AddWhole<uint32_t>(poll, "--need", "how many must be ready; 1 if not said", "K",
                         "give how many, from 1 to 1000", [&args](uint32_t given) {
                           args.need = given;
                           return given >= 1 && given <= 1000;
                         });
  poll->add_flag("--all", args.all, "all of them must be ready")->excludes(need);
}

void AddAck(CLI::App& app, Args& args) {
  CLI::App* const ack =
      AddCommand(app, args, "ack", "acknowledge what a wait was handed", kName | kMode);
  AddWaitId(ack, args, "the wait's id")->required();
  AddWhole<uint64_t>(ack, "--generation", "of which life of NAME it was", "N",
                     "give the number that the wait was told",
                     [&args](uint64_t given) {
                       args.generation = given;
                       return given > 0;
                     })
      ->required();
  AddWhole<uint64_t>(ack, "--delivery", "which hand-over of NAME it was", "N",
                     "give the number that the wait was told",
                     [&args](uint64_t given) {
                       args.delivery = given;
                       return true;
                     })
      ->required();
}

void AddExec(CLI::App& app, Args& args) {
  CLI::App* const exec =
      AddCommand(app, args, "exec",
                 "run CMD, keep NAME's deadline ahead while it lives, and say by NAME how it ended",
                 kName | kKind | kMode | kGeneration | kMustExist);
  exec->add_option("--ttl", args.ttl,
                   "after how long without a beat those who wait for NAME time out: 10s")
      ->type_name("DURATION")
      ->required();
  AddProgram(exec, args, "the command, behind --")->required();
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
  CLI::Option* const fail = AddWhole<int32_t>(
      ready, "--fail", "what was waited for went wrong, with this code; 1 if not said",
      kOptionalValue,
      "give a whole number of 32 bits behind a =, such as --fail=3, or --fail alone",
      [&args](int32_t given) {
        args.fail_code = given;
        return true;
      });
  ready->add_option("-m,--message", args.message, "what went wrong, for people")
      ->type_name("TEXT")
      ->needs(fail);
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
  CLI::App* const backup = AddCommand(
      app, args, "backup", "copy the server's store to a directory on its machine, and print where",
      kTimeout);
  backup->add_option("NAME", args.name,
                     "the directory to make below the server's --backup-dir; the time if not said");
  CLI::App* const bench = AddCommand(
      app, args, "bench", "wake many waits again and again, and print how fast that was", 0);
  bench->add_option("PREFIX", args.name, "the names begin so; waitctl-bench if not said");
  AddWhole<uint32_t>(bench, "--waits", "how many; 1000 if not said", "N",
                     "give how many, from 1 to 1000000", [&args](uint32_t given) {
                       args.waits = given;
                       return given >= 1 && given <= 1'000'000;
                     });
  AddWhole<uint32_t>(bench, "--seconds", "for how long; 5 if not said", "S",
                     "give whole seconds, from 1 to 3600", [&args](uint32_t given) {
                       args.seconds = given;
                       return given >= 1 && given <= 3600;
                     });
  AddCommand(app, args, "version", "print the version", 0);
  CLI::App* const completion = AddCommand(app, args, "completion", "print a completion script", 0);
  completion->add_option("SHELL", args.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

// An option of waitctl itself, also by the environment, that takes what it says of itself.
void AddGlobal(CLI::App& app, const char* name, const char* variable, const char* help,
               const char* type, const char* give, std::string& text) {
  app.add_option(name, text, absl::StrCat(help, "; also ", variable))
      ->check(CLI::Validator(
          [give](const std::string& given) { return std::string(given.empty() ? give : ""); }, ""))
      ->envname(variable)
      ->type_name(type);
}

void AddGlobals(CLI::App& app, Args& args) {
  constexpr const char* kFile = "give the path of a file";
  Credentials& files = args.credentials;
  AddGlobal(app, "--server", "WAITCTL_SERVER", "HOST:PORT or unix:PATH", "ADDRESS",
            "give HOST:PORT or unix:PATH", args.server);
  AddGlobal(
      app, "--ca-file", "WAITCTL_CA_FILE",
      "speak TLS, with a server whose certificate one of these authorities has signed, such as "
      "the system's in /etc/ssl/certs/ca-certificates.crt",
      "FILE", kFile, files.ca_file);
  AddGlobal(app, "--cert-file", "WAITCTL_CERT_FILE",
            "the certificate to show to the server, in PEM", "FILE", kFile, files.cert_file);
  AddGlobal(app, "--key-file", "WAITCTL_KEY_FILE", "the certificate's key", "FILE", kFile,
            files.key_file);
  AddGlobal(app, "--token-file", "WAITCTL_TOKEN_FILE",
            "the bearer token to send with each call, alone in a file", "FILE", kFile,
            files.token_file);
  app.add_option("-o,--output", args.output, "text, json, jsonl or name")
      ->check(CLI::IsMember({"text", "json", "jsonl", "name"}))
      ->type_name("FORMAT");
}

// What is wrong with which files were given; empty: nothing.
std::string WrongFiles(const Credentials& files) {
  if (files.cert_file.empty() && files.key_file.empty()) return "";
  if (files.key_file.empty()) return "--cert-file goes together with --key-file; give both";
  if (files.cert_file.empty()) return "--key-file goes together with --cert-file; give both";
  if (!files.ca_file.empty()) return "";
  return "--cert-file and --key-file are for TLS, which needs --ca-file; for the system's "
         "authorities give /etc/ssl/certs/ca-certificates.crt";
}

// Begins with examples: a command's own, which stand in its footer, or those of the whole.
std::string Help(CLI::App& app, const std::string& command) {
  if (command.empty()) return absl::StrCat("Examples:\n", kExamples, "\n", app.help());
  CLI::App& shown = *app.get_subcommand(command);
  const std::string examples = shown.get_footer();
  shown.footer("Also --server, --ca-file, --token-file, --output and more: see waitctl --help.");
  return absl::StrCat("Examples:\n", examples, "\n", shown.help("waitctl"));
}

}  // namespace

int SayUsage(const Args& args, const std::string& what) {
  Say(args.json() ? ErrorJson("INVALID_ARGUMENT", "USAGE", what) : absl::StrCat("waitctl: ", what));
  return kUsage;
}

int Print(const Args& args, std::string_view text, int code) {
  const std::string error = WriteOut(text);
  if (error.empty()) return code;
  Say(args.json() ? ErrorJson("UNKNOWN", "OUTPUT", error) : absl::StrCat("waitctl: ", error));
  return kOther;
}

std::unique_ptr<CLI::App> MakeApp(Args& args) {
  auto app =
      std::make_unique<CLI::App>("Waits, signals and deadlines on a waitd server.", "waitctl");
  app->require_subcommand(1);
  app->fallthrough();
  app->set_help_flag("-h,--help", "show this help");
  AddGlobals(*app, args);
  AddWaits(*app, args);
  AddAck(*app, args);
  AddExec(*app, args);
  AddSignals(*app, args);
  AddTables(*app, args);
  for (const Example& each : kExamplesOf) app->get_subcommand(each.command)->footer(each.lines);
  return app;
}

std::optional<int> Parse(int argc, const char* const* argv, Args& args) {
  const std::unique_ptr<CLI::App> app = MakeApp(args);
  Words words = Sort(*app, std::span(argv, static_cast<size_t>(argc)).subspan(1));
  args.command = words.command;
  std::string problem = words.problem;
  try {
    if (problem.empty()) {
      std::reverse(words.arguments.begin(), words.arguments.end());  // as CLI11 wants them
      app->parse(words.arguments);
      problem = WrongFiles(args.credentials);
    }
  } catch (const CLI::CallForHelp&) {
    return Print(args, Help(*app, args.command), kDone);
  } catch (const CLI::ParseError& error) {
    problem = error.what();
  }
  if (problem.empty()) return std::nullopt;
  args.output = words.output;
  // A problem that names its own way out needs no other.
  const std::string more =
      absl::StrCat("; see waitctl ", args.command, args.command.empty() ? "--help" : " --help");
  return SayUsage(args, problem + (absl::StrContains(problem, "; ") ? "" : more));
}

}  // namespace waitd::ctl
