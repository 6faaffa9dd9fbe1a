"""Sessions: hello, order, limits, resume, and what is left when one ends; C74 to C75b."""

import contextlib
import signal as signals
import time

import grpc
import pytest
from google.protobuf.internal import encoder
from harness import (
    BY_WAIT, CLOSED, FIFO, HELD, LATCH, READY, REMEMBERED, TIMED_OUT, WOKE, duration,
    check_refusal, eventually, measured_memory, options, refusal_of, seconds)
from session import Session, SessionClient, SessionError, Stream, hello, result_of
from waitd.v1 import waitd_pb2 as pb

INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
PAYLOAD_BYTES_MAX = 1000
MESSAGE_BYTES_MAX = PAYLOAD_BYTES_MAX + (4 << 20)
MESSAGE_OPERATIONS_MAX = 65_536
FIRST_BYTES_MAX = 48 << 10


def wait(name, timeout=None, **fields):
    return pb.WaitRequest(name=name, timeout=duration(timeout), **fields)


def ready(name, data=b"", **fields):
    return pb.ReadyRequest(name=name, signal=pb.Signal(data=data), **fields)


def open_(name, kind=FIFO, **fields):
    return pb.OpenPollDescriptorRequest(name=name, options=options(kind=kind, **fields))


def error_of(result):
    """The reason of a refused operation."""
    assert result.WhichOneof("result") == "error", result
    return result.error.reason


def sessions(server):
    return server.metrics()("waitd_sessions")


@pytest.fixture
def stream(c):
    """A stream of a new session, greeted, and its resume token."""
    with Stream(c.channel, hello("tester", linger=0.001)) as one:
        one.token = one.welcome().resume_token
        yield one


def resumed(c, token, acked_sequence=0):
    """Another stream of a session, and what it was welcomed with."""
    one = Stream(c.channel, hello(resume_token=token, acked_sequence=acked_sequence))
    return one, one.welcome()


# Hello


def test_a_welcome_says_what_holds(start):
    server = start("--max-parked=7", "--max-payload-bytes=99", "--retention=3s")
    with server.client() as c, Stream(c.channel, hello()) as one, Stream(c.channel, hello()) as two:
        welcome = one.welcome()
        assert (welcome.max_parked, welcome.max_payload_bytes) == (7, 99)
        assert seconds(welcome.retention) == 3 and seconds(welcome.keepalive) > 0
        assert not welcome.resumed and welcome.received_through == 0
        assert welcome.server and len(welcome.resume_token) >= 16
        assert two.welcome().resume_token != welcome.resume_token
        assert sessions(server) == 2
        one.half_close()
        assert one.ended() is None
        eventually(lambda: sessions(server) == 1, "one has ended")


def test_a_session_is_shown_by_what_it_calls_itself(c, stream, name):
    stream.send((1, open_(name, ephemeral=True)), (2, wait(name, wait_id="0123456789")))
    stream.results(1)
    shown = c.get(name)
    assert (shown.ephemeral, shown.owner) == (True, "tester")
    assert shown.read.waiter_details[0].client == "tester"
    assert shown.read.waiter_details[0].wait_id_hint == "6789"


def test_operations_go_with_the_hello(c, name):
    with Stream(c.channel) as one:
        one.send((3, open_(name)), (4, ready(name)), hello=hello())
        assert one.welcome().received_through == 0
        assert set(one.results(2)) == {3, 4}


# Operations


def test_results_come_as_they_are_decided(c, stream, name):
    stream.send((1, open_(name)), *((i, wait(f"{name}")) for i in (2, 3)), (4, open_(f"{name}/b")),
                (5, wait(f"{name}/b", 0)))
    found = stream.results(3)
    assert set(found) == {1, 4, 5}
    assert found[5].wait.timeout_cause == BY_WAIT
    c.ready(name, b"first")
    assert result_of(stream.results(1)[2]).signal.data == b"first"
    c.ready(name, b"second")
    assert result_of(stream.results(1)[3]).signal.data == b"second"


