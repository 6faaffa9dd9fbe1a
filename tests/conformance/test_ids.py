"""Ids and hand-offs by unary calls: C66 to C73, C75a and C76."""

import time

import grpc
import pytest
from harness import (
    ARM_OR_EXTEND, ARMED, BY_DEADLINE, BY_WAIT, CALL_LIMIT_S, CLEAR, CLOSED, EXCLUSIVE, FIFO, HELD,
    IF_WAITING, LATCH, NIL, NOT_SET, READ_WRITE, READY, REFUSED, REMEMBERED, TIMED_OUT, WOKE, WRITE,
    duration, eventually, nanos, options, refusal_of, refused, seconds, timed_out)
from waitd.v1 import waitd_pb2 as pb

ID_LIMIT_BYTES = 128
RACES = 30
QUEUES = [EXCLUSIVE, FIFO]


def raw(c, method, request):
    """The bytes of the answer."""
    call = c.channel.unary_unary(f"/waitd.v1.WaitService/{method}",
                                 request_serializer=type(request).SerializeToString)
    return call(request, timeout=CALL_LIMIT_S)


def timeout_length(answer):
    """The limit that a wait which timed out stood under, to the nanosecond."""
    return nanos(answer.parked) - nanos(answer.late)


# C66


@pytest.mark.parametrize("kind", QUEUES + [LATCH])
def test_C66_a_later_call_takes_the_parked_wait_over(c, name, kind):
    c.open(name, kind=kind)
    first = c.park(name, wait_id="w")
    again = c.start_wait(name, wait_id="w")
    refusal_of(first, "ABORTED", "TAKEN_OVER")
    assert c.side(name).waiters == 1
    assert c.ready(name, b"x").woken == 1
    assert again.result().signal.data == b"x"


def test_C66_the_place_in_the_queue_stays(c, name):
    c.open(name, kind=FIFO)
    first = c.park(name, wait_id="w1")
    other = c.park(name, wait_id="w2", count=2)
    again = c.start_wait(name, wait_id="w1")
    refusal_of(first, "ABORTED", "TAKEN_OVER")
    c.ready(name, b"1")
    assert again.result().signal.data == b"1"
    assert not other.done()
    c.ready(name, b"2")
    assert other.result().signal.data == b"2"


@pytest.mark.parametrize("timeout", [0.3, 1000, 0, None])
def test_C66_the_instant_stays_whatever_the_timeout_says(c, name, timeout):
    c.open(name)
    first = c.park(name, timeout=0.3, wait_id="w")
    again = c.start_wait(name, timeout=timeout, wait_id="w", first_sent_ago=0.001)
    refusal_of(first, "ABORTED", "TAKEN_OVER")
    answer = again.result()
    assert timed_out(answer, BY_WAIT) and timeout_length(answer) == 300_000_000


def test_C66_the_former_calls_cancel_touches_nothing(c, shared_server, name):
    """The cancel races the take-over: before it the wait lingers, after it nothing may happen."""
    c.open(name)
    for number in range(RACES):
        with shared_server.client() as former:
            first = former.start_wait(name, wait_id=f"w{number}")
            c.await_parked(name)
            again = c.start_wait(name, wait_id=f"w{number}")
            if number % 2:
                first.cancel()
            else:
                former.disconnect()
            with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
                first.result()
        assert c.ready(name, b"%d" % number).effect == WOKE
        assert again.result().signal.data == b"%d" % number


def test_C66_a_poll_is_taken_over(c, name):
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one)
    first = c.park_poll(names, need=2, wait_id="p")
    again = c.start_poll(names, need=2, wait_id="p")
    refusal_of(first, "ABORTED", "TAKEN_OVER")
    assert [c.side(one).waiters for one in names] == [1, 1, 1]
    c.ready(names[2])
    assert c.ready(names[0]).effect == WOKE
    assert [result.target for result in again.result().results] == [0, 2]


def test_C66_many_attempts_at_once_are_one_wait(c, shared_server, name):
    """All but one are taken over, and that one gets the READY."""
    c.open(name)
    clients = [shared_server.client() for _ in range(4)]
    try:
        calls = [client.start_wait(name, wait_id="w") for client in clients for _ in range(5)]
        eventually(lambda: sum(call.done() for call in calls) == len(calls) - 1, "one is left")
        assert c.ready(name, b"x").woken == 1
        outcomes = [call.exception() for call in calls]
        assert sum(outcome is None for outcome in outcomes) == 1
        assert {outcome.code() for outcome in outcomes if outcome} == {grpc.StatusCode.ABORTED}
    finally:
        for client in clients:
            client.disconnect()


# C67


SIGNAL = pb.Signal(data=b"x", content_type="text/plain", attributes={"a": "b"},
                   failure=pb.Signal.Failure(code=3, message="no"))


def test_C67_the_same_id_gets_the_same_outcome_byte_for_byte(c, name):
    c.open(name)
    c.ready(name, b"replaced")
    c.ready(name, signal=SIGNAL)
    request = pb.WaitRequest(name=name, wait_id="w")
    first = raw(c, "Wait", request)
    answer = pb.WaitResponse.FromString(first)
    assert (answer.outcome, answer.signal, answer.coalesced) == (READY, SIGNAL, 1)
    c.ready(name, b"later")
    request.first_sent_ago.CopyFrom(duration(0.001))
    request.timeout.CopyFrom(duration(0))
    assert raw(c, "Wait", request) == first
    c.close(name)
    assert raw(c, "Wait", request) == first, "after Close"
    c.open(name, kind=FIFO)
    c.ready(name, b"of a new life")
    assert raw(c, "Wait", request) == first, "in a new life"
    assert c.wait(name).signal.data == b"of a new life"


