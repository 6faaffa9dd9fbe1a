#ifndef WAITD_CORE_FORWARD_H_
#define WAITD_CORE_FORWARD_H_

/// The parts of the poller, for headers that only point at them.
namespace waitd::core {

class Account;
class Denial;
class PollDesc;
class PollWaiter;
class Recovery;
class Shard;
class SingleWaiter;
class Step;
class Waiter;
class Work;
struct Absent;
struct Aging;
struct Changes;
struct Delivery;
struct DescEnv;
struct DescTimer;
struct FiredTimer;
struct IdKey;
struct IdRecord;
struct Remembered;

}  // namespace waitd::core

#endif  // WAITD_CORE_FORWARD_H_
