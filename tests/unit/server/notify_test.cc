#include "server/process/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>

namespace waitd::server {
namespace {

// A manager's socket. Its address is written as in NOTIFY_SOCKET.
class Manager {
 public:
  explicit Manager(const std::string& address) : fd_(socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, address.data(), address.size());
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    if (address[0] == '@') {
      at.sun_path[0] = '\0';
    } else {
      ++size;
    }
    bound_ = bind(fd_, reinterpret_cast<const sockaddr*>(&at), size) == 0;
  }
  ~Manager() { close(fd_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  bool bound() const { return bound_; }

  // What has come, without waiting: a datagram is there when its sender returns.
  std::string Heard() {
    char buffer[256];
    const ssize_t size = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    return size < 0 ? "" : std::string(buffer, static_cast<size_t>(size));
  }

 private:
  int fd_;
  bool bound_ = false;
};

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "/" + name + std::to_string(getpid());
}

TEST(Notify, ReachesAPath) {
  const std::string path = TempPath("notify");
  Manager manager(path);
  ASSERT_TRUE(manager.bound());
  std::string error;
  EXPECT_TRUE(Notify(path.c_str(), "READY=1", &error)) << error;
  EXPECT_EQ(manager.Heard(), "READY=1");
  std::filesystem::remove(path);
}

TEST(Notify, ReachesAnAbstractName) {
  const std::string name = "@waitd-notify-test/" + std::to_string(getpid());
  Manager manager(name);
  ASSERT_TRUE(manager.bound());
  std::string error;
  EXPECT_TRUE(Notify(name.c_str(), "STOPPING=1", &error)) << error;
  EXPECT_EQ(manager.Heard(), "STOPPING=1");
}

TEST(Notify, WithoutAManagerIsFine) {
  std::string error;
  EXPECT_TRUE(Notify(nullptr, "READY=1", &error));
  EXPECT_TRUE(Notify("", "READY=1", &error));
}

TEST(Notify, SaysWhyItReachesNobody) {
  std::string error;
  EXPECT_FALSE(Notify(TempPath("nobody").c_str(), "READY=1", &error));
  EXPECT_EQ(error, "No such file or directory");
  EXPECT_FALSE(Notify("vsock:2:1", "READY=1", &error));
  EXPECT_NE(error, "No such file or directory");
}

TEST(Notify, AnAddressOfTheLargestSizeAndOneMore) {
  constexpr size_t kMax = sizeof(sockaddr_un::sun_path) - 1;
  std::string name = "@" + std::to_string(getpid());
  name.resize(kMax, 'x');
  Manager manager(name);
  ASSERT_TRUE(manager.bound());
  std::string error;
  EXPECT_TRUE(Notify(name.c_str(), "READY=1", &error)) << error;
  EXPECT_EQ(manager.Heard(), "READY=1");
  EXPECT_FALSE(Notify((name + "x").c_str(), "READY=1", &error));
}

TEST(Notify, StoppingAsksForMoreTimeThanTheDrainMayTake) {
  EXPECT_EQ(StoppingState(absl::Seconds(10)),
            "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=40000000");
  EXPECT_NE(StoppingState(absl::InfiniteDuration()).find("=9223372036854775807"),
            std::string::npos);
}

}  // namespace
}  // namespace waitd::server
