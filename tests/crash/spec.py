"""The sequential specification: what one operation after the other does to a few names.

A state is a tuple with, for each name, None or (generation, kind, read side, write side). States
are values: a step makes a new one, or raises Mismatch when the operation's answer is not what this
state gives. What is not known is left open: a generation that no answer has told is None, and an
operation without an answer accepts every one.

A wait is two steps. It begins: it ends at once, or stands on its side. Its end is part of the step
that ends it: a Ready, a Close, a deadline that comes, a READY that is taken back, its own timeout.
A crash leaves everything as it is but those who stand: they are not stored.

Instants: `deadline` is an interval [lo, hi] in which its instant lies. The caller sees to it that a
step which needs time to have passed is taken only when it may have.
"""

from history import EXCLUSIVE, LATCH, MS, READ

EXPIRED = "expired"
SLACK = 25 * MS  # between two readings of clocks, one of which may be a scheduler's slice old
GRACE = 5_000 * MS  # by then every timer has run
LATEST = 1 << 62

# Of a hand-off. PASSED: it waits for its Ack, but a Reset has come, so that it does not come back.
PENDING, PASSED, ACKED, STALE = 0, 1, 2, 3
UNACKED = (PENDING, PASSED)

# Data that no answer tells of, so that it need not be told apart: states that are the same but for
# it are one.
UNSEEN = "\0"

_RANK = {"WOKE": 0, "REMEMBERED": 1, "COALESCED": 2, "REFUSED": 3}
_NO_SIDE = (None, 0, None, (), (), None, 0, ())


class Mismatch(Exception):
    """The answer is not what this state gives."""


def expect(holds, why):
    if not holds:
        raise Mismatch(why)


class Side:
    """A side while a step works on it."""

    # ready       the data of the remembered READY, or None
    # coalesced   how many earlier ones it replaced
    # opening     of a latch: the delivery number of this opening, once it is known
    # returned    ((delivery, data, attempt, coalesced), ...), the oldest delivery first
    # pending     ((delivery, data, attempt, coalesced, wait, due from, due by, status), ...)
    # deadline    None, EXPIRED, or (lo, hi)
    # delivery    the highest number handed out
    # parked      the waits and polls that stand here, in the order of their arrival
    __slots__ = ("ready", "coalesced", "opening", "returned", "pending", "deadline", "delivery",
                 "parked")

    def __init__(self, values):
        (self.ready, self.coalesced, self.opening, self.returned, self.pending, self.deadline,
         self.delivery, self.parked) = values

    def freeze(self):
        return (self.ready, self.coalesced, self.opening, self.returned, self.pending,
                self.deadline, self.delivery, self.parked)

    def has_ready(self):
        return self.ready is not None or bool(self.returned)

    def forget(self, kind):
        expect(kind == LATCH or self.ready in (None, UNSEEN), "it is handed over later")
        self.ready, self.coalesced, self.opening, self.returned = None, 0, None, ()

    def pass_by(self):
        """What was handed out until now will not come back."""
        self.pending = tuple((*each[:-1], PASSED if each[-1] == PENDING else each[-1])
                             for each in self.pending)

    def leave(self, item):
        self.parked = tuple(other for other in self.parked if other != item)


class Desc:
    __slots__ = ("generation", "kind", "sides")

    def __init__(self, generation, kind, read=_NO_SIDE, write=_NO_SIDE):
        self.generation, self.kind, self.sides = generation, kind, (Side(read), Side(write))

    def freeze(self):
        return (self.generation, self.kind, self.sides[0].freeze(), self.sides[1].freeze())

    def check(self, side, ignore_deadline=False):
        """What a wait finds here, in the order at entry."""
        ready = side.has_ready()
        if ready and (self.kind == LATCH or ignore_deadline):
            return "ready"
        if side.deadline == EXPIRED and not ignore_deadline:
            return "expired"
        return "ready" if ready else "park"

    def learn(self, generation):
        if self.generation is None:
            self.generation = generation
        expect(self.generation == generation, "another generation")


