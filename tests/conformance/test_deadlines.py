"""SetDeadline, one timer for two sides, timers: C35 to C55."""

import itertools
import random
import time

import pytest
from google.protobuf import duration_pb2
from harness import (
    ARM_OR_EXTEND, ARMED, BY_DEADLINE, BY_WAIT, CLEAR, CLEARED, CLOSED, EXCLUSIVE, EXPIRED,
    EXTENDED, FIFO, HELD, IF_NOT_EXPIRED, IF_WAITING, KINDS, NIL, NOT_SET, ONLY_EARLIER,
    ONLY_LATER, READ, READ_WRITE, READY, REFUSED, REMEMBERED, SHORTENED, TIMED_OUT, UNCHANGED,
    WOKE, WRITE, eventually, measured_memory, nanos, refused, seconds, timed_out)
from waitd.v1 import waitd_pb2 as pb

NOTHING = pb.DEADLINE_EFFECT_UNSPECIFIED


@pytest.mark.parametrize("kind", KINDS)
def test_C35_a_future_deadline_binds_a_parked_wait(c, name, kind):
    generation = c.open(name, kind=kind).poll_descriptor.generation
    call = c.park(name)
    begin = time.time()
    answer = c.deadline(name, 0.05)
    assert (answer.applied, answer.read_effect, answer.write_effect) == (True, ARMED, NOTHING)
    assert (answer.woken, answer.generation) == (0, generation)
    assert begin + 0.05 <= seconds(answer.read.at) <= time.time() + 0.05
    assert 0 < seconds(answer.read.remaining) <= 0.05
    assert not answer.write.HasField("at")
    result = call.result()
    assert timed_out(result, BY_DEADLINE)
    assert time.time() >= seconds(answer.read.at)
    assert seconds(result.parked) >= 0.05
    assert (result.generation, result.delivery) == (generation, 0)
    assert c.side(name).deadline.expired


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("past", [0, -1, -1e-9, "at the epoch", "a second ago"])
def test_C35_a_deadline_now_or_in_the_past_expires_at_once(c, name, kind, past):
    c.open(name, kind=kind)
    call = c.park(name)
    before = time.time()
    if isinstance(past, str):
        at = 0 if past == "at the epoch" else time.time() - 1
        answer = c.deadline(name, at=at)
    else:
        answer = c.deadline(name, past)
    assert (answer.applied, answer.read_effect, answer.woken) == (True, EXPIRED, 1)
    assert answer.read.expired and seconds(answer.read.remaining) <= 0
    assert before <= seconds(answer.read.at) <= time.time(), "not the moment it was set"
    assert timed_out(call.result(), BY_DEADLINE)


@pytest.mark.parametrize("kind", [FIFO, EXCLUSIVE])
def test_C36_expired_stays_until_it_is_set_again(c, name, kind):
    c.open(name, kind=kind)
    c.ready(name)
    c.deadline(name, 0)
    for _ in range(3):
        answer = c.wait(name)
        assert timed_out(answer, BY_DEADLINE) and nanos(answer.parked) == 0
        assert not c.reset(name).reset
    assert c.side(name).state == HELD
    c.deadline(name, 1000)
    assert c.reset(name).forgot
    call = c.park(name)
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


@pytest.mark.parametrize("kind", KINDS)
def test_C37_clear_removes_an_armed_deadline_and_wakes_nobody(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0.2)
    call = c.park(name)
    answer = c.deadline(name, CLEAR)
    assert (answer.applied, answer.read_effect, answer.woken) == (True, CLEARED, 0)
    assert not answer.read.HasField("at") and not answer.read.expired
    c.elapse(0.25)
    assert c.side(name).waiters == 1
    c.ready(name)
    assert call.result().outcome == READY


def test_C37_clear_removes_an_expired_deadline(c, name):
    c.open(name)
    c.deadline(name, 0)
    answer = c.deadline(name, CLEAR)
    assert (answer.applied, answer.read_effect, answer.woken) == (True, CLEARED, 0)
    assert timed_out(c.wait(name, 0.01), BY_WAIT)


