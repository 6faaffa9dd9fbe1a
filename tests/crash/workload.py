"""Random clients of waitd, each of whose calls stands in a history.

A client with an id repeats its call with it until it has an answer; one without leaves it open.
What they do to a name depends on its role, so that each kind of trouble has a place where it is
frequent. No more than CALLS_AT_ONCE calls are under way on the names of one object, and an object
that had its share of calls is retired: a search stays short.
"""

import collections
import itertools
import random
import threading
import time

import grpc
from google.protobuf import empty_pb2
from harness import Refusal, duration, nanos, timestamp
from history import EXCLUSIVE, FIFO, LATCH, MS, READ, READ_WRITE, S, WRITE, History, Op
from process import channel_to
from session import Session, SessionError
from waitd.v1 import waitd_pb2 as pb
from waitd.v1 import waitd_pb2_grpc

CALLS_AT_ONCE = 8
CALLS_OF_AN_OBJECT = 1500
CALL_LIMIT_S = 60
KINDS = {EXCLUSIVE: pb.KIND_EXCLUSIVE, FIFO: pb.KIND_FIFO, LATCH: pb.KIND_LATCH,
         "ANY": pb.KIND_UNSPECIFIED}
KIND_NAMES = {value: key for key, value in KINDS.items()}
# Whatever else a connection that breaks may be called.
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN,
          grpc.StatusCode.INTERNAL)
AGAIN = ("DRAINING", "STORE_FAILED", "TAKEN_OVER", "NO_OWNER")

TIMEOUTS_MS = [0, 0, 5, 30, 100, 300, 1000]
MAX_WAIT_MS = 200  # of waits without a timeout, where the server has it
ACK_TIMEOUTS_MS = [50, 150, 400]
DEADLINES_MS = [0, 20, 100, 500, 2000, 20_000]


class Hung(Exception):
    """A call that had to end and did not."""


# From messages to what a history holds


def wait_answer(answer, offset):
    outcome = pb.Outcome.Name(answer.outcome).removeprefix("OUTCOME_")
    told = {"outcome": outcome, "cause": None, "gen": answer.generation,
            "parked": nanos(answer.parked), "late": nanos(answer.late)}
    if outcome == "TIMED_OUT":
        told["cause"] = pb.TimeoutCause.Name(answer.timeout_cause).removeprefix("TIMEOUT_CAUSE_")
    if outcome == "READY":
        told.update(data=answer.signal.data.decode(), delivery=answer.delivery,
                    attempt=answer.attempt, coalesced=answer.coalesced,
                    accepted=nanos(answer.ready_time) - offset)
    return told


def _deadline(message, offset):
    return nanos(message.at) - offset if message.HasField("at") else None


def _answer(kind, answer, offset):
    if kind == "wait":
        return wait_answer(answer, offset)
    if kind == "open":
        described = answer.poll_descriptor
        return {"gen": described.generation, "kind": KIND_NAMES[described.kind],
                "created": answer.created}
    if kind == "close":
        return {"woken": answer.woken}
    if kind == "reset":
        return {"reset": answer.reset, "forgot": answer.forgot}
    if kind == "ready":
        return {"effect": pb.ReadyEffect.Name(answer.effect).removeprefix("READY_EFFECT_"),
                "woken": answer.woken, "gen": answer.generation, "expired": answer.expired}
    if kind == "deadline":
        effects = [pb.DeadlineEffect.Name(effect).removeprefix("DEADLINE_EFFECT_")
                   for effect in (answer.read_effect, answer.write_effect)]
        return {"applied": answer.applied, "effects": effects, "woken": answer.woken,
                "gen": answer.generation,
                "at": [_deadline(each, offset) for each in (answer.read, answer.write)],
                "expired": [answer.read.expired, answer.write.expired]}
    if kind == "poll":
        told = wait_answer(pb.WaitResponse(outcome=answer.outcome, parked=answer.parked,
                                           timeout_cause=answer.timeout_cause,
                                           late=answer.late), offset)
        return {"outcome": told["outcome"], "cause": told["cause"], "parked": told["parked"],
                "late": told["late"],
                "results": [[one.target, wait_answer(one.response, offset)]
                            for one in answer.results]}
    if kind == "get":
        described = answer.poll_descriptor
        return {"gen": described.generation, "kind": KIND_NAMES[described.kind], "sides": [
            {"state": pb.SemaphoreState.Name(side.state).removeprefix("SEMAPHORE_STATE_"),
             "unacked": side.unacked, "returned": side.returned,
             "at": _deadline(side.deadline, offset), "expired": side.deadline.expired}
            for side in (described.read, described.write)]}
    return {}


