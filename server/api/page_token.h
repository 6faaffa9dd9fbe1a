#ifndef WAITD_SERVER_API_PAGE_TOKEN_H_
#define WAITD_SERVER_API_PAGE_TOKEN_H_

#include <optional>
#include <string>
#include <string_view>

#include "waitd/v1/waitd.pb.h"

namespace waitd::server {

/// The token of the page that begins behind `name`, for requests with the same filters.
std::string PageToken(std::string_view name, const v1::ListPollDescriptorsRequest& request);

/// The name behind which the request's page begins; nothing when its token was not made for these
/// filters.
std::optional<std::string> NameOfPageToken(const v1::ListPollDescriptorsRequest& request);

}  // namespace waitd::server

#endif  // WAITD_SERVER_API_PAGE_TOKEN_H_
