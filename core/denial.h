#ifndef WAITD_CORE_DENIAL_H_
#define WAITD_CORE_DENIAL_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace waitd::core {

class Poller;
class Step;
template <class T>
class PollCache;

/// Ends the waits of callers who may not wait on their names any more. They are refused with
/// kForbidden, their ids are forgotten, and no signal is taken or lost: as by Poller::Cancel.
///
/// Use:     say who may not wait where, and call EndSome until it answers false. That is one search
///          of the whole table. It finds every wait that was parked before it began. A wait that
///          parks during the search may be missed: who parks it looks afterwards whether the rules
///          are still those by which it was let in.
/// Threads: one at a time for each object.
/// Work:    each EndSome is one hold of a lock, or for a poll two.
class Denial {
 public:
  virtual ~Denial() = default;

  /// Ends some. True: call it again.
  [[nodiscard]] bool EndSome(Poller& poller);

  /// How many waits it has ended.
  size_t ended() const { return ended_; }

 protected:
  /// Whether this caller (Retry::caller) may have lost a right; only then is Denies asked. Both are
  /// called under locks, so they are quick.
  virtual bool Concerns(uint64_t caller) const = 0;

  /// Whether this caller may not wait on that name.
  virtual bool Denies(uint64_t caller, std::string_view name) const = 0;

 private:
  template <class W>
  bool Ends(Step& step, W& waiter) const;
  template <class W>
  bool EndSomeOf(Step& step, Poller& poller, PollCache<W>& slots);

  // The search: in which shard it is, whether it is past the single waits there, and which slot is
  // next. A slot never moves, whoever uses it.
  size_t shard_ = 0;
  bool at_polls_ = false;
  size_t next_ = 0;
  size_t ended_ = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_DENIAL_H_