_METHODS = {"open": "OpenPollDescriptor", "close": "ClosePollDescriptor", "reset": "Reset",
            "wait": "Wait", "ready": "Ready", "deadline": "SetDeadline", "poll": "Poll",
            "ack": "Ack", "get": "GetPollDescriptor"}


def _request(op, identity, ids):
    """The message of a history's operation. Times there are nanoseconds."""
    wants, name = op.req, op.names[0]
    opens = wants.get("open")
    opens = pb.OpenOptions(kind=KINDS[opens]) if opens else None
    retry = {"request_id": identity} if ids else {}
    generation = wants.get("generation") or 0
    if op.kind == "open":
        return pb.OpenPollDescriptorRequest(
            name=name, options=pb.OpenOptions(kind=KINDS[wants["kind"]]),
            must_create=bool(wants.get("must_create")), **retry)
    if op.kind == "close":
        return pb.ClosePollDescriptorRequest(name=name, generation=generation, **retry)
    if op.kind == "reset":
        return pb.ResetRequest(name=name, mode=op.mode, generation=generation, **retry)
    if op.kind == "ready":
        condition = f"READY_CONDITION_{wants.get('condition') or 'UNSPECIFIED'}"
        return pb.ReadyRequest(
            name=name, mode=op.mode, signal=pb.Signal(data=wants["data"].encode()),
            open_if_missing=opens, generation=generation,
            condition=pb.ReadyCondition.Value(condition), **retry)
    if op.kind == "deadline":
        condition = f"DEADLINE_CONDITION_{wants.get('condition') or 'UNSPECIFIED'}"
        request = pb.SetDeadlineRequest(
            name=name, mode=op.mode, open_if_missing=opens, generation=generation,
            condition=pb.DeadlineCondition.Value(condition), **retry)
        if wants.get("timeout") is None:
            request.clear.CopyFrom(empty_pb2.Empty())
        elif wants.get("at"):
            request.at.CopyFrom(timestamp(wants["at"] / S))
        else:
            request.timeout.CopyFrom(duration(wants["timeout"] / S))
        return request
    if op.kind == "ack":
        return pb.AckRequest(name=name, mode=op.mode, wait_id=wants["wait_id"],
                             delivery=wants["delivery"], generation=wants["generation"])
    if op.kind == "get":
        return pb.GetPollDescriptorRequest(name=name)
    limits = {key: duration(wants[key] / S) for key in ("timeout", "ack_timeout")
              if wants.get(key) is not None}
    waits = {"wait_id": identity, **limits} if ids else limits
    if op.kind == "poll":
        modes = wants.get("modes") or [op.mode] * len(op.names)
        return pb.PollRequest(
            targets=[pb.PollRequest.Target(name=each, mode=mode)
                     for each, mode in zip(op.names, modes)],
            need=wants["need"], open_if_missing=opens, **waits)
    return pb.WaitRequest(name=name, mode=op.mode, generation=generation, open_if_missing=opens,
                          ignore_deadline=bool(wants.get("ignore_deadline")), **waits)


class UnaryClient:
    """Carries operations by unary calls on a connection of its own."""

    def __init__(self, run):
        self._run, self._channel = run, channel_to(run.address)
        self._stub = waitd_pb2_grpc.WaitServiceStub(self._channel)

    def close(self):
        self._channel.close()

    def carry(self, op, identity, ids=True):
        """Returns when it has its answer, or without ids when its call broke."""
        request = _request(op, identity, ids)
        call = getattr(self._stub, _METHODS[op.kind])
        limit = time.monotonic() + CALL_LIMIT_S
        while True:
            begin = time.monotonic_ns()
            if op.attempts and op.kind not in ("ack", "get"):
                request.first_sent_ago.CopyFrom(duration((begin - op.call) / S))
            if op.attempts and op.kind == "get":
                op.call, op.attempts = begin, []  # it only reads: each attempt is another call
            op.attempts.append([op.call if not op.attempts else begin, None])
            try:
                answer = call(request, timeout=CALL_LIMIT_S)
                History.end(op, ans=_answer(op.kind, answer, self._run.offset))
                return
            except grpc.RpcError as error:
                said = Refusal(error)
            op.attempts[-1][1] = time.monotonic_ns()
            if said.code == grpc.StatusCode.DEADLINE_EXCEEDED or time.monotonic() > limit:
                op.hung = op.kind in ("wait", "poll")
                raise Hung(f"no end of {op}: {said}")
            self._run.refused(said.reason)
            if said.reason and said.reason not in AGAIN:
                op.attempts[-1][1] = None
                History.end(op, err=said.reason)
                return
            if said.code not in BROKEN and said.reason not in AGAIN:
                raise AssertionError(f"answered {said}: {op}")
            self._run.broken += 1
            if not ids and op.kind not in ("ack", "get"):
                return
            time.sleep(0.005)


