"""Limits: what is refused at each, what goes on all the same, and how it is seen. What else is
known of them stands in test_process.py and test_sessions.py."""

import contextlib
import time
from concurrent import futures

import grpc
import pytest
from access import replace, token_of, tokens
from harness import (
    BY_WAIT, FIFO, LATCH, READY, REMEMBERED, WOKE, Client, check_refusal, eventually, options,
    refusal_of, refused)
from session import SessionClient, SessionError, Stream, hello
from waitd.v1 import waitd_pb2 as pb

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
CARRIERS = {"unary": Client, "session": SessionClient}


def refusals(server, reason):
    return server.metrics()("waitd_refusals_total", reason=reason)


@pytest.fixture(params=CARRIERS)
def connect(request):
    """connect(server, ...): a client, once of unary calls and once of a session."""
    with contextlib.ExitStack() as clients:
        def one(server, **who):
            if request.param == "session":
                return clients.enter_context(SessionClient(server.address, who=who))
            return clients.enter_context(server.client(**who))
        yield one


def seen(server, said, reason, resource, limit, count=1):
    """A refusal says which limit it was, and is counted. RetryInfo is looked at with each."""
    assert said.metadata["limit"] == str(limit), said
    assert refusals(server, reason) == count
    assert server.metrics()("waitd_limit", resource=resource) == limit


# Numbers


def test_the_limit_of_descriptors_is_seen(start, connect, name):
    server = start("--max-descriptors=2")
    c = connect(server)
    for number in range(2):
        c.open(f"{name}/{number}")
    said = refusal_of(c.start_open(f"{name}/2"), "RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS")
    seen(server, said, "LIMIT_DESCRIPTORS", "descriptors", 2)
    refusal_of(c.start_ready(f"{name}/2", open_if_missing=options()), "RESOURCE_EXHAUSTED",
               "LIMIT_DESCRIPTORS")
    assert refusals(server, "LIMIT_DESCRIPTORS") == 2
    assert c.ready(f"{name}/0").effect == REMEMBERED and c.takes(f"{name}/0")
    c.close(f"{name}/0")
    assert c.open(f"{name}/2").created


def test_the_limit_of_waiters_is_seen(start, connect, name):
    server = start("--max-waiters=2")
    c = connect(server)
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=count) for count in (1, 2)]
    said = refusal_of(c.start_wait(name, wait_id="w"), "RESOURCE_EXHAUSTED", "LIMIT_WAITERS")
    seen(server, said, "LIMIT_WAITERS", "waiters", 2)
    assert not any(call.done() for call in calls)
    assert c.ready(name, b"x").effect == WOKE and calls[0].result().signal.data == b"x"
    again = c.park(name, wait_id="w", count=2)
    assert c.ready(name).effect == WOKE and calls[1].result().outcome == READY
    assert c.ready(name, b"y").effect == WOKE and again.result().signal.data == b"y"


def test_a_poll_counts_by_its_targets(start, connect, name):
    c = connect(start("--max-waiters=3"))
    names = [f"{name}/{i}" for i in range(4)]
    for one in names:
        c.open(one, kind=FIFO)
    poll = c.park_poll(names[:3])
    for call in (c.start_wait(names[3]), c.start_poll(names)):
        refusal_of(call, "RESOURCE_EXHAUSTED", "LIMIT_WAITERS")
    c.ready(names[0])
    assert poll.result().outcome == READY
    c.park(names[3])


@pytest.mark.parametrize("flag", ["--max-deliveries=2", "--max-deliveries-per-side=2"])
def test_the_limit_of_deliveries_is_seen(start, connect, name, flag):
    """It is charged when the wait begins, and given back by what ends the delivery."""
    server = start(flag)
    c = connect(server)
    c.open(name, kind=FIFO)
    c.ready(name)
    answer = c.wait(name, wait_id="1", ack_timeout=100)
    parked = c.park(name, wait_id="2", ack_timeout=100)
    full = {"wait_id": "3", "ack_timeout": 100}
    for call in (c.start_wait(name, **full), c.start_wait(name, 0, **full),
                 c.start_poll([name], **full)):
        said = refusal_of(call, "RESOURCE_EXHAUSTED", "LIMIT_DELIVERIES")
        assert said.metadata["limit"] == "2"
    assert c.ready(name).effect == WOKE, "no Ready is refused for it"
    c.ack(name, "1", answer)
    c.ready(name)
    assert c.wait(name, 0, **full).outcome == READY
    c.ack(name, "2", parked.result())
    c.close(name)
    c.open(name, kind=FIFO)
    c.park(name, wait_id="4", ack_timeout=100)
    c.park(name, wait_id="5", ack_timeout=100, count=2)


