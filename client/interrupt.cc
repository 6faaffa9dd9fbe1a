#include "client/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace waitd::ctl {

Interrupt::Interrupt() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action;
    // A blocked signal is queued even when it is ignored, so the ignored ones are left out.
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
      sigaddset(&set, signal);
    }
  }
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (signals < 0 || stop_ < 0) {
    // Out of file descriptors before anything began; without these a wait could not be ended.
    std::perror("waitctl: cannot watch for signals");
    std::exit(1);
  }
  thread_ = std::thread([this, signals] { Run(signals); });
}

Interrupt::~Interrupt() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
}

int Interrupt::signal() const {
  const std::lock_guard lock(mutex_);
  return signal_;
}

bool Interrupt::Sleep(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  sleeping_ = true;
  const bool came =
      came_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return signal_ != 0; });
  sleeping_ = false;
  return !came;
}

void Interrupt::Run(int signals) {
  std::array<pollfd, 2> fds = {pollfd{signals, POLLIN, 0}, pollfd{stop_, POLLIN, 0}};
  while (true) {
    if (poll(fds.data(), fds.size(), -1) <= 0) continue;
    if ((fds[1].revents & POLLIN) != 0) break;
    signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) == sizeof(info)) {
      Take(static_cast<int>(info.ssi_signo));
    }
  }
  close(signals);
}

void Interrupt::Take(int signal) {
  const std::lock_guard lock(mutex_);
  if (signal_ != 0 || (context_ == nullptr && !sleeping_)) {
    _exit(ExitStatus(signal_ != 0 ? signal_ : signal));
  }
  signal_ = signal;
  came_.notify_all();
  if (context_ != nullptr) context_->TryCancel();
}

Interrupt::Cancellable::Cancellable(Interrupt* interrupt, grpc::ClientContext* context)
    : interrupt_(interrupt) {
  const std::lock_guard lock(interrupt_->mutex_);
  interrupt_->context_ = context;
  if (interrupt_->signal_ != 0) context->TryCancel();
}

Interrupt::Cancellable::~Cancellable() {
  const std::lock_guard lock(interrupt_->mutex_);
  interrupt_->context_ = nullptr;
}

}  // namespace waitd::ctl