class SessionCarrier:
    """Carries operations by a session, which sends them again by itself."""

    def __init__(self, run):
        self._run = run
        self._session = Session(lambda: channel_to(run.address), linger=30, pause_s=0.01)

    def close(self):
        self._session.abandon()
        self._run.anew += self._session.anew

    def carry(self, op, identity, ids=True):
        assert ids, "a session sends again whatever has no answer"
        # Attempts are the session's own: two that are under way as long as the call tell nothing.
        op.attempts = [[op.call, None], [op.call, None]]
        one = self._session.start(_request(op, identity, True))
        try:
            answer = one.result(CALL_LIMIT_S)
        except SessionError as error:
            History.end(op, err=error.error.reason)
            return
        except AssertionError as error:
            op.hung = op.kind in ("wait", "poll")
            raise Hung(f"no end of {op}: {error}") from error
        History.end(op, ans=_answer(op.kind, answer, self._run.offset))


class Object:
    """Names that belong together, and their role."""

    def __init__(self, number, role):
        self.role, self.calls = role, 0
        prefix = f"{role}/{number}"
        if role == "poll":
            # Names of several shards, but those of every third.
            braces = "{%d}" % number if number % 3 == 0 else ""
            self.names = {f"{prefix}{braces}/{kind}": kind for kind in (FIFO, EXCLUSIVE, LATCH)}
        else:
            kind = {"latch": LATCH, "exclusive": EXCLUSIVE}.get(role, FIFO)
            self.names = {prefix: kind}
        self.room = threading.Semaphore(CALLS_AT_ONCE)
        self.generation = 0  # that an answer told last
        self.opened = set()  # names that were, and are never closed


ROLES = ["fifo", "exclusive", "latch", "acks", "ends", "deadlines", "lives", "poll", "poll",
         "sides"]


class Run:
    """What the clients of one run share."""

    def __init__(self, address, offset, seed, max_wait=False):
        self.address, self.offset, self.seed, self.max_wait = address, offset, seed, max_wait
        self.history = History(seed=seed, offset=offset)
        self.broken = self.anew = 0  # attempts that broke, sessions that began anew
        self.reasons = collections.Counter()  # of refused attempts; None: the connection broke
        self.store_failed_at = None  # when that was answered first
        self.stop = threading.Event()
        self.errors = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.objects, self._live = [], {}
        self._threads = []

    def number(self):
        return next(self._numbers)

    def refused(self, reason):
        self.reasons[reason] += 1
        if reason == "STORE_FAILED" and self.store_failed_at is None:
            self.store_failed_at = time.monotonic_ns()

    def pick(self, randomness):
        """An object with room for one more call, and which is not retired."""
        while True:
            at = randomness.randrange(len(ROLES))
            with self._lock:
                one = self._live.get(at)
                if one is None or one.calls >= CALLS_OF_AN_OBJECT:
                    one = self._live[at] = Object(self.number(), ROLES[at])
                    self.objects.append(one)
                one.calls += 1
            if one.room.acquire(blocking=False):
                return one

    def begin(self, what, names, mode=READ, **req):
        return self.history.begin(what, names, mode, **req)

    def start(self, unary, sessions, per_session):
        for worker in range(unary):
            self._start(UnaryClient(self), worker)
        for worker in range(sessions):
            carrier = SessionCarrier(self)
            for lane in range(per_session):
                self._start(carrier, 1000 + worker * 100 + lane, closes=False)

    def _start(self, carrier, worker, closes=True):
        one = Worker(self, carrier, random.Random(f"{self.seed}/{worker}"), closes)
        thread = threading.Thread(target=one.work, daemon=True)
        self._threads.append((thread, carrier))
        thread.start()

    def finish(self):
        """No new calls; returns when those under way have their answers."""
        self.stop.set()
        for thread, _ in self._threads:
            thread.join(2 * CALL_LIMIT_S)
            if thread.is_alive():
                self.errors.append("a client hangs")
        for carrier in {carrier for _, carrier in self._threads}:
            carrier.close()

    def quiesce(self, after_s=max(ACK_TIMEOUTS_MS) / 1000 + 0.2):
        """Drains every name, so that what was lost is missed and what is too much shows; after a
        while, in which every hand-off comes back."""
        time.sleep(after_s)
        client = UnaryClient(self)
        for one in self.objects:
            for name, kind in one.names.items():
                self._drain(client, name, kind)
        client.close()
        now = time.monotonic_ns()
        self.history.add(Op(kind="quiesce", names=[], call=now, ret=now))

    def _drain(self, client, name, kind):
        def carry(what, mode=READ, **req):
            op = self.begin(what, [name], mode, **req)
            client.carry(op, f"drain{self.number()}")
            return op
        if carry("get").err:
            return
        carry("deadline", READ_WRITE, timeout=None)
        for mode in (READ, WRITE):
            for _ in range(1000):
                got = carry("wait", mode, timeout=0)
                if kind == LATCH or not got.ans or got.ans["outcome"] != "READY":
                    break
            else:
                self.errors.append(f"{name} has READY without an end")
        carry("get")