def test_C37_clear_of_nothing_changes_nothing(c, name):
    c.open(name)
    answer = c.deadline(name, CLEAR)
    assert (answer.applied, answer.read_effect) == (True, UNCHANGED)


@pytest.mark.parametrize("kind", KINDS)
def test_C38_a_future_deadline_revives_an_expired_side(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    answer = c.deadline(name, 1000)
    assert (answer.read_effect, answer.read.expired) == (ARMED, False)
    call = c.park(name)
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


@pytest.mark.parametrize("kind", KINDS)
def test_C39_extending_does_not_wake(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0.15)
    call = c.park(name)
    answer = c.deadline(name, 1000)
    assert (answer.read_effect, answer.woken) == (EXTENDED, 0)
    c.elapse(0.2)
    assert c.side(name).waiters == 1
    c.close(name)
    assert call.result().outcome == CLOSED


@pytest.mark.parametrize("kind", KINDS)
def test_C39_shortening_takes_effect_at_once(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 3600)
    call = c.park(name)
    answer = c.deadline(name, 0.01)
    assert (answer.read_effect, answer.woken) == (SHORTENED, 0)
    assert timed_out(call.result(), BY_DEADLINE)


def test_C39_a_heartbeat_keeps_a_wait_parked(c, name):
    timeout_s = 0.3

    def heartbeats():
        """How long the longest pause was between two of them, at most."""
        longest_s, before = 0, time.monotonic()
        for _ in range(10):
            begin = time.monotonic()
            c.deadline(name, timeout_s, condition=ARM_OR_EXTEND)
            longest_s, before = max(longest_s, time.monotonic() - before), begin
            c.elapse(0.05)
        waiters = c.side(name).waiters
        longest_s = max(longest_s, time.monotonic() - before)
        assert waiters == 1 or longest_s >= timeout_s
        return longest_s

    while True:
        c.open(name)
        call = c.park(name)
        in_time = heartbeats() < timeout_s
        answer = call.result()
        assert timed_out(answer, BY_DEADLINE)
        if in_time:
            break
        c.close(name)  # a machine that stood still for that time: once more
    assert seconds(answer.parked) >= 0.75


@pytest.mark.parametrize("mode", [0, READ, WRITE, READ_WRITE])
def test_C40_a_deadline_touches_the_sides_it_names(c, name, mode):
    c.open(name)
    c.deadline(name, 100)
    c.deadline(name, 200, WRITE)
    before = c.get(name)
    answer = c.deadline(name, 500, mode)
    after = c.get(name)
    touches_read, touches_write = mode != WRITE, mode in (WRITE, READ_WRITE)
    assert answer.read_effect == (EXTENDED if touches_read else NOTHING)
    assert answer.write_effect == (EXTENDED if touches_write else NOTHING)
    assert (after.read.deadline.at != before.read.deadline.at) == touches_read
    assert (after.write.deadline.at != before.write.deadline.at) == touches_write
    assert answer.read.at == after.read.deadline.at
    assert answer.write.at == after.write.deadline.at


def test_C40_expiring_one_side_leaves_the_others_wait(c, name):
    c.open(name)
    calls = {mode: c.park(name, mode=mode) for mode in (READ, WRITE)}
    assert c.deadline(name, 0, WRITE).woken == 1
    assert timed_out(calls[WRITE].result(), BY_DEADLINE)
    assert c.side(name).waiters == 1
    assert c.deadline(name, 0).woken == 1
    assert timed_out(calls[READ].result(), BY_DEADLINE)


@pytest.mark.parametrize("far", [
    {"timeout": duration_pb2.Duration(seconds=315_576_000_000)},
    {"timeout": duration_pb2.Duration(seconds=9_223_372_036, nanos=854_775_807)},
    {"timeout": duration_pb2.Duration(seconds=9_223_372_037)},
    {"at": 253_402_300_799},  # the end of the year 9999
])
def test_C41_beyond_the_range_is_never(c, name, far):
    c.open(name)
    answer = c.deadline(name, **far)
    assert (answer.applied, answer.read_effect) == (True, ARMED)
    assert not answer.read.expired
    assert seconds(answer.read.remaining) >= 0
    call = c.park(name)
    assert not c.side(name).deadline.expired
    assert c.deadline(name, 3600).read_effect == SHORTENED
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


def test_C41_a_wait_beyond_the_range_parks(c, name):
    c.open(name)
    call = c.park(name, timeout=duration_pb2.Duration(seconds=315_576_000_000))
    assert c.ready(name).effect == WOKE
    assert call.result().outcome == READY


def test_C41_far_in_the_past_is_expired_now(c, name):
    c.open(name)
    for long_ago in ({"timeout": duration_pb2.Duration(seconds=-315_576_000_000)},
                     {"at": -62_135_596_800}):  # the beginning of the year 1
        c.deadline(name, CLEAR)
        assert c.deadline(name, **long_ago).read_effect == EXPIRED


@pytest.mark.parametrize("condition", [0, ONLY_LATER, ONLY_EARLIER, ARM_OR_EXTEND])
def test_C42_the_value_it_has_changes_nothing(c, name, condition):
    c.open(name)
    at = time.time() + 100
    first = c.deadline(name, at=at, mode=READ_WRITE)
    assert abs(seconds(first.read.at) - at) < 0.001
    call = c.park(name)
    for _ in range(5):
        again = c.deadline(name, at=at, mode=READ_WRITE, condition=condition)
        assert (again.read_effect, again.write_effect) == (UNCHANGED, UNCHANGED)
        assert (again.applied, again.woken) == (True, 0)
        assert (again.read.at, again.write.at) == (first.read.at, first.write.at)
    c.close(name)
    assert call.result().outcome == CLOSED


# From which deadline, under which condition, to which one: what happens. A REFUSED one leaves the
# side as it was.
NONE, NOW = CLEAR, 0
CONDITION_TABLE = [
    (NONE, 0, 100, ARMED), (NONE, 0, NOW, EXPIRED), (NONE, 0, CLEAR, UNCHANGED),
    (100, 0, 200, EXTENDED), (100, 0, 50, SHORTENED), (100, 0, NOW, EXPIRED),
    (100, 0, CLEAR, CLEARED),
    (NOW, 0, 100, ARMED), (NOW, 0, NOW, UNCHANGED), (NOW, 0, CLEAR, CLEARED),
    (NONE, ONLY_LATER, 100, NOT_SET), (NONE, ONLY_LATER, NOW, NOT_SET),
    (100, ONLY_LATER, 200, EXTENDED), (100, ONLY_LATER, 50, NOT_SET),
    (100, ONLY_LATER, NOW, NOT_SET), (100, ONLY_LATER, CLEAR, CLEARED),
    (NOW, ONLY_LATER, 100, NOT_SET), (NOW, ONLY_LATER, CLEAR, NOT_SET),
    (NOW, ONLY_LATER, NOW, UNCHANGED),
    (NONE, ONLY_EARLIER, 100, ARMED), (NONE, ONLY_EARLIER, NOW, EXPIRED),
    (NONE, ONLY_EARLIER, CLEAR, NOT_SET),
    (100, ONLY_EARLIER, 50, SHORTENED), (100, ONLY_EARLIER, 200, NOT_SET),
    (100, ONLY_EARLIER, NOW, EXPIRED), (100, ONLY_EARLIER, CLEAR, NOT_SET),
    (NOW, ONLY_EARLIER, 100, NOT_SET), (NOW, ONLY_EARLIER, CLEAR, NOT_SET),
    (NOW, ONLY_EARLIER, NOW, UNCHANGED),
    (NONE, ARM_OR_EXTEND, 100, ARMED), (100, ARM_OR_EXTEND, 200, EXTENDED),
    (100, ARM_OR_EXTEND, 50, NOT_SET), (NOW, ARM_OR_EXTEND, 100, NOT_SET),
]


@pytest.mark.parametrize("old, condition, new, effect", CONDITION_TABLE)
def test_C43_conditions(c, name, old, condition, new, effect):
    c.open(name, kind=FIFO)
    c.deadline(name, old)
    before = c.side(name).deadline
    parked = None if old == NOW else c.park(name)
    answer = c.deadline(name, new, condition=condition)
    after = c.side(name).deadline
    assert answer.read_effect == effect
    assert answer.applied == (effect != NOT_SET)
    assert answer.woken == (1 if effect == EXPIRED else 0)
    if effect in (NOT_SET, UNCHANGED):
        assert (after.at, after.expired) == (before.at, before.expired)
    else:
        assert after.expired == (effect == EXPIRED)
        assert after.HasField("at") == (effect != CLEARED)
    if parked:
        c.close(name)
        assert parked.result().outcome == (TIMED_OUT if effect == EXPIRED else CLOSED)


def test_C43_each_side_by_itself(c, name):
    c.open(name)
    c.deadline(name, 1000)
    c.deadline(name, 10, WRITE)
    before = c.get(name)
    answer = c.deadline(name, 100, READ_WRITE, condition=ONLY_LATER)
    assert (answer.applied, answer.read_effect, answer.write_effect) == (True, NOT_SET, EXTENDED)
    assert c.side(name).deadline.at == before.read.deadline.at
    answer = c.deadline(name, 200, READ_WRITE, condition=ONLY_EARLIER)
    assert (answer.applied, answer.read_effect, answer.write_effect) == (True, SHORTENED, NOT_SET)
    answer = c.deadline(name, 1, READ_WRITE, condition=ONLY_LATER)
    assert (answer.applied, answer.read_effect, answer.write_effect) == (False, NOT_SET, NOT_SET)


@pytest.mark.parametrize("request_fields, field", [
    ({"timeout": 0}, "timeout"), ({"timeout": -5}, "timeout"), ({"at": 1000}, "at"),
    ({"timeout": CLEAR}, "clear")])
def test_C43_arm_or_extend_needs_a_time_to_come(c, name, request_fields, field):
    c.open(name)
    c.deadline(name, 100)
    before = c.side(name).deadline.at
    with refused("INVALID_ARGUMENT", "BAD_TIME") as said:
        c.deadline(name, condition=ARM_OR_EXTEND, **request_fields)
    # The two fields contradict each other; either may be named.
    assert said[0].fields in ([field], ["condition"])
    assert c.side(name).deadline.at == before


@pytest.mark.parametrize("old", [NONE, 100])
def test_C43_arm_or_extend_that_is_past_only_by_its_first_attempt_is_refused(c, name, old):
    c.open(name)
    c.deadline(name, old)
    before = c.side(name).deadline
    answer = c.deadline(name, 1, first_sent_ago=2, condition=ARM_OR_EXTEND)
    assert (answer.applied, answer.read_effect) == (False, NOT_SET)
    after = c.side(name).deadline
    assert (after.at, after.expired) == (before.at, False)


def test_C43_a_deadline_counts_from_the_first_attempt(c, name):
    c.open(name)
    before = time.time()
    at = seconds(c.deadline(name, 100, first_sent_ago=60).read.at)
    assert before + 40 <= at <= time.time() + 40
    assert c.deadline(name, 1, first_sent_ago=2).read_effect == EXPIRED


def test_C43_a_deadline_without_a_deadline_is_bad(c, name):
    c.open(name)
    before = c.get(name)
    with refused("INVALID_ARGUMENT", "BAD_TIME", "deadline"):
        c.deadline(name)
    assert c.get(name) == before


@pytest.mark.parametrize("kind", KINDS)
def test_C44_the_sticky_past_does_not_leak(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0, WRITE)
    call = c.park(name, mode=WRITE, ignore_deadline=True)
    assert c.deadline(name, 0).woken == 0
    assert c.side(name, WRITE).waiters == 1
    descriptor = c.get(name)
    assert descriptor.read.state == NIL and descriptor.read.deadline.expired
    c.ready(name, mode=WRITE)
    assert call.result().outcome == READY
    c.deadline(name, CLEAR, READ_WRITE)
    assert not c.takes(name)


@pytest.mark.parametrize("kind", KINDS)
def test_C44a_not_expired_refuses_on_an_expired_side(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    before = c.get(name).read
    answer = c.ready(name, b"x", condition=IF_NOT_EXPIRED)
    assert (answer.effect, answer.woken, answer.expired) == (REFUSED, 0, False)
    assert (c.side(name).state, c.side(name).payload_bytes) == (before.state, 0)
    c.deadline(name, 1000)
    assert c.ready(name, condition=IF_NOT_EXPIRED).effect == REMEMBERED


def test_C44a_a_refused_ready_replaces_no_remembered_one(c, name):
    c.open(name)
    c.ready(name, b"old")
    assert c.ready(name, b"new", condition=IF_WAITING).effect == REFUSED
    c.deadline(name, 0)
    assert c.ready(name, b"newer", condition=IF_NOT_EXPIRED).effect == REFUSED
    c.deadline(name, CLEAR)
    answer = c.wait(name)
    assert (answer.signal.data, answer.coalesced) == (b"old", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_C44a_waiting_refuses_when_nobody_is_parked(c, name, kind):
    c.open(name, kind=kind)
    answer = c.ready(name, condition=IF_WAITING)
    assert (answer.effect, answer.woken) == (REFUSED, 0)
    assert c.side(name).state == NIL


def test_C44a_conditions_treat_each_side_by_itself(c, name):
    c.open(name)
    c.deadline(name, 0)
    assert c.ready(name, mode=READ_WRITE, condition=IF_NOT_EXPIRED).effect == REMEMBERED
    assert (c.side(name).state, c.side(name, WRITE).state) == (NIL, HELD)


@pytest.mark.parametrize("kind", KINDS)
def test_C44a_without_a_condition_it_is_remembered_and_says_expired(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 0)
    answer = c.ready(name)
    assert (answer.effect, answer.expired) == (REMEMBERED, True)


@pytest.fixture
def quiet(start):
    """A server of the test's own, whose gauges nobody else moves, and its client."""
    server = start()
    with server.client() as client:
        yield server, client


def armed_timers(server):
    return server.metrics()("waitd_timers")


def test_C45_one_instant_for_both_sides_is_one_timer(quiet, name):
    server, c = quiet
    c.open(name)
    c.deadline(name, 100, READ_WRITE)
    assert armed_timers(server) == 1
    c.deadline(name, CLEAR, READ_WRITE)
    assert armed_timers(server) == 0


def test_C45_it_ends_both_sides_waits(c, name):
    c.open(name)
    calls = [c.park(name, mode=mode) for mode in (READ, WRITE)]
    c.deadline(name, 0.03, READ_WRITE)
    assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)
    descriptor = c.get(name)
    assert descriptor.read.deadline.expired and descriptor.write.deadline.expired
    assert descriptor.read.deadline.at == descriptor.write.deadline.at


@pytest.mark.parametrize("moved, left", [(READ, WRITE), (WRITE, READ)])
@pytest.mark.parametrize("to", ["later", "earlier", CLEAR, "now"])
def test_C46_moving_one_side_leaves_the_other_at_its_instant(c, name, moved, left, to):
    c.open(name)
    at = c.deadline(name, 0.12, READ_WRITE).read.at
    calls = {mode: c.park(name, mode=mode) for mode in (READ, WRITE)}
    new = {"later": 0.3, "earlier": 0.06, CLEAR: CLEAR, "now": 0}[to]
    answer = c.deadline(name, new, moved)
    moved_at = (answer.read if moved == READ else answer.write).at
    assert timed_out(calls[left].result(), BY_DEADLINE)
    assert time.time() >= seconds(at)
    assert c.side(name, left).deadline.at == at
    if to == CLEAR:
        assert c.side(name, moved).waiters == 1
        c.ready(name, mode=moved)
        assert calls[moved].result().outcome == READY
    else:
        assert timed_out(calls[moved].result(), BY_DEADLINE)
        assert time.time() >= seconds(moved_at)
    assert c.side(name, left).deadline.expired


def test_C47_both_sides_set_to_one_instant_merge(quiet, name):
    server, c = quiet
    c.open(name)
    at = time.time() + 100
    c.deadline(name, at=at)
    c.deadline(name, at=at + 10, mode=WRITE)
    assert armed_timers(server) == 2
    c.deadline(name, at=at + 20, mode=READ_WRITE)
    assert armed_timers(server) == 1


def test_C47_w_set_to_exactly_rs_instant_merges(quiet, name):
    """Again and again, as an instant that is converted anew for each call may differ by chance."""
    server, c = quiet
    for i in range(20):
        c.open(name)
        at = time.time() + 100
        c.deadline(name, at=at)
        c.deadline(name, at=at + 10, mode=WRITE)
        c.deadline(name, at=at, mode=WRITE)
        descriptor = c.get(name)
        assert descriptor.read.deadline.at == descriptor.write.deadline.at
        assert armed_timers(server) == 1, f"round {i}"
        c.close(name)


def test_C47_merged_sides_both_expire(c, name):
    c.open(name)
    soon = time.time() + 0.05
    c.deadline(name, at=soon + 100)
    c.deadline(name, at=soon + 200, mode=WRITE)
    c.deadline(name, at=soon)
    c.deadline(name, at=soon, mode=WRITE)
    calls = [c.start_wait(name, mode=mode) for mode in (READ, WRITE)]
    assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)
    assert time.time() >= soon


def test_C48_a_stale_combined_timer_costs_neither_side_its_expiry(c, name):
    for _ in range(10):
        c.open(name)
        calls = [c.park(name, mode=mode) for mode in (READ, WRITE)]
        c.deadline(name, 0.01, READ_WRITE)
        moves = [c.start_deadline(name, 0.02, READ), c.start_deadline(name, 0.03, WRITE)]
        for move in moves:
            move.result()
        assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)
        c.close(name)


