// waitctl: waits, signals and deadlines from a shell.
#include <grpc/support/log.h>

#include <cstdlib>

#include "client/waitctl/app.h"
#include "client/waitctl/commands.h"
#include "client/waitctl/streams.h"

namespace {

// What goes wrong is in the errors, once and readable, also by programs. Who asks gRPC hears more.
void QuietGrpc() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

int main(int argc, char** argv) {
  waitd::ctl::GuardStandardStreams();
  QuietGrpc();
  waitd::ctl::Args args;
  if (const auto code = waitd::ctl::Parse(argc, argv, args)) return *code;
  return waitd::ctl::Run(args);
}