class Item:
    """An operation as the steps look at it."""

    def __init__(self, index, op, names):
        self.index, self.op, self.kind = index, op, op.kind
        self.names = [names[name] for name in op.names]
        request = op.req
        self.hung = op.hung
        # It may have happened or not: its answer never came, or says that it is not known.
        self.lost = (op.kind not in ("crash", "quiesce") and not op.hung and not op.answered
                     or op.err == "OUTCOME_UNKNOWN" and op.kind != "ack")
        self.waits = op.kind in ("wait", "poll")
        modes = request.get("modes") or [op.mode] * len(self.names)
        self.targets = [(name, 0 if mode == READ else 1)
                        for name, mode in zip(self.names, modes)] if self.waits else []
        self.timeout, self.ack_timeout = request.get("timeout"), request.get("ack_timeout") or 0
        self.need = max(1, request.get("need") or 0)
        self.attempts = op.attempts or [[op.call, None]]
        self.until = LATEST if self.timeout is None else op.call + max(0, self.timeout)
        if op.ans and op.ans.get("cause") == "MAX_WAIT":
            self.until = op.call + op.ans["parked"]  # how long that is, no request tells
        # Of a wait: by target the delivery before its own that an answer tells of, and whose it is.
        self.after = {}
        self.data = [UNSEEN, UNSEEN]  # of a Ready, on each side
        self.replaced = [None, None]  # and how many it replaced, if an answer tells
        self.wait = None  # of an Ack: the item whose hand-off it is
        self.acks = {}  # of a wait: how many Acks there are, by target

    def stale(self):
        return self.op.err == "STALE_DELIVERY"

    def woken_where_it_parks(self):
        """Whether it is woken by READY where it parks first."""
        return bool(len(self.attempts) == 1 and self.op.ans
                    and self.op.ans["outcome"] == "READY")

    def may_park(self):
        """Whether it may stand on a side, if only until a crash."""
        return self.lost or self.op.err is None or self.stale() or len(self.attempts) > 1

    def only_tries(self):
        return self.timeout is not None and self.timeout <= 0

    def may_only_try(self):
        """A later attempt whose limit is over when it arrives only tries, too."""
        return len(self.attempts) > 1 and self.ends_by_itself()

    def ends_by_itself(self):
        """Whether its own limit ends it, or may have."""
        if self.lost:
            return self.timeout is not None
        return bool(self.op.ans and self.op.ans["outcome"] == "TIMED_OUT"
                    and self.op.ans["cause"] in ("WAIT", "MAX_WAIT"))


