#include "server/options/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/flags/reflection.h"

namespace waitd::server {
namespace {

using Action = CommandLine::Action;
using Settings = std::vector<std::pair<std::string, std::string>>;

class OptionsTest : public testing::Test {
 protected:
  CommandLine Read(const std::vector<std::string>& arguments) {
    const absl::FlagSaver saver;  // the flags are the process's, and each read begins anew
    environment_.emplace("STATE_DIRECTORY", "/state");  // whoever runs this
    return ReadCommandLine(arguments, [this](const char* name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    });
  }

  std::string WriteFile(const std::string& text) {
    const std::string path =
        testing::TempDir() + "waitd_options_" + std::to_string(getpid()) + ".conf";
    std::ofstream(path) << text;
    return path;
  }

  // Refused, with all of these in the one line that says why.
  void ExpectFailure(const std::vector<std::string>& arguments,
                     const std::vector<std::string>& words) {
    const CommandLine line = Read(arguments);
    EXPECT_EQ(line.action, Action::kFail);
    for (const std::string& word : words) {
      EXPECT_NE(line.error.find(word), std::string::npos) << word << " is not in " << line.error;
    }
    EXPECT_EQ(line.error.find('\n'), std::string::npos) << line.error;
  }

  std::map<std::string, std::string> environment_;
};

TEST_F(OptionsTest, NothingGivenMeansTheDocumentedDefaults) {
  const CommandLine line = Read({});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.listen_address, "127.0.0.1:7411");
  EXPECT_EQ(line.options.metrics_address, "127.0.0.1:9464");
  EXPECT_EQ(line.options.log_level, "info");
  EXPECT_EQ(line.options.log_format, "text");
  EXPECT_EQ(line.options.max_payload_bytes, 65536U);
  EXPECT_EQ(line.options.max_wait, absl::Hours(24));
  EXPECT_EQ(line.options.default_idle_ttl, absl::Hours(24 * 7));
  EXPECT_EQ(line.options.drain_timeout, absl::Seconds(10));
  EXPECT_EQ(line.options.store, "rocksdb");
  EXPECT_EQ(line.options.data_dir, "/state");
  EXPECT_EQ(line.options.sync, "always");
  EXPECT_EQ(line.options.min_free_disk_bytes, 64U << 20);
  EXPECT_FALSE(line.options.check_store);
}

TEST_F(OptionsTest, EachOptionIsTakenFromAFlag) {
  const CommandLine line = Read(
      {"--listen-address=unix:/run/w", "--metrics-address", "[::1]:0", "--log-level=debug",
       "--log-format", "json", "--max-descriptors=1", "--max-waiters", "2", "--max-payload-bytes=3",
       "--max-wait=0", "--default-idle-ttl", "1h30m", "--drain_timeout=250ms", "--max-deliveries=4",
       "--max-deliveries-per-side=5", "--max-ack-timeout=6s", "--retention=inf"});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.max_deliveries, 4U);
  EXPECT_EQ(line.options.max_deliveries_per_side, 5U);
  EXPECT_EQ(line.options.max_ack_timeout, absl::Seconds(6));
  EXPECT_EQ(line.options.retention, absl::InfiniteDuration());
  EXPECT_EQ(line.options.listen_address, "unix:/run/w");
  EXPECT_EQ(line.options.metrics_address, "[::1]:0");
  EXPECT_EQ(line.options.log_level, "debug");
  EXPECT_EQ(line.options.log_format, "json");
  EXPECT_EQ(line.options.max_descriptors, 1U);
  EXPECT_EQ(line.options.max_waiters, 2U);
  EXPECT_EQ(line.options.max_payload_bytes, 3U);
  EXPECT_EQ(line.options.max_wait, absl::ZeroDuration());
  EXPECT_EQ(line.options.default_idle_ttl, absl::Minutes(90));
  EXPECT_EQ(line.options.drain_timeout, absl::Milliseconds(250));
}

TEST_F(OptionsTest, TheStoresOptionsAreTakenFromFlags) {
  const CommandLine line = Read({"--store=rocksdb", "--data-dir", "/data", "--sync=interval",
                                 "--min-free-disk-bytes=0", "--check-store"});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.store, "rocksdb");
  EXPECT_EQ(line.options.data_dir, "/data");
  EXPECT_EQ(line.options.sync, "interval");
  EXPECT_EQ(line.options.min_free_disk_bytes, 0U);
  EXPECT_TRUE(line.options.check_store);
  EXPECT_FALSE(Read({"--check-store=false"}).options.check_store);
  EXPECT_EQ(Read({"--store=memory"}).options.data_dir, "") << "it needs none";
}

