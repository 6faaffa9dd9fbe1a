#include "server/process/server.h"

#include <grpcpp/alarm.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/access/denials.h"
#include "server/access/file_watch.h"
#include "server/access/gate.h"
#include "server/access/tls.h"
#include "server/metrics/admin.h"
#include "server/metrics/metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/store_metrics.h"
#include "server/process/timer_thread.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/rpc.h"
#include "server/rpc/rpc_metrics.h"
#include "server/session/session_stream.h"
#include "server/session/sessions.h"
#include "server/store/committer.h"
#include "server/store/recover.h"

namespace waitd::server {
namespace {

constexpr std::chrono::seconds kAnswerTimeMax{5};  // for clients to take what they are answered
constexpr std::chrono::milliseconds kGoodbyeTimeMax{200};  // for them to hang up by themselves
constexpr uint64_t kStreamsMax = 200'000;                  // parked calls on one connection
constexpr size_t kAwaitedCalls = 4;  // of each method and queue, so that arrivals seldom queue up
// For what is not asynchronous: a stream of reflection holds a thread for as long as it is open.
constexpr int kSyncThreadsMax = 32;
constexpr const char* kHealthNames[] = {"", "waitd.v1.WaitService", "waitd.v1.AdminService",
                                        "waitd-liveness", "waitd-readiness"};

core::Nanos NanosOf(absl::Duration duration) {
  return core::Nanos(absl::ToInt64Nanoseconds(duration));
}

core::Nanos OrForever(absl::Duration duration) {
  if (duration == absl::ZeroDuration()) return core::kForever;
  return NanosOf(duration);
}

// But for the limits of what is held, which the plan of memory sets.
core::Poller::Options PollerOptions(const Options& options) {
  return {.max_wait = OrForever(options.max_wait),
          .default_idle_ttl = OrForever(options.default_idle_ttl),
          .linger = NanosOf(options.linger),
          .retention = NanosOf(options.retention),
          .max_deliveries_of_side = options.max_deliveries_per_side,
          // The last to notice is a session whose stream breaks: that shows when two keepalives are
          // missing, and it waits for its client for linger.
          .unwritten_for = core::SaturatingAdd(NanosOf(options.linger), 2 * kSessionKeepalive)};
}

// gRPC would take the socket away from whoever serves on it.
bool SomebodyServesOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool served =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return served;
}

// 0: never.
void SetDuration(grpc::ServerBuilder& builder, const char* argument, absl::Duration duration) {
  if (duration == absl::ZeroDuration()) return;
  const int64_t ms = absl::ToInt64Milliseconds(duration);
  builder.AddChannelArgument(argument, static_cast<int>(std::clamp<int64_t>(ms, 1, INT_MAX)));
}

void SetArguments(grpc::ServerBuilder& builder, const Options& options, const MemoryPlan& plan) {
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A parked call sends nothing for hours: the server's pings must not run out before that.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  const uint64_t calls = plan.limit(core::Held::kCalls).bytes / kOneCall.bytes;
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(std::min(calls, kStreamsMax)));
  SetDuration(builder, GRPC_ARG_MAX_CONNECTION_IDLE_MS, options.max_connection_idle);
  SetDuration(builder, GRPC_ARG_MAX_CONNECTION_AGE_MS, options.max_connection_age);
  SetDuration(builder, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, options.max_connection_age_grace);
  grpc::ResourceQuota quota("waitd");
  if (options.max_grpc_bytes > 0) quota.Resize(options.max_grpc_bytes);
  builder.SetResourceQuota(quota.SetMaxThreads(kSyncThreadsMax));
  // Twice what a message may have, so that most that are too large are told so by waitd itself.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(options.max_payload_bytes + 2 * kMessageOverhead));
  // The methods that are not asynchronous are few: reflection, and what an operator asks for. One
  // that takes long is no poller meanwhile, so that the next call is taken by another thread.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

template <class T, auto kRequest>
void Await(Context& context, AsyncService& service, grpc::ServerCompletionQueue& queue) {
  for (size_t i = 0; i < kAwaitedCalls; ++i) Rpc<T, kRequest>::Await(context, service, queue);
}

void AwaitAll(Context& context, AsyncService& service, grpc::ServerCompletionQueue& queue) {
  using S = AsyncService;
  Await<OpenMethod, &S::RequestOpenPollDescriptor>(context, service, queue);
  Await<CloseMethod, &S::RequestClosePollDescriptor>(context, service, queue);
  Await<ResetMethod, &S::RequestReset>(context, service, queue);
  Await<WaitMethod, &S::RequestWait>(context, service, queue);
  Await<ReadyMethod, &S::RequestReady>(context, service, queue);
  Await<SetDeadlineMethod, &S::RequestSetDeadline>(context, service, queue);
  Await<PollMethod, &S::RequestPoll>(context, service, queue);
  Await<AckMethod, &S::RequestAck>(context, service, queue);
  Await<GetMethod, &S::RequestGetPollDescriptor>(context, service, queue);
  Await<ListMethod, &S::RequestListPollDescriptors>(context, service, queue);
}

// Takes out what the library puts into each server once it is linked.
class NoReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [](const auto& each) { return each->name() == "proto_server_reflection"; });
  }
};

