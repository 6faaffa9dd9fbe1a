#include "client/engine/validate.h"

#include <gtest/gtest.h>

#include "waitd/status.h"

namespace waitd::internal {
namespace {

std::string Fault(std::string name, decltype(Request::what) what) {
  const absl::Status status =
      Validate({.name = std::move(name), .id = {}, .what = std::move(what)});
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return ReasonOf(status) + " " + FieldOf(status);
}

std::string Fault(std::string name, WaitOptions options) {
  const absl::Status status = Validate(
      {.name = std::move(name), .id = std::string(options.wait_id), .what = WaitCall(options)});
  return status.ok() ? "" : ReasonOf(status) + " " + FieldOf(status);
}

Signal With(std::string content_type, std::string attribute) {
  Signal signal("\xFF", std::move(content_type));
  signal.attributes["k"] = std::move(attribute);
  return signal;
}

PollCall Poll(const std::vector<PollTarget>& targets, uint32_t need = 1) {
  return PollCall(targets, {.need = need});
}

TEST(ValidateTest, NamesHaveOneTo512BytesOfTextWithoutControlCharacters) {
  EXPECT_EQ(Fault("build/42", WaitOptions{}), "");
  EXPECT_EQ(Fault("", WaitOptions{}), "BAD_NAME name");
  EXPECT_EQ(Fault(std::string(512, 'x'), WaitOptions{}), "");
  EXPECT_EQ(Fault(std::string(513, 'x'), WaitOptions{}), "BAD_NAME name");
  EXPECT_EQ(Fault("a\nb", ReadyCall({})), "BAD_NAME name");
  EXPECT_EQ(Fault("a\x7F", ReadyCall({})), "BAD_NAME name");
  EXPECT_EQ(Fault("a\xC2\x85", ResetOptions{}), "BAD_NAME name");
  EXPECT_EQ(Fault("a\xC2\xA0", ResetOptions{}), "");
  EXPECT_EQ(Fault("a\xFF", CloseOptions{}), "BAD_NAME name");
}

TEST(ValidateTest, Utf8IsWhatTheParserTakes) {
  for (const char* good : {"", "abc", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                           "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xE2\x82", "\xE2\x28\xA1"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

TEST(ValidateTest, WaitsAndAcksTakeOneSide) {
  EXPECT_EQ(Fault("a", WaitOptions{.mode = Mode::kReadWrite}), "BAD_MODE mode");
  EXPECT_EQ(Fault("a", ReadyCall({}, {.mode = Mode::kReadWrite})), "");
  EXPECT_EQ(Fault("a", ReadyCall({}, {.mode = static_cast<Mode>(9)})), "BAD_MODE mode");
  EXPECT_EQ(Fault("a", AckCall{{.name = "a", .mode = Mode::kReadWrite, .wait_id = "w"}}),
            "BAD_MODE mode");
  EXPECT_EQ(Fault("a", AckCall{{.name = "a"}}), "BAD_ID wait_id");
  EXPECT_EQ(Fault("a", AckCall{{.name = "a", .wait_id = "w"}}), "BAD_OPTIONS generation");
  EXPECT_EQ(Fault("", Poll({{.name = "a", .mode = Mode::kReadWrite}})), "BAD_MODE targets[0].mode");
}

TEST(ValidateTest, IdsHaveAtMost128Bytes) {
  const std::string many(129, 'x');
  EXPECT_EQ(Fault("a", WaitOptions{.wait_id = std::string_view(many).substr(1)}), "");
  EXPECT_EQ(Fault("a", WaitOptions{.wait_id = many}), "BAD_ID wait_id");
  EXPECT_EQ(Fault("a", WaitOptions{.wait_id = "\xFF"}), "BAD_ID wait_id");
  EXPECT_EQ(Fault("a", WaitOptions{.first_sent_ago = absl::Seconds(-1)}),
            "BAD_TIME first_sent_ago");
}

TEST(ValidateTest, PollsHaveOneTo1000TargetsNoneTwice) {
  EXPECT_EQ(Fault("", Poll({})), "BAD_POLL targets");
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) names.push_back("t" + std::to_string(i));
  std::vector<PollTarget> many;
  for (const std::string& name : names) many.push_back({.name = name});
  EXPECT_EQ(Fault("", Poll(many)), "");
  many.push_back({.name = "one more"});
  EXPECT_EQ(Fault("", Poll(many)), "BAD_POLL targets");
  EXPECT_EQ(Fault("", Poll({{.name = "a"}, {.name = "a"}})), "BAD_POLL targets[1]");
  EXPECT_EQ(Fault("", Poll({{.name = "a"}, {.name = "a", .mode = Mode::kWrite}}, 2)), "");
  EXPECT_EQ(Fault("", Poll({{.name = "a"}}, 2)), "BAD_POLL need");
  EXPECT_EQ(Fault("", Poll({{.name = "a"}, {.name = ""}})), "BAD_NAME targets[1].name");
}

TEST(ValidateTest, OpenOptionsAreBounded) {
  const auto opening = [](OpenOptions options) { return OpenCall(options); };
  TextMap labels;
  for (int i = 0; i < 16; ++i) labels["k" + std::to_string(i)] = "v";
  EXPECT_EQ(Fault("a", opening({.labels = &labels})), "");
  labels["one more"] = "v";
  EXPECT_EQ(Fault("a", opening({.labels = &labels})), "BAD_LABELS options");
  EXPECT_EQ(Fault("a", WaitOptions{.open_if_missing = OpenOptions{.labels = &labels}}),
            "BAD_LABELS open_if_missing");
  const auto labelled = [&](std::string key, std::string value) {
    labels = {{std::move(key), std::move(value)}};
    return opening({.labels = &labels});
  };
  EXPECT_EQ(Fault("a", labelled(std::string(63, 'k'), std::string(256, 'v'))), "");
  EXPECT_EQ(Fault("a", labelled(std::string(64, 'k'), "")), "BAD_LABELS options");
  EXPECT_EQ(Fault("a", labelled("k", std::string(257, 'v'))), "BAD_LABELS options");
  EXPECT_EQ(Fault("a", labelled("", "")), "BAD_LABELS options");
  EXPECT_EQ(Fault("a", opening({.idle_ttl = absl::ZeroDuration()})), "BAD_TIME options");
  EXPECT_EQ(Fault("a", opening({.kind = static_cast<Kind>(7)})), "BAD_KIND options");
}

TEST(ValidateTest, SignalsTextsAreUtf8AndItsDataIsAny) {
  EXPECT_EQ(Fault("a", ReadyCall(With("text/plain", "v"))), "");
  EXPECT_EQ(Fault("a", ReadyCall(With("\xFF", "v"))), "BAD_OPTIONS signal");
  EXPECT_EQ(Fault("a", ReadyCall(With("", "\xFF"))), "BAD_OPTIONS signal");
  EXPECT_EQ(Fault("a", ReadyCall(Signal::Failed(1, "\xFF"))), "BAD_OPTIONS signal");
}

}  // namespace
}  // namespace waitd::internal
