#ifndef WAITD_SERVER_ACCESS_FILE_WATCH_H_
#define WAITD_SERVER_ACCESS_FILE_WATCH_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"

namespace waitd::server {

/// Reads files again when they have changed, which it looks for once a second: so it notices
/// whatever way they are replaced, be it the symbolic links of a mounted secret.
///
/// Threads: Add comes before Start; the loads then run on a thread of its own.
class FileWatch {
 public:
  /// Takes the contents, in the order of the paths, or objects, and then what was there stays.
  using Load = std::function<absl::Status(const std::vector<std::string>& contents)>;

  /// Files that belong together. They are loaded at once: an error says which and why.
  absl::Status Add(std::vector<std::string> paths, Load load);

  /// Nothing happens when there is nothing to watch.
  void Start();

  /// No load runs any more when it returns. The destructor does the same.
  void Stop() { thread_ = std::jthread(); }

 private:
  struct Group {
    std::vector<std::string> paths;
    Load load;
    std::vector<std::string> contents;
    std::string said;  // of an error, so that it is logged once
  };

  static void Look(Group& group);

  std::vector<Group> groups_;  // of the thread, once it runs
  std::jthread thread_;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_FILE_WATCH_H_