@pytest.mark.parametrize("end", ["try", "timeout", "deadline", "close"])
def test_C67_every_outcome_is_remembered(c, name, end):
    c.open(name)
    if end == "try":
        first = c.wait(name, 0, wait_id="w")
    elif end == "timeout":
        first = c.wait(name, 0.01, wait_id="w")
    else:
        call = c.park(name, wait_id="w")
        c.deadline(name, 0) if end == "deadline" else c.close(name)
        first = call.result()
        c.open(name)
        c.deadline(name, CLEAR)
    c.ready(name)
    assert first.outcome == (CLOSED if end == "close" else TIMED_OUT)
    assert c.wait(name, wait_id="w") == first
    assert c.takes(name), "the READY is there for another"


def test_C67_a_polls_outcome_is_remembered(c, name):
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one)
        c.ready(one, one.encode())
    request = pb.PollRequest(targets=[pb.PollRequest.Target(name=one) for one in names], need=2,
                             wait_id="p")
    first = raw(c, "Poll", request)
    assert raw(c, "Poll", request) == first
    assert [c.takes(one) for one in names] == [False, False, True]


def test_C67_what_a_wait_of_a_broken_connection_got_is_there_for_its_id(c, shared_server, name):
    c.open(name)
    with shared_server.client() as former:
        former.park(name, wait_id="w")
    assert c.ready(name, b"x").effect == WOKE
    answer = c.wait(name, wait_id="w", first_sent_ago=0.001)
    assert (answer.outcome, answer.signal.data) == (READY, b"x")
    assert c.wait(name, wait_id="w") == answer


def test_C67_after_a_refusal_it_waits_anew(c, name):
    c.open(name)
    first = c.park(name)
    refusal_of(c.start_wait(name, wait_id="w"), "FAILED_PRECONDITION", "DOUBLE_WAIT")
    c.ready(name)
    first.result()
    call = c.park(name, wait_id="w")
    c.ready(name)
    assert call.result().outcome == READY


def test_C67_ids_of_other_names_are_others(c, name):
    for one in ("a", "b"):
        c.open(f"{name}/{one}")
        c.ready(f"{name}/{one}", one.encode())
    assert c.wait(f"{name}/a", wait_id="w").signal.data == b"a"
    assert c.wait(f"{name}/b", wait_id="w").signal.data == b"b"


OTHER_WAITS = {
    "mode": {"mode": WRITE}, "ignore_deadline": {"ignore_deadline": True},
    "open_if_missing": {"open_if_missing": options()}, "ack_timeout": {"ack_timeout": 5},
}


@pytest.mark.parametrize("other", [*OTHER_WAITS, "generation", "poll"])
@pytest.mark.parametrize("state", ["parked", "ended"])
def test_C67_a_waits_id_with_other_content_is_refused(c, name, other, state):
    generation = c.open(name).poll_descriptor.generation
    call = c.park(name, wait_id="w")
    if state == "ended":
        c.ready(name)
        call.result()
    fields = OTHER_WAITS.get(other, {"generation": generation})
    again = (c.start_poll([name], wait_id="w") if other == "poll" else
             c.start_wait(name, wait_id="w", **fields))
    refusal_of(again, "INVALID_ARGUMENT", "ID_REUSED", "wait_id")
    if state == "parked":
        assert not call.done()
        c.ready(name)
        assert call.result().outcome == READY


def test_C67_a_polls_id_with_other_content_is_refused(c, name):
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one)
    call = c.park_poll(names, wait_id="p")
    for targets, need in ((names, 2), (names[:2], 0), ([names[0], names[2], names[1]], 0),
                          ([names[0], (names[1], WRITE), names[2]], 0)):
        refusal_of(c.start_poll(targets, need, wait_id="p"), "INVALID_ARGUMENT", "ID_REUSED",
                   "wait_id")
    assert not call.done()
    c.ready(names[1])
    call.result()


# C68, C69


def test_C68_a_limit_counts_from_the_first_attempt(c, name):
    c.open(name)
    c.elapse(0.21)
    answer = c.wait(name, 0.3, wait_id="w", first_sent_ago=0.2)
    assert timed_out(answer, BY_WAIT) and timeout_length(answer) == 100_000_000
    answer = c.poll([name], timeout=0.3, wait_id="p", first_sent_ago=0.2)
    assert timed_out(answer, BY_WAIT) and timeout_length(answer) == 100_000_000
    remaining = c.deadline(name, 100, first_sent_ago=0.2, request_id="d").read.remaining
    assert 99 < seconds(remaining) <= 99.8


def test_C68_a_limit_that_is_over_only_tries(c, name):
    c.open(name)
    c.elapse(0.21)
    answer = c.wait(name, 0.1, wait_id="w", first_sent_ago=0.2)
    assert timed_out(answer, BY_WAIT) and nanos(answer.parked) == 0
    c.ready(name)
    assert c.wait(name, 0.1, wait_id="w2", first_sent_ago=0.2).outcome == READY
    answer = c.deadline(name, 0.1, first_sent_ago=0.2, request_id="d")
    assert answer.read.expired
    assert timed_out(c.wait(name), BY_DEADLINE)


