#include "server/metrics/admin.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "server/metrics/families.h"

namespace waitd::server {
namespace {

class OneMetric final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    return {Counter("test_total", "A test.", {{{{"label", "value"}}, 42}})};
  }
};

// What a server on 127.0.0.1 answers to a GET, head and body.
std::string Get(const std::string& address, const std::string& path) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

class AdminTest : public testing::Test {
 protected:
  OneMetric metric_;
  bool ready_ = true;
  Admin admin_{{&metric_}, [this] { return ready_; }};
  std::string error_;
};

TEST_F(AdminTest, ServesMetricsOnAFreePortAndSaysWhich) {
  const std::string address = admin_.Start("127.0.0.1:0", &error_);
  ASSERT_FALSE(address.empty()) << error_;
  EXPECT_EQ(address.substr(0, 10), "127.0.0.1:");
  EXPECT_NE(address, "127.0.0.1:0");
  const std::string answer = Get(address, "/metrics");
  EXPECT_EQ(answer.substr(0, 15), "HTTP/1.1 200 OK");
  EXPECT_NE(answer.find("text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(answer.find("test_total{label=\"value\"} 42"), std::string::npos) << answer;
}

TEST_F(AdminTest, ReadinessFollowsAndHealthDoesNot) {
  const std::string address = admin_.Start("127.0.0.1:0", &error_);
  ASSERT_FALSE(address.empty()) << error_;
  EXPECT_EQ(Get(address, "/readyz").substr(0, 12), "HTTP/1.1 200");
  ready_ = false;
  EXPECT_EQ(Get(address, "/readyz").substr(0, 12), "HTTP/1.1 503");
  EXPECT_EQ(Get(address, "/healthz").substr(0, 12), "HTTP/1.1 200");
}

TEST_F(AdminTest, AnythingElseIsNotFound) {
  const std::string address = admin_.Start("127.0.0.1:0", &error_);
  ASSERT_FALSE(address.empty()) << error_;
  for (const char* path : {"/", "/metricsx", "/x/metrics", "/../etc/passwd"}) {
    const std::string answer = Get(address, path);
    EXPECT_EQ(answer.substr(0, 10), "HTTP/1.1 4") << path << ": " << answer;
  }
}

TEST_F(AdminTest, AnAddressInUseOrOfAnotherMachineIsRefused) {
  const std::string address = admin_.Start("127.0.0.1:0", &error_);
  ASSERT_FALSE(address.empty()) << error_;
  for (const std::string& wrong : {address, std::string("192.0.2.1:9464")}) {
    Admin second({}, [] { return true; });
    std::string error;
    EXPECT_EQ(second.Start(wrong, &error), "");
    EXPECT_NE(error.find(wrong), std::string::npos) << error;
    EXPECT_NE(error.find("--metrics-address"), std::string::npos) << error;
  }
}

// Debian's civetweb has no IPv6; one that has it would serve.
TEST_F(AdminTest, AnIPv6AddressIsServedOrItIsSaidWhyNot) {
  if (!admin_.Start("[::1]:0", &error_).empty()) return;
  EXPECT_NE(error_.find("has no IPv6"), std::string::npos) << error_;
}

}  // namespace
}  // namespace waitd::server
