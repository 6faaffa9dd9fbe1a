#include "server/options/options.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/options/read_file.h"

ABSL_FLAG(std::string, listen_address, "127.0.0.1:7411",
          "where gRPC is served: HOST:PORT (port 0: any free one) or unix:PATH; other machines may "
          "reach it only with TLS and --auth, or with --insecure");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:9464",
          "where /metrics, /healthz and /readyz are served over HTTP: HOST:PORT, or none");
ABSL_FLAG(std::string, tls_cert_file, "",
          "the server's certificate and what leads to its authority, in PEM form: turns TLS on; "
          "this and the next four files are read again when they change");
ABSL_FLAG(std::string, tls_key_file, "", "the key of the certificate, in PEM form");
ABSL_FLAG(
    std::string, tls_client_ca_file, "",
    "the authorities of clients, in PEM form: from then on each needs a certificate of theirs");
ABSL_FLAG(std::string, auth, "none",
          "how callers are told apart: none; token: by the bearer token they send; mtls: by the "
          "first URI, else the first other name, of their certificate");
ABSL_FLAG(std::string, token_file, "",
          "lines of IDENTITY HASH, with the SHA-256 of a token in hexadecimal");
ABSL_FLAG(std::string, acl_file, "",
          "lines of IDENTITY PREFIX RIGHT,...: who may do what with which names; the rights are "
          "wait, ready, deadline, open, list and admin, and a prefix ends at a / or is * for every "
          "name");
ABSL_FLAG(bool, insecure, false, "let other machines in without TLS, or without --auth");
ABSL_FLAG(bool, reflection, true, "tell clients such as grpcurl what the service looks like");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warning or error");
ABSL_FLAG(std::string, log_format, "text", "text or json, one line each on stderr");
ABSL_FLAG(
    uint64_t, max_memory, 0,
    "how many bytes waitd may take; each kind of thing that clients make it hold has its share "
    "[3/4 of the machine's, or of the control group's]");
ABSL_FLAG(uint64_t, max_descriptors, 0,
          "how many descriptors may be open at once [as many as memory allows]");
ABSL_FLAG(uint64_t, max_waiters, 0,
          "how many waits may be parked at once; a poll counts by its targets [as many as memory "
          "allows]");
ABSL_FLAG(uint64_t, max_payload_bytes, 64 << 10, "how large an encoded signal may be");
ABSL_FLAG(absl::Duration, max_wait, absl::Hours(24),
          "how long a wait may last that nothing else bounds; 0: for ever");
ABSL_FLAG(absl::Duration, default_idle_ttl, absl::Hours(24 * 7),
          "after how long an idle descriptor closes that a wait, ready or deadline opened; 0: "
          "never");
ABSL_FLAG(absl::Duration, linger, absl::Seconds(30),
          "for how long a wait with an id outlives its broken call, and a session its stream");
ABSL_FLAG(absl::Duration, retention, absl::Minutes(10),
          "for how long the outcome of a call with an id is remembered; inf: for ever");
ABSL_FLAG(
    uint64_t, max_outcomes, 0,
    "how many outcomes are remembered at most; a large one counts once for each KiB begun [as "
    "many as memory allows]");
ABSL_FLAG(
    uint64_t, max_deliveries, 0,
    "how many signals may wait for their Ack, for a repeated call or, after they came back, for "
    "the next wait; a wait with an ack_timeout counts from its begin [as many as memory allows]");
ABSL_FLAG(uint64_t, max_deliveries_per_side, 1 << 16,
          "how many of them may be of one side of one name");
ABSL_FLAG(absl::Duration, max_ack_timeout, absl::Hours(24), "how long an ack_timeout may be");
ABSL_FLAG(uint64_t, max_sessions, 0,
          "how many sessions there may be at once [as many as memory allows]");