def test_C49_extending_is_no_stale_timer(quiet, name):
    server, c = quiet
    c.open(name)
    c.deadline(name, 0.2)
    call = c.park(name)
    before = armed_timers(server)
    for _ in range(10):
        assert c.deadline(name, 0.2).read_effect == EXTENDED
        c.elapse(0.01)
    assert armed_timers(server) == before
    assert timed_out(call.result(), BY_DEADLINE)
    metrics = server.metrics()
    assert metrics("waitd_timers") == 0
    assert metrics("waitd_stale_timers_total") == 0
    assert metrics("waitd_timeouts_total", mode="read", cause="deadline") == 1


def test_C50_expiry_happens_once(quiet, name):
    server, c = quiet
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=n) for n in range(1, 6)]
    at = c.deadline(name, 0.02).read.at
    assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)
    assert c.deadline(name, 0).woken == 0
    assert c.side(name).deadline.at == at
    assert server.metrics()("waitd_timeouts_total", mode="read", cause="deadline") == 5


def test_C52_a_waits_timeout_never_comes_early(c, name):
    chance = random.Random(52)
    c.open(name, kind=FIFO)
    lengths = [chance.randrange(1, 50_000_000) for _ in range(150)]
    begun = [(time.monotonic_ns(), length, c.start_wait(
        name, duration_pb2.Duration(nanos=length))) for length in lengths]
    for begin, length, call in begun:
        answer = call.result()
        assert time.monotonic_ns() - begin >= length
        assert timed_out(answer, BY_WAIT)
        assert nanos(answer.parked) >= length


