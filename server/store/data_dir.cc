#include "server/store/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace waitd::server {
namespace {

namespace fs = std::filesystem;

constexpr char kMarker[] = "waitd-store";
constexpr char kMarkerBeingMade[] = "waitd-store.tmp";
constexpr char kExplained[] =
    "waitd keeps its store in this directory and changes it while it runs.\n";

absl::Status CannotUse(const std::string& path, int error) {
  const std::string cause = std::generic_category().message(error);
  if (error == EACCES || error == EPERM) {
    return absl::PermissionDeniedError(
        absl::StrCat("no permission to use the data directory: ", path, ": ", cause,
                     "; give it to the user that waitd runs as"));
  }
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no space for the data directory: ", path, ": ", cause, "; make room there"));
  }
  return absl::FailedPreconditionError(absl::StrCat("cannot use the data directory: ", path, ": ",
                                                    cause,
                                                    "; give one on a disk that can be written"));
}

absl::Status SyncPath(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return CannotUse(path, errno);
  const int error = fsync(file) == 0 ? 0 : errno;
  close(file);
  return error == 0 ? absl::OkStatus() : CannotUse(path, error);
}

// "waitd store, format 1, ready"
absl::StatusOr<DataDir::State> ReadMarker(const std::string& dir) {
  const std::string path = absl::StrCat(dir, "/", kMarker);
  std::ifstream file(path);
  if (!file) return CannotUse(path, EACCES);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  uint32_t format = 0;
  if (words.size() < 4 || words[0] != "waitd" || words[1] != "store," || words[2] != "format" ||
      !absl::SimpleAtoi(words[3].substr(0, words[3].find(',')), &format)) {
    return absl::DataLossError(absl::StrCat("the first line of ", path,
                                            " is not one that waitd wrote; go back to a backup of "
                                            "the directory, or give --data-dir another one"));
  }
  if (format > kStoreFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store in ", dir, " is of format ", format, " and this waitd knows ", kStoreFormat,
        " at most; run the newer waitd that made it, or give --data-dir a backup from before "
        "that"));
  }
  const std::string state = words.size() > 4 ? words[4] : "";
  if (state == "ready") {
    return format < kStoreFormat ? DataDir::State::kOld : DataDir::State::kReady;
  }
  if (state == "new") return DataDir::State::kNew;
  return absl::DataLossError(absl::StrCat("the first line of ", path,
                                          " breaks off; go back to a backup of the directory, or "
                                          "give --data-dir another one"));
}

}  // namespace

// What leads to a directory is the parent of its name alone.
DataDir::DataDir(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && (path_.ends_with('/') || path_.ends_with("/."))) path_.pop_back();
}

absl::StatusOr<DataDir::State> DataDir::Look() const {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (status.type() == fs::file_type::not_found) return State::kNew;
  if (error) return CannotUse(path_, error.value());
  if (status.type() != fs::file_type::directory) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory is a file: ", path_, "; give --data-dir a directory"));
  }
  std::string foreign;
  bool marked = false;
  for (auto entry = fs::directory_iterator(path_, error); !error && entry != fs::end(entry);
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name == kMarker) marked = true;
    // The root of a file system has a lost+found.
    if (name != kMarker && name != kMarkerBeingMade && name != "lost+found") foreign = name;
  }
  if (error) return CannotUse(path_, error.value());
  if (marked) return ReadMarker(path_);
  if (foreign.empty()) return State::kNew;
  return absl::FailedPreconditionError(
      absl::StrCat("the data directory holds what is not waitd's: ", path_, "/", foreign,
                   "; give --data-dir a directory that is empty, or one that waitd made"));
}

absl::Status DataDir::Make() const {
  if (mkdir(path_.c_str(), S_IRWXU) != 0) {
    if (errno != EEXIST) return CannotUse(path_, errno);
    return absl::AlreadyExistsError(absl::StrCat("something is at ", path_, " already"));
  }
  const fs::path parent = fs::path(path_).parent_path();
  return SyncPath(parent.empty() ? "." : parent.string());
}

absl::StatusOr<int> DataDir::Lock() const {
  if (auto status = Make(); !status.ok() && !absl::IsAlreadyExists(status)) return status;
  const int file = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return CannotUse(path_, errno);
  while (flock(file, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    close(file);
    return CannotUse(path_, error);
  }
  return file;
}

absl::StatusOr<uint64_t> DataDir::FreeBytes() const {
  std::error_code error;
  const fs::space_info space = fs::space(path_, error);
  if (!error) return space.available;
  return absl::UnavailableError(absl::StrCat("cannot ask how much space is left for ", path_, ": ",
                                             error.message(), "; look after the disk"));
}

absl::Status DataDir::Mark(State state) const {
  if (auto status = Make(); !status.ok() && !absl::IsAlreadyExists(status)) return status;
  // Whole or not at all: it is written beside its place, and moved there.
  const std::string made = absl::StrCat(path_, "/", kMarkerBeingMade);
  std::ofstream file(made, std::ios::trunc);
  file << "waitd store, format " << kStoreFormat << ", "
       << (state == State::kReady ? "ready" : "new") << "\n"
       << kExplained;
  file.close();
  if (!file) return CannotUse(path_, errno);
  if (auto status = SyncPath(made); !status.ok()) return status;
  if (rename(made.c_str(), absl::StrCat(path_, "/", kMarker).c_str()) != 0) {
    return CannotUse(path_, errno);
  }
  return SyncPath(path_);
}

absl::Status DataDir::SyncDatabase() const { return SyncPath(database()); }

}  // namespace waitd::server
