#include "client/waitctl/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

// Those of SIGINT and SIGTERM that nobody ignores: a shell ignores SIGINT in what it starts in the
// background, so that a Ctrl-C is for what is in front alone.
sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

// Waits for one of them. Its exit code.
int AwaitSignal(const sigset_t& set) {
  int number = 0;
  sigwait(&set, &number);
  return number == SIGINT ? kInterrupted : kTerminated;
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // By default the pauses between two attempts to connect grow to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // A poll's answer is as large as the signals that it took, and the server bounds those.
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

Interrupts::Interrupts() {
  const sigset_t set = EndSignals();
  if (sigisemptyset(&set) != 0) return;
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([this, set] { Await(set); }).detach();
}

void Interrupts::Await(const sigset_t& set) {
  const int code = AwaitSignal(set);
  {
    const std::lock_guard lock(mutex_);
    code_ = code;
    if (reading_) _exit(code_);
    if (context_ != nullptr) context_->TryCancel();
    came_.notify_all();
  }
  _exit(AwaitSignal(set));
}

int Interrupts::code() {
  const std::lock_guard lock(mutex_);
  return code_;
}

Interrupts::Call::Call(Interrupts& interrupts) : interrupts_(interrupts) {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.context_ = &context;
  if (interrupts_.code_ != 0) context.TryCancel();
}

Interrupts::Call::~Call() {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.context_ = nullptr;
}

Interrupts::Reading::Reading(Interrupts& interrupts) : interrupts_(interrupts) {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.reading_ = true;
  if (interrupts_.code_ != 0) _exit(interrupts_.code_);
}

Interrupts::Reading::~Reading() {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.reading_ = false;
}

void Interrupts::Pause(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return code_ != 0; });
}

}  // namespace waitd::ctl
