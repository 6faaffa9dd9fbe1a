"""Kinds, a wait's own timeout, Poll, idle_ttl, List: C56 to C65 and C76."""

import time

import grpc
import pytest
from harness import (
    BY_DEADLINE, BY_MAX_WAIT, BY_WAIT, CLEAR, CLOSED, COALESCED, FIFO, HELD,
    IF_WAITING, KINDS, LATCH, NIL, READ, READ_WRITE, READY, REFUSED, REMEMBERED, WOKE, WRITE,
    check_refusal, eventually, nanos, options, refusal_of, refused, seconds, timed_out)
from waitd.v1 import waitd_pb2 as pb

RACES = 60


def targets_of(answer):
    return [result.target for result in answer.results]


@pytest.fixture
def abc(c, name):
    """Three exclusive descriptors."""
    names = [f"{name}/{letter}" for letter in "abc"]
    for one in names:
        c.open(one)
    return names


def test_C56_fifo_wakes_in_the_order_of_arrival(c, name):
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=n) for n in range(1, 6)]
    for i, call in enumerate(calls):
        answer = c.ready(name, bytes([i]))
        assert (answer.effect, answer.woken) == (WOKE, 1)
        assert call.result().signal.data == bytes([i])
        c.await_parked(name, len(calls) - 1 - i)
    assert c.ready(name).effect == REMEMBERED


def test_C56_fifo_skips_a_cancelled_wait(c, name):
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=n) for n in range(1, 4)]
    calls[1].cancel()
    c.await_parked(name, 2)
    for i in (0, 2):
        assert c.ready(name, bytes([i])).woken == 1
        assert calls[i].result().signal.data == bytes([i])
    assert c.ready(name).effect == REMEMBERED


def test_C56_the_sides_are_queues_of_their_own(c, name):
    c.open(name, kind=FIFO)
    reads = [c.park(name, count=n) for n in (1, 2)]
    writes = [c.park(name, mode=WRITE, count=n) for n in (1, 2)]
    assert c.ready(name, b"1", READ_WRITE).woken == 2
    assert reads[0].result().signal.data == writes[0].result().signal.data == b"1"
    assert c.ready(name, b"2", WRITE).woken == 1
    assert writes[1].result().signal.data == b"2"
    assert c.close(name).woken == 1
    assert reads[1].result().outcome == CLOSED


def test_C57_one_deadline_times_out_the_whole_queue(c, name):
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=n) for n in range(1, 6)]
    assert c.deadline(name, 0).woken == 5
    assert all(timed_out(call.result(), BY_DEADLINE) for call in calls)


def test_C57_waits_timeouts_are_each_their_own(c, name):
    c.open(name, kind=FIFO)
    first = c.park(name)
    short = c.start_wait(name, 0.05)
    last = c.start_wait(name)
    assert timed_out(short.result(), BY_WAIT)
    c.await_parked(name, 2)
    for call, data in ((first, b"1"), (last, b"2")):
        c.ready(name, data)
        assert call.result().signal.data == data


def test_C58_one_ready_opens_a_latch(c, name):
    c.open(name, kind=LATCH)
    calls = [c.park(name, count=n) for n in range(1, 6)]
    answer = c.ready(name, b"open")
    assert (answer.effect, answer.woken) == (WOKE, 5)
    assert {(call.result().outcome, call.result().signal.data) for call in calls} == {
        (READY, b"open")}
    assert len({call.result().delivery for call in calls}) == 1
    for _ in range(3):
        assert c.wait(name).signal.data == b"open"
    assert c.side(name).state == HELD
    assert c.ready(name, b"newer").effect == COALESCED
    assert c.wait(name).signal.data == b"newer"


def test_C58_each_opening_of_a_latch_is_a_delivery(c, name):
    c.open(name, kind=LATCH)
    c.ready(name)
    first = c.wait(name).delivery
    assert c.wait(name).delivery == first > 0
    c.reset(name)
    c.ready(name)
    assert c.wait(name).delivery > first


