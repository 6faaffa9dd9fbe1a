// Loads a server with one scenario and prints its figures as a line of JSON.
#include <iostream>
#include <map>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "tests/bench/load/scenarios.h"
#include "tests/bench/load/sockets.h"

ABSL_FLAG(std::string, target, "", "the server: HOST:PORT");
ABSL_FLAG(int32_t, server_pid, 0, "its process");
ABSL_FLAG(std::string, scenario, "", "what to do");
ABSL_FLAG(uint32_t, count, 1, "waits, callers or samples");
ABSL_FLAG(double, seconds, 1, "how long to measure");
ABSL_FLAG(uint32_t, armed, 0, "deadlines that are armed meanwhile");
ABSL_FLAG(bool, ids, false, "give each wait an id");

int main(int argc, char** argv) {
  using namespace waitd::bench;  // NOLINT(google-build-using-namespace)
  absl::ParseCommandLine(argc, argv);
  const std::map<std::string, Report (*)(const Setup&)> scenarios = {
      {"wakes", Wakes},
      {"session_pair", SessionPair},
      {"unary_pair", UnaryPair},
      {"ping_pong", PingPong},
      {"session_idle", SessionIdle},
      {"unary_idle", UnaryIdle},
      {"session_parked", SessionParked},
      {"unary_parked", UnaryParked},
      {"latch", Latch},
      {"lateness", Lateness},
      {"unary_ready", UnaryReady},
      {"redis_wakes", RedisWakes},
      {"redis_pair", RedisPair},
      {"redis_lateness", RedisLateness},
      {"nats_wakes", NatsWakes},
      {"nats_pair", NatsPair},
  };
  const auto scenario = scenarios.find(absl::GetFlag(FLAGS_scenario));
  if (scenario == scenarios.end()) {
    std::cerr << "no such --scenario; there are:";
    for (const auto& [name, run] : scenarios) std::cerr << " " << name;
    std::cerr << "\n";
    return 2;
  }
  scenario
      ->second({.target = absl::GetFlag(FLAGS_target),
                .server = absl::GetFlag(FLAGS_server_pid),
                .count = absl::GetFlag(FLAGS_count),
                .seconds = absl::GetFlag(FLAGS_seconds),
                .armed = absl::GetFlag(FLAGS_armed),
                .ids = absl::GetFlag(FLAGS_ids)})
      .Print();
  return 0;
}
