#include "client/waitctl/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

ProgramEnd CannotRun(int error) {
  return {.code = error == ENOENT ? kNoProgram : kCannotRun,
          .ran = false,
          .how = absl::StrCat("cannot be run: ", std::strerror(error))};
}

// Where a shell would find a program; empty: nowhere, for which errno would be `error`.
std::string Find(const std::string& name, int* error) {
  std::vector<std::string> candidates = {name};
  if (name.find('/') == std::string::npos) {
    candidates.clear();
    const char* const path = std::getenv("PATH");
    for (const auto& folder : absl::StrSplit(path == nullptr ? "/bin:/usr/bin" : path, ':')) {
      candidates.push_back(absl::StrCat(folder, folder.empty() ? "./" : "/", name));
    }
  }
  *error = ENOENT;
  for (const std::string& each : candidates) {
    struct stat file = {};
    if (name.empty() || stat(each.c_str(), &file) != 0) continue;
    if (!S_ISDIR(file.st_mode) && access(each.c_str(), X_OK) == 0) return each;
    *error = EACCES;
  }
  return "";
}

// Whether a file can be what a shell reads, as one that does not begin with #! may be.
bool MayBeScript(const std::string& path) {
  std::array<char, 128> begin;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t got = read(file, begin.data(), begin.size());
  close(file);
  const std::string_view text(begin.data(), got < 0 ? 0 : static_cast<size_t>(got));
  return got >= 0 && !text.starts_with("\x7f") && text.find('\0') == text.npos;
}

// An open file with this content, to be read from its beginning, or -1. In memory, and no pipe: it
// needs nobody who goes on writing, and a program that does not read it hurts nobody.
int FileOf(std::string_view content) {
  const int file = memfd_create("waitctl-data", MFD_CLOEXEC);
  while (file >= 0 && !content.empty()) {
    const ssize_t written = write(file, content.data(), content.size());
    if (written < 0) {
      close(file);
      return -1;
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (file >= 0) lseek(file, 0, SEEK_SET);
  return file;
}

// Starts it. 0, or what errno would be. Unlike fork it is safe beside other threads, and says
// whether the program could be run.
int Spawn(const std::vector<std::string>& words, int input, const sigset_t& mask, pid_t* program) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (input >= 0) posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &mask);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error =
      posix_spawnp(program, words[0].c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// The same, and by a shell what the system cannot run itself, as shells, timeout(1) and env(1) do.
int SpawnAny(std::vector<std::string> words, int input, const sigset_t& mask, pid_t* program) {
  const int error = Spawn(words, input, mask, program);
  if (error != ENOEXEC) return error;
  int ignored = 0;
  words[0] = Find(words[0], &ignored);
  if (!MayBeScript(words[0])) return error;
  words.insert(words.begin(), "/bin/sh");
  return Spawn(words, input, mask, program);
}

ProgramEnd EndOf(int status) {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    return {.code = kSignalled + number,
            .ran = true,
            .how = absl::StrCat("was ended by a signal: ", strsignal(number))};
  }
  const int code = WEXITSTATUS(status);
  return {.code = code,
          .ran = true,
          .how = code == 0 ? "" : absl::StrCat("ended with exit code ", code)};
}

}  // namespace

std::optional<ProgramEnd> MissingProgram(const std::string& name) {
  int error = 0;
  if (Find(name, &error).empty()) return CannotRun(error);
  return std::nullopt;
}

ProgramEnd RunProgram(const std::vector<std::string>& words, std::optional<std::string_view> input,
                      Interrupts& interrupts) {
  // Who started us may ignore it, and then nobody would learn how the program ended.
  (void)signal(SIGCHLD, SIG_DFL);
  const int file = input.has_value() ? FileOf(*input) : -1;
  if (input.has_value() && file < 0) return CannotRun(errno);
  pid_t program = 0;
  const int error = SpawnAny(words, file, interrupts.former_mask(), &program);
  if (file >= 0) close(file);
  if (error != 0) return CannotRun(error);
  {
    const Interrupts::Forwarding forwarding(interrupts, program);
    siginfo_t info = {};
    while (waitid(P_PID, static_cast<id_t>(program), &info, WEXITED | WNOWAIT) != 0 &&
           errno == EINTR) {
    }
  }
  int status = 0;
  while (waitpid(program, &status, 0) < 0 && errno == EINTR) {
  }
  return EndOf(status);
}

}  // namespace waitd::ctl
