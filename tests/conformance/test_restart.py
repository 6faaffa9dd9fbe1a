"""What a store on the disk brings over a kill -9: what was answered, and nothing that was not."""

import contextlib
import signal as signals
import subprocess
import time

import grpc
import pytest
from harness import (
    ARMED, BY_DEADLINE, BY_MAX_WAIT, CALL_LIMIT_S, CLOSED, COALESCED, FIFO, HELD, KINDS, LATCH, NIL,
    READ_WRITE, READY, REMEMBERED, TIMED_OUT, WOKE, WRITE, clean_environment, duration, eventually,
    options, refusal_of, refused, seconds, timed_out)
from session import Session, Stream, hello, result_of
from waitd.v1 import waitd_pb2 as pb

SIGNAL = pb.Signal(data=b"x" * 1000, content_type="text/plain", attributes={"a": "b"},
                   failure=pb.Signal.Failure(code=3, message="no"))
CLOCKS_APART_S = 0.01


class Durable:
    """A server on a store that stays, and a client of it. Clients of former lives stay, too, until
    their calls have ended by themselves."""

    def __init__(self, server):
        self.server, self.c = server, server.client()
        self._clients = [self.c]

    def begin(self):
        """Starts it again, on what is there. A client of the new process."""
        self.server.start()
        self.c = self.server.client()
        self._clients.append(self.c)
        return self.c

    def crash(self):
        self.server.kill()
        return self.begin()

    def disconnect(self):
        for one in self._clients:
            one.disconnect()


@pytest.fixture
def durable(start):
    one = Durable(start("--store=rocksdb"))
    yield one
    one.disconnect()


def ended(call):
    """Whether a call was told that its server has gone, and nothing else."""
    error = call.exception()
    return error is not None and error.code() == grpc.StatusCode.UNAVAILABLE


# What stands


def test_a_ready_is_there_with_all_that_it_carried(durable, name):
    c = durable.c
    c.open(name)
    c.ready(name, b"replaced")
    assert c.ready(name, signal=SIGNAL).effect == COALESCED
    c.ready(name, b"other side", mode=WRITE)
    c = durable.crash()
    assert (c.side(name).state, c.side(name, WRITE).state) == (HELD, HELD)
    answer = c.wait(name)
    assert (answer.signal, answer.coalesced, answer.attempt) == (SIGNAL, 1, 1)
    assert c.wait(name, mode=WRITE).signal.data == b"other side"
    c = durable.crash()
    assert not c.takes(name) and not c.takes(name, WRITE), "what was taken is spent"


@pytest.mark.parametrize("kind", KINDS)
def test_a_descriptor_is_what_it_was(durable, name, kind):
    c = durable.c
    c.open(name, kind=kind, labels={"team": "a", "empty": ""}, idle_ttl=1000)
    c.ready(name, b"x", mode=WRITE)
    before = c.get(name)
    assert durable.crash().get(name) == before


def test_an_open_latch_stays_open_and_a_reset_one_closed(durable, name):
    c = durable.c
    for one in ("open", "reset"):
        c.open(f"{name}/{one}", kind=LATCH)
        c.ready(f"{name}/{one}", b"go")
    c.reset(f"{name}/reset")
    c = durable.crash()
    assert [c.wait(f"{name}/open", 0).signal.data for _ in range(2)] == [b"go", b"go"]
    assert c.side(f"{name}/reset").state == NIL


def test_what_was_closed_stays_closed_and_no_generation_comes_again(durable, name):
    c, seen = durable.c, set()
    for number in range(3):
        for one in ("kept", "closed", "again"):
            opened = c.open(f"{name}/{number}/{one}").poll_descriptor.generation
            assert opened not in seen
            seen.add(opened)
        former = opened
        c.close(f"{name}/{number}/closed")
        c.close(f"{name}/{number}/again")
        opened = c.open(f"{name}/{number}/again").poll_descriptor.generation
        assert opened not in seen and opened > former, "a name's grow"
        seen.add(opened)
        c = durable.crash()
        assert [c.is_open(f"{name}/{number}/{one}") for one in ("kept", "closed", "again")] == [
            True, False, True]
    with refused("ABORTED", "STALE_GENERATION"):
        c.ready(f"{name}/2/again", generation=former)


