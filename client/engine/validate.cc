#include "client/engine/validate.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/engine/status.h"

namespace waitd::internal {
namespace {

constexpr size_t kNameBytesMax = 512;
constexpr size_t kIdBytesMax = 128;
constexpr size_t kLabelsMax = 16;
constexpr size_t kLabelKeyBytesMax = 63;
constexpr size_t kLabelValueBytesMax = 256;
constexpr size_t kTargetsMax = 1000;
// Tags, lengths, numbers and an id of our own; an estimate on the safe side.
constexpr size_t kOverheadBytes = 96;

absl::Status Bad(std::string_view reason, std::string_view field, std::string_view message) {
  return Refusal(absl::StatusCode::kInvalidArgument, reason, field, message);
}

// Those of ASCII, and those from U+0080 to U+009F, as UTF-8 writes them.
bool HasControlCharacter(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return true;
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      return true;
    }
  }
  return false;
}

absl::Status CheckName(std::string_view name, std::string_view field) {
  if (name.empty()) return Bad("BAD_NAME", field, "a name is needed");
  if (name.size() > kNameBytesMax) {
    return Bad("BAD_NAME", field, "a name has at most 512 bytes");
  }
  if (!IsUtf8(name)) return Bad("BAD_NAME", field, "a name is UTF-8");
  if (HasControlCharacter(name)) return Bad("BAD_NAME", field, "a name has no control characters");
  return absl::OkStatus();
}

absl::Status CheckMode(Mode mode, std::string_view field) {
  switch (mode) {
    case Mode::kRead:
    case Mode::kWrite:
    case Mode::kReadWrite:
      return absl::OkStatus();
  }
  return Bad("BAD_MODE", field, "no such mode");
}

absl::Status CheckSide(Mode mode, std::string_view field) {
  if (mode == Mode::kReadWrite) return Bad("BAD_MODE", field, "this takes one side: read or write");
  return CheckMode(mode, field);
}

absl::Status CheckId(std::string_view id, std::string_view field) {
  if (id.size() > kIdBytesMax) return Bad("BAD_ID", field, "an id has at most 128 bytes");
  if (!IsUtf8(id)) return Bad("BAD_ID", field, "an id is UTF-8");
  return absl::OkStatus();
}

const TextMap& LabelsOf(const OpenOptions& options) {
  static const TextMap kNone;
  return options.labels == nullptr ? kNone : *options.labels;
}

absl::Status CheckSentAgo(absl::Duration ago) {
  if (ago >= absl::ZeroDuration()) return absl::OkStatus();
  return Bad("BAD_TIME", "first_sent_ago", "the first attempt is not in the future");
}

absl::Status CheckOptions(const OpenOptions& options, std::string_view field) {
  switch (options.kind) {
    case Kind::kAny:
    case Kind::kExclusive:
    case Kind::kFifo:
    case Kind::kLatch:
      break;
    default:
      return Bad("BAD_KIND", field, "no such kind");
  }
  const TextMap& labels = LabelsOf(options);
  if (labels.size() > kLabelsMax) return Bad("BAD_LABELS", field, "at most 16 labels");
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kLabelKeyBytesMax || value.size() > kLabelValueBytesMax ||
        !IsUtf8(key) || !IsUtf8(value) || HasControlCharacter(key) || HasControlCharacter(value)) {
      return Bad("BAD_LABELS", field,
                 "a label's key has 1 to 63 bytes, its value at most 256, both UTF-8 without "
                 "control characters");
    }
  }
  if (options.idle_ttl.value_or(absl::InfiniteDuration()) <= absl::ZeroDuration()) {
    return Bad("BAD_TIME", field, "idle_ttl is above zero, or unset");
  }
  return absl::OkStatus();
}

absl::Status CheckMissing(const std::optional<OpenOptions>& options) {
  return options.has_value() ? CheckOptions(*options, "open_if_missing") : absl::OkStatus();
}

