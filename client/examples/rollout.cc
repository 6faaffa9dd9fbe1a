// A rollout that a hundred agents await at once. A latch is opened once for all of them, and for
// those that come later.
//
//     rollout ADDRESS VERSION AGENTS

#include <waitd/client.h>

#include <atomic>
#include <iostream>
#include <latch>
#include <string>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: rollout ADDRESS VERSION AGENTS\n";
    return 2;
  }
  const std::string name = std::string("rollout/") + argv[2];
  const int agents = std::stoi(argv[3]);
  // What callbacks touch outlives the client.
  std::atomic<int> updated = 0;
  std::latch all(agents);
  waitd::Client client(argv[1]);

  // A latch on purpose: a name of another kind is refused, with KIND_MISMATCH.
  const waitd::OpenOptions latch = {.kind = waitd::Kind::kLatch};
  if (const auto opened = client.Open(name, latch).Get(); !opened.ok()) {
    std::cerr << opened.status() << "\n";
    return 1;
  }
  // Each agent is a process of its own by rights; here they share a client, and no thread each.
  for (int agent = 0; agent < agents; ++agent) {
    client.Wait(name, {.timeout = absl::Minutes(1)}).Then([&](const auto& result) {
      if (result.ok() && result->outcome == waitd::Outcome::kReady) ++updated;
      all.count_down();
    });
  }
  const auto go = client.Ready(name, "https://example.com/v2.tar").Get();
  if (!go.ok()) std::cerr << go.status() << "\n";
  all.wait();
  const auto late = client.Wait(name, {.timeout = absl::ZeroDuration()}).Get();
  std::cout << updated << " agents updated, one that came late found "
            << (late.ok() ? late->signal.data : late.status().ToString()) << "\n";
}
