"""Open, recycle, close: C1 to C12."""

import grpc
import pytest
from harness import (
    BY_WAIT, CLEAR, CLOSED, EXCLUSIVE, FIFO, HELD, KINDS, LATCH, NIL, READ, READ_WRITE, READY,
    REMEMBERED, TIMED_OUT, WAITING, WOKE, WRITE, check_refusal, options, refused, refusal_of,
    timed_out)
from waitd.v1 import waitd_pb2 as pb

RACES = 60


def is_blank(side):
    """Nothing stands on a side."""
    return (side.state == NIL and side.waiters == 0 and side.payload_bytes == 0
            and not side.deadline.HasField("at") and not side.deadline.expired)


@pytest.mark.parametrize("kind", KINDS)
def test_C1_new_descriptor_is_blank_and_a_wait_parks(c, name, kind):
    answer = c.open(name, kind=kind, labels={"a": "b"})
    descriptor = answer.poll_descriptor
    assert answer.created
    assert (descriptor.name, descriptor.kind, dict(descriptor.labels)) == (name, kind, {"a": "b"})
    assert is_blank(descriptor.read) and is_blank(descriptor.write)
    assert descriptor.open_time.seconds > 0
    for mode in (READ, WRITE):
        call = c.park(name, mode=mode)
        assert c.side(name, mode).state == WAITING
        c.ready(name, mode=mode)
        assert call.result().outcome == READY


def test_C2_a_new_life_shows_nothing_of_former_ones(c, name):
    for _ in range(20):
        c.open(name, kind=LATCH, labels={"old": "life"}, idle_ttl=3600)
        c.ready(name, b"old payload", READ_WRITE)
        c.deadline(name, 3600)
        c.deadline(name, 0, WRITE)
        c.close(name)
        descriptor = c.open(name, must_create=True).poll_descriptor
        assert descriptor.kind == EXCLUSIVE and not descriptor.labels
        assert not descriptor.HasField("idle_ttl")
        assert is_blank(descriptor.read) and is_blank(descriptor.write)
        for mode in (READ, WRITE):
            assert timed_out(c.wait(name, 0, mode), BY_WAIT)
        c.close(name)


def test_C3_generations_never_repeat_and_fit_json(c, name):
    seen = set()
    for life in range(100):
        for suffix in ("a", "b"):
            generation = c.open(f"{name}/{suffix}", must_create=True).poll_descriptor.generation
            assert 0 < generation < 2**53
            assert generation not in seen, f"life {life}"
            seen.add(generation)
            c.close(f"{name}/{suffix}")


def test_C3_nothing_of_a_former_life_touches_the_new_one(c, name):
    old = c.open(name).poll_descriptor.generation
    c.deadline(name, 0.05)
    former = c.park(name)
    c.close(name)
    assert former.result().outcome == CLOSED
    new = c.open(name).poll_descriptor.generation
    with refused("ABORTED", "STALE_GENERATION"):
        c.ready(name, generation=old)
    answer = c.wait(name, 0.15)
    assert timed_out(answer, BY_WAIT), "the former life's timer ended it"
    assert answer.generation == new
    assert is_blank(c.side(name))


def test_C4_no_slot_is_handed_out_twice(c, name):
    """Many lives around parked waits: each wait stays where it is, and is reached by its name."""
    names = [f"{name}/{i}" for i in range(40)]
    calls = {}
    for one in names:
        c.open(one)
        calls[one] = c.park(one)
        others = [f"{one}/{i}" for i in range(5)]
        for other in others:
            c.open(other)
        for other in others:
            c.close(other)
    for one in names:
        answer = c.ready(one, one.encode())
        assert (answer.effect, answer.woken) == (WOKE, 1)
        assert calls[one].result().signal.data == one.encode()


def test_C5_open_returns_an_open_name_unchanged(c, name):
    c.open(name, kind=FIFO, labels={"first": "1"})
    c.ready(name, b"x")
    before = c.get(name)
    assert before.read.state == HELD and before.labels["first"] == "1"
    for kind in (FIFO, pb.KIND_UNSPECIFIED):
        again = c.open(name, kind=kind, labels={"second": "2"}, idle_ttl=5)
        assert not again.created
        assert again.poll_descriptor == before
    assert c.get(name) == before


def test_C5_must_create_refuses_an_open_name(c, name):
    assert c.open(name, must_create=True).created
    before = c.get(name)
    with refused("ALREADY_EXISTS", "EXISTS"):
        c.open(name, must_create=True)
    assert c.get(name) == before


def test_C5_kind_unspecified_creates_an_exclusive_one(c, name):
    assert c.open(name, kind=pb.KIND_UNSPECIFIED).poll_descriptor.kind == EXCLUSIVE
    assert c.ready(f"{name}/2", open_if_missing=options()).effect == REMEMBERED
    assert c.get(f"{name}/2").kind == EXCLUSIVE


