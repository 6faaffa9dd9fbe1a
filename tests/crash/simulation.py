"""A server and its clients in virtual time, to try the checker on histories with crashes.

It is written apart from spec.py, as a server would be: operations change a table, a commit now and
then makes a copy of it and lets the answers go, a crash puts the copy back. Each of BUGS can be
planted in it. Only the read side, one thread, and every choice from one seed.
"""

import copy
import heapq
import itertools
import random

from history import EXCLUSIVE, FIFO, LATCH, MS, History, Op

# What each does stands where its name is used.
BUGS = [
    "answers before the commit", "ready lost at a restart", "used ready back at a restart",
    "ids lost at a restart", "last in first out", "coalesced counts wrong",
    "coalesced keeps the older",
    "deadlines move at a restart", "deadlines lost at a restart", "expired lost at a restart",
    "early by the deadline", "early by its own limit", "extending is ignored", "latch is used up",
    "latch closes at a restart", "close wakes nobody", "close keeps ready",
    "generations come again",
    "acknowledged and taken back", "never taken back", "comes back behind", "attempts do not count",
    "deliveries start anew", "reset forgets nothing", "one ready wakes two", "no wake",
    "poll takes one less", "poll takes the last first", "poll holds what it has",
    "any generation will do", "ready before expired", "condition ignored",
    "repeated with another answer", "a time out uses it up", "double waits are let in",
    "hand-offs lost at a restart", "clear does nothing", "heartbeats revive",
    "handed out comes back after a reset", "reset acknowledges what is handed out",
    "hand-offs outlive their life", "acks of any life", "acks lost at a restart",
]


class Wait:
    """A wait or poll that stands on its sides."""

    def __init__(self, op, names, need):
        self.op, self.names, self.need, self.begin = op, list(names), need, 0


