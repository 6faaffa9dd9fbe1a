#ifndef WAITD_TESTS_UNIT_CORE_MODEL_H_
#define WAITD_TESTS_UNIT_CORE_MODEL_H_

#include <array>
#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/call.h"
#include "core/delivery.h"
#include "core/journal.h"
#include "core/poller.h"

namespace waitd::core {

/// What a call is to be answered.
using AnyAnswer =
    std::variant<Refusal, WaitResult, PollResult, OpenResult, CloseResult, ResetResult, ReadyResult,
                 SetDeadlineResult, AckResult, DescriptorInfo>;

/// An id of a name's calls.
struct ModelKey {
  bool wait = false;  ///< of a Wait or Poll, else of another call
  std::string name;
  uint64_t caller = 0;
  std::string id;
  auto operator<=>(const ModelKey&) const = default;
};

/// An answer, with what is shared by the calls that get the same one.
struct Expected {
  /// Which step of the model must be stored of a shard before anybody may see the answer.
  struct Need {
    size_t shard;
    uint64_t step;
  };

  AnyAnswer answer;
  std::vector<Need> needs;
  bool loose =
      false;  ///< of a poll that more than one thing ended at once: any of them may be told

  // Of a wait's: who has its signals.
  bool has_id = false;
  bool acks = false;
  std::shared_ptr<uint32_t> holders = std::make_shared<uint32_t>(1);
  ModelKey key;         ///< under which it is remembered
  uint64_t record = 0;  ///< the serial number of what remembers it; 0: nothing does

  /// What the poller said the first time; whoever gets this answer again gets it field by field.
  std::shared_ptr<std::optional<AnyAnswer>> first = std::make_shared<std::optional<AnyAnswer>>();
};
using ExpectedRef = std::shared_ptr<Expected>;

/// The poller as plainly as it can be said: names, one list of waits, ids. Nothing is hidden in
/// queues, wheels, slabs or work that is left for later.
///
/// It is told the time and what is done, in the same order as the poller, and says for each call
/// what is to be answered. What is due and nobody has touched happens at RunTimers, as there: with
/// limits and idle_ttl that is seen.
class Model {
 public:
  using CallId = uint64_t;  ///< 0: nobody
  using Key = ModelKey;

  struct Signal {
    std::string data;
    WallTime at;
    uint32_t coalesced = 0;
  };
  struct Out {  ///< a delivery
    Delivery::State state = Delivery::State::kPending;
    bool acknowledgeable = false;
    uint32_t attempt = 1;
    Signal signal;
    std::string id;
    uint64_t caller = 0;
    Instant alarm = kNever;
    ModelKey key;                     ///< of kKept: whose signal it is
    uint64_t record = 0;              ///< and of which answer
    std::vector<WaitResult> signals;  ///< all of that answer
    Instant recorded;
    uint64_t age = 0;
  };
  struct SideOf {
    bool ready = false;
    Signal signal;
    Deadline deadline;
    uint64_t deadline_step = 0;  ///< when it was set
    uint64_t delivery = 0;
    uint64_t reset_through = 0;
    std::map<uint64_t, Out> out;
  };
  struct Desc {
    Kind kind = Kind::kExclusive;
    uint64_t generation = 0;
    bool ephemeral = false;
    Nanos idle_ttl = kForever;
    Instant idle_since;
    Instant idle_timer = kNever;
    uint64_t step = 0;  ///< of its last change
    SideOf side[2];
  };

  struct Target {
    std::string name;
    Side side = Side::kRead;
    uint64_t generation = 0;
    bool lost = false;
    bool left = false;  ///< its poll's time is over, and it stands here no more; its timer ends it
    WaitResult end;
  };
  struct Waiting {
    CallId call = 0;
    bool poll = false;
    std::vector<Target> targets;  ///< one, or those of a poll
    uint32_t need = 1;
    Instant begin;
    Instant until = kNever;
    TimeoutCause bound = TimeoutCause::kWait;
    bool ignore_deadline = false;
    std::optional<Nanos> ack_timeout;
    std::optional<Key> key;
    std::string content;
    Instant absent_until = kNever;
    bool parked = false;
    bool over = false;
  };
  using WaitingRef = std::shared_ptr<Waiting>;
  struct Record {
    uint64_t serial = 0;
    size_t shard = 0;
    std::string content;
    WaitingRef parked;   ///< null: it is answered
    ExpectedRef answer;  ///< null: it is parked
    bool kept = false;
    bool stale = false;  ///< one of its signals has come back, for another wait
    Instant recorded;
    uint64_t age = 0;  ///< its place in the order of those that can be forgotten; 0: none
    uint64_t step = 0;
  };

  /// What is stored of a shard: its names, the answers of its ids, and how far back it knows them.
  struct Stored {
    std::map<std::string, Desc> descs;
    std::map<Key, Record> records;
    Instant horizon = Instant::min();
    uint64_t lives = 0;
    uint64_t step = 0;
  };