class Step:
    """One step from a state. Its effects: `freeze()`, and the items that ended, in `ended`."""

    def __init__(self, items, state):
        self._items, self._state, self._descs, self.ended = items, state, {}, []

    def freeze(self):
        if not self._descs:
            return self._state
        state = list(self._state)
        for name, desc in self._descs.items():
            state[name] = desc and desc.freeze()
        return tuple(state)

    def desc(self, name):
        if name not in self._descs:
            frozen = self._state[name]
            self._descs[name] = frozen and Desc(*frozen)
        return self._descs[name]

    def side(self, target):
        desc = self.desc(target[0])
        return desc and desc.sides[target[1]]

    # The steps

    def run(self, item):
        """An operation from begin to end, but of a wait that parks the beginning only."""
        getattr(self, f"_{item.kind}")(item)

    def time_out(self, item):
        """A wait's own limit has come."""
        if item.kind == "wait" and item.op.ans:
            self.desc(item.names[0]).learn(item.op.ans["gen"])
        self._unlink(item)
        self._end(item, "TIMED_OUT", item.op.ans["cause"] if item.op.ans else None)

    def expire(self, target):
        """The deadline of a side has come. Returns how many waits that ended."""
        desc, side = self.desc(target[0]), self.side(target)
        side.deadline = EXPIRED
        if desc.kind == LATCH and side.ready is not None:
            return 0  # an open latch is open
        count = 0
        for index in side.parked:
            item = self._items[index]
            if not item.op.req.get("ignore_deadline"):
                count += self._end_place(item, target, "TIMED_OUT", "DEADLINE")
        return count

    def take_back(self, target, which, now):
        """A hand-off was not acknowledged in time."""
        side = self.side(target)
        delivery, data, attempt, coalesced, wait, *due = side.pending[which]
        status = due.pop()
        assert status in UNACKED
        rest = side.pending[:which] + side.pending[which + 1:]
        if self._items[wait].acks.get(target):
            rest += ((delivery, data, attempt, coalesced, wait, *due, STALE),)
        side.pending = rest
        if status == PASSED:
            # A poll may be stale for another signal of its.
            expect(self._items[wait].kind == "poll" or not self._items[wait].stale(),
                   "nobody else has it: it stays its wait's")
            return
        side.returned = tuple(sorted(side.returned + ((delivery, data, attempt + 1, coalesced),)))
        self._serve(target, now)

    # Parts of them

    def _resolve(self, item, opens=None):
        """The descriptor, or None: refused as it must be."""
        op, name = item.op, item.names[0]
        desc, generation = self.desc(name), op.req.get("generation") or 0
        opens = opens or op.req.get("open")
        refusal = None
        if desc is None:
            if generation or not opens:
                refusal = "NO_DESCRIPTOR"
            else:
                desc = self._descs[name] = Desc(None, EXCLUSIVE if opens == "ANY" else opens)
        elif generation and desc.generation is None:
            if op.err == "STALE_GENERATION":
                refusal = op.err
            elif op.answered:
                desc.learn(generation)
        elif generation and desc.generation != generation:
            refusal = "STALE_GENERATION"
        elif opens and opens not in ("ANY", desc.kind):
            refusal = "KIND_MISMATCH"
        if refusal:
            self._refuse(item, refusal)
            return None
        self._settle(name, op.call)
        return desc

    def _refuse(self, item, reason):
        expect(item.lost or item.op.err == reason, f"should be refused: {reason}")
        self.ended.append(item.index)

    def _done(self, item):
        """It ends here, not refused."""
        expect(item.op.err is None, "refused without a reason")
        self.ended.append(item.index)

    def _settle(self, name, call):
        """What was due before the call was made has happened."""
        desc = self.desc(name)
        due = [(side.deadline[1], number) for number, side in enumerate(desc.sides)
               if isinstance(side.deadline, tuple) and side.deadline[1] + SLACK < call]
        for _, number in sorted(due):
            self.expire((name, number))
        for side in desc.sides:
            expect(not any(each[6] + GRACE < call and each[7] in UNACKED for each in side.pending),
                   "a hand-off that does not come back")

    def _unlink(self, item):
        for target in item.targets:
            side = self.side(target)
            if side:
                side.leave(item.index)

    def _end(self, item, outcome, cause=None):
        """A wait ends so."""
        expect(not item.hung, "woken, and its call did not end")
        op = item.op
        if not item.lost and not (item.stale() and outcome == "READY"):
            expect(op.ans is not None and op.ans["outcome"] == outcome, f"should be {outcome}")
            expect(outcome != "TIMED_OUT" or cause in (None, op.ans["cause"]), "another cause")
        self.ended.append(item.index)

    def _end_place(self, item, target, outcome, cause=None):
        """A wait loses a place where it stands. Returns whether that ended it."""
        self.side(target).leave(item.index)
        if item.kind == "poll":
            standing = [each for each in item.targets
                        if self.side(each) and item.index in self.side(each).parked]
            if len(standing) >= item.need:
                return False
            self._unlink(item)
        elif item.op.ans and item.op.ans.get("gen") is not None:
            self.desc(target[0]).learn(item.op.ans["gen"])
        self._end(item, outcome, cause)
        return True

    def _take(self, target, item, answer, now):
        """Hands the READY of a side to a wait; answer: what it said of it, or None."""
        desc, side = self.desc(target[0]), self.side(target)
        told = answer or {}
        if told.get("gen") is not None:
            desc.learn(told["gen"])
        latch = desc.kind == LATCH
        if side.returned:
            _, data, attempt, coalesced = side.returned[0]
            side.returned = side.returned[1:]
        else:
            data, attempt, coalesced = side.ready, 1, side.coalesced
            if not latch:
                side.ready, side.coalesced = None, 0
        if answer:
            expect(told["data"] == data, f"other data: {data!r} stands there")
            expect(told["coalesced"] == coalesced, f"{coalesced} were replaced")
            expect(told["attempt"] == attempt, f"it is attempt {attempt}")
        if latch and side.opening is not None:
            expect(not answer or told["delivery"] == side.opening, "one opening has one delivery")
            return
        delivery = told.get("delivery", side.delivery + 1)
        expect(delivery > side.delivery, "delivery numbers grow")
        expect(not answer or side.delivery >= item.after.get(target, (0, 0))[0],
               "one with a smaller delivery number is still to come")
        side.delivery = delivery
        if latch:
            side.opening = delivery if answer else None
        elif item.ack_timeout:
            start = max(item.op.call, now)
            due_by = LATEST if item.op.ret is None else item.op.ret + item.ack_timeout
            side.pending += ((delivery, data, attempt, coalesced, item.index,
                              start + item.ack_timeout, due_by, PENDING),)

    def _available(self, item, standing):
        ready = []
        for target in standing:
            desc = self.desc(target[0])
            if desc and desc.check(self.side(target)) == "ready":
                ready.append(target)
        return ready[:item.need] if len(ready) >= item.need else None

    def _take_all(self, item, taken, now):
        self._end(item, "READY")
        answers = item.op.ans["results"] if item.op.ans else [[None, None]] * len(taken)
        expect(len(answers) == len(taken), "a poll takes what it needs")
        for target, (number, answer) in zip(taken, answers):
            expect(number is None or item.targets[number] == target, "another target was taken")
            self._take(target, item, answer, now)

    def _serve(self, target, now):
        """Hands the READY of a side to those who wait there. Returns how many it woke."""
        side, woken = self.side(target), 0
        for index in side.parked:
            if not side.has_ready():
                break
            item = self._items[index]
            if index not in side.parked:
                continue
            if item.kind == "poll":
                standing = [each for each in item.targets
                            if self.side(each) and index in self.side(each).parked]
                taken = self._available(item, standing)
                if taken is None:
                    continue
                self._unlink(item)
                self._take_all(item, taken, now)
            else:
                side.leave(index)
                self._end(item, "READY")
                self._take(target, item, item.op.ans, now)
            woken += 1
        return woken

    # The operations

    def _open(self, item):
        op, desc = item.op, self.desc(item.names[0])
        created = desc is None
        if op.req.get("must_create") and not created:
            self._refuse(item, "EXISTS")
            return
        desc = self._resolve(item, op.req.get("kind") or "ANY")
        if desc is None:
            return
        if op.ans:
            expect(op.ans["created"] == created, "created or not")
            expect(op.ans["kind"] == desc.kind, "another kind")
            desc.learn(op.ans["gen"])
        self._done(item)

    def _close(self, item):
        desc = self._resolve(item)
        if desc is None:
            return
        woken = 0
        for number, side in enumerate(desc.sides):
            side.forget(desc.kind)
            for index in side.parked:
                woken += self._end_place(self._items[index], (item.names[0], number), "CLOSED")
        self._descs[item.names[0]] = None
        expect(item.lost or item.op.ans and item.op.ans["woken"] == woken, f"it woke {woken}")
        self._done(item)

    def _reset(self, item):
        desc = self._resolve(item)
        if desc is None:
            return
        reset, forgot = True, False
        for number in item.op.sides():
            side = desc.sides[number]
            if side.deadline == EXPIRED:
                reset = False
                continue
            forgot = forgot or side.has_ready()
            side.forget(desc.kind)
            side.pass_by()
        if item.op.ans:
            expect(item.op.ans["reset"] == reset, "reset or not")
            expect(item.op.ans["forgot"] == forgot, "forgot or not")
        self._done(item)

    def _wait(self, item):
        op, desc = item.op, self._resolve(item)
        if desc is None:
            return
        target = item.targets[0]
        side = self.side(target)
        found = desc.check(side, op.req.get("ignore_deadline"))
        if found == "ready":
            self._end(item, "READY")
            self._take(target, item, op.ans, op.call)
        elif found == "expired":
            self._end(item, "TIMED_OUT", "DEADLINE")
        elif item.only_tries():
            self._end(item, "TIMED_OUT", "WAIT")
        elif desc.kind == EXCLUSIVE and side.parked and not item.may_only_try():
            self._refuse(item, "DOUBLE_WAIT")
        elif desc.kind == EXCLUSIVE and side.parked:
            self._end(item, "TIMED_OUT", "WAIT")
        else:
            expect(item.may_park(), "refused without a reason")
            # Where it stands no READY is left for those behind it, so that they all come later. (A
            # poll may be passed by. And when its call was not the only one this may be another
            # place than the one where it will be woken.)
            if item.woken_where_it_parks() and desc.kind != LATCH:
                delivery, former = item.after.get(target, (0, 0))
                expect(side.delivery >= delivery or former in side.parked,
                       "it would be woken before one with a smaller delivery number")
            side.parked += (item.index,)
            if len(item.attempts) > 1:
                return  # it may end in another life
        if op.ans:
            desc.learn(op.ans["gen"])

    def _poll(self, item):
        for name in item.names:
            if self.desc(name) is None and not item.op.req.get("open"):
                self._refuse(item, "NO_DESCRIPTOR")
                return
        for name in item.names:
            if self.desc(name) is None:
                opens = item.op.req["open"]
                self._descs[name] = Desc(None, EXCLUSIVE if opens == "ANY" else opens)
            self._settle(name, item.op.call)
        standing = [target for target in item.targets
                    if self.desc(target[0]).check(self.side(target)) != "expired"]
        taken = self._available(item, standing)
        if len(standing) < item.need:
            self._end(item, "TIMED_OUT", "DEADLINE")
        elif taken is not None:
            self._take_all(item, taken, item.op.call)
        elif item.only_tries():
            self._end(item, "TIMED_OUT", "WAIT")
        elif not item.may_only_try() and any(
                self.desc(target[0]).kind == EXCLUSIVE and self.side(target).parked
                for target in standing):
            self._refuse(item, "DOUBLE_WAIT")
        else:
            expect(item.may_park(), "refused without a reason")
            for target in standing:
                self.side(target).parked += (item.index,)

    def _ready(self, item):
        op, name = item.op, item.names[0]
        condition = op.req.get("condition")
        effect, woken, expired = "REFUSED", 0, False
        if (self.desc(name) is not None or condition != "WAITING" or not op.req.get("open")
                or op.req.get("generation")):
            desc = self._resolve(item)
            if desc is None:
                return
            for number in op.sides():
                one, count, was_expired = self._unblock((name, number), item, condition)
                effect = min(effect, one, key=_RANK.get)
                woken += count
                expired = expired or was_expired and one in ("REMEMBERED", "COALESCED")
            if op.ans:
                desc.learn(op.ans["gen"])
        if op.ans:
            expect(op.ans["effect"] == effect, f"should be {effect}")
            expect(op.ans["woken"] == woken, f"it woke {woken}")
            expect(op.ans["expired"] == expired, "expired or not")
        self._done(item)

    def _unblock(self, target, item, condition):
        desc, side = self.desc(target[0]), self.side(target)
        expired = side.deadline == EXPIRED
        if condition == "NOT_EXPIRED" and expired:
            return "REFUSED", 0, expired
        if condition == "WAITING" and side.has_ready():
            return "REFUSED", 0, expired
        coalesces = side.ready is not None
        expect(not coalesces or desc.kind == LATCH or side.ready == UNSEEN,
               "what stands there is handed over later")
        side.coalesced = side.coalesced + 1 if coalesces else 0
        side.ready = item.data[target[1]]
        expect(item.replaced[target[1]] in (None, side.coalesced), f"replaces {side.coalesced}")
        if coalesces:
            return "COALESCED", 0, expired
        side.opening = None
        woken = self._serve(target, item.op.call)
        if condition == "WAITING":
            side.ready, side.coalesced, side.opening = None, 0, None
            return ("WOKE" if woken else "REFUSED"), woken, expired
        return ("WOKE" if woken else "REMEMBERED"), woken, expired

    def _deadline(self, item):
        op, desc = item.op, None
        absent = self.desc(item.names[0]) is None
        wanted = self._new_deadlines(item)
        condition = op.req.get("condition")
        refused = (absent and op.req.get("open") and not op.req.get("generation") and
                   all("REFUSED" in judge(None, to, condition) for to in wanted))
        if refused and (not op.ans or not op.ans["applied"]):
            self._done(item)  # a name is not opened for a change that its condition forbids
            return
        desc = self._resolve(item)
        if desc is None:
            return
        woken, applied = 0, False
        for number in op.sides():
            side = desc.sides[number]
            effect = op.ans["effects"][number] if op.ans else None
            matches = [to for to in wanted
                       if effect is None or effect in judge(side.deadline, to, condition)]
            expect(matches, f"{effect} from {side.deadline}")
            if effect is None:
                effect = min(judge(side.deadline, matches[0], condition))
            applied = applied or effect != "REFUSED"
            if effect == "EXPIRED":
                woken += self.expire((item.names[0], number))
            elif effect in ("ARMED", "EXTENDED", "SHORTENED"):
                at = op.ans and op.ans["at"][number]
                expect(not op.ans or at is not None, "armed without an instant")
                side.deadline = (at, at) if op.ans else matches[0]
            elif effect == "CLEARED":
                side.deadline = None
            if op.ans:
                check_deadline(side.deadline, op.ans["at"][number], op.ans["expired"][number])
        if op.ans:
            expect(op.ans["applied"] == applied, "applied or not")
            expect(op.ans["woken"] == woken, f"it woke {woken}")
            desc.learn(op.ans["gen"])
        self._done(item)

    @staticmethod
    def _new_deadlines(item):
        """What the request may ask for by the time at which it takes effect."""
        op = item.op
        timeout = op.req.get("timeout")
        if timeout is None:
            return [None]
        if timeout <= 0:
            return [EXPIRED]
        returned = LATEST if op.ret is None else op.ret
        wanted = [(op.call + timeout - SLACK, min(LATEST, returned + timeout + SLACK))]
        if returned > op.call + timeout - SLACK:
            wanted.append(EXPIRED)  # past by first_sent_ago
        return wanted

    def _ack(self, item):
        op, name = item.op, item.names[0]
        target, wait = (name, op.sides()[0]), item.wait
        desc, side = self.desc(name), self.side(target)
        if desc and desc.generation != op.req["generation"]:
            # No answer has told this life yet, or another one than that of the delivery.
            self._refuse(item, "STALE_GENERATION")
            return
        which = next((number for number, each in enumerate(side.pending)
                      if each[4] == wait and each[0] == op.req["delivery"]), None) if side else None
        if which is None:
            self._refuse(item, "OUTCOME_UNKNOWN")
            return
        found = side.pending[which]
        if found[-1] == STALE:
            self._refuse(item, "STALE_DELIVERY")
            return
        expect(found[-1] == ACKED or op.call <= found[6] + SLACK, "acknowledged too late")
        # An earlier attempt may have done it, whose answer was lost, before the name was closed.
        before_close = (op.err in ("OUTCOME_UNKNOWN", "STALE_GENERATION")
                        and len(item.attempts) > 1)
        rest = side.pending[:which] + side.pending[which + 1:]
        if self._items[wait].acks[target] > 1 or before_close:
            rest += ((*found[:-1], ACKED),)
        side.pending = rest
        if not before_close:
            self._done(item)

    def _get(self, item):
        desc = self._resolve(item)
        if desc is None:
            return
        if item.op.ans:
            expect(item.op.ans["kind"] == desc.kind, "another kind")
            desc.learn(item.op.ans["gen"])
            for side, told in zip(desc.sides, item.op.ans["sides"]):
                pending = sum(each[-1] in UNACKED for each in side.pending)
                expect(told["unacked"] == pending, f"{pending} hand-offs wait for their Ack")
                expect(told["returned"] == len(side.returned), f"{len(side.returned)} came back")
                if not side.parked:
                    expect((told["state"] == "READY") == side.has_ready(), "READY or not")
                check_deadline(side.deadline, told["at"], told["expired"])
        self._done(item)

    def _crash(self, item):
        for name in range(len(self._state)):
            if self._state[name] and any(self._state[name][side][-1] for side in (2, 3)):
                for side in self.desc(name).sides:
                    side.parked = ()
        self._done(item)

    def _quiesce(self, item):
        """Nobody waits who should have been woken, and all that was to come back has."""
        standing, now = set(), item.op.call
        for name in range(len(self._state)):
            if self.desc(name) is None:
                continue
            self._settle(name, now)
            for side in self.desc(name).sides:
                standing.update(side.parked)
        for other in self._items:
            if other.hung:
                expect(other.index in standing, "its call did not end, and it does not wait")
                expect(other.until + GRACE > now, "its own limit has passed")
        self._done(item)


