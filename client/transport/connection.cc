#include "client/transport/connection.h"

#include <sys/random.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace waitd::internal {

Instant SteadyClock::Now() const {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

uint64_t SystemEntropy::Bits() {
  if (used_ == bits_.size()) {
    // Ids that can be guessed give a READY to strangers: rather none at all.
    if (getrandom(bits_.data(), sizeof(bits_), 0) != static_cast<ssize_t>(sizeof(bits_))) {
      std::fputs("waitd: the system has no random numbers\n", stderr);
      std::abort();
    }
    used_ = 0;
  }
  return bits_[used_++];
}

Connection::Connection(std::string address, ClientOptions options)
    : call_timeout_(options.call_timeout),
      transport_(Dialer(std::move(address), std::move(options.credentials))),
      engine_(std::move(options.name), transport_, clock_, entropy_,
              {.wait_for_ready = options.wait_for_ready, .on_state = std::move(options.on_state)}),
      thread_([this] { transport_.Run(engine_, clock_); }) {}

Connection::~Connection() {
  engine_.Close();
  thread_.join();
}

}  // namespace waitd::internal
