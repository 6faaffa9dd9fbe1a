#include "waitd/client.h"

#include <utility>

#include "client/transport/connection.h"

namespace waitd {
namespace {

internal::Request Of(std::string_view name, decltype(internal::Request::what) what) {
  return {.name = std::string(name), .id = {}, .what = std::move(what)};
}

}  // namespace

Client::Client(std::string address, ClientOptions options)
    : connection_(std::make_unique<internal::Connection>(
          std::move(address), std::move(options.name), options.call_timeout)) {}

Client::~Client() = default;

Call<WaitResult> Client::Wait(std::string_view name, WaitOptions options) {
  return Call<WaitResult>(connection_->Make(Of(name, std::move(options))));
}

Call<PollResult> Client::Poll(std::vector<PollTarget> targets, PollOptions options) {
  return Call<PollResult>(connection_->Make(
      Of({}, internal::PollCall{.targets = std::move(targets), .options = std::move(options)})));
}

Call<ReadyResult> Client::Ready(std::string_view name, ReadyOptions options) {
  return Call<ReadyResult>(connection_->Make(Of(name, std::move(options))));
}

Call<DeadlineResult> Client::SetDeadline(std::string_view name, absl::Duration timeout,
                                         DeadlineOptions options) {
  return Call<DeadlineResult>(connection_->Make(
      Of(name, internal::DeadlineCall{.deadline = timeout, .options = std::move(options)})));
}

Call<DeadlineResult> Client::SetDeadline(std::string_view name, absl::Time at,
                                         DeadlineOptions options) {
  return Call<DeadlineResult>(connection_->Make(
      Of(name, internal::DeadlineCall{.deadline = at, .options = std::move(options)})));
}

Call<DeadlineResult> Client::ClearDeadline(std::string_view name, DeadlineOptions options) {
  return Call<DeadlineResult>(
      connection_->Make(Of(name, internal::DeadlineCall{.deadline = internal::ClearDeadline(),
                                                        .options = std::move(options)})));
}

Call<AckResult> Client::Ack(HandOff hand_off) {
  const std::string name = hand_off.name;
  return Call<AckResult>(
      connection_->Make(Of(name, internal::AckCall{.hand_off = std::move(hand_off)})));
}

Call<OpenResult> Client::Open(std::string_view name, OpenOptions options) {
  return Call<OpenResult>(connection_->Make(
      Of(name, internal::OpenCall{.options = std::move(options), .must_create = false})));
}

Call<OpenResult> Client::Create(std::string_view name, OpenOptions options) {
  return Call<OpenResult>(connection_->Make(
      Of(name, internal::OpenCall{.options = std::move(options), .must_create = true})));
}

Call<CloseResult> Client::Close(std::string_view name, CloseOptions options) {
  return Call<CloseResult>(connection_->Make(Of(name, options)));
}

Call<ResetResult> Client::Reset(std::string_view name, ResetOptions options) {
  return Call<ResetResult>(connection_->Make(Of(name, options)));
}

}  // namespace waitd
