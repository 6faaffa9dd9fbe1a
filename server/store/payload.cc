#include "server/store/payload.h"

#include <memory>
#include <utility>

namespace waitd::server {
namespace {

struct Charged {
  Charged(std::string given, core::Charge charged)
      : bytes(std::move(given)), charge(std::move(charged)) {}

  const std::string bytes;
  const core::Charge charge;
};

}  // namespace

core::Amount PayloadAmount(size_t bytes) {
  constexpr size_t kAllocator = 32;  // what it adds to the two allocations
  return {1, sizeof(Charged) + kAllocator + bytes};
}

core::Payload MakePayload(std::string bytes, core::Charge charge) {
  auto charged = std::make_shared<const Charged>(std::move(bytes), std::move(charge));
  const std::string* const inside = &charged->bytes;
  return {std::move(charged), inside};
}

core::Payload StoredPayload(std::string bytes, core::Budget* budget) {
  if (budget == nullptr) return MakePayload(std::move(bytes), {});
  const core::Amount amount = PayloadAmount(bytes.size());
  budget->Add(core::Held::kPayloads, nullptr, amount);
  return MakePayload(std::move(bytes), {*budget, core::Held::kPayloads, {}, amount});
}

}  // namespace waitd::server
