#include "tests/bench/load/session.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/load/report.h"

namespace waitd::bench {
namespace {

constexpr int kUnackedMax = 16 << 10;  // results, far fewer than any limit of a server's

}  // namespace

Loop::~Loop() {
  queue_.Shutdown();
  Serve(queue_);
}

void Loop::RunUntil(const std::function<bool()>& done, double limit_s) {
  const auto limit = std::chrono::system_clock::now() +
                     std::chrono::milliseconds(static_cast<int64_t>(limit_s * 1e3));
  void* tag = nullptr;
  bool ok = false;
  while (!done()) {
    if (queue_.AsyncNext(&tag, &ok, limit) != grpc::CompletionQueue::GOT_EVENT) {
      Fail("the server did not answer in time");
    }
    static_cast<Event*>(tag)->Happened(ok);
  }
}

void Loop::RunFor(double seconds) {
  const auto end = std::chrono::system_clock::now() +
                   std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3));
  void* tag = nullptr;
  bool ok = false;
  while (std::chrono::system_clock::now() < end &&
         queue_.AsyncNext(&tag, &ok, end) == grpc::CompletionQueue::GOT_EVENT) {
    static_cast<Event*>(tag)->Happened(ok);
  }
}

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else channels share a connection
  arguments.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

Session::Session(const std::string& target, Loop& loop, Results results)
    : loop_(loop), results_(std::move(results)), stub_(v1::WaitService::NewStub(Connect(target))) {
  pending_->mutable_hello()->set_client("bench");
  writing_ = true;
  events_left_ = 1;
  context_.set_wait_for_ready(true);
  stream_ = stub_->PrepareAsyncSession(&context_, &loop.queue());
  stream_->StartCall(&started_event_);
  loop.RunUntil([this] { return welcome_ && !writing_; });
}

Session::~Session() {
  closing_ = true;
  context_.TryCancel();
  loop_.RunUntil([this] { return events_left_ == 0; });
  ++events_left_;
  stream_->Finish(&status_, &ended_event_);
  loop_.RunUntil([this] { return events_left_ == 0; });
}

v1::Operation& Session::Add(uint32_t number) {
  v1::Operation& operation = *pending_->add_operations();
  operation.set_id(next_++ << kNumberBits | number);
  return operation;
}

void Session::Flush() {
  if (!writing_ && (!pending_->operations().empty() || unacked_ >= kUnackedMax)) Write();
}

void Session::Acknowledge() {
  loop_.RunUntil([this] { return !writing_; });
  Write();
  loop_.RunUntil([this] { return !writing_; });
}

void Session::Write() {
  writing_ = true;
  ++events_left_;
  unacked_ = 0;
  pending_->set_acked_sequence(seen_);
  stream_->Write(*pending_, &written_event_);  // serialized at once
  pending_.Clear();
}

void Session::Started(bool ok) {
  --events_left_;
  if (!ok) Fail("the stream did not start");
  events_left_ += 2;
  stream_->Write(*pending_, &written_event_);
  pending_.Clear();
  stream_->Read(&*response_, &read_event_);
}

void Session::Read(bool ok) {
  --events_left_;
  if (!ok) {
    if (closing_) return;
    stream_->Finish(&status_, &ended_event_);
    ++events_left_;
    return;
  }
  if (response_->has_welcome()) welcome_ = true;
  if (response_->sequence() != 0) seen_ = response_->sequence();
  unacked_ += response_->results_size();
  count_ += static_cast<size_t>(response_->results_size());
  results_(*response_);
  response_.Clear();
  ++events_left_;
  stream_->Read(&*response_, &read_event_);
  Flush();
}

void Session::Written(bool ok) {
  --events_left_;
  writing_ = false;
  if (ok) Flush();
}

void Session::Ended(bool /*ok*/) {
  --events_left_;
  if (!closing_) {
    Fail(absl::StrCat("the session ended: ", status_.error_code(), " ", status_.error_message()));
  }
}

}  // namespace waitd::bench