def test_C43_a_heartbeat_past_only_by_first_sent_ago_is_refused(c, name):
    c.open(name)
    c.elapse(0.21)
    answer = c.deadline(name, 0.1, first_sent_ago=0.2, request_id="d", condition=ARM_OR_EXTEND)
    assert (answer.applied, answer.read_effect) == (False, NOT_SET)
    assert not c.side(name).HasField("deadline")


def attempts(c, name, **fields):
    """Each call that takes an id, by the name of its method."""
    missing = {"open_if_missing": options()}
    by_request = {"request_id": "id", **fields}
    return {
        "Open": lambda: c.start_open(name, **by_request),
        "Close": lambda: c.start_close(name, **by_request),
        "Reset": lambda: c.start_reset(name, **by_request),
        "Wait": lambda: c.start_wait(name, wait_id="id", **missing, **fields),
        "Ready": lambda: c.start_ready(name, b"again", **missing, **by_request),
        "SetDeadline": lambda: c.start_deadline(name, 0, **missing, **by_request),
        "Poll": lambda: c.start_poll([name], wait_id="id", **missing, **fields),
    }


METHODS = list(attempts(None, None))


@pytest.mark.parametrize("method", METHODS)
def test_C69_an_unknown_id_from_before_the_memory_of_ids_is_refused(c, name, method):
    c.open(name)
    c.ready(name, b"kept")
    before = c.get(name)
    refusal_of(attempts(c, name, first_sent_ago=3600)[method](), "ABORTED", "OUTCOME_UNKNOWN")
    assert c.get(name) == before
    refusal_of(attempts(c, f"{name}/missing", first_sent_ago=3600)[method](), "ABORTED",
               "OUTCOME_UNKNOWN")
    assert not c.is_open(f"{name}/missing")
    assert c.wait(name).signal.data == b"kept"


def test_C69_the_retention_bounds_how_old_a_first_attempt_may_be(start, name):
    server = start("--retention=300ms")
    with server.client() as c:
        c.open(name)
        c.elapse(0.31)
        for number, (ago, known) in enumerate([(0.25, True), (0.31, False), (1e9, False)]):
            ready = c.start_ready(name, request_id=f"r{number}", first_sent_ago=ago)
            wait = c.start_wait(name, 0, wait_id=f"w{number}", first_sent_ago=ago)
            if known:
                assert ready.result().effect == REMEMBERED and wait.result().outcome == READY
            else:
                refusal_of(ready, "ABORTED", "OUTCOME_UNKNOWN")
                refusal_of(wait, "ABORTED", "OUTCOME_UNKNOWN")
        assert c.side(name).state == NIL


def test_C69_the_bound_forgets_the_oldest_and_their_retries_are_refused(start, name):
    """Either its answer is remembered or the retry is refused: nothing is done a second time."""
    server = start("--max-outcomes=10")
    with server.client() as c:
        c.open(name, kind=FIFO)
        count = 30
        answers, sent = [], []
        for number in range(count):
            sent.append(time.monotonic())
            answers.append(c.ready(name, request_id=f"r{number}"))
            assert c.takes(name)
        remembered = 0
        for number in reversed(range(count)):
            call = c.start_ready(name, request_id=f"r{number}",
                                 first_sent_ago=time.monotonic() - sent[number])
            if call.exception() is None:
                remembered += 1
                assert number >= count - 10 and call.result() == answers[number]
            else:
                refusal_of(call, "ABORTED", "OUTCOME_UNKNOWN")
        assert 0 < remembered <= 10
        assert not c.takes(name)
        metrics = server.metrics()
        assert metrics("waitd_outcomes") <= 10
        assert metrics("waitd_outcomes_dropped_total") >= count - 10


def test_C69_a_new_server_knows_no_attempt_from_before_it_began(start, name, tmp_path):
    address = f"unix:{tmp_path}/s"
    server = start(listen=address)
    with server.client() as c:
        c.ready(name, request_id="r", open_if_missing=options())
    server.terminate()
    assert server.exit_code() == 0
    server = start(listen=address)
    with server.client() as c:
        refusal_of(c.start_ready(name, request_id="r", first_sent_ago=100,
                                 open_if_missing=options()), "ABORTED", "OUTCOME_UNKNOWN")
        assert not c.is_open(name)


# C70


def test_C70_a_repeated_ready_is_one(c, name):
    c.open(name, kind=FIFO)
    first = c.ready(name, b"x", request_id="r")
    assert c.ready(name, b"x", request_id="r", first_sent_ago=0.001) == first
    assert c.takes(name)
    assert c.ready(name, b"x", request_id="r") == first
    assert not c.takes(name)
    call = c.park(name)
    assert c.ready(name, b"x", request_id="r") == first
    assert not call.done()
    assert c.ready(name, b"y", request_id="r2").effect == WOKE
    assert call.result().signal.data == b"y"
    c.close(name)
    assert c.ready(name, b"x", request_id="r") == first, "after Close"


