#ifndef WAITD_EPHEMERAL_DESCRIPTOR_H_
#define WAITD_EPHEMERAL_DESCRIPTOR_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "waitd/client.h"

namespace waitd {

/// A descriptor that lives no longer than this object, than the client, and than the client's
/// session: it is closed, and each wait on it ends with CLOSED, when the first of them ends. A
/// session outlives a broken connection for as long as the server lets it linger.
///
/// Threads:  as any object; the client may be shared.
/// Lifetime: ends before the client does. Its end only sends the close, and does not wait for it.
class EphemeralDescriptor {
 public:
  /// Creates it, and waits for that. ALREADY_EXISTS with the reason EXISTS when the name is open,
  /// as it may not be ours to close. Not on the client's thread.
  static absl::StatusOr<EphemeralDescriptor> Create(Client& client, std::string_view name,
                                                    OpenOptions options = {});
  ~EphemeralDescriptor();
  EphemeralDescriptor(EphemeralDescriptor&& other) noexcept;
  EphemeralDescriptor& operator=(EphemeralDescriptor&& other) noexcept;

  const std::string& name() const { return name_; }
  uint64_t generation() const { return generation_; }

 private:
  EphemeralDescriptor(Client& client, std::string_view name, uint64_t generation)
      : client_(&client), name_(name), generation_(generation) {}

  Client* client_;  // null: moved from
  std::string name_;
  uint64_t generation_;
};

}  // namespace waitd

#endif  // WAITD_EPHEMERAL_DESCRIPTOR_H_
