#ifndef WAITD_TESTS_INTEGRATION_REAL_SERVER_H_
#define WAITD_TESTS_INTEGRATION_REAL_SERVER_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace waitd {

/// A waitd of its own on a unix socket, killed at the end. It keeps nothing, but with the flags
/// "--store rocksdb" all that it answered, from one Start to the next.
class RealServer {
 public:
  explicit RealServer(std::vector<std::string> flags = {}) : flags_(std::move(flags)) {
    std::string folder = testing::TempDir() + "waitd-XXXXXX";
    folder_ = mkdtemp(folder.data());
    Start();
  }
  ~RealServer() {
    Kill();
    std::filesystem::remove_all(folder_);
  }
  RealServer(const RealServer&) = delete;
  RealServer& operator=(const RealServer&) = delete;

  std::string socket() const { return folder_ + "/socket"; }
  std::string address() const { return "unix:" + socket(); }

  /// Clients find it when it is there, so that nobody waits for that.
  void Start() {
    std::vector<std::string> words = {std::string(getenv("WAITD_BIN_DIR")) + "/waitd",
                                      "--listen-address",
                                      address(),
                                      "--metrics-address",
                                      "127.0.0.1:0",
                                      "--store",
                                      "memory",
                                      "--data-dir",
                                      folder_ + "/data"};
    words.insert(words.end(), flags_.begin(), flags_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, (folder_ + "/log").c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_EQ(posix_spawn(&process_, arguments[0], &files, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
  }

  void Kill() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }

  /// Returns when it has come to a stop, which the signal alone does not mean.
  void Freeze() {
    kill(process_, SIGSTOP);
    waitpid(process_, nullptr, WUNTRACED);
  }
  void Thaw() { kill(process_, SIGCONT); }

 private:
  const std::vector<std::string> flags_;
  std::string folder_;
  pid_t process_ = 0;
};

/// Passes bytes between clients and a server, both on unix sockets, and cuts each connection after
/// so many of them, as the seed says: in the midst of a message, or between two.
class CutProxy {
 public:
  CutProxy(std::string target, uint64_t seed, size_t bytes_max)
      : target_(std::move(target)), random_(seed), bytes_(1, bytes_max) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un here = At(path());
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&here), sizeof(here)), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    thread_ = std::thread([this] { Accept(); });
  }
  ~CutProxy() {
    over_ = true;
    thread_.join();
    close(listener_);
    unlink(path().c_str());
  }
  CutProxy(const CutProxy&) = delete;
  CutProxy& operator=(const CutProxy&) = delete;

  std::string address() const { return "unix:" + path(); }
  int cuts() const { return cuts_; }
  /// From now on nothing is cut.
  void Heal() { healed_ = true; }

 private:
  std::string path() const { return target_ + ".cut"; }

  static sockaddr_un At(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    return address;
  }

  // One connection at a time: a client has one, and comes again when it is cut.
  void Accept() {
    while (!over_) {
      pollfd waiting = {listener_, POLLIN, 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int client = accept(listener_, nullptr, nullptr);
      const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
      const sockaddr_un there = At(target_);
      if (connect(server, reinterpret_cast<const sockaddr*>(&there), sizeof(there)) == 0) {
        Pass(client, server);
      }
      close(client);
      close(server);
    }
  }

  void Pass(int client, int server) {
    size_t left = bytes_(random_);
    std::array<pollfd, 2> ends = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
    while (!over_) {
      if (poll(ends.data(), ends.size(), 20) <= 0) continue;
      for (size_t i = 0; i < ends.size(); ++i) {
        if (ends[i].revents == 0) continue;
        std::array<char, 4096> bytes = {};
        const ssize_t got =
            read(ends[i].fd, bytes.data(), healed_ ? bytes.size() : std::min(left, bytes.size()));
        if (got <= 0) return;
        if (write(ends[1 - i].fd, bytes.data(), static_cast<size_t>(got)) != got) return;
        left -= std::min(left, static_cast<size_t>(got));
        if (left == 0 && !healed_) {
          ++cuts_;
          return;
        }
      }
    }
  }

  const std::string target_;
  std::mt19937_64 random_;
  std::uniform_int_distribution<size_t> bytes_;
  int listener_ = -1;
  std::atomic<bool> over_ = false;
  std::atomic<bool> healed_ = false;
  std::atomic<int> cuts_ = 0;
  std::thread thread_;
};

}  // namespace waitd

#endif  // WAITD_TESTS_INTEGRATION_REAL_SERVER_H_
