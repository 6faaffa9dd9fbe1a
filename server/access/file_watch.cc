#include "server/access/file_watch.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/options/read_file.h"

namespace waitd::server {
namespace {

absl::StatusOr<std::vector<std::string>> ReadAll(const std::vector<std::string>& paths) {
  std::vector<std::string> all;
  for (const std::string& path : paths) {
    absl::StatusOr<std::string> contents = ReadFile(path);
    if (!contents.ok()) return contents.status();
    all.push_back(*std::move(contents));
  }
  return all;
}

}  // namespace

absl::Status FileWatch::Add(std::vector<std::string> paths, Load load) {
  absl::StatusOr<std::vector<std::string>> contents = ReadAll(paths);
  if (!contents.ok()) return contents.status();
  if (const absl::Status status = load(*contents); !status.ok()) {
    return {status.code(), absl::StrCat(absl::StrJoin(paths, ", "), ": ", status.message())};
  }
  groups_.push_back({std::move(paths), std::move(load), *std::move(contents), {}});
  return absl::OkStatus();
}

void FileWatch::Start() {
  if (groups_.empty()) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    constexpr std::chrono::seconds kInterval{1};
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      never.wait_for(lock, stop, kInterval, [] { return false; });
      for (Group& group : groups_) Look(group);
    }
  });
}

void FileWatch::Look(Group& group) {
  absl::StatusOr<std::vector<std::string>> contents = ReadAll(group.paths);
  if (contents.ok() && *contents == group.contents) {
    group.said.clear();
    return;
  }
  const absl::Status status = contents.ok() ? group.load(*contents) : contents.status();
  const std::string files = absl::StrJoin(group.paths, ", ");
  if (status.ok()) {
    group.contents = *std::move(contents);
    group.said.clear();
    spdlog::info("read again: {}", files);
    return;
  }
  std::string said(status.message());
  if (std::exchange(group.said, said) == said) return;
  spdlog::error("not taken, what was read before goes on: {}: {}", files, said);
}

}  // namespace waitd::server
