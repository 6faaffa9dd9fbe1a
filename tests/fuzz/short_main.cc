// Runs a fuzz target without libFuzzer, for a moment: random inputs, from pieces that its parsers
// know and from bytes that they do not. The same in every run, or by the seed that is given.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using std::string_view_literals::operator""sv;

constexpr int kRounds = 300'000;
constexpr size_t kPiecesMax = 8;
constexpr std::string_view kPieces[] = {
    // Fields of a request: a name, times with seconds and nanos, one of them negative, options with
    // a kind, a label and an idle_ttl.
    "\x0a\x03"
    "a/b"sv,
    "\x1a\x04\x08\x05\x10\x07"sv, "\x1a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x07"sv,
    "\x22\x06\x08\x80\x8c\x8d\x9e\x06"sv, "\x52\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv,
    "\x3a\x0e\x08\x02\x12\x06\x0a\x01k\x12\x01v\x1a\x02\x08\x09"sv,
    // What is typed.
    "\xc2\x80"sv, "\xff\xfe"sv, "\0"sv, "\n"sv, "="sv, " = "sv, "#"sv, "max-wait"sv, "name"sv,
    "10"sv, "-1"sv, "9223372036854775807"sv, ".5"sv, "e9"sv, "inf"sv, "ms"sv, "h"sv, "m"sv, "s"sv,
    "now"sv, "clear"sv, "never"sv, "2026-02-30"sv, "2026-11-24T21:17:34Z"sv, "+14:00"sv, "AAAA"sv,
    "k=v"sv, "%2F"sv};

}  // namespace

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  for (int round = 0; round < kRounds; ++round) {
    std::string input;
    for (size_t left = random() % (kPiecesMax + 1); left > 0; --left) {
      const bool known = random() % 4 != 0;
      if (known) {
        input += kPieces[random() % std::size(kPieces)];
      } else {
        input += static_cast<char>(random());
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  return 0;
}
