// The accept4 that gRPC finds in this process, before the C library's own. gRPC 1.51 gives a
// listener up, for good and without a word, when accept4 once fails for want of a file; and it
// would take so many connections that none is left for the store, whose failure ends waitd.
#include "server/process/accept.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"

namespace {

// Of the files that may be open at once an eighth, and at most so many, are not for connections:
// above the four fifths of which an alert tells, and enough for the store, which has up to 256
// open.
constexpr rlim_t kKeptMax = 512;
constexpr std::chrono::minutes kTellEach{1};

// What else may be open than connections, the store's files most of all.
constexpr rlim_t kOthersMax = 320;

// Relaxed: a number that is set once, at the start.
std::atomic<rlim_t> connections_max{RLIM_INFINITY};

// Whether it is one too many. The kernel gives out the lowest number that is free, so that there
// are at least as many files open.
bool IsKept(int fd) {
  const rlim_t most = connections_max.load(std::memory_order_relaxed);
  if (most != RLIM_INFINITY && static_cast<rlim_t>(fd) >= most + kOthersMax) return true;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return false;
  return static_cast<rlim_t>(fd) >= files.rlim_cur - std::min(files.rlim_cur / 8, kKeptMax);
}

// Tells the log of connections that were turned away, now and then. Threads: any.
class Turned {
 public:
  void Away() {
    const waitd::core::MutexLock lock(mutex_);
    ++count_;
    const auto now = std::chrono::steady_clock::now();
    if (told_ && now - *told_ < kTellEach) return;
    spdlog::error(
        "no files are left for connections, {} turned away: raise the limit (LimitNOFILE=, and "
        "--max-memory, by which they are counted as well), or look for who opens so many",
        count_);
    told_ = now;
    count_ = 0;
  }

 private:
  waitd::core::Mutex mutex_;
  uint64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<std::chrono::steady_clock::time_point> told_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void waitd::server::LimitConnections(uint64_t most) {
  connections_max.store(most, std::memory_order_relaxed);
}

extern "C" __attribute__((visibility("default"))) int accept4(int listener, sockaddr* address,
                                                              socklen_t* length, int flags) {
  static Turned turned;
  while (true) {
    const auto fd = static_cast<int>(syscall(SYS_accept4, listener, address, length, flags));
    if (fd >= 0 && IsKept(fd)) {
      close(fd);
      turned.Away();
    } else if (fd >= 0 || (errno != ECONNABORTED && errno != EPROTO)) {
      // As if nobody had come: gRPC looks again when the next one does.
      if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        errno = EAGAIN;
      }
      return fd;
    }
  }
}
