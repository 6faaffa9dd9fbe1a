#include "server/session_call.h"

#include <array>
#include <new>
#include <vector>

namespace waitd::server {
namespace {

// Blocks of operations that have gone, kept for those to come: a session makes and ends a million
// of them a second, most of them on one thread. They are of few sizes.
class Blocks {
 public:
  ~Blocks() {
    for (auto& list : lists_) {
      for (void* const bytes : list) ::operator delete(bytes);
    }
  }
  void* Get(size_t size) {
    const size_t at = (size - 1) / kStep;
    if (at >= lists_.size() || lists_[at].empty()) return ::operator new((at + 1) * kStep);
    void* const bytes = lists_[at].back();
    lists_[at].pop_back();
    return bytes;
  }
  void Put(void* bytes, size_t size) {
    const size_t at = (size - 1) / kStep;
    if (at >= lists_.size() || lists_[at].size() >= kKeptMax) {
      ::operator delete(bytes);
    } else {
      lists_[at].push_back(bytes);
    }
  }

 private:
  static constexpr size_t kStep = 32;
  static constexpr size_t kKeptMax = 8192;
  std::array<std::vector<void*>, 16> lists_;
};

Blocks& MyBlocks() {
  thread_local Blocks blocks;
  return blocks;
}

}  // namespace

// NOLINTNEXTLINE(misc-new-delete-overloads): the sized delete is its match
void* SessionOperation::operator new(size_t size) { return MyBlocks().Get(size); }
void SessionOperation::operator delete(void* bytes, size_t size) { MyBlocks().Put(bytes, size); }

}  // namespace waitd::server