@pytest.mark.parametrize("call", ["open", "wait", "ready", "deadline", "poll"])
def test_C5_another_kind_is_a_mismatch(c, name, call):
    c.open(name, kind=FIFO)
    before = c.get(name)
    other = options(kind=LATCH)
    with refused("FAILED_PRECONDITION", "KIND_MISMATCH"):
        if call == "open":
            c.open(name, kind=LATCH)
        elif call == "wait":
            c.wait(name, 0, open_if_missing=other)
        elif call == "ready":
            c.ready(name, open_if_missing=other)
        elif call == "deadline":
            c.deadline(name, 10, open_if_missing=other)
        else:
            c.poll([name], timeout=0, open_if_missing=other)
    assert c.get(name) == before


@pytest.mark.parametrize("kind", [pb.KIND_UNSPECIFIED, FIFO])
def test_C5_open_if_missing_leaves_an_open_name_as_it_is(c, name, kind):
    c.open(name, kind=FIFO, labels={"first": "1"})
    given = options(kind=kind, labels={"second": "2"})
    assert timed_out(c.wait(name, 0, open_if_missing=given), BY_WAIT)
    c.ready(name, open_if_missing=given)
    c.deadline(name, 10, open_if_missing=given)
    assert c.poll([name], timeout=0, open_if_missing=given).outcome == READY
    assert dict(c.get(name).labels) == {"first": "1"}


def test_C5_open_if_missing_opens_with_its_options(c, name):
    given = options(kind=LATCH, labels={"a": "1"}, idle_ttl=1000)
    c.wait(f"{name}/wait", 0, open_if_missing=given)
    c.ready(f"{name}/ready", open_if_missing=given)
    c.deadline(f"{name}/deadline", 10, open_if_missing=given)
    c.poll([f"{name}/poll"], timeout=0, open_if_missing=given)
    for call in ("wait", "ready", "deadline", "poll"):
        descriptor = c.get(f"{name}/{call}")
        assert (descriptor.kind, dict(descriptor.labels)) == (LATCH, {"a": "1"})
        assert descriptor.idle_ttl.seconds == 1000


def test_C6_close_ends_waits_on_both_sides(c, name):
    generation = c.open(name).poll_descriptor.generation
    calls = [c.park(name), c.park(name, mode=WRITE, ignore_deadline=True)]
    assert c.close(name).woken == 2
    for call in calls:
        answer = call.result()
        assert (answer.outcome, answer.generation) == (CLOSED, generation)
        assert answer.parked.seconds >= 0 and not answer.HasField("signal")


@pytest.mark.parametrize("kind", [FIFO, LATCH])
def test_C6_close_ends_every_waiter(c, name, kind):
    c.open(name, kind=kind)
    calls = [c.park(name, count=n, ignore_deadline=n % 2 == 0) for n in range(1, 6)]
    assert c.close(name).woken == 5
    assert [call.result().outcome for call in calls] == [CLOSED] * 5


def test_C7_a_timer_of_a_closed_descriptor_fires_nowhere(c, name):
    c.open(name)
    c.deadline(name, 0.03, READ_WRITE)
    c.close(name)
    c.open(name)
    for mode in (READ, WRITE):
        assert timed_out(c.wait(name, 0.06, mode), BY_WAIT)
        assert is_blank(c.side(name, mode))


def all_calls(c, name, generation=0):
    """Each call that needs an open descriptor."""
    return {
        "close": lambda: c.close(name, generation=generation),
        "reset": lambda: c.reset(name, generation=generation),
        "wait": lambda: c.wait(name, 0, generation=generation),
        "ready": lambda: c.ready(name, generation=generation),
        "deadline": lambda: c.deadline(name, 10, generation=generation),
        "poll": lambda: c.poll([pb.PollRequest.Target(name=name, generation=generation)],
                               timeout=0),
    }


def test_C8_after_close_every_call_is_not_found(c, name):
    c.open(name)
    c.close(name)
    for call in (*all_calls(c, name).values(), lambda: c.get(name)):
        with refused("NOT_FOUND", "NO_DESCRIPTOR"):
            call()


def test_C8_after_close_open_if_missing_opens_a_new_life(c, name):
    calls = [
        lambda: c.wait(name, 0, open_if_missing=options()),
        lambda: c.ready(name, open_if_missing=options()),
        lambda: c.deadline(name, 10, open_if_missing=options()),
    ]
    for call in calls:
        old = c.open(name).poll_descriptor.generation
        c.close(name)
        new = call().generation
        assert new not in (0, old) and c.get(name).generation == new
        c.close(name)


def test_C8_an_old_generation_is_not_found_while_the_name_is_free(c, name):
    old = c.open(name).poll_descriptor.generation
    c.close(name)
    calls = [
        *all_calls(c, name, old).values(),
        lambda: c.wait(name, 0, generation=old, open_if_missing=options()),
        lambda: c.ready(name, generation=old, open_if_missing=options()),
        lambda: c.deadline(name, 10, generation=old, open_if_missing=options()),
        lambda: c.poll([pb.PollRequest.Target(name=name, generation=old)], timeout=0,
                       open_if_missing=options()),
    ]
    for call in calls:
        with refused("NOT_FOUND", "NO_DESCRIPTOR"):
            call()
    assert not c.is_open(name)