def test_the_limit_of_sessions_is_seen(start, name):
    server = start("--max-sessions=1")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        with Stream(c.channel, hello()) as two:
            said = check_refusal(two.ended(), EXHAUSTED, "LIMIT_SESSIONS")
        seen(server, said, "LIMIT_SESSIONS", "sessions", 1)
        one.send((1, pb.OpenPollDescriptorRequest(name=name)))
        assert one.results(1)[1].open.created, "the one that is there goes on"
        c.ready(name)
        assert c.takes(name), "and so do calls"


# Memory

HELD_BYTES_MAX, SIGNAL = 100_000, bytes(10_000)


def held(server):
    return server.metrics()("waitd_held_bytes", what="payloads")


def share(limit):
    """What one caller may have of it: the last 1/32 is for others."""
    return limit - limit // 32


def fill(c, name, limit=100):
    """Signals, each on a name of its own, until one is refused: how many were taken, and what the
    refusal said."""
    for number in range(limit):
        try:
            c.ready(f"{name}/{number}", SIGNAL, open_if_missing=options(kind=FIFO))
        except grpc.RpcError as error:
            return number, check_refusal(error, EXHAUSTED, "LIMIT_MEMORY")
    raise AssertionError(f"{limit} signals, and none was refused")


def test_the_limit_of_held_memory(start, connect, name):
    server = start(f"--max-held-bytes={HELD_BYTES_MAX}")
    c = connect(server)
    c.open(name, kind=FIFO)
    parked = c.park(name)
    count, said = fill(c, name)
    assert 5 <= count <= 10
    assert said.metadata["limit"] == str(share(HELD_BYTES_MAX)), said
    assert refusals(server, "LIMIT_MEMORY") == 1
    assert server.metrics()("waitd_held_bytes_limit", what="payloads") == HELD_BYTES_MAX
    assert count * len(SIGNAL) <= held(server) <= HELD_BYTES_MAX
    with refused("RESOURCE_EXHAUSTED", "LIMIT_MEMORY"):
        c.ready(f"{name}/missing", SIGNAL, open_if_missing=options())
    assert not c.is_open(f"{name}/missing"), "a refused call did nothing"
    # What needs no memory goes on, and what is held stays.
    assert c.ready(name).effect == WOKE and parked.result().outcome == READY
    assert c.wait(name, 0.001).timeout_cause == BY_WAIT
    assert c.ready(name).effect == REMEMBERED and c.takes(name)
    assert all(c.side(f"{name}/{number}").payload_bytes >= len(SIGNAL) for number in range(count))
    for number in range(3):
        assert c.wait(f"{name}/{number}").signal.data == SIGNAL
    eventually(lambda: held(server) <= HELD_BYTES_MAX - 2 * len(SIGNAL), "some is free again")
    assert c.ready(f"{name}/0", SIGNAL).effect == REMEMBERED
    assert c.wait(f"{name}/0").signal.data == SIGNAL
    for number in range(3, count):
        assert c.wait(f"{name}/{number}").signal.data == SIGNAL
    eventually(lambda: held(server) == 0, "nothing is held any more")


def test_held_memory_is_free_again(start, name):
    """Many times what may be held at once, one after another."""
    server = start(f"--max-held-bytes={HELD_BYTES_MAX}")
    with server.client() as c:
        ends = {"close": c.close, "reset": c.reset, "take": c.takes, "coalesce": lambda _: True}
        for how, end in ends.items():
            for _ in range(30):
                c.ready(name, SIGNAL, open_if_missing=options(kind=FIFO))
                assert end(name) is not False, how
        assert len(SIGNAL) <= held(server) < 2 * len(SIGNAL)
        c.reset(name)
        eventually(lambda: held(server) == 0, "nothing is held any more")


