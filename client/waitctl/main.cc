// waitctl: waits, signals and deadlines from a shell.
#include "client/waitctl/app.h"
#include "client/waitctl/commands.h"
#include "client/waitctl/streams.h"

int main(int argc, char** argv) {
  waitd::ctl::GuardStandardStreams();
  waitd::ctl::Args args;
  if (const auto code = waitd::ctl::Parse(argc, argv, args)) return *code;
  return waitd::ctl::Run(args);
}