def test_C59_a_latch_is_not_used_up(c, name):
    """The other statements are tested with each kind in their own places."""
    c.open(name, kind=LATCH)
    c.deadline(name, 0)
    c.ready(name)
    c.deadline(name, CLEAR)
    assert c.takes(name) and c.takes(name)
    c.deadline(name, 0.01)
    c.elapse(0.01)
    assert c.takes(name)
    assert timed_out(c.wait(name, mode=WRITE, timeout=0), BY_WAIT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timeout", [0, -1, -1e-9])
def test_C59a_a_try_takes_a_ready_or_times_out(c, name, kind, timeout):
    c.open(name, kind=kind)
    answer = c.wait(name, timeout)
    assert timed_out(answer, BY_WAIT) and nanos(answer.parked) == 0
    c.ready(name, b"x")
    answer = c.wait(name, timeout)
    assert (answer.outcome, answer.signal.data) == (READY, b"x")


def test_C59a_a_try_disturbs_no_parked_wait(c, name):
    """A try never parks, so on a queue it just goes; it takes nothing that another waits for."""
    c.open(name, kind=FIFO)
    call = c.park(name)
    assert timed_out(c.wait(name, 0), BY_WAIT)
    assert c.side(name).waiters == 1
    c.ready(name)
    assert call.result().outcome == READY


def test_C59a_a_try_on_an_expired_side_names_the_deadline(c, name):
    c.open(name)
    c.deadline(name, 0)
    assert timed_out(c.wait(name, 0), BY_DEADLINE)


@pytest.mark.parametrize("kind", KINDS)
def test_C60_the_earlier_limit_ends_the_wait(c, name, kind):
    c.open(name, kind=kind)
    c.deadline(name, 1000)
    answer = c.wait(name, 0.02)
    assert timed_out(answer, BY_WAIT)
    assert not c.side(name).deadline.expired
    c.deadline(name, 0.02)
    assert timed_out(c.wait(name, 1000), BY_DEADLINE)
    assert c.side(name).deadline.expired


def test_C60_a_deadline_set_while_parked_is_compared_too(c, name):
    c.open(name)
    call = c.park(name, timeout=1000)
    c.deadline(name, 0.02)
    assert timed_out(call.result(), BY_DEADLINE)
    c.deadline(name, CLEAR)
    call, _ = c.park_briefly(name, 0.1)
    c.deadline(name, 1000)
    assert timed_out(call.result(), BY_WAIT)


def test_C61_poll_any_uses_one_ready_and_leaves_the_others(c, abc):
    c.ready(abc[1], b"b")
    c.ready(abc[2], b"c")
    answer = c.poll(abc)
    assert (answer.outcome, targets_of(answer)) == (READY, [1])
    assert answer.results[0].response.signal.data == b"b"
    assert not c.takes(abc[0]) and not c.takes(abc[1])
    assert c.takes(abc[2])


@pytest.mark.parametrize("need", [0, 1])
def test_C61_a_parked_poll_any_is_woken_by_one_target(c, abc, need):
    call = c.park_poll(abc, need)
    answer = c.ready(abc[2], b"c")
    assert (answer.effect, answer.woken) == (WOKE, 1)
    result = call.result()
    assert (result.outcome, targets_of(result)) == (READY, [2])
    one = result.results[0].response
    assert (one.outcome, one.signal.data) == (READY, b"c")
    assert one.generation == c.get(abc[2]).generation and one.delivery > 0
    for other in abc[:2]:
        assert c.side(other).waiters == 0
        assert c.ready(other).effect == REMEMBERED


def test_C61_both_sides_of_one_name_are_two_targets(c, name):
    c.open(name)
    call = c.park_poll([(name, READ), (name, WRITE)])
    assert c.ready(name, b"w", WRITE).effect == WOKE
    assert targets_of(call.result()) == [1]
    call = c.park_poll([(name, READ), (name, WRITE)], need=2)
    answer = c.ready(name, b"rw", READ_WRITE)
    assert (answer.effect, answer.woken) == (WOKE, 1)
    assert targets_of(call.result()) == [0, 1]


def test_C61_poll_any_of_several_kinds(c, name):
    names = {kind: f"{name}/{kind}" for kind in KINDS}
    for kind, one in names.items():
        c.open(one, kind=kind)
    for index, one in enumerate(names.values()):
        call = c.park_poll(list(names.values()))
        assert c.ready(one).effect == WOKE
        assert targets_of(call.result()) == [index]
    assert c.poll(list(names.values())).results[0].target == 2, "a latch is not used up"


def test_C62_poll_all_takes_all_in_one_step(c, abc):
    call = c.park_poll(abc, need=3)
    for one in abc[:2]:
        assert c.ready(one, one.encode()).effect == REMEMBERED
        assert c.side(one).state == HELD
    answer = c.ready(abc[2], abc[2].encode())
    assert (answer.effect, answer.woken) == (WOKE, 1)
    result = call.result()
    assert (result.outcome, targets_of(result)) == (READY, [0, 1, 2])
    assert [one.response.signal.data.decode() for one in result.results] == abc
    assert not any(c.takes(one) for one in abc)


def test_C62_poll_of_k_takes_the_first_k_in_the_order_of_targets(c, abc):
    for one in abc:
        c.ready(one)
    assert targets_of(c.poll(abc, need=2)) == [0, 1]
    assert c.takes(abc[2])
    call = c.park_poll(abc, need=2)
    assert c.ready(abc[2]).effect == REMEMBERED
    assert c.ready(abc[1]).effect == WOKE
    assert targets_of(call.result()) == [1, 2]


def test_C62_too_few_for_a_try_takes_none(c, abc):
    c.ready(abc[0])
    c.ready(abc[1])
    answer = c.poll(abc, need=3, timeout=0)
    assert timed_out(answer, BY_WAIT) and not answer.results
    assert [c.side(one).state for one in abc] == [HELD, HELD, NIL]


@pytest.mark.parametrize("kind", [FIFO, LATCH])
def test_C62_while_it_waits_a_poll_holds_nothing(c, name, kind):
    names = [f"{name}/a", f"{name}/b"]
    for one in names:
        c.open(one, kind=kind)
    call = c.park_poll(names, need=2)
    c.ready(names[0])
    if kind == FIFO:
        assert c.takes(names[0]), "a single wait goes before it"
    else:
        assert c.reset(names[0]).forgot
    assert c.ready(names[1]).effect == REMEMBERED
    assert c.ready(names[0]).effect == WOKE
    assert targets_of(call.result()) == [0, 1]


def test_C62_reset_forgets_a_ready_that_a_poll_counted_on(c, abc):
    call = c.park_poll(abc, need=3)
    c.ready(abc[0])
    assert c.reset(abc[0]).forgot
    c.ready(abc[1])
    assert c.ready(abc[2]).effect == REMEMBERED
    assert c.ready(abc[0]).effect == WOKE
    assert call.result().outcome == READY


def test_C62_ready_under_waiting_is_refused_while_a_poll_lacks_others(c, abc):
    call = c.park_poll(abc[:2], need=2)
    assert c.ready(abc[0], condition=IF_WAITING).effect == REFUSED
    assert c.side(abc[0]).state != HELD
    assert c.ready(abc[0]).effect == REMEMBERED
    answer = c.ready(abc[1], condition=IF_WAITING)
    assert (answer.effect, answer.woken) == (WOKE, 1)
    assert targets_of(call.result()) == [0, 1]


def test_C62_two_polls_over_the_same_targets_do_not_block_each_other(c, name):
    names = [f"{name}/a", f"{name}/b"]
    for one in names:
        c.open(one, kind=FIFO)
    polls = [c.start_poll(names, need=2), c.start_poll(list(reversed(names)), need=2)]
    for one in names:
        c.await_parked(one, 2)
    for _ in range(2):
        assert c.ready(names[0]).effect == REMEMBERED
        assert c.ready(names[1]).effect == WOKE
    assert [call.result().outcome for call in polls] == [READY] * 2
    assert not any(c.takes(one) for one in names)


def test_C62_readys_racing_over_a_polls_targets_complete_it_once(c, abc):
    for _ in range(RACES):
        call = c.start_poll(abc, need=3)
        readys = [c.start_ready(one) for one in abc]
        effects = sorted(one.result().effect for one in readys)
        answer = call.result()
        assert (answer.outcome, targets_of(answer)) == (READY, [0, 1, 2])
        assert effects in ([WOKE, REMEMBERED, REMEMBERED], [REMEMBERED] * 3)
        assert not any(c.takes(one) for one in abc)


def test_C63_a_poll_without_targets_is_refused(c):
    with refused("INVALID_ARGUMENT", "BAD_POLL", "targets"):
        c.poll([])


@pytest.mark.parametrize("need", [4, 1000, 2**32 - 1])
def test_C63_a_poll_that_needs_more_than_its_targets_is_refused(c, abc, need):
    with refused("INVALID_ARGUMENT", "BAD_POLL", "need"):
        c.poll(abc, need=need)
    assert [c.side(one).waiters for one in abc] == [0, 0, 0]


@pytest.mark.parametrize("second", [READ, pb.MODE_UNSPECIFIED])
def test_C63_a_poll_with_a_target_twice_is_refused(c, abc, second):
    with refused("INVALID_ARGUMENT", "BAD_POLL") as said:
        c.poll([abc[0], abc[1], (abc[0], second)])
    assert said[0].fields and said[0].fields[0].startswith("targets")
    assert c.side(abc[0]).waiters == 0


def test_C63_a_poll_on_a_side_with_a_waiter_is_a_double_wait(c, abc):
    first = c.park(abc[1])
    refusal_of(c.start_poll(abc), "FAILED_PRECONDITION", "DOUBLE_WAIT")
    assert [c.side(one).waiters for one in abc] == [0, 1, 0]
    assert c.ready(abc[0]).effect == REMEMBERED
    assert c.ready(abc[1]).effect == WOKE
    assert first.result().outcome == READY


def test_C63_a_wait_on_a_side_with_a_poll_is_a_double_wait(c, abc):
    call = c.park_poll(abc)
    refusal_of(c.start_wait(abc[1]), "FAILED_PRECONDITION", "DOUBLE_WAIT")
    assert c.ready(abc[1]).effect == WOKE
    assert targets_of(call.result()) == [1]


def test_C63_of_two_polls_publishing_at_once_one_waits(c, abc):
    for _ in range(RACES):
        polls = [c.start_poll(abc), c.start_poll(list(reversed(abc)))]
        # A refused one comes back by itself; the other is released by Close.
        both_done = [call for call in polls if _await_one_done(c, abc, polls, call)]
        assert len(both_done) == 1
        refusal_of(both_done[0], "FAILED_PRECONDITION", "DOUBLE_WAIT")
        parked = next(call for call in polls if call is not both_done[0])
        assert [c.side(one).waiters for one in abc] == [1, 1, 1]
        assert c.ready(abc[0]).effect == WOKE
        assert parked.result().outcome == READY


def _await_one_done(c, names, polls, call):
    """Whether this one ended, once one of the polls has ended and the other stands everywhere."""
    eventually(lambda: any(one.done() for one in polls)
               and all(c.side(one).waiters == 1 for one in names), "one parked, one refused")
    return call.done()


def test_C63_a_missing_target_refuses_the_whole_poll(c, abc):
    with refused("NOT_FOUND", "NO_DESCRIPTOR"):
        c.poll([*abc, f"{abc[0]}/missing"], need=1)
    assert [c.side(one).waiters for one in abc] == [0, 0, 0]
    c.ready(abc[0])
    with refused("NOT_FOUND", "NO_DESCRIPTOR"):
        c.poll([abc[0], f"{abc[0]}/missing"], timeout=0)
    assert c.takes(abc[0]), "the refused poll took it"


def test_C64_each_result_names_its_target_and_outcome(c, abc):
    call = c.park_poll(abc, need=2)
    assert c.deadline(abc[1], 0).woken == 0
    assert c.side(abc[0]).waiters == 1, "two are enough for it"
    assert c.close(abc[2]).woken == 1
    answer = call.result()
    assert answer.outcome == CLOSED
    results = {result.target: result.response for result in answer.results}
    assert set(results) == {1, 2}
    assert timed_out(results[1], BY_DEADLINE)
    assert results[2].outcome == CLOSED


def test_C64_a_deadline_that_leaves_too_few_ends_the_poll(c, abc):
    call = c.park_poll(abc, need=3)
    assert c.deadline(abc[1], 0).woken == 1
    answer = call.result()
    assert timed_out(answer, BY_DEADLINE)
    assert targets_of(answer) == [1]
    assert timed_out(answer.results[0].response, BY_DEADLINE)
    assert [c.side(one).waiters for one in abc] == [0, 0, 0]
    assert not c.side(abc[0]).deadline.expired


def test_C64_any_ends_with_what_ended_the_last_target(c, abc):
    call = c.park_poll(abc)
    c.close(abc[0])
    c.close(abc[1])
    c.deadline(abc[2], 0.02)
    answer = call.result()
    assert timed_out(answer, BY_DEADLINE)
    results = {result.target: result.response.outcome for result in answer.results}
    assert results[0] == results[1] == CLOSED
    assert set(results) == {0, 1, 2}


def test_C64_expired_targets_count_when_the_poll_begins(c, abc):
    c.deadline(abc[0], 0)
    answer = c.poll(abc, need=3)
    assert timed_out(answer, BY_DEADLINE) and targets_of(answer) == [0]
    c.ready(abc[1])
    answer = c.poll(abc, need=1)
    assert (answer.outcome, targets_of(answer)) == (READY, [1])


def test_C64_a_lost_target_stays_lost_when_it_is_revived(c, abc):
    call = c.park_poll(abc[:2])
    c.deadline(abc[0], 0)
    c.deadline(abc[0], CLEAR)
    assert c.ready(abc[0]).effect == REMEMBERED
    assert c.side(abc[1]).waiters == 1
    assert c.ready(abc[1]).effect == WOKE
    assert targets_of(call.result()) == [1]
    assert c.takes(abc[0])


def test_C64_the_polls_own_timeout(c, abc):
    c.ready(abc[0])
    answer = c.poll(abc, need=2, timeout=0.03)
    assert timed_out(answer, BY_WAIT) and seconds(answer.parked) >= 0.03
    assert c.side(abc[0]).state == HELD
    assert not any(c.side(one).deadline.expired for one in abc)


def test_C64_a_cancelled_poll_leaves_every_target(c, abc):
    call = c.park_poll(abc, need=2)
    c.ready(abc[0], b"kept")
    call.cancel()
    for one in abc:
        c.await_parked(one, 0)
    assert c.ready(abc[1]).effect == REMEMBERED
    assert c.wait(abc[0]).signal.data == b"kept"


@pytest.fixture
def bounded(start):
    """A client of a server with a --max-wait of 100 ms."""
    server = start("--max-wait=100ms")
    with server.client() as client:
        yield client


def test_C65_max_wait_bounds_a_wait_that_nothing_else_bounds(bounded, name):
    c = bounded
    c.open(name, kind=FIFO)
    answer = c.wait(name)
    assert timed_out(answer, BY_MAX_WAIT) and seconds(answer.parked) >= 0.1
    assert not c.side(name).deadline.expired
    c.ready(name)
    assert c.wait(name).outcome == READY
    c.deadline(name, 1000)
    assert timed_out(c.wait(name, ignore_deadline=True), BY_MAX_WAIT)


def test_C65_max_wait_is_no_outcome(bounded, name):
    """The same id waits anew, a poll's as well."""
    c = bounded
    c.open(name)
    for start in (lambda: c.wait(name, wait_id="w"), lambda: c.poll([name], wait_id="p")):
        for _ in range(2):
            answer = start()
            assert timed_out(answer, BY_MAX_WAIT) and seconds(answer.parked) >= 0.1
        c.ready(name)
        assert start().outcome == READY
        assert start().outcome == READY, "which is one"


def test_C65_max_wait_shortens_no_timeout_and_no_deadline(bounded, name):
    c = bounded
    c.open(name, kind=FIFO)
    answer = c.wait(name, 0.25)
    assert timed_out(answer, BY_WAIT) and seconds(answer.parked) >= 0.25
    assert timed_out(c.wait(name, 0.02), BY_WAIT)
    assert timed_out(c.wait(name, 0.25, ignore_deadline=True), BY_WAIT)
    c.deadline(name, 0.25)
    answer = c.wait(name)
    assert timed_out(answer, BY_DEADLINE) and seconds(answer.parked) >= 0.2


def test_C65_max_wait_counts_from_the_waits_begin_when_the_deadline_goes(bounded, name):
    c = bounded
    c.open(name)
    c.deadline(name, 1000)
    call = c.start_wait(name)
    c.await_parked(name)
    c.elapse(0.2)
    assert c.side(name).waiters == 1
    c.deadline(name, CLEAR)
    answer = call.result()
    assert timed_out(answer, BY_MAX_WAIT)
    assert seconds(answer.parked) >= 0.2


def test_C65_max_wait_bounds_a_poll_without_a_timeout(bounded, name):
    c = bounded
    names = [f"{name}/a", f"{name}/b"]
    for one in names:
        c.open(one)
    c.deadline(names[0], 1000, READ_WRITE)
    answer = c.poll(names)
    assert timed_out(answer, BY_MAX_WAIT) and seconds(answer.parked) >= 0.1
    assert not answer.results
    answer = c.poll(names, timeout=0.25)
    assert timed_out(answer, BY_WAIT) and seconds(answer.parked) >= 0.25


def test_C76_an_idle_descriptor_is_closed(c, name):
    c.open(name, idle_ttl=0.05)
    c.elapse(0.2)
    assert not c.is_open(name)


def test_C76_a_call_on_it_begins_its_idleness_anew(c, name):
    ttl_s = 0.4
    kept_since = None
    while not kept_since or time.monotonic() < kept_since + 1.5 * ttl_s:
        if not kept_since:
            kept_since = called = time.monotonic()
            c.open(name, idle_ttl=ttl_s)
        c.elapse(ttl_s / 4)
        before, called = called, time.monotonic()
        if not c.is_open(name):
            assert time.monotonic() - before >= ttl_s, "it was not idle for so long"
            kept_since = None  # a machine that stood still for that time: once more


def open_briefly(c, name, and_then):
    """Opens it with a short idle_ttl, and again if it was over before something stood there."""
    while True:
        c.open(name, idle_ttl=0.05)
        try:
            return and_then()
        except grpc.RpcError as error:
            check_refusal(error, grpc.StatusCode.NOT_FOUND, "NO_DESCRIPTOR")


@pytest.mark.parametrize("standing", ["wait", "poll", "armed", "expired", "ready", "write side"])
def test_C76_idleness_does_not_run_while_something_stands(c, name, standing):
    begin = {
        "wait": lambda: c.park(name),
        "poll": lambda: c.park_poll([name]),
        "armed": lambda: c.deadline(name, 1000),
        "expired": lambda: c.deadline(name, 0),
        "ready": lambda: c.ready(name),
        "write side": lambda: c.ready(name, mode=WRITE),
    }
    call = open_briefly(c, name, begin[standing])
    c.elapse(0.2)
    assert c.is_open(name)
    # It ends without a READY being handed out, after which idleness begins much later.
    if standing in ("wait", "poll"):
        call.cancel()
    elif standing in ("ready", "write side"):
        c.reset(name, READ_WRITE)
    c.deadline(name, CLEAR, open_if_missing=options(idle_ttl=0.05))
    c.elapse(0.3)
    assert not c.is_open(name), "nothing stands any more"


def test_C76_nor_while_an_answer_may_be_found_unwritten(c, name):
    """Which is for the linger and a minute: that it ends is tested through the core."""
    c.open(name, idle_ttl=0.4)
    c.ready(name)
    c.wait(name)
    c.elapse(1)
    assert c.is_open(name)


def test_C76_idleness_begins_when_a_wait_leaves(c, name):
    call = open_briefly(c, name, lambda: c.park(name))
    call.cancel()
    c.elapse(0.3)
    assert not c.is_open(name)


@pytest.fixture
def short_lived(start):
    """A client of a server with a --default-idle-ttl of 50 ms, and the server."""
    server = start("--default-idle-ttl=50ms")
    with server.client() as client:
        yield client, server


def test_C76_the_default_is_for_open_if_missing_alone(short_lived, name):
    c, server = short_lived
    c.open(f"{name}/opened")
    c.wait(f"{name}/missing", 0, open_if_missing=options())
    c.wait(f"{name}/own", 0, open_if_missing=options(idle_ttl=1000))
    c.elapse(0.3)
    assert c.is_open(f"{name}/opened") and c.is_open(f"{name}/own")
    assert not c.is_open(f"{name}/missing")
    assert server.metrics()("waitd_idle_closed_total") >= 1


def test_list_is_by_name_and_by_prefix(c, name):
    names = [f"{name}/{one}" for one in ("b", "a", "c/1", "c/2", "é", "A")]
    for one in names:
        c.open(one)
    c.open(f"{name}x")
    answer = c.list(prefix=f"{name}/")
    listed = [descriptor.name for descriptor in answer.poll_descriptors]
    assert listed == sorted(names, key=str.encode)
    assert not answer.next_page_token
    listed = [one.name for one in c.list(prefix=f"{name}/c/").poll_descriptors]
    assert listed == [f"{name}/c/1", f"{name}/c/2"]
    assert not c.list(prefix=f"{name}/none").poll_descriptors


@pytest.mark.parametrize("page_size", [1, 3, 7, 8])
def test_list_pages_show_each_descriptor_once(c, name, page_size):
    names = [f"{name}/{i}" for i in range(7)]
    for one in names:
        c.open(one)
    listed, token = [], ""
    while True:
        answer = c.list(prefix=f"{name}/", page_size=page_size, page_token=token)
        assert len(answer.poll_descriptors) <= page_size
        listed += [descriptor.name for descriptor in answer.poll_descriptors]
        token = answer.next_page_token
        if not token:
            break
    assert listed == names


def test_list_goes_on_after_the_last_page_although_it_was_closed(c, name):
    names = [f"{name}/{i}" for i in range(6)]
    for one in names:
        c.open(one)
    first = c.list(prefix=f"{name}/", page_size=3)
    c.close(names[2])
    c.close(names[3])
    second = c.list(prefix=f"{name}/", page_size=3, page_token=first.next_page_token)
    assert [one.name for one in second.poll_descriptors] == names[4:]


def test_list_page_sizes_default_to_100_and_end_at_1000(c, name):
    calls = [c.start_open(f"{name}/{i:04}") for i in range(1003)]
    for call in calls:
        call.result()
    for asked, given in ((0, 100), (999, 999), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)):
        answer = c.list(prefix=f"{name}/", page_size=asked)
        assert len(answer.poll_descriptors) == given
        assert answer.next_page_token
    closes = [c.start_close(f"{name}/{i:04}") for i in range(1003)]
    for call in closes:
        call.result()


