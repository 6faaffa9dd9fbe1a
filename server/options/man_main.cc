// Writes waitd(8), from the table that --help is made of.
#include <cstdio>
#include <string>

#include "absl/strings/str_replace.h"
#include "server/options/options.h"

namespace {

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}, {"'", "\\(aq"}});
}

}  // namespace

int main() {
  std::puts(".TH WAITD 8 \"\" \"waitd " WAITD_VERSION "\" \"System administration\"");
  std::puts(
      ".SH NAME\nwaitd \\- remote timed waits on named poll descriptors\n"
      ".SH SYNOPSIS\n.B waitd\n[\\fIOPTION\\fR]...\n"
      ".SH DESCRIPTION\nServes the waitd API over gRPC, with the standard health service and "
      "server reflection, and its metrics over HTTP.\n"
      ".SH OPTIONS\nEach is also a variable of the environment, as in WAITD_LISTEN_ADDRESS, and a "
      "line \\(lqname = value\\(rq of the file that \\-\\-config names. Flags go before the "
      "environment, and that before the file.");
  for (const waitd::server::OptionDoc& doc : waitd::server::OptionDocs()) {
    const std::string value = waitd::server::DefaultOf(doc);
    std::printf(".TP\n.BI \\-\\-%s%s %s\n%s.%s\n", Escape(std::string(doc.name)).c_str(),
                doc.value.empty() ? "" : "=", std::string(doc.value).c_str(),
                Escape(waitd::server::HelpOf(doc)).c_str(),
                value.empty() ? "" : (" Default: " + Escape(value) + ".").c_str());
  }
  std::puts(
      ".SH SIGNALS\nSIGTERM and SIGINT drain: the health service says NOT_SERVING, new waits are "
      "refused with UNAVAILABLE, parked ones may still end by themselves until "
      "\\-\\-drain\\-timeout and are then refused, too. A second signal ends the process at once.\n"
      ".SH EXIT STATUS\n0 after a drain; 2 for a wrong option, an address or a store that cannot "
      "be used, or one that "
      "\\-\\-check\\-store found damaged: restarting does not help; 74 when the store failed while "
      "waitd ran: restarting it brings back all that was answered.\n"
      ".SH SEE ALSO\n.BR waitctl (1)");
  return 0;
}
