// Many waits at once: what they cost, how they time out, how a latch releases them.
#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/load/scenarios.h"

namespace waitd::bench {
namespace {

void SetNanos(google::protobuf::Duration& duration, int64_t nanos) {
  duration.set_seconds(nanos / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

/// A session in which results are counted.
class Counting {
 public:
  Counting(const Setup& setup, Loop& loop)
      : loop_(loop),
        session(setup.target, loop, [this](const v1::SessionResponse& r) { Take(r); }) {}

  /// Opens so many names, or finds them open, and waits until all is done that was asked before;
  /// then the server need not keep answers.
  void Open(uint32_t count) {
    const size_t end = opened_ + count;
    AddMany(loop_, session, count, true,
            [](v1::Operation& operation, uint32_t i) { SetName(operation.mutable_open(), i); });
    loop_.RunUntil([this, end] { return opened_ == end; });
    session.Acknowledge();
  }

  size_t waits() const { return waits_; }

 private:
  void Take(const v1::SessionResponse& response) {
    for (const v1::OperationResult& result : response.results()) {
      if (result.has_error()) Fail(absl::StrCat("an operation failed: ", result.error().message()));
      if (result.has_open()) ++opened_;
      if (result.has_wait()) ++waits_;
    }
  }

  Loop& loop_;
  size_t opened_ = 0;
  size_t waits_ = 0;

 public:
  Session session;  // last: it is what calls Take
};

/// An allocator gives and takes pages a while after the calls.
int64_t SettledBytes(pid_t pid) {
  int64_t before = 0;
  int64_t now = UsageOf(pid).resident_bytes;
  while (std::abs(now - before) > (1 << 16)) {
    usleep(200'000);
    before = now;
    now = UsageOf(pid).resident_bytes;
  }
  return now;
}

void AddBytes(Report& report, std::string_view name, int64_t bytes, uint32_t count) {
  report.Add(name, static_cast<double>(bytes) / count);
}

/// Waits whose timeouts are known here, so that what the server says of them can be checked.
class Probes {
 public:
  Probes(const Setup& setup, Loop& loop)
      : session_(setup.target, loop, [this](const v1::SessionResponse& r) { Take(r); }) {}

  void AddSome(int count) {
    const int64_t now = NowNanos();
    for (int i = 0; i < count; ++i) {
      const auto number = static_cast<uint32_t>(due_.size());
      const int64_t timeout = timeouts_(random_);
      v1::WaitRequest& wait = *session_.Add(number).mutable_wait();
      wait.set_name(absl::StrFormat("probe/%014d", number));
      wait.mutable_open_if_missing();
      SetNanos(*wait.mutable_timeout(), timeout);
      due_.push_back(now + timeout);
    }
    session_.Flush();
  }

  bool done() const { return server_late_.size() == due_.size(); }

  void AddTo(Report& report) {
    report.AddLatencies("server_late", std::move(server_late_));
    report.AddLatencies("client_late", std::move(client_late_));
    report.Add("early", early_);
  }

 private:
  void Take(const v1::SessionResponse& response) {
    const int64_t now = NowNanos();
    for (const v1::OperationResult& result : response.results()) {
      if (result.wait().outcome() != v1::OUTCOME_TIMED_OUT) Fail("a wait did not time out");
      const google::protobuf::Duration& late = result.wait().late();
      server_late_.push_back(late.seconds() * 1'000'000'000 + late.nanos());
      // The server counts from its receipt, which is later than the sending.
      client_late_.push_back(now - due_[Session::NumberOf(result.id())]);
      if (client_late_.back() < 0) ++early_;
    }
  }

  std::mt19937 random_{1};
  std::uniform_int_distribution<int64_t> timeouts_{500'000'000, 1'500'000'000};
  std::vector<int64_t> due_;  // if the server had received it when it was sent
  std::vector<int64_t> server_late_;
  std::vector<int64_t> client_late_;
  int early_ = 0;
  Session session_;
};

/// A unary call that parks.
struct ParkedCall {
  grpc::ClientContext context;
  v1::WaitResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::WaitResponse>> call;
};

class Nothing final : public Event {
 public:
  void Happened(bool /*ok*/) override {}
};

}  // namespace

Report SessionParked(const Setup& setup) {
  Loop loop;
  Counting counting(setup, loop);
  counting.Open(1);
  const int64_t empty = SettledBytes(setup.server);
  counting.Open(setup.count);
  const int64_t opened = SettledBytes(setup.server);
  AddMany(loop, counting.session, setup.count, false,
          [&setup](v1::Operation& operation, uint32_t i) {
            SetName(operation.mutable_wait(), i);
            if (setup.ids) operation.mutable_wait()->set_wait_id(absl::StrFormat("%016x", i));
          });
  counting.Open(1);
  const int64_t parked = SettledBytes(setup.server);
  Report report;
  AddBytes(report, "descriptor_bytes", opened - empty, setup.count);
  AddBytes(report, "wait_bytes", parked - opened, setup.count);
  AddBytes(report, "bytes", parked - empty, setup.count);
  return report;
}

Report UnaryParked(const Setup& setup) {
  Loop loop;
  Nothing nothing;
  const auto stub = v1::WaitService::NewStub(Connect(setup.target));
  std::vector<std::unique_ptr<ParkedCall>> calls;
  const int64_t empty = SettledBytes(setup.server);
  for (uint32_t i = 0; i < setup.count; ++i) {
    v1::WaitRequest request;
    SetName(&request, i);
    request.mutable_open_if_missing();
    auto& call = *calls.emplace_back(std::make_unique<ParkedCall>());
    call.context.set_wait_for_ready(true);
    call.call = stub->AsyncWait(&call.context, request, &loop.queue());
    call.call->Finish(&call.response, &call.status, &nothing);
  }
  v1::GetPollDescriptorRequest last;
  SetName(&last, setup.count - 1);
  v1::GetPollDescriptorResponse shown;
  do {
    loop.RunFor(0.05);  // calls from before the connection go out when their queue is served
    grpc::ClientContext context;
    stub->GetPollDescriptor(&context, last, &shown);
  } while (shown.poll_descriptor().read().waiters() == 0);
  Report report;
  AddBytes(report, "bytes", SettledBytes(setup.server) - empty, setup.count);
  for (auto& call : calls) call->context.TryCancel();
  return report;
}

Report Latch(const Setup& setup) {
  constexpr int kTurns = 5;
  Loop loop;
  Counting waiter(setup, loop);
  Counting caller(setup, loop);
  std::vector<int64_t> nanos;
  for (int turn = 0; turn < kTurns; ++turn) {
    const std::string name = absl::StrFormat("latch/%014d", turn);
    AddMany(loop, waiter.session, setup.count, false,
            [&name](v1::Operation& operation, uint32_t /*i*/) {
              operation.mutable_wait()->set_name(name);
              operation.mutable_wait()->mutable_open_if_missing()->set_kind(v1::KIND_LATCH);
            });
    waiter.Open(1);
    const size_t end = waiter.waits() + setup.count;
    const int64_t began = NowNanos();
    caller.session.Add(0).mutable_ready()->set_name(name);
    caller.session.Flush();
    loop.RunUntil([&waiter, end] { return waiter.waits() == end; });
    nanos.push_back(NowNanos() - began);
  }
  Report report;
  report.AddLatencies("released", std::move(nanos));
  return report;
}

Report Lateness(const Setup& setup) {
  constexpr double kStepSeconds = 0.01;
  constexpr int kProbesEach = 100;
  Loop loop;
  Counting arming(setup, loop);
  AddMany(loop, arming.session, setup.armed, true, [](v1::Operation& operation, uint32_t i) {
    v1::SetDeadlineRequest& request = *operation.mutable_set_deadline();
    SetName(&request, i);
    request.mutable_open_if_missing();
    SetNanos(*request.mutable_timeout(), 3'600'000'000'000 + i * 1'000'000LL);
  });
  arming.Open(1);
  Probes probes(setup, loop);
  for (int i = 0; i < static_cast<int>(setup.seconds / kStepSeconds); ++i) {
    probes.AddSome(kProbesEach);
    loop.RunFor(kStepSeconds);
  }
  loop.RunUntil([&probes] { return probes.done(); });
  Report report;
  probes.AddTo(report);
  return report;
}

}  // namespace waitd::bench
