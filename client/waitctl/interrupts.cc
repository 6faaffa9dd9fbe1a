#include "client/waitctl/interrupts.h"

#include <pthread.h>
#include <unistd.h>

#include <initializer_list>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "client/waitctl/outcome.h"

namespace waitd::ctl {
namespace {

// Those that nobody ignores: a shell ignores SIGINT in what it starts in the background, so that a
// Ctrl-C is for what is in front alone.
void AddUnlessIgnored(sigset_t& set, std::initializer_list<int> numbers) {
  for (const int number : numbers) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
}

}  // namespace

Interrupts::Interrupts(bool forwards) {
  sigemptyset(&awaited_);
  AddUnlessIgnored(awaited_, {SIGINT, SIGTERM});
  if (forwards) AddUnlessIgnored(awaited_, {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2});
  sigset_t blocked = awaited_;
  // A program is looked after to its end, also when nobody reads any more what is said of it.
  if (forwards) sigaddset(&blocked, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &blocked, &former_mask_);
  if (sigisemptyset(&awaited_) != 0) return;
  std::thread([this] { Await(); }).detach();
}

void Interrupts::Await() {
  while (true) {
    siginfo_t info = {};
    if (sigwaitinfo(&awaited_, &info) > 0) Came(info);
  }
}

void Interrupts::Came(const siginfo_t& info) {
  const std::lock_guard lock(mutex_);
  if (program_ != 0) {
    // What a terminal sends it sends to all that is in front, and so to the program; but that it
    // has hung up it tells the leader of its session alone.
    const bool alone = info.si_signo == SIGHUP && getsid(0) == getpid();
    if (info.si_code != SI_KERNEL || alone) kill(program_, info.si_signo);
    return;
  }
  if (code_ != 0) _exit(kSignalled + info.si_signo);
  code_ = kSignalled + info.si_signo;
  if (react_) react_();
  came_.notify_all();
}

int Interrupts::code() {
  const std::lock_guard lock(mutex_);
  return code_;
}

Interrupts::Reaction::Reaction(Interrupts& interrupts, std::function<void()> react)
    : interrupts_(interrupts) {
  const std::lock_guard lock(interrupts_.mutex_);
  if (interrupts_.code_ != 0) react();
  interrupts_.react_ = std::move(react);
}

Interrupts::Reaction::~Reaction() {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.react_ = nullptr;
}

// It runs under the lock, so that the code is read as it is.
Interrupts::Abrupt::Abrupt(Interrupts& interrupts)
    : reaction_(interrupts, [&interrupts] { _exit(interrupts.code_); }) {}

Interrupts::Forwarding::Forwarding(Interrupts& interrupts, pid_t program)
    : interrupts_(interrupts) {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.program_ = program;
  // It came before there was a program to give it to.
  if (interrupts_.code_ != 0) {
    kill(program, std::exchange(interrupts_.code_, 0) - kSignalled);
  }
}

Interrupts::Forwarding::~Forwarding() {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.program_ = 0;
}

void Interrupts::EndSoon(int code) {
  std::thread([code] {
    absl::SleepFor(kPatience);
    _exit(code);
  }).detach();
}

void Interrupts::Pause(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return code_ != 0; });
}

}  // namespace waitd::ctl
