#include "server/process/log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

namespace waitd::server {
namespace {

// %J: the message, as the inside of a JSON string. %P: the message, on one line.
template <std::string (*kEscape)(std::string_view)>
class Message final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    const std::string escaped =
        kEscape(std::string_view(message.payload.data(), message.payload.size()));
    out.append(escaped.data(), escaped.data() + escaped.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Message>();
  }
};

// How many bytes the first character takes, of a text that is not empty; 0: that is no UTF-8.
size_t CharacterSize(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  const size_t size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (size == 0 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  // Too long for what it says, a half of a surrogate pair, or beyond the last plane.
  const unsigned second = at(1);
  const bool is_none = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                       (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return is_none ? 0 : size;
}

}  // namespace

std::string JsonEscape(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    if (size == 0) {
      escaped += "\\ufffd";
    } else if (text[0] == '"' || text[0] == '\\') {
      escaped += {'\\', text[0]};
    } else if (static_cast<unsigned char>(text[0]) < 0x20) {
      escaped += absl::StrFormat("\\u%04x", static_cast<unsigned>(text[0]));
    } else {
      escaped += text.substr(0, size);
    }
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return escaped;
}

std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      line += absl::StrFormat("\\x%02x", static_cast<unsigned>(byte));
    } else {
      line += c;
    }
  }
  return line;
}

void StartLog(const std::string& level, const std::string& format) {
  auto logger =
      std::make_shared<spdlog::logger>("waitd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Message<JsonEscape>>('J').add_flag<Message<OneLine>>('P');
  formatter->set_pattern(format == "json"
                             ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":"%J"})"
                             : "%Y-%m-%dT%H:%M:%S.%e%z %l %P");
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function([](gpr_log_func_args* args) {
    // After which it aborts: the log's last line has to say why.
    const bool fatal = std::string_view(args->message).starts_with("assertion failed");
    spdlog::log(fatal ? spdlog::level::critical : spdlog::level::debug, "grpc: {}", args->message);
  });
  google::protobuf::SetLogHandler(
      [](google::protobuf::LogLevel /*level*/, const char* /*file*/, int /*line*/,
         const std::string& message) { spdlog::debug("protobuf: {}", message); });
}

}  // namespace waitd::server
