// Goal: whatever is done, in whatever order, at whatever time, and whenever it crashes, the poller
// does what the plain model says. Method: seeded random steps against both, compared after each;
// a failure prints its seed and the shortest history that still fails.
//
// Exact: see walk.h. WAITD_SEED=n runs the history of that seed alone; WAITD_WALK_STEPS says how
// many steps are walked.
#include <cctype>
#include <cstdlib>
#include <exception>
#include <random>

#include "tests/unit/core/walk.h"

namespace waitd::core {
namespace {

constexpr size_t kStepsOfHistory = 400;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

// What steps there are, and how often they come.
constexpr std::pair<WalkOp::What, uint32_t> kMix[] = {
    {WalkOp::kOpen, 6},      {WalkOp::kClose, 3},  {WalkOp::kReset, 3},  {WalkOp::kWait, 18},
    {WalkOp::kReady, 18},    {WalkOp::kSet, 8},    {WalkOp::kPoll, 10},  {WalkOp::kAck, 5},
    {WalkOp::kGet, 2},       {WalkOp::kRetry, 10}, {WalkOp::kCancel, 3}, {WalkOp::kAbandon, 4},
    {WalkOp::kUnwritten, 5}, {WalkOp::kRun, 3},    {WalkOp::kPass, 14},  {WalkOp::kBack, 4},
    {WalkOp::kTimers, 2},    {WalkOp::kSave, 16},  {WalkOp::kCrash, 3},  {WalkOp::kFull, 2}};

std::vector<WalkOp> HistoryOf(uint32_t seed) {
  std::mt19937 random(seed);
  uint32_t sum = 0;
  for (const auto& [what, weight] : kMix) sum += weight;
  std::vector<WalkOp> ops(kStepsOfHistory);
  for (WalkOp& op : ops) {
    auto at = static_cast<uint32_t>(random() % sum);
    for (const auto& [what, weight] : kMix) {
      op.what = what;
      if (at < weight) break;
      at -= weight;
    }
    for (uint32_t& n : op.n) n = static_cast<uint32_t>(random() & 0xFFFFFF);
  }
  return ops;
}

// What goes wrong first; empty: nothing.
std::string Fails(const Walk::World& world, const std::vector<WalkOp>& ops, Model::Seen& seen,
                  std::string* story = nullptr) {
  Walk walk(world, seen);
  for (size_t i = 0; i < ops.size(); ++i) {
    std::string wrong;
    try {
      wrong = walk.Step(ops[i]);
    } catch (const std::exception& e) {
      wrong = e.what();
    }
    if (wrong.empty()) continue;
    if (story != nullptr) *story = walk.story();
    return "step " + std::to_string(i + 1) + ": " + wrong;
  }
  const std::string wrong = walk.End();
  if (story != nullptr) *story = walk.story();
  return wrong.empty() ? "" : "at the end: " + wrong;
}

// What goes wrong, without the numbers, by which one fault is told from another.
std::string FaultIn(std::string wrong) {
  wrong.erase(0, wrong.find(": "));
  std::erase_if(wrong, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
  return wrong;
}

// Leaves out what is not needed to fail so, in ever smaller pieces.
std::vector<WalkOp> Shrink(const Walk::World& world, std::vector<WalkOp> ops) {
  Model::Seen unused{};
  const std::string fault = FaultIn(Fails(world, ops, unused));
  for (size_t piece = ops.size() / 2; piece > 0; piece /= 2) {
    for (size_t at = 0; at + piece <= ops.size();) {
      std::vector<WalkOp> shorter = ops;
      shorter.erase(shorter.begin() + static_cast<long>(at),
                    shorter.begin() + static_cast<long>(at + piece));
      if (FaultIn(Fails(world, shorter, unused)) != fault) {
        at += piece;
      } else {
        ops = std::move(shorter);
      }
    }
  }
  return ops;
}

TEST(Walk, AgreesWithTheModel) {
#ifdef WAITD_UNDER_TSAN
  constexpr uint64_t kSteps = 20'000;  // one thread: there is nothing for ThreadSanitizer to see
#else
  constexpr uint64_t kSteps = 1'000'000;
#endif
  const uint64_t only = FromEnvironment("WAITD_SEED", 0);
  const uint64_t histories = FromEnvironment("WAITD_WALK_STEPS", kSteps) / kStepsOfHistory;
  Model::Seen seen{};
  for (uint64_t i = 0; i < (only == 0 ? histories : 1); ++i) {
    const auto seed = static_cast<uint32_t>(only == 0 ? i + 1 : only);
    const Walk::World world(seed);
    const std::vector<WalkOp> ops = HistoryOf(seed);
    const std::string wrong = Fails(world, ops, seen);
    if (wrong.empty()) continue;
    const std::vector<WalkOp> shortest = Shrink(world, ops);
    std::string story;
    const std::string again = Fails(world, shortest, seen, &story);
    FAIL() << "seed " << seed << ", " << wrong << "\nshortest history, " << again << '\n' << story;
  }
  if (only != 0 || histories < 1000) return;
  for (size_t rule = 0; rule < seen.size(); ++rule) {
    EXPECT_GT(seen[rule], 100U) << "too quiet to show anything of rule " << rule;
  }
}

}  // namespace
}  // namespace waitd::core
