#ifndef WAITD_TESTS_UNIT_CORE_WALK_H_
#define WAITD_TESTS_UNIT_CORE_WALK_H_

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/core/disk.h"
#include "tests/unit/core/fixture.h"
#include "tests/unit/core/model.h"
#include "tests/unit/core/walk_calls.h"

namespace waitd::core {

/// The poller and the model, side by side: each step is done to both, and what they answer and show
/// is compared.
///
/// What is compared exactly: every answer, as soon as the poller gives it, and that it gives none
/// that a crash could undo; at rest, that none is missing, what Get shows, and the gauges. After a
/// crash the model goes on from what it had in each shard when that was collected.
///
/// What is not: by when a MAX_WAIT comes after a clear, and what of a poll's end is told when
/// several things ended it at once.
class Walk {
 public:
  /// What kind of world the seed makes.
  struct World {
    explicit World(uint32_t seed);
    Poller::Options options;
    bool one_shard = false;  ///< all names are in one, and nothing is left for other holds
    bool journal = false;
    bool fails = false;   ///< it ends with a failed store, else drained
    bool pieces = false;  ///< a hold does little, and the rest follows before the next step
  };

  Walk(const World& world, Model::Seen& seen);
  ~Walk();
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  /// What differs after the step; empty: nothing.
  std::string Step(const WalkOp& op);

  /// The server ends.
  std::string End();

  /// What was done, step by step, for a reader.
  const std::string& story() const { return story_; }

 private:
  enum class Saving : uint8_t { kIdle, kCollecting, kCollected, kWritten };

  // Steps (walk.cc).
  void Do(const WalkOp& op);
  void Pass(Nanos by);
  void PassSome(const WalkOp& op, Nanos by);
  void RunTimers();
  void DoRun(const WalkOp& op);
  void DoRetry(const WalkOp& op);
  void DoParked(const WalkOp& op);
  void DoUnwritten(const WalkOp& op);
  void SavePiece();
  void SaveAll();
  void Crash(Nanos away);
  void Begin();

  // Operations (walk_ops.cc).
  Asked Draw(const WalkOp& op);
  std::unique_ptr<Prepared> Prepare(Asked asked, Nanos sent_ago);
  template <class C, class A>
  void Make(Prepared& to, A args);
  void PrepareCall(Prepared& to, const Retry& retry);
  void PreparePoll(Prepared& to, const Retry& retry);
  void Ask(Prepared& prepared, Instant received);
  void AskModel(const Prepared& prepared, Instant received);
  void Keep(std::unique_ptr<Prepared> prepared, Instant received);
  Instant Received(const WalkOp& op) const;
  const std::string& Name(uint32_t n) const { return names_[n % names_.size()]; }
  std::optional<Nanos> Timeout(uint32_t n);
  Nanos Unique() { return Nanos(++unique_ * 7); }
  uint64_t Generation(uint32_t n, const std::string& name) const;

  // Comparisons (walk.cc).
  void TakeAnswers();
  void Compare(WalkCall& call);
  void NoteSignals(const Prepared& ended);
  void CompareAtRest();
  bool AllSaved() const;

  const World world_;
  Model::Seen& seen_;
  std::vector<std::string> names_;
  ManualClock clock_;
  Dirty journal_;
  Disk disk_;
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<Model> model_;
  std::deque<std::unique_ptr<Prepared>> open_;      // calls without an answer
  std::deque<std::unique_ptr<Prepared>> answered_;  // the last that have signals
  std::deque<Asked> asked_;                         // the last operations
  std::deque<Asked> deliveries_;                    // Acks for the last signals
  Model::CallId calls_ = 0;
  int64_t unique_ = 0;
  size_t steps_ = 0;
  bool full_ = false;
  bool exact_ = false;  ///< the clock shows an instant at which something is due
  std::ostringstream wrong_;
  std::string story_;

  Saving saving_ = Saving::kIdle;
  ShardSet dirty_ = 0;
  ShardSet cut_shards_ = 0;
  Changes changes_;
  Poller::Cut cut_;
  std::array<Model::Stored, kShards> collected_;
  std::array<Model::Stored, kShards> stored_;
};

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_WALK_H_
