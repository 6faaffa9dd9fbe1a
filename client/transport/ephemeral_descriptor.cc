#include "waitd/ephemeral_descriptor.h"

#include <utility>

namespace waitd {

absl::StatusOr<EphemeralDescriptor> EphemeralDescriptor::Create(Client& client,
                                                                std::string_view name,
                                                                OpenOptions options) {
  options.ephemeral = true;
  absl::StatusOr<OpenResult> opened = client.Create(name, options).Get();
  if (!opened.ok()) return opened.status();
  return EphemeralDescriptor(client, name, opened->generation);
}

EphemeralDescriptor::~EphemeralDescriptor() {
  if (client_ == nullptr) return;
  // By its generation: a later life of the name is another's. Gone already is as good.
  client_->Close(name_, {.generation = generation_}).Then([](const auto& /*result*/) {});
}

EphemeralDescriptor::EphemeralDescriptor(EphemeralDescriptor&& other) noexcept
    : client_(std::exchange(other.client_, nullptr)),
      name_(std::move(other.name_)),
      generation_(other.generation_) {}

EphemeralDescriptor& EphemeralDescriptor::operator=(EphemeralDescriptor&& other) noexcept {
  std::swap(client_, other.client_);
  std::swap(name_, other.name_);
  std::swap(generation_, other.generation_);
  return *this;
}

}  // namespace waitd