def test_C70_a_ready_whose_condition_refused_stays_refused(c, name):
    c.open(name)
    assert c.ready(name, condition=IF_WAITING, request_id="r").effect == REFUSED
    call = c.park(name)
    assert c.ready(name, condition=IF_WAITING, request_id="r").effect == REFUSED
    assert not call.done()
    c.ready(name)
    call.result()


def test_C70_a_repeated_set_deadline_is_one(c, name):
    c.open(name)
    request = pb.SetDeadlineRequest(name=name, timeout=duration(100), mode=READ_WRITE,
                                    request_id="d")
    first = raw(c, "SetDeadline", request)
    assert pb.SetDeadlineResponse.FromString(first).write_effect == ARMED
    c.deadline(name, CLEAR, READ_WRITE)
    request.timeout.CopyFrom(duration(50))
    request.first_sent_ago.CopyFrom(duration(0.001))
    assert raw(c, "SetDeadline", request) == first, "with what was left then"
    assert not c.side(name).HasField("deadline") and not c.side(name, WRITE).HasField("deadline")


def test_C70_a_repeated_reset_is_one(c, name):
    c.open(name)
    c.ready(name)
    assert c.reset(name, request_id="r").forgot
    c.ready(name)
    assert c.reset(name, request_id="r").forgot
    assert c.takes(name)


def test_C70_a_repeated_open_is_one(c, name):
    c.open(name)
    c.deadline(name, 1000)
    first = c.open(name, request_id="i")
    c.elapse(0.001)
    assert c.open(name, request_id="i") == first, "with what was left of its deadline then"
    c.close(name)
    first = c.open(name, must_create=True, request_id="o")
    c.ready(name)
    assert c.open(name, must_create=True, request_id="o") == first
    c.close(name)
    assert c.open(name, must_create=True, request_id="o") == first
    assert not c.is_open(name)


def test_C70_a_repeated_close_is_one(c, name):
    c.open(name)
    call = c.park(name)
    assert c.close(name, request_id="c").woken == 1
    assert call.result().outcome == CLOSED
    c.open(name)
    assert c.close(name, request_id="c").woken == 1
    assert c.is_open(name)


def test_C70_a_refused_call_was_no_call(c, name):
    with refused("NOT_FOUND", "NO_DESCRIPTOR"):
        c.ready(name, request_id="r")
    c.open(name)
    assert c.ready(name, request_id="r").effect == REMEMBERED


def test_C70_many_attempts_at_once_are_one(c, shared_server, name):
    c.open(name, kind=FIFO)
    clients = [shared_server.client() for _ in range(4)]
    try:
        for number in range(10):
            calls = [client.start_ready(name, request_id=f"r{number}")
                     for client in clients for _ in range(5)]
            assert {call.result().effect for call in calls} == {REMEMBERED}
            answer = c.wait(name, 0)
            assert (answer.outcome, answer.coalesced) == (READY, 0)
            assert not c.takes(name)
    finally:
        for client in clients:
            client.disconnect()


OTHERS = {
    "Open": lambda c, name: c.start_open(name, must_create=True, request_id="id"),
    "Close": lambda c, name: c.start_close(name, generation=1, request_id="id"),
    "Reset": lambda c, name: c.start_reset(name, WRITE, request_id="id"),
    "Ready": lambda c, name: c.start_ready(name, b"other", request_id="id"),
    "SetDeadline": lambda c, name: c.start_deadline(name, 100, WRITE, request_id="id"),
}


@pytest.mark.parametrize("method", OTHERS)
def test_C70_a_request_id_with_other_content_is_refused(c, name, method):
    c.open(name)
    same = {
        "Open": lambda: c.start_open(name, request_id="id"),
        "Close": lambda: c.start_close(name, request_id="id"),
        "Reset": lambda: c.start_reset(name, request_id="id"),
        "Ready": lambda: c.start_ready(name, b"x", request_id="id"),
        "SetDeadline": lambda: c.start_deadline(name, 100, request_id="id"),
    }
    first = same[method]().result()
    c.open(name)
    before = c.get(name)
    refusal_of(OTHERS[method](c, name), "INVALID_ARGUMENT", "ID_REUSED", "request_id")
    for other in set(same) - {method}:
        refusal_of(same[other](), "INVALID_ARGUMENT", "ID_REUSED", "request_id")
    after = c.get(name)
    assert (after.generation, after.read.state, after.read.deadline.at) == (
        before.generation, before.read.state, before.read.deadline.at)
    assert same[method]().result() == first


# Ids


