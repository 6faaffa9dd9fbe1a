#include "server/api/signal.h"

#include <climits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/store/payload.h"

namespace waitd::server {
namespace {

// With a sender the payload is one of these marks, the sender's length in two bytes, the sender,
// and the signal. No encoded message begins so, for its first byte would be the tag of a field 0.
constexpr char kSenderAlone = 0;
constexpr char kSenderAndSignal = 1;
constexpr size_t kHeadBytes = 3;

bool HasSender(std::string_view bytes) {
  return !bytes.empty() && (bytes[0] == kSenderAlone || bytes[0] == kSenderAndSignal);
}

size_t LengthIn(std::string_view head) {
  return static_cast<size_t>(static_cast<unsigned char>(head[1])) << CHAR_BIT |
         static_cast<unsigned char>(head[2]);
}

}  // namespace

Fault ToPayload(const v1::Signal* signal, std::string_view sender, const SignalLimits& limits,
                const core::AccountRef& account, core::Payload* to) {
  if (signal == nullptr && sender.empty()) return std::nullopt;
  std::string bytes;
  if (!sender.empty()) {
    bytes.push_back(signal == nullptr ? kSenderAlone : kSenderAndSignal);
    bytes.push_back(static_cast<char>(sender.size() >> CHAR_BIT));
    bytes.push_back(static_cast<char>(sender.size() & UCHAR_MAX));
    bytes.append(sender);
  }
  if (signal != nullptr) {
    const size_t size = signal->ByteSizeLong();
    if (size > limits.bytes_max) {
      return Error{.reason = "PAYLOAD_TOO_LARGE",
                   .message = absl::StrCat("a signal has at most ", limits.bytes_max,
                                           " bytes, this one ", size,
                                           "; send a reference instead, or raise "
                                           "--max-payload-bytes"),
                   .field = "signal"};
    }
    signal->AppendToString(&bytes);
  }
  const core::Amount amount = PayloadAmount(bytes.size());
  const auto verdict = limits.budget.Take(core::Held::kPayloads, account.get(), amount);
  if (verdict.over) return OverMemory("signals that are held", verdict);
  *to = MakePayload(std::move(bytes), {limits.budget, core::Held::kPayloads, account, amount});
  return std::nullopt;
}

void WritePayload(const core::Payload& payload, v1::WaitResponse& to) {
  if (payload == nullptr) return;
  std::string_view bytes = *payload;
  if (HasSender(bytes) && bytes.size() >= kHeadBytes) {
    const bool alone = bytes[0] == kSenderAlone;
    const std::string_view sender = bytes.substr(kHeadBytes, LengthIn(bytes));
    to.set_ready_by(sender.data(), sender.size());
    if (alone) return;
    bytes.remove_prefix(kHeadBytes + sender.size());
  }
  to.mutable_signal()->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace waitd::server
