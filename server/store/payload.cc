#include "server/store/payload.h"

#include <atomic>
#include <memory>
#include <utility>

namespace waitd::server {
namespace {

// Relaxed: it is compared to a limit, and nothing else is read on the strength of it.
std::atomic<uint64_t> held{0};

// With its place in memory and what the allocator adds.
constexpr uint64_t kOverhead = 64;

class Counted {
 public:
  explicit Counted(std::string bytes) : bytes_(std::move(bytes)) {
    held.fetch_add(bytes_.size() + kOverhead, std::memory_order_relaxed);
  }
  ~Counted() { held.fetch_sub(bytes_.size() + kOverhead, std::memory_order_relaxed); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  const std::string& bytes() const { return bytes_; }

 private:
  const std::string bytes_;
};

}  // namespace

core::Payload MakePayload(std::string bytes) {
  auto counted = std::make_shared<const Counted>(std::move(bytes));
  const std::string* const inside = &counted->bytes();
  return {std::move(counted), inside};
}

uint64_t HeldPayloadBytes() { return held.load(std::memory_order_relaxed); }

}  // namespace waitd::server
