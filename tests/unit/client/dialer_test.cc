#include "client/transport/dialer.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace waitd::internal {
namespace {

constexpr const char* kPem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
constexpr const char* kKey = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";

class DialerTest : public testing::Test {
 protected:
  DialerTest() {
    std::string folder = testing::TempDir() + "waitd-XXXXXX";
    folder_ = mkdtemp(folder.data());
  }
  ~DialerTest() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, const std::string& content) const {
    std::ofstream(Path(name)) << content;
    return Path(name);
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  static absl::Status Check(const Credentials& files) { return Dialer("host:1", files).Check(); }

  // It is wrong, and says so with these words, and not with the secret.
  static void IsWrong(const Credentials& files, const std::vector<std::string>& words) {
    const absl::Status status = Check(files);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    for (const std::string& each : words) {
      EXPECT_NE(status.message().find(each), absl::string_view::npos)
          << status << " lacks " << each;
    }
    EXPECT_EQ(status.message().find("s3cret"), absl::string_view::npos) << status;
    grpc::ClientContext context;
    if (!files.token_file.empty()) {
      EXPECT_EQ(Dialer("host:1", files).Authorize(context), status);
    }
    EXPECT_EQ(Dialer("host:1", files).Dial().status(), status);
  }

  std::string folder_;
};

TEST_F(DialerTest, WhatIsWholeIsInOrder) {
  EXPECT_TRUE(Check({}).ok());
  Credentials files = {.ca_file = File("ca", kPem)};
  EXPECT_TRUE(Check(files).ok());
  files.token_file = File("token", "s3cret token \r\n\n");
  EXPECT_TRUE(Check(files).ok());
  files.cert_file = File("cert", kPem);
  files.key_file = File("key", kKey);
  EXPECT_TRUE(Check(files).ok());
  EXPECT_TRUE(Check({.token_file = files.token_file}).ok()) << "over plain text, too";
}

TEST_F(DialerTest, HalvesSayWhatIsMissing) {
  const std::string pem = File("pem", kPem);
  IsWrong({.ca_file = pem, .cert_file = pem}, {"key_file is missing"});
  IsWrong({.ca_file = pem, .key_file = pem}, {"cert_file is missing"});
  IsWrong({.cert_file = pem, .key_file = pem},
          {"ca_file is missing", "/etc/ssl/certs/ca-certificates.crt"});
}

TEST_F(DialerTest, FilesThatCannotBeReadAreNamed) {
  const std::string none = Path("none");
  const std::string pem = File("pem", kPem);
  const std::string key = File("key", kKey);
  const std::string why = "cannot be read: No such file";
  IsWrong({.ca_file = none}, {"CA file", none, why, "; give"});
  IsWrong({.ca_file = pem, .cert_file = none, .key_file = key}, {"certificate file", none, why});
  IsWrong({.ca_file = pem, .cert_file = pem, .key_file = none}, {"key file", none, why});
  IsWrong({.token_file = none}, {"token file", none, why, "; give"});
  IsWrong({.token_file = folder_}, {folder_, "regular file"});
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  IsWrong({.token_file = Path("pipe")}, {"pipe", "regular file"});
}

TEST_F(DialerTest, FilesThatHoldSomethingElseAreNamed) {
  const std::string pem = File("pem", kPem);
  const std::string key = File("key", kKey);
  IsWrong({.ca_file = File("ca", "")}, {"/ca'", "no certificate in PEM form"});
  IsWrong({.ca_file = key}, {"/key'", "no certificate in PEM form"});
  IsWrong({.ca_file = pem, .cert_file = key, .key_file = key}, {"/key'", "no certificate"});
  IsWrong({.ca_file = pem, .cert_file = pem, .key_file = pem}, {"/pem'", "no private key"});
  IsWrong({.token_file = File("empty", " \n")}, {"/empty'", "is empty"});
  for (const char* token : {"s3cret\ns3cret", "s3cret\t1", "s3cret\x7f", "s3cret\xc3\xa9"}) {
    IsWrong({.token_file = File("token", token)}, {"/token'", "cannot be sent"});
  }
  IsWrong({.token_file = File("nul", std::string("s3cret\0x", 8))}, {"/nul'", "cannot be sent"});
  const std::string longest(8192, 'x');
  EXPECT_TRUE(Check({.token_file = File("long", longest)}).ok());
  IsWrong({.token_file = File("long", longest + "x")}, {"/long'", "too large"});
}

TEST_F(DialerTest, FilesThatWereMendedAreTaken) {
  Dialer dialer("host:1", {.ca_file = Path("ca"), .token_file = Path("token")});
  EXPECT_FALSE(dialer.Dial().ok());
  File("ca", kPem);
  EXPECT_FALSE(dialer.Dial().ok());
  File("token", "t");
  EXPECT_TRUE(dialer.Dial().ok());
  // From then on a moment in which a certificate is not there ends nothing.
  std::filesystem::remove(Path("ca"));
  EXPECT_TRUE(dialer.Dial().ok());
}

}  // namespace
}  // namespace waitd::internal