def test_C52_a_deadline_never_comes_early(c, name):
    chance = random.Random(5252)
    begun = []
    for i in range(100):
        one = f"{name}/{i}"
        c.open(one)
        call = c.start_wait(one)
        at = c.deadline(one, chance.randrange(1, 50_000_000) / 1e9).read.at
        begun.append((at, call))
    for at, call in begun:
        assert timed_out(call.result(), BY_DEADLINE)
        assert time.time_ns() >= nanos(at)


def test_C52_the_first_attempt_counts_for_a_waits_timeout(c, name):
    c.open(name)
    begin = time.monotonic()
    assert timed_out(c.wait(name, 0.1, first_sent_ago=0.05), BY_WAIT)
    assert time.monotonic() - begin >= 0.05
    answer = c.wait(name, 1, first_sent_ago=5)
    assert timed_out(answer, BY_WAIT) and nanos(answer.parked) == 0


def test_C53_many_deadlines_on_one_instant_all_expire_once(c, name):
    count = 500
    at = time.time() + 1
    for i in range(count):
        c.open(f"{name}/{i}")
    calls = [c.start_wait(f"{name}/{i}") for i in range(count)]
    deadlines = [c.start_deadline(f"{name}/{i}", at=at, mode=READ_WRITE) for i in range(count)]
    assert {deadline.result().applied for deadline in deadlines} == {True}
    assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)
    assert time.time() >= at
    eventually(lambda: all(
        descriptor.read.deadline.expired and descriptor.write.deadline.expired
        for descriptor in c.list(prefix=f"{name}/", page_size=1000).poll_descriptors), "expired")
    for i in range(count):
        c.close(f"{name}/{i}")