TEST_F(OptionsTest, FlagsGoBeforeTheEnvironmentAndThatBeforeTheFile) {
  const std::string path =
      WriteFile("# all three\nmax-waiters = 3\nmax-descriptors=3\n\nmax_payload_bytes = 3\r\n");
  environment_ = {{"WAITD_MAX_WAITERS", "2"}, {"WAITD_MAX_DESCRIPTORS", "2"}};
  const CommandLine line = Read({"--max-waiters=1", "--config", path});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.max_waiters, 1U);
  EXPECT_EQ(line.options.max_descriptors, 2U);
  EXPECT_EQ(line.options.max_payload_bytes, 3U);
}

TEST_F(OptionsTest, TheEnvironmentMayNameTheFileAndAFlagAnotherOne) {
  environment_ = {{"WAITD_CONFIG", WriteFile("max-waiters = 3\n")}};
  EXPECT_EQ(Read({}).options.max_waiters, 3U);
  environment_ = {{"WAITD_CONFIG", "/nowhere/at/all"}};
  const CommandLine line = Read({"--config", WriteFile("max-waiters = 4\n")});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.max_waiters, 4U);
}

TEST_F(OptionsTest, VariablesThatAreNoOptionsAreNotOurs) {
  environment_ = {{"WAITD_PORT", "tcp://10.0.0.1:7411"}};
  EXPECT_EQ(Read({}).action, Action::kRun);
}

TEST_F(OptionsTest, HelpAndVersionAreActions) {
  EXPECT_EQ(Read({"--help"}).action, Action::kHelp);
  EXPECT_EQ(Read({"-h"}).action, Action::kHelp);
  EXPECT_EQ(Read({"--version"}).action, Action::kVersion);
}

TEST_F(OptionsTest, AMistypedNameIsAnsweredWithTheNearestOne) {
  ExpectFailure({"--max-waitres=1"}, {"--max-waitres", "did you mean --max-waiters?"});
  ExpectFailure({"--something-else=1"}, {"--something-else", "waitd --help"});
}

TEST_F(OptionsTest, FlagsOfLibrariesAreNoOptions) {
  ExpectFailure({"--flagfile=/etc/passwd"}, {"no option --flagfile"});
}

TEST_F(OptionsTest, WhatIsNoOptionOrHasNoValueIsRefused) {
  ExpectFailure({"serve"}, {"'serve'"});
  ExpectFailure({"--max-waiters"}, {"--max-waiters needs a value"});
}

TEST_F(OptionsTest, NumbersAreRefusedOutsideTheirRange) {
  ExpectFailure({"--max-waiters=-1"}, {"--max-waiters", "'-1'", "whole number"});
  ExpectFailure({"--max-waiters=many"}, {"'many'"});
  EXPECT_EQ(Read({"--max-waiters=0"}).action, Action::kRun) << "memory alone limits them";
  ExpectFailure({"--max-waiters=1000000001"}, {"0 to 1000000000"});
  ExpectFailure({"--max-parked=0"}, {"max-parked is 0", "1 to 1000000000"});
  ExpectFailure({"--max-memory=1000"}, {"max-memory is 1000 bytes", "134217728 or more"});
  EXPECT_EQ(Read({"--max-memory=134217728"}).action, Action::kRun);
  EXPECT_EQ(Read({"--max-waiters=1000000000"}).action, Action::kRun);
  ExpectFailure({"--max-payload-bytes=67108865"}, {"1 to 67108864"});
  EXPECT_EQ(Read({"--max-payload-bytes=67108864"}).action, Action::kRun);
}

TEST_F(OptionsTest, DurationsAreRefusedWithoutAUnitAndBelowZero) {
  ExpectFailure({"--max-wait=10"}, {"'10'", "250ms"});
  ExpectFailure({"--drain-timeout=-1ns"}, {"drain-timeout", "negative"});
  EXPECT_EQ(Read({"--drain-timeout=0s"}).action, Action::kRun);
  ExpectFailure({"--max-ack-timeout=0"}, {"max-ack-timeout is not above 0"});
  EXPECT_EQ(Read({"--max-ack-timeout=1ns"}).action, Action::kRun);
  EXPECT_EQ(Read({"--max-ack-timeout=inf"}).action, Action::kRun);
}

TEST_F(OptionsTest, WordsAreRefusedThatAreNotOnTheirList) {
  ExpectFailure({"--log-level=loud"}, {"'loud'", "log-level", "debug, info, warning, error"});
  ExpectFailure({"--log-format=xml"}, {"'xml'", "text, json"});
  ExpectFailure({"--store=paper"}, {"'paper'", "store", "rocksdb, memory"});
  ExpectFailure({"--sync=often"}, {"'often'", "sync", "always, interval, never"});
  ExpectFailure({"--check-store=perhaps"}, {"'perhaps'", "check-store", "true or false"});
}

