#!/usr/bin/python3
"""Makes format1.tar.xz, a store of format 1 that holds something of everything, and format1.json,
which says what a later waitd has to find in it. test_formats.py opens it.

    make_format1.py FOLDER_OF_A_WAITD_THAT_WRITES_FORMAT_1

Instants that are to come lie a century ahead, so that the store is good for years. It was made with
the clock set back by three years, as libfaketime does, so that no machine's clock stands before it.
And it is made under a made-up host name and boot, which needs root: nothing in it is of the machine
that made it, and wherever it is opened its times are of another boot.
"""

import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ALONE = "--alone"
if ALONE not in sys.argv:
    assert len(sys.argv) == 2, __doc__
    os.execvp("unshare", ["unshare", "--mount", "--uts", sys.executable, "-B", __file__,
                          str(pathlib.Path(sys.argv[1]).resolve()), ALONE])

os.environ["WAITD_BIN_DIR"] = sys.argv[1]
sys.path[:0] = [str(HERE.parent)]

import grpc  # noqa: E402
from google.protobuf import json_format, timestamp_pb2  # noqa: E402

from conftest import Server, pb, refusal, until  # noqa: E402
from credentials import token_line  # noqa: E402
from durable import end, on, seconds, start_wait  # noqa: E402

BOOT = "00000000-0000-4000-8000-000000000001"
CENTURY_S = 100 * 365 * 24 * 3600
FLAGS = ("--retention=876000h", "--linger=876000h", "--default-idle-ttl=0", "--drain-timeout=0")
SHORT_S = 0.02
SHARDS = 64

EXCLUSIVE, FIFO, LATCH = pb.KIND_EXCLUSIVE, pb.KIND_FIFO, pb.KIND_LATCH
READ, WRITE, BOTH = pb.MODE_READ, pb.MODE_WRITE, pb.MODE_READ_WRITE
CLOSED, READY, TIMED_OUT = pb.OUTCOME_CLOSED, pb.OUTCOME_READY, pb.OUTCOME_TIMED_OUT

LARGE = pb.Signal(data=bytes(range(256)) * 4, content_type="application/octet-stream",
                  attributes={"trace": "1"}, failure=pb.Signal.Failure(code=3, message="no"))


def shard_of(name):
    """As the core has it: that it stays so is what a store relies on."""
    if 0 <= name.find("{") < name.find("}", name.find("{")) - 1:
        name = name[name.find("{") + 1:name.find("}", name.find("{"))]
    value, nothing = 0xD1B54A32D192ED03, 0xD1B54A32D192ED03

    def add(word):
        nonlocal value
        product = (value ^ word) * 0x9E3779B97F4A7C15
        value = (product ^ product >> 64) & (1 << 64) - 1

    data = name.encode()
    add(len(data) + nothing & (1 << 64) - 1)
    if len(data) < 8:
        add(int.from_bytes(data, "little"))
    else:
        for at in [*range(0, len(data) - 8, 8), len(data) - 8]:
            add(int.from_bytes(data[at:at + 8], "little"))
    return value % SHARDS


