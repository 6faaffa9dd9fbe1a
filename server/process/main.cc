// waitd: options, signals and the way down. Everything else is in server.h.
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/options/memory.h"
#include "server/options/options.h"
#include "server/process/accept.h"
#include "server/process/log.h"
#include "server/process/notify.h"
#include "server/process/server.h"
#include "server/store/recover.h"

namespace {

using waitd::server::CommandLine;

constexpr int kWrongUse = 2;
constexpr int kStoreFailed = 74;  // EX_IOERR
// By which the process tells itself that the store has failed. It stays blocked, so that it never
// ends the process, as SIGTERM would while waitd drains.
constexpr int kStoreSignal = SIGUSR1;

int Fail(const std::string& error, int code = kWrongUse) {
  std::fprintf(stderr, "waitd: %s\n", waitd::server::OneLine(error).c_str());
  return code;
}

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

sigset_t HeardSignals() {
  sigset_t set = EndSignals();
  sigaddset(&set, kStoreSignal);
  return set;
}

// The second signal ends the process as if nobody had caught it.
[[noreturn]] void EndAtOnce(int signal) {
  spdlog::warn("a second signal: ending at once");
  ::signal(signal, SIG_DFL);
  const sigset_t set = EndSignals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
  std::_Exit(128 + signal);
}

// A manager that cannot be told ends this process when its patience does: the log then says why.
void TellManager(const std::string& state) {
  std::string error;
  if (!waitd::server::Notify(std::getenv("NOTIFY_SOCKET"), state, &error)) {
    spdlog::warn("cannot tell the service manager at $NOTIFY_SOCKET: {}", error);
  }
}

// Until nothing is parked any more, the time is over, or the store has failed.
void AwaitWaits(const waitd::server::Server& server, absl::Duration time_max) {
  const sigset_t set = HeardSignals();
  const absl::Time end = absl::Now() + time_max;
  const timespec pause{0, 20'000'000};
  while (server.waiters() > 0 && absl::Now() < end) {
    const int signal = sigtimedwait(&set, nullptr, &pause);
    if (server.store_failed()) return;
    if (signal == SIGTERM || signal == SIGINT) EndAtOnce(signal);
  }
}

[[noreturn]] void EndAfterFailure(waitd::server::Server& server) {
  server.Stop();
  spdlog::critical("ended, for the store has failed; start waitd again");
  spdlog::shutdown();
  // Without closing the database: where a write has failed, RocksDB's assertions would stop that.
  std::_Exit(kStoreFailed);
}

int Serve(const waitd::server::Options& options) {
  const waitd::server::MemoryPlan plan =
      waitd::server::PlanMemory(options, waitd::server::MachineMemory());
  for (const std::string& warning : plan.warnings) spdlog::warn("{}", warning);
  waitd::server::LimitConnections(plan.connections);
  // Whoever waits for a signal hears of it.
  waitd::server::Server server(options, plan, [] { kill(getpid(), kStoreSignal); });
  std::string error;
  if (!server.Start(&error)) return Fail(error, server.store_failed() ? kStoreFailed : kWrongUse);
  spdlog::info("waitd " WAITD_VERSION " ready listen={} metrics={} store={} memory={}MiB",
               server.address(), server.metrics_address(), options.store, plan.all >> 20U);
  TellManager(waitd::server::ReadyState());
  int signal = kStoreSignal;
  const sigset_t heard = HeardSignals();
  while (signal == kStoreSignal && !server.store_failed()) sigwait(&heard, &signal);
  if (server.store_failed()) EndAfterFailure(server);
  const uint64_t parked = server.waiters();
  spdlog::info("draining signal={} parked={} timeout={}", strsignal(signal), parked,
               absl::FormatDuration(options.drain_timeout));
  TellManager(waitd::server::StoppingState(options.drain_timeout));
  server.Drain();
  AwaitWaits(server, options.drain_timeout);
  if (server.store_failed()) EndAfterFailure(server);
  const uint64_t left = server.waiters();
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  const sigset_t ends = EndSignals();
  pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);
  server.Stop();
  if (server.store_failed()) EndAfterFailure(server);
  spdlog::info("drained ended_by_themselves={} refused={}", parked - std::min(parked, left), left);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const CommandLine line = waitd::server::ReadCommandLine(
      arguments, [](const char* name) -> const char* { return std::getenv(name); });
  switch (line.action) {
    case CommandLine::Action::kHelp:
      std::fputs(waitd::server::HelpText().c_str(), stdout);
      return 0;
    case CommandLine::Action::kVersion:
      std::puts("waitd " WAITD_VERSION);
      return 0;
    case CommandLine::Action::kFail:
      return Fail(line.error);
    case CommandLine::Action::kRun:
      break;
  }
  // A file that may grow no further is an error of its write, and the store's to tell of.
  ::signal(SIGXFSZ, SIG_IGN);
  // Who reads the log may go before this process does.
  ::signal(SIGPIPE, SIG_IGN);
  if (line.options.check_store) return waitd::server::CheckStoreAndSay(line.options);
  // Before any thread is made, so that all of them leave these signals to sigwait.
  const sigset_t set = HeardSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waitd::server::StartLog(line.options.log_level, line.options.log_format);
  return Serve(line.options);
}