TEST_F(OptionsTest, AddressesNeedAHostAndAPort) {
  for (const char* wrong : {"", "7411", ":7411", "localhost", "localhost:", "localhost:http",
                            "localhost:-1", "localhost:65536", "localhost:1,localhost:2"}) {
    ExpectFailure({"--listen-address", wrong}, {"listen-address", "HOST:PORT", "unix:PATH"});
    ExpectFailure({"--listen-address", "localhost:0", "--metrics-address", wrong},
                  {"metrics-address", "HOST:PORT"});
  }
  ExpectFailure({"--listen-address", "unix:"}, {"unix:PATH"});
  ExpectFailure({"--listen-address", "localhost:0", "--metrics-address", "unix:/run/w"},
                {"metrics-address"});
  EXPECT_EQ(Read({"--listen-address=localhost:65535", "--metrics-address=localhost:0"}).action,
            Action::kRun);
}

TEST_F(OptionsTest, WhoGetsInIsTakenFromFlags) {
  const CommandLine line =
      Read({"--listen-address=0.0.0.0:1", "--tls-cert-file=c", "--tls-key-file=k",
            "--tls-client-ca-file=a", "--auth=mtls", "--acl-file=l", "--reflection=false",
            "--max-rate=5", "--max-held-bytes=6", "--max-grpc-bytes=7", "--max-connection-age=1h",
            "--max-connection-age-grace=2s", "--max-connection-idle=3m"});
  ASSERT_EQ(line.action, Action::kRun) << line.error;
  EXPECT_EQ(line.options.tls_cert_file, "c");
  EXPECT_EQ(line.options.tls_key_file, "k");
  EXPECT_EQ(line.options.tls_client_ca_file, "a");
  EXPECT_EQ(line.options.auth, AuthMode::kMtls);
  EXPECT_EQ(line.options.acl_file, "l");
  EXPECT_FALSE(line.options.reflection);
  EXPECT_EQ(line.options.max_rate, 5U);
  EXPECT_EQ(line.options.max_held_bytes, 6U);
  EXPECT_EQ(line.options.max_grpc_bytes, 7U);
  EXPECT_EQ(line.options.max_connection_age, absl::Hours(1));
  EXPECT_EQ(line.options.max_connection_age_grace, absl::Seconds(2));
  EXPECT_EQ(line.options.max_connection_idle, absl::Minutes(3));
  EXPECT_EQ(Read({"--auth=token", "--token-file=t", "--acl-file=l"}).options.auth,
            AuthMode::kToken);
}

TEST_F(OptionsTest, HalfOfWhatBelongsTogetherIsRefusedWithTheOtherHalf) {
  ExpectFailure({"--tls-cert-file=c"}, {"--tls-key-file"});
  ExpectFailure({"--tls-key-file=k"}, {"--tls-cert-file"});
  ExpectFailure({"--tls-client-ca-file=a"}, {"--tls-cert-file"});
  ExpectFailure({"--auth=mtls", "--acl-file=l"}, {"--tls-client-ca-file"});
  ExpectFailure({"--auth=token", "--acl-file=l"}, {"--token-file"});
  ExpectFailure({"--token-file=t"}, {"--auth=token"});
  ExpectFailure({"--auth=token", "--token-file=t"}, {"--acl-file"});
  ExpectFailure({"--acl-file=l"}, {"--auth"});
  ExpectFailure({"--auth=password"}, {"'password'", "none, token, mtls"});
}

TEST_F(OptionsTest, OtherMachinesAreLetInOnlyWithTlsAndAuthOrWhenItIsSaid) {
  const std::vector<std::string> tls = {"--tls-cert-file=c", "--tls-key-file=k"};
  const std::vector<std::string> auth = {"--auth=token", "--token-file=t", "--acl-file=l"};
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.1.2.3:1", "example.org:1"}) {
    std::vector<std::string> flags = {"--listen-address", address};
    ExpectFailure(flags, {address, "no TLS and no --auth", "--insecure"});
    flags.insert(flags.end(), tls.begin(), tls.end());
    ExpectFailure(flags, {address, "there is no --auth", "--acl-file"});
    flags.insert(flags.end(), auth.begin(), auth.end());
    EXPECT_EQ(Read(flags).action, Action::kRun) << address;
    flags.erase(flags.begin() + 2, flags.begin() + 4);
    ExpectFailure(flags, {address, "there is no TLS", "--tls-cert-file"});
    EXPECT_EQ(Read({"--listen-address", address, "--insecure"}).action, Action::kRun);
  }
  for (const char* address : {"127.0.0.2:1", "localhost:1", "[::1]:1", "unix:/s"}) {
    EXPECT_EQ(Read({"--listen-address", address}).action, Action::kRun) << address;
  }
}