def test_C54_deadlines_of_every_length_keep_their_order(c, name):
    year = 365.25 * 86400
    lengths = {"100ns": 1e-7, "1us": 1e-6, "1ms": 1e-3, "1s": 1, "1h": 3600, "1y": year,
               "200y": 200 * year}
    for one in reversed(lengths):
        c.open(f"{name}/{one}")
        answer = c.deadline(f"{name}/{one}", lengths[one])
        assert answer.read_effect in (ARMED, EXPIRED)
    assert timed_out(c.wait(f"{name}/1s"), BY_DEADLINE)
    deadlines = {one: c.side(f"{name}/{one}").deadline for one in lengths}
    for one, length in lengths.items():
        assert deadlines[one].expired == (length <= 1), one
    later = [nanos(deadlines[one].at) for one in ("1s", "1h", "1y", "200y")]
    assert later == sorted(set(later))
    for one in ("1h", "1y", "200y"):
        off = seconds(deadlines[one].remaining) - lengths[one]
        assert -30 < off <= 0, one


def test_C54_waits_end_in_the_order_of_their_instants(c, name):
    c.open(name, kind=FIFO)
    order = []
    calls = []
    for i, length in enumerate([0.25, 0.05, 0.15]):
        call = c.start_wait(name, length)
        call.add_done_callback(lambda _, i=i: order.append(i))
        calls.append(call)
    assert all(timed_out(call.result(), BY_WAIT) for call in calls)
    eventually(lambda: len(order) == 3, "all called back")
    assert order == [1, 2, 0]


def test_C55_a_closed_descriptor_leaves_no_timer(start, name):
    server = start(env=measured_memory())

    def cycles(count):
        with server.client() as c:
            for i in range(count):
                c.open(f"{name}/{i}")
                assert c.deadline(f"{name}/{i}", 1800 + i, READ_WRITE).applied
                c.close(f"{name}/{i}")
    cycles(300)
    level = server.rss()
    cycles(700)
    metrics = server.metrics()
    assert metrics("waitd_timers") == 0
    assert metrics.total("waitd_descriptors") == 0
    assert server.rss() <= level * 1.1


def test_C55_close_stops_both_sides_timers_and_waits_timeouts(quiet, name):
    server, c = quiet
    for lengths in itertools.permutations([100, 200]):
        c.open(name, kind=FIFO)
        c.deadline(name, lengths[0])
        c.deadline(name, lengths[1], WRITE)
        calls = [c.park(name, timeout=1000, mode=mode) for mode in (READ, WRITE)]
        assert armed_timers(server) > 0
        c.close(name)
        assert [call.result().outcome for call in calls] == [CLOSED] * 2
        assert armed_timers(server) == 0