def check_deadline(deadline, at, expired):
    """A side's deadline is what an answer says of it."""
    expect(expired == (deadline == EXPIRED), "expired or not")
    if deadline is None:
        expect(at is None, "there is no deadline")
    elif deadline != EXPIRED:
        expect(at is not None and deadline[0] - SLACK <= at <= deadline[1] + SLACK,
               "the deadline has moved")


def judge(old, new, condition):
    """The effects that setting a deadline may have; the instants are known within bounds."""
    order = set()  # of new against old: earlier, same, later
    rank = {None: 2, EXPIRED: 0}
    if isinstance(old, tuple) and isinstance(new, tuple):
        if new[0] <= old[1] + SLACK and old[0] <= new[1] + SLACK:
            order.add("same")
        if new[1] + SLACK >= old[0]:
            order.add("later")
        if new[0] - SLACK <= old[1]:
            order.add("earlier")
    else:
        was, to = (rank.get(one, 1) if not isinstance(one, tuple) else 1 for one in (old, new))
        order.add("same" if was == to else "later" if to > was else "earlier")
    return {_effect(old, new, condition, each) for each in order}


def _effect(old, new, condition, order):
    revives = old == EXPIRED and new != EXPIRED
    if condition == "ONLY_LATER" and order != "same" and (revives or order == "earlier"):
        return "REFUSED"
    if condition == "ONLY_EARLIER" and (new is None or order == "later"):
        return "REFUSED"
    if condition == "ARM_OR_EXTEND" and (
            old == EXPIRED or not isinstance(new, tuple)
            or isinstance(old, tuple) and order == "earlier"):
        return "REFUSED"
    if order == "same":
        return "UNCHANGED"
    if new is None:
        return "CLEARED"
    if new == EXPIRED:
        return "EXPIRED"
    if not isinstance(old, tuple):
        return "ARMED"
    return "EXTENDED" if order == "later" else "SHORTENED"
