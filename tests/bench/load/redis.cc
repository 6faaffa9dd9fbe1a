// Redis: BLPOP is a wait, LPUSH is a Ready.
#include <algorithm>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/load/sockets.h"

namespace waitd::bench {
namespace {

// Of a key of 20 bytes with a value of one.
constexpr size_t kPoppedBytes = std::string_view("*2\r\n$20\r\n\r\n$1\r\nx\r\n").size() + 20;

std::string Command(std::string_view name, uint32_t key, std::string_view argument) {
  const Name key_name(key);
  return absl::StrFormat("*3\r\n$5\r\n%s\r\n$20\r\n%s\r\n$%d\r\n%s\r\n", name,
                         std::string_view(key_name.data(), key_name.size()), argument.size(),
                         argument);
}

std::string Pop(uint32_t key) { return Command("BLPOP", key, "0"); }
std::string Push(uint32_t key) { return Command("LPUSH", key, "x"); }

/// The closed loop behind RedisWakes: what popped is pushed to again, in one go for all that popped
/// at once.
class PopLoop {
 public:
  explicit PopLoop(const Setup& setup)
      : count_(setup.count),
        got_(setup.count),
        sockets_(setup.target, setup.count + 1,
                 [this](size_t from, std::string_view bytes) { Take(from, bytes); }) {
    // Made once: the load should cost little beside Redis.
    for (uint32_t i = 0; i < count_; ++i) {
      pops_.push_back(Pop(i));
      pushes_.push_back(Push(i));
    }
    for (uint32_t i = 0; i < count_; ++i) {
      sockets_.Send(i, pops_[i]);
      pipeline_ += pushes_[i];
    }
    SendPipeline();
  }

  void RunFor(double seconds) {
    const int64_t end = NowNanos() + static_cast<int64_t>(seconds * 1e9);
    sockets_.RunUntil([end] { return NowNanos() >= end; }, [this] { SendPipeline(); });
  }

  int64_t wakes() const { return wakes_; }

 private:
  void Take(size_t from, std::string_view bytes) {
    if (from == count_) return;  // the answers of LPUSH
    got_[from] += bytes.size();
    if (got_[from] < kPoppedBytes) return;
    if (got_[from] > kPoppedBytes || bytes[0] == '-') Fail("not the answer of one BLPOP");
    got_[from] = 0;
    ++wakes_;
    sockets_.Send(from, pops_[from]);
    pipeline_ += pushes_[from];
  }

  void SendPipeline() {
    sockets_.Send(count_, pipeline_);
    pipeline_.clear();
  }

  const size_t count_;
  std::vector<size_t> got_;
  std::vector<std::string> pops_;
  std::vector<std::string> pushes_;
  std::string pipeline_;
  int64_t wakes_ = 0;
  Sockets sockets_;
};

}  // namespace

Report RedisWakes(const Setup& setup) {
  PopLoop loop(setup);
  loop.RunFor(setup.warm_up_seconds());
  const int64_t began = NowNanos();
  const int64_t before = loop.wakes();
  const int64_t cpu_before = UsageOf(setup.server).cpu_nanos;
  loop.RunFor(setup.seconds);
  const auto count = static_cast<double>(loop.wakes() - before);
  if (count == 0) Fail("no wake was seen");
  Report report;
  report.Add("wakes_per_s", count * 1e9 / static_cast<double>(NowNanos() - began));
  report.Add("server_cpu_us",
             static_cast<double>(UsageOf(setup.server).cpu_nanos - cpu_before) / 1e3 / count);
  return report;
}

Report RedisPair(const Setup& setup) {
  size_t popped = 0;
  int64_t woken_at = 0;
  bool answered = false;
  Sockets sockets(setup.target, 2, [&](size_t from, std::string_view bytes) {
    if (from == 1) {
      answered = true;
    } else if ((popped += bytes.size()) == kPoppedBytes) {
      popped = 0;
      woken_at = NowNanos();
    }
  });
  const auto wake = [&] {
    sockets.Send(0, Pop(0));
    answered = false;
    sockets.Send(1, "PING\r\n");  // answered when what came before has been done
    sockets.RunUntil([&] { return answered; });
    answered = false;
    woken_at = 0;
    const int64_t began = NowNanos();
    sockets.Send(1, Push(0));
    sockets.RunUntil([&] { return answered && woken_at != 0; });
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

Report RedisLateness(const Setup& setup) {
  const int turns = std::max(1, static_cast<int>(setup.seconds / 1.5));
  std::mt19937 random(1);
  std::uniform_int_distribution<int64_t> milliseconds(500, 1500);
  std::vector<int64_t> due(setup.count);
  std::vector<int64_t> late;
  Sockets sockets(setup.target, setup.count, [&](size_t from, std::string_view bytes) {
    if (bytes != "*-1\r\n") Fail("BLPOP did not time out");
    late.push_back(NowNanos() - due[from]);
  });
  for (int turn = 1; turn <= turns; ++turn) {
    for (uint32_t i = 0; i < setup.count; ++i) {
      const int64_t timeout = milliseconds(random);
      due[i] = NowNanos() + timeout * 1'000'000;
      sockets.Send(i,
                   Command("BLPOP", i, absl::StrFormat("%d.%03d", timeout / 1000, timeout % 1000)));
    }
    sockets.RunUntil([&] { return late.size() == static_cast<size_t>(turn) * setup.count; });
  }
  Report report;
  report.Add("early", static_cast<double>(std::count_if(late.begin(), late.end(),
                                                        [](int64_t l) { return l < 0; })));
  report.AddLatencies("client_late", std::move(late));
  return report;
}

}  // namespace waitd::bench