class Server:
    """The table, and what happens to it."""

    def __init__(self, world, bug, generation):
        self.world, self.bug, self.random = world, bug, world.random
        self.table = {"descs": {}, "ids": {}, "generation": generation}
        self.stored = self.copy(self.table)
        self.parked, self.answers, self.epoch, self.up = {}, [], 0, True
        self.dirty = False  # since the last commit something has changed, or was answered

    def now(self):
        return self.world.now

    # Commit and crash

    @staticmethod
    def copy(table):
        """Answers are never changed, and need no copy of their own."""
        return {key: value.copy() if key == "ids" else copy.deepcopy(value)
                for key, value in table.items()}

    def commit(self):
        """What was answered since the last commit goes out, when it is stored."""
        if not self.up:
            return
        if not self.dirty:
            return
        self.dirty = False
        self.stored = self.copy(self.table)
        answers, self.answers = self.answers, []
        for op, ans, err in answers:
            self.world.deliver(op, ans, err)

    def crash(self):
        self.up, self.parked, self.answers = False, {}, []
        self.epoch += 1
        old, self.table = self.table, self.copy(self.stored)
        for desc in self.table["descs"].values():
            if self.bug == "ready lost at a restart" and desc["kind"] != LATCH:
                desc["ready"] = None
            if self.bug == "latch closes at a restart" and desc["kind"] == LATCH:
                desc["ready"] = None
            used = self.bug == "used ready back at a restart" and desc["used"]
            if used and desc["ready"] is None:
                desc["ready"], desc["coalesced"] = desc["used"], 0
            if isinstance(desc["deadline"], int):
                if self.bug == "deadlines move at a restart":
                    desc["deadline"] += 200 * MS
                if self.bug == "deadlines lost at a restart":
                    desc["deadline"] = None
            if self.bug == "expired lost at a restart" and desc["deadline"] == "expired":
                desc["deadline"] = None
            if self.bug == "deliveries start anew":
                desc["delivery"] = 0
            if self.bug == "hand-offs lost at a restart":
                desc["pending"] = []
            if self.bug == "acks lost at a restart":
                desc["pending"] += [{**each, "due": self.now() + 100 * MS}
                                    for each in desc["acked"].values()]
        if self.bug == "ids lost at a restart":
            self.table["ids"] = {}
        if self.bug == "generations come again":
            self.table["generation"] = min(each["gen"] for each in old["descs"].values())

    def restart(self):
        self.up = True
        for name, desc in self.table["descs"].items():
            self.arm(name, desc)
            for hand_off in desc["pending"]:
                self.world.at(hand_off["due"], self.take_back, name, desc["gen"], hand_off["of"])

    # Answers

    def answer(self, op, ans=None, err=None):
        if ans is not None and op.has_id and op.kind != "get":
            self.table["ids"][op.identity] = ans
        if self.bug == "answers before the commit":
            self.world.deliver(op, ans, err)
        else:
            self.answers.append((op, ans, err))

    def end(self, wait, outcome, cause=None, ready=None):
        """A wait ends; ready: by name what it got."""
        for name in wait.names:
            self.parked[name] = [each for each in self.parked.get(name, ()) if each is not wait]
        parked = self.now() - wait.begin if wait.begin else 0

        def one(name, got):
            desc = self.table["descs"].get(name)
            return {"outcome": outcome, "cause": cause, "gen": desc and desc["gen"],
                    "parked": parked, "late": 0, **(got or {})}
        if wait.op.kind == "poll":
            results = [[wait.op.names.index(name), one(name, got)]
                       for name, got in (ready or {}).items()]
            self.answer(wait.op, {"outcome": outcome, "cause": cause, "results": results,
                                  "parked": parked, "late": 0})
        else:
            ans = one(wait.op.names[0], (ready or {}).get(wait.op.names[0]))
            ans["gen"] = ans["gen"] or wait.gen
            self.answer(wait.op, ans)

    # The machine

    def execute(self, op, epoch):
        if epoch != self.epoch or not self.up:
            return
        self.dirty = True
        for name in op.names:
            self.settle(name)
        anew = op.again is not None and self.bug == "repeated with another answer"
        if op.has_id and op.identity in self.table["ids"] and not anew:
            self.answers.append((op, self.table["ids"][op.identity], None))
            return
        getattr(self, f"do_{op.kind}")(op)

    def settle(self, name):
        desc = self.table["descs"].get(name)
        early = 150 * MS if self.bug == "early by the deadline" else 0
        if desc and isinstance(desc["deadline"], int) and desc["deadline"] - early <= self.now():
            self.expire(name, desc)

    def expire(self, name, desc):
        desc["deadline"] = "expired"
        if desc["kind"] == LATCH and desc["ready"]:
            return 0
        return sum(self.lose(wait, name, "TIMED_OUT", "DEADLINE")
                   for wait in list(self.parked.get(name, ())))

    def lose(self, wait, name, outcome, cause=None):
        self.parked[name] = [each for each in self.parked[name] if each is not wait]
        wait.names = [each for each in wait.names if each != name]
        if len(wait.names) < wait.need:
            wait.gen = (self.table["descs"].get(name) or {}).get("gen") or wait.gen
            self.end(wait, outcome, cause)
            return 1
        return 0

    def arm(self, name, desc):
        if isinstance(desc["deadline"], int):
            early = 150 * MS if self.bug == "early by the deadline" else 0
            self.world.at(desc["deadline"] - early, self.fire, name, desc["gen"], desc["deadline"])

    def fire(self, name, generation, instant):
        desc = self.table["descs"].get(name)
        if not self.up or not desc or desc["gen"] != generation:
            return
        self.dirty = True
        if self.bug == "extending is ignored" and isinstance(desc["deadline"], int):
            self.expire(name, desc)
        elif desc["deadline"] == instant:
            self.settle(name)

    def find(self, op, create=True):
        """The descriptor, or None and it is refused."""
        name, opens = op.names[0], op.req.get("open") or op.req.get("kind")
        generation = op.req.get("generation") or 0
        desc = self.table["descs"].get(name)
        if desc is None and (generation or not opens or not create):
            self.answer(op, err="NO_DESCRIPTOR")
        elif desc is None:
            return self.make(name, opens)
        elif generation and desc["gen"] != generation and self.bug != "any generation will do":
            self.answer(op, err="STALE_GENERATION")
        else:
            return desc
        return None

    def make(self, name, kind):
        self.table["generation"] += 1
        desc = self.table["descs"][name] = {
            "gen": self.table["generation"], "kind": kind, "ready": None, "coalesced": 0,
            "returned": [], "pending": [], "acked": {}, "deadline": None, "delivery": 0,
            "reset_through": 0, "used": None}
        if self.bug == "hand-offs outlive their life":
            desc["pending"] = self.table.pop(("pending", name), [])
            for one in desc["pending"]:
                self.world.at(one["due"], self.take_back, name, desc["gen"], one["of"])
        if self.bug == "close keeps ready":
            desc["ready"] = self.table.get(("kept", name))
        return desc

    def do_open(self, op):
        created = op.names[0] not in self.table["descs"]
        if op.req.get("must_create") and not created:
            self.answer(op, err="EXISTS")
            return
        desc = self.find(op)
        self.answer(op, {"gen": desc["gen"], "kind": desc["kind"], "created": created})

    def do_close(self, op):
        desc = self.find(op, create=False)
        if desc is None:
            return
        name, woken = op.names[0], 0
        for wait in list(self.parked.get(name, ())):
            wait.gen = desc["gen"]
            if self.bug == "close wakes nobody":
                self.parked[name].remove(wait)
                self.limit(wait, self.now() + 300 * MS)
            else:
                woken += self.lose(wait, name, "CLOSED")
        self.table["kept", name], self.table["pending", name] = desc["ready"], desc["pending"]
        del self.table["descs"][name]
        self.answer(op, {"woken": woken})

    def do_reset(self, op):
        desc = self.find(op, create=False)
        if desc is None:
            return
        reset = desc["deadline"] != "expired"
        forgot = reset and bool(desc["ready"] or desc["returned"])
        if reset and self.bug != "reset forgets nothing":
            desc["ready"], desc["returned"], desc["coalesced"] = None, [], 0
            desc["reset_through"] = desc["delivery"]
            if self.bug == "reset acknowledges what is handed out":
                desc["pending"] = []
        self.answer(op, {"reset": reset, "forgot": forgot})

    def do_get(self, op):
        desc = self.find(op, create=False)
        if desc is None:
            return
        ready = bool(desc["ready"] or desc["returned"])
        side = {"state": "READY" if ready else "NIL", "unacked": len(desc["pending"]),
                "returned": len(desc["returned"]), "expired": desc["deadline"] == "expired",
                "at": desc["deadline"] if isinstance(desc["deadline"], int) else None}
        none = {"state": "NIL", "unacked": 0, "returned": 0, "at": None, "expired": False}
        self.answer(op, {"gen": desc["gen"], "kind": desc["kind"], "sides": [side, none]})

    def do_ready(self, op):
        name, condition = op.names[0], op.req.get("condition")
        if condition == "WAITING" and name not in self.table["descs"]:
            self.answer(op, {"effect": "REFUSED", "woken": 0, "gen": 0, "expired": False})
            return
        desc = self.find(op)
        if desc is None:
            return
        expired = desc["deadline"] == "expired"
        ans = {"effect": "REFUSED", "woken": 0, "gen": desc["gen"], "expired": False}
        refused = (condition == "NOT_EXPIRED" and expired or
                   condition == "WAITING" and (desc["ready"] or desc["returned"]))
        if refused and self.bug != "condition ignored":
            self.answer(op, ans)
            return
        if desc["ready"]:
            desc["coalesced"] += 0 if self.bug == "coalesced counts wrong" else 1
            if self.bug != "coalesced keeps the older":
                desc["ready"] = op.req["data"]
            ans.update(effect="COALESCED", expired=expired)
        else:
            desc["ready"], desc["coalesced"] = op.req["data"], 0
            if desc["kind"] == LATCH:
                desc["delivery"] += 1
            woken = self.serve(name)
            if condition == "WAITING":
                desc["ready"] = None
            elif not woken:
                ans["expired"] = expired
            effect = "WOKE" if woken else "REFUSED" if condition == "WAITING" else "REMEMBERED"
            ans.update(effect=effect, woken=woken)
        self.answer(op, ans)

    def available(self, wait):
        found = [name for name in wait.names if self.check(name) == "ready"]
        need = wait.need
        if self.bug == "poll takes one less" and need > 1:
            need -= 1
        if self.bug == "poll takes the last first":
            found.reverse()
        return found[:need] if len(found) >= need else None

    def check(self, name):
        desc = self.table["descs"].get(name)
        ready = desc and (desc["ready"] or desc["returned"])
        first = desc and (desc["kind"] == LATCH or self.bug == "ready before expired")
        if ready and first:
            return "ready"
        if desc and desc["deadline"] == "expired":
            return "expired"
        return "ready" if ready else "park"

    def take(self, name, wait):
        desc = self.table["descs"][name]
        back = None
        if desc["returned"] and not (self.bug == "comes back behind" and desc["ready"]):
            back = desc["returned"].pop(0)
            data, coalesced, attempt = back["data"], back["coalesced"], back["attempt"]
        else:
            data, coalesced, attempt = desc["ready"], desc["coalesced"], 1
            if desc["kind"] != LATCH or self.bug == "latch is used up":
                desc["ready"], desc["coalesced"], desc["used"] = None, 0, data
        if desc["kind"] != LATCH:
            desc["delivery"] += 1
        ack = wait.op.req.get("ack_timeout")
        if ack:
            due = self.now() + ack
            desc["pending"].append({"of": wait.op.index, "data": data, "coalesced": coalesced,
                                    "attempt": attempt, "delivery": desc["delivery"], "due": due})
            self.world.at(due, self.take_back, name, desc["gen"], wait.op.index)
        return {"data": data, "coalesced": coalesced, "attempt": attempt,
                "delivery": desc["delivery"], "accepted": None}

    def serve(self, name):
        desc, woken = self.table["descs"][name], 0
        if self.bug == "no wake" and self.random.random() < 0.1:
            return 0
        waits = list(self.parked.get(name, ()))
        if self.bug == "last in first out":
            waits.reverse()
        for wait in waits:
            if not (desc["ready"] or desc["returned"]):
                break
            taken = self.available(wait)
            if taken is None:
                if self.bug == "poll holds what it has":
                    desc["ready"] = None
                continue
            before = copy.deepcopy(desc)
            self.end(wait, "READY", ready={each: self.take(each, wait) for each in taken})
            woken += 1
            if self.bug == "one ready wakes two" and len(waits) == 2 and woken == 1:
                desc.update(before)
        return woken

    def take_back(self, name, generation, of):
        desc = self.table["descs"].get(name)
        if not self.up or not desc or desc["gen"] != generation or self.bug == "never taken back":
            return
        self.dirty = True
        for one in [each for each in desc["pending"] if each["of"] == of]:
            if one["due"] > self.now():
                continue
            desc["pending"].remove(one)
            if (one["delivery"] <= desc["reset_through"]
                    and self.bug != "handed out comes back after a reset"):
                continue
            one["attempt"] += self.bug != "attempts do not count"
            desc["returned"].append(one)
            desc["returned"].sort(key=lambda each: each["delivery"])
            self.settle(name)
            self.serve(name)

    def do_ack(self, op):
        desc = self.table["descs"].get(op.names[0])
        if desc is None:
            self.answer(op, err="OUTCOME_UNKNOWN")
            return
        known = [each for each in desc["pending"] if each["of"] == op.req["of"]]
        other = desc["gen"] != op.req["generation"] and self.bug != "acks of any life"
        if other:
            self.answer(op, err="STALE_GENERATION")
        elif known:
            if self.bug != "acknowledged and taken back":
                desc["pending"].remove(known[0])
            desc["acked"][op.req["of"]] = known[0]
            self.answer(op, {})
        elif op.req["of"] in desc["acked"]:
            self.answer(op, {})
        else:
            self.answer(op, err="STALE_DELIVERY")

    def do_deadline(self, op):
        desc = self.find(op)
        if desc is None:
            return
        timeout, condition = op.req.get("timeout"), op.req.get("condition")
        old = desc["deadline"]
        new = None if timeout is None else op.call + timeout
        if new is not None and (timeout <= 0 or new <= self.now()):
            new = "expired"
        effect = self.judge(old, new, condition)
        woken = 0
        if effect == "EXPIRED":
            woken = self.expire(op.names[0], desc)
        elif effect == "CLEARED" and self.bug != "clear does nothing":
            desc["deadline"] = None
        elif effect in ("ARMED", "EXTENDED", "SHORTENED"):
            desc["deadline"] = new
            self.arm(op.names[0], desc)
        now = desc["deadline"] if effect != "CLEARED" else None
        self.answer(op, {
            "applied": effect != "REFUSED", "effects": [effect, None], "woken": woken,
            "at": [now if isinstance(now, int) else None, None], "gen": desc["gen"],
            "expired": [now == "expired", False]})

    def judge(self, old, new, condition):
        if condition == "ARM_OR_EXTEND":
            if (old == "expired" and self.bug != "heartbeats revive" or not isinstance(new, int)
                    or isinstance(old, int) and new < old):
                return "REFUSED"
        if old == new:
            return "UNCHANGED"
        if new is None:
            return "CLEARED"
        if new == "expired":
            return "EXPIRED"
        if not isinstance(old, int):
            return "ARMED"
        return "EXTENDED" if new > old else "SHORTENED"

    def limit(self, wait, instant):
        self.world.at(instant, self.limit_comes, wait, self.epoch)

    def limit_comes(self, wait, epoch):
        if not self.up or epoch != self.epoch or not wait.names:
            return
        if any(wait in self.parked.get(name, ()) for name in wait.names) or (
                self.bug == "close wakes nobody" and not wait.over):
            wait.over = self.dirty = True
            self.end(wait, "TIMED_OUT", "WAIT")

    def do_wait(self, op):
        desc = self.find(op)
        if desc is None:
            return
        wait = Wait(op, op.names, 1)
        wait.gen, wait.over = desc["gen"], False
        self.block(wait)

    def do_poll(self, op):
        for name in op.names:
            if name not in self.table["descs"]:
                self.answer(op, err="NO_DESCRIPTOR")
                return
        wait = Wait(op, op.names, op.req["need"])
        wait.gen, wait.over = None, False
        self.block(wait)

    def block(self, wait):
        op = wait.op
        standing = [name for name in wait.names if self.check(name) != "expired"]
        until = op.call + max(op.req["timeout"], 0)
        if self.bug == "early by its own limit":
            until -= op.req["timeout"] // 3
        if len(standing) < wait.need:
            self.end(wait, "TIMED_OUT", "DEADLINE")
            return
        wait.names = standing
        taken = self.available(wait)
        if taken:
            self.end(wait, "READY", ready={each: self.take(each, wait) for each in taken})
        elif until <= self.now():
            self.end(wait, "TIMED_OUT", "WAIT")
            if self.bug == "a time out uses it up":
                for name in standing:
                    self.table["descs"][name]["ready"] = None
        elif (any(self.table["descs"][name]["kind"] == EXCLUSIVE and self.parked.get(name)
                  for name in standing) and self.bug != "double waits are let in"):
            self.answer(op, err="DOUBLE_WAIT")
        else:
            wait.begin = self.now()
            for name in standing:
                self.parked.setdefault(name, []).append(wait)
            if self.bug == "a time out uses it up":
                self.world.at(until - 1, self.use_up, wait)
            self.limit(wait, until)

    def use_up(self, wait):
        """The next READY meets a wait that has just gone."""
        if self.up and self.random.random() < 0.5:
            self.dirty = True
            for name in wait.names:
                desc = self.table["descs"].get(name)
                if desc:
                    desc["ready"] = None