def test_a_generation_does_not_come_again_though_its_name_was_never_stored(durable, name):
    """Opened and closed in one message, it is gone before anything could be saved of it."""
    seen = []
    c = durable.c
    for _ in range(3):
        with Stream(c.channel, hello()) as one:
            one.welcome()
            one.send((1, pb.OpenPollDescriptorRequest(name=name)),
                     (2, pb.ClosePollDescriptorRequest(name=name)))
            seen.append(one.results(2)[1].open.poll_descriptor.generation)
        c = durable.crash()
    assert len(set(seen)) == 3 and seen == sorted(seen)


def test_a_drain_leaves_as_much_as_a_crash(durable, name):
    c = durable.c
    c.open(name)
    c.ready(name, b"x")
    durable.server.terminate()
    assert durable.server.exit_code() == 0
    assert durable.begin().wait(name).signal.data == b"x"


# Deadlines


def test_a_deadline_is_not_moved(durable, name):
    c = durable.c
    c.open(name)
    assert c.deadline(name, 1.5, READ_WRITE).read_effect == ARMED
    c.deadline(name, 1000, WRITE)
    before = [seconds(c.side(name, mode).deadline.at) for mode in (0, WRITE)]
    c = durable.crash()
    after = [seconds(c.side(name, mode).deadline.at) for mode in (0, WRITE)]
    assert after == pytest.approx(before, abs=CLOCKS_APART_S)
    assert timed_out(c.wait(name), BY_DEADLINE)
    assert time.time() > before[0] - CLOCKS_APART_S
    assert c.side(name).deadline.expired and not c.side(name, WRITE).deadline.expired


def test_a_deadline_that_passed_meanwhile_has_expired(durable, name):
    c = durable.c
    c.open(name)
    c.ready(f"{name}/latch", open_if_missing=options(kind=LATCH))
    at = time.time() + 0.2
    for one in (name, f"{name}/latch"):
        c.deadline(one, at=at)
    durable.server.kill()
    eventually(lambda: time.time() > at, "it has passed")
    c = durable.begin()
    answer = c.wait(name)
    assert timed_out(answer, BY_DEADLINE) and seconds(answer.late) < 0.1, "the wait came later"
    assert c.side(name).deadline.expired
    assert c.takes(f"{name}/latch"), "an open latch is open"
    assert durable.crash().side(name).deadline.expired


# Calls that are repeated


def raw(c, method, request):
    """The bytes of the answer."""
    call = c.channel.unary_unary(f"/waitd.v1.WaitService/{method}",
                                 request_serializer=type(request).SerializeToString)
    return call(request, timeout=CALL_LIMIT_S)


def test_a_waits_outcome_is_there_for_its_id(durable, name):
    c = durable.c
    for one in ("ready", "timeout", "closed"):
        c.open(f"{name}/{one}")
    c.ready(f"{name}/ready", signal=SIGNAL)
    requests = [pb.WaitRequest(name=f"{name}/{one}", wait_id="w", timeout=duration(timeout))
                for one, timeout in (("ready", 9), ("timeout", 0.01), ("closed", 9))]
    before = [raw(c, "Wait", request) for request in requests[:2]]
    call = c.park(f"{name}/closed", 9, wait_id="w")
    c.close(f"{name}/closed")
    before.append(call.result().SerializeToString())
    c = durable.crash()
    assert [raw(c, "Wait", request) for request in requests] == before
    assert not c.takes(f"{name}/ready")
    refusal_of(c.start_wait(f"{name}/ready", wait_id="w", mode=WRITE), "INVALID_ARGUMENT",
               "ID_REUSED")


def test_a_polls_outcome_is_there_for_its_id(durable, name):
    c = durable.c
    names = [f"{name}/{i}" for i in range(5)]
    for one in names:
        c.open(one)
    call = c.park_poll(names, need=3, wait_id="p")
    for number in (4, 0, 2):
        c.ready(names[number], b"%d" % number)
    answer = call.result()
    c = durable.crash()
    assert c.poll(names, need=3, wait_id="p") == answer
    assert [result.target for result in answer.results] == [0, 2, 4]
    assert not any(c.takes(one) for one in names)


