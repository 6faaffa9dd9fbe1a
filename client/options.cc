#include "client/options.h"

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/text.h"
#include "client/time_text.h"

namespace waitd::ctl {
namespace {

constexpr std::string_view kDefaultServer = "127.0.0.1:7411";
constexpr std::string_view kDefaultPort = ":7411";

// Reads the flags one by one and keeps the first error.
class Reader {
 public:
  explicit Reader(const CommandLine& line) : line_(line) {}

  bool Has(Flag flag) const { return line_.Has(flag); }

  std::optional<std::string> Text(Flag flag) const {
    if (!Has(flag)) return std::nullopt;
    return line_.Values(flag).front();
  }

  // The place of the flag's value among its choices; nothing when it was not given.
  std::optional<size_t> Choice(Flag flag) {
    if (!Has(flag)) return std::nullopt;
    const std::string& value = line_.Values(flag).front();
    const std::vector<std::string> choices = absl::StrSplit(View(SpecOf(flag).value_name), '|');
    std::vector<std::string_view> names;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (choices[i] == value) return i;
      names.push_back(choices[i]);
    }
    const std::string_view near = Closest(value, names);
    Fail(flag, absl::StrCat("'", Printable(value), "' is none of ", View(SpecOf(flag).value_name),
                            near.empty() ? "" : absl::StrCat("; did you mean ", View(near), "?")));
    return std::nullopt;
  }

  std::optional<absl::Duration> Duration(Flag flag) {
    if (!Has(flag)) return std::nullopt;
    const absl::StatusOr<absl::Duration> duration = ParseDuration(line_.Values(flag).front());
    if (duration.ok()) return *duration;
    Fail(flag, duration.status().message());
    return std::nullopt;
  }

  uint64_t Number(Flag flag, uint64_t least, uint64_t most) {
    if (!Has(flag)) return 0;
    const std::string& text = line_.Values(flag).front();
    const std::optional<uint64_t> number = ParseNumber(text);
    if (number && *number >= least && *number <= most) return *number;
    Fail(flag, absl::StrCat("'", Printable(text), "' is no number from ", least, " to ", most));
    return 0;
  }

  void Exclude(Flag one, Flag other) {
    if (Has(one) && Has(other)) {
      Fail(one, absl::StrCat("it excludes --", View(SpecOf(other).name)));
    }
  }

  void Fail(Flag flag, absl::string_view why) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("--", View(SpecOf(flag).name), ": ", why));
  }

  const absl::Status& status() const { return status_; }
  const CommandLine& line() const { return line_; }

 private:
  const CommandLine& line_;
  absl::Status status_;
};

void ReadLabels(Reader* reader, Options* options) {
  for (const std::string& value : reader->line().Values(Flag::kLabel)) {
    const size_t equals = value.find('=');
    if (equals == std::string::npos || equals == 0) {
      reader->Fail(Flag::kLabel,
                   absl::StrCat("'", Printable(value), "' is not KEY=VALUE, as in team=web"));
      return;
    }
    const std::string key = value.substr(0, equals);
    for (const auto& [other, unused] : options->labels) {
      if (other == key) {
        reader->Fail(Flag::kLabel, absl::StrCat("the key '", Printable(key), "' is given twice"));
      }
    }
    options->labels.emplace_back(key, value.substr(equals + 1));
  }
}

void ReadFailure(Reader* reader, Options* options) {
  const std::optional<std::string> message = reader->Text(Flag::kMessage);
  const std::optional<std::string> code = reader->Text(Flag::kFail);
  if (!code) {
    if (message) reader->Fail(Flag::kMessage, "it says why something failed, and needs --fail");
    return;
  }
  v1::Signal::Failure failure;
  int32_t number = 1;
  // "true" is what the parser says of a flag without a value.
  if (*code != "true" && !absl::SimpleAtoi(*code, &number)) {
    reader->Fail(Flag::kFail, absl::StrCat("'", Printable(*code), "' is no code; it is a number, ",
                                           "such as an exit status"));
  }
  failure.set_code(number);
  if (message) failure.set_message(*message);
  options->failure = std::move(failure);
}

void ReadConditions(Reader* reader, Options* options) {
  reader->Exclude(Flag::kOnlyLater, Flag::kOnlyEarlier);
  reader->Exclude(Flag::kOnlyLater, Flag::kArmOrExtend);
  reader->Exclude(Flag::kOnlyEarlier, Flag::kArmOrExtend);
  if (reader->Has(Flag::kOnlyLater)) {
    options->deadline_condition = v1::DEADLINE_CONDITION_ONLY_LATER;
  }
  if (reader->Has(Flag::kOnlyEarlier)) {
    options->deadline_condition = v1::DEADLINE_CONDITION_ONLY_EARLIER;
  }
  if (reader->Has(Flag::kArmOrExtend)) {
    options->deadline_condition = v1::DEADLINE_CONDITION_ARM_OR_EXTEND;
  }
  if (const std::optional<size_t> choice = reader->Choice(Flag::kIf)) {
    options->ready_condition = *choice == 0 ? v1::READY_CONDITION_WAITING
                                            : v1::READY_CONDITION_NOT_EXPIRED;
  }
}

