#ifndef WAITD_CORE_CHECK_H_
#define WAITD_CORE_CHECK_H_

#include <cstdio>
#include <cstdlib>

/// Stops the process, in every build, when an invariant of the core does not hold: a poller that
/// went on after that could lose a READY or hand one out twice, and nobody would know. `found` says
/// what was seen, for the person who reads the log.
#define WAITD_CHECK(condition, found)                                                        \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "waitd: broken invariant at %s:%d: %s: %s\n", __FILE__, __LINE__, \
                   #condition, found);                                                       \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

#endif  // WAITD_CORE_CHECK_H_
