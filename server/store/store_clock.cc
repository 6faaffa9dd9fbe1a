#include "server/store/store_clock.h"

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "core/check.h"

namespace waitd::server {
namespace {

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

core::Nanos ReadBoottime() {
  timespec at{};
  WAITD_CHECK(clock_gettime(CLOCK_BOOTTIME, &at) == 0, "the boot clock cannot be read");
  return std::chrono::seconds(at.tv_sec) + core::Nanos(at.tv_nsec);
}

// The number of a time namespace may come again when it is gone, so its offsets are in the name,
// too.
std::string NameBoot() {
  const std::string boot = ReadAll("/proc/sys/kernel/random/boot_id");
  std::error_code error;
  const auto time = std::filesystem::read_symlink("/proc/self/ns/time", error);
  if (boot.empty() || error) return "";
  return boot + time.string() + "\n" + ReadAll("/proc/self/timens_offsets");
}

}  // namespace

StoreClock StoreClock::OfMachine() {
  return {[] { return core::RealClock().Read(); }, ReadBoottime, NameBoot()};
}

}  // namespace waitd::server
