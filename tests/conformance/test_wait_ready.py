"""What goes first, Wait and Ready, ignore_deadline, Reset: C13 to C34."""

import random
import subprocess
import sys
import threading
import time

import grpc
import pytest
from google.protobuf import timestamp_pb2
from harness import (
    ARMED, BY_DEADLINE, BY_WAIT, CLEAR, CLOSED, COALESCED, EXCLUSIVE, EXPIRED, FIFO,
    HELD, IF_NOT_EXPIRED, IF_WAITING, KINDS, LATCH, NIL, NOT_SET, ONLY_LATER, READ, READ_WRITE,
    READY, REFUSED, REMEMBERED, TIMED_OUT, WAITING, WOKE, WRITE, clean_environment, eventually,
    nanos, refusal_of, seconds, timed_out)
from waitd.v1 import waitd_pb2 as pb

RACES = 60


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C13_expired_goes_before_ready_which_stays(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    answer = c.ready(name, b"kept")
    assert (answer.effect, answer.expired) == (REMEMBERED, True)
    for _ in range(2):
        assert timed_out(c.wait(name), BY_DEADLINE)
        assert c.side(name).state == HELD
    c.deadline(name, CLEAR)
    assert c.wait(name).signal.data == b"kept"


def test_C13_ready_remembered_before_the_deadline_passes_stays_too(c, name):
    c.open(name)
    c.ready(name)
    c.deadline(name, 0)
    assert timed_out(c.wait(name), BY_DEADLINE)
    assert c.side(name).state == HELD


@pytest.mark.parametrize("order", ["ready first", "deadline first"])
def test_C13_an_open_latch_is_open_past_its_deadline(c, name, order):
    c.open(name, kind=LATCH)
    if order == "ready first":
        c.ready(name, b"open")
        c.deadline(name, 0)
    else:
        c.deadline(name, 0)
        c.ready(name, b"open")
    for _ in range(2):
        answer = c.wait(name)
        assert (answer.outcome, answer.signal.data) == (READY, b"open")
    assert c.side(name).deadline.expired


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", [CLEAR, 3600])
def test_C14_the_ready_is_there_once_the_deadline_is_moved(c, name, kind, to):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    c.ready(name, b"late")
    c.deadline(name, to)
    answer = c.wait(name)
    assert (answer.outcome, answer.signal.data) == (READY, b"late")
    if kind != LATCH:
        assert timed_out(c.wait(name, 0), BY_WAIT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expired, other", [(READ, WRITE), (WRITE, READ)])
def test_C15_an_expired_side_leaves_the_other_alone(c, name, kind, expired, other):
    c.open(name, kind=kind)
    call = c.park(name, mode=other)
    c.deadline(name, 0, expired)
    assert timed_out(c.wait(name, mode=expired), BY_DEADLINE)
    assert not c.side(name, other).deadline.expired
    assert c.ready(name, mode=other).effect == WOKE
    assert call.result().outcome == READY


@pytest.mark.parametrize("kind", KINDS)
def test_C16_after_its_instant_every_call_finds_the_side_expired(c, name, kind):
    """What comes right after the instant does not depend on a timer having run."""
    calls = {
        "ready": lambda: c.ready(name, condition=IF_NOT_EXPIRED).effect == REFUSED,
        "unconditional ready": lambda: c.ready(name).expired,
        "later": lambda: c.deadline(name, 10, condition=ONLY_LATER).read_effect == NOT_SET,
        "reset": lambda: not c.reset(name).reset,
        "wait": lambda: c.wait(name).timeout_cause == BY_DEADLINE,
        "try": lambda: c.wait(name, 0).timeout_cause == BY_DEADLINE,
        "set": lambda: c.deadline(name, 10).read_effect == ARMED,
        "get": lambda: c.side(name).deadline.expired,
    }
    for what, call in calls.items():
        c.open(name, kind=kind)
        instant = time.time() + 0.004
        c.deadline(name, at=instant)
        while time.time() <= instant:
            pass
        assert call(), what
        c.close(name)


def test_C16_a_wait_never_parks_past_its_sides_instant(c, name):
    c.open(name)
    c.deadline(name, 0.002)
    c.elapse(0.002)
    answer = c.wait(name)
    assert timed_out(answer, BY_DEADLINE)
    assert nanos(answer.parked) == 0


def test_C16_ready_after_a_waits_own_instant_does_not_reach_it(c, name):
    for _ in range(20):
        c.open(name)
        call, timeout = c.park_briefly(name, 0.01)
        c.elapse(timeout)
        # The elapsed wait began after the parked one, so that one's instant has passed as well.
        assert c.ready(name).effect == REMEMBERED
        assert timed_out(call.result(), BY_WAIT)
        c.close(name)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C17_park_then_ready(c, name, kind):
    generation = c.open(name, kind=kind).poll_descriptor.generation
    begin = time.time()
    call = c.park(name)
    c.elapse(0.01)
    answer = c.ready(name, b"hello")
    assert (answer.effect, answer.woken, answer.generation) == (WOKE, 1, generation)
    assert not answer.expired
    result = call.result()
    assert (result.outcome, result.signal.data, result.generation) == (READY, b"hello", generation)
    assert result.timeout_cause == 0 and not result.HasField("late")
    assert seconds(result.parked) >= 0.01
    assert begin <= seconds(result.ready_time) <= time.time()
    assert (result.attempt, result.coalesced, result.ready_by) == (1, 0, "")
    side = c.side(name)
    assert (side.state, side.waiters) == (NIL, 0)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C18_ready_then_wait(c, name, kind):
    c.open(name, kind=kind)
    assert c.ready(name, b"x").effect == REMEMBERED
    answer = c.wait(name)
    assert (answer.outcome, answer.signal.data, nanos(answer.parked)) == (READY, b"x", 0)
    call = c.park(name)
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


def test_C18_deliveries_grow(c, name):
    for kind in (EXCLUSIVE, FIFO):
        c.open(name, kind=kind)
        deliveries = []
        for i in range(6):
            if i % 2:
                c.ready(name)
                deliveries.append(c.wait(name).delivery)
            else:
                call = c.park(name)
                c.ready(name)
                deliveries.append(call.result().delivery)
        assert deliveries == sorted(set(deliveries)) and deliveries[0] > 0
        c.close(name)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C19_ready_saturates(c, name, kind):
    c.open(name, kind=kind)
    answers = [c.ready(name, bytes([i])) for i in range(5)]
    assert [answer.effect for answer in answers] == [REMEMBERED] + [COALESCED] * 4
    assert [answer.woken for answer in answers] == [0] * 5
    answer = c.wait(name)
    assert (answer.outcome, answer.coalesced, answer.signal.data) == (READY, 4, b"\x04")
    assert timed_out(c.wait(name, 0), BY_WAIT)


def test_C20_ready_on_both_sides_gives_each_one(c, name):
    c.open(name)
    assert c.ready(name, b"both", READ_WRITE).effect == REMEMBERED
    for mode in (READ, WRITE):
        assert c.wait(name, mode=mode).signal.data == b"both"
        assert not c.takes(name, mode)


def test_C20_ready_on_both_sides_says_the_strongest_effect(c, name):
    c.open(name)
    c.ready(name, mode=WRITE)
    assert c.ready(name, mode=READ_WRITE).effect == REMEMBERED
    assert c.ready(name, mode=READ_WRITE).effect == COALESCED
    assert c.takes(name)
    call = c.park(name)
    answer = c.ready(name, mode=READ_WRITE)
    assert (answer.effect, answer.woken) == (WOKE, 1)
    assert call.result().outcome == READY
    calls = [c.park(name)]
    assert c.takes(name, WRITE)
    calls.append(c.park(name, mode=WRITE))
    answer = c.ready(name, mode=READ_WRITE)
    assert (answer.effect, answer.woken) == (WOKE, 2)
    assert [call.result().outcome for call in calls] == [READY] * 2


@pytest.mark.parametrize("mode, other", [(READ, WRITE), (WRITE, READ), (0, WRITE)])
def test_C20_ready_on_one_side_leaves_the_other(c, name, mode, other):
    c.open(name)
    c.ready(name, mode=mode)
    assert c.side(name, other).state == NIL
    assert not c.takes(name, other)
    assert c.takes(name, mode)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C21_two_readys_one_wait_the_second_is_remembered(c, name, kind):
    for _ in range(RACES):
        c.open(name, kind=kind)
        call = c.park(name)
        readys = [c.start_ready(name, b"1"), c.start_ready(name, b"2")]
        assert sorted(one.result().effect for one in readys) == [WOKE, REMEMBERED]
        first = call.result()
        second = c.wait(name, 0)
        assert (first.outcome, second.outcome) == (READY, READY)
        assert {first.signal.data, second.signal.data} == {b"1", b"2"}
        c.close(name)


@pytest.mark.parametrize("kind", KINDS)
def test_C22_ready_racing_park_is_never_lost(c, name, kind):
    for i in range(RACES):
        c.open(name, kind=kind)
        if i % 2:
            call, ready = c.start_wait(name), c.start_ready(name)
        else:
            ready, call = c.start_ready(name), c.start_wait(name)
        assert call.result().outcome == READY
        assert ready.result().effect in (WOKE, REMEMBERED)
        if kind != LATCH:
            assert not c.takes(name)
        c.close(name)


@pytest.mark.parametrize("kind", KINDS)
def test_C22_a_deadline_racing_park_is_never_lost(c, name, kind):
    for i in range(RACES):
        c.open(name, kind=kind)
        if i % 2:
            call, deadline = c.start_wait(name), c.start_deadline(name, 0)
        else:
            deadline, call = c.start_deadline(name, 0), c.start_wait(name)
        assert timed_out(call.result(), BY_DEADLINE)
        assert deadline.result().read_effect == EXPIRED
        c.close(name)


def test_C23_a_second_wait_on_an_exclusive_side_is_refused(c, name):
    c.open(name)
    before = time.time()
    first = c.park(name)
    for timeout in (None, 5):
        refusal = refusal_of(c.start_wait(name, timeout), "FAILED_PRECONDITION", "DOUBLE_WAIT")
        holder = c.side(name).waiter_details[0]
        assert before <= seconds(holder.since) <= time.time()
        since = timestamp_pb2.Timestamp()
        since.FromJsonString(refusal.metadata["since"])
        # Both are made from the same monotonic instant, by the clocks of two messages.
        assert abs(seconds(since) - seconds(holder.since)) < 1e-3
        assert refusal.metadata["waiter"] == holder.client != ""
        assert refusal.metadata["connected"] == "true"
        assert int(refusal.metadata["generation"]) == c.get(name).generation
        assert holder.client in refusal.message and name in refusal.message
    assert c.side(name).waiters == 1
    assert c.ready(name, b"first").effect == WOKE
    assert first.result().signal.data == b"first"
    assert not c.takes(name)


def test_C23_a_wait_on_each_side_is_fine(c, name):
    c.open(name)
    calls = {mode: c.park(name, mode=mode) for mode in (READ, WRITE)}
    for mode, call in calls.items():
        assert c.ready(name, mode=mode).effect == WOKE
        assert call.result().outcome == READY


@pytest.mark.parametrize("kind", KINDS)
def test_C24_timeouts_create_no_ready(c, name, kind):
    c.open(name, kind=kind)
    assert timed_out(c.wait(name, 0.01), BY_WAIT)
    c.deadline(name, 0.01)
    assert timed_out(c.wait(name), BY_DEADLINE)
    c.deadline(name, 0)
    c.deadline(name, CLEAR)
    assert c.side(name).state == NIL
    assert not c.takes(name)


@pytest.mark.parametrize("kind", KINDS)
def test_C24_close_creates_no_ready(c, name, kind):
    c.open(name, kind=kind)
    call = c.park(name)
    c.close(name)
    assert call.result().outcome == CLOSED
    c.open(name, kind=kind)
    assert not c.takes(name)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C24_timeouts_use_up_no_ready(c, name, kind):
    c.open(name, kind=kind)
    c.ready(name, b"x")
    c.deadline(name, 0.01)
    c.elapse(0.01)
    assert timed_out(c.wait(name), BY_DEADLINE)
    c.deadline(name, CLEAR)
    assert c.takes(name) and not c.takes(name)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
@pytest.mark.parametrize("limit", ["own", "deadline"])
def test_C25_ready_racing_a_timeout_one_of_them_wins(c, name, kind, limit):
    chance = random.Random(25)
    for i in range(RACES):
        c.open(name, kind=kind)
        length = 0.003 + chance.random() * 0.002
        if limit == "deadline":
            c.deadline(name, length)
        call = c.start_wait(name, length if limit == "own" else None)
        c.elapse(0.002 + chance.random() * 0.003)
        effect = c.ready(name).effect
        answer = call.result()
        if answer.outcome == READY:
            assert effect in (WOKE, REMEMBERED), i
            taken = False
        else:
            assert timed_out(answer, BY_WAIT if limit == "own" else BY_DEADLINE), i
            assert effect == REMEMBERED, i
            taken = True
        c.deadline(name, CLEAR)
        assert c.takes(name) == taken, i
        c.close(name)


def test_C25_after_its_answer_the_next_wait_is_no_double_wait(c, name):
    c.open(name)
    for i in range(RACES):
        call = c.start_wait(name, 0.001 if i % 3 == 0 else None)
        if i % 3 == 1:
            c.ready(name)
        elif i % 3 == 2:
            c.deadline(name, 0)
        call.result()
        c.deadline(name, CLEAR)
        assert c.wait(name, 0.0005).outcome in (TIMED_OUT, READY)


def test_C25_readys_on_two_targets_of_a_poll_one_wakes_it(c, name):
    targets = [f"{name}/a", f"{name}/b"]
    for target in targets:
        c.open(target)
    for _ in range(RACES):
        poll = c.park_poll(targets)
        readys = [c.start_ready(target) for target in targets]
        effects = [one.result().effect for one in readys]
        assert sorted(effects) == [WOKE, REMEMBERED]
        answer = poll.result()
        won = effects.index(WOKE)
        assert (answer.outcome, [one.target for one in answer.results]) == (READY, [won])
        assert not c.takes(targets[won])
        assert c.takes(targets[1 - won])


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C26_a_cancelled_wait_spends_no_ready(c, name, kind):
    c.open(name, kind=kind)
    call = c.park(name)
    assert call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    c.await_parked(name, 0)
    assert c.ready(name, b"x").effect == REMEMBERED
    assert c.wait(name, 0).signal.data == b"x"


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
@pytest.mark.unary
def test_C26_the_calls_own_deadline_spends_no_ready(c, name, kind):
    c.open(name, kind=kind)
    call = c.start_wait(name, call_limit_s=0.05)
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    c.await_parked(name, 0)
    assert not c.side(name).deadline.expired
    assert c.ready(name).effect == REMEMBERED
    assert c.takes(name)


def test_C26_a_cancelled_latch_wait_leaves_the_others(c, name):
    c.open(name, kind=LATCH)
    calls = [c.park(name, count=n) for n in (1, 2, 3)]
    calls[1].cancel()
    c.await_parked(name, 2)
    assert c.ready(name).woken == 2
    assert [calls[i].result().outcome for i in (0, 2)] == [READY] * 2


def test_C26_a_closed_connection_spends_no_ready(shared_server, c, name):
    c.open(name)
    with shared_server.client() as other:
        other.park(name)
    c.await_parked(name, 0)
    assert c.ready(name).effect == REMEMBERED
    assert c.takes(name)


_VANISHING = """
import sys, grpc
call = grpc.insecure_channel(sys.argv[1]).unary_unary("/waitd.v1.WaitService/Wait")
call(bytes.fromhex(sys.argv[2]))
"""


def test_C26_a_killed_client_spends_no_ready(shared_server, c, name):
    c.open(name)
    request = pb.WaitRequest(name=name).SerializeToString().hex()
    with subprocess.Popen([sys.executable, "-c", _VANISHING, shared_server.address, request],
                          env=clean_environment()) as process:
        c.await_parked(name)
        process.kill()
    c.await_parked(name, 0)
    assert c.ready(name).effect == REMEMBERED
    assert c.takes(name)


@pytest.mark.parametrize("kind", [EXCLUSIVE, FIFO])
def test_C26_ready_racing_cancel_is_never_used_twice_nor_lost(c, name, kind):
    for i in range(RACES):
        c.open(name, kind=kind)
        call = c.park(name)
        if i % 2:
            call.cancel()
            ready = c.start_ready(name, b"x")
        else:
            ready = c.start_ready(name, b"x")
            call.cancel()
        effect = ready.result().effect
        c.await_parked(name, 0)
        try:
            delivered = call.result().outcome == READY
        except (grpc.FutureCancelledError, grpc.RpcError):
            delivered = False
        left = c.takes(name)
        assert effect in (WOKE, REMEMBERED)
        assert not (delivered and left), f"round {i}: used twice"
        if effect == REMEMBERED:
            assert left and not delivered, f"round {i}: lost"
        c.close(name)


def test_C27_readys_handed_out_never_exceed_those_accepted(shared_server, c, name):
    """Random waits, Readys and cancels of eight clients over a few names; then the sums."""
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one, kind=FIFO)
    seed = 27
    lock = threading.Lock()
    kept = {one: {"accepted": 0, "coalesced": 0, "got": 0, "unsure": 0} for one in names}
    failures = []

    def add(one, **counts):
        with lock:
            for key, count in counts.items():
                kept[one][key] += count

    def work(number):
        chance = random.Random(seed * 1000 + number)
        try:
            with shared_server.client() as mine:
                for _ in range(60):
                    one = chance.choice(names)
                    kind = chance.randrange(4)
                    if kind < 2:
                        effect = mine.ready(one).effect
                        add(one, accepted=1, coalesced=effect == COALESCED)
                    elif kind == 2:
                        answer = mine.wait(one, chance.choice([0, 0.001, 0.01]))
                        add(one, got=answer.outcome == READY)
                    else:
                        call = mine.start_wait(one, 0.01)
                        call.cancel()
                        # Written before the cancel arrived, its READY is spent unseen.
                        add(one, unsure=1)
        except BaseException as error:  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, f"seed {seed}: {failures}"
    for one in names:
        c.await_parked(one, 0)
        left = int(c.takes(one))
        sums = kept[one]
        handed = sums["got"] + left
        accepted = sums["accepted"] - sums["coalesced"]
        assert handed <= accepted <= handed + sums["unsure"], f"seed {seed}: {one} {sums} {left}"
    shared_server.await_at_rest()


def test_C28_a_payload_goes_with_its_ready(c, name):
    signal = pb.Signal(data=bytes(range(256)), content_type="application/x-all",
                       failure=pb.Signal.Failure(code=-7, message="ended badly"),
                       attributes={"traceparent": "00-1-2-03", "empty": ""})
    c.open(name)
    c.ready(name, signal=signal)
    assert c.wait(name).signal == signal
    call = c.park(name)
    c.ready(name, signal=signal)
    answer = call.result()
    assert (answer.outcome, answer.signal) == (READY, signal)
    assert c.side(name).payload_bytes == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("newest", [pb.Signal(data=b"new"), pb.Signal(), None])
def test_C28_a_coalesced_ready_carries_the_newest_payload(c, name, kind, newest):
    c.open(name, kind=kind)
    c.ready(name, signal=pb.Signal(data=b"old", failure=pb.Signal.Failure(code=1)))
    assert c.ready(name, signal=newest).effect == COALESCED
    answer = c.wait(name)
    assert answer.signal == (newest or pb.Signal())
    assert answer.coalesced == 1


@pytest.mark.parametrize("kind", KINDS)
def test_C29_ignore_deadline_parks_on_an_expired_side(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    call = c.park(name, ignore_deadline=True)
    assert c.deadline(name, -1).woken == 0
    assert c.side(name).waiters == 1
    answer = c.ready(name, b"x")
    assert (answer.effect, answer.woken) == (WOKE, 1)
    assert call.result().signal.data == b"x"


def test_C29_a_deadline_that_fires_meanwhile_does_not_end_it(c, name):
    c.open(name)
    call = c.park(name, ignore_deadline=True)
    c.deadline(name, 0.01)
    eventually(lambda: c.side(name).deadline.expired, "the deadline has fired")
    assert c.deadline(name, 0).woken == 0
    assert c.side(name).waiters == 1
    c.close(name)
    assert call.result().outcome == CLOSED


def test_C29_its_own_timeout_ends_it_all_the_same(c, name):
    c.open(name)
    c.deadline(name, 0)
    answer = c.wait(name, 0.02, ignore_deadline=True)
    assert timed_out(answer, BY_WAIT) and seconds(answer.parked) >= 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expired", [False, True])
def test_C30_ignore_deadline_takes_a_remembered_ready(c, name, kind, expired):
    c.open(name, kind=kind)
    c.ready(name, b"x")
    if expired:
        c.deadline(name, 0)
    answer = c.wait(name, ignore_deadline=True)
    assert (answer.outcome, answer.signal.data) == (READY, b"x")
    assert c.side(name).state == (HELD if kind == LATCH else NIL)


@pytest.mark.parametrize("kind", KINDS)
def test_C31_reset_forgets_one_sides_ready_and_nothing_else(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 1000, READ_WRITE)
    c.ready(name, b"x", READ_WRITE)
    before = c.get(name)
    answer = c.reset(name)
    assert (answer.reset, answer.forgot) == (True, True)
    after = c.get(name)
    assert (after.read.state, after.read.payload_bytes) == (NIL, 0)
    assert after.write.state == HELD
    assert after.read.deadline.at == before.read.deadline.at
    assert after.write.deadline.at == before.write.deadline.at
    answer = c.reset(name)
    assert (answer.reset, answer.forgot) == (True, False)
    assert c.reset(name, READ_WRITE).forgot
    assert not c.takes(name, WRITE)


def test_C31_the_deadline_still_fires_after_reset(c, name):
    c.open(name)
    c.deadline(name, 0.05)
    c.reset(name)
    assert timed_out(c.wait(name), BY_DEADLINE)


@pytest.mark.parametrize("kind", KINDS)
def test_C32_reset_of_an_expired_side_leaves_its_ready(c, name, kind):
    c.open(name, kind=kind)
    c.ready(name)
    c.deadline(name, 0)
    answer = c.reset(name)
    assert (answer.reset, answer.forgot) == (False, False)
    assert c.side(name).state == HELD
    c.deadline(name, CLEAR)
    assert c.takes(name)


def test_C32_reset_of_both_sides_treats_each_by_itself(c, name):
    c.open(name)
    c.ready(name, mode=READ_WRITE)
    c.deadline(name, 0)
    answer = c.reset(name, READ_WRITE)
    assert (answer.reset, answer.forgot) == (False, True)
    assert (c.side(name).state, c.side(name, WRITE).state) == (HELD, NIL)


@pytest.mark.parametrize("kind", KINDS)
def test_C33_reset_loses_no_parked_wait(c, name, kind):
    c.open(name, kind=kind)
    call = c.park(name)
    answer = c.reset(name)
    assert (answer.reset, answer.forgot) == (True, False)
    side = c.side(name)
    assert (side.state, side.waiters) == (WAITING, 1)
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


def test_C34_reset_closes_a_latch(c, name):
    c.open(name, kind=LATCH)
    c.ready(name, b"1")
    assert c.takes(name) and c.takes(name)
    answer = c.reset(name)
    assert (answer.reset, answer.forgot) == (True, True)
    call = c.park(name)
    assert c.ready(name, b"2").woken == 1
    assert call.result().signal.data == b"2"
    assert c.takes(name)


def test_ready_under_waiting_wakes_and_remembers_nothing(c, name):
    c.open(name)
    call = c.park(name)
    answer = c.ready(name, b"x", condition=IF_WAITING)
    assert (answer.effect, answer.woken) == (WOKE, 1)
    assert call.result().signal.data == b"x"
    assert c.ready(name, condition=IF_WAITING).effect == REFUSED
    assert c.side(name).state == NIL


def test_ready_under_waiting_wakes_a_latchs_waiters_and_leaves_it_closed(c, name):
    c.open(name, kind=LATCH)
    calls = [c.park(name, count=n) for n in (1, 2)]
    assert c.ready(name, condition=IF_WAITING).woken == 2
    assert [call.result().outcome for call in calls] == [READY] * 2
    assert c.side(name).state == NIL
    assert not c.takes(name)