def test_each_operation_answers_as_its_call(c, stream, name):
    generation = c.open(name).poll_descriptor.generation
    stream.send(
        (1, open_(name, kind=0)), (2, ready(name, b"x")), (3, pb.ResetRequest(name=name)),
        (4, pb.SetDeadlineRequest(name=name, timeout=duration(0))), (5, wait(name)),
        (6, pb.PollRequest(targets=[pb.PollRequest.Target(name=name)])),
        (7, pb.AckRequest(name=name, wait_id="w", delivery=1, generation=generation)),
        (8, pb.ClosePollDescriptorRequest(name=name)), (9, wait(name)), (10, wait("")))
    found = stream.results(10)
    assert found[1].open.poll_descriptor.generation == generation
    assert found[2].ready.effect == REMEMBERED and found[3].reset.forgot
    assert found[4].set_deadline.read.expired
    assert (found[5].wait.outcome, found[6].poll.outcome) == (TIMED_OUT, TIMED_OUT)
    assert error_of(found[7]) == "OUTCOME_UNKNOWN" and found[8].HasField("close")
    assert error_of(found[9]) == "NO_DESCRIPTOR"
    refusal = check_refusal(SessionError(found[10].error), INVALID, "BAD_NAME", "name")
    assert refusal.message


def test_a_cancel_ends_a_wait_at_once_and_answers_with_nothing(c, stream, name):
    stream.send((1, open_(name)), (2, wait(name, wait_id="w")), (3, wait(name)), (4, 2), (5, 99),
                (6, 1), (7, 7))
    found = stream.results(6)
    assert found[2].error.code == grpc.StatusCode.CANCELLED.value[0]
    assert all(found[i].WhichOneof("result") is None for i in (4, 5, 6, 7))
    assert c.side(name).waiters == 1, "one with an id does not linger"
    c.ready(name)
    assert stream.results(1)[3].wait.outcome == READY
    stream.send((8, 3), (9, pb.PollRequest(targets=[pb.PollRequest.Target(name=name)])), (10, 9))
    found = stream.results(3)
    assert found[8].WhichOneof("result") is None, "it had its outcome"
    assert found[9].error.code == grpc.StatusCode.CANCELLED.value[0]
    assert c.ready(name).effect == REMEMBERED


def test_a_cancel_storm_loses_no_ready(c, stream, name):
    """Waits and their cancels in one message, Readys from elsewhere: each goes to one wait."""
    c.open(name, kind=FIFO)
    number, got, accepted = 0, 0, 0
    for _ in range(20):
        begin = number
        stream.send(*((begin + i, wait(name)) for i in range(1, 51)))
        calls = [c.start_ready(name) for _ in range(10)]
        stream.send(*((begin + 50 + i, begin + i) for i in range(1, 51)))
        number += 100
        found = stream.results(100)
        got += sum(found[begin + i].wait.outcome == READY for i in range(1, 51))
        accepted += sum(call.result().effect in (WOKE, REMEMBERED) for call in calls)
        got += c.takes(name)
        assert not c.takes(name)
    assert c.side(name).waiters == 0
    assert got == accepted >= 20


def test_a_session_takes_over_a_calls_wait_and_the_other_way_round(c, stream, name):
    c.open(name)
    first = c.park(name, wait_id="w")
    stream.send((1, wait(name, wait_id="w")))
    refusal_of(first, "ABORTED", "TAKEN_OVER")
    again = c.start_wait(name, wait_id="w")
    assert error_of(stream.results(1)[1]) == "TAKEN_OVER"
    stream.send((2, 1))
    stream.results(1)
    assert c.ready(name, b"x").effect == WOKE
    assert again.result().signal.data == b"x"
    stream.send((3, wait(name, wait_id="w")))
    assert stream.results(1)[3].wait == again.result()