@pytest.mark.parametrize("call", ["close", "reset", "wait", "ready", "deadline", "poll"])
def test_C8_an_old_generation_is_stale_in_a_new_life(c, name, call):
    old = c.open(name).poll_descriptor.generation
    c.close(name)
    new = c.open(name).poll_descriptor.generation
    before = c.get(name)
    for wrong in (old, new + 1):
        with refused("ABORTED", "STALE_GENERATION"):
            all_calls(c, name, wrong)[call]()
    assert c.get(name) == before
    all_calls(c, name, new)[call]()


def test_C9_close_racing_ready_one_of_them_reaches_the_wait(c, name):
    for _ in range(RACES):
        c.open(name)
        call = c.park(name)
        ready, close = c.start_ready(name), c.start_close(name)
        outcome = call.result().outcome
        if outcome == READY:
            assert (ready.result().effect, close.result().woken) == (WOKE, 0)
        else:
            assert (outcome, close.result().woken) == (CLOSED, 1)
            refusal_of(ready, "NOT_FOUND", "NO_DESCRIPTOR")


def test_C10_close_racing_wait_never_leaves_it_parked(c, name):
    ends = set()
    for i in range(RACES):
        c.open(name)
        if i % 2:
            call, close = c.start_wait(name), c.start_close(name)
        else:
            close, call = c.start_close(name), c.start_wait(name)
        try:
            outcome = call.result().outcome
            assert (outcome, close.result().woken) == (CLOSED, 1)
        except grpc.RpcError as error:
            check_refusal(error, grpc.StatusCode.NOT_FOUND, "NO_DESCRIPTOR")
            outcome = None
            assert close.result().woken == 0
        ends.add(outcome)
    assert ends <= {CLOSED, None}


def test_C11_waits_of_the_former_life_get_their_outcome_while_the_name_lives_anew(c, name):
    old = c.open(name, kind=FIFO).poll_descriptor.generation
    calls = [c.start_wait(name) for _ in range(100)]
    c.await_parked(name, 100)
    close = c.start_close(name)
    assert close.result().woken == 100
    new = c.open(name, must_create=True, kind=FIFO).poll_descriptor.generation
    later = c.park(name)
    answers = [call.result() for call in calls]
    assert {(answer.outcome, answer.generation) for answer in answers} == {(CLOSED, old)}
    assert c.ready(name).woken == 1
    assert (later.result().outcome, later.result().generation) == (READY, new)


def test_C12_close_discards_a_remembered_ready(c, name):
    c.open(name)
    c.ready(name, b"x", READ_WRITE)
    assert c.side(name).state == HELD
    assert c.close(name).woken == 0
    c.open(name)
    for mode in (READ, WRITE):
        assert c.wait(name, 0, mode).outcome == TIMED_OUT


def test_get_shows_who_waits(c, name):
    c.open(name, kind=FIFO)
    calls = [c.park(name, timeout=3600), c.park(name, count=2)]
    side = c.side(name)
    assert len(side.waiter_details) == 2
    timed, bounded = side.waiter_details
    assert timed.client and bounded.client
    assert 0 <= timed.until.seconds - timed.since.seconds - 3600 <= 1
    assert bounded.since.seconds >= timed.since.seconds
    assert c.list(prefix=name).poll_descriptors[0].read.waiters == 2
    assert not c.list(prefix=name).poll_descriptors[0].read.waiter_details
    c.close(name)
    assert [call.result().outcome for call in calls] == [CLOSED] * 2


def test_get_shows_at_most_100_waiters(c, name):
    c.open(name, kind=LATCH)
    calls = [c.start_wait(name) for _ in range(101)]
    c.await_parked(name, 101)
    assert len(c.side(name).waiter_details) == 100
    assert c.ready(name).woken == 101
    assert {call.result().outcome for call in calls} == {READY}


def test_get_shows_deadlines_and_payload(c, name):
    c.open(name)
    c.deadline(name, 100)
    c.deadline(name, 0, WRITE)
    signal = pb.Signal(data=b"four", content_type="text/plain")
    c.ready(name, signal=signal)
    descriptor = c.get(name)
    assert descriptor.read.payload_bytes == signal.ByteSize()
    assert 90 < descriptor.read.deadline.remaining.seconds < 100
    assert not descriptor.read.deadline.expired
    assert descriptor.write.deadline.expired
    assert descriptor.write.deadline.remaining.seconds <= 0
    assert descriptor.write.deadline.remaining.nanos <= 0
    c.deadline(name, CLEAR, READ_WRITE)
    assert not c.side(name).deadline.HasField("at")