def test_list_by_labels(c, name):
    c.open(f"{name}/1", labels={"team": "a", "env": "test"})
    c.open(f"{name}/2", labels={"team": "a"})
    c.open(f"{name}/3", labels={"team": "b", "env": "test"})

    def listed(**labels):
        return [one.name[-1] for one in c.list(prefix=name, labels=labels).poll_descriptors]
    assert listed(team="a") == ["1", "2"]
    assert listed(team="a", env="test") == ["1"]
    assert listed(env="test") == ["1", "3"]
    assert listed(team="c") == []
    assert listed() == ["1", "2", "3"]


def test_list_waiting_only(c, name):
    for i in range(4):
        c.open(f"{name}/{i}")
    calls = [c.park(f"{name}/1"), c.park(f"{name}/2", mode=WRITE)]
    c.ready(f"{name}/3")
    listed = [one.name[-1] for one in c.list(prefix=name, waiting_only=True).poll_descriptors]
    assert listed == ["1", "2"]
    for i, mode in ((1, READ), (2, WRITE)):
        c.ready(f"{name}/{i}", mode=mode)
    assert [call.result().outcome for call in calls] == [READY] * 2
    assert not c.list(prefix=name, waiting_only=True).poll_descriptors


def test_C63_an_interrupted_poll_is_no_double_wait_for_the_next(c, abc):
    for _ in range(20):
        call = c.park_poll(abc)
        assert c.ready(abc[1]).effect == WOKE
        call.result()
        try:
            assert timed_out(c.poll(abc, timeout=0.001), BY_WAIT)
        except grpc.RpcError as error:
            raise AssertionError(check_refusal(error, error.code(), None)) from error