void ReadNeed(Reader* reader, Options* options) {
  reader->Exclude(Flag::kNeed, Flag::kAll);
  const size_t targets = reader->line().operands.size();
  options->need = static_cast<uint32_t>(
      reader->Number(Flag::kNeed, 1, std::numeric_limits<uint32_t>::max()));
  if (reader->Has(Flag::kAll)) options->need = static_cast<uint32_t>(targets);
  if (options->need > targets) {
    reader->Fail(Flag::kNeed, absl::StrCat(options->need, " is more than the ", targets, " name",
                                           targets == 1 ? "" : "s", " given"));
  }
}

void ReadServer(Reader* reader, const char* variable, Options* options) {
  const bool from_variable = variable != nullptr && *variable != '\0';
  const std::string text =
      reader->Text(Flag::kServer)
          .value_or(from_variable ? std::string(variable) : std::string(kDefaultServer));
  absl::StatusOr<std::string> target = ServerTarget(text);
  if (target.ok()) {
    options->server = *std::move(target);
  } else if (reader->Has(Flag::kServer)) {
    reader->Fail(Flag::kServer, target.status().message());
  } else {
    reader->Fail(Flag::kServer, absl::StrCat("WAITCTL_SERVER: ", target.status().message()));
  }
}

}  // namespace

absl::StatusOr<Options> ReadOptions(const CommandLine& line, const char* server_variable) {
  Reader reader(line);
  Options options;
  ReadServer(&reader, server_variable, &options);
  options.output = static_cast<Output>(reader.Choice(Flag::kOutput).value_or(0));
  options.timeout = reader.Duration(Flag::kTimeout);
  // The choices stand in the order of the contract's numbers, whose zero is "unspecified".
  if (const auto kind = reader.Choice(Flag::kKind)) {
    options.kind = static_cast<v1::Kind>(*kind + 1);
  }
  if (const auto mode = reader.Choice(Flag::kMode)) {
    options.mode = static_cast<v1::Mode>(*mode + 1);
  }
  options.generation =
      reader.Number(Flag::kGeneration, 1, std::numeric_limits<uint64_t>::max());
  options.must_exist = reader.Has(Flag::kMustExist);
  options.must_create = reader.Has(Flag::kMustCreate);
  ReadLabels(&reader, &options);
  options.idle_ttl = reader.Duration(Flag::kIdleTtl);
  options.ignore_deadline = reader.Has(Flag::kIgnoreDeadline);
  if (line.command->command == Command::kPoll) ReadNeed(&reader, &options);
  ReadConditions(&reader, &options);
  reader.Exclude(Flag::kData, Flag::kFile);
  options.data = reader.Text(Flag::kData);
  options.file = reader.Text(Flag::kFile);
  ReadFailure(&reader, &options);
  options.waiting_only = reader.Has(Flag::kWaiting);
  if (!reader.status().ok()) return reader.status();
  return options;
}

absl::StatusOr<std::string> ServerTarget(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Printable(text), "' is no address: ", View(why),
                     "; expected HOST:PORT or unix:PATH"));
  };
  if (text.empty()) return bad("it is empty");
  if (text.find_first_of(" \t\n") != std::string_view::npos) return bad("it has a space");
  if (text == "unix:") return bad("the path is missing");
  if (text.starts_with("unix:") || text.find(":///") != std::string_view::npos) {
    return std::string(text);
  }
  if (text.find("://") != std::string_view::npos) return bad("waitd speaks gRPC, and takes no URL");
  // The colons inside the brackets of an IPv6 address are its own.
  const size_t bracket = text.rfind(']');
  const size_t colon =
      text.find(':', text.front() == '[' && bracket != std::string_view::npos ? bracket : 0);
  if (colon == std::string_view::npos) return absl::StrCat(View(text), View(kDefaultPort));
  if (text.find(':', colon + 1) != std::string_view::npos) {
    return bad("an IPv6 address stands in brackets, as in [::1]:7411");
  }
  const std::optional<uint64_t> port = ParseNumber(text.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return bad("its port is none");
  if (colon == 0) return absl::StrCat("127.0.0.1", View(text));
  return std::string(text);
}

}  // namespace waitd::ctl