def test_outcomes_hold_memory(start, name):
    """Until they are forgotten, here for others; what they hold is what their waits got."""
    server = start(f"--max-held-bytes={HELD_BYTES_MAX}", "--max-outcomes=50")
    with server.client() as c:
        c.open(name, kind=FIFO)
        for number in range(30):
            c.ready(name, SIGNAL)
            assert c.wait(name, wait_id=f"w{number}").signal.data == SIGNAL
        assert held(server) >= len(SIGNAL)
        assert c.wait(name, wait_id="w29").signal.data == SIGNAL


def test_one_signal_that_many_hold_is_held_once(start, name):
    """A latch hands the same one to all."""
    server = start(f"--max-held-bytes={HELD_BYTES_MAX}")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        c.open(name, kind=LATCH)
        one.send(*((number, pb.WaitRequest(name=name)) for number in range(1, 11)))
        c.await_parked(name, 10)
        assert c.ready(name, SIGNAL).woken == 10
        found = one.results(10)
        assert {result.wait.signal.data for result in found.values()} == {SIGNAL}
        eventually(lambda: held(server) < 2 * len(SIGNAL), "what was on its way is no more")
        one.half_close()
        assert one.ended() is None


def test_what_was_held_counts_after_a_restart(start, name):
    server = start("--store=rocksdb", f"--max-held-bytes={HELD_BYTES_MAX}")
    with server.client() as c:
        count, _ = fill(c, name)
    server.kill()
    server.start()
    with server.client() as c:
        assert held(server) >= count * len(SIGNAL)
        with refused("RESOURCE_EXHAUSTED", "LIMIT_MEMORY"):
            c.ready(f"{name}/more", SIGNAL, open_if_missing=options())
        for number in range(count):
            assert c.wait(f"{name}/{number}").signal.data == SIGNAL
        eventually(lambda: held(server) == 0, "nothing is held any more")
        assert c.ready(f"{name}/0", SIGNAL).effect == REMEMBERED


# Rate

RATE, STORM = 20, 400


@pytest.fixture
def metered(start, tmp_path):
    """A server that lets each of two identities do so much in a second."""
    replace(tmp_path / "tokens", tokens("a", "b"))
    replace(tmp_path / "acl", "".join(f"{one} * wait,ready,deadline,open,list\n" for one in "ab"))
    return start("--auth=token", f"--token-file={tmp_path}/tokens", f"--acl-file={tmp_path}/acl",
                 f"--max-rate={RATE}")


def who(identity):
    return {"token": token_of(identity)}


def storm(c, name):
    """Far more Readys than may be at once: which were refused, and by what."""
    calls = [c.start_ready(name, open_if_missing=options(kind=FIFO)) for _ in range(STORM)]
    errors = [call.exception() for call in calls]
    return [number for number, error in enumerate(errors) if error], [
        check_refusal(error, EXHAUSTED, "LIMIT_RATE") for error in errors if error]


