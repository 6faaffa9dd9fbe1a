#include "client/waitctl/output.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/waitctl/text.h"

namespace waitd::ctl {
namespace {

constexpr const char* kEvil = "a\x1b[2Jb\n";

v1::PollDescriptor Descriptor(const std::string& name) {
  v1::PollDescriptor descriptor;
  descriptor.set_name(name);
  descriptor.set_kind(v1::KIND_FIFO);
  descriptor.set_generation(7);
  descriptor.mutable_open_time()->set_seconds(1767366245);
  descriptor.mutable_read()->set_state(v1::SEMAPHORE_STATE_NIL);
  descriptor.mutable_write()->set_state(v1::SEMAPHORE_STATE_NIL);
  return descriptor;
}

TEST(OutputTest, ADescriptorIsDescribedLineByLine) {
  v1::PollDescriptor descriptor = Descriptor("build/42");
  descriptor.mutable_idle_ttl()->set_seconds(60);
  (*descriptor.mutable_labels())["team"] = "web";
  auto& read = *descriptor.mutable_read();
  read.set_state(v1::SEMAPHORE_STATE_WAITING);
  read.set_waiters(1);
  auto& waiter = *read.add_waiter_details();
  waiter.set_client("ipv4:10.0.0.1:5");
  waiter.mutable_since()->set_seconds(1767366246);
  waiter.mutable_until()->set_seconds(1767366247);
  EXPECT_EQ(Describe(descriptor),
            "name        build/42\n"
            "kind        fifo\n"
            "generation  7\n"
            "opened      2026-01-02T15:04:05.000Z\n"
            "idle ttl    1m\n"
            "label       team=web\n"
            "read        1 waiting, deadline none\n"
            "  ipv4:10.0.0.1:5 since 2026-01-02T15:04:06.000Z, until 2026-01-02T15:04:07.000Z\n"
            "write       nil, deadline none\n");
}

TEST(OutputTest, ADeadlineIsAheadPastOrNone) {
  v1::Deadline deadline;
  EXPECT_EQ(Describe(deadline), "none");
  deadline.mutable_at()->set_seconds(1767366245);
  *deadline.mutable_remaining() = ToProto(absl::Milliseconds(9500));
  EXPECT_EQ(Describe(deadline), "in 9.5s (2026-01-02T15:04:05.000Z)");
  *deadline.mutable_remaining() = ToProto(absl::Seconds(-3));
  deadline.set_expired(true);
  EXPECT_EQ(Describe(deadline), "expired 3s ago (2026-01-02T15:04:05.000Z)");
}

TEST(OutputTest, TheColumnsOfATableStandBelowEachOther) {
  v1::PollDescriptor busy = Descriptor("é/long/name");  // é: two bytes, one column
  busy.mutable_read()->set_state(v1::SEMAPHORE_STATE_READY);
  busy.mutable_read()->set_waiters(1000000);
  EXPECT_EQ(Table(std::vector<v1::PollDescriptor>{Descriptor("a"), busy}),
            "NAME         KIND  READ                    WRITE  READ DEADLINE\n"
            "a            fifo  nil                     nil    none\n"
            "é/long/name  fifo  ready, 1000000 waiting  nil    none\n");
  EXPECT_EQ(Table({}), "NAME  KIND  READ  WRITE  READ DEADLINE\n");
}

TEST(OutputTest, WhatAServerSaysCannotPaintTheTerminal) {
  v1::PollDescriptor descriptor = Descriptor(kEvil);
  (*descriptor.mutable_labels())[kEvil] = kEvil;
  descriptor.mutable_read()->add_waiter_details()->set_client(kEvil);
  for (const std::string& text :
       {Describe(descriptor), Table(std::vector<v1::PollDescriptor>{descriptor})}) {
    EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
    EXPECT_NE(text.find(R"(a\x1b[2Jb\n)"), std::string::npos) << text;
  }
}

TEST(OutputTest, JsonIsOneLineOrSeveralAndEndsOne) {
  const std::string line = Json(Descriptor("a"), true);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_NE(line.find(R"("kind":"KIND_FIFO")"), std::string::npos) << line;
  const std::string lines = Json(Descriptor("a"), false);
  EXPECT_NE(lines.find("\n \"kind\": \"KIND_FIFO\""), std::string::npos) << lines;
  EXPECT_TRUE(lines.ends_with("}\n") && !lines.ends_with("\n\n")) << lines;
}

TEST(OutputTest, AFieldStandsBeforeThoseOfTheMessage) {
  v1::WaitResponse message;
  message.set_delivery(3);
  EXPECT_EQ(JsonWith("waitId", "a\"b", message, true),
            "{\"waitId\":\"a\\\"b\",\"delivery\":\"3\"}\n");
  EXPECT_EQ(JsonWith("waitId", "a", message, false),
            "{\n \"waitId\": \"a\",\n \"delivery\": \"3\"\n}\n");
}

}  // namespace
}  // namespace waitd::ctl