TEST_F(OptionsTest, MetricsMayBeLeftOut) {
  EXPECT_EQ(Read({"--metrics-address=none"}).options.metrics_address, "none");
  ExpectFailure({"--listen-address=none"}, {"listen-address", "HOST:PORT"});
}

TEST_F(OptionsTest, AFileThatCannotBeReadIsRefused) {
  ExpectFailure({"--config=/nowhere/at/all"}, {"cannot read", "/nowhere/at/all"});
  ExpectFailure({"--config", testing::TempDir()}, {"cannot read", testing::TempDir()});
}

TEST_F(OptionsTest, WhatIsWrongInAFileIsSaidWithItsName) {
  const std::string path = WriteFile("max-waiter = 1\n");
  ExpectFailure({"--config", path}, {path, "max-waiter", "did you mean --max-waiters?"});
  WriteFile("max-waiters = x\n");
  ExpectFailure({"--config", path}, {path, "'x'"});
  WriteFile("config = /etc/other\n");
  ExpectFailure({"--config", path}, {path, "another file"});
}

TEST_F(OptionsTest, AWrongVariableIsNamed) {
  environment_ = {{"WAITD_MAX_WAIT", "soon"}};
  ExpectFailure({}, {"WAITD_MAX_WAIT", "'soon'"});
}

TEST_F(OptionsTest, HelpAndTheTableNameEveryOption) {
  const std::string help = HelpText();
  for (const OptionDoc& doc : OptionDocs()) {
    EXPECT_NE(help.find("--" + std::string(doc.name) + (doc.value.empty() ? "" : "=")),
              std::string::npos)
        << doc.name;
    EXPECT_FALSE(HelpOf(doc).empty()) << doc.name;
  }
}

using Variables = std::map<std::string, std::string>;

std::string DefaultWith(const Variables& variables, bool root) {
  return DefaultDataDir(
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      root);
}

TEST(DefaultDataDir, TheServiceManagersPlaceGoesBeforeAll) {
  const Variables all = {
      {"STATE_DIRECTORY", "/srv/waitd"}, {"XDG_STATE_HOME", "/xdg"}, {"HOME", "/home/a"}};
  EXPECT_EQ(DefaultWith(all, true), "/srv/waitd");
  EXPECT_EQ(DefaultWith(all, false), "/srv/waitd");
  EXPECT_EQ(DefaultWith({{"STATE_DIRECTORY", "/srv/first:/srv/second"}}, true), "/srv/first");
}

TEST(DefaultDataDir, RootHasTheSystemsPlace) {
  EXPECT_EQ(DefaultWith({}, true), "/var/lib/waitd");
  EXPECT_EQ(
      DefaultWith({{"STATE_DIRECTORY", ""}, {"XDG_STATE_HOME", "/xdg"}, {"HOME", "/root"}}, true),
      "/var/lib/waitd");
}

TEST(DefaultDataDir, OthersHaveTheirOwn) {
  EXPECT_EQ(DefaultWith({{"XDG_STATE_HOME", "/xdg"}, {"HOME", "/home/a"}}, false), "/xdg/waitd");
  EXPECT_EQ(DefaultWith({{"HOME", "/home/a"}}, false), "/home/a/.local/state/waitd");
  // Which is to be ignored, says the XDG specification of a path that is not absolute.
  for (const char* wrong : {"", "state"}) {
    EXPECT_EQ(DefaultWith({{"XDG_STATE_HOME", wrong}, {"HOME", "/home/a"}}, false),
              "/home/a/.local/state/waitd");
  }
}

TEST(DefaultDataDir, WithoutAHomeThereIsNone) {
  EXPECT_EQ(DefaultWith({}, false), "");
  EXPECT_EQ(DefaultWith({{"HOME", ""}, {"XDG_STATE_HOME", ""}}, false), "");
}

TEST(ParseConfig, TakesNamesAndValuesAndPassesOverTheRest) {
  Settings settings;
  std::string error;
  ASSERT_TRUE(ParseConfig("\n# a = b\n  a_b =  c = d # e \r\nf=\n", &settings, &error)) << error;
  EXPECT_EQ(settings, (Settings{{"a-b", "c = d # e"}, {"f", ""}}));
}

TEST(ParseConfig, NamesTheLineThatIsWrong) {
  for (const char* wrong : {"a = 1\nb\n", "a = 1\n= 2\n"}) {
    Settings settings;
    std::string error;
    EXPECT_FALSE(ParseConfig(wrong, &settings, &error));
    EXPECT_NE(error.find("line 2"), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace waitd::server
