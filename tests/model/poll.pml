/* How a poll on two targets counts their signals under different locks, and ends under both.
 *
 * Each target's side is in a shard of its own, with one lock. A Ready that finds the poll lacking
 * other signals leaves its own standing and counts it, under its lock alone; one that would be the
 * last needs both locks, and so does whatever else ends the poll. What finds that it needs more
 * locks than it holds when it has changed something leaves Work. A critical section is one atomic
 * step but for the counts, which both shards change.
 *
 * Options: NEED (1: any, 2: all), READYS, TAKERS (waits that take a signal that stands), EXPIRE,
 * EXPIRE_B, CANCEL. Mutants, each of which must fail: LAST_IS_COUNTED (the last signal is counted
 * under one lock), NO_UNCOUNT (who takes a signal does not say so), NO_WORK (what needs more locks
 * is dropped).
 */
#ifndef NEED
#define NEED 1
#endif
#ifndef READYS
#define READYS 2
#endif
#ifndef TAKERS
#define TAKERS 0
#endif

bool lock[2];
bool ready[2];
bool expired[2];
bool stands[2] = true;   /* the poll's places */
bool counted[2];
bool work[2];            /* Work of the side */
byte missing = NEED;
byte spare = 2 - NEED;
byte outcomes;           /* how often the poll has ended */
byte accepted;
byte used;
byte running = 1;        /* processes that may still act */

#define TAKE(s) atomic { !lock[s] -> lock[s] = true }
#define DROP(s) lock[s] = false
#define TAKE_BOTH TAKE(0); TAKE(1)
#define DROP_BOTH DROP(1); DROP(0)
#define PARKED (outcomes == 0)
#define OPEN(s) (stands[s] && ready[s] && !expired[s])

inline end_poll() {
  d_step {
    outcomes++;
    assert(outcomes == 1);
    stands[0] = false; stands[1] = false;
    counted[0] = false; counted[1] = false
  }
}

/* Under both locks: takes what it needs, or counts anew. */
inline complete() {
  d_step {
    if
    :: PARKED && OPEN(0) + OPEN(1) >= NEED ->
      if
      :: NEED == 2 -> used = used + 2; ready[0] = false; ready[1] = false
      :: NEED == 1 && OPEN(0) -> used++; ready[0] = false
      :: NEED == 1 && !OPEN(0) -> used++; ready[1] = false
      fi;
      outcomes++;
      assert(outcomes == 1);
      stands[0] = false; stands[1] = false
    :: PARKED && OPEN(0) + OPEN(1) < NEED ->
      counted[0] = OPEN(0); counted[1] = OPEN(1);
      missing = NEED - counted[0] - counted[1]
    :: else
    fi
  }
}

/* Under the lock of s. The count is changed in a step of its own. */
inline count(s) {
  if
  :: OPEN(s) && !counted[s] ->
    atomic {
      if
#ifdef LAST_IS_COUNTED
      :: missing >= 1 -> missing--; counted[s] = true
#else
      :: missing > 1 -> missing--; counted[s] = true
#endif
      :: else -> work[s] = true
      fi
    }
  :: else
  fi
}

proctype Ready(byte s) {
  bool both = false;
  bool enough;
  TAKE(s);
again:
  enough = stands[s] && !expired[s] && !counted[s] && !ready[s] && missing <= 1;
  if
  :: enough && !both -> DROP(s); TAKE_BOTH; both = true; goto again
  :: else
  fi;
  if
  :: ready[s] -> skip /* coalesces */
  :: else ->
    accepted++;
    ready[s] = true;
    if
    :: enough -> complete()
    :: else
    fi;
    count(s)
  fi;
  if
  :: both -> DROP_BOTH
  :: else -> DROP(s)
  fi;
  running--
}

/* A wait that finds a signal standing. */
proctype Taker(byte s) {
  TAKE(s);
  if
  :: ready[s] && !expired[s] ->
    ready[s] = false;
    used++;
    if
    :: counted[s] ->
#ifndef NO_UNCOUNT
      atomic { counted[s] = false; missing++ }
#else
      counted[s] = false
#endif
    :: else
    fi
  :: else
  fi;
  DROP(s);
  running--
}

proctype Expire(byte s) {
  TAKE(s);
  expired[s] = true;
  if
  :: stands[s] ->
    if
    :: counted[s] -> atomic { counted[s] = false; missing++ }
    :: else
    fi;
    atomic {
      if
      :: spare > 0 -> spare--; stands[s] = false
      :: else -> work[s] = true
      fi
    }
  :: else
  fi;
  DROP(s);
  running--
}

proctype Cancel() {
  TAKE_BOTH;
  if
  :: PARKED -> end_poll()
  :: else
  fi;
  DROP_BOTH;
  running--
}

/* What was left: under both locks. */
active proctype Worker() {
  do
#ifndef NO_WORK
  :: work[0] || work[1] ->
    TAKE_BOTH;
    work[0] = false; work[1] = false;
    if
    :: PARKED && ((stands[0] && expired[0]) || (stands[1] && expired[1])) -> end_poll()
    :: else -> complete()
    fi;
    DROP_BOTH
#endif
  :: running == 0 && (!(work[0] || work[1])
#ifdef NO_WORK
     || true
#endif
     ) -> break
  od
}

active proctype Judge() {
  byte i;
  atomic {
#if READYS
    for (i : 1 .. READYS) { running++; if :: run Ready(0) :: run Ready(1) fi }
#endif
#if TAKERS
    for (i : 1 .. TAKERS) { running++; if :: run Taker(0) :: run Taker(1) fi }
#endif
#ifdef EXPIRE
    running++; run Expire(0);
#endif
#ifdef EXPIRE_B
    running++; run Expire(1);
#endif
#ifdef CANCEL
    running++; run Cancel();
#endif
    running--
  }
  running == 0 && (!(work[0] || work[1])
#ifdef NO_WORK
     || true
#endif
     );
  TAKE_BOTH;
  assert(used <= accepted);
  /* Nobody stays parked beside what should have ended it. */
  assert(!PARKED || OPEN(0) + OPEN(1) < NEED);
  assert(!PARKED || expired[0] + expired[1] <= 2 - NEED);
  assert(!PARKED || missing == NEED - OPEN(0) - OPEN(1))
}
