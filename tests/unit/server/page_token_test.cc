#include "server/api/page_token.h"

#include <gtest/gtest.h>

#include <string>

namespace waitd::server {
namespace {

using Request = v1::ListPollDescriptorsRequest;

Request WithToken(Request request, const std::string& token) {
  request.set_page_token(token);
  return request;
}

TEST(PageToken, LeadsBackToItsName) {
  Request request;
  request.set_prefix("build/");
  (*request.mutable_labels())["team"] = "core";
  for (const char* name : {"build/42", "a", "\xC3\xA9/x"}) {
    EXPECT_EQ(NameOfPageToken(WithToken(request, PageToken(name, request))), name);
  }
}

TEST(PageToken, TheSizeOfTheNextPageMayDiffer) {
  Request request;
  const std::string token = PageToken("a", request);
  request.set_page_size(7);
  EXPECT_EQ(NameOfPageToken(WithToken(request, token)), "a");
}

TEST(PageToken, IsRefusedWithOtherFilters) {
  Request request;
  request.set_prefix("b");
  (*request.mutable_labels())["k"] = "v";
  const std::string token = PageToken("b1", request);
  Request other = request;
  other.set_prefix("c");
  EXPECT_EQ(NameOfPageToken(WithToken(other, token)), std::nullopt);
  other = request;
  other.set_waiting_only(true);
  EXPECT_EQ(NameOfPageToken(WithToken(other, token)), std::nullopt);
  other = request;
  (*other.mutable_labels())["k"] = "w";
  EXPECT_EQ(NameOfPageToken(WithToken(other, token)), std::nullopt);
  other.clear_labels();
  EXPECT_EQ(NameOfPageToken(WithToken(other, token)), std::nullopt);
}

TEST(PageToken, WhereOneFilterEndsIsPartOfIt) {
  Request one;
  (*one.mutable_labels())["ab"] = "c";
  Request other;
  (*other.mutable_labels())["a"] = "bc";
  EXPECT_EQ(NameOfPageToken(WithToken(other, PageToken("x", one))), std::nullopt);
}

TEST(PageToken, IsRefusedFromNowhere) {
  const Request request;
  const std::string token = PageToken("name", request);
  for (const std::string& wrong :
       {std::string("x"), std::string("not base64!"), std::string("MDAwMDAwMDAwMDAwMDAwMA"),
        token.substr(1), token.substr(0, token.size() - 2), token + "AAAA",
        std::string(100'000, 'A')}) {
    EXPECT_EQ(NameOfPageToken(WithToken(request, wrong)), std::nullopt) << wrong.substr(0, 80);
  }
}

}  // namespace
}  // namespace waitd::server