absl::Status CheckSignal(const Signal& signal) {
  bool good = IsUtf8(signal.content_type);
  if (signal.failure.has_value()) good = good && IsUtf8(signal.failure->message);
  for (const auto& [key, value] : signal.attributes) good = good && IsUtf8(key) && IsUtf8(value);
  if (good) return absl::OkStatus();
  return Bad("BAD_OPTIONS", "signal", "a signal's texts are UTF-8; data alone is any bytes");
}

// One function for each operation.
absl::Status Check(const Request& /*request*/, std::monostate /*timer*/) {
  return absl::OkStatus();
}
absl::Status Check(const Request& /*request*/, const CancelCall& /*call*/) {
  return absl::OkStatus();
}
absl::Status Check(const Request& /*request*/, const LifeCall& /*call*/) {
  return absl::OkStatus();
}

absl::Status Check(const Request& request, const OpenCall& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  return CheckOptions(call.options, "options");
}

absl::Status Check(const Request& request, const CloseOptions& /*call*/) {
  return CheckName(request.name, "name");
}

absl::Status Check(const Request& request, const ResetOptions& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  return CheckMode(call.mode, "mode");
}

absl::Status Check(const Request& request, const WaitCall& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  if (absl::Status fault = CheckSide(call.options.mode, "mode"); !fault.ok()) return fault;
  if (absl::Status fault = CheckId(request.id, "wait_id"); !fault.ok()) return fault;
  if (absl::Status fault = CheckSentAgo(call.options.first_sent_ago); !fault.ok()) return fault;
  return CheckMissing(call.options.open_if_missing);
}

absl::Status Check(const Request& request, const ReadyCall& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  if (absl::Status fault = CheckMode(call.options.mode, "mode"); !fault.ok()) return fault;
  if (absl::Status fault = CheckSignal(*call.signal); !fault.ok()) return fault;
  return CheckMissing(call.options.open_if_missing);
}

absl::Status Check(const Request& request, const DeadlineCall& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  if (absl::Status fault = CheckMode(call.options.mode, "mode"); !fault.ok()) return fault;
  return CheckMissing(call.options.open_if_missing);
}

absl::Status Check(const Request& request, const PollCall& call) {
  if (call.targets.empty() || call.targets.size() > kTargetsMax) {
    return Bad("BAD_POLL", "targets", "a poll has 1 to 1000 targets");
  }
  if (call.options.need > call.targets.size()) {
    return Bad("BAD_POLL", "need", "a poll needs no more targets than it has");
  }
  std::set<std::pair<std::string_view, Mode>> seen;
  for (size_t i = 0; i < call.targets.size(); ++i) {
    const PollCall::Target& target = call.targets[i];
    const std::string path = absl::StrCat("targets[", i, "]");
    if (absl::Status fault = CheckName(target.name, path + ".name"); !fault.ok()) return fault;
    if (absl::Status fault = CheckSide(target.mode, path + ".mode"); !fault.ok()) return fault;
    if (!seen.emplace(target.name, target.mode).second) {
      return Bad("BAD_POLL", path, "a target stands in a poll once");
    }
  }
  if (absl::Status fault = CheckId(request.id, "wait_id"); !fault.ok()) return fault;
  if (absl::Status fault = CheckSentAgo(call.options.first_sent_ago); !fault.ok()) return fault;
  return CheckMissing(call.options.open_if_missing);
}