class Worker:
    """One thread of random operations."""

    def __init__(self, run, carrier, randomness, may_have_no_id):
        self._run, self._carrier, self._random = run, carrier, randomness
        self._may_have_no_id = may_have_no_id

    def work(self):
        try:
            while not self._run.stop.is_set():
                one = self._run.pick(self._random)
                try:
                    self._one(one)
                finally:
                    one.room.release()
                if self._random.random() < 0.3:
                    time.sleep(self._random.random() * 0.004)
        except Exception as error:  # whatever it is, the run has failed
            self._run.errors.append(f"{type(error).__name__}: {error}")
            self._run.stop.set()

    def _do(self, what, names, mode=READ, ids=True, **req):
        """Carries out one operation, and now and then repeats it."""
        run = self._run
        identity = f"{run.seed}-{run.number()}"
        op = run.begin(what, names, mode, **req)
        self._carrier.carry(op, identity, ids)
        has_id = ids and what not in ("ack", "get")
        if (op.ans or {}).get("cause") == "MAX_WAIT":
            # It is no outcome: the same id waits anew, as a call of its own.
            again = run.begin(what, names, mode, **req)
            self._carrier.carry(again, identity, ids)
            return again, identity
        if has_id and op.ans is not None and self._random.random() < 0.03:
            again = run.history.begin(what, names, mode, again=op.index, **req)
            again.call = op.call  # its limit counts from there
            again.attempts = [[op.call, op.ret]]
            self._carrier.carry(again, identity, ids)
        return op, identity

    def _ids(self):
        return not self._may_have_no_id or self._random.random() < 0.85

    def _one(self, one):
        getattr(self, f"_on_{one.role}")(one, self._random.choice(list(one.names)))

    # What is done to a name, by its role

    def _timeout(self):
        if self._run.max_wait and self._random.random() < 0.05:
            return None
        return self._random.choice(TIMEOUTS_MS) * MS

    def _wait(self, one, name, mode=READ, **req):
        return self._do("wait", [name], mode, self._ids(), timeout=self._timeout(),
                        open=one.names[name], **req)

    def _ready(self, one, name, mode=READ, **req):
        if self._random.random() < 0.1:
            req["condition"] = self._random.choice(["WAITING", "NOT_EXPIRED"])
        return self._do("ready", [name], mode, self._ids(), data=f"d{self._run.number()}",
                        open=one.names[name], **req)

    def _deadline(self, one, name, mode=READ):
        req = {"timeout": self._random.choice(DEADLINES_MS) * MS}
        condition = self._random.choice([None, None, "ONLY_LATER", "ONLY_EARLIER",
                                         "ARM_OR_EXTEND"])
        if condition:
            req["condition"] = condition
        if self._random.random() < 0.2:
            req["timeout"] = None
        elif self._random.random() < 0.2:
            now = time.monotonic_ns()
            req["at"] = now + req["timeout"] + self._run.offset
        if condition == "ARM_OR_EXTEND":
            req.pop("at", None)
            req["timeout"] = req["timeout"] or 300 * MS
        return self._do("deadline", [name], mode, open=one.names[name], **req)

    def _get(self, name):
        if self._may_have_no_id:
            self._do("get", [name])

    def _on_fifo(self, one, name):
        which = self._random.random()
        if which < 0.48:
            self._wait(one, name)
        elif which < 0.94:
            self._ready(one, name)
        elif which < 0.97:
            self._do("reset", [name])
        else:
            self._get(name)

    _on_exclusive = _on_fifo

    def _on_sides(self, one, name):
        mode = self._random.choice([READ, WRITE])
        which = self._random.random()
        if which < 0.45:
            self._wait(one, name, mode)
        elif which < 0.85:
            self._ready(one, name, self._random.choice([mode, mode, READ_WRITE]))
        elif which < 0.9:
            self._do("reset", [name], self._random.choice([mode, READ_WRITE]))
        elif which < 0.97:
            self._deadline(one, name, READ_WRITE)
        else:
            self._get(name)

    def _on_latch(self, one, name):
        which = self._random.random()
        if which < 0.7:
            self._wait(one, name)
        elif which < 0.8:
            self._ready(one, name)
        elif which < 0.95:
            self._do("reset", [name])
        else:
            self._get(name)

    def _on_acks(self, one, name):
        if self._random.random() < 0.45:
            self._ready(one, name)
            return
        if self._random.random() < 0.1:
            self._get(name)
            return
        ack_timeout = self._random.choice(ACK_TIMEOUTS_MS) * MS
        op, identity = self._do("wait", [name], ack_timeout=ack_timeout, open=one.names[name],
                                timeout=self._timeout())
        if op.ans and op.ans["outcome"] == "READY":
            self._ack(op, identity, name, ack_timeout)

    def _on_ends(self, one, name):
        """Hand-offs that Reset and Close come after."""
        which = self._random.random()
        if which < 0.06:
            self._do("reset", [name])
        elif which < 0.09:
            self._do("close", [name])
        else:
            self._on_acks(one, name)

    def _ack(self, op, identity, name, ack_timeout):
        which = self._random.random()
        if which < 0.25:
            return  # it comes back
        if which < 0.35:
            time.sleep(ack_timeout / S * self._random.choice([0.5, 1, 1.5]))
        self._do("ack", [name], of=op.index, wait_id=identity, delivery=op.ans["delivery"],
                 generation=op.ans["gen"])

    def _poll_and_ack(self, names, need):
        ack_timeout = self._random.choice(ACK_TIMEOUTS_MS) * MS
        op, identity = self._do("poll", names, need=need, timeout=self._timeout(),
                                ack_timeout=ack_timeout)
        for target, got in op.ans["results"] if op.ans and op.ans["outcome"] == "READY" else ():
            if self._random.random() < 0.7:
                self._do("ack", [names[target]], of=op.index, wait_id=identity,
                         delivery=got["delivery"], generation=got["gen"])

    def _on_deadlines(self, one, name):
        which = self._random.random()
        if which < 0.35:
            self._wait(one, name, ignore_deadline=self._random.random() < 0.1)
        elif which < 0.6:
            self._ready(one, name)
        elif which < 0.88:
            self._deadline(one, name)
        elif which < 0.93:
            self._do("reset", [name])
        else:
            self._get(name)

    def _on_lives(self, one, name):
        which = self._random.random()
        guess = one.generation if self._random.random() < 0.2 else 0
        if which < 0.4:
            op, _ = self._wait(one, name, generation=guess)
        elif which < 0.8:
            op, _ = self._ready(one, name, generation=guess)
        elif which < 0.88:
            op, _ = self._do("close", [name], generation=guess)
        elif which < 0.96:
            op, _ = self._do("open", [name], kind=one.names[name],
                             must_create=self._random.random() < 0.5)
        else:
            self._get(name)
            return
        if op.ans and op.ans.get("gen"):
            one.generation = op.ans["gen"]

    def _on_poll(self, one, name):
        which = self._random.random()
        if which < 0.3:
            names = self._random.sample(sorted(one.names), self._random.choice([1, 2, 2, 3]))
            # All are opened first: a poll opens what is missing as one kind only.
            for each in names:
                if each not in one.opened:
                    self._do("open", [each], kind=one.names[each])
                    one.opened.add(each)
            need = self._random.randint(1, len(names))
            if self._random.random() < 0.3 and LATCH not in {one.names[each] for each in names}:
                self._poll_and_ack(names, need)
            else:
                self._do("poll", names, ids=self._ids(), need=need, timeout=self._timeout())
        elif which < 0.7:
            self._ready(one, name)
        elif which < 0.85:
            self._wait(one, name)
        elif which < 0.93:
            self._do("reset", [name])
        elif which < 0.97:
            self._deadline(one, name)
        else:
            self._get(name)