  /// How often each rule was used, so that a walk can show that it was not too quiet.
  enum Rule : uint8_t {
    kWoken,
    kPolled,
    kAdopted,
    kRepeated,
    kReturned,
    kRedelivered,
    kAcked,
    kStale,
    kKept,
    kForgotten,
    kIdleClosed,
    kRules
  };
  using Seen = std::array<uint64_t, kRules>;

  Model(const Poller::Options& options, Seen& seen) : options_(options), seen_(seen) {}

  /// What the clock shows.
  void SetClock(const Now& now) { clock_ = now; }

  /// The locks of these shards are taken, and the time is read.
  void Begin(ShardSet locks);

  void Open(Instant received, const OpenArgs& args, CallId call);
  void Close(Instant received, const CloseArgs& args, CallId call);
  void Reset(Instant received, const ResetArgs& args, CallId call);
  void Wait(Instant received, const WaitArgs& args, CallId call);
  void Ready(Instant received, const ReadyArgs& args, CallId call);
  void SetDeadline(Instant received, const SetDeadlineArgs& args, CallId call);
  void Poll(Instant received, const PollArgs& args, CallId call);
  void Ack(const AckArgs& args, CallId call);
  void Get(std::string_view name, CallId call);
  std::vector<DescriptorInfo> List() const;
  void Cancel(CallId call);
  void Abandon(CallId call);
  void Unwritten(Expected& answer, Nanos linger);
  void RunTimers();

  /// After a step: forgets the oldest outcomes, while there are too many.
  void MakeRoom();

  void RefuseWaits() { draining_ = true; }
  void EndWaits();
  void SetFull(bool full) { full_ = full; }

  /// A new poller begins with what is stored.
  void Restore(const std::array<Stored, kShards>& stored, bool fresh);
  Stored Store(size_t shard) const;

  /// When something happens next by its own instant.
  Instant NextInstant();
  bool HasPolls() const;
  bool IsParked(CallId call) const { return WaitOf(call) != nullptr; }

  /// The answers of the calls that have ended since the last time.
  std::map<CallId, ExpectedRef> TakeAnswers() { return std::exchange(answers_, {}); }

  uint64_t waiters() const;
  uint64_t unacked() const;
  uint64_t returned() const;
  uint64_t outcomes() const;
  uint64_t step() const { return step_; }
  const std::map<std::string, Desc>& descs() const { return descs_; }

 private:
  struct Due {
    enum What { kSide, kIdle, kWait, kAbsent, kDelivery, kForget } what;
    Instant at = kNever;
    std::string name;
    Side side = Side::kRead;
    uint64_t number = 0;  ///< of the delivery; or the shard that forgets
    WaitingRef waiting;
    bool operator==(const Due&) const = default;
  };

  // Time, names and timers (model.cc).
  void Widen(ShardSet locks);
  Instant TimeOf(size_t shard) const;
  void Touch(Desc& desc) const { desc.step = step_; }
  Desc* Find(std::string_view name);
  Desc& Create(std::string_view name, const OpenOptions& options, Nanos idle_ttl);
  Desc* Resolve(std::string_view name, uint64_t generation, const OpenOptions* open, Refusal& why);
  DescriptorInfo Describe(const std::string& name) const;
  uint32_t CloseNow(const std::string& name);
  Deadline ToDeadline(Instant received, const SetDeadlineArgs& args) const;
  static DeadlineEffect Change(Deadline& from, const Deadline& to, DeadlineCondition condition);
  void SetSides(const std::string& name, const SetDeadlineArgs& args, const Deadline& to,
                SetDeadlineResult& result);
  std::vector<Due> DueIn(size_t shard, Instant now);
  Nanos KeptFor() const;
  void ForgetOld(size_t shard);
  void Fire(const Due& due);
  void FireIdle(const std::string& name);

