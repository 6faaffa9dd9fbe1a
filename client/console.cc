#include "client/console.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/text.h"
#include "google/protobuf/util/json_util.h"

namespace waitd::ctl {
namespace {

std::string ToJson(const google::protobuf::Message& message, bool indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indented;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails only for times that no Timestamp or Duration may hold, which the server never sends.
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return absl::StrCat("{\"error\":", JsonString(status.ToString()), "}");
  return json;
}

void ToStandardError(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

std::string Prefix() {
  return WantsColour(STDERR_FILENO) ? "\033[1;31mwaitctl:\033[0m " : "waitctl: ";
}

}  // namespace

void Console::Write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) lost_ = true;
}

void Console::Line(std::string_view text) { Write(absl::StrCat(View(text), "\n")); }

void Console::Json(const google::protobuf::Message& message) {
  std::string text = ToJson(message, output_ == Output::kJson);
  if (!text.ends_with('\n')) text += '\n';
  Write(text);
}

void Console::Note(std::string_view text) const {
  if (json()) return;
  ToStandardError(absl::StrCat("waitctl: ", View(text), "\n"));
}

void Console::Error(const UserError& error) const {
  if (json()) {
    ToStandardError(absl::StrCat("{\"error\":{\"code\":", JsonString(error.code),
                                 ",\"reason\":", JsonString(error.reason),
                                 ",\"message\":", JsonString(error.message),
                                 ",\"hint\":", JsonString(error.hint), "}}\n"));
    return;
  }
  ToStandardError(absl::StrCat(Prefix(), Printable(error.message), "\n"));
  if (!error.hint.empty()) {
    ToStandardError(absl::StrCat("  hint: ", Printable(error.hint), "\n"));
  }
}

bool Console::Flush() {
  if (std::fflush(stdout) != 0) lost_ = true;
  if (!lost_) return true;
  Error({.exit = ExitCode::kOther,
         .code = "UNKNOWN",
         .reason = "OUTPUT",
         .message = absl::StrCat("cannot write the answer: ", std::strerror(errno)),
         .hint = "the call itself was carried out; waitctl get shows the state"});
  return false;
}

bool IsTerminal(int fd) {
  const char* const term = std::getenv("TERM");
  return isatty(fd) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

bool WantsColour(int fd) {
  const char* const no_color = std::getenv("NO_COLOR");
  return IsTerminal(fd) && (no_color == nullptr || *no_color == '\0');
}

std::string CompactJson(const google::protobuf::Message& message) {
  return ToJson(message, false);
}

}  // namespace waitd::ctl