def test_C75b_operations_on_one_name_take_effect_in_the_order_of_their_ids(c, stream, name):
    """A Ready and two tries, over and over, in messages of many sizes."""
    c.open(name)
    operations = []
    for i in range(0, 3000, 3):
        operations += [(i + 1, ready(name, b"%d" % i)), (i + 2, wait(name, 0)),
                       (i + 3, wait(name, 0))]
    at, size = 0, 1
    while at < len(operations):
        stream.send(*operations[at:at + size])
        at, size = at + size, size * 2
    found = stream.results(len(operations))
    for i in range(0, 3000, 3):
        assert found[i + 1].ready.effect == REMEMBERED
        assert found[i + 2].wait.signal.data == b"%d" % i
        assert found[i + 3].wait.timeout_cause == BY_WAIT


# Limits


def test_the_limit_of_parked_waits_is_a_sessions_own(start, name):
    server = start("--max-parked=3")
    with server.client() as c, Stream(c.channel, hello()) as one, Stream(c.channel, hello()) as two:
        one.welcome(), two.welcome()
        c.open(name, kind=FIFO)
        one.send(*((i, wait(name)) for i in (1, 2, 3, 4)), (5, wait(name, 0)),
                 (6, pb.PollRequest(targets=[pb.PollRequest.Target(name=name)])))
        found = one.results(3)
        check_refusal(SessionError(found[4].error), EXHAUSTED, "LIMIT_WAITERS")
        assert found[5].wait.timeout_cause == BY_WAIT, "a try needs no place"
        assert error_of(found[6]) == "LIMIT_WAITERS"
        two.send((1, wait(name)))
        c.await_parked(name, 4)
        one.send((7, 1), (8, wait(name)))
        assert set(one.results(2)) == {1, 7}
        c.await_parked(name, 4)
        c.close(name)
        assert {result.wait.outcome for result in one.results(3).values()} == {CLOSED}


@pytest.mark.parametrize("messages", ["one message", "one each"])
def test_waits_over_the_limit_do_not_stand_in_the_way_of_their_readys(start, name, messages):
    server = start("--max-parked=100")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        c.open(name, kind=FIFO)
        operations = ([(i, wait(name)) for i in range(1, 102)] +
                      [(i, ready(name, b"%d" % i)) for i in range(102, 202)])
        if messages == "one message":
            one.send(*operations)
        else:
            for each in operations:
                one.send(each)
        found = one.results(201)
        assert error_of(found[101]) == "LIMIT_WAITERS"
        assert [found[i].wait.signal.data for i in range(1, 101)] == [
            b"%d" % i for i in range(102, 202)]


def test_results_not_acknowledged_have_a_limit_and_an_ack_lets_go_on(start, name):
    server = start("--max-unacked=4")
    with server.client() as c, Stream(c.channel, hello()) as one, Stream(c.channel, hello()) as two:
        one.welcome(), two.welcome()
        c.open(name, kind=FIFO)
        one.send((1, wait(name, wait_id="w", ack_timeout=duration(100))), (2, wait(name)))
        c.ready(name, b"x")
        handed = one.results(1, acks=False)[1].wait
        for i in (3, 4, 5):
            one.send((i, pb.ResetRequest(name=name)))
            assert one.results(1, acks=False)[i].HasField("reset")
        for i in (6, 7):
            one.send((i, ready(name)))
            check_refusal(SessionError(one.results(1, acks=False)[i].error), EXHAUSTED,
                          "LIMIT_UNACKED")
        assert c.side(name).waiters == 1, "a refused one did nothing"
        one.send((8, pb.AckRequest(name=name, wait_id="w", delivery=handed.delivery,
                                   generation=handed.generation)))
        assert one.results(1, acks=False)[8].HasField("ack")
        one.send((9, 2))
        response = one.next()
        found = list(response.results)
        while len(found) < 2:
            response = one.next()
            found += response.results
        assert {result.id for result in found} == {2, 9}
        two.send((1, ready(name)))
        assert two.results(1)[1].ready.effect == REMEMBERED
        one.send((10, ready(name)), acked=response.sequence)
        assert one.results(1)[10].HasField("ready")


