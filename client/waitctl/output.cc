#include "client/waitctl/output.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

// How many there are in UTF-8: its bytes but those that continue a character.
size_t Characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  }));
}

std::string State(const v1::PollDescriptor::Side& side) {
  switch (side.state()) {
    case v1::SEMAPHORE_STATE_READY:
      return side.waiters() > 0 ? absl::StrCat("ready, ", side.waiters(), " waiting") : "ready";
    case v1::SEMAPHORE_STATE_WAITING:
      return absl::StrCat(side.waiters(), " waiting");
    default:
      return "nil";
  }
}

std::string DescribeSide(const char* name, const v1::PollDescriptor::Side& side) {
  std::string text =
      absl::StrFormat("%-12s%s, deadline %s\n", name, State(side), Describe(side.deadline()));
  for (const auto& waiter : side.waiter_details()) {
    absl::StrAppend(&text, "  ", Printable(waiter.client()), " since ",
                    Show(FromProto(waiter.since())));
    if (waiter.has_until()) {
      absl::StrAppend(&text, ", until ", Show(FromProto(waiter.until())));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace

std::string Json(const google::protobuf::Message& message, bool one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = !one_line;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  if (json.empty() || json.back() != '\n') json += '\n';
  return json;
}

std::string JsonWith(const std::string& field, const std::string& value,
                     const google::protobuf::Message& message, bool one_line) {
  google::protobuf::StringValue text;
  text.set_value(value);
  std::string quoted;
  (void)google::protobuf::util::MessageToJsonString(text, &quoted);
  const std::string json = Json(message, one_line);
  return absl::StrCat(one_line ? "{\"" : "{\n \"", field, one_line ? "\":" : "\": ", quoted, ",",
                      json.substr(1));
}

std::string Describe(const v1::Deadline& deadline) {
  if (!deadline.has_at()) return "none";
  const absl::Duration remaining = FromProto(deadline.remaining());
  const std::string at = Show(FromProto(deadline.at()));
  return deadline.expired() ? absl::StrCat("expired ", Show(-remaining), " ago (", at, ")")
                            : absl::StrCat("in ", Show(remaining), " (", at, ")");
}

std::string Describe(const v1::PollDescriptor& descriptor) {
  std::string text =
      absl::StrFormat("%-12s%s\n%-12s%s\n%-12s%d\n%-12s%s\n", "name", Printable(descriptor.name()),
                      "kind", Show(descriptor.kind()), "generation", descriptor.generation(),
                      "opened", Show(FromProto(descriptor.open_time())));
  if (descriptor.has_idle_ttl()) {
    absl::StrAppend(
        &text, absl::StrFormat("%-12s%s\n", "idle ttl", Show(FromProto(descriptor.idle_ttl()))));
  }
  for (const auto& [key, value] : descriptor.labels()) {
    absl::StrAppend(&text,
                    absl::StrFormat("%-12s%s=%s\n", "label", Printable(key), Printable(value)));
  }
  return absl::StrCat(text, DescribeSide("read", descriptor.read()),
                      DescribeSide("write", descriptor.write()));
}

std::string Table(std::span<const v1::PollDescriptor> descriptors) {
  using Row = std::array<std::string, 5>;
  std::vector<Row> rows = {{"NAME", "KIND", "READ", "WRITE", "READ DEADLINE"}};
  for (const auto& each : descriptors) {
    rows.push_back({Printable(each.name()), Show(each.kind()), State(each.read()),
                    State(each.write()), Describe(each.read().deadline())});
  }
  std::array<size_t, std::tuple_size_v<Row>> widths = {};
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Characters(row[i]));
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      absl::StrAppend(&text, row[i], std::string(widths[i] - Characters(row[i]) + 2, ' '));
    }
    absl::StrAppend(&text, row.back(), "\n");
  }
  return text;
}

}  // namespace waitd::ctl
