#include "server/options/read_file.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace waitd::server {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string contents;
  // Not by iterators: before a directory they throw.
  std::array<char, 4096> piece;
  while (file.read(piece.data(), piece.size()), file.gcount() > 0) {
    contents.append(piece.data(), static_cast<size_t>(file.gcount()));
  }
  if (file.is_open() && !file.bad()) return contents;
  return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ",
                                          errno == 0 ? "it is no file" : std::strerror(errno)));
}

}  // namespace waitd::server
