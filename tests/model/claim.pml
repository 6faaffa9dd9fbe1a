/* The claim protocol: a poll on two targets and a wait, met by Ready, a deadline, Close and cancel.
 *
 * Each shard has one lock and one FIFO side; a waiter has one claim word, changed by compare-and-swap.
 * The poll publishes shard by shard, which allows more interleavings than the poller, where it begins
 * under all its locks: what is right here is right there. One atomic block is one critical section
 * under a shard's lock, and the claim word is read and changed inside it in steps of their own.
 *
 * Options: NEED (1: any, 2: all), and what may happen: READYS, EXPIRE, CLOSE, CANCEL.
 * Mutants, each of which must fail: NO_RECHECK, LOSER_DROPS_READY, COMMIT_IGNORES_CLAIM,
 * ANSWER_BEFORE_UNLINK.
 */
#ifndef NEED
#define NEED 1
#endif
#ifndef READYS
#define READYS 2
#endif

#define POLL 0
#define WAIT 1
#define NONE 2

mtype = { idle, published, parked, claimed };
mtype = { nothing, ready_a, ready_b, both, timed_out, cancelled };

mtype word[2] = idle;          /* the claim words */
mtype outcome[2] = nothing;
byte outcomes[2];              /* how often each was decided */
bool answered[2];
byte lost;                     /* targets that the poll has lost */

bool lock[2];
bool ready[2];
bool expired[2];               /* closed is the same to a waiter: it ends those who stand there */
bool stands_poll[2];           /* the poll's places */
bool stands_wait;              /* the wait's place, on side 0 */

byte accepted;                 /* Readys that were taken in */
byte coalesced;
byte used;                     /* READYs that waiters got */
byte running = 2;                  /* processes that may still act */

#define ACQUIRE(s) atomic { !lock[s] -> lock[s] = true }
#define RELEASE(s) lock[s] = false

/* By whoever has won. */
inline decide(w, how, count) {
  outcome[w] = how;
  outcomes[w]++;
  used = used + count;
  assert(outcomes[w] == 1)
}

inline answer(w) {
  assert(w != POLL || (!stands_poll[0] && !stands_poll[1]));
  assert(!answered[w]);
  answered[w] = true
}

/* Unlinks the poll on both shards, one lock at a time, and answers. */
inline finish_poll() {
#ifdef ANSWER_BEFORE_UNLINK
  answer(POLL);
#endif
  ACQUIRE(0); stands_poll[0] = false; RELEASE(0);
  ACQUIRE(1); stands_poll[1] = false; RELEASE(1);
#ifndef ANSWER_BEFORE_UNLINK
  answer(POLL)
#endif
}

/* The claim, by compare-and-swap: `won` says whether, `was_parked` from which state. */
inline claim(w, won, was_parked) {
  atomic {
    won = (word[w] == published || word[w] == parked);
    was_parked = (word[w] == parked);
    if
    :: won -> word[w] = claimed
    :: else
    fi
  }
}

/* A READY for side s, under its lock (and the other's, when a poll needs both). */
inline unblock(s, won, was_parked, mine) {
  mine = false;
  accepted++;
  if
  :: ready[s] -> coalesced++
  :: else ->
    ready[s] = true;
    if
    :: stands_poll[s] && (NEED == 1 || ready[1 - s]) ->
      claim(POLL, won, was_parked);
      stands_poll[s] = false;
      if
      :: won ->
        if
        :: NEED == 1 -> ready[s] = false; decide(POLL, (s == 0 -> ready_a : ready_b), 1)
        :: else -> ready[0] = false; ready[1] = false; decide(POLL, both, 2)
        fi;
        mine = was_parked
      :: else ->
#ifdef LOSER_DROPS_READY
        ready[s] = false;
#endif
        skip
      fi
    :: else
    fi;
    if
    :: ready[s] && s == 0 && stands_wait ->
      claim(WAIT, won, was_parked);
      stands_wait = false;
      if
      :: won -> ready[0] = false; decide(WAIT, ready_a, 1); if :: was_parked -> answer(WAIT) :: else fi
      :: else
      fi
    :: else
    fi
  fi
}

/* The side expires, or is closed: the state first, then those who stand there. */
inline expire(s, won, was_parked, mine) {
  mine = false;
  expired[s] = true;
  if
  :: stands_poll[s] ->
    stands_poll[s] = false;
    atomic {
      won = false;
      if
      :: word[POLL] == published || word[POLL] == parked ->
        if
        :: lost + NEED < 2 -> lost++
        :: else -> won = true; was_parked = (word[POLL] == parked); word[POLL] = claimed
        fi
      :: else
      fi
    };
    if
    :: won -> decide(POLL, timed_out, 0); mine = was_parked
    :: else
    fi
  :: else
  fi;
  if
  :: s == 0 && stands_wait ->
    claim(WAIT, won, was_parked);
    stands_wait = false;
    if
    :: won -> decide(WAIT, timed_out, 0); if :: was_parked -> answer(WAIT) :: else fi
    :: else
    fi
  :: else
  fi
}