@pytest.mark.parametrize("method", [*METHODS, "Ack"])
@pytest.mark.parametrize("id_of", [lambda size: "i" * size,
                                   lambda size: "é" * (size // 2) + "i" * (size % 2)],
                         ids=["ascii", "two bytes each"])
def test_an_id_of_128_bytes_is_the_longest(c, name, method, id_of):
    generation = c.open(name).poll_descriptor.generation
    c.ready(name)

    def call(size):
        one = id_of(size)
        assert len(one.encode()) == size
        answer = pb.WaitResponse(delivery=1, generation=generation)
        return {
            "Open": lambda: c.start_open(name, request_id=one),
            "Close": lambda: c.start_close(name, request_id=one),
            "Reset": lambda: c.start_reset(name, request_id=one),
            "Wait": lambda: c.start_wait(name, wait_id=one),
            "Ready": lambda: c.start_ready(name, request_id=one),
            "SetDeadline": lambda: c.start_deadline(name, 100, request_id=one),
            "Poll": lambda: c.start_poll([name], wait_id=one),
            "Ack": lambda: c.start_ack(name, one, answer),
        }[method]()
    before = c.get(name)
    field = "wait_id" if method in ("Wait", "Poll", "Ack") else "request_id"
    refusal_of(call(ID_LIMIT_BYTES + 1), "INVALID_ARGUMENT", "BAD_ID", field)
    assert c.get(name) == before
    for size in (ID_LIMIT_BYTES - 1, ID_LIMIT_BYTES):
        if method == "Ack":
            refusal_of(call(size), "ABORTED", "OUTCOME_UNKNOWN")
        else:
            call(size).result()
            c.open(name)
            c.ready(name)


# C72, C73


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("parked", [False, True])
def test_C72_an_ack_ends_a_hand_off(c, name, kind, parked):
    c.open(name, kind=kind)
    call = c.park(name, wait_id="w", ack_timeout=0.5) if parked else None
    c.ready(name, b"x")
    answer = call.result() if parked else c.wait(name, wait_id="w", ack_timeout=0.5)
    assert (answer.outcome, answer.attempt) == (READY, 1)
    c.ack(name, "w", answer)
    assert (c.side(name).unacked, c.side(name).returned) == (0, 0)
    c.ack(name, "w", answer)
    c.elapse(0.6)
    assert c.side(name).returned == 0 and not c.takes(name)
    assert c.wait(name, wait_id="w", ack_timeout=0.5) == answer, "the outcome stays its id's"


@pytest.mark.parametrize("kind", QUEUES)
def test_C72_without_an_ack_the_ready_comes_back(c, name, kind):
    c.open(name, kind=kind)
    c.ready(name, signal=SIGNAL)
    first = c.wait(name, wait_id="w1", ack_timeout=0.05)
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    side = c.side(name)
    assert (side.unacked, side.state) == (0, HELD)
    stale = ("FAILED_PRECONDITION", "STALE_DELIVERY")
    refusal_of(c.start_ack(name, "w1", first), *stale)
    refusal_of(c.start_wait(name, wait_id="w1", ack_timeout=0.05), *stale)
    second = c.wait(name, wait_id="w2", ack_timeout=100)
    assert (second.outcome, second.attempt, second.signal) == (READY, 2, SIGNAL)
    assert second.delivery > first.delivery and second.ready_time == first.ready_time
    refusal_of(c.start_ack(name, "w1", first), *stale)
    refusal_of(c.start_wait(name, wait_id="w1", ack_timeout=0.05), *stale)
    assert c.side(name).unacked == 1
    c.ack(name, "w2", second)
    assert c.side(name).unacked == 0 and not c.takes(name)


def test_C72_a_repeated_wait_does_not_prolong_its_hand_off(c, name):
    c.open(name)
    c.ready(name)
    first = c.wait(name, wait_id="w", ack_timeout=0.1)

    def taken_back():
        call = c.start_wait(name, wait_id="w", ack_timeout=0.1)
        if call.exception() is None:
            assert call.result() == first
            return False
        return refusal_of(call, "FAILED_PRECONDITION", "STALE_DELIVERY")
    eventually(taken_back, "the hand-off is over")
    assert c.takes(name)


def test_C72_what_came_back_stands_before_what_is_remembered(c, name):
    """And each of them is one: they do not coalesce."""
    c.open(name, kind=FIFO)
    c.ready(name, b"1")
    c.wait(name, wait_id="w1", ack_timeout=0.05)
    c.ready(name, b"2")
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    assert c.ready(name, b"3").effect == pb.READY_EFFECT_COALESCED
    answers = [c.wait(name, 0) for _ in range(3)]
    assert [(answer.signal.data, answer.attempt, answer.coalesced) for answer in answers[:2]] == [
        (b"1", 2, 0), (b"3", 1, 1)]
    assert answers[2].outcome == TIMED_OUT


def test_C72_the_oldest_delivery_comes_first(c, name):
    c.open(name, kind=FIFO)
    for number, ack_timeout in enumerate((0.3, 0.2, 0.1)):
        c.ready(name, b"%d" % number)
        c.wait(name, wait_id=f"w{number}", ack_timeout=ack_timeout)
    eventually(lambda: c.side(name).returned == 3, "all are taken back")
    assert [c.wait(name, 0).signal.data for _ in range(3)] == [b"0", b"1", b"2"]


def test_C72_the_attempt_counts_on(c, name):
    c.open(name)
    c.ready(name, b"x")
    for attempt in range(1, 5):
        answer = c.wait(name, wait_id=f"w{attempt}", ack_timeout=0.01)
        assert (answer.attempt, answer.signal.data) == (attempt, b"x")
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    assert c.wait(name).attempt == 5
    assert not c.takes(name), "without ack_timeout it was handed over for good"


def test_C72_reset_forgets_and_close_discards_what_came_back(c, name):
    for end in ("reset", "close"):
        c.open(name)
        c.ready(name)
        answer = c.wait(name, wait_id=end, ack_timeout=0.01)
        eventually(lambda: c.side(name).returned == 1, "it is taken back")
        if end == "reset":
            assert c.reset(name).forgot
        else:
            c.close(name)
            c.open(name)
        assert (c.side(name).returned, c.side(name).state) == (0, NIL)
        assert not c.takes(name)
    refusal_of(c.start_ack(name, "close", answer), "ABORTED", "STALE_GENERATION")


def test_C72_what_comes_back_after_a_reset_is_forgotten(c, name):
    """And what was handed out after it is not."""
    c.open(name, kind=FIFO)
    c.ready(name, b"before")
    c.ready(name, b"acknowledged", mode=WRITE)
    before = c.wait(name, wait_id="w1", ack_timeout=0.2)
    acknowledged = c.wait(name, mode=WRITE, wait_id="w2", ack_timeout=100)
    assert not c.reset(name, READ_WRITE).forgot, "they are out"
    c.ack(name, "w2", acknowledged, WRITE)
    c.ready(name, b"after")
    c.wait(name, wait_id="w3", ack_timeout=0.2)
    eventually(lambda: c.side(name).unacked == 0, "their time is over")
    assert c.side(name).returned == 1
    refusal_of(c.start_ack(name, "w1", before), "FAILED_PRECONDITION", "STALE_DELIVERY")
    assert c.wait(name, wait_id="w1", ack_timeout=0.2) == before, "nobody else will have it"
    again = c.wait(name, 0)
    assert (again.signal.data, again.attempt) == (b"after", 2)
    assert not c.takes(name) and not c.takes(name, WRITE)


def test_C72_a_reset_that_an_expired_side_refuses_lets_it_come_back(c, name):
    c.open(name)
    c.ready(name)
    c.wait(name, wait_id="w", ack_timeout=0.1)
    c.deadline(name, 0)
    assert not c.reset(name).reset
    c.deadline(name, CLEAR)
    eventually(lambda: c.side(name).returned == 1, "it is taken back")


def test_C72_close_forgets_a_hand_off(c, name):
    c.open(name)
    c.ready(name)
    answer = c.wait(name, wait_id="w", ack_timeout=0.05)
    c.close(name)
    refusal_of(c.start_ack(name, "w", answer), "ABORTED", "OUTCOME_UNKNOWN")
    c.open(name)
    refusal_of(c.start_ack(name, "w", answer), "ABORTED", "STALE_GENERATION")
    c.elapse(0.1)
    assert not c.takes(name), "nothing comes back to a new life"


def test_C72_an_unknown_ack_changes_nothing(c, name):
    c.open(name)
    c.ready(name)
    answer = c.wait(name, wait_id="w", ack_timeout=100)
    unknown = ("ABORTED", "OUTCOME_UNKNOWN")
    refusal_of(c.start_ack(name, "w", answer, delivery=answer.delivery + 1), *unknown)
    refusal_of(c.start_ack(name, "v", answer), *unknown)
    refusal_of(c.start_ack(name, "w", answer, WRITE), *unknown)
    refusal_of(c.start_ack(f"{name}/missing", "w", answer), *unknown)
    refusal_of(c.start_ack(name, "w", answer, generation=answer.generation + 1),
               "ABORTED", "STALE_GENERATION")
    refusal_of(c.start_ack(name, "w", answer, generation=0), "INVALID_ARGUMENT", "BAD_OPTIONS",
               "generation")
    refusal_of(c.start_ack(name, "w", answer, READ_WRITE), "INVALID_ARGUMENT",
               "BAD_MODE", "mode")
    assert c.side(name).unacked == 1
    c.ack(name, "w", answer)


def test_C72_an_ack_of_a_former_life_is_none_of_this_one(c, name):
    """Deliveries count from 1 in each life."""
    c.open(name)
    c.ready(name)
    former = c.wait(name, wait_id="former", ack_timeout=100)
    c.close(name)
    c.open(name)
    c.ready(name)
    answer = c.wait(name, wait_id="w", ack_timeout=100)
    assert answer.delivery == former.delivery
    for wait_id in ("former", "w"):
        refusal_of(c.start_ack(name, wait_id, former), "ABORTED", "STALE_GENERATION")
    assert c.side(name).unacked == 1
    c.ack(name, "w", answer)


@pytest.mark.parametrize("poll", [False, True])
def test_C72_ack_timeout_has_a_maximum(c, name, poll):
    def start(seconds_):
        fields = {"wait_id": f"w{seconds_}", "ack_timeout": seconds_, "timeout": 0}
        return c.start_poll([name], **fields) if poll else c.start_wait(name, **fields)
    c.open(name)
    start(24 * 3600).result()
    refusal_of(start(24 * 3600 + 0.1), "INVALID_ARGUMENT", "BAD_TIME", "ack_timeout")


@pytest.mark.parametrize("poll", [False, True])
def test_C72_ack_timeout_needs_an_id_and_no_latch(c, name, poll):
    def start(one, **fields):
        return c.start_poll([one], **fields) if poll else c.start_wait(one, **fields)
    c.open(name)
    c.ready(name)
    bad = ("INVALID_ARGUMENT", "BAD_OPTIONS", "ack_timeout")
    refusal_of(start(name, ack_timeout=5), *bad)
    assert c.takes(name)
    c.open(f"{name}/latch", kind=LATCH)
    for _ in range(2):
        refusal_of(start(f"{name}/latch", ack_timeout=5, wait_id="w"), *bad)
        c.ready(f"{name}/latch")
    refusal_of(start(f"{name}/new", ack_timeout=5, wait_id="w",
                     open_if_missing=options(kind=LATCH)), *bad)
    assert not c.is_open(f"{name}/new")


def test_C72_each_of_a_polls_readys_is_acknowledged_by_itself(c, name):
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one)
    call = c.park_poll([names[0], (names[1], WRITE), names[2]], need=3, wait_id="p",
                       ack_timeout=0.2)
    c.ready(names[0], b"0")
    c.ready(names[1], b"1", WRITE)
    c.ready(names[2], b"2")
    answer = call.result()
    handed = [result.response for result in answer.results]
    c.ack(names[1], "p", handed[1], WRITE)
    eventually(lambda: c.side(names[0]).returned + c.side(names[2]).returned == 2, "taken back")
    assert c.side(names[1], WRITE).returned == 0
    refusal_of(c.start_ack(names[0], "p", handed[0]), "FAILED_PRECONDITION", "STALE_DELIVERY")
    assert c.wait(names[2], 0).signal.data == b"2"


def test_C72_a_wait_and_a_poll_of_one_id_hand_over_each_its_own(c, name):
    c.open(f"{name}/first")
    c.open(name, kind=FIFO)
    polled = c.park_poll([f"{name}/first", name], wait_id="same", ack_timeout=0.5)
    c.ready(name, b"x")
    handed = polled.result().results[0].response
    c.ready(name, b"y")
    waited = c.wait(name, wait_id="same", ack_timeout=0.5)
    assert c.side(name).unacked == 2
    c.ack(name, "same", waited)
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    refusal_of(c.start_ack(name, "same", handed), "FAILED_PRECONDITION", "STALE_DELIVERY")
    assert c.wait(name, wait_id="same", ack_timeout=0.5) == waited, "which had its Ack"
    assert c.wait(name, 0).signal.data == b"x"
    assert not c.takes(name)


@pytest.mark.parametrize("kind", QUEUES)
def test_C73_who_is_parked_gets_what_comes_back(c, name, kind):
    c.open(name, kind=kind)
    c.ready(name, b"x")
    c.wait(name, wait_id="w1", ack_timeout=0.2)
    answer = c.park(name).result()
    assert (answer.outcome, answer.signal.data, answer.attempt) == (READY, b"x", 2)
    assert c.side(name).returned == 0


def test_C73_a_parked_poll_gets_what_comes_back(c, name):
    names = [f"{name}/{i}" for i in range(2)]
    for one in names:
        c.open(one)
        c.ready(one)
    c.wait(names[0], wait_id="w1", ack_timeout=0.2)
    answer = c.poll(names, need=2)
    assert [result.response.attempt for result in answer.results] == [2, 1]


def test_C73_an_expired_side_keeps_what_comes_back(c, name):
    c.open(name)
    for number in range(2):
        c.ready(name, b"%d" % number)
        c.wait(name, wait_id=f"w{number}", ack_timeout=0.01)
        eventually(lambda: c.side(name).returned == 1, "it is taken back")
        c.deadline(name, 0)
        assert timed_out(c.wait(name), BY_DEADLINE)
        assert not c.reset(name).reset
        assert c.side(name).returned == 1
        if number:
            c.deadline(name, CLEAR)
            answer = c.wait(name)
        else:
            answer = c.wait(name, ignore_deadline=True)
            c.deadline(name, CLEAR)
        assert (answer.signal.data, answer.attempt) == (b"%d" % number, 2)


# C75a


@pytest.fixture
def lingering(start):
    """A server whose waits linger for a time that can be waited for, and a client of it."""
    server = start("--linger=250ms")
    with server.client() as client:
        yield server, client


def cut_off(server, name, how, **fields):
    """Parks a wait, and ends its call without its answer."""
    client = server.client()
    call = client.park(name, call_limit_s=0.1 if how == "deadline" else CALL_LIMIT_S, **fields)
    if how == "cancel":
        call.cancel()
    elif how == "deadline":
        assert call.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
    client.disconnect()


def left(server):
    """How many waits have left as if cancelled."""
    return server.metrics()("waitd_waits_total", mode="read", outcome="cancelled")


HOW = ["cancel", "deadline", "disconnect"]


@pytest.mark.parametrize("how", HOW)
def test_C75a_a_wait_with_an_id_lingers_and_then_leaves(lingering, name, how):
    server, c = lingering
    c.open(name)
    cut_off(server, name, how, wait_id="w-abcd")
    c.await_detached(name)
    side = c.side(name)
    assert side.waiters == 1 and side.waiter_details[0].wait_id_hint == "abcd"
    eventually(lambda: c.side(name).waiters == 0, "it leaves")
    assert left(server) == 1
    assert c.ready(name).effect == REMEMBERED
    assert c.wait(name, 0, wait_id="w-abcd").outcome == READY, "after CANCELLED it waits anew"


@pytest.mark.parametrize("how", HOW)
def test_C75a_a_wait_without_an_id_leaves_at_once(start, name, how):
    server = start("--linger=1h")
    with server.client() as c:
        c.open(name)
        cut_off(server, name, how)
        eventually(lambda: c.side(name).waiters == 0, "it leaves")
        assert left(server) == 1


def test_C75a_a_poll_lingers_too(lingering, name):
    server, c = lingering
    names = [f"{name}/{i}" for i in range(2)]
    for one in names:
        c.open(one)
    with server.client() as client:
        client.park_poll(names, wait_id="p").cancel()
    call = c.start_poll(names, wait_id="p")
    c.elapse(0.5)
    assert [c.side(one).waiters for one in names] == [1, 1], "the take-over ended the linger"
    call.cancel()
    eventually(lambda: not any(c.side(one).waiters for one in names), "it leaves")


def test_C75a_a_ready_decided_meanwhile_is_there_for_the_id(lingering, name):
    server, c = lingering
    c.open(name)
    cut_off(server, name, "disconnect", wait_id="w")
    assert c.ready(name, b"x").effect == WOKE
    answer = c.wait(name, wait_id="w")
    assert (answer.outcome, answer.signal.data) == (READY, b"x")
    c.elapse(0.5)
    assert not c.takes(name), "it was written, so it is spent"


@pytest.mark.parametrize("how", ["cancel", "disconnect"])
def test_C75a_and_goes_back_in_front_when_nobody_came(start, name, how):
    server = start("--linger=500ms")
    with server.client() as c:
        c.open(name)
        cut_off(server, name, how, wait_id="w")
        c.await_detached(name)
        assert c.ready(name, b"1").effect == WOKE
        assert c.ready(name, b"2").effect == REMEMBERED
        eventually(lambda: c.side(name).returned == 1 or c.side(name).payload_bytes != 3,
                   "it is back")
        assert c.wait(name, 0, wait_id="w").signal.data == b"1"
        assert c.wait(name, 0).signal.data == b"2"
        assert not c.takes(name)


def test_C75a_a_later_reset_forgets_it_and_its_id_keeps_it(start, name):
    server = start("--linger=300ms")
    with server.client() as c:
        c.open(name)
        cut_off(server, name, "disconnect", wait_id="w")
        c.await_detached(name)
        assert c.ready(name, b"x").effect == WOKE
        assert not c.reset(name).forgot, "it is out"
        c.elapse(1)
        assert c.side(name).returned == 0 and not c.takes(name)
        assert c.wait(name, 0, wait_id="w").signal.data == b"x"


def test_C75a_a_time_limit_ends_a_wait_that_lingers(start, name):
    server = start("--linger=1h")
    with server.client() as c:
        c.open(name)
        with server.client() as client:
            client.park(name, timeout=0.2, wait_id="w")
        c.elapse(0.25)
        answer = c.wait(name, timeout=0.2, wait_id="w", first_sent_ago=0.2)
        assert timed_out(answer, BY_WAIT) and timeout_length(answer) == 200_000_000


@pytest.mark.parametrize("wait_id, hint", [("", ""), ("abc", "abc"), ("abcd", "abcd"),
                                           ("0abcd", "abcd")])
def test_a_waiter_shows_the_last_four_of_its_id(c, name, wait_id, hint):
    c.open(name)
    call = c.park(name, wait_id=wait_id)
    assert c.side(name).waiter_details[0].wait_id_hint == hint
    said = refusal_of(c.start_wait(name), "FAILED_PRECONDITION", "DOUBLE_WAIT")
    assert said.metadata["connected"] == "true"
    assert "0abcd" not in str(said.metadata) + said.message
    c.ready(name)
    call.result()


# C76 and the metrics


def test_C76_idleness_does_not_run_while_a_hand_off_or_a_returned_token_stands(c, name):
    c.open(name, kind=FIFO, idle_ttl=0.4)
    c.ready(name)
    answer = c.wait(name, wait_id="w1", ack_timeout=2)
    c.elapse(0.8)
    assert c.side(name).unacked == 1
    eventually(lambda: c.side(name).returned == 1, "it is taken back")
    c.elapse(0.8)
    assert c.side(name).returned == 1
    answer = c.wait(name, wait_id="w2", ack_timeout=100)
    c.ack(name, "w2", answer)
    c.elapse(0.8)
    assert c.is_open(name), "the answer may be found unwritten"


def test_hand_offs_and_outcomes_are_counted(start, name):
    server = start()
    gauges = ["waitd_unacked", "waitd_returned", "waitd_outcomes", "waitd_redeliveries_total",
              "waitd_outcomes_dropped_total"]

    def now():
        metrics = server.metrics()
        return [metrics(one) for one in gauges]
    with server.client() as c:
        assert now() == [0, 0, 0, 0, 0]
        c.open(name, kind=FIFO)
        c.ready(name)
        c.wait(name, wait_id="w1", ack_timeout=1)
        assert now() == [1, 0, 1, 0, 0]
        eventually(lambda: server.metrics()("waitd_returned") == 1, "it is taken back")
        assert server.metrics()("waitd_unacked") == 0
        answer = c.wait(name, wait_id="w2", ack_timeout=100)
        unacked, returned, _, redelivered, dropped = now()
        assert (unacked, returned, redelivered, dropped) == (1, 0, 1, 0)
        c.ack(name, "w2", answer)
        assert server.metrics()("waitd_unacked") == 0
        before = server.metrics()("waitd_outcomes")
        c.ready(name, request_id="r")
        assert server.metrics()("waitd_outcomes") == before + 1
        c.close(name)
        assert server.metrics()("waitd_returned") == 0