SignalLimits SignalLimitsOf(const Options& options, core::Poller& poller) {
  return {options.max_payload_bytes, poller.budget()};
}

SessionContext MakeSessionContext(core::Poller& poller, const core::Clock& clock,
                                  RpcMetrics& metrics, Gate& gate, const Options& options) {
  return {.poller = poller,
          .clock = clock,
          .metrics = metrics,
          .gate = gate,
          .signals = SignalLimitsOf(options, poller),
          .ack_timeout_max = NanosOf(options.max_ack_timeout),
          .parked_max = options.max_parked,
          .unacked_max = options.max_unacked,
          .retention = NanosOf(options.retention),
          .ended = nullptr};
}

}  // namespace

// Lets the sessions look after their streams, now and then, as long as it is not stopped.
class Ticker final : public Event {
 public:
  Ticker(Sessions& sessions, grpc::CompletionQueue& queue) : sessions_(sessions), queue_(queue) {
    Set();
  }
  // The queue hands back the last event, after which this can go.
  void Stop() {
    const core::MutexLock lock(mutex_);
    stopped_ = true;
    alarm_.Cancel();
  }
  void Happened(bool /*ok*/) override {
    sessions_.Tick();
    Set();
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{200};

  void Set() {
    const core::MutexLock lock(mutex_);
    if (stopped_) return;
    alarm_.Set(&queue_, std::chrono::system_clock::now() + kInterval, this);
  }

  Sessions& sessions_;
  grpc::CompletionQueue& queue_;
  core::Mutex mutex_;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// In the order in which they are made; they go in the reverse.
struct Server::Parts {
  Parts(const Options& given, const MemoryPlan& memory, std::function<void()> store_failed)
      : options(given),
        plan(memory),
        timers(clock),
        committer(clock, {given.min_free_disk_bytes,
                          [this] {
                            failed.store(true, std::memory_order_relaxed);
                            server->GetHealthCheckService()->Shutdown();
                          },
                          [store_failed = std::move(store_failed)] {
                            if (store_failed) store_failed();
                          }}),
        poller(PollerOptions(given), clock, given.store == "memory" ? nullptr : &committer,
               [this](core::Instant at) { timers.Alarm(at); }),
        gate(given.auth, given.max_rate, poller.budget()),
        sessions(MakeSessionContext(poller, clock, rpc_metrics, gate, given),
                 NanosOf(given.linger)),
        core_metrics(poller, given),
        store_metrics(committer, given),
        context{poller,
                clock,
                rpc_metrics,
                gate,
                SignalLimitsOf(given, poller),
                NanosOf(given.max_ack_timeout),
                failed},
        admin({&core_metrics, &store_metrics, &rpc_metrics, &process_metrics},
              [this] {
                return !draining.load(std::memory_order_relaxed) &&
                       !failed.load(std::memory_order_relaxed);
              }),
        admin_service(context, {given.backup_dir, given.min_free_disk_bytes}, failed) {
    for (size_t i = 0; i < core::kHeldKinds; ++i) {
      poller.budget().SetLimit(static_cast<core::Held>(i), plan.limits[i]);
    }
  }

  // The rules have changed: what is parked by a right that was taken away ends. First each session
  // goes by the new rules, so that the search finds what came by the former ones.
  void EndForbidden(const Rules& former, const Rules& now) {
    sessions.Recheck();
    LostRights lost(former, now);
    while (lost.EndSome(poller)) {
    }
    lost.Log();
  }

  // Brings back what the last process left; false: `error` says why not.
  bool OpenStore(std::string* error);

  // What callers must show; reads the files that say so, which are watched from Start on.
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials();

  const Options options;
  const MemoryPlan plan;
  core::RealClock clock;
  TimerThread timers;
  std::atomic<bool> failed{false};  // the store; relaxed: shown, and nothing else
  Committer committer;
  core::Poller poller;
  std::unique_ptr<Store> store;  // null: memory; it refers to payloads, which the poller charges
  RpcMetrics rpc_metrics;
  TlsCertificates certificates;
  Gate gate;
  Sessions sessions;
  CoreMetrics core_metrics;
  StoreMetrics store_metrics;
  ProcessMetrics process_metrics;
  Context context;
  std::atomic<bool> draining{false};  // relaxed: what /readyz says, and nothing else
  Admin admin;
  AsyncService service;
  AdminService admin_service;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  std::optional<Ticker> ticker;
  std::unique_ptr<grpc::Server> server;
  std::vector<std::thread> threads;
  std::string address;
  std::string metrics_address;
  FileWatch files;  // goes first: what it loads uses the rest
};

bool Server::Parts::OpenStore(std::string* error) {
  const core::Instant begin = clock.Read().mono;
  absl::StatusOr<std::unique_ptr<Store>> opened = Recover(options, plan, clock, poller);
  if (!opened.ok()) {
    // A full disk is nobody's mistake, and may be over at the next start.
    if (absl::IsResourceExhausted(opened.status())) failed.store(true, std::memory_order_relaxed);
    *error = std::string(opened.status().message());
    return false;
  }
  store = *std::move(opened);
  admin_service.SetStore(*store);
  store_metrics.SetStore(*store, clock.Read().mono - begin);
  return true;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Server::Parts::Credentials() {
  gate.OnChange([this](const Rules& former, const Rules& now) { EndForbidden(former, now); });
  absl::Status status = gate.Watch(files, options.token_file, options.acl_file);
  if (status.ok() && !options.tls_cert_file.empty()) {
    std::vector<std::string> paths = {options.tls_cert_file, options.tls_key_file};
    if (!options.tls_client_ca_file.empty()) paths.push_back(options.tls_client_ca_file);
    status = files.Add(std::move(paths), [this](const std::vector<std::string>& contents) {
      std::optional<std::string> client_ca;
      if (contents.size() > 2) client_ca = contents[2];
      return certificates.Set(contents[0], contents[1], std::move(client_ca));
    });
  }
  if (!status.ok()) return status;
  files.Start();
  if (options.tls_cert_file.empty()) return grpc::InsecureServerCredentials();
  return certificates.Credentials();
}

Server::Server(const Options& options, const MemoryPlan& plan, std::function<void()> store_failed)
    : parts_(std::make_unique<Parts>(options, plan, std::move(store_failed))) {}

Server::~Server() { Stop(); }

bool Server::Start(std::string* error) {
  Parts& p = *parts_;
  if (p.options.store == "memory") {
    BeginWithNothing(p.clock, p.poller);
  } else if (!p.OpenStore(error)) {
    return false;
  }
  const std::string& asked = p.options.listen_address;
  const auto fail = [&](absl::string_view why) {
    *error =
        absl::StrCat("cannot listen on ", asked, ": ", why, "; choose another --listen-address");
    return false;
  };
  const bool is_unix = absl::StartsWith(asked, "unix:");
  if (is_unix && SomebodyServesOn(asked.substr(5))) return fail("another server is there");
  if (!is_unix && asked.rfind(':') == std::string::npos) return fail("not HOST:PORT or unix:PATH");
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> credentials = p.Credentials();
  if (!credentials.ok()) {
    *error = std::string(credentials.status().message());
    return false;
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  if (!p.options.reflection) builder.SetOption(std::make_unique<NoReflection>());
  SetArguments(builder, p.options, p.plan);
  int port = 0;
  builder.AddListeningPort(asked, *std::move(credentials), &port);
  builder.RegisterService(&p.service);
  builder.RegisterService(&p.admin_service);
  const unsigned threads = std::max(2U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < threads; ++i) p.queues.push_back(builder.AddCompletionQueue());
  p.server = builder.BuildAndStart();
  if (p.server == nullptr || port == 0) {
    for (auto& queue : p.queues) {
      queue->Shutdown();
      void* tag = nullptr;
      bool ok = false;
      while (queue->Next(&tag, &ok)) {
      }
    }
    return fail("the address is in use, or not one of this machine");
  }
  p.address = is_unix ? asked : absl::StrCat(asked.substr(0, asked.rfind(':') + 1), port);
  for (auto& queue : p.queues) {
    AwaitAll(p.context, p.service, *queue);
    for (size_t i = 0; i < kAwaitedCalls; ++i) {
      SessionStream::Await(p.context, p.sessions, p.service, *queue);
    }
    p.threads.emplace_back([&queue] {
      void* tag = nullptr;
      bool ok = false;
      while (queue->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
    });
  }
  p.ticker.emplace(p.sessions, *p.queues.front());
  if (p.store != nullptr) p.committer.Start(p.poller, *p.store);
  p.timers.Start(p.poller);
  auto* const health = p.server->GetHealthCheckService();
  for (const char* name : kHealthNames) health->SetServingStatus(name, true);
  const std::string& metrics = p.options.metrics_address;
  p.metrics_address = metrics == "none" ? metrics : p.admin.Start(metrics, error);
  return !p.metrics_address.empty();
}

const std::string& Server::address() const { return parts_->address; }
const std::string& Server::metrics_address() const { return parts_->metrics_address; }

void Server::Drain() {
  parts_->draining.store(true, std::memory_order_relaxed);
  parts_->core_metrics.SetDraining();
  parts_->server->GetHealthCheckService()->Shutdown();
  parts_->poller.RefuseWaits();
}

bool Server::store_failed() const { return parts_->failed.load(std::memory_order_relaxed); }
uint64_t Server::waiters() const { return parts_->poller.waiters(); }

void Server::Stop() {
  Parts& p = *parts_;
  if (p.server == nullptr) return;
  p.poller.RefuseWaits();
  // Else those who come meanwhile, and again, would hold it up for as long as it waits for anybody.
  p.context.closed.store(true, std::memory_order_relaxed);
  p.sessions.StopReading();
  while (p.poller.EndWaits()) {
  }
  // A client that has no call notices nothing before its next one, and would not hang up: when all
  // have their answers there is nothing to wait for.
  const auto end = std::chrono::steady_clock::now() + kAnswerTimeMax;
  while ((p.context.calls.load(std::memory_order_relaxed) > 0 || !p.sessions.Flushed()) &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  p.sessions.EndAll(p.context.SentAway());
  p.server->Shutdown(std::chrono::system_clock::now() + kGoodbyeTimeMax);
  // A call that waits for a disk that stalls is answered after all, though to nobody, and gRPC ends
  // the process when its queue is gone by then.
  while (p.context.calls.load(std::memory_order_relaxed) > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  p.files.Stop();  // rules that change end calls, as long as there are queues for their ends
  p.ticker->Stop();
  for (auto& queue : p.queues) queue->Shutdown();
  for (auto& thread : p.threads) thread.join();
  p.timers.Stop();
  p.committer.Stop();
  p.server.reset();
}

}  // namespace waitd::server
