// A build step that waits for another, which runs on another machine, and learns how it went.
//
//     build_step ADDRESS wait STEP SECONDS
//     build_step ADDRESS done STEP TEXT
//     build_step ADDRESS failed STEP CODE

#include <waitd/client.h>

#include <iostream>
#include <string>

namespace {

int Wait(waitd::Client& client, const std::string& step, int seconds) {
  const auto result = client.Wait(step, {.timeout = absl::Seconds(seconds)}).Get();
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    return 1;
  }
  switch (result->outcome) {
    case waitd::Outcome::kReady:
      if (result->signal.failure.has_value()) {
        std::cout << step << " failed: " << result->signal.failure->message << "\n";
        return 8;
      }
      std::cout << result->signal.data << "\n";
      return 0;
    case waitd::Outcome::kTimedOut:
      std::cout << step << " took too long\n";
      return 124;
    case waitd::Outcome::kClosed:
      std::cout << step << " was called off\n";
      return 3;
  }
  return 1;
}

int Say(waitd::Client& client, const std::string& step, waitd::Signal signal) {
  const auto said = client.Ready(step, std::move(signal)).Get();
  if (!said.ok()) std::cerr << said.status() << "\n";
  return said.ok() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: build_step ADDRESS wait|done|failed STEP SECONDS|TEXT|CODE\n";
    return 2;
  }
  waitd::Client client(argv[1]);
  const std::string what = argv[2];
  if (what == "wait") return Wait(client, argv[3], std::stoi(argv[4]));
  if (what == "done") return Say(client, argv[3], argv[4]);
  const int code = std::stoi(argv[4]);
  return Say(client, argv[3],
             waitd::Signal::Failed(code, "it ended with exit code " + std::to_string(code)));
}