active proctype Poller_() {
  bool won;
  bool was;
  /* publish, one shard at a time */
  word[POLL] = published;
  ACQUIRE(0); stands_poll[0] = true; RELEASE(0);
  ACQUIRE(1); stands_poll[1] = true; RELEASE(1);
#ifndef NO_RECHECK
  /* check again, under both locks */
  ACQUIRE(0); ACQUIRE(1);
  if
  :: expired[0] && stands_poll[0] ->
    stands_poll[0] = false;
    if
    :: lost + NEED < 2 -> lost++
    :: else -> claim(POLL, won, was); if :: won -> decide(POLL, timed_out, 0) :: else fi
    fi
  :: else
  fi;
  if
  :: expired[1] && stands_poll[1] ->
    stands_poll[1] = false;
    if
    :: lost + NEED < 2 -> lost++
    :: else -> claim(POLL, won, was); if :: won -> decide(POLL, timed_out, 0) :: else fi
    fi
  :: else
  fi;
  if
  :: NEED == 1 && stands_poll[0] && ready[0] ->
    claim(POLL, won, was);
    if :: won -> ready[0] = false; decide(POLL, ready_a, 1) :: else fi
  :: NEED == 1 && !(stands_poll[0] && ready[0]) && stands_poll[1] && ready[1] ->
    claim(POLL, won, was);
    if :: won -> ready[1] = false; decide(POLL, ready_b, 1) :: else fi
  :: NEED == 2 && stands_poll[0] && stands_poll[1] && ready[0] && ready[1] ->
    claim(POLL, won, was);
    if :: won -> ready[0] = false; ready[1] = false; decide(POLL, both, 2) :: else fi
  :: else
  fi;
  RELEASE(1); RELEASE(0);
#endif
  /* commit to parking */
#ifdef COMMIT_IGNORES_CLAIM
  word[POLL] = parked;
#else
  bool parks;
  atomic {
    parks = (word[POLL] == published);
    if :: parks -> word[POLL] = parked :: else fi
  };
  if
  :: !parks -> finish_poll()
  :: else
  fi;
#endif
  running--
}

/* A single wait on side 0: all of it under the lock. */
active proctype Waiter_() {
  ACQUIRE(0);
  if
  :: expired[0] -> decide(WAIT, timed_out, 0); answer(WAIT)
  :: !expired[0] && ready[0] -> ready[0] = false; decide(WAIT, ready_a, 1); answer(WAIT)
  :: else -> word[WAIT] = published; stands_wait = true; word[WAIT] = parked
  fi;
  RELEASE(0);
  running--
}

proctype Ready_(byte s) {
  bool won; bool was; bool mine;
  /* a poll that needs several: the locks of all its targets, in ascending order */
  if
  :: NEED == 2 -> ACQUIRE(0); ACQUIRE(1)
  :: else -> ACQUIRE(s)
  fi;
  unblock(s, won, was, mine);
  if
  :: NEED == 2 -> RELEASE(1); RELEASE(0)
  :: else -> RELEASE(s)
  fi;
  if :: mine -> finish_poll() :: else fi;
  running--
}

proctype Expire_(byte s) {
  bool won; bool was; bool mine;
  ACQUIRE(s);
  expire(s, won, was, mine);
  RELEASE(s);
  if :: mine -> finish_poll() :: else fi;
  running--
}

/* Cancels the poll, under its home shard's lock, once it has parked; or the wait. */
proctype Cancel_(byte w) {
  bool won; bool was; bool mine;
  mine = false;
  ACQUIRE(0);
  if
  :: word[w] == parked ->
    claim(w, won, was);
    if
    :: won -> decide(w, cancelled, 0); if :: w == WAIT -> stands_wait = false; answer(WAIT) :: else -> mine = true fi
    :: else
    fi
  :: else
  fi;
  RELEASE(0);
  if :: mine -> finish_poll() :: else fi;
  running--
}

init {
  atomic {
#if READYS > 0
    running++; run Ready_(0);
#endif
#if READYS > 1
    running++; run Ready_(1);
#endif
#if READYS > 2
    running++; run Ready_(0);
#endif
#ifdef EXPIRE
    running++; run Expire_(0);
#endif
#ifdef EXPIRE_B
    running++; run Expire_(1);
#endif
#ifdef CANCEL
    running++; run Cancel_(POLL);
#endif
#ifdef CANCEL_WAIT
    running++; run Cancel_(WAIT);
#endif
  }
  /* At rest: every process has ended, or its waiter is parked. */
  running == 0;
  /* None lost, none used twice. */
  assert(accepted == used + coalesced + (ready[0] -> 1 : 0) + (ready[1] -> 1 : 0));
  /* Whoever was decided was answered, and is nowhere any more. */
  assert(outcome[POLL] == nothing || answered[POLL]);
  assert(outcome[WAIT] == nothing || answered[WAIT]);
  assert(outcome[POLL] == nothing || (!stands_poll[0] && !stands_poll[1]));
  /* Nobody stays parked beside what should have ended it. */
  assert(outcome[POLL] != nothing || NEED != 1 ||
         !((ready[0] && !expired[0]) || (ready[1] && !expired[1])));
  assert(outcome[POLL] != nothing || NEED != 2 || !(ready[0] && ready[1]));
  assert(outcome[POLL] != nothing || NEED != 1 || !(expired[0] && expired[1]));
  assert(outcome[POLL] != nothing || NEED != 2 || !(expired[0] || expired[1]));
  assert(outcome[WAIT] != nothing || (!ready[0] && !expired[0]))
}
