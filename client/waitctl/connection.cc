#include "client/waitctl/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>
#include <signal.h>

#include <thread>

#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

Interrupts::Interrupts() {
  const sigset_t set = EndSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([this] { Await(); }).detach();
}

void Interrupts::Await() {
  const sigset_t set = EndSignals();
  int signal = 0;
  sigwait(&set, &signal);
  const std::lock_guard lock(mutex_);
  code_ = signal == SIGINT ? kInterrupted : kTerminated;
  if (context_ != nullptr) context_->TryCancel();
  came_.notify_all();
  // Whatever hangs now ends by the next one.
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
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

void Interrupts::Pause(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return code_ != 0; });
}

}  // namespace waitd::ctl