  // Waits (model_waits.cc).
  SideOf& At(const Target& target);
  bool IsThere(const Target& target) const;
  static bool HasReturned(const SideOf& side);
  static bool HasReady(const SideOf& side);
  std::vector<WaitingRef> Standing(const std::string& name, Side side) const;
  void Settle(const std::string& name);
  bool SettleTargets(const WaitingRef& poll);
  bool StillWaits(const WaitingRef& waiting);
  bool IsBoundByItself(const Waiting& waiting);
  bool OwnBoundDue(const Waiting& waiting);
  void EndOwnBound(const WaitingRef& waiting);
  void LeaveOrEnd(const WaitingRef& waiting, const std::string& name, Side side);
  void TimeOut(const WaitingRef& waiting, TimeoutCause cause, Instant due);
  void LimitFrom(Instant received, std::optional<Nanos> timeout, Nanos sent_ago,
                 Waiting& waiting) const;
  uint32_t EndSide(const std::string& name, Side side, Outcome outcome, Instant own_before,
                   bool was_armed);
  bool Lose(const WaitingRef& waiting, Target& target, Outcome outcome, Instant due);
  bool Occupied(const std::string& name, Side side);
  bool Available(const Target& target);
  bool CanTake(const Waiting& waiting);
  WaitResult TakeFrom(const std::string& name, Side side);
  void Take(const WaitingRef& waiting);
  uint32_t Serve(const std::string& name, Side side);
  std::pair<ReadyEffect, uint32_t> ReadyOne(const std::string& name, Side side,
                                            const ReadyArgs& args);
  void End(const WaitingRef& waiting, AnyAnswer answer, std::vector<Expected::Need> needs);
  bool EndsByMany(const Waiting& poll) const;
  void EndAtOnce(const WaitingRef& waiting, TimeoutCause cause, Instant due);
  void EndCancelled(const WaitingRef& waiting);
  void FireAbsent(const WaitingRef& waiting);
  bool BeginWait(const WaitArgs& args, const WaitingRef& waiting, Refusal& why);
  bool CheckPoll(const PollArgs& args, bool may_park, size_t& opens, Refusal& why);
  bool MayDeliver(const PollArgs& args);
  bool BeginPoll(const PollArgs& args, const WaitingRef& poll, Refusal& why);
  void StartPoll(const WaitingRef& poll, bool takes, bool park,
                 const std::vector<Target*>& expired);
  void Park(const WaitingRef& waiting);
  Nanos ParkedFor(const Waiting& waiting) const;
  WaitingRef WaitOf(CallId call) const;

  // Ids and deliveries (model_ids.cc).
  void Answer(CallId call, ExpectedRef answer);
  void Answer(CallId call, AnyAnswer answer, std::vector<Expected::Need> needs = {});
  bool Refuses(bool takes_room, CallId call);
  bool Forgotten(const std::string& name, Instant received, Nanos sent_ago) const;
  bool RecallRequest(const Key& key, const std::string& content, Instant received,
                     const Retry& retry, CallId call);
  bool RecallWait(const Key& key, const std::string& content, Instant received, const Retry& retry,
                  CallId call);
  void Adopt(Waiting& parked, CallId call);
  void Repeat(const Key& key, Record& record, CallId call);
  void Keep(const Key& key, Record& record, Instant until);
  void EndKept(const Out& out);
  void Remember(const Key& key, const std::string& content, const ExpectedRef& answer);
  void RememberWait(const Waiting& waiting, const ExpectedRef& answer, bool absent);
  void Age(Record& record);
  void Retire(Out& out, Delivery::State state);
  bool ForgetOut(uint64_t than);
  void ForgetAged(const Key& key);
  void MoveHorizon(const std::string& name, Instant recorded);
  Desc* DescOf(uint64_t generation);
  std::string NameOf(uint64_t generation) const;
  bool AddOut(const Key& key, const std::vector<WaitResult>& taken, Delivery::State state,
              Instant alarm);
  void ReturnOverdue(const Key& key);
  void ReturnIfOverdue(const std::string& name, Side side, uint64_t number);
  void FireDelivery(const std::string& name, Side side, uint64_t number);
  bool Return(const std::string& name, Side side, uint64_t number);
  bool ReturnAll(const std::vector<WaitResult>& taken);
  uint64_t CountOut(Delivery::State state) const;
  uint64_t HeldOn(const std::string& name, Side side) const;
  bool DeliveriesFull(const std::string& name, Side side, uint64_t more) const;
  void RestoreAges();
  void RestoreDesc(const std::string& name, Desc desc);
  void RestoreRecord(const Key& key, Record record);

  const Poller::Options options_;
  Now clock_{};
  Instant now_;
  WallTime wall_;
  ShardSet used_ = 0;  // shards of all names
  uint64_t step_ = 0;
  uint64_t serial_ = 0;
  uint64_t age_ = 0;
  bool draining_ = false;
  bool full_ = false;
  std::map<std::string, Desc> descs_;
  std::vector<WaitingRef> waits_;  // in the order in which they parked
  std::map<Key, Record> records_;
  std::array<Instant, kShards> latest_{};
  std::array<Instant, kShards> horizon_{};
  std::array<uint64_t, kShards> lives_{};
  std::array<uint64_t, kShards> lives_stored_{};  // or will be, with the last name
  std::map<CallId, ExpectedRef> answers_;
  Seen& seen_;
};

/// How a name is opened, as a part of a call's content.
std::string TextOf(const OpenOptions* options);

/// The signals that an answer has.
std::vector<WaitResult> SignalsIn(const AnyAnswer& answer);

}  // namespace waitd::core

#endif  // WAITD_TESTS_UNIT_CORE_MODEL_H_