def test_the_rate_of_one_identity(metered, connect, name):
    """A burst of as many is taken, what is over it refused; others do not feel it."""
    a = connect(metered, **who("a"))
    which, said = storm(a, f"{name}/a")
    assert which and STORM - len(which) >= RATE
    assert which[0] >= RATE or isinstance(a, Client) and not isinstance(a, SessionClient)
    assert {one.metadata["limit"] for one in said} == {str(RATE)}
    assert refusals(metered, "LIMIT_RATE") == len(said)
    b = connect(metered, **who("b"))
    b.open(f"{name}/b", kind=FIFO)
    for _ in range(RATE // 2 - 1):
        assert b.ready(f"{name}/b").effect == REMEMBERED
        assert b.wait(f"{name}/b").outcome == READY
    assert refusals(metered, "LIMIT_RATE") == len(said)

    def taken():
        error = a.start_ready(f"{name}/a").exception()
        return error is None or check_refusal(error, EXHAUSTED, "LIMIT_RATE") is None
    eventually(taken, "in time it may go on")


def test_all_connections_of_an_identity_are_one(metered, name):
    """Unary calls and the operations of sessions count together."""
    with contextlib.ExitStack() as clients:
        each = [clients.enter_context(kind) for kind in (
            metered.client(**who("a")), metered.client(**who("a")),
            SessionClient(metered.address, who=who("a")))]
        calls = [c.start_ready(f"{name}/{number}", open_if_missing=options())
                 for _ in range(STORM // 3) for number, c in enumerate(each)]
        done = sum(call.exception() is None for call in calls)
        assert RATE <= done < len(calls)


def test_what_rate_refuses_is_not_done(metered, name):
    """What was asked for is there as often as it was not refused."""
    with metered.client(**who("a")) as a, metered.client(**who("b")) as b:
        b.open(name, kind=FIFO)
        calls = [a.start_wait(name, wait_id=f"w{number}") for number in range(STORM)]

        def parked():
            metrics = metered.metrics()
            count = metrics("waitd_waiters", mode="read")
            return count if metrics("waitd_refusals_total", reason="LIMIT_RATE") + count == STORM \
                else None
        count = eventually(parked, "each is parked or refused")
        assert RATE <= count < STORM
        assert b.close(name).woken == count
        assert sum(call.exception() is None for call in calls) == count


def test_a_poll_is_charged_by_its_targets(metered, connect, name):
    """One that is dearer than a burst passes when nothing is owed, and is owed afterwards."""
    a = connect(metered, **who("a"))
    targets = [f"{name}/{number}" for number in range(2 * RATE)]
    begin = time.monotonic()
    assert a.poll(targets, timeout=0, open_if_missing=options()).timeout_cause == BY_WAIT
    with refused("RESOURCE_EXHAUSTED", "LIMIT_RATE"):
        a.ready(name, open_if_missing=options())

    def taken():
        error = a.start_ready(name, open_if_missing=options()).exception()
        return error is None or check_refusal(error, EXHAUSTED, "LIMIT_RATE") is None
    eventually(taken, "in time it is paid")
    assert time.monotonic() - begin > 1, "for 2 s of work, a second of it in advance"


def test_what_a_server_does_not_know_is_charged(metered):
    """Each operation of a message is one, whatever it asks for."""
    with metered.client(**who("a")) as a, Stream(a.channel, hello()) as one:
        one.welcome()
        one.send_raw(pb.SessionRequest(operations=[
            pb.Operation(id=number) for number in range(1, STORM + 1)]).SerializeToString())
        said = [each.error.reason for each in one.results(STORM).values()]
        assert RATE <= said.count("BAD_OPTIONS") < STORM
        assert said.count("BAD_OPTIONS") + said.count("LIMIT_RATE") == STORM


@pytest.mark.parametrize("what", ["acks", "cancels"])
def test_acks_and_cancels_are_charged(metered, name, what):
    """What is asked for behind them waits until they are paid."""
    with metered.client(**who("a")) as a, Stream(a.channel, hello()) as one:
        one.welcome()
        ack = pb.AckRequest(name=name, wait_id="w", delivery=1, generation=1)
        one.send(*((number, ack if what == "acks" else STORM) for number in range(1, STORM)))
        reasons = {each.error.reason for each in one.results(STORM - 1).values()}
        assert reasons == {"OUTCOME_UNKNOWN" if what == "acks" else ""}
        refusal_of(a.start_ready(name, open_if_missing=options()), "RESOURCE_EXHAUSTED",
                   "LIMIT_RATE")


def test_acks_and_cancels_are_never_refused(metered, name):
    """They let go of what others wait for."""
    with metered.client(**who("a")) as a, metered.client(**who("b")) as b, Stream(
            a.channel, hello()) as one:
        one.welcome()
        b.open(name, kind=FIFO)
        b.ready(name)
        handed = a.wait(name, wait_id="w", ack_timeout=1000)
        one.send((1, pb.WaitRequest(name=name)))
        eventually(lambda: metered.metrics()("waitd_waiters", mode="read") == 1, "it is parked")
        readys = ((number, pb.ReadyRequest(name=f"{name}/{number}"))
                  for number in range(2, STORM + 2))
        ack = pb.AckRequest(name=name, wait_id="w", delivery=handed.delivery,
                            generation=handed.generation)
        acks = ((number, ack)
                for number in range(STORM + 2, 2 * STORM + 2))
        cancels = ((number, 1) for number in range(2 * STORM + 2, 3 * STORM + 2))
        one.send(*readys, *acks, *cancels)
        found = one.results(3 * STORM + 1)
        said = [SessionError(found[number].error) for number in range(2, STORM + 2)]
        assert [each.error.reason for each in said].count("LIMIT_RATE") >= STORM - 2 * RATE
        assert all(found[number].HasField("ack") for number in range(STORM + 2, 2 * STORM + 2))
        assert found[1].error.code == grpc.StatusCode.CANCELLED.value[0]
        calls = [a.start_ack(name, "w", handed) for _ in range(STORM)]
        assert all(call.exception() is None for call in calls)


# Connections

AGES = ["--max-connection-age=200ms", "--max-connection-age-grace=50ms"]


class Repeated:
    """A wait that comes again with its id for as long as its connection is taken from it."""

    def __init__(self, c, name, wait_id):
        self._c, self._name, self._id = c, name, wait_id
        self.attempts, self.stopped = 0, False
        self.begin = time.monotonic()

    def result(self):
        while not self.stopped:
            ago = time.monotonic() - self.begin if self.attempts else None
            self.attempts += 1
            call = self._c.start_wait(self._name, wait_id=self._id, first_sent_ago=ago)
            error = call.exception()
            if error is None:
                return call.result()
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        return None


@contextlib.contextmanager
def in_threads(waits):
    """Futures of their results. A test that fails lets go of those that have none."""
    with futures.ThreadPoolExecutor() as threads:
        try:
            yield [threads.submit(one.result) for one in waits]
        finally:
            for one in waits:
                one.stopped = True


def test_a_wait_with_an_id_outlives_its_connections(start, name):
    server = start(*AGES)
    # What the test itself asks for goes through a session, which bears the loss of a connection, too.
    with server.client() as c, SessionClient(server.address, linger=None) as sender:
        sender.open(name, kind=FIFO)
        waits = [Repeated(c, name, f"w{number}") for number in range(3)]
        with in_threads(waits) as results:
            for number in range(len(waits)):
                eventually(lambda number=number: all(
                    one.attempts > 2 + number or result.done()
                    for one, result in zip(waits, results)), "their connections were taken from them")
                eventually(lambda number=number: server.metrics()("waitd_waiters", mode="read") ==
                           len(waits) - number, "all are parked")
                assert sender.ready(name, b"%d" % number).effect == WOKE
                eventually(lambda number=number: sum(each.done() for each in results) == number + 1,
                           "one has it")
        assert {each.result().signal.data for each in results} == {b"0", b"1", b"2"}
        assert not sender.takes(name)


def test_a_session_outlives_its_connections(start, name):
    server = start(*AGES)
    with SessionClient(server.address, linger=None) as c:
        c.open(name, kind=FIFO)
        for number in range(3):
            call = c.start_wait(name)
            streams = c.session.streams
            eventually(lambda streams=streams: c.session.streams > streams,
                       "its connection was taken from it")
            assert not call.done()
            c.ready(name, b"%d" % number)
            assert call.result().signal.data == b"%d" % number
        assert c.session.resumed >= 3 and not c.session.anew


def states_of(client):
    """The states that a client's connection goes through from here on."""
    states = []
    client.channel.subscribe(states.append)
    return states


def test_an_idle_connection_goes_and_one_with_a_wait_stays(start, name):
    server = start("--max-connection-idle=200ms")
    with server.client() as waiting, server.client() as idle:
        waiting.open(name)
        call = waiting.park(name)
        states = states_of(waiting)
        for _ in range(2):
            idle.ready(f"{name}/other", open_if_missing=options())
            gone = states_of(idle)
            eventually(lambda gone=gone: gone and gone[-1] == grpc.ChannelConnectivity.IDLE,
                       "it goes")
        assert set(states) == {grpc.ChannelConnectivity.READY} and not call.done()
        assert idle.ready(name, b"x").effect == WOKE
        assert call.result().signal.data == b"x"