ABSL_FLAG(uint64_t, max_parked, 1 << 20, "how many waits may be parked in one session");
ABSL_FLAG(
    uint64_t, max_unacked, 1 << 18,
    "how many results of one session, or KiB of larger ones, may be written and not acknowledged");
ABSL_FLAG(uint64_t, max_rate, 0,
          "how many operations a second each identity may ask for, in bursts of as many; a poll "
          "counts by its targets; 0: any number");
ABSL_FLAG(uint64_t, max_held_bytes, 0,
          "how much memory all signals that are held may take together [as much as there is for "
          "them]");
ABSL_FLAG(uint64_t, max_grpc_bytes, 0,
          "how much memory gRPC may use for connections and calls; 0: any amount");
ABSL_FLAG(absl::Duration, max_connection_age, absl::ZeroDuration(),
          "after how long a connection is asked to come again, which spreads clients over new "
          "servers; 0: never");
ABSL_FLAG(absl::Duration, max_connection_age_grace, absl::Seconds(30),
          "for how long its calls then may still end by themselves");
ABSL_FLAG(absl::Duration, max_connection_idle, absl::ZeroDuration(),
          "after how long without a call a connection is closed; 0: never");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(10),
          "how long parked waits may still end by themselves after SIGTERM");
ABSL_FLAG(std::string, store, "rocksdb",
          "rocksdb: what was answered survives; memory: a restart knows nothing");
ABSL_FLAG(
    std::string, data_dir, "",
    "where the store is; made if it is missing [$STATE_DIRECTORY, /var/lib/waitd for root, or "
    "waitd below $XDG_STATE_HOME or ~/.local/state]");
ABSL_FLAG(std::string, sync, "always",
          "always: an answer is safe from a power cut; interval: from one a second later; never: "
          "when the operating system likes");
ABSL_FLAG(uint64_t, min_free_disk_bytes, 64 << 20,
          "with less room than this on the store's disk nothing new is taken; 0: never mind");
ABSL_FLAG(std::string, backup_dir, "",
          "where backups go that waitctl backup asks for; none are made without it");
ABSL_FLAG(bool, check_store, false, "read the store, say whether it is good, and end");
ABSL_FLAG(std::string, config, "", "a file of `name = value` lines; # begins a comment");