class Call(Op):
    """An operation, and how its client goes about it."""

    has_id = True
    identity = client = None


class World:
    """Time, clients, crashes."""

    def __init__(self, seed, bug=None, crashes=8, clients=4, calls=60):
        self.random = random.Random(f"{seed}/{bug}")
        self.now, self._events, self._order = 1000 * MS, [], itertools.count()
        self.history, self.bug = History(seed=seed, bug=bug), bug
        self.server = Server(self, bug, generation=1000)
        self._numbers = itertools.count(1)
        self._waiting, self._running = [], 0
        self.objects = [{"f": FIFO}, {"e": EXCLUSIVE}, {"l": LATCH}, {"c": FIFO}, {"a": FIFO},
                        {"p/f": FIFO, "p/e": EXCLUSIVE, "p/g": FIFO}, {"d": FIFO}, {"h": FIFO}]
        for which, names in enumerate(self.objects):
            for _ in range(clients):
                self._start(self._client(which, names, calls))
        for _ in range(crashes):
            self.at(self.now + self.random.randrange(20, 350) * MS, self._crash)

    def run(self):
        self._commit()
        self._until_idle()
        self.now += 600 * MS
        self._turn_to(self.now)
        self._start(self._drain())
        self._until_idle()
        self.history.add(Op(kind="quiesce", names=[], call=self.now + 1, ret=self.now + 1))
        return self.history

    # Time

    def at(self, instant, what, *arguments):
        heapq.heappush(self._events, (max(instant, self.now + 1), next(self._order), what,
                                      arguments))

    def _turn_to(self, instant):
        while self._events and self._events[0][0] <= instant:
            self.now, _, what, arguments = heapq.heappop(self._events)
            what(*arguments)

    def _until_idle(self):
        while self._running:
            self._turn_to(self._events[0][0])

    def _commit(self):
        self.server.commit()
        self.at(self.now + self.random.randrange(50, 3000) * 1000, self._commit)

    def _soon(self):
        return self.now + self.random.randrange(20, 900) * 1000

    # Crashes

    def _crash(self):
        if not self._running:
            return
        if not self.server.up or len(self._waiting) < 4 and self._running > 4:
            self.at(self.now + 7 * MS, self._crash)  # now it would hit nobody
            return
        down = self.now + self.random.randrange(1, 60) * MS
        self.history.add(Op(kind="crash", names=[], call=self.now - 1, ret=down))
        self.server.crash()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.attempts[-1][1] = self.now + self.random.randrange(1000)
            if call.has_id:
                self.at(down + self.random.randrange(1, 30) * MS, self._send, call)
            else:
                self.at(self._soon(), self._go_on, call.client, call)
        self.at(down + 1, self.server.restart)

    # Clients

    def _start(self, client):
        self._running += 1
        self.at(self._soon(), self._go_on, client, None)

    def _go_on(self, client, call):
        try:
            following = client.send(call)
        except StopIteration:
            self._running -= 1
            return
        following.client = client
        self.at(self._soon(), self._begin, following)

    def _begin(self, call):
        call.call = self.now
        self.history.add(call)
        self._send(call)

    def _send(self, call):
        if call.kind == "get":
            call.call = self.now  # it only reads: each attempt is another call
        call.attempts.append([self.now, None])
        self._waiting.append(call)
        if self.server.up:
            self.at(self._soon(), self.server.execute, call, self.server.epoch)
        else:
            self._waiting.remove(call)
            call.attempts[-1][1] = self.now + 1
            self.at(self.now + 10 * MS, self._send, call)

    def deliver(self, call, ans, err):
        if call in self._waiting:
            self.at(self._soon(), self._returned, call, ans, err, len(call.attempts))

    def _returned(self, call, ans, err, attempt):
        if call not in self._waiting or attempt != len(call.attempts):
            return  # its connection broke first
        self._waiting.remove(call)
        call.ret, call.ans, call.err = self.now, copy.deepcopy(ans), err
        if err:
            call.ans = None
        self._go_on(call.client, call)

    def _call(self, what, names, has_id=True, **req):
        call = Call(kind=what, names=list(names), call=0, req={
            key: value for key, value in req.items() if value is not None})
        call.has_id = has_id or what in ("ack", "get")
        call.identity = next(self._numbers)
        return call

    def _client(self, which, names, calls):
        """Random operations on one object."""
        pick, chance = self.random.choice, self.random.random
        if len(names) > 1:
            for name, kind in names.items():
                yield self._call("open", [name], kind=kind)
        for _ in range(calls):
            name = pick(list(names))
            kind, dice, has_id = names[name], chance(), chance() < 0.85
            wait = dict(open=kind, timeout=pick([0, 0, 5, 30, 100, 300]) * MS)
            acks = names.keys() & {"a", "h"}
            if acks and chance() < 0.15:
                yield self._call("get", [name])
            elif len(names) > 1 and dice < 0.35:
                some = self.random.sample(sorted(names), pick([2, 3]))
                yield self._call("poll", some, has_id, need=pick(range(1, len(some) + 1)),
                                 timeout=wait["timeout"])
            elif dice < 0.45 and acks:
                ack = pick([50, 150]) * MS
                got = yield self._call("wait", [name], ack_timeout=ack, **wait)
                if got.ans and got.ans["outcome"] == "READY" and chance() < 0.7:
                    yield self._call("ack", [name], of=got.index, delivery=got.ans["delivery"],
                                     generation=got.ans["gen"])
            elif dice < 0.45:
                got = yield self._call("wait", [name], has_id, **wait)
                if got.has_id and got.ans and chance() < 0.05:
                    yield self._repeat(got)
            elif dice < (0.55 if kind == LATCH else 0.82):
                condition = pick(["WAITING", "NOT_EXPIRED"]) if chance() < 0.15 else None
                yield self._call("ready", [name], has_id, open=kind, condition=condition,
                                 data=f"{next(self._numbers)}")
            elif dice < 0.87 and "c" in names or dice < 0.84 and "h" in names:
                yield self._call("close", [name])
            elif dice < 0.94 and names.keys() & {"c", "d", "l", "p/f"}:
                timeout = pick([0, 20, 100, 500, None, None])
                condition = "ARM_OR_EXTEND" if chance() < 0.3 and timeout else None
                yield self._call("deadline", [name], open=kind, condition=condition,
                                 timeout=None if timeout is None else timeout * MS)
            elif dice < 0.96 and "a" not in names:
                yield self._call("reset", [name])
            elif "c" in names:
                yield self._call("ready", [name], open=kind, data=f"{next(self._numbers)}",
                                 generation=1001 + self.random.randrange(30))
            else:
                yield self._call("get", [name])

    def _repeat(self, first):
        again = self._call(first.kind, first.names, **first.req)
        again.again, again.identity = first.index, first.identity
        return again

    def _drain(self):
        for names in self.objects:
            for name, kind in names.items():
                got = yield self._call("deadline", [name], open=kind)
                for _ in range(200):
                    got = yield self._call("wait", [name], open=kind, timeout=0)
                    if kind == LATCH or not got.ans or got.ans["outcome"] != "READY":
                        break
