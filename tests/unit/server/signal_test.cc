#include "server/api/signal.h"

#include <gtest/gtest.h>

#include <string>

#include "server/store/payload.h"

namespace waitd::server {
namespace {

core::Budget budget;  // without limits
const SignalLimits kLimits{1000, budget};

v1::WaitResponse Told(const core::Payload& payload) {
  v1::WaitResponse response;
  WritePayload(payload, response);
  return response;
}

v1::Signal OfSize(size_t data) {
  v1::Signal signal;
  signal.set_data(std::string(data, 'x'));
  return signal;
}

TEST(Signal, IsMeasuredEncodedAndWithoutItsSender) {
  core::Payload to;
  const v1::Signal signal = OfSize(100);
  const size_t size = signal.ByteSizeLong();
  EXPECT_EQ(ToPayload(&signal, {}, {size, budget}, {}, &to), std::nullopt);
  ASSERT_NE(to, nullptr);
  EXPECT_EQ(*to, signal.SerializeAsString());
  EXPECT_EQ(ToPayload(&signal, "sender", {size, budget}, {}, &to), std::nullopt);
  const Fault fault = ToPayload(&signal, {}, {size - 1, budget}, {}, &to);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->reason, "PAYLOAD_TOO_LARGE");
  EXPECT_EQ(fault->field, "signal");
}

TEST(Signal, NoneAndAnEmptyOneDiffer) {
  core::Payload to;
  EXPECT_EQ(ToPayload(nullptr, {}, kLimits, {}, &to), std::nullopt);
  EXPECT_EQ(to, nullptr);
  EXPECT_FALSE(Told(to).has_signal());
  const v1::Signal empty;
  EXPECT_EQ(ToPayload(&empty, {}, kLimits, {}, &to), std::nullopt);
  ASSERT_NE(to, nullptr);
  EXPECT_TRUE(Told(to).has_signal());
}

TEST(Signal, ComesWithItsSender) {
  for (const size_t length : {1, 255, 256, 4097}) {
    const std::string sender(length, 's');
    core::Payload to;
    EXPECT_EQ(ToPayload(nullptr, sender, kLimits, {}, &to), std::nullopt);
    EXPECT_EQ(Told(to).ready_by(), sender);
    EXPECT_FALSE(Told(to).has_signal());
    for (const v1::Signal& signal : {v1::Signal(), OfSize(3)}) {
      EXPECT_EQ(ToPayload(&signal, sender, kLimits, {}, &to), std::nullopt);
      EXPECT_EQ(Told(to).ready_by(), sender);
      EXPECT_TRUE(Told(to).has_signal());
      EXPECT_EQ(Told(to).signal().data(), signal.data());
    }
  }
}

TEST(Signal, HasNoSenderThatItClaimsItself) {
  // Fields that this server does not know are kept, so that a signal may hold any.
  v1::Signal signal;
  signal.GetReflection()->MutableUnknownFields(&signal)->AddLengthDelimited(10, "somebody");
  core::Payload to;
  EXPECT_EQ(ToPayload(&signal, {}, kLimits, {}, &to), std::nullopt);
  EXPECT_EQ(Told(to).ready_by(), "");
  EXPECT_EQ(Told(to).signal().SerializeAsString(), signal.SerializeAsString());
}

TEST(Signal, IsChargedUntilTheLastHolderLetsGo) {
  core::Budget small;
  small.SetLimit(core::Held::kPayloads, {core::Limit::kMost, 1000 + PayloadAmount(0).bytes});
  const core::AccountRef alice = small.Open(1);
  const auto held = [&] { return alice.get()->held(core::Held::kPayloads); };
  const v1::Signal signal = OfSize(900);
  core::Payload first;
  EXPECT_EQ(ToPayload(&signal, {}, {1000, small}, alice, &first), std::nullopt);
  EXPECT_GT(held().bytes, 900U);
  core::Payload second;
  const Fault fault = ToPayload(&signal, {}, {1000, small}, alice, &second);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->reason, "LIMIT_MEMORY");
  EXPECT_EQ(second, nullptr);
  second = first;
  first = nullptr;
  EXPECT_EQ(held().things, 1U);
  second = nullptr;
  EXPECT_EQ(held().bytes, 0U);
  EXPECT_EQ(small.held(core::Held::kPayloads).things, 0U);
}

TEST(Signal, OneThatWasStoredIsChargedToNobodyInParticular) {
  core::Budget all;
  core::Payload payload = StoredPayload(std::string(500, 'x'), &all);
  EXPECT_GT(all.held(core::Held::kPayloads).bytes, 500U);
  payload = nullptr;
  EXPECT_EQ(all.held(core::Held::kPayloads).bytes, 0U);
  EXPECT_EQ(*StoredPayload("of a check", nullptr), "of a check");
}

}  // namespace
}  // namespace waitd::server
