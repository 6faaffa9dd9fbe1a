// Who is charged where nobody is told from anybody.
#include "server/access/address.h"

#include <gtest/gtest.h>

namespace waitd::server {
namespace {

TEST(Address, IsThePeersWithoutItsPort) {
  EXPECT_EQ(AddressOf("ipv4:192.0.2.7:4711", ""), "192.0.2.7");
  EXPECT_EQ(AddressOf("ipv4:192.0.2.7:4712", ""), AddressOf("ipv4:192.0.2.7:4711", ""));
  EXPECT_NE(AddressOf("ipv4:192.0.2.8:4711", ""), AddressOf("ipv4:192.0.2.7:4711", ""));
}

TEST(Address, OfIPv6IsTheNetwork) {
  EXPECT_EQ(AddressOf("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:4711", ""), "2001:db8:1:2::");
  EXPECT_EQ(AddressOf("ipv6:[2001:db8:1:2::9]:4711", ""), "2001:db8:1:2::");
  EXPECT_NE(AddressOf("ipv6:[2001:db8:1:3::9]:4711", ""), "2001:db8:1:2::");
  EXPECT_EQ(AddressOf("ipv6:%5B::ffff:192.0.2.7%5D:4711", ""), "192.0.2.7");
}

TEST(Address, TheEdgeIsBelievedOnASocketFileAlone) {
  EXPECT_EQ(AddressOf("unix:/run/waitd/waitd.sock", "192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(AddressOf("unix:", "2001:db8:1:2::9"), "2001:db8:1:2::");
  EXPECT_EQ(AddressOf("unix:", ""), "unix");
  EXPECT_EQ(AddressOf("ipv4:192.0.2.8:1", "192.0.2.7"), "192.0.2.8");
}

TEST(Address, HasANumber) {
  EXPECT_EQ(NumberOfAddress("192.0.2.7"), NumberOfAddress("192.0.2.7"));
  EXPECT_NE(NumberOfAddress("192.0.2.7"), NumberOfAddress("192.0.2.8"));
  EXPECT_NE(NumberOfAddress(""), 0U);
}

}  // namespace
}  // namespace waitd::server
