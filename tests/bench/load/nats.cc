// NATS: a subscription that ends with its first message is a wait, a message is a Ready. Nothing is
// remembered: a message that nobody waits for is gone.
#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/bench/load/sockets.h"

namespace waitd::bench {
namespace {

constexpr uint32_t kReadysMax = 4096;

/// One connection on which waits and messages go, as the operations of one session do.
class Nats {
 public:
  explicit Nats(const Setup& setup)
      : sockets_(setup.target, 1, [this](size_t, std::string_view bytes) { Take(bytes); }) {
    out_ = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    Sync();
  }

  void Wait(uint32_t number) {
    const Name name(number);
    const uint64_t id = next_++ << Session::kNumberBits | number;
    absl::StrAppend(&out_, "SUB ", absl::string_view(name.data(), name.size()), " ", id,
                    "\r\nUNSUB ", id, " 1\r\n");
  }

  void Ready(uint32_t number) {
    const Name name(number);
    absl::StrAppend(&out_, "PUB ", absl::string_view(name.data(), name.size()), " 1\r\nx\r\n");
  }

  void Flush() {
    sockets_.Send(0, out_);
    out_.clear();
  }

  /// Until all that was sent before has been done.
  void Sync() {
    ponged_ = false;
    out_ += "PING\r\n";
    Flush();
    RunUntil([this] { return ponged_; });
  }

  void RunUntil(const std::function<bool()>& done) {
    sockets_.RunUntil(done, [this] { Flush(); });
  }

  /// Is given the number of each wait that ended.
  void OnWake(std::function<void(uint32_t)> wake) { wake_ = std::move(wake); }

 private:
  // MSG SUBJECT ID 1, and then the message's line.
  void Take(std::string_view bytes) {
    in_.append(bytes);
    size_t begin = 0;
    for (size_t end; (end = in_.find("\r\n", begin)) != std::string::npos; begin = end + 2) {
      const absl::string_view line(in_.data() + begin, end - begin);
      if (line == "PONG") {
        ponged_ = true;
      } else if (line == "PING") {
        out_ += "PONG\r\n";
      } else if (line.substr(0, 4) == "-ERR") {
        Fail(absl::StrCat("NATS: ", line));
      } else if (line.substr(0, 4) == "MSG ") {
        const absl::string_view id_on = line.substr(line.find(' ', 4) + 1);
        uint64_t id = 0;
        if (!absl::SimpleAtoi(id_on.substr(0, id_on.find(' ')), &id)) Fail("not a message's line");
        wake_(Session::NumberOf(id));
      }
    }
    in_.erase(0, begin);
  }

  std::string in_;
  std::string out_;
  uint64_t next_ = 1;
  bool ponged_ = false;
  std::function<void(uint32_t)> wake_;
  Sockets sockets_;
};

}  // namespace

Report NatsWakes(const Setup& setup) {
  Nats nats(setup);
  std::vector<uint32_t> order(setup.count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::deque<uint32_t> parked(order.begin(), order.end());
  const auto ready = [&] {
    nats.Ready(parked.front());
    parked.pop_front();
  };
  int64_t wakes = 0;
  nats.OnWake([&](uint32_t number) {
    ++wakes;
    nats.Wait(number);
    parked.push_back(number);
    ready();
  });
  for (uint32_t i = 0; i < setup.count; ++i) {
    nats.Wait(i);
    if (i % kReadysMax == 0) nats.Sync();
  }
  nats.Sync();
  for (uint32_t i = 0; i < std::min(setup.count, kReadysMax); ++i) ready();
  nats.Flush();
  const auto run_for = [&nats](double seconds) {
    const int64_t end = NowNanos() + static_cast<int64_t>(seconds * 1e9);
    nats.RunUntil([end] { return NowNanos() >= end; });
  };
  run_for(setup.warm_up_seconds());
  const int64_t began = NowNanos();
  const int64_t before = wakes;
  run_for(setup.seconds);
  Report report;
  report.Add("wakes_per_s",
             static_cast<double>(wakes - before) * 1e9 / static_cast<double>(NowNanos() - began));
  return report;
}

Report NatsPair(const Setup& setup) {
  Nats waiter(setup);
  Nats caller(setup);
  int64_t woken_at = 0;
  waiter.OnWake([&woken_at](uint32_t) { woken_at = NowNanos(); });
  const auto wake = [&] {
    waiter.Wait(0);
    waiter.Sync();
    woken_at = 0;
    const int64_t began = NowNanos();
    caller.Ready(0);
    caller.Flush();
    waiter.RunUntil([&] { return woken_at != 0; });
    return woken_at - began;
  };
  const int64_t warm = NowNanos() + static_cast<int64_t>(setup.warm_up_seconds() * 1e9);
  while (NowNanos() < warm) wake();
  std::vector<int64_t> nanos;
  for (uint32_t i = 0; i < setup.count; ++i) nanos.push_back(wake());
  Report report;
  report.AddLatencies("wake", std::move(nanos));
  return report;
}

}  // namespace waitd::bench
