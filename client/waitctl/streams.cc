#include "client/waitctl/streams.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

// After a call on `file` that failed: whether it may be made again. Who shares a stream with us may
// have made it one that does not block; then this returns once the call would not.
bool MayRepeat(int file, short events) {
  if (errno == EINTR) return true;
  if (errno != EAGAIN) return false;
  pollfd ready = {.fd = file, .events = events, .revents = 0};
  (void)poll(&ready, 1, -1);
  return true;
}

}  // namespace

void GuardStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int flags = fcntl(stream, F_GETFD);
    // What would be closed on exec was not there before us: gRPC leaves a file open behind its
    // beginnings when the number of that is 0.
    if (flags != -1 && (flags & FD_CLOEXEC) == 0) continue;
    if (flags != -1) close(stream);
    // The lowest free number is this one's, as those below are open. The wrong way round: a read
    // of stdin and a write to the others fail, as they would have.
    (void)open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

std::string WriteOut(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (!MayRepeat(STDOUT_FILENO, POLLOUT)) {
      return absl::StrCat("cannot write to standard output: ", std::strerror(errno));
    }
  }
  return "";
}

std::optional<std::string> ReadIn(const std::string& path, size_t bytes_max, std::string* error) {
  const bool standard = path == "-";
  const std::string shown = standard ? "standard input" : absl::StrCat("'", path, "'");
  const auto fail = [&] {
    *error = absl::StrCat("cannot read ", shown, ": ", std::strerror(errno),
                          "; give a file, or - for standard input");
    return std::nullopt;
  };
  const int file = standard ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail();
  std::string content;
  std::array<char, 64 << 10> piece;
  for (;;) {
    const ssize_t got = read(file, piece.data(), piece.size());
    if (got < 0) {
      if (MayRepeat(file, POLLIN)) continue;
      return fail();
    }
    if (got == 0) break;
    content.append(piece.data(), static_cast<size_t>(got));
    if (content.size() > bytes_max) {
      *error = absl::StrCat(shown, " has more than ", bytes_max >> 20,
                            " MiB; a signal is small: hand over where the data is");
      return std::nullopt;
    }
  }
  if (!standard) close(file);
  return content;
}

void Say(std::string_view line) { std::fprintf(stderr, "%s\n", Printable(line).c_str()); }

}  // namespace waitd::ctl
