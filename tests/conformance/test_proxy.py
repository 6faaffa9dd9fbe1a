"""Exactly once over connections that break: C71 and C74 through a proxy that harms them.

Goal: every operation has one outcome, and no READY is lost or used twice. Method: a client that
keeps its session does random operations, all with ids, through a proxy that cuts, freezes, delays
and half-closes at message boundaries from a seed; then what the server accepted has to balance.
"""

import collections
import os
import random
import signal as signals

import grpc
import pytest
from harness import (
    COALESCED, FIFO, READY, REMEMBERED, WOKE, duration, eventually)
from proxy import HARMS, Proxy
from session import Session, SessionError, Stream, hello
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
            request = pb.ResetRequest(name=name, request_id=f"r{self._number}")
        self.operations.append(self._session.start(request))


def handed_out(operations):
    """(delivery's key, data) of each READY that an answer carried, and was not taken back later."""
    for one in operations:
        if one.exception():
            continue
        answer = one.result()
        if isinstance(one.request, pb.WaitRequest) and answer.outcome == READY:
            yield one, one.request.name, answer
        elif isinstance(one.request, pb.PollRequest) and answer.outcome == READY:
            for result in answer.results:
                yield one, one.request.targets[result.target].name, result.response


def drain(c, names):
    """What is there in the end, by name; hand-offs that wait for an Ack come back first."""
    for name in names:
        eventually(lambda name=name: c.side(name).unacked == 0, "all hand-offs have ended")
    found = collections.Counter()
    for name in names:
        while True:
            answer = c.wait(name, 0)
            if answer.outcome != READY:
                break
            found[name] += 1
            yield name, answer


def balance(c, traffic):
    """C71: Readys accepted = handed out and kept + coalesced + there in the end + forgotten."""
    kept, datas = collections.Counter(), collections.Counter()
    for one, name, answer in handed_out(traffic.operations):
        if not (isinstance(one.request, pb.WaitRequest) and one.request.HasField("ack_timeout")):
            kept[name] += 1
            datas[name, answer.signal.data] += 1
    for name, answer in drain(c, traffic.names):
        kept[name] += 1
        datas[name, answer.signal.data] += 1
    assert max(datas.values(), default=0) <= 1, f"used twice: {datas.most_common(3)}"
    accepted, coalesced, forgot = (collections.Counter() for _ in range(3))
    for one in traffic.operations:
        assert len(one.outcomes) == 1, f"{len(one.outcomes)} outcomes of {one.request}"
        if isinstance(one.request, pb.ReadyRequest):
            effect = one.result().effect
            assert effect in (WOKE, REMEMBERED, COALESCED)
            accepted[one.request.name] += 1
            coalesced[one.request.name] += effect == COALESCED
        elif isinstance(one.request, pb.ResetRequest):
            forgot[one.request.name] += one.result().forgot
    for name in traffic.names:
        missing = accepted[name] - kept[name] - coalesced[name]
        # A Reset that forgot something forgot one at least: what had come back goes with it.
        assert (missing == 0) if not forgot[name] else (missing >= forgot[name]), (
            name, accepted[name], kept[name], coalesced[name], forgot[name])


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
