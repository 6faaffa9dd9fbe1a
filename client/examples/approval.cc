// An approval that a person gives tomorrow. The program that asks may be stopped and started again
// meanwhile: under the same ticket it is the same wait. A ticket is a secret that it keeps
// somewhere, as who knows it can take the answer. What it was given it confirms when it has acted
// on it; if it dies before, the approval comes back for the one that takes over.
//
//     approval ADDRESS ask WHAT TICKET
//     approval ADDRESS approve WHAT WHO

#include <waitd/client.h>

#include <iostream>
#include <string>

namespace {

int Ask(waitd::Client& client, const std::string& what, const std::string& ticket) {
  const auto answer = client
                          .Wait(what, {.timeout = absl::Hours(7 * 24),
                                       .ack_timeout = absl::Seconds(30),
                                       .wait_id = ticket})
                          .Get();
  if (!answer.ok()) {
    std::cerr << answer.status() << "\n";
    return 1;
  }
  if (answer->outcome != waitd::Outcome::kReady) {
    std::cout << "nobody approved " << what << "\n";
    return 124;
  }
  std::cout << what << " approved by " << answer->signal.data << ", attempt " << answer->attempt
            << "\n";
  const auto acked = client.Ack(*answer).Get();
  if (waitd::ReasonOf(acked.status()) == "STALE_DELIVERY") {
    std::cout << "too slow: another one has it now\n";
  }
  return acked.ok() ? 0 : 1;
}

int Approve(waitd::Client& client, const std::string& what, const std::string& who) {
  const auto given = client.Ready(what, who).Get();
  if (!given.ok()) std::cerr << given.status() << "\n";
  return given.ok() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: approval ADDRESS ask WHAT TICKET | approval ADDRESS approve WHAT WHO\n";
    return 2;
  }
  waitd::Client client(argv[1]);
  return std::string(argv[2]) == "ask" ? Ask(client, argv[3], argv[4])
                                       : Approve(client, argv[3], argv[4]);
}