def test_a_repeated_request_is_not_carried_out_again(durable, name):
    c = durable.c
    requests = {
        "OpenPollDescriptor": pb.OpenPollDescriptorRequest(
            name=f"{name}/opened", must_create=True, request_id="r"),
        "ClosePollDescriptor": pb.ClosePollDescriptorRequest(
            name=f"{name}/closed", request_id="r"),
        "Ready": pb.ReadyRequest(name=f"{name}/ready", request_id="r"),
        "Reset": pb.ResetRequest(name=f"{name}/reset", request_id="r"),
    }
    for one in ("closed", "ready", "reset"):
        c.open(f"{name}/{one}")
    c.ready(f"{name}/reset")
    before = {method: raw(c, method, request) for method, request in requests.items()}
    assert c.takes(f"{name}/ready")
    c.ready(f"{name}/reset")
    c.open(f"{name}/closed")
    c = durable.crash()
    assert {method: raw(c, method, request) for method, request in requests.items()} == before
    assert not c.takes(f"{name}/ready") and c.takes(f"{name}/reset")
    assert c.is_open(f"{name}/closed")


def test_readys_that_were_under_way_are_carried_out_once(durable, name):
    """Some were saved and not answered, some were not saved; the same ids settle both."""
    c = durable.c
    names = [f"{name}/{i}" for i in range(200)]
    first_sent = time.monotonic()
    calls = [c.start_ready(one, b"x", request_id="r", open_if_missing=options()) for one in names]
    calls[20].result()
    c = durable.crash()
    for one, call in zip(names, calls, strict=True):
        answer = c.ready(one, b"x", request_id="r", open_if_missing=options(),
                         first_sent_ago=time.monotonic() - first_sent)
        assert answer.effect == REMEMBERED
        if call.exception() is None:
            assert call.result() == answer
        else:
            assert ended(call)
    assert all(c.takes(one) and not c.takes(one) for one in names)


def test_a_wait_without_an_id_is_handed_over_at_most_once(durable, name):
    c = durable.c
    c.open(name)
    c.ready(name, b"1")
    assert c.wait(name).signal.data == b"1"
    call = c.park(name)
    durable.server.kill()
    assert ended(call)
    c = durable.begin()
    assert c.side(name).waiters == 0 and not c.takes(name)
    assert c.ready(name, b"2").effect == REMEMBERED


RELEASES = {
    "latch": (READY, lambda c, name, **retry: c.start_ready(name, b"x", **retry)),
    "deadline": (TIMED_OUT, lambda c, name, **retry: c.start_deadline(name, 0, **retry)),
    "close": (CLOSED, lambda c, name, **retry: c.start_close(name, **retry)),
}