def test_the_limit_of_sessions(start, name):
    server = start("--max-sessions=2")
    with server.client() as c:
        with Stream(c.channel, hello()) as one, Stream(c.channel, hello()) as two:
            token = one.welcome().resume_token
            two.welcome()
            with Stream(c.channel, hello()) as three:
                check_refusal(three.ended(), EXHAUSTED, "LIMIT_SESSIONS")
            again, welcome = resumed(c, token)
            assert welcome.resumed, "a resume needs no place"
            again.half_close()
            assert again.ended() is None
            eventually(lambda: sessions(server) == 1, "one has ended")
            with Stream(c.channel, hello()) as three:
                three.welcome()
                two.send((1, open_(name)))
                assert two.results(1)[1].open.created


# Resume


def test_C74_a_resume_gets_each_unacknowledged_response_again_byte_for_byte(c, name):
    c.open(name, kind=FIFO)
    with Stream(c.channel, hello()) as one:
        token = one.welcome().resume_token
        said = []
        for i in range(1, 11):
            one.send((2 * i - 1, ready(name, b"%d" % i)), (2 * i, wait(name, 0)))
            count = 0
            while count < 2:
                response = one.next()
                said.append((response.sequence, one.raw))
                count += len(response.results)
            one.send(acked=0)
        one.send((1000, wait(name)), (1001, wait(name)))
        c.await_parked(name, 2)
    assert [sequence for sequence, _ in said] == list(range(1, len(said) + 1))
    await_broken = said[3][0]
    two, welcome = resumed(c, token, acked_sequence=await_broken)
    assert (welcome.resumed, welcome.received_through) == (True, 1001)
    for sequence, raw in said[await_broken:]:
        assert (two.next().sequence, two.raw) == (sequence, raw)
    c.ready(name, b"x")
    response = two.next()
    assert response.sequence == len(said) + 1 and response.results[0].id == 1000
    two.break_off()
    three, welcome = resumed(c, token, acked_sequence=len(said))
    again = three.next()
    assert again == response
    three.send((1002, ready(name)), acked=again.sequence)
    assert set(three.results(2)) == {1001, 1002}
    three.half_close()
    assert three.ended() is None


def test_C74_what_is_decided_between_two_streams_is_in_the_second(c, name):
    c.open(name)
    with Stream(c.channel, hello()) as one:
        token = one.welcome().resume_token
        one.send((1, wait(name)))
        c.await_parked(name)
    c.await_detached(name)
    assert c.ready(name, b"x").effect == WOKE
    two, welcome = resumed(c, token)
    assert (welcome.resumed, welcome.received_through) == (True, 1)
    assert two.results(1)[1].wait.signal.data == b"x"
    two.half_close()
    assert two.ended() is None
    assert not c.takes(name)


def test_C74_a_resume_ends_the_former_stream_first(c, name):
    c.open(name, kind=FIFO)
    one = Stream(c.channel, hello())
    token = one.welcome().resume_token
    one.send((1, wait(name)))
    c.await_parked(name)
    two, welcome = resumed(c, token)
    assert (welcome.resumed, welcome.received_through) == (True, 1)
    one.send((2, ready(name, b"by the former one")))
    assert one.ended() is not None
    two.send((2, ready(name, b"by the latter one")))
    assert two.results(2)[1].wait.signal.data == b"by the latter one"
    assert not c.takes(name)
    two.half_close()
    assert two.ended() is None


def test_C74_a_session_that_is_not_known_is_a_new_one(c, start, name):
    with Stream(c.channel, hello()) as one:
        ended = one.welcome().resume_token
        one.half_close()
        assert one.ended() is None
    with start().client() as other, Stream(other.channel, hello()) as one:
        foreign = one.welcome().resume_token
        for token in (ended, foreign, "nobody's", "x" * 1000):
            two, welcome = resumed(c, token, acked_sequence=5)
            assert not welcome.resumed and welcome.received_through == 0
            assert welcome.resume_token not in ("", token)
            two.send((1, open_(f"{name}/{len(token)}/{token[:8]}")))
            assert two.next().sequence == 1
            two.half_close()
            assert two.ended() is None
        one.send((1, open_(name)))
        assert one.results(1)[1].open.created, "the other server's is unharmed"


