// A worker whose heartbeat extends a deadline, and a supervisor whom its silence wakes.
//
//     heartbeat ADDRESS work WORKER TTL_MS       until its standard input ends: then it is done
//     heartbeat ADDRESS supervise WORKER

#include <waitd/client.h>
#include <waitd/heartbeat.h>

#include <iostream>
#include <string>

namespace {

int Work(waitd::Client& client, const std::string& name, absl::Duration ttl) {
  auto heartbeat = waitd::Heartbeat::Start(client, name, ttl);
  if (!heartbeat.ok()) {
    std::cerr << heartbeat.status() << "\n";
    return 1;
  }
  std::cout << name << " works" << std::endl;
  for (std::string piece; std::getline(std::cin, piece);) {
    // Whoever was given up does no more harm: another worker may have taken its place.
    if (heartbeat->lost().stop_requested()) {
      std::cout << name << " was given up: " << heartbeat->status() << "\n";
      return 1;
    }
  }
  // In this order: done is done, no beat arms the deadline again, and none passes for it any more.
  client.Ready(name, "all done", {.generation = heartbeat->generation()}).Get().IgnoreError();
  heartbeat->Stop();
  client.ClearDeadline(name, {.generation = heartbeat->generation()}).Get().IgnoreError();
  return 0;
}

int Supervise(waitd::Client& client, const std::string& name) {
  const auto result = client.Wait(name).Get();
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    return 1;
  }
  if (result->outcome == waitd::Outcome::kTimedOut) {
    std::cout << name << " fell silent\n";
    return 124;
  }
  std::cout << name << " says: " << result->signal.data << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr
        << "usage: heartbeat ADDRESS work WORKER TTL_MS | heartbeat ADDRESS supervise WORKER\n";
    return 2;
  }
  waitd::Client client(argv[1]);
  if (argc > 4) return Work(client, argv[3], absl::Milliseconds(std::stoi(argv[4])));
  return Supervise(client, argv[3]);
}