@pytest.mark.parametrize("how", RELEASES)
def test_a_crash_in_a_release_of_many(durable, name, how):
    """It takes many holds of a lock and many commits. Whoever was told of it has the same again,
    the others find the name as it left it, and the count knows of those who were told."""
    c, count = durable.c, 10_000
    c.open(name, kind=LATCH)
    wanted, release = RELEASES[how]

    def waits(number):
        return [(i, pb.WaitRequest(name=name, wait_id=f"w{number}-{i}", timeout=duration(1000)))
                for i in range(1, 1001)]

    def park(number):
        one = Stream(c.channel, hello())
        one.welcome()
        one.send(*waits(number))
        return one
    streams = [park(number) for number in range(count // 1000)]
    c.await_parked(name, count)
    call = release(c, name, request_id="r")
    told = {result.id: result.wait for result in streams[0].next().results}
    durable.server.kill()
    assert told and (call.exception() is None or ended(call))
    c = durable.begin()
    assert c.is_open(name) == (how != "close")
    again = release(c, name, request_id="r", first_sent_ago=1).result()
    for number in range(count // 1000):
        for i, result in park(number).results(1000).items():
            if number == 0 and i in told:
                assert result.wait == told[i]
            elif how == "close" and result.HasField("error"):
                assert result.error.reason == "NO_DESCRIPTOR"
            else:
                assert result.wait.outcome == wanted
    assert again.woken >= len(told)


# Hand-offs


def test_a_hand_off_is_taken_back_at_its_instant(durable, name):
    c = durable.c
    c.open(name)
    c.ready(name, signal=SIGNAL)
    begin = time.monotonic()
    first = c.wait(name, wait_id="w1", ack_timeout=1.5)
    c = durable.crash()
    if time.monotonic() - begin < 1.4:
        assert (c.side(name).unacked, c.side(name).returned) == (1, 0)
        assert c.wait(name, wait_id="w1", ack_timeout=1.5) == first
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    assert time.monotonic() - begin > 1.5
    c = durable.crash()
    refusal_of(c.start_ack(name, "w1", first), "FAILED_PRECONDITION", "STALE_DELIVERY")
    second = c.wait(name, wait_id="w2", ack_timeout=1000)
    assert (second.attempt, second.signal) == (2, SIGNAL) and second.delivery > first.delivery
    c.ack(name, "w2", second)
    c = durable.crash()
    c.ack(name, "w2", second)
    assert (c.side(name).unacked, c.side(name).returned) == (0, 0) and not c.takes(name)


def test_a_reset_and_a_close_after_a_hand_off_hold(durable, name):
    c = durable.c
    handed = {}
    for one in ("reset", "closed"):
        c.open(f"{name}/{one}")
        c.ready(f"{name}/{one}", b"x")
        handed[one] = c.wait(f"{name}/{one}", wait_id="w", ack_timeout=1)
    c.reset(f"{name}/reset")
    c.close(f"{name}/closed")
    c = durable.crash()
    refusal_of(c.start_ack(f"{name}/closed", "w", handed["closed"]), "ABORTED", "OUTCOME_UNKNOWN")
    c.open(f"{name}/closed")
    refusal_of(c.start_ack(f"{name}/closed", "w", handed["closed"]), "ABORTED", "STALE_GENERATION")
    eventually(lambda: c.side(f"{name}/reset").unacked == 0, "its time is over")
    for _ in range(2):
        refusal_of(c.start_ack(f"{name}/reset", "w", handed["reset"]), "FAILED_PRECONDITION",
                   "STALE_DELIVERY")
        for one in handed:
            side = c.side(f"{name}/{one}")
            assert (side.unacked, side.returned, side.state) == (0, 0, NIL)
        c = durable.crash()


def test_what_a_reset_forgot_stays_the_answer_of_its_wait(durable, name):
    """Nobody else has it."""
    c = durable.c
    c.open(name)
    c.ready(name, b"x")
    handed = c.wait(name, wait_id="w", ack_timeout=0.1)
    c.reset(name)
    eventually(lambda: c.side(name).unacked == 0, "its time is over")
    assert c.wait(name, wait_id="w", ack_timeout=0.1) == handed
    c = durable.crash()
    assert c.wait(name, wait_id="w", ack_timeout=0.1) == handed


def test_deliveries_count_in_their_limit_from_the_start(start, name):
    durable = Durable(start("--store=rocksdb", "--max-deliveries=2"))
    c = durable.c
    c.open(name, kind=FIFO)
    handed = []
    for number in range(2):
        c.ready(name)
        handed.append(c.wait(name, wait_id=f"w{number}", ack_timeout=100))
    c = durable.crash()
    refusal_of(c.start_wait(name, wait_id="w2", ack_timeout=100), "RESOURCE_EXHAUSTED",
               "LIMIT_DELIVERIES")
    assert c.wait(name, wait_id="w0", ack_timeout=100) == handed[0], "which it has already"
    c.ack(name, "w1", handed[1])
    c.park(name, wait_id="w2", ack_timeout=100)
    durable.disconnect()


def test_max_wait_is_no_outcome_after_a_crash(start, name):
    durable = Durable(start("--store=rocksdb", "--max-wait=100ms"))
    c = durable.c
    c.open(name)
    assert timed_out(c.wait(name, wait_id="w"), BY_MAX_WAIT)
    c = durable.crash()
    assert timed_out(c.wait(name, wait_id="w"), BY_MAX_WAIT)
    c.ready(name, b"x")
    assert c.wait(name, wait_id="w").signal.data == b"x"
    durable.disconnect()


def test_a_ready_that_nobody_came_for_goes_back(start, name):
    durable = Durable(start("--store=rocksdb", "--linger=1s"))
    c = durable.c
    c.open(name)
    with durable.server.client() as former:
        former.park(name, wait_id="w").cancel()
        c.await_detached(name)
        assert c.ready(name, b"x").effect == WOKE
    c = durable.crash()
    eventually(lambda: c.side(name).state == HELD, "nobody came for it")
    assert c.wait(name).signal.data == b"x"
    durable.disconnect()


# Sessions


def test_a_session_is_not_known_and_its_waits_park_again(durable, name):
    c = durable.c
    c.open(name, kind=FIFO)
    requests = [(number, pb.WaitRequest(name=name, wait_id=f"w{number}", timeout=duration(1000)))
                for number in (1, 2)]
    ephemeral = pb.OpenPollDescriptorRequest(name=f"{name}/mine", options=options(ephemeral=True))
    with Stream(c.channel, hello()) as one:
        token = one.welcome().resume_token
        one.send(*requests, (3, ephemeral), (4, pb.ReadyRequest(name=f"{name}/mine")))
        one.results(2)
        c.await_parked(name, 2)
        durable.server.kill()
        assert one.ended().code() == grpc.StatusCode.UNAVAILABLE
    c = durable.begin()
    assert not c.is_open(f"{name}/mine"), "its session has ended"
    assert c.side(name).waiters == 0, "a wait is its client's, who parks it again"
    with Stream(c.channel, hello(resume_token=token)) as one:
        welcome = one.welcome()
        assert not welcome.resumed and welcome.received_through == 0
        one.send(*((number, again) for number, again in requests))
        c.await_parked(name, 2)
        assert c.ready(name, b"first").effect == WOKE
        assert result_of(one.results(1)[1]).signal.data == b"first"
    assert not durable.crash().is_open(f"{name}/mine")


def test_a_client_does_not_notice(durable, name):
    """Over several crashes: waits that are parked, or were woken unseen, and Readys in between."""
    address = durable.server.address
    session = Session(lambda: grpc.insecure_channel(
        address, options=[("grpc.use_local_subchannel_pool", 1)]), linger=10, pause_s=0.001)
    fifo = options(kind=FIFO)

    def wait(one):
        return session.start(pb.WaitRequest(name=one, wait_id="w", open_if_missing=fifo))

    def ready(one):
        return session.start(pb.ReadyRequest(name=one, request_id="r", open_if_missing=fifo,
                                             signal=pb.Signal(data=one.encode())))
    waits, readys = {}, []
    for life in range(3):
        names = [f"{name}/{life}/{i}" for i in range(50)]
        waits.update((one, wait(one)) for one in names)
        readys += [ready(one) for one in names[:25]]
        readys[-20].result()
        durable.crash()
        readys += [ready(one) for one in names[25:]]
    assert all(answer.result().effect in (WOKE, REMEMBERED) for answer in readys)
    for one, call in waits.items():
        assert call.result().signal.data == one.encode()
    assert session.anew == 3 and not session.error
    assert not any(durable.c.takes(one) for one in waits)
    session.close()


@pytest.mark.parametrize("new", [True, False])
def test_a_start_that_is_killed_does_no_harm(start, waitd, tmp_path, name, new):
    """At whatever moment: while a store is made, and while what is in it is brought back."""
    flags = ["--store=rocksdb", f"--data-dir={tmp_path}/data"]
    if not new:
        durable = Durable(start(*flags))
        durable.c.ready(name, b"x", open_if_missing=options())
        durable.server.kill()
        durable.disconnect()
    for pause_s in (0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05):
        with subprocess.Popen([waitd, f"--listen-address=unix:{tmp_path}/s",
                               "--metrics-address=127.0.0.1:0", *flags],
                              env=clean_environment(), stderr=subprocess.DEVNULL) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=pause_s)
            process.kill()
        assert process.returncode == -signals.SIGKILL
    with start(*flags).client() as c:
        answer = c.wait(name, 0, open_if_missing=options())
        assert answer.outcome == (TIMED_OUT if new else READY)