@pytest.mark.parametrize("linger", [None, 1000, 0.2])
def test_C74_a_session_is_kept_for_its_linger(start, name, linger):
    server = start("--linger=200ms" if linger != 0.2 else "--linger=1h")
    with server.client() as c:
        c.open(name)
        with Stream(c.channel, hello(linger=linger)) as one:
            token = one.welcome().resume_token
            one.send((1, wait(name)))
            c.await_parked(name)
        c.await_detached(name)
        assert sessions(server) == 1
        eventually(lambda: sessions(server) == 0, "it ends")
        two, welcome = resumed(c, token)
        assert not welcome.resumed
        two.break_off()


# Bad sessions


BAD = {
    "no hello": lambda one: None,
    "hello twice": lambda one: one.send(hello=hello()),
    "the same id": lambda one: one.send((10, wait("x", 0))),
    "an id twice": lambda one: one.send((11, wait("x", 0)), (11, wait("x", 0))),
    "a smaller id": lambda one: one.send((9, wait("x", 0))),
    "ids backwards": lambda one: one.send((12, wait("x", 0)), (11, wait("x", 0))),
    "no id": lambda one: one.send((0, wait("x", 0))),
    "an ack of the future": lambda one: one.send(acked=2),
    "no message": lambda one: one.send_raw(b"\xff\xff\xff"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_session_ends_and_others_are_unharmed(c, stream, shared_server, name, bad):
    c.open(name)
    stream.send((1, wait(name)))
    c.await_parked(name)
    c.open(f"{name}/bad")
    token = None
    one = Stream(c.channel)
    if bad == "no hello":
        one.send((10, wait(f"{name}/bad")))
    else:
        one.send((10, wait(f"{name}/bad")), hello=hello("bad"))
        token = one.welcome().resume_token
        c.await_parked(f"{name}/bad")
        BAD[bad](one)
    check_refusal(one.ended(), INVALID, "BAD_SESSION")
    c.await_parked(f"{name}/bad", 0)
    if token:
        again, welcome = resumed(c, token)
        assert not welcome.resumed
        again.half_close()
        assert again.ended() is None
    assert c.ready(name, b"x").effect == WOKE
    assert stream.results(1)[1].wait.signal.data == b"x"


def test_an_ack_of_the_future_in_a_resume_is_bad(c, name):
    with Stream(c.channel, hello()) as one:
        token = one.welcome().resume_token
        one.send((1, open_(name)))
        one.results(1, acks=False)
    with Stream(c.channel, hello(resume_token=token, acked_sequence=2)) as two:
        check_refusal(two.ended(), INVALID, "BAD_SESSION")


def test_a_client_calls_itself_what_a_label_may_say(c, name):
    c.open(name)
    for good in ("n" * 256, "\u00e9" * 128, "a (b) 'c'"):
        with Stream(c.channel, hello(good, linger=0.001)) as one:
            one.send((1, wait(name)))
            c.await_parked(name)
            assert c.get(name).read.waiter_details[0].client == good
            one.half_close()
            c.ready(name)
            assert one.ended() is None
    for bad in ("n" * 257, "\u00e9" * 128 + "n", "a\nb", "\x1b[31mroot", "a\x7f", "a\u0085b"):
        with Stream(c.channel, hello(bad)) as two:
            check_refusal(two.ended(), INVALID, "BAD_SESSION", "hello.client")


def test_a_stream_without_a_hello_ends(c):
    """After 10 s, and no earlier; one that has said hello stays."""
    with Stream(c.channel, hello(linger=0.001)) as one:
        one.welcome()
        begin = time.monotonic()
        with Stream(c.channel) as silent:
            check_refusal(silent.ended(), INVALID, "BAD_SESSION", "hello")
        assert 9.5 < time.monotonic() - begin < 20
        one.half_close()
        assert one.ended() is None


# What is left


def test_a_half_close_answers_the_rest_and_ends_without_linger(start, name):
    server = start("--linger=1h")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        one.send((1, open_(name, ephemeral=True)), (2, wait(name, 0.1)), (3, wait(name)))
        one.half_close()
        assert set(one.results(2, acks=False)) == {1, 2}
        assert c.ready(name, b"x").effect == WOKE
        assert one.results(1, acks=False)[3].wait.signal.data == b"x"
        assert one.ended() is None
        eventually(lambda: sessions(server) == 0, "it has ended")
        eventually(lambda: not c.is_open(name), "what was its own is closed")


ENDS = ["half-close", "linger", "bad"]


def end(one, how):
    if how == "half-close":
        one.half_close()
        assert one.ended() is None
    elif how == "bad":
        one.send(acked=1 << 40)
        check_refusal(one.ended(), INVALID, "BAD_SESSION")
    else:
        one.break_off()


@pytest.mark.parametrize("how", ENDS)
def test_C75_ephemeral_descriptors_close_with_the_session_that_opened_them(c, name, how):
    own, of_others, former = (f"{name}/{i}" for i in range(3))
    c.open(of_others, kind=FIFO)
    with Stream(c.channel, hello(linger=0.05)) as one:
        one.welcome()
        one.send(*((i, open_(each, ephemeral=True))
                   for i, each in enumerate((own, of_others, former), 1)),
                 (4, ready(f"{name}/3", open_if_missing=options(kind=FIFO, ephemeral=True))),
                 (5, open_(f"{name}/kept")))
        found = one.results(5)
        assert [found[i].open.created for i in (1, 2, 3)] == [True, False, True]
        c.close(former)
        c.open(former, kind=FIFO)
        call = c.park(own)
        end(one, how)
        assert call.result().outcome == CLOSED
    eventually(lambda: not c.is_open(f"{name}/3"), "also what a Ready opened")
    assert c.is_open(of_others) and c.is_open(former) and c.is_open(f"{name}/kept")


@pytest.mark.parametrize("how", ["linger", "bad"])
def test_C75_the_waits_of_a_session_that_ends_leave_and_spend_nothing(c, name, how):
    c.open(name, kind=FIFO)
    c.open(f"{name}/b", kind=FIFO)
    with Stream(c.channel, hello(linger=0.05)) as one:
        one.welcome()
        one.send((1, wait(name)), (2, wait(name, wait_id="w")), (3, pb.PollRequest(
            targets=[pb.PollRequest.Target(name=each) for each in (name, f"{name}/b")], need=2)))
        c.await_parked(name, 3)
        end(one, how)
        c.await_parked(name, 0)
        c.await_parked(f"{name}/b", 0)
    assert c.ready(name).effect == REMEMBERED and c.ready(f"{name}/b").effect == REMEMBERED


@pytest.mark.parametrize("wait_id", ["", "w"])
def test_C75_readys_that_were_never_written_go_back_in_front(c, name, wait_id):
    c.open(name)
    c.open(f"{name}/b")
    with Stream(c.channel, hello(linger=0.3)) as one:
        one.welcome()
        one.send((1, wait(name, wait_id=wait_id)), (2, pb.PollRequest(
            targets=[pb.PollRequest.Target(name=f"{name}/b")], wait_id=wait_id)))
        c.await_parked(name)
        c.await_parked(f"{name}/b")
    c.await_detached(name)
    for each in (name, f"{name}/b"):
        assert c.ready(each, b"1").effect == WOKE
        assert c.ready(each, b"2").effect == REMEMBERED
    for each in (name, f"{name}/b"):
        eventually(lambda each=each: c.side(each).returned == 1, "it is back")
        assert c.side(each).state == HELD
        assert [c.wait(each, 0).signal.data for _ in range(2)] == [b"1", b"2"]
        assert not c.takes(each)


def test_C75_a_ready_that_was_written_is_spent(c, name):
    c.open(name)
    with Stream(c.channel, hello(linger=0.001)) as one:
        one.welcome()
        one.send((1, ready(name)), (2, wait(name)), (3, wait(name)))
        one.results(2, acks=False)
        c.await_parked(name)
    c.await_parked(name, 0)
    assert not c.takes(name)


# Size


def test_as_many_operations_in_one_message_as_may_be(c, stream, name):
    count = MESSAGE_OPERATIONS_MAX
    c.open(name, kind=FIFO)
    stream.send(*((i, wait(name)) for i in range(1, count + 1)))
    c.await_parked(name, count)
    assert c.close(name).woken == count
    found = stream.results(count)
    assert all(result.wait.outcome == CLOSED for result in found.values())


def padded(request, size):
    """That request in so many bytes: with a field that this version does not know."""
    def unknown(length):
        return encoder.TagBytes(1000, 2) + encoder._VarintBytes(length) + bytes(length)
    around = len(unknown(size)) - size
    padding = unknown(size - request.ByteSize() - around)
    message = request.SerializeToString() + padding
    assert len(message) == size
    return message


def test_one_operation_more_ends_the_session_and_none_is_carried_out(c, stream, name):
    c.open(name)
    stream.send(*((i, ready(name)) for i in range(1, MESSAGE_OPERATIONS_MAX + 2)))
    check_refusal(stream.ended(), INVALID, "BAD_SESSION")
    assert not c.takes(name)


def test_a_message_at_the_size_limit(start, name):
    """It is carried out, and one that is larger by a byte ends the session."""
    server = start(f"--max-payload-bytes={PAYLOAD_BYTES_MAX}")
    with server.client() as c, Stream(c.channel, hello()) as one:
        token = one.welcome().resume_token
        operation = pb.Operation(id=1, open=open_(name))
        one.send_raw(padded(pb.SessionRequest(operations=[operation]), MESSAGE_BYTES_MAX))
        assert one.results(1)[1].open.created
        operation = pb.Operation(id=2, ready=ready(name))
        one.send_raw(padded(pb.SessionRequest(operations=[operation]), MESSAGE_BYTES_MAX + 1))
        check_refusal(one.ended(), INVALID, "BAD_SESSION")
        two, welcome = resumed(c, token)
        assert not welcome.resumed
        two.half_close()
        assert two.ended() is None
        assert not c.takes(name)


def test_the_first_message_at_its_size_limit(start, name):
    """It says hello, and what more it may hold is little, for a stranger to a session sends it."""
    with start().client() as c:
        operation = pb.Operation(id=1, open=open_(name))
        first = pb.SessionRequest(hello=hello(), operations=[operation])
        with Stream(c.channel) as one:
            one.send_raw(padded(first, FIRST_BYTES_MAX))
            one.welcome()
            assert one.results(1)[1].open.created
        with Stream(c.channel) as one:
            one.send_raw(padded(first, FIRST_BYTES_MAX + 1))
            check_refusal(one.ended(), INVALID, "BAD_SESSION")


def test_a_unary_message_at_the_size_limit(start, name):
    """The same limit: at it a call is carried out, above it refused."""
    server = start(f"--max-payload-bytes={PAYLOAD_BYTES_MAX}")
    with server.client() as c:
        c.open(name, kind=FIFO)
        call = c.channel.unary_unary("/waitd.v1.WaitService/Ready",
                                     response_deserializer=pb.ReadyResponse.FromString)
        assert call(padded(ready(name), MESSAGE_BYTES_MAX)).effect == REMEMBERED
        assert c.takes(name)
        with pytest.raises(grpc.RpcError) as caught:
            call(padded(ready(name), MESSAGE_BYTES_MAX + 1))
        check_refusal(caught.value, INVALID, "PAYLOAD_TOO_LARGE")
        assert not c.takes(name)


def test_large_signals_come_in_messages_that_a_client_takes(c, stream, name):
    count, payload = 200, bytes(60_000)
    c.open(name, kind=LATCH)
    stream.send(*((i, wait(name)) for i in range(1, count + 1)))
    c.await_parked(name, count)
    assert c.ready(name, payload).woken == count
    assert all(result.wait.signal.data == payload for result in stream.results(count).values())


def test_a_slow_reader_costs_others_nothing_and_gets_everything(start, name):
    """100 000 waits released at once, of which 5 000 with signals of 16 KiB, and nobody reads."""
    server = start(env=measured_memory())
    count, heavy, payload = 95_000, 5_000, bytes(16 << 10)
    with server.client() as c, server.client() as reader, Stream(
            reader.channel, hello(), limit_s=80) as one, Stream(c.channel, hello()) as two:
        one.welcome(), two.welcome()
        c.open(f"{name}/heavy", kind=LATCH)
        c.open(name, kind=LATCH)
        half = count // 2
        one.send(*((i, wait(name)) for i in range(1, half + 1)))
        one.send(*((i, wait(name)) for i in range(half + 1, count + 1)))
        one.send(*((i, wait(f"{name}/heavy")) for i in range(count + 1, count + heavy + 1)))
        c.await_parked(name, count)
        c.await_parked(f"{name}/heavy", heavy)
        before = server.rss()
        assert c.ready(f"{name}/heavy", payload).woken == heavy
        assert c.ready(name).woken == count
        for i in range(1, 201):
            two.send((i, ready(f"{name}/other", open_if_missing=options())))
            assert two.results(1)[i].HasField("ready")
        grown = server.rss() - before
        assert grown < heavy * len(payload) / 2, f"{grown} bytes more"
        found = one.results(count + heavy)
        assert all(result.wait.outcome == READY for result in found.values())
        assert found[count + 1].wait.signal.data == payload


# The process


def test_a_drain_lets_a_sessions_waits_end_and_refuses_new_ones(start, name):
    server = start("--drain-timeout=1h")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        one.send((1, open_(name)), (2, wait(name)), (3, wait(name)))
        one.results(1)
        c.await_parked(name, 2)
        server.terminate()
        eventually(lambda: server.metrics()("waitd_draining") == 1, "it drains")
        one.send((4, wait(name)), (5, ready(name, b"x")))
        found = one.results(3)
        check_refusal(SessionError(found[4].error), grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert found[2].wait.signal.data == b"x"
        one.send((6, ready(name, b"y")))
        assert one.results(2)[3].wait.signal.data == b"y"
        assert server.exit_code() == 0
        assert one.ended() is not None


def test_a_drain_that_runs_out_tells_a_sessions_waits(start, name):
    server = start("--drain-timeout=200ms")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        one.send((1, open_(name)), (2, wait(name)))
        one.results(1)
        c.await_parked(name)
        server.terminate()
        assert error_of(one.results(1)[2]) == "DRAINING"
        assert server.exit_code() == 0


def test_an_idle_session_does_not_hold_up_a_drain(start):
    server = start("--drain-timeout=1h")
    with server.client() as c, Stream(c.channel, hello()) as one:
        one.welcome()
        server.terminate()
        assert one.ended() is not None
        assert server.exit_code() == 0


# A client that keeps its session


def test_a_client_goes_on_over_breaks(c, shared_server, name):
    with SessionClient(shared_server.address, linger=None) as client:
        client.open(name, kind=FIFO)
        for i in range(20):
            call = client.park(name, wait_id=f"w{i}")
            client.session.break_off()
            client.ready(name, b"%d" % i, request_id=f"r{i}")
            assert call.result().signal.data == b"%d" % i
        assert client.session.resumed and not client.session.anew
        client.session.close()
    assert not c.takes(name)


def test_a_client_over_a_server_that_is_killed(start, name, tmp_path):
    """The next server cannot know what became of a wait, and says so."""
    address = f"unix:{tmp_path}/s"
    server = start(listen=address)
    session = Session(lambda: grpc.insecure_channel(
        address, options=[("grpc.use_local_subchannel_pool", 1)]), linger=1)
    call = session.start(wait(name, wait_id="w", open_if_missing=options()))
    with server.client() as c:
        eventually(lambda: c.is_open(name) and c.side(name).waiters, "it is parked")
    server.process.send_signal(signals.SIGKILL)
    assert server.exit_code() == -signals.SIGKILL
    server = start(listen=address)
    error = call.exception()
    assert error.code() == grpc.StatusCode.ABORTED and error.error.reason == "OUTCOME_UNKNOWN"
    assert session.anew == 1
    session.close()
    with server.client() as c:
        assert not c.is_open(name), "and it was not carried out"
