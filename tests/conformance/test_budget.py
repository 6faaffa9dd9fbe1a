"""What one identity can make waitd hold, in memory: all that it asks for is charged to it, what is over
its share is refused, and others go on. Each of these once took more memory than the machine had."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from access import replace, token_of, tokens
from harness import (
    FIFO, LATCH, READY, REMEMBERED, check_refusal, eventually, measured_memory, options, refused)
from session import Stream, hello
from waitd.v1 import waitd_pb2 as pb

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
MIB = 1 << 20
MEMORY = 256 * MIB
# A sanitizer keeps a shadow of everything, and what was freed.
MOST = MEMORY * (4 if "ASAN_OPTIONS" in os.environ else 1)
TARGETS_MAX = 1000


@pytest.fixture
def server(start, tmp_path):
    """With two identities, a and b, and as little memory for both as three small machines have."""
    replace(tmp_path / "tokens", tokens("a", "b"))
    replace(tmp_path / "acl", "".join(f"{one} * wait,ready,deadline,open,list\n" for one in "ab"))
    return start("--auth=token", f"--token-file={tmp_path}/tokens", f"--acl-file={tmp_path}/acl",
                 f"--max-memory={MEMORY}", env=measured_memory())


def who(identity):
    return {"token": token_of(identity)}


def held(server, what):
    return server.metrics()("waitd_held_bytes", what=what)


def limit(server, what):
    return server.metrics()("waitd_held_bytes_limit", what=what)


def check_bounded(server, what, name):
    """What is held of a kind is near its limit, the process is below its own, and b goes on."""
    allowed = limit(server, what)
    assert allowed / 2 < held(server, what) <= allowed * 1.05
    assert server.rss() < MOST
    with server.client(**who("b")) as b, Stream(b.channel, hello()) as one:
        one.welcome()
        b.open(f"{name}/b", kind=FIFO)
        parked = b.park(f"{name}/b", wait_id="b's")
        assert b.ready(f"{name}/b", b"for b").woken == 1
        assert parked.result().signal.data == b"for b"
        one.send((1, pb.WaitRequest(name=f"{name}/b")))
        b.await_parked(f"{name}/b")
        assert b.ready(f"{name}/b").woken == 1
        assert one.results(1)[1].wait.outcome == READY


def test_results_that_nobody_acknowledges(server, name):
    """A copy of a latch's signal in each. What is asked for beyond is refused, and who goes on all the
    same loses the session."""
    signal = bytes(60_000)
    with server.client(**who("a")) as a, contextlib.ExitStack() as streams:
        a.open(name, kind=LATCH)
        a.ready(name, signal)
        error = None
        while error is None:
            stream = streams.enter_context(Stream(a.channel, hello()))
            stream.welcome()
            for number in range(1, 40):
                stream.send((number, pb.WaitRequest(name=name)))
                result = stream.results(1, acks=False)[number]
                if result.HasField("error"):
                    error = result.error
                    break
        assert error.reason == "LIMIT_UNACKED"
        check_bounded(server, "results", name)
        stream.send(*((number, pb.WaitRequest(name=name)) for number in range(100, 1000)))
        check_refusal(stream.ended(), EXHAUSTED, "LIMIT_UNACKED")
        check_bounded(server, "results", f"{name}/again")


def test_outcomes_of_polls(server, name):
    """Of a thousand targets each. They are never refused: its own oldest go."""
    with server.client(**who("a")) as a, server.client(**who("b")) as b:
        b.open(f"{name}/b", kind=FIFO)
        b.ready(f"{name}/b", b"his")
        assert b.wait(f"{name}/b", wait_id="old").signal.data == b"his"
        targets = [f"{name}/{number}" for number in range(TARGETS_MAX)]
        for one in targets:
            a.open(one, kind=LATCH)
            a.ready(one)
        dropped = "waitd_outcomes_dropped_total"
        for number in range(2000):
            answer = a.poll(targets, need=TARGETS_MAX, wait_id=f"poll{number}")
            assert len(answer.results) == TARGETS_MAX
            if number % 50 == 0 and server.metrics()(dropped) > 50:
                break
        assert server.metrics()(dropped) > 50
        assert b.wait(f"{name}/b", wait_id="old").signal.data == b"his", "the oldest of all"
        check_bounded(server, "outcomes", name)


def test_names_with_many_labels(server, name):
    labels = {f"{number:063}": "v" * 256 for number in range(16)}
    with server.client(**who("a")) as a:
        for number in range(100_000):
            try:
                a.open(f"{name}/{number}", labels=labels)
            except grpc.RpcError as error:
                said = check_refusal(error, EXHAUSTED, "LIMIT_DESCRIPTORS")
                assert "--max-memory" in error.details()
                break
        assert int(said.metadata["limit"]) < limit(server, "descriptors")
        assert number > 1000
        check_bounded(server, "descriptors", name)
        for number in range(2):  # for b has a little of it by now
            a.close(f"{name}/{number}")
        assert a.open(f"{name}/0", labels=labels).created


def test_polls_that_are_parked(server, name):
    """Each is charged its thousand targets."""
    with server.client(**who("a")) as a, Stream(a.channel, hello()) as one:
        one.welcome()
        targets = [pb.PollRequest.Target(name=f"{name}/{number}") for number in range(TARGETS_MAX)]
        with Stream(a.channel, hello()) as opening:
            opening.welcome()
            opening.send(*((number + 1, pb.OpenPollDescriptorRequest(
                name=target.name, options=options(kind=FIFO)))
                for number, target in enumerate(targets)))
            opening.results(TARGETS_MAX)
        error = None
        for number in range(1, 1000):
            one.send((number, pb.PollRequest(targets=targets)))
            metrics = server.metrics()
            if metrics("waitd_refusals_total", reason="LIMIT_WAITERS") > 0:
                (_, result), = one.results(1).items()
                error = result.error
                break
        assert error.reason == "LIMIT_WAITERS"
        waits = server.metrics()("waitd_waiters", mode="poll")
        assert waits >= 10 * TARGETS_MAX
        check_bounded(server, "waits", name)
        one.break_off()


def test_streams_that_say_nothing(server, name):
    """They are let in before they say hello, and each is charged as a call is."""
    with server.client(**who("a")) as a, contextlib.ExitStack() as streams:
        silent = []
        while len(silent) < 10_000 and all(one.is_up() for one in silent[-20:]):
            silent.append(streams.enter_context(Stream(a.channel)))
        refused_one = eventually(lambda: next((one for one in silent if not one.is_up()), None),
                                 "one is refused")
        check_refusal(refused_one.ended(), EXHAUSTED, "LIMIT_MEMORY")
        check_bounded(server, "calls", name)


def test_sessions_of_one_identity(start, tmp_path, name):
    """A number that is set has its share as well: b gets in."""
    replace(tmp_path / "tokens", tokens("a", "b"))
    replace(tmp_path / "acl", "".join(f"{one} * wait,ready,deadline,open,list\n" for one in "ab"))
    server = start("--auth=token", f"--token-file={tmp_path}/tokens", f"--acl-file={tmp_path}/acl",
                   "--max-sessions=64")
    with server.client(**who("a")) as a, contextlib.ExitStack() as streams:
        for number in range(62):
            streams.enter_context(Stream(a.channel, hello())).welcome()
        with Stream(a.channel, hello()) as more:
            said = check_refusal(more.ended(), EXHAUSTED, "LIMIT_SESSIONS")
            assert said.metadata["limit"] == "62"
        with server.client(**who("b")) as b, Stream(b.channel, hello()) as one:
            one.welcome()
            one.send((1, pb.ReadyRequest(name=name, open_if_missing=options())))
            assert one.results(1)[1].ready.effect == REMEMBERED


def test_without_auth_each_address_has_its_share(start, name):
    """The edge says it, and is believed on the socket file."""
    server = start("--max-descriptors=64")
    with server.client() as c:
        def opens(address, number):
            c.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=f"{name}/{number}"),
                                      metadata=[("x-forwarded-for", address)], timeout=20)
        for number in range(62):
            opens("192.0.2.1", number)
        with refused("RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS"):
            opens("192.0.2.1", 62)
        opens("192.0.2.2", 63)
        opens("2001:db8::1", 64)
        with refused("RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS"):
            opens("2001:db8::2", 65)


def test_what_is_held_is_what_the_process_grows_by(server, name):
    """Within a fifth, where that is most of what it has."""
    begin = server.rss()
    with server.client(**who("a")) as a:
        signal = bytes(20_000)
        for number in range(1000):
            a.ready(f"{name}/{number}", signal, open_if_missing=options(kind=FIFO))
        grown = server.rss() - begin
        total = server.metrics().total("waitd_held_bytes")
        assert total < grown * 1.2 + 4 * MIB
        assert total > grown * MEMORY / MOST / 1.2 - 4 * MIB


def test_a_limit_that_cannot_fit_is_told_of(start):
    server = start("--max-memory=268435456", "--max-waiters=100000000")
    server.await_log("--max-waiters=100000000 may take 19836 MiB and more, and of "
                     "--max-memory=256 MiB there are [0-9]+ for waits")


def parked_on(client, stream, name, count):
    """So many waits of a session on one name, all parked."""
    for first in range(1, count + 1, 1000):
        stream.send(*((first + number, pb.WaitRequest(name=name)) for number in range(1000)))
    client.await_parked(name, count)


def test_waits_that_end_and_are_not_acknowledged(server, name):
    """They share their signal until there is room for a copy in a response: what is read and not
    acknowledged takes no more than that. Each acknowledgement brings more, until all have ended."""
    count = 2000
    with server.client(**who("a")) as a, Stream(a.channel, hello(), limit_s=90) as one:
        one.welcome()
        a.open(name, kind=LATCH)
        parked_on(a, one, name, count)
        a.ready(name, bytes(60_000))
        results, acknowledges = set(), threading.Event()

        def read():
            while len(results) < count:
                message = one.receive()
                assert not results & {result.id for result in message.results}
                assert all(result.wait.outcome == READY for result in message.results)
                results.update(result.id for result in message.results)
                if acknowledges.is_set():
                    one.send(acked=message.sequence)
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read)
            eventually(lambda: held(server, "results") > 0.9 * limit(server, "results"), "it is full")
            a.elapse(1)
            check_bounded(server, "results", name)
            assert len(results) < count / 4
            acknowledges.set()
            one.send(acked=1)
            reading.result()
        eventually(lambda: held(server, "results") == held(server, "waits") == 0, "all is given back")


def test_who_sends_nothing_more_acknowledges_nothing(server, name):
    """Its session ends when there is no more room: nothing waits for ever."""
    with server.client(**who("a")) as a, Stream(a.channel, hello(), limit_s=60) as one:
        one.welcome()
        a.open(name, kind=LATCH)
        parked_on(a, one, name, 1000)
        one.half_close()
        a.ready(name, bytes(60_000))
        check_refusal(one.ended(), EXHAUSTED, "LIMIT_UNACKED")
        eventually(lambda: held(server, "results") == held(server, "waits") == 0, "all is given back")
