// Unary Readys in a closed loop.
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/load/scenarios.h"

namespace waitd::bench {
namespace {

/// One caller: the next call as soon as the one before has its answer.
class Caller {
 public:
  Caller(v1::WaitService::Stub& stub, Loop& loop, uint32_t number, std::vector<int64_t>& nanos)
      : stub_(stub), loop_(loop), nanos_(nanos) {
    SetName(&request_, number);
    request_.mutable_open_if_missing();
    Call();
  }

  void Stop() { stopping_ = true; }
  bool stopped() const { return stopped_; }

 private:
  void Call() {
    context_.emplace();
    context_->set_wait_for_ready(true);
    began_ = NowNanos();
    call_ = stub_.AsyncReady(&*context_, request_, &loop_.queue());
    call_->Finish(&response_, &status_, &answered_);
  }

  void Answered(bool /*ok*/) {
    if (!status_.ok()) Fail(absl::StrCat("a call failed: ", status_.error_message()));
    nanos_.push_back(NowNanos() - began_);
    if (stopping_) {
      stopped_ = true;
    } else {
      Call();
    }
  }

  v1::WaitService::Stub& stub_;
  Loop& loop_;
  std::vector<int64_t>& nanos_;
  v1::ReadyRequest request_;
  v1::ReadyResponse response_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ReadyResponse>> call_;
  int64_t began_ = 0;
  bool stopping_ = false;
  bool stopped_ = false;
  To<Caller, &Caller::Answered> answered_{*this};
};

}  // namespace

Report UnaryReady(const Setup& setup) {
  Loop loop;
  const auto stub = v1::WaitService::NewStub(Connect(setup.target));
  std::vector<int64_t> nanos;
  std::vector<std::unique_ptr<Caller>> callers;
  for (uint32_t i = 0; i < setup.count; ++i) {
    callers.push_back(std::make_unique<Caller>(*stub, loop, i, nanos));
  }
  loop.RunFor(setup.warm_up_seconds());
  nanos.clear();
  const int64_t began = NowNanos();
  const int64_t server_before = UsageOf(setup.server).cpu_nanos;
  loop.RunFor(setup.seconds);
  const auto count = static_cast<double>(nanos.size());
  Report report;
  report.Add("calls_per_s", count * 1e9 / static_cast<double>(NowNanos() - began));
  report.Add("server_cpu_us",
             static_cast<double>(UsageOf(setup.server).cpu_nanos - server_before) / 1e3 / count);
  report.AddLatencies("call", nanos);
  for (auto& caller : callers) caller->Stop();
  for (auto& caller : callers) loop.RunUntil([&caller] { return caller->stopped(); });
  return report;
}

}  // namespace waitd::bench
