"""Exactly once over connections that break: C71 and C74 through a proxy that harms them.

Goal: every operation has one outcome, and no READY is lost or used twice. Method: a client that
keeps its session does random operations, all with ids, through a proxy that cuts, freezes, delays
and half-closes at message boundaries from a seed; then what the server accepted has to balance.
"""

import collections
import os
import random
import signal as signals
import types

import grpc
import pytest
from harness import (
    COALESCED, FIFO, READY, REMEMBERED, WOKE, duration, eventually)
from proxy import HARMS, Proxy
from session import Session, Stream, hello, result_of
from waitd.v1 import waitd_pb2 as pb

NAMES = 4
SEEDS = [int(os.environ["WAITD_SEED"])] if "WAITD_SEED" in os.environ else [1, 2, 3]


def connect_to(address):
    """A channel that tries again at once."""
    return lambda: grpc.insecure_channel(address, options=[
        ("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 10),
        ("grpc.min_reconnect_backoff_ms", 10), ("grpc.max_reconnect_backoff_ms", 50)])


def random_plan(randomness, gentle):
    """One message in so many is harmed."""
    def plan(number):
        del number
        return randomness.choice(HARMS[:-1]) if randomness.random() < 1 / gentle else "nothing"
    return plan


class Traffic:
    """Random operations of one session on a few names, and the sums of what came of them."""

    def __init__(self, session, name, randomness):
        self._session, self._randomness = session, randomness
        self.names = [f"{name}/{i}" for i in range(NAMES)]
        self.operations, self._number = [], 0

    def one(self):
        name = self._randomness.choice(self.names)
        self._number += 1
        which = self._randomness.random()
        if which < 0.45:
            request = pb.ReadyRequest(name=name, request_id=f"r{self._number}",
                                      signal=pb.Signal(data=b"%d" % self._number))
        elif which < 0.85:
            timeout = self._randomness.choice([0, 0.01, 60])
            request = pb.WaitRequest(name=name, wait_id=f"w{self._number}",
                                     timeout=duration(timeout))
            if self._randomness.random() < 0.2:
                request.ack_timeout.CopyFrom(duration(0.05))
        elif which < 0.95:
            targets = [pb.PollRequest.Target(name=each)
                       for each in self._randomness.sample(self.names, 2)]
            request = pb.PollRequest(targets=targets, wait_id=f"w{self._number}",
                                     need=self._randomness.choice([1, 2]),
                                     timeout=duration(0.05))
        else:
            # Not on the first: what a Reset forgets is known by half, and the sums there are exact.
            name = self._randomness.choice(self.names[1:])
            request = pb.ResetRequest(name=name, request_id=f"r{self._number}")
        self.operations.append(self._session.start(request))


def handed_out(operations):
    """(name, answer, whether it comes back without an Ack) of each READY that an answer carried."""
    for one in operations:
        if len(one.outcomes) != 1 or one.outcomes[0].HasField("error"):
            continue
        answer = result_of(one.outcomes[0])
        if isinstance(one.request, pb.WaitRequest) and answer.outcome == READY:
            yield one.request.name, answer, one.request.HasField("ack_timeout")
        elif isinstance(one.request, pb.PollRequest) and answer.outcome == READY:
            for result in answer.results:
                yield one.request.targets[result.target].name, result.response, False


def drain(c, names):
    """(name, answer) of what is there in the end; hand-offs without an Ack come back first."""
    for name in names:
        eventually(lambda name=name: c.side(name).unacked == 0, "all hand-offs have ended")
    for name in names:
        while (answer := c.wait(name, 0)).outcome == READY:
            yield name, answer


def outcome_faults(operations):
    """Each operation has one outcome, and what is never refused here is not refused."""
    for one in operations:
        if len(one.outcomes) != 1:
            yield f"{len(one.outcomes)} outcomes of {one.request}"
        elif isinstance(one.request, (pb.ReadyRequest, pb.ResetRequest)):
            if one.outcomes[0].HasField("error"):
                yield f"refused: {one.request}: {one.outcomes[0].error}"


def hand_over_faults(hand_overs, sent):
    """Each READY that was handed over is one that was sent there, and is used once: again only
    after it came back, as a further attempt, and each time as a delivery of its own."""
    deliveries, attempts, kept = (collections.Counter() for _ in range(3))
    for name, answer, comes_back in hand_overs:
        data = answer.signal.data
        if data not in sent[name]:
            yield f"invented: {data} on {name}"
        deliveries[name, answer.generation, answer.delivery] += 1
        attempts[name, data, answer.attempt] += 1
        kept[name, data] += not comes_back
    for what, counts in [("delivery", deliveries), ("attempt", attempts), ("READY", kept)]:
        yield from (f"used twice: {what} {key}" for key, count in counts.items() if count > 1)


def sum_faults(names, operations, hand_overs):
    """C71: Readys accepted = handed out and kept + coalesced + there in the end + forgotten."""
    accepted, coalesced, resets, forgot = (collections.Counter() for _ in range(4))
    for one in operations:
        if len(one.outcomes) != 1 or one.outcomes[0].HasField("error"):
            continue
        if isinstance(one.request, pb.ReadyRequest):
            effect = result_of(one.outcomes[0]).effect
            accepted[one.request.name] += effect in (WOKE, REMEMBERED, COALESCED)
            coalesced[one.request.name] += effect == COALESCED
        elif isinstance(one.request, pb.ResetRequest):
            resets[one.request.name] += 1
            forgot[one.request.name] += result_of(one.outcomes[0]).forgot
    kept = {(name, answer.signal.data) for name, answer, comes_back in hand_overs if not comes_back}
    back = {(name, answer.signal.data) for name, answer, comes_back in hand_overs if comes_back}
    for name in names:
        count = sum(each == name for each, _ in kept)
        missing = accepted[name] - count - coalesced[name]
        # A Reset that forgot something forgot the READY that was remembered, or some of those that
        # had come back, or both. And what comes back after any Reset is forgotten then.
        most = forgot[name] + sum(each == name for each, _ in back - kept) if resets[name] else 0
        if not forgot[name] <= missing <= most:
            yield (f"{'lost' if missing > most else 'too many'}: on {name} {accepted[name]} "
                   f"accepted, {count} kept, {coalesced[name]} coalesced, "
                   f"{forgot[name]} to {most} forgotten")


def faults(names, operations, left):
    """What is wrong with a history: operations with their requests and outcomes, and what was left
    on the names, as drain() has it."""
    sent = {name: {one.request.signal.data for one in operations
                   if isinstance(one.request, pb.ReadyRequest) and one.request.name == name}
            for name in names}
    hand_overs = [*handed_out(operations), *((name, answer, False) for name, answer in left)]
    return [*outcome_faults(operations), *hand_over_faults(hand_overs, sent),
            *sum_faults(names, operations, hand_overs)]


class History:
    """A made-up one: what was asked and answered on one name, and what was left there."""

    def __init__(self):
        self.operations, self.left, self._deliveries = [], [], 0

    def add(self, request, **answer):
        self.operations.append(types.SimpleNamespace(
            request=request, outcomes=[pb.OperationResult(**answer)] if answer else []))
        return self.operations[-1]

    def ready(self, data, effect=WOKE):
        return self.add(pb.ReadyRequest(name="a", signal=pb.Signal(data=data)),
                        ready=pb.ReadyResponse(effect=effect))

    def reset(self, forgot=True):
        return self.add(pb.ResetRequest(name="a"), reset=pb.ResetResponse(forgot=forgot))

    def handed(self, data, attempt=1):
        self._deliveries += 1
        return pb.WaitResponse(outcome=READY, signal=pb.Signal(data=data), generation=7,
                               attempt=attempt, delivery=self._deliveries)

    def wait(self, data, attempt=1, ack_timeout=None):
        return self.add(pb.WaitRequest(name="a", ack_timeout=duration(ack_timeout)),
                        wait=self.handed(data, attempt))

    def poll(self, data):
        answer = pb.PollResponse(outcome=READY)
        answer.results.add(target=0, response=self.handed(data))
        return self.add(pb.PollRequest(targets=[pb.PollRequest.Target(name="a")]), poll=answer)

    def leave(self, data, attempt=1):
        self.left.append(("a", self.handed(data, attempt)))

    def faults(self):
        return faults(["a"], self.operations, self.left)


def honest():
    """One of each way that a READY can go."""
    history = History()
    history.ready(b"woke")
    history.wait(b"woke")
    history.ready(b"replaced", REMEMBERED)
    history.ready(b"polled", COALESCED)
    history.poll(b"polled")
    history.ready(b"again", REMEMBERED)
    history.wait(b"again", ack_timeout=0.05)
    history.wait(b"again", attempt=2, ack_timeout=0.05)
    history.wait(b"again", attempt=3)
    history.add(pb.WaitRequest(name="a"), wait=pb.WaitResponse(outcome=pb.OUTCOME_TIMED_OUT))
    history.add(pb.WaitRequest(name="a"), error=pb.OperationError(reason="STALE_DELIVERY"))
    history.ready(b"left", REMEMBERED)
    history.leave(b"left")
    return history


def with_resets():
    """And what Resets forget: what was remembered, and with it what had come back."""
    history = honest()
    history.ready(b"forgotten", REMEMBERED)
    history.ready(b"gone back", REMEMBERED)
    history.wait(b"gone back", ack_timeout=0.05)
    history.reset()
    return history


def with_a_reset_before_it_comes_back():
    """Which forgets nothing by itself."""
    history = honest()
    history.ready(b"out", REMEMBERED)
    history.wait(b"out", ack_timeout=0.05)
    history.reset(forgot=False)
    return history


def drop(history, data):
    """The wait that was handed this is told that it timed out."""
    for one in history.operations:
        if isinstance(one.request, pb.WaitRequest):
            answer = one.outcomes[0].wait
            if answer.signal.data == data and not one.request.HasField("ack_timeout"):
                answer.CopyFrom(pb.WaitResponse(outcome=pb.OUTCOME_TIMED_OUT))


def invent_for_one_that_is_lost(history):
    drop(history, b"woke")
    history.wait(b"made up")


def answer_with_another(history):
    """The sums are right."""
    drop(history, b"woke")
    history.wait(b"left", attempt=2)


def hand_out_one_delivery_twice(history):
    history.wait(b"again", attempt=4, ack_timeout=0.05).outcomes[0].wait.delivery = 1


# What goes wrong, and the word by which it is noticed.
BUGS = {
    "a READY is lost": (lambda h: drop(h, b"woke"), "lost"),
    "one that came back is lost": (lambda h: drop(h, b"again"), "lost"),
    "one that nobody took is lost": (lambda h: h.left.clear(), "lost"),
    "one is lost without a wait": (lambda h: h.ready(b"nowhere", REMEMBERED), "lost"),
    "a coalesced one was handed over": (lambda h: h.wait(b"replaced"), "too many"),
    "used by two waits": (lambda h: h.wait(b"woke", attempt=2), "used twice: READY"),
    "used by a wait and a poll": (lambda h: h.poll(b"woke"), "used twice: READY"),
    "used and left": (lambda h: h.leave(b"polled", attempt=2), "used twice: READY"),
    "one attempt twice": (lambda h: h.wait(b"again", attempt=2, ack_timeout=0.05),
                          "used twice: attempt"),
    "one delivery twice": (hand_out_one_delivery_twice, "used twice: delivery"),
    "another's READY": (answer_with_another, "used twice: READY"),
    "an outcome twice": (lambda h: h.operations[1].outcomes.append(h.operations[1].outcomes[0]),
                         "2 outcomes"),
    "a Ready without an outcome": (lambda h: h.operations[0].outcomes.clear(), "0 outcomes"),
    "a wait without an outcome": (lambda h: h.operations[1].outcomes.clear(), "0 outcomes"),
    "a READY is invented": (lambda h: h.wait(b"made up"), "invented"),
    "one is left that nobody sent": (lambda h: h.leave(b"made up"), "invented"),
    "one is invented for one that is lost": (invent_for_one_that_is_lost, "invented"),
    "a Ready is refused": (lambda h: h.add(pb.ReadyRequest(name="a"), error=pb.OperationError(
        reason="OUTCOME_UNKNOWN")), "refused"),
    "a Reset forgot what was used": (lambda h: h.reset(), "too many"),
}

# As nobody is told how many that had come back a Reset forgot. One name of the traffic has none.
HIDDEN_BY_RESETS = {"one that came back is lost", "a coalesced one was handed over",
                    "a Reset forgot what was used"}


@pytest.mark.parametrize("history", [honest, with_resets, with_a_reset_before_it_comes_back])
def test_the_checker_finds_nothing_in_an_honest_history(history):
    assert history().faults() == []


@pytest.mark.parametrize("history, bug", [
    *((honest, bug) for bug in BUGS),
    *((with_resets, bug) for bug in BUGS if bug not in HIDDEN_BY_RESETS)])
def test_the_checker_notices(history, bug):
    wrong = history()
    plant, word = BUGS[bug]
    plant(wrong)
    found = wrong.faults()
    assert any(word in each for each in found), found


def balance(c, traffic):
    found = faults(traffic.names, traffic.operations, list(drain(c, traffic.names)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gentle, count", [(5, 60), (40, 400)])
def test_C71_every_operation_has_one_outcome_over_a_bad_connection(shared_server, c, name, seed,
                                                                   gentle, count):
    print(f"WAITD_SEED={seed}")
    randomness = random.Random(seed)
    with Proxy(shared_server.address, random_plan(random.Random(seed), gentle)) as proxy:
        session = Session(connect_to(proxy.address), linger=20, pause_s=0.001)
        traffic = Traffic(session, name, randomness)
        for each in traffic.names:
            c.open(each, kind=FIFO)
        for _ in range(count):
            traffic.one()
            # Now and then it is waited for, so that not all go in one message.
            if isinstance(traffic.operations[-1].request, pb.ReadyRequest):
                traffic.operations[-1].result()
        # Whoever is still parked is woken; polls time out by themselves.
        for one in traffic.operations:
            if isinstance(one.request, pb.WaitRequest) and not one.done():
                while not one.done():
                    traffic.operations.append(session.start(pb.ReadyRequest(
                        name=one.request.name, request_id=f"last{len(traffic.operations)}",
                        signal=pb.Signal(data=b"last%d" % len(traffic.operations)))))
                    traffic.operations[-1].result()
        for one in traffic.operations:
            one.exception()
        session.close()
    assert session.resumed >= 3, "too little harm to say anything"
    balance(c, traffic)


@pytest.mark.parametrize("harm", HARMS)
def test_C74_a_session_bears_harm_at_each_of_its_first_messages(shared_server, c, name, harm):
    """The same few operations, again and again, with the harm one message later each time."""
    for at in range(1, 9):
        def plan(number, at=at):
            return harm if number == at else "nothing"
        own = f"{name}/{at}"
        c.open(own, kind=FIFO)
        with Proxy(shared_server.address, plan, pause_s=0.01) as proxy:
            session = Session(connect_to(proxy.address), linger=20, pause_s=0.001)
            calls = [session.start(pb.WaitRequest(name=own, wait_id="w")),
                     session.start(pb.ReadyRequest(name=own, request_id="r1")),
                     session.start(pb.ReadyRequest(name=own, request_id="r2"))]
            answers = [call.result() for call in calls]
            assert answers[0].outcome == READY
            assert [answer.effect for answer in answers[1:]] == [WOKE, REMEMBERED]
            session.close()
        assert c.takes(own) and not c.takes(own)


def test_C74_a_server_that_is_killed_carries_nothing_out_twice(start, tmp_path, name):
    """Of each Ready the answer is from one server; what neither can know is OUTCOME_UNKNOWN."""
    address = f"unix:{tmp_path}/s"
    server = start(listen=address)
    with server.client() as c:
        c.open(name, kind=FIFO)
    session = Session(connect_to(address), pause_s=0.001)
    missing = pb.OpenOptions(kind=FIFO)
    calls = []
    for number in range(300):
        calls.append(session.start(pb.ReadyRequest(
            name=f"{name}/{number}", request_id=f"r{number}", open_if_missing=missing)))
        if number == 150:
            calls[50].result()
            server.process.send_signal(signals.SIGKILL)
            assert server.exit_code() == -signals.SIGKILL
            server = start(listen=address)
    unknown = 0
    with server.client() as c:
        for number, call in enumerate(calls):
            error = call.exception()
            there = c.is_open(f"{name}/{number}")
            if error:
                assert error.error.reason == "OUTCOME_UNKNOWN" and number <= 150
                assert not there, "refused, and carried out"
                unknown += 1
            else:
                assert call.result().effect == REMEMBERED
                assert there == (number > 150) or number <= 150 and not there
    assert session.anew == 1
    session.close()


def test_C75_what_a_killed_client_was_given_and_never_read_comes_back(shared_server, c, name):
    """Its stream breaks with waits parked and results under way: nothing is spent on what was never
    written, and nothing is left parked."""
    c.open(name, kind=FIFO)
    for round_ in range(10):
        with Stream(c.channel, hello(linger=0.001)) as one:
            one.welcome()
            one.send(*((i, pb.WaitRequest(name=name)) for i in range(1, 21)))
            c.await_parked(name, 20)
            calls = [c.start_ready(name, b"%d/%d" % (round_, i)) for i in range(10)]
            if round_ % 2:
                one.receive()
        assert {call.result().effect for call in calls} <= {WOKE, REMEMBERED, COALESCED}
        c.await_parked(name, 0)
        while c.takes(name):
            pass
        assert c.side(name).returned == 0