absl::Status Check(const Request& request, const AckCall& call) {
  if (absl::Status fault = CheckName(request.name, "name"); !fault.ok()) return fault;
  if (absl::Status fault = CheckSide(call.hand_off.mode, "mode"); !fault.ok()) return fault;
  if (call.hand_off.wait_id.empty()) return Bad("BAD_ID", "wait_id", "a wait_id is needed");
  if (absl::Status fault = CheckId(call.hand_off.wait_id, "wait_id"); !fault.ok()) return fault;
  if (call.hand_off.generation != 0) return absl::OkStatus();
  return Bad("BAD_OPTIONS", "generation",
             "a generation is needed; take it from the wait's result, as the delivery");
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// Of a field with a number below 16: its tag, its length, itself.
size_t FieldSize(size_t bytes) { return 1 + VarintSize(bytes) + bytes; }

size_t TextSize(std::string_view text) { return text.empty() ? 0 : FieldSize(text.size()); }

size_t SizeBound(const Labels& labels) {
  size_t bytes = 0;
  if (labels == nullptr) return bytes;
  for (const auto& [key, value] : *labels) bytes += key.size() + value.size() + 16;
  return bytes;
}

}  // namespace

absl::Status Validate(const Request& request) {
  return std::visit([&](const auto& call) { return Check(request, call); }, request.what);
}

size_t EncodedSize(const Signal& signal) {
  size_t bytes = TextSize(signal.data) + TextSize(signal.content_type);
  if (signal.failure.has_value()) {
    // A negative int32 is written as ten bytes, sign-extended to 64.
    const auto code = static_cast<uint64_t>(int64_t{signal.failure->code});
    bytes += FieldSize((code == 0 ? 0 : 1 + VarintSize(code)) + TextSize(signal.failure->message));
  }
  for (const auto& [key, value] : signal.attributes) {
    bytes += FieldSize(FieldSize(key.size()) + FieldSize(value.size()));
  }
  return bytes;
}

absl::Status CheckPayload(const Request& request, size_t bytes_max) {
  const auto* ready = std::get_if<ReadyCall>(&request.what);
  if (ready == nullptr) return absl::OkStatus();
  const size_t bytes = EncodedSize(*ready->signal);
  if (bytes <= bytes_max) return absl::OkStatus();
  return Bad("PAYLOAD_TOO_LARGE", "signal",
             absl::StrCat("a signal has at most ", bytes_max, " bytes, this one ", bytes,
                          "; send a reference instead, or raise --max-payload-bytes"));
}

size_t SizeBound(const Request& request) {
  size_t bytes = kOverheadBytes + request.name.size() + request.id.size();
  if (const auto* ready = std::get_if<ReadyCall>(&request.what)) {
    bytes += EncodedSize(*ready->signal) + SizeBound(ready->labels);
  } else if (const auto* wait = std::get_if<WaitCall>(&request.what)) {
    bytes += SizeBound(wait->labels);
  } else if (const auto* deadline = std::get_if<DeadlineCall>(&request.what)) {
    bytes += SizeBound(deadline->labels);
  } else if (const auto* open = std::get_if<OpenCall>(&request.what)) {
    bytes += SizeBound(open->labels);
  } else if (const auto* poll = std::get_if<PollCall>(&request.what)) {
    bytes += SizeBound(poll->labels);
    for (const PollCall::Target& target : poll->targets) bytes += target.name.size() + 32;
  }
  return bytes;
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t j) {
      return j < text.size() ? static_cast<unsigned char>(text[j]) : 0U;
    };
    const unsigned lead = at(i);
    size_t length = 0;
    unsigned point = 0;
    unsigned least = 0;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if ((lead & 0xE0) == 0xC0) {
      length = 2, point = lead & 0x1F, least = 0x80;
    } else if ((lead & 0xF0) == 0xE0) {
      length = 3, point = lead & 0x0F, least = 0x800;
    } else if ((lead & 0xF8) == 0xF0) {
      length = 4, point = lead & 0x07, least = 0x10000;
    } else {
      return false;
    }
    for (size_t j = 1; j < length; ++j) {
      if ((at(i + j) & 0xC0) != 0x80) return false;
      point = (point << 6) | (at(i + j) & 0x3F);
    }
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    if (point < least || point > 0x10FFFF || surrogate) return false;
    i += length;
  }
  return true;
}

}  // namespace waitd::internal
