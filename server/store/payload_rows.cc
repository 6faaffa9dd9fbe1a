#include "server/store/payload_rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"

namespace waitd::server {
namespace {

absl::string_view Key(std::string_view key) { return {key.data(), key.size()}; }

}  // namespace

uint64_t PayloadRows::Refer(const core::Payload& payload) {
  std::unique_ptr<Row>& row = by_payload_[payload.get()];
  if (row == nullptr) {
    row = std::make_unique<Row>(Row{next_++, 0, payload});
    work_.put.emplace_back(row->number, payload);
  }
  ++row->references;
  making_.push_back(row.get());
  return row->number;
}

void PayloadRows::Made(std::string_view key) {
  if (making_.empty()) return Erased(key);
  const std::vector<Row*> former = std::exchange(references_[Key(key)], std::move(making_));
  making_.clear();
  Release(former);
}

void PayloadRows::Erased(std::string_view key) {
  if (references_.empty()) return;
  const auto found = references_.find(Key(key));
  if (found == references_.end()) return;
  const std::vector<Row*> former = std::move(found->second);
  references_.erase(found);
  Release(former);
}

PayloadRows::Work PayloadRows::Take() {
  std::sort(idle_.begin(), idle_.end());
  idle_.erase(std::unique(idle_.begin(), idle_.end()), idle_.end());
  for (Row* const row : idle_) {
    if (row->references > 0) continue;
    work_.erase.push_back(row->number);
    by_payload_.erase(row->payload.get());
  }
  idle_.clear();
  return std::exchange(work_, {});
}

void PayloadRows::Found(uint64_t number, core::Payload payload) {
  const std::string* const at = payload.get();
  auto row = std::make_unique<Row>(Row{number, 0, std::move(payload)});
  found_[number] = row.get();
  by_payload_[at] = std::move(row);
  next_ = std::max(next_, number + 1);
}

core::Payload PayloadRows::ReferTo(uint64_t number) {
  const auto found = found_.find(number);
  if (found == found_.end()) return nullptr;
  Refer(found->second->payload);
  return found->second->payload;
}

size_t PayloadRows::AllFound() {
  const auto idle = std::count_if(found_.begin(), found_.end(), [](const auto& numbered) {
    return numbered.second->references == 0;
  });
  found_.clear();
  return static_cast<size_t>(idle);
}

void PayloadRows::Release(const std::vector<Row*>& rows) {
  for (Row* const row : rows) {
    if (--row->references == 0) idle_.push_back(row);
  }
}

}  // namespace waitd::server
