// Includes each installed header, and makes a round trip.
#include <waitd/call.h>
#include <waitd/client.h>
#include <waitd/ephemeral_descriptor.h>
#include <waitd/heartbeat.h>
#include <waitd/options.h>
#include <waitd/status.h>
#include <waitd/types.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  waitd::Client client(argv[1]);
  const auto mine = waitd::EphemeralDescriptor::Create(client, argv[2]);
  if (!mine.ok()) return 3;
  const auto heartbeat = waitd::Heartbeat::Start(client, argv[2], absl::Seconds(10));
  if (!heartbeat.ok() || heartbeat->generation() != mine->generation()) return 4;
  if (!client.Ready(argv[2], "from afar").Get().ok()) return 5;
  const auto result = client.Wait(argv[2], {.timeout = absl::Seconds(10)}).Get();
  if (!result.ok()) return 6;
  std::cout << result->signal.data << "\n";
}
