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
    : connection_(std::make_unique<internal::Connection>(std::move(address), std::move(options))) {}

Client::~Client() = default;

Call<WaitResult> Client::Wait(std::string_view name, WaitOptions options, std::stop_token stop) {
  internal::Request request = Of(name, internal::WaitCall(options));
  request.id = options.wait_id;
  request.stop = std::move(stop);
  return Call<WaitResult>(connection_->Make(std::move(request)));
}

Call<PollResult> Client::Poll(const std::vector<PollTarget>& targets, PollOptions options,
                              std::stop_token stop) {
  internal::Request request = Of({}, internal::PollCall(targets, options));
  request.id = options.wait_id;
  request.stop = std::move(stop);
  return Call<PollResult>(connection_->Make(std::move(request)));
}

Call<ReadyResult> Client::Ready(std::string_view name, Signal signal, ReadyOptions options) {
  return Call<ReadyResult>(
      connection_->Make(Of(name, internal::ReadyCall(std::move(signal), options))));
}

Call<DeadlineResult> Client::SetDeadline(std::string_view name, absl::Duration timeout,
                                         DeadlineOptions options) {
  return Call<DeadlineResult>(
      connection_->Make(Of(name, internal::DeadlineCall(timeout, options))));
}

Call<DeadlineResult> Client::SetDeadline(std::string_view name, absl::Time at,
                                         DeadlineOptions options) {
  return Call<DeadlineResult>(connection_->Make(Of(name, internal::DeadlineCall(at, options))));
}

Call<DeadlineResult> Client::ClearDeadline(std::string_view name, DeadlineOptions options) {
  return Call<DeadlineResult>(
      connection_->Make(Of(name, internal::DeadlineCall(internal::ClearDeadline(), options))));
}

Call<AckResult> Client::Ack(const HandOff& hand_off) {
  return Call<AckResult>(
      connection_->Make(Of(hand_off.name, internal::AckCall{.hand_off = hand_off})));
}

Call<OpenResult> Client::Open(std::string_view name, OpenOptions options) {
  return Call<OpenResult>(connection_->Make(Of(name, internal::OpenCall(options))));
}

Call<OpenResult> Client::Create(std::string_view name, OpenOptions options) {
  return Call<OpenResult>(connection_->Make(Of(name, internal::OpenCall(options, true))));
}

Call<CloseResult> Client::Close(std::string_view name, CloseOptions options) {
  return Call<CloseResult>(connection_->Make(Of(name, options)));
}

Call<ResetResult> Client::Reset(std::string_view name, ResetOptions options) {
  return Call<ResetResult>(connection_->Make(Of(name, options)));
}

}  // namespace waitd