namespace waitd::server {
namespace {

constexpr std::array kDocs = {OptionDoc{"listen-address", "ADDRESS"},
                              OptionDoc{"metrics-address", "ADDRESS"},
                              OptionDoc{"tls-cert-file", "FILE"},
                              OptionDoc{"tls-key-file", "FILE"},
                              OptionDoc{"tls-client-ca-file", "FILE"},
                              OptionDoc{"auth", "HOW"},
                              OptionDoc{"token-file", "FILE"},
                              OptionDoc{"acl-file", "FILE"},
                              OptionDoc{"insecure", ""},
                              OptionDoc{"reflection", "BOOL"},
                              OptionDoc{"log-level", "LEVEL"},
                              OptionDoc{"log-format", "FORMAT"},
                              OptionDoc{"max-memory", "BYTES"},
                              OptionDoc{"max-descriptors", "N"},
                              OptionDoc{"max-waiters", "N"},
                              OptionDoc{"max-payload-bytes", "BYTES"},
                              OptionDoc{"max-wait", "DURATION"},
                              OptionDoc{"default-idle-ttl", "DURATION"},
                              OptionDoc{"linger", "DURATION"},
                              OptionDoc{"retention", "DURATION"},
                              OptionDoc{"max-outcomes", "N"},
                              OptionDoc{"max-deliveries", "N"},
                              OptionDoc{"max-deliveries-per-side", "N"},
                              OptionDoc{"max-ack-timeout", "DURATION"},
                              OptionDoc{"max-sessions", "N"},
                              OptionDoc{"max-parked", "N"},
                              OptionDoc{"max-unacked", "N"},
                              OptionDoc{"max-rate", "N"},
                              OptionDoc{"max-held-bytes", "BYTES"},
                              OptionDoc{"max-grpc-bytes", "BYTES"},
                              OptionDoc{"max-connection-age", "DURATION"},
                              OptionDoc{"max-connection-age-grace", "DURATION"},
                              OptionDoc{"max-connection-idle", "DURATION"},
                              OptionDoc{"drain-timeout", "DURATION"},
                              OptionDoc{"store", "STORE"},
                              OptionDoc{"data-dir", "DIR"},
                              OptionDoc{"sync", "WHEN"},
                              OptionDoc{"min-free-disk-bytes", "BYTES"},
                              OptionDoc{"backup-dir", "DIR"},
                              OptionDoc{"check-store", ""},
                              OptionDoc{"config", "FILE"}};

absl::CommandLineFlag* FindFlag(std::string_view dashed) {
  const auto known = std::any_of(kDocs.begin(), kDocs.end(),
                                 [&](const OptionDoc& doc) { return doc.name == dashed; });
  if (!known) return nullptr;
  return absl::FindCommandLineFlag(
      absl::StrReplaceAll(absl::string_view(dashed.data(), dashed.size()), {{"-", "_"}}));
}

size_t EditDistance(std::string_view a, std::string_view b) {
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

// "; did you mean --max-wait?", or what helps when nothing is near.
std::string Suggest(std::string_view name) {
  const OptionDoc* nearest = nullptr;
  size_t distance = 4;
  for (const OptionDoc& doc : kDocs) {
    const size_t d = EditDistance(name, doc.name);
    if (d < distance) {
      distance = d;
      nearest = &doc;
    }
  }
  if (nearest == nullptr) return "; see waitd --help";
  return absl::StrCat("; did you mean --", std::string(nearest->name), "?");
}

// Sets one option. Where it came from is said in the error.
std::optional<std::string> Set(std::string_view name, const std::string& value,
                               const std::string& where) {
  absl::CommandLineFlag* const flag = FindFlag(name);
  if (flag == nullptr) {
    return absl::StrCat(where, ": there is no option ", std::string(name), Suggest(name));
  }
  std::string error;
  if (flag->ParseFrom(value, &error)) return std::nullopt;
  const std::string hint = flag->IsOfType<absl::Duration>()
                               ? "a duration such as 250ms, 10s or 1h30m"
                           : flag->IsOfType<bool>() ? "true or false"
                                                    : "a whole number";
  return absl::StrCat(where, ": '", value, "' is no value for ", std::string(name), "; give ",
                      hint);
}

std::optional<std::string> CheckOneOf(std::string_view name, const std::string& value,
                                      std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return std::nullopt;
  std::string list;
  for (const std::string_view each : allowed) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", std::string(each));
  }
  return absl::StrCat("'", value, "' is no value for ", std::string(name), "; give one of ", list);
}

bool Has(const std::string& file) { return !file.empty(); }

// The parts that only work together.
std::optional<std::string> CheckTogether(const Options& o) {
  if (Has(o.tls_cert_file) != Has(o.tls_key_file)) {
    return absl::StrCat("a certificate needs its key; give ",
                        Has(o.tls_cert_file) ? "--tls-key-file" : "--tls-cert-file", ", too");
  }
  if (Has(o.tls_client_ca_file) && !Has(o.tls_cert_file)) {
    return "--tls-client-ca-file is of TLS; give --tls-cert-file and --tls-key-file, too";
  }
  if (o.auth == AuthMode::kMtls && !Has(o.tls_client_ca_file)) {
    return "--auth=mtls needs the clients' authorities; give --tls-client-ca-file";
  }
  if (Has(o.token_file) != (o.auth == AuthMode::kToken)) {
    return Has(o.token_file) ? "--token-file is of --auth=token; give that, too"
                             : "--auth=token needs --token-file, a file of IDENTITY HASH lines";
  }
  if (Has(o.acl_file) != (o.auth != AuthMode::kNone)) {
    return Has(o.acl_file)
               ? "--acl-file needs to know who calls; give --auth=token or --auth=mtls"
               : "--auth needs --acl-file, for what no rule allows is denied; a line `NAME * "
                 "wait,ready,deadline,open,list` lets NAME do everything";
  }
  return std::nullopt;
}

// Whether only this machine can reach it.
bool IsLocal(const std::string& address) {
  if (address.starts_with("unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

std::optional<std::string> CheckExposed(const Options& o, bool insecure) {
  if (insecure || IsLocal(o.listen_address)) return std::nullopt;
  const bool plain = !Has(o.tls_cert_file);
  const bool open = o.auth == AuthMode::kNone;
  if (!plain && !open) return std::nullopt;
  return absl::StrCat(
      "other machines can reach ", o.listen_address, ", and there is ", plain ? "no TLS" : "",
      plain && open ? " and " : "", open ? "no --auth: whoever gets there may do everything" : "",
      "; give ", plain ? "--tls-cert-file and --tls-key-file" : "", plain && open ? ", " : "",
      open ? "--auth and --acl-file" : "", ", listen on loopback, or say --insecure");
}

// Where a port is wrong, the C library takes some of its bits and goes on.
std::optional<std::string> CheckAddress(std::string_view name, const std::string& value,
                                        bool may_be_unix) {
  if (!may_be_unix && value == "none") return std::nullopt;
  if (may_be_unix && value.starts_with("unix:") && value.size() > 5) return std::nullopt;
  constexpr uint32_t kPortMax = 65535;
  const size_t colon = value.rfind(':');
  uint32_t port = kPortMax + 1;
  const bool is_number = colon != std::string::npos && colon > 0 &&
                         value.find_first_not_of("0123456789", colon + 1) == std::string::npos &&
                         absl::SimpleAtoi(value.substr(colon + 1), &port);
  if (is_number && port <= kPortMax && value.find_first_of(", \t") == std::string::npos) {
    return std::nullopt;
  }
  return absl::StrCat("'", value, "' is no value for ", std::string(name),
                      "; give HOST:PORT with a port from 0 to 65535",
                      may_be_unix ? ", or unix:PATH" : ", or none");
}

std::optional<std::string> CheckNotNegative(std::string_view name, absl::Duration value) {
  if (value >= absl::ZeroDuration()) return std::nullopt;
  return absl::StrCat(std::string(name), " is negative; give 0 or more");
}

std::optional<std::string> CheckAboveZero(std::string_view name, absl::Duration value) {
  if (value > absl::ZeroDuration()) return std::nullopt;
  return absl::StrCat(std::string(name), " is not above 0; give a duration such as 24h, or inf");
}

std::optional<std::string> CheckPositive(std::string_view name, uint64_t value, uint64_t max) {
  if (value > 0 && value <= max) return std::nullopt;
  return absl::StrCat(std::string(name), " is ", value, "; give 1 to ", max);
}

std::optional<std::string> CheckMemory(uint64_t value) {
  constexpr uint64_t kLeast = 128 << 20;
  if (value == 0 || value >= kLeast) return std::nullopt;
  return absl::StrCat("max-memory is ", value, " bytes; give ", kLeast, " or more");
}

std::optional<std::string> CheckAtMost(std::string_view name, uint64_t value, uint64_t max) {
  if (value <= max) return std::nullopt;
  return absl::StrCat(std::string(name), " is ", value, "; give 0 to ", max);
}

std::optional<std::string> Check(const Options& options) {
  constexpr uint64_t kCountMax = 1'000'000'000;
  constexpr uint64_t kPayloadMax = 64 << 20;
  constexpr uint64_t kBytesMax = uint64_t{1} << 50;
  for (const auto& fault :
       {CheckAddress("listen-address", options.listen_address, true),
        CheckAddress("metrics-address", options.metrics_address, false),
        CheckOneOf("log-level", options.log_level, {"debug", "info", "warning", "error"}),
        CheckOneOf("log-format", options.log_format, {"text", "json"}),
        CheckAtMost("max-memory", options.max_memory, kBytesMax),
        CheckMemory(options.max_memory),
        CheckAtMost("max-descriptors", options.max_descriptors, kCountMax),
        CheckAtMost("max-waiters", options.max_waiters, kCountMax),
        CheckPositive("max-payload-bytes", options.max_payload_bytes, kPayloadMax),
        CheckNotNegative("max-wait", options.max_wait),
        CheckNotNegative("default-idle-ttl", options.default_idle_ttl),
        CheckNotNegative("linger", options.linger),
        CheckNotNegative("retention", options.retention),
        CheckAtMost("max-outcomes", options.max_outcomes, kCountMax),
        CheckAtMost("max-deliveries", options.max_deliveries, kCountMax),
        CheckPositive("max-deliveries-per-side", options.max_deliveries_per_side, kCountMax),
        CheckAboveZero("max-ack-timeout", options.max_ack_timeout),
        CheckAtMost("max-sessions", options.max_sessions, kCountMax),
        CheckPositive("max-parked", options.max_parked, kCountMax),
        CheckPositive("max-unacked", options.max_unacked, kCountMax),
        CheckAtMost("max-rate", options.max_rate, kCountMax),
        CheckAtMost("max-held-bytes", options.max_held_bytes, kBytesMax),
        CheckNotNegative("max-connection-age", options.max_connection_age),
        CheckNotNegative("max-connection-age-grace", options.max_connection_age_grace),
        CheckNotNegative("max-connection-idle", options.max_connection_idle),
        CheckNotNegative("drain-timeout", options.drain_timeout),
        CheckOneOf("store", options.store, {"rocksdb", "memory"}),
        CheckOneOf("sync", options.sync, {"always", "interval", "never"}),
        CheckOneOf("auth", absl::GetFlag(FLAGS_auth), {"none", "token", "mtls"}),
        CheckTogether(options),
        CheckExposed(options, absl::GetFlag(FLAGS_insecure))}) {
    if (fault.has_value()) return fault;
  }
  return std::nullopt;
}

AuthMode CurrentAuth() {
  const std::string auth = absl::GetFlag(FLAGS_auth);
  return auth == "token" ? AuthMode::kToken : auth == "mtls" ? AuthMode::kMtls : AuthMode::kNone;
}

Options Current() {
  return {.listen_address = absl::GetFlag(FLAGS_listen_address),
          .metrics_address = absl::GetFlag(FLAGS_metrics_address),
          .log_level = absl::GetFlag(FLAGS_log_level),
          .log_format = absl::GetFlag(FLAGS_log_format),
          .max_memory = absl::GetFlag(FLAGS_max_memory),
          .max_descriptors = absl::GetFlag(FLAGS_max_descriptors),
          .max_waiters = absl::GetFlag(FLAGS_max_waiters),
          .max_payload_bytes = absl::GetFlag(FLAGS_max_payload_bytes),
          .max_wait = absl::GetFlag(FLAGS_max_wait),
          .default_idle_ttl = absl::GetFlag(FLAGS_default_idle_ttl),
          .linger = absl::GetFlag(FLAGS_linger),
          .retention = absl::GetFlag(FLAGS_retention),
          .max_outcomes = absl::GetFlag(FLAGS_max_outcomes),
          .max_deliveries = absl::GetFlag(FLAGS_max_deliveries),
          .max_deliveries_per_side = absl::GetFlag(FLAGS_max_deliveries_per_side),
          .max_ack_timeout = absl::GetFlag(FLAGS_max_ack_timeout),
          .max_sessions = absl::GetFlag(FLAGS_max_sessions),
          .max_parked = absl::GetFlag(FLAGS_max_parked),
          .max_unacked = absl::GetFlag(FLAGS_max_unacked),
          .drain_timeout = absl::GetFlag(FLAGS_drain_timeout),
          .store = absl::GetFlag(FLAGS_store),
          .data_dir = absl::GetFlag(FLAGS_data_dir),
          .sync = absl::GetFlag(FLAGS_sync),
          .min_free_disk_bytes = absl::GetFlag(FLAGS_min_free_disk_bytes),
          .backup_dir = absl::GetFlag(FLAGS_backup_dir),
          .tls_cert_file = absl::GetFlag(FLAGS_tls_cert_file),
          .tls_key_file = absl::GetFlag(FLAGS_tls_key_file),
          .tls_client_ca_file = absl::GetFlag(FLAGS_tls_client_ca_file),
          .auth = CurrentAuth(),
          .token_file = absl::GetFlag(FLAGS_token_file),
          .acl_file = absl::GetFlag(FLAGS_acl_file),
          .reflection = absl::GetFlag(FLAGS_reflection),
          .max_rate = absl::GetFlag(FLAGS_max_rate),
          .max_held_bytes = absl::GetFlag(FLAGS_max_held_bytes),
          .max_grpc_bytes = absl::GetFlag(FLAGS_max_grpc_bytes),
          .max_connection_age = absl::GetFlag(FLAGS_max_connection_age),
          .max_connection_age_grace = absl::GetFlag(FLAGS_max_connection_age_grace),
          .max_connection_idle = absl::GetFlag(FLAGS_max_connection_idle),
          .check_store = absl::GetFlag(FLAGS_check_store)};
}

// The file's settings, then the environment's, so that the later one stays.
std::optional<std::string> SetFromAround(const std::function<const char*(const char*)>& variable) {
  const auto from_environment = [&](std::string_view name) {
    std::string key = absl::StrCat("WAITD_", absl::AsciiStrToUpper(std::string(name)));
    std::replace(key.begin(), key.end(), '-', '_');
    return std::pair(key, variable(key.c_str()));
  };
  if (absl::GetFlag(FLAGS_config).empty()) {
    const auto [key, path] = from_environment("config");
    if (path != nullptr) absl::SetFlag(&FLAGS_config, path);
  }
  const std::string path = absl::GetFlag(FLAGS_config);
  if (!path.empty()) {
    const absl::StatusOr<std::string> text = ReadFile(path);
    if (!text.ok()) return absl::StrCat("cannot read the configuration file ", path);
    std::vector<std::pair<std::string, std::string>> settings;
    std::string error;
    if (!ParseConfig(*text, &settings, &error)) return absl::StrCat(path, ": ", error);
    for (const auto& [name, value] : settings) {
      if (name == "config") return absl::StrCat(path, ": config cannot name another file");
      if (auto fault = Set(name, value, path)) return fault;
    }
  }
  // Others with our prefix are not ours: Kubernetes makes WAITD_PORT for a service of this name.
  for (const OptionDoc& doc : kDocs) {
    const auto [key, value] = from_environment(doc.name);
    if (value == nullptr || doc.name == "config") continue;
    if (auto fault = Set(doc.name, value, key)) return fault;
  }
  return std::nullopt;
}

}  // namespace

std::span<const OptionDoc> OptionDocs() { return kDocs; }

std::string HelpOf(const OptionDoc& option) { return FindFlag(option.name)->Help(); }
std::string DefaultOf(const OptionDoc& option) {
  const absl::CommandLineFlag* const flag = FindFlag(option.name);
  const std::string value = flag->DefaultValue();
  // Where that depends on the machine the help says how.
  const bool tells = absl::EndsWith(flag->Help(), "]");
  return tells || (flag->IsOfType<bool>() && value == "false") ? "" : value;
}

std::string DefaultDataDir(const std::function<const char*(const char*)>& variable, bool root) {
  // Of several directories the service manager names the main one first.
  if (const char* const state = variable("STATE_DIRECTORY"); state != nullptr && *state != '\0') {
    return std::string(state).substr(0, std::string_view(state).find(':'));
  }
  if (root) return "/var/lib/waitd";
  if (const char* const state = variable("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return absl::StrCat(state, "/waitd");
  }
  const char* const home = variable("HOME");
  return home == nullptr || *home == '\0' ? "" : absl::StrCat(home, "/.local/state/waitd");
}

bool ParseConfig(std::string_view text, std::vector<std::pair<std::string, std::string>>* settings,
                 std::string* error) {
  int number = 0;
  for (const absl::string_view raw :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line[0] == '#') continue;
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const absl::string_view name = absl::StripAsciiWhitespace(parts.first);
    if (name.empty() || line.find('=') == absl::string_view::npos) {
      *error = absl::StrCat("line ", number, ": not `name = value`");
      return false;
    }
    settings->emplace_back(absl::StrReplaceAll(name, {{"_", "-"}}),
                           absl::StripAsciiWhitespace(parts.second));
  }
  return true;
}

CommandLine ReadCommandLine(std::span<const std::string> arguments,
                            const std::function<const char*(const char*)>& variable) {
  const auto fail = [](std::string error) {
    return CommandLine{CommandLine::Action::kFail, std::move(error), {}};
  };
  std::vector<std::pair<std::string, std::string>> flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") return {CommandLine::Action::kHelp, "", {}};
    if (argument == "--version") return {CommandLine::Action::kVersion, "", {}};
    if (!argument.starts_with("--")) {
      return fail(absl::StrCat("'", argument, "' is not an option; see waitd --help"));
    }
    std::string name = argument.substr(2);
    std::optional<std::string> value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    std::replace(name.begin(), name.end(), '_', '-');
    if (FindFlag(name) == nullptr) {
      return fail(absl::StrCat("there is no option --", name, Suggest(name)));
    }
    if (!value.has_value() && FindFlag(name)->IsOfType<bool>()) value = "true";
    if (!value.has_value()) {
      if (i + 1 == arguments.size()) return fail(absl::StrCat("--", name, " needs a value"));
      value = arguments[++i];
    }
    flags.emplace_back(name, *value);
  }
  for (const auto& [name, value] : flags) {
    if (name != "config") continue;
    if (auto fault = Set(name, value, "--config")) return fail(*fault);
  }
  if (auto fault = SetFromAround(variable)) return fail(*fault);
  for (const auto& [name, value] : flags) {
    if (auto fault = Set(name, value, absl::StrCat("--", name))) return fail(*fault);
  }
  Options options = Current();
  if (auto fault = Check(options)) return fail(*fault);
  if (options.data_dir.empty() && options.store != "memory") {
    options.data_dir = DefaultDataDir(variable, geteuid() == 0);
    if (options.data_dir.empty()) return fail("there is no place for the store; give --data-dir");
  }
  return {CommandLine::Action::kRun, "", std::move(options)};
}

std::string HelpText() {
  std::string text =
      "waitd: remote timed waits on named poll descriptors, over gRPC.\n\n"
      "Examples:\n"
      "  waitd                                      serve on 127.0.0.1:7411\n"
      "  waitd --store memory                       the same, and keep nothing\n"
      "  waitd --listen-address unix:/run/waitd.sock\n"
      "  WAITD_LOG_FORMAT=json waitd --config /etc/waitd/waitd.conf\n\n"
      "Options, each also as WAITD_NAME in the environment and as `name = value` in the file that\n"
      "--config names; flags go before the environment, and that before the file:\n";
  for (const OptionDoc& doc : kDocs) {
    const std::string value = DefaultOf(doc);
    absl::StrAppend(&text, "  --", std::string(doc.name), doc.value.empty() ? "" : "=",
                    std::string(doc.value), "\n      ", HelpOf(doc),
                    value.empty() ? "" : absl::StrCat(" [", value, "]"), "\n");
  }
  absl::StrAppend(&text, "  --help, --version\n");
  return text;
}

}  // namespace waitd::server