def to_json(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def timestamp(at):
    return timestamp_pb2.Timestamp(seconds=int(at), nanos=round(at % 1 * 1e6) * 1000)


class Maker:
    """The calls that fill a store, and what is to be found of them."""

    def __init__(self, folder):
        self.folder, self.server, self.caller = folder, None, ""
        self.names = []
        self.found = {
            "made": time.time(),
            "gone": [],  # names that are not open
            "repeats": [],  # calls with an id, and what each is answered
            "refused": [],  # calls with an id that are refused, and why
            "reused": [],  # the same ids with other content
            "forgotten": {},
            "max_wait": [],  # waits and polls that MAX_WAIT ended
            "kept": [],  # outcomes that nobody was there to get
            "acks": [],  # hand-offs, and what an Ack is answered
            "takes": [],  # what the next waits of a side get, in this order
        }

    def start(self, *flags):
        self.server = Server(self.folder, *on(self.folder / "data", *FLAGS, *flags))

    def entry(self, method, request, **more):
        """A call of now as the manifest has it."""
        one = {"method": method, "sent": round(time.time(), 3), "request": to_json(request), **more}
        return {**one, "caller": self.caller} if self.caller else one

    def send(self, method, request):
        metadata = (("authorization", f"Bearer {self.caller}"),) if self.caller else None
        return getattr(self.server.stub, method).future(request, timeout=30, metadata=metadata)

    def call(self, method, *, remember=True, **fields):
        """A call that is answered; with an id the answer is there for whoever repeats it."""
        request = getattr(pb, f"{method}Request")(**fields)
        one = self.entry(method, request)
        answer = self.send(method, request).result()
        if remember and (fields.get("request_id") or fields.get("wait_id")):
            self.found["repeats"].append({**one, "answer": to_json(answer)})
        return answer

    def refused(self, method, reason, **fields):
        """A repeated call that is refused from now on."""
        request = getattr(pb, f"{method}Request")(**fields)
        one = self.entry(method, request)
        assert refusal(self.send(method, request).result)[1] == reason
        self.found["refused"].append({**one, "reason": reason})

    def open(self, name, kind=EXCLUSIVE, request_id="", **options):
        self.names.append(name)
        return self.call("OpenPollDescriptor", name=name, request_id=request_id,
                         options=pb.OpenOptions(kind=kind, **options)).poll_descriptor

    def close(self, name, **fields):
        self.names.remove(name)
        self.found["gone"].append(name)
        return self.call("ClosePollDescriptor", name=name, **fields)

    def ready(self, name, data=b"", signal=None, **fields):
        signal = signal or pb.Signal(data=data)
        return self.call("Ready", name=name, signal=signal, **fields)

    def wait(self, name, **fields):
        return self.call("Wait", name=name, **fields)

    def deadline(self, name, **fields):
        return self.call("SetDeadline", name=name, **fields)

    def parked(self, method, names, **fields):
        """A wait or poll that is parked: the call, and its entry."""
        request = getattr(pb, f"{method}Request")(**fields)
        side = "write" if fields.get("mode") == WRITE else "read"
        before = {name: getattr(self.server.get(name), side).waiters for name in names}
        one, call = self.entry(method, request), self.send(method, request)
        for name in names:
            self.server.parked(name, before[name] + 1, side)
        return call, one

    def ended(self, call, one):
        """The answer of one that was parked."""
        answer = call.result()
        self.found["repeats"].append({**one, "answer": to_json(answer)})
        return answer

    def hand_off(self, name, wait_id, ack_timeout, data=None, mode=READ, signal=None, **fields):
        """A READY of a name, or the one that stands there, is handed over to a wait."""
        if data is not None or signal is not None:
            self.ready(name, data, signal, mode=mode)
        lasts = ack_timeout >= 1
        answer = self.call("Wait", remember=lasts, name=name, mode=mode, wait_id=wait_id,
                           ack_timeout=seconds(ack_timeout), **fields)
        assert answer.outcome == READY
        return answer

    def taken_back(self, name, count=1, side="read"):
        until(lambda: getattr(self.server.get(name), side).returned == count)

    def acks(self, answer, name, wait_id, mode=READ, reason="", now=False):
        """What an Ack of that hand-off is answered; now: it is acknowledged already."""
        request = pb.AckRequest(name=name, mode=mode, wait_id=wait_id, delivery=answer.delivery)
        if now:
            self.send("Ack", request).result()
        elif reason:
            assert refusal(self.send("Ack", request).result)[1] == reason
        self.found["acks"].append(self.entry("Ack", request, reason=reason))

    def takes(self, name, *answers, mode=READ):
        """answers: (data or signal, attempt, coalesced) of each READY that stands there."""
        side = self.server.get(name)
        side = side.write if mode == WRITE else side.read
        assert side.state == pb.SEMAPHORE_STATE_READY
        assert len(answers) - 1 <= side.returned <= len(answers)
        self.found["takes"].append({"name": name, "mode": mode, "answers": [
            {"signal": to_json(data if isinstance(data, pb.Signal) else pb.Signal(data=data)),
             "attempt": attempt, "coalesced": coalesced} for data, attempt, coalesced in answers]})

    def keep(self, method, sent, **fields):
        """An outcome that was decided when its client had gone. sent: (name, data) pairs."""
        names = [name for name, _ in sent]
        call, one = self.parked(method, names, **fields)
        call.cancel()
        until(lambda: self._is_left(names[0]))
        for name, data in sent:
            self.ready(name, data)
        self.found["kept"].append({**one, "targets": [
            {"name": name, "signal": to_json(pb.Signal(data=data))} for name, data in sent]})

    def _is_left(self, name):
        """Whether it is known that the client of what stands on an exclusive name has gone."""
        try:
            start_wait(self.server, name, opened=None).result()
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            return b"connected\x12\x05false" in details
        raise AssertionError("nobody stood there")


def move_a_horizon(make):
    """With room for two outcomes the first of three is forgotten before its time."""
    moved, unmoved = "horizon/moved", "horizon/unmoved"
    assert shard_of(moved) != shard_of(unmoved)
    make.start("--max-outcomes=2")
    make.open(moved, FIFO)
    make.open(unmoved, FIFO)
    for number in range(3):
        make.ready(moved, b"%d" % number, request_id=f"r{number}")
    make.takes(moved, (b"2", 1, 2))
    first, *make.found["repeats"] = make.found["repeats"]
    make.found["forgotten"] = {**first, "unmoved": unmoved}
    end(make.server)


def end_by_max_wait(make):
    make.start("--max-wait=10ms")
    make.open("max-wait/wait")
    for name in ("max-wait/poll/0", "max-wait/poll/1"):
        make.open(name)
    for method, fields in (
            ("Wait", {"name": "max-wait/wait", "wait_id": "m"}),
            ("Poll", {"targets": targets("max-wait/poll/0", "max-wait/poll/1"), "need": 2,
                      "wait_id": "m"})):
        request = getattr(pb, f"{method}Request")(**fields)
        one = make.entry(method, request)
        answer = make.send(method, request).result()
        assert answer.timeout_cause == pb.TIMEOUT_CAUSE_MAX_WAIT
        make.found["max_wait"].append(one)
    end(make.server)


def tell_callers_apart(make):
    """The same ids of two callers."""
    tokens, acl = make.folder / "tokens", make.folder / "acl"
    callers = ("alpha", "beta")
    tokens.write_text("".join(token_line(caller, caller) for caller in callers))
    acl.write_text("".join(f"{caller} * wait,ready,deadline,open,list\n" for caller in callers))
    make.start("--auth=token", f"--token-file={tokens}", f"--acl-file={acl}")
    name = "callers"
    make.caller = "alpha"
    # Get is asked for without a token elsewhere, so nothing here needs it.
    make.open(name, FIFO, request_id="o")
    for make.caller in callers:
        make.ready(name, make.caller.encode(), request_id="r")
        answer = make.wait(name, wait_id="w", ack_timeout=seconds(CENTURY_S))
        assert answer.ready_by == make.caller
        make.acks(answer, name, "w")
    make.caller = ""
    end(make.server, -9, 9)


def targets(*names):
    return [pb.PollRequest.Target(name=name) for name in names]


def fill_descriptors(make):
    never = timestamp(4102444800)  # 2100
    make.open("kind/exclusive", EXCLUSIVE, labels={"team": "web", "empty": ""})
    make.open("kind/fifo", FIFO, idle_ttl=seconds(CENTURY_S))
    make.open("kind/latch", LATCH, labels={"team": "db"})
    make.open("näme/{tag}/ü", FIFO)
    make.ready("näme/{tag}/ü", "ü".encode())
    make.takes("näme/{tag}/ü", ("ü".encode(), 1, 0))

    make.open("deadline/armed")
    make.deadline("deadline/armed", at=never)
    make.deadline("deadline/armed", timeout=seconds(CENTURY_S), mode=WRITE)
    make.open("deadline/expired")
    make.deadline("deadline/expired", timeout=seconds(0))
    make.deadline("deadline/expired", at=timestamp(1e9), mode=WRITE)
    make.ready("deadline/expired", b"late", mode=WRITE)
    make.open("deadline/cleared")
    make.deadline("deadline/cleared", at=never, mode=BOTH)
    make.call("SetDeadline", name="deadline/cleared", clear={})

    make.open("ready/read")
    make.ready("ready/read", b"a")
    make.ready("ready/read", b"b")
    make.ready("ready/read", signal=LARGE)
    make.takes("ready/read", (LARGE, 1, 2))
    make.open("ready/write")
    make.ready("ready/write", b"w", mode=WRITE)
    make.takes("ready/write", (b"w", 1, 0), mode=WRITE)
    make.open("ready/reset")
    make.ready("ready/reset", b"forgotten")
    make.call("Reset", name="ready/reset")

    make.open("latch/open", LATCH)
    waits = [make.parked("Wait", ["latch/open"], name="latch/open", wait_id=f"w{number}")
             for number in range(3)]
    make.ready("latch/open", signal=LARGE)
    assert {make.ended(*each).delivery for each in waits} == {1}
    make.takes("latch/open", (LARGE, 1, 0))
    make.open("latch/reset", LATCH)
    make.ready("latch/reset", b"x")
    make.call("Reset", name="latch/reset")

    make.open("closed")
    make.ready("closed", b"x")
    make.close("closed")


def fill_ids(make):
    """Every kind of call with an id, and every kind of answer."""
    make.open("id/open", FIFO, request_id="o" * 128, labels={"a": "1", "b": ""},
              idle_ttl=seconds(CENTURY_S))
    # Of one that stands: with deadlines, a READY, one handed over and one that came back.
    make.hand_off("id/open", "w1", SHORT_S, b"1")
    make.taken_back("id/open")
    make.acks(make.hand_off("id/open", "w2", CENTURY_S), "id/open", "w2")
    make.hand_off("id/open", "w3", SHORT_S, b"3")
    make.taken_back("id/open")
    make.ready("id/open", signal=LARGE)
    make.deadline("id/open", at=timestamp(4102444800))
    make.deadline("id/open", timeout=seconds(0), mode=WRITE)
    make.call("OpenPollDescriptor", name="id/open", request_id="again",
              options=pb.OpenOptions(kind=FIFO))
    make.takes("id/open", (b"3", 2, 0), (LARGE, 1, 0))
    make.refused("Wait", "STALE_DELIVERY", name="id/open", wait_id="w1",
                 ack_timeout=seconds(SHORT_S))

    make.open("id/ready")
    call, one = make.parked("Wait", ["id/ready"], name="id/ready", wait_id="same")
    make.ready("id/ready", b"woke", request_id="same")
    make.ended(call, one)
    make.ready("id/ready", b"remembered", request_id="remembered")
    make.ready("id/ready", signal=LARGE, request_id="coalesced")
    make.ready("id/ready", request_id="refused", condition=pb.READY_CONDITION_WAITING)
    make.deadline("id/ready", timeout=seconds(0), mode=WRITE)
    make.ready("id/ready", b"late", mode=WRITE, request_id="expired")
    make.ready("id/ready", b"late", mode=WRITE, request_id="not expired",
               condition=pb.READY_CONDITION_NOT_EXPIRED)
    make.takes("id/ready", (LARGE, 1, 1))
    make.ready("id/opened by ready", b"x", request_id="r",
               open_if_missing=pb.OpenOptions(kind=LATCH, labels={"by": "ready"}))
    make.names.append("id/opened by ready")

    make.open("id/deadline")
    for request_id, fields in (
            ("armed", {"timeout": seconds(CENTURY_S), "mode": BOTH}),
            ("at", {"at": timestamp(4102444800), "mode": WRITE}),
            ("extended", {"timeout": seconds(CENTURY_S + 3600)}),
            ("shortened", {"timeout": seconds(CENTURY_S)}),
            ("refused", {"timeout": seconds(3600),
                         "condition": pb.DEADLINE_CONDITION_ONLY_LATER}),
            ("cleared", {"clear": {}}),
            ("unchanged", {"clear": {}}),
            ("expired", {"timeout": seconds(0)})):
        make.deadline("id/deadline", request_id=request_id, **fields)

    make.open("id/reset", LATCH)
    make.ready("id/reset")
    make.call("Reset", name="id/reset", request_id="forgot")
    make.call("Reset", name="id/reset", request_id="nothing")

    make.open("id/closed")
    call, one = make.parked("Wait", ["id/closed"], name="id/closed", wait_id="w")
    assert make.close("id/closed", request_id="c").woken == 1
    assert make.ended(call, one).outcome == CLOSED

    make.open("id/wait")
    make.ready("id/wait", b"small")
    make.wait("id/wait", wait_id="small")
    make.ready("id/wait", signal=LARGE, mode=WRITE)
    make.wait("id/wait", wait_id="large", mode=WRITE)
    assert make.wait("id/wait", wait_id="t", timeout=seconds(0.01)).outcome == TIMED_OUT
    make.open("id/deadline came")
    call, one = make.parked("Wait", ["id/deadline came"], name="id/deadline came", wait_id="w")
    make.deadline("id/deadline came", timeout=seconds(0.01))
    assert make.ended(call, one).timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE
    for method, fields in (("Wait", {"wait_id": "small", "mode": WRITE}),
                           ("Ready", {"request_id": "r"})):
        if method == "Ready":
            make.ready("id/wait", b"other side", mode=WRITE, **fields)
            fields["mode"] = READ
        make.found["reused"].append(make.entry(
            method, getattr(pb, f"{method}Request")(name="id/wait", **fields)))


def fill_polls(make):
    names = [f"poll/{number}" for number in range(12)]
    assert len({shard_of(name) for name in names[:3]}) == 3
    assert len({shard_of(name) for name in names[3:6]}) == 3
    for name in names:
        make.open(name)

    def poll(which, **fields):
        some = [names[number] for number in which]
        return make.parked("Poll", some, targets=targets(*some), **fields)

    one = poll((0, 1), need=1, wait_id="any")
    make.ready(names[1], b"any")
    assert [each.target for each in make.ended(*one).results] == [1]
    two = poll((0, 1, 2), need=2, wait_id="two")
    make.ready(names[2], signal=LARGE)
    make.ready(names[0], b"two")
    assert [each.target for each in make.ended(*two).results] == [0, 2]
    late = make.call("Poll", targets=targets(*names[:3]), need=3, wait_id="late",
                     timeout=seconds(0.01))
    assert late.timeout_cause == pb.TIMEOUT_CAUSE_WAIT
    lost = poll((6, 7), need=2, wait_id="deadline")
    make.deadline(names[7], timeout=seconds(0.01))
    assert make.ended(*lost).timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE
    shut = poll((6, 8), need=2, wait_id="closed")
    make.close(names[8])
    assert make.ended(*shut).outcome == CLOSED

    # One is acknowledged and one is not, each in a shard of its own.
    both = poll((3, 4, 5), need=2, wait_id="acks", ack_timeout=seconds(CENTURY_S))
    make.ready(names[4], b"4")
    make.ready(names[5], signal=LARGE)
    first, second = make.ended(*both).results
    make.acks(first.response, names[4], "acks", now=True)
    make.acks(second.response, names[5], "acks")
    # One is acknowledged, and the other one comes back.
    fields = {"targets": targets(names[9], names[10]), "need": 2, "wait_id": "stale",
              "ack_timeout": seconds(1)}
    call, _ = make.parked("Poll", names[9:11], **fields)
    make.ready(names[9], b"9")
    make.ready(names[10], b"10")
    first, second = call.result().results
    make.acks(first.response, names[9], "stale", now=True)
    make.taken_back(names[10])
    make.acks(second.response, names[10], "stale", reason="STALE_DELIVERY")
    make.takes(names[10], (b"10", 2, 0))
    make.refused("Poll", "STALE_DELIVERY", **fields)


def fill_hand_offs(make):
    for side, mode in (("read", READ), ("write", WRITE)):
        name = f"hand-off/{side}"
        make.open(f"{name}/pending")
        answer = make.hand_off(f"{name}/pending", "w", CENTURY_S, mode=mode, signal=LARGE)
        make.acks(answer, f"{name}/pending", "w", mode)
        make.open(f"{name}/acked")
        answer = make.hand_off(f"{name}/acked", "w", CENTURY_S, b"acked", mode)
        make.acks(answer, f"{name}/acked", "w", mode, now=True)
        make.open(f"{name}/stale")
        answer = make.hand_off(f"{name}/stale", "w", SHORT_S, b"stale", mode)
        make.taken_back(f"{name}/stale", side=side)
        make.acks(answer, f"{name}/stale", "w", mode, "STALE_DELIVERY")
        make.takes(f"{name}/stale", (b"stale", 2, 0), mode=mode)
        make.refused("Wait", "STALE_DELIVERY", name=f"{name}/stale", mode=mode, wait_id="w",
                     ack_timeout=seconds(SHORT_S))

    # What came back was handed over again, and waits for its Ack.
    name = "hand-off/again"
    make.open(name)
    first = make.hand_off(name, "w1", SHORT_S, signal=LARGE)
    make.taken_back(name)
    second = make.hand_off(name, "w2", CENTURY_S)
    assert (second.attempt, second.delivery) == (2, first.delivery + 1)
    make.acks(first, name, "w1", reason="STALE_DELIVERY")
    make.acks(second, name, "w2")

    # Several that came back, one of them twice, stand before the one that is remembered.
    name = "hand-off/many"
    make.open(name, FIFO)
    make.hand_off(name, "w1", SHORT_S, b"1")
    make.taken_back(name)
    make.hand_off(name, "w2", SHORT_S)
    make.taken_back(name)
    calls = [make.parked("Wait", [], name=name, wait_id=wait_id, ack_timeout=seconds(1))[0]
             for wait_id in ("w3", "w4")]
    assert calls[0].result().signal.data == b"1"
    make.server.parked(name)
    make.ready(name, signal=LARGE)
    assert calls[1].result().attempt == 1
    make.taken_back(name, 2)
    make.ready(name, b"replaced")
    make.ready(name, b"last")
    make.takes(name, (b"1", 4, 0), (LARGE, 2, 0), (b"last", 1, 1))

    # What was handed over of a name that was closed since is its waits', and waits for nothing.
    name = "hand-off/closed"
    make.open(name)
    make.hand_off(name, "w", CENTURY_S, b"mine")
    make.close(name)

    # The same name in a later life, which has nothing of the former one.
    name = "hand-off/reopened"
    make.open(name)
    make.hand_off(name, "w", CENTURY_S, b"former")
    make.close(name)
    make.found["gone"].remove(name)
    make.open(name)
    make.ready(name, b"new")
    make.takes(name, (b"new", 1, 0))


def keep_some(make):
    for name in ("kept/wait", "kept/poll/0", "kept/poll/1"):
        make.open(name)
    make.keep("Wait", [("kept/wait", b"kept")], name="kept/wait", wait_id="k")
    pairs = [("kept/poll/0", b"zero"), ("kept/poll/1", b"one")]
    make.keep("Poll", pairs, targets=targets("kept/poll/0", "kept/poll/1"), need=2, wait_id="k")


def hello(*operations):
    """A session that goes on until its call is cancelled."""
    yield pb.SessionRequest(hello=pb.SessionHello(client="client"))
    yield pb.SessionRequest(operations=operations)
    while True:
        time.sleep(3600)


def fill_and_crash(make):
    """What goes on when the process is killed."""
    make.start()
    fill_descriptors(make)
    fill_ids(make)
    fill_polls(make)
    fill_hand_offs(make)
    keep_some(make)
    session = make.server.stub.Session(hello(
        pb.Operation(id=1, open=pb.OpenPollDescriptorRequest(
            name="ephemeral", options=pb.OpenOptions(ephemeral=True))),
        pb.Operation(id=2, ready=pb.ReadyRequest(name="ephemeral"))))
    until(lambda: any(each.id == 2 for each in next(session).results))
    make.found["gone"].append("ephemeral")
    make.open("parked", FIFO)
    make.parked("Wait", ["parked"], name="parked", wait_id="p")
    make.open("due/deadline")
    make.open("due/hand-off")
    last = make.open("last").generation
    make.close("last")
    make.found["generation"] = str(last)

    found = make.found["descriptors"] = {name: make.server.get(name) for name in make.names}
    found["parked"].read.Clear()
    found["parked"].read.state = pb.SEMAPHORE_STATE_NIL
    # Their instants come when nobody is there to see them.
    due = time.time() + 3
    make.deadline("due/deadline", at=timestamp(due))
    make.ready("due/hand-off", b"due")
    answer = make.wait("due/hand-off", wait_id="w", ack_timeout=seconds(3))
    assert answer.outcome == READY
    del make.found["repeats"][-1]
    due_hand_off = pb.AckRequest(name="due/hand-off", wait_id="w", delivery=answer.delivery)
    found["due/deadline"].CopyFrom(make.server.get("due/deadline"))
    end(make.server, -9, 9)
    session.cancel()
    assert time.time() < due
    until(lambda: time.time() > due + 1)

    found["due/deadline"].read.deadline.expired = True
    found["due/hand-off"].read.MergeFrom(
        pb.PollDescriptor.Side(state=pb.SEMAPHORE_STATE_READY, returned=1))
    make.found["acks"].append(make.entry("Ack", due_hand_off, reason="STALE_DELIVERY"))
    make.found["takes"].append({"name": "due/hand-off", "mode": READ, "answers": [
        {"signal": to_json(pb.Signal(data=b"due")), "attempt": 2, "coalesced": 0}]})
    for each in found.values():
        for side in (each.read, each.write):
            side.deadline.ClearField("remaining")
            if not side.HasField("deadline") or not side.deadline.HasField("at"):
                side.ClearField("deadline")
    make.found["descriptors"] = {name: to_json(each) for name, each in found.items()}


def pack(data, to):
    """The files that hold the store, without what RocksDB makes anew and tells of the machine."""
    with tarfile.open(to, "w:xz", format=tarfile.USTAR_FORMAT, preset=9) as tar:
        for path in sorted(data.rglob("*")):
            if path.name in ("LOCK", "IDENTITY") or path.name.startswith(("LOG", "OPTIONS")):
                continue
            entry = tarfile.TarInfo(str(path.relative_to(data)))
            entry.mode = 0o700 if path.is_dir() else 0o600
            entry.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE
            content = b"" if path.is_dir() else path.read_bytes()
            for of_the_machine in (tempfile.gettempdir(), str(HERE), sys.argv[1]):
                assert of_the_machine.encode() not in content, (path, of_the_machine)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def main():
    with tempfile.TemporaryDirectory(prefix="waitd-") as folder:
        folder = pathlib.Path(folder)
        (folder / "boot").write_text(BOOT + "\n")
        subprocess.run(["mount", "--bind", folder / "boot", "/proc/sys/kernel/random/boot_id"],
                       check=True)
        socket.sethostname("host")
        make = Maker(folder)
        try:
            move_a_horizon(make)
            end_by_max_wait(make)
            tell_callers_apart(make)
            fill_and_crash(make)
        finally:
            if make.server.process.poll() is None:
                make.server.process.kill()
            subprocess.run(["umount", "/proc/sys/kernel/random/boot_id"], check=True)
        pack(folder / "data", HERE / "format1.tar.xz")
        text = json.dumps(make.found, indent=1, ensure_ascii=False)
        (HERE / "format1.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
