// waitctl(1), from the table of commands.
#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/waitctl/app.h"
#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}, {"'", "\\(aq"}});
}

std::string DescribeOption(const CLI::Option& option) {
  std::string name = option.get_positional() ? option.get_name(true) : option.get_name(false, true);
  name = absl::StrReplaceAll(name, {{",", ", "}});
  std::string value;
  if (!option.get_positional() && option.get_items_expected_max() > 0) {
    value = absl::StrCat(" ", option.get_type_name());
  }
  return absl::StrCat(".TP\n.B ", Escape(name), "\\fI", Escape(value), "\\fR\n",
                      Escape(option.get_description()), "\n");
}

}  // namespace

std::string ManPage() {
  Args args;
  const auto app = MakeApp(args);
  std::string page = absl::StrCat(
      ".TH WAITCTL 1 \"\" \"waitd ", WAITD_VERSION,
      "\" \"User commands\"\n.SH NAME\nwaitctl \\- waits, signals and deadlines on a waitd server\n"
      ".SH SYNOPSIS\n.B waitctl\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n"
      ".SH DESCRIPTION\nData goes to standard output, messages to standard error. "
      "wait, ready, deadline and poll open a missing name, unless \\-\\-must\\-exist is given. "
      "wait and poll wait on by themselves while the server cannot be reached, and over a restart "
      "of it, until \\-\\-timeout. A ready is handed over at most once; with \\-\\-ack\\-timeout "
      "at "
      "least once, as it goes to another wait when nobody acknowledges it in time. "
      "A name that begins with a dash stands behind \\-\\-.\n"
      ".SH OPTIONS\n");
  for (const CLI::Option* option : app->get_options()) page += DescribeOption(*option);
  page += ".SH COMMANDS\n";
  for (const CLI::App* command : app->get_subcommands({})) {
    absl::StrAppend(&page, ".SS waitctl ", command->get_name(), "\n",
                    Escape(command->get_description()), ".\n");
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_name() != "--help") page += DescribeOption(*option);
    }
  }
  page += ".SH EXIT STATUS\n";
  for (const ExitDoc& doc : ExitDocs()) {
    absl::StrAppend(&page, ".TP\n.B ", static_cast<int>(doc.code), "\n", Escape(doc.meaning), "\n");
  }
  page += ".SH ENVIRONMENT\n";
  for (const CLI::Option* option : app->get_options()) {
    if (option->get_envname().empty()) continue;
    absl::StrAppend(&page, ".TP\n.B ", option->get_envname(), "\nwhere ",
                    Escape(option->get_name()), " is not given\n");
  }
  return page + ".SH SEE ALSO\n.BR waitd (8)\n";
}

}  // namespace waitd::ctl
