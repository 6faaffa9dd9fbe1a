"""The checker finds what is wrong, and nothing else.

Goal: a checker that passes everything proves nothing, and one that cries wolf will be switched off.
Method: histories made by hand, in milliseconds, each right or wrong in one way. Of a wrong one
stands who must find it: the search for an order, the checks that need none, or both.
"""

import random
import time

import checker
import global_checks
import pytest
from history import EXCLUSIVE, FIFO, LATCH, MS, READ, READ_WRITE, S, WRITE, History, Op

GOOD, BAD = {}, {}
NAME = "a"


def good(make):
    assert make.__name__ not in GOOD
    GOOD[make.__name__] = make
    return make


def bad(*finders):
    """finders: "search", "checks"."""
    def add(make):
        assert make.__name__ not in BAD and finders
        BAD[make.__name__] = (make, finders)
        return make
    return add


class Maker:
    """Makes a history. Each call's first two arguments are its instants; ret None: no answer."""

    def __init__(self, kind=FIFO, generation=7):
        self.history, self.generation = History(), generation
        self.open(0, 1, kind)

    def add(self, kind, call, ret, /, name=NAME, names=None, mode=READ, ans=None, err=None,
            again=None, attempts=None, hung=False, **req):
        times = [[one and one * MS for one in each] for each in attempts or [(call, None)]]
        answered = ans is not None or err is not None or kind in ("crash", "quiesce")
        return self.history.add(Op(
            kind=kind, names=[name] if names is None else names, call=int(call * MS),
            ret=int(ret * MS) if ret is not None else None, mode=mode,
            req={key: value for key, value in req.items() if value is not None},
            ans=ans if answered else None, err=err, again=again, hung=hung,
            attempts=times if kind in ("wait", "poll") or attempts else []))

    def open(self, call, ret, kind=FIFO, gen=None, created=True, **more):
        self.generation = gen or self.generation
        return self.add("open", call, ret, kind=kind, ans={
            "gen": self.generation, "kind": kind, "created": created}, **more)

    def close(self, call, ret, woken=0, **more):
        return self.add("close", call, ret, ans={"woken": woken}, **more)

    def reset(self, call, ret, forgot, reset=True, **more):
        return self.add("reset", call, ret, ans={"reset": reset, "forgot": forgot}, **more)

    def ready(self, call, ret, data, effect="REMEMBERED", woken=None, expired=False, gen=None,
              **more):
        woken = (1 if effect == "WOKE" else 0) if woken is None else woken
        more.setdefault("ans", {"effect": effect, "woken": woken, "expired": expired,
                                "gen": gen or self.generation})
        return self.add("ready", call, ret, data=data, **more)

    def got(self, data, delivery=1, attempt=1, coalesced=0, parked=0, gen=None):
        """The answer of a wait that got READY."""
        return {"outcome": "READY", "cause": None, "data": data, "delivery": delivery,
                "attempt": attempt, "coalesced": coalesced, "parked": int(parked * MS), "late": 0,
                "gen": gen or self.generation}

    def wait(self, call, ret, data=None, timeout=None, ack_timeout=None, **more):
        fields = {key: more.pop(key) for key in
                  ("delivery", "attempt", "coalesced", "parked", "gen") if key in more}
        more.setdefault("ans", self.got(data, **fields) if data is not None else None)
        return self.add("wait", call, ret, timeout=None if timeout is None else timeout * MS,
                        ack_timeout=ack_timeout and ack_timeout * MS, **more)

    def timed_out(self, call, ret, cause="WAIT", timeout=0, parked=0, **more):
        return self.wait(call, ret, timeout=timeout, ans={
            "outcome": "TIMED_OUT", "cause": cause, "gen": self.generation, "late": 0,
            "parked": int(parked * MS)}, **more)

    def closed(self, call, ret, **more):
        return self.wait(call, ret, ans={"outcome": "CLOSED", "cause": None,
                                         "gen": self.generation, "parked": 1}, **more)

    def lost(self, call, failed, **more):
        """A wait without an id whose call broke."""
        return self.wait(call, None, attempts=[(call, failed)], **more)

    def deadline(self, call, ret, effect, at=None, timeout=None, mode=READ, woken=0, expired=None,
                 **more):
        """timeout None: clear."""
        sides = [side for side in (0, 1) if mode & (1 << side)]
        expired = effect == "EXPIRED" if expired is None else expired

        def of_sides(value, other):
            return [value if side in sides else other for side in (0, 1)]
        more.setdefault("ans", {
            "applied": effect != "REFUSED", "effects": of_sides(effect, None),
            "at": of_sides(at and at * MS, None), "expired": of_sides(expired, False),
            "woken": woken, "gen": self.generation})
        return self.add("deadline", call, ret, mode=mode,
                        timeout=None if timeout is None else timeout * MS, **more)

    def ack(self, call, ret, of, delivery=1, err=None, **more):
        more.setdefault("generation", of.ans.get("gen"))
        return self.add("ack", call, ret, of=of.index, delivery=delivery, err=err,
                        ans=None if err else {}, **more)

    def get(self, call, ret, kind=FIFO, state="NIL", at=None, expired=False, unacked=0, returned=0):
        nothing = {"state": "NIL", "unacked": 0, "returned": 0, "at": None, "expired": False}
        side = {"state": state, "unacked": unacked, "returned": returned,
                "at": at and at * MS, "expired": expired}
        return self.add("get", call, ret, ans={"gen": self.generation, "kind": kind,
                                               "sides": [side, nothing]})

    def poll(self, call, ret, names, results=None, need=1, timeout=None, ans=None, **more):
        """results: {index: answer}."""
        if results is not None:
            ans = {"outcome": "READY", "cause": None, "parked": 0,
                   "results": [[target, answer] for target, answer in results.items()]}
        return self.add("poll", call, ret, names=names, need=need, ans=ans,
                        timeout=None if timeout is None else timeout * MS, **more)

    def crash(self, call, ret):
        return self.add("crash", call, ret, names=[])

    def quiesce(self, at):
        return self.add("quiesce", at, at, names=[])


# READY


@good
def ready_then_wait(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x")
    m.timed_out(30, 31)


@good
def park_then_ready(m):
    m.wait(10, 31, "x", parked=15)
    m.ready(30, 32, "x", "WOKE")


@bad("search", "checks")
def lost_ready(m):
    m.ready(10, 11, "x")
    m.timed_out(20, 21)
    m.quiesce(5000)


@bad("search")
def lost_wake(m):
    """It is accepted while somebody is parked, and wakes nobody."""
    m.wait(10, None, hung=True)
    m.ready(30, 31, "x")
    m.quiesce(5000)


@bad("search")
def woken_and_never_told(m):
    m.wait(10, None, hung=True)
    m.ready(30, 31, "x", "WOKE")
    m.quiesce(5000)


@good
def who_hangs_with_reason(m):
    m.wait(10, None, hung=True)
    m.quiesce(5000)


@bad("search")
def hangs_past_its_limit(m):
    m.wait(10, None, timeout=1000, hung=True)
    m.quiesce(9000)


@bad("search")
def hangs_past_the_deadline(m):
    m.deadline(5, 6, "ARMED", at=1005, timeout=1000)
    m.wait(10, None, hung=True)
    m.quiesce(9000)


@bad("search", "checks")
def ready_twice(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x")
    m.wait(30, 31, "x", delivery=2)


@bad("search", "checks")
def ready_invented(m):
    m.wait(10, 31, "y", parked=15)


@bad("search", "checks")
def ready_before_it_was_sent(m):
    m.wait(10, 21, "x")
    m.ready(30, 31, "x")


@bad("search", "checks")
def ready_of_the_other_side(m):
    m.ready(10, 11, "x")
    m.timed_out(20, 21)
    m.wait(20, 21, "x", mode=WRITE)


@good
def ready_on_both_sides(m):
    m.ready(10, 11, "x", mode=READ_WRITE)
    m.wait(20, 21, "x", mode=WRITE)
    m.wait(20, 21, "x")


@good
def either_order_of_two_at_once(m):
    m.wait(10, 20, "x")
    m.ready(10, 20, "x")
    m.timed_out(10, 20)


@bad("search", "checks")
def two_waits_at_once_get_one_ready(m):
    m.ready(10, 11, "x")
    m.wait(20, 25, "x")
    m.wait(20, 25, "x", delivery=2)


@good
def coalesced(m):
    m.ready(10, 11, "x")
    m.ready(12, 13, "y", "COALESCED")
    m.ready(14, 15, "z", "COALESCED")
    m.wait(20, 21, "z", coalesced=2)
    m.timed_out(30, 31)
    m.quiesce(5000)


@bad("search")
def coalesced_count(m):
    m.ready(10, 11, "x")
    m.ready(12, 13, "y", "COALESCED")
    m.wait(20, 21, "y", coalesced=2)


@bad("search")
def coalesced_keeps_the_older(m):
    m.ready(10, 11, "x")
    m.ready(12, 13, "y", "COALESCED")
    m.wait(20, 21, "x", coalesced=1)


@bad("search")
def remembered_though_one_was(m):
    m.ready(10, 11, "x")
    m.ready(12, 13, "y", "REMEMBERED")
    m.wait(20, 21, "y")


@good
def conditions(m):
    m.ready(10, 11, "x", "REFUSED", condition="WAITING")
    m.wait(20, 41, "y", parked=15)
    m.ready(40, 42, "y", "WOKE", condition="WAITING")
    m.timed_out(50, 51)
    m.deadline(60, 61, "EXPIRED", timeout=0)
    m.ready(62, 63, "z", "REFUSED", condition="NOT_EXPIRED")


@bad("search")
def refused_and_remembered(m):
    m.ready(10, 11, "x", "REFUSED", condition="WAITING")
    m.wait(20, 21, "x")
    m.ready(30, 31, "x2")
    m.quiesce(5000)


@bad("search")
def reset_forgets_nothing(m):
    m.ready(10, 11, "x")
    m.reset(20, 21, forgot=True)
    m.wait(30, 31, "x")


@good
def reset_and_not(m):
    m.reset(10, 11, forgot=False)
    m.ready(20, 21, "x")
    m.reset(30, 31, forgot=True)
    m.timed_out(40, 41)


# Kinds


@good
def fifo(m):
    m.wait(100, 510, "1", parked=400)
    m.wait(200, 610, "2", delivery=2, parked=400)
    m.ready(500, 520, "1", "WOKE")
    m.ready(600, 620, "2", "WOKE")


@bad("search")
def fifo_order(m):
    m.wait(100, 610, "2", delivery=2, parked=500)
    m.wait(200, 510, "1", parked=300)
    m.ready(500, 520, "1", "WOKE")
    m.ready(600, 620, "2", "WOKE")


@good
def double_wait(m):
    m.open(2, 3, EXCLUSIVE, name="e", gen=9)
    m.wait(10, 31, "x", parked=15, name="e")
    m.wait(20, 21, err="DOUBLE_WAIT", name="e")
    m.ready(30, 32, "x", "WOKE", name="e")


@bad("search")
def double_wait_of_nobody(m):
    m.open(2, 3, EXCLUSIVE, name="e", gen=9)
    m.wait(20, 21, err="DOUBLE_WAIT", name="e")


@bad("search")
def two_on_an_exclusive_side(m):
    m.open(2, 3, EXCLUSIVE, name="e", gen=9)
    m.wait(100, 310, "x", parked=200, name="e")
    m.wait(150, 410, "y", parked=250, delivery=2, name="e")
    m.ready(300, 320, "x", "WOKE", name="e")
    m.ready(400, 420, "y", "WOKE", name="e")


def latch(m):
    m.open(2, 3, LATCH, name="l", gen=9)
    m.wait(10, 31, "x", parked=15, name="l")
    m.wait(10, 31, "x", parked=15, name="l")
    m.ready(30, 32, "x", "WOKE", woken=2, name="l")


@good
def latch_stays_open(m):
    latch(m)
    m.wait(40, 41, "x", name="l")
    m.deadline(45, 46, "EXPIRED", timeout=0, name="l")
    m.wait(50, 51, "x", name="l")
    m.crash(60, 61)
    m.wait(70, 71, "x", name="l")


@bad("search")
def latch_forgets(m):
    latch(m)
    m.timed_out(40, 41, name="l")


@bad("search")
def latch_wakes_one_only(m):
    m.open(2, 3, LATCH, name="l", gen=9)
    m.wait(10, 31, "x", parked=20, name="l")
    m.wait(10, None, hung=True, name="l")
    m.ready(30, 32, "x", "WOKE", woken=1, name="l")
    m.quiesce(5000)


@bad("search")
def latch_numbers_one_opening_twice(m):
    latch(m)
    m.wait(40, 41, "x", delivery=2, name="l")


# Deadlines


@good
def deadline_wakes(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.timed_out(20, 112, "DEADLINE", timeout=None, parked=90)
    m.timed_out(120, 121, "DEADLINE", timeout=None)
    m.ready(130, 131, "x", expired=True)
    m.timed_out(140, 141, "DEADLINE")
    m.deadline(150, 151, "CLEARED")
    m.wait(160, 161, "x")


@bad("search")
def early_by_the_deadline(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.timed_out(20, 60, "DEADLINE", timeout=None, parked=30)


@bad("search", "checks")
def early_by_its_own_limit(m):
    m.timed_out(20, 60, timeout=100, parked=30)


@bad("search")
def timed_out_after_it_was_extended(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.deadline(20, 21, "EXTENDED", at=1020, timeout=1000)
    m.timed_out(30, 130, "DEADLINE", timeout=None, parked=90)


@bad("search")
def timed_out_after_it_was_cleared(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.deadline(20, 21, "CLEARED")
    m.timed_out(200, 201, "DEADLINE", timeout=None)


@good
def timed_out_while_it_is_extended(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.timed_out(30, 130, "DEADLINE", timeout=None, parked=80)
    m.deadline(100, 130, "ARMED", at=1110, timeout=1000)


@bad("search")
def not_expired_in_time(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.ready(200, 201, "x", expired=False)


@bad("search")
def revived_by_a_heartbeat(m):
    m.deadline(10, 11, "ARMED", at=110, timeout=100)
    m.deadline(200, 201, "ARMED", at=1200, timeout=1000, condition="ARM_OR_EXTEND")


@bad("search")
def shortened_by_only_later(m):
    m.deadline(10, 11, "ARMED", at=1010, timeout=1000)
    m.deadline(20, 21, "SHORTENED", at=120, timeout=100, condition="ONLY_LATER")


@good
def refused_by_only_later(m):
    m.deadline(10, 11, "ARMED", at=1010, timeout=1000)
    m.deadline(20, 21, "REFUSED", at=1010, timeout=100, condition="ONLY_LATER")


@bad("checks")
def another_deadline_than_asked_for(m):
    m.deadline(10, 11, "ARMED", at=510, timeout=100)


@good
def deadline_stays_over_a_restart(m):
    m.deadline(10, 11, "ARMED", at=2010, timeout=2000)
    m.get(20, 21, at=2010)
    m.crash(30, 31)
    m.get(1000, 1001, at=2010)
    m.timed_out(1100, 2012, "DEADLINE", timeout=None, parked=910)


@bad("search", "checks")
def deadline_moves_over_a_restart(m):
    m.deadline(10, 11, "ARMED", at=2010, timeout=2000)
    m.crash(30, 31)
    m.get(1000, 1001, at=2980)


@bad("search")
def deadline_lost_over_a_restart(m):
    m.deadline(10, 11, "ARMED", at=2010, timeout=2000)
    m.crash(30, 31)
    m.get(1000, 1001)


@bad("search")
def expired_forgotten_over_a_restart(m):
    m.deadline(10, 11, "EXPIRED", timeout=0)
    m.crash(30, 31)
    m.timed_out(100, 101, "WAIT")


# Close and generations


@good
def close_wakes(m):
    m.closed(10, 31)
    m.closed(10, 31, mode=WRITE)
    m.close(30, 31, woken=2)
    m.wait(40, 41, err="NO_DESCRIPTOR")
    m.open(50, 51, gen=8)
    m.timed_out(60, 61)


@bad("search")
def close_wakes_not(m):
    m.wait(10, None, hung=True)
    m.close(30, 31)
    m.quiesce(5000)


@bad("search")
def close_counts_wrong(m):
    m.closed(10, 31)
    m.close(30, 31, woken=2)


@bad("search")
def ready_outlives_close(m):
    m.ready(10, 11, "x")
    m.close(30, 31)
    m.open(50, 51, gen=8)
    m.wait(60, 61, "x")


@bad("checks")
def generation_used_again(m):
    m.closed(10, 31)
    m.close(30, 31, woken=1)
    m.open(50, 51, gen=7)


@bad("checks")
def generation_of_two_names(m):
    m.open(50, 51, gen=7, name="b")


@bad("search")
def another_generation_without_close(m):
    m.ready(10, 11, "x", gen=8)


# Polls


def two_names(m):
    m.open(2, 3, name="b", gen=9)


@good
def poll_takes_both(m):
    two_names(m)
    m.poll(10, 41, ["a", "b"], {0: m.got("x", gen=7), 1: m.got("y", gen=9)}, need=2)
    m.generation = 7
    m.ready(20, 21, "x")
    m.generation = 9
    m.ready(40, 42, "y", "WOKE", name="b")
    m.timed_out(50, 51, name="b")


@bad("search", "checks")
def poll_takes_one_without_the_other(m):
    """It has both, and one of them stays."""
    two_names(m)
    m.ready(20, 21, "x", gen=7)
    m.ready(20, 21, "y", name="b")
    m.poll(30, 41, ["a", "b"], {0: m.got("x", gen=7), 1: m.got("y", gen=9)}, need=2)
    m.wait(50, 51, "y", delivery=2, name="b")


@bad("search")
def poll_takes_less_than_it_needs(m):
    two_names(m)
    m.ready(20, 21, "x", gen=7)
    m.poll(30, 41, ["a", "b"], {0: m.got("x", gen=7)}, need=2)


@bad("search")
def poll_takes_the_second_first(m):
    two_names(m)
    m.ready(20, 21, "x", gen=7)
    m.ready(20, 21, "y", name="b")
    m.poll(30, 41, ["a", "b"], {1: m.got("y", gen=9)})


@bad("search")
def poll_holds_one_while_it_waits(m):
    two_names(m)
    m.poll(10, None, ["a", "b"], need=2, hung=True)
    m.ready(20, 21, "x", gen=7)
    m.generation = 7
    m.timed_out(30, 31)
    m.quiesce(5000)


@good
def a_wait_takes_one_before_the_poll(m):
    two_names(m)
    m.poll(10, None, ["a", "b"], need=2, hung=True)
    m.ready(20, 21, "x", gen=7)
    m.wait(30, 31, "x", gen=7)
    m.ready(40, 41, "y", name="b")
    m.quiesce(5000)


@good
def poll_ends_with_its_targets(m):
    two_names(m)
    m.generation = 7
    m.poll(10, 41, ["a", "b"], need=2,
           ans={"outcome": "TIMED_OUT", "cause": "DEADLINE", "results": [], "parked": 0})
    m.deadline(40, 42, "EXPIRED", timeout=0, woken=1)


# Hand-offs


@good
def acknowledged(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.get(22, 23, unacked=1)
    m.ack(30, 31, of)
    m.ack(32, 33, of)
    m.timed_out(500, 501)
    m.quiesce(5000)


@good
def taken_back(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ready(30, 31, "y")
    m.wait(200, 201, "x", attempt=2, delivery=2)
    m.wait(210, 211, "y", delivery=3)
    m.ack(220, 221, of, err="STALE_DELIVERY")
    m.quiesce(5000)


@bad("search", "checks")
def acknowledged_and_back(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ack(30, 31, of)
    m.wait(200, 201, "x", attempt=2, delivery=2)


@bad("search", "checks")
def never_taken_back(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.timed_out(8000, 8001)
    m.quiesce(9000)


@bad("search", "checks")
def taken_back_early(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=1000)
    m.wait(200, 201, "x", attempt=2, delivery=2)


@bad("search")
def comes_back_behind(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.ready(30, 31, "y")
    m.get(180, 181, returned=1, state="READY")
    m.wait(200, 201, "y", delivery=2)
    m.wait(210, 211, "x", attempt=2, delivery=3)


@bad("search", "checks")
def comes_back_as_the_first_attempt(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.wait(200, 201, "x", attempt=1, delivery=2)


@bad("search")
def acknowledged_after_its_time(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ack(400, 401, of)


@bad("search", "checks")
def delivery_goes_back(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", delivery=5)
    m.ready(30, 31, "y")
    m.wait(40, 41, "y", delivery=4)


@bad("checks", "search")
def delivery_given_twice(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", delivery=5)
    m.crash(25, 26)
    m.ready(30, 31, "y")
    m.wait(40, 41, "y", delivery=5)


@good
def hand_off_stands_over_a_restart(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=300)
    m.crash(30, 31)
    m.get(100, 101, unacked=1)
    m.wait(400, 401, "x", attempt=2, delivery=2)
    m.ack(410, 411, of, err="STALE_DELIVERY")


@bad("search")
def hand_off_lost_over_a_restart(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=300)
    m.crash(30, 31)
    m.ack(100, 101, of, err="OUTCOME_UNKNOWN")


def of_both(m):
    """A poll that took both of two names."""
    two_names(m)
    m.ready(10, 11, "x", gen=7)
    m.ready(12, 13, "y", name="b", gen=9)
    m.generation = 7
    return m.poll(20, 21, ["a", "b"], {0: m.got("x"), 1: m.got("y", gen=9)}, need=2,
                  ack_timeout=100 * MS)


@good
def each_of_a_polls_is_acknowledged_by_itself(m):
    of = of_both(m)
    m.ack(30, 31, of, generation=7)
    m.wait(300, 301, "y", name="b", attempt=2, delivery=2, gen=9)
    m.ack(310, 311, of, name="b", generation=9, err="STALE_DELIVERY")
    m.ack(320, 321, of, generation=7)
    m.timed_out(400, 401)
    m.quiesce(9000)


@bad("search", "checks")
def one_of_a_polls_is_acknowledged_and_back(m):
    of = of_both(m)
    m.ack(30, 31, of, name="b", generation=9)
    m.wait(300, 301, "y", name="b", attempt=2, delivery=2, gen=9)


@good
def close_ends_what_is_handed_out(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.close(30, 31)
    m.ack(40, 41, of, err="OUTCOME_UNKNOWN")
    m.open(50, 51, gen=8)
    m.ack(60, 61, of, err="STALE_GENERATION")
    m.get(300, 301)
    m.timed_out(310, 311)
    m.quiesce(9000)


@bad("search")
def comes_back_to_another_life(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.close(30, 31)
    m.open(50, 51, gen=8)
    m.wait(300, 301, "x", attempt=2, delivery=2)


@bad("search")
def acknowledged_in_another_life(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.close(30, 31)
    m.open(50, 51, gen=8)
    m.ack(60, 61, of)


@bad("search")
def acknowledged_after_the_close(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.close(30, 31)
    m.ack(60, 61, of)


@bad("search")
def a_life_that_is_open_is_not_stale(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ack(60, 61, of, err="STALE_GENERATION")


@good
def acknowledged_before_the_close_and_answered_after_it(m):
    """The first attempt did it, its answer was lost in the crash."""
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ack(30, 320, of, err="OUTCOME_UNKNOWN", attempts=[(30, 41), (315, None)])
    m.crash(40, 41)
    m.get(200, 201)
    m.timed_out(210, 211)
    m.close(300, 301)


@bad("search")
def acknowledged_before_the_close_by_one_attempt(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.ack(30, 320, of, err="OUTCOME_UNKNOWN", attempts=[(30, None)])
    m.get(200, 201)
    m.timed_out(210, 211)
    m.close(300, 301)


@good
def a_later_reset_lets_nothing_come_back(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.reset(30, 31, forgot=False)
    m.get(40, 41, unacked=1)
    m.crash(42, 43)
    m.get(300, 301)
    m.ack(310, 311, of, err="STALE_DELIVERY")
    m.timed_out(320, 321)
    m.quiesce(9000)


@good
def a_later_reset_lets_it_be_acknowledged(m):
    m.ready(10, 11, "x")
    of = m.wait(20, 21, "x", ack_timeout=100)
    m.reset(30, 31, forgot=False)
    m.ack(40, 41, of)
    m.ack(42, 43, of)


@good
def an_earlier_reset_lets_it_come_back(m):
    m.reset(5, 6, forgot=False)
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.wait(300, 301, "x", attempt=2, delivery=2)


@bad("search")
def comes_back_after_a_later_reset(m):
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.reset(30, 31, forgot=False)
    m.wait(300, 301, "x", attempt=2, delivery=2)


@bad("search")
def a_reset_makes_no_wait_stale(m):
    m.ready(10, 11, "x")
    m.wait(20, 400, err="STALE_DELIVERY", ack_timeout=100, attempts=[(20, 31), (390, None)])
    m.crash(30, 31)
    m.reset(50, 51, forgot=False)
    m.get(60, 61, unacked=1)
    m.get(300, 301)
    m.timed_out(410, 411)


@bad("search")
def a_reset_that_was_not_made_lets_nothing_be_forgotten(m):
    """It left the side as it was, for that has expired."""
    m.ready(10, 11, "x")
    m.wait(20, 21, "x", ack_timeout=100)
    m.deadline(22, 23, "EXPIRED", timeout=0)
    m.reset(30, 31, forgot=False, reset=False)
    m.deadline(32, 33, "CLEARED")
    m.get(8000, 8001)


# Retries


@good
def max_wait_ends_it_and_the_same_id_waits_anew(m):
    """Which is another call, as workload.py has it."""
    m.timed_out(10, 111, cause="MAX_WAIT", timeout=None, parked=100)
    m.ready(120, 121, "x")
    m.wait(130, 131, "x")


@bad("search")
def max_wait_ends_who_should_have_been_woken(m):
    m.timed_out(10, 111, cause="MAX_WAIT", timeout=None, parked=100)
    m.ready(50, 51, "x")
    m.wait(130, 131, "x")


@bad("checks")
def another_answer_the_second_time(m):
    first = m.ready(10, 11, "x")
    m.ready(20, 21, "x", "COALESCED", again=first.index)


@bad("search", "checks")
def request_carried_out_twice(m):
    """Attempted before the crash, and again after it; what it had done had been used already."""
    m.wait(10, 21, "x")
    m.ready(15, 110, "x", attempts=[(15, 31), (100, None)])
    m.crash(30, 31)
    m.wait(200, 201, "x", delivery=2)


@bad("checks")
def a_wait_gets_another_answer_by_its_id(m):
    m.ready(10, 11, "x")
    first = m.wait(20, 21, "x")
    m.ready(30, 31, "y")
    m.wait(40, 41, "y", delivery=2, again=first.index)


@bad("checks")
def an_id_is_forgotten(m):
    m.ready(10, 110, "x", ans=None, err="OUTCOME_UNKNOWN")


# Crashes


@good
def ready_stays_over_a_restart(m):
    m.ready(10, 11, "x")
    m.crash(30, 31)
    m.wait(100, 101, "x")
    m.timed_out(110, 111)
    m.quiesce(5000)


@bad("search", "checks")
def acknowledged_ready_lost_over_a_crash(m):
    m.ready(10, 11, "x")
    m.crash(30, 31)
    m.timed_out(100, 101)
    m.quiesce(5000)


@bad("search", "checks")
def outcome_and_ready_both_survive(m):
    """The outcome was stored, and the READY that it used up is there again."""
    m.ready(10, 11, "x")
    m.wait(20, 110, "x", attempts=[(20, 31), (100, None)])
    m.crash(30, 31)
    m.wait(200, 201, "x", delivery=2)


@good
def unanswered_ready_may_have_happened(m):
    m.ready(10, None, "x", ans=None, attempts=[(10, 31)])
    m.crash(30, 31)
    m.wait(100, 101, "x")


@good
def unanswered_ready_may_not_have_happened(m):
    m.ready(10, None, "x", ans=None, attempts=[(10, 31)])
    m.crash(30, 31)
    m.timed_out(100, 101)


@bad("search")
def unanswered_ready_happens_after_the_crash(m):
    m.ready(10, None, "x", ans=None, attempts=[(10, 31)])
    m.crash(30, 31)
    m.timed_out(100, 101)
    m.wait(110, 111, "x")


@good
def a_wait_parks_again(m):
    m.wait(10, 210, "x", attempts=[(10, 31), (100, None)], parked=60)
    m.crash(30, 31)
    m.ready(200, 211, "x", "WOKE")


@good
def parked_before_the_crash_and_refused_after_it(m):
    m.open(2, 3, EXCLUSIVE, name="e", gen=9)
    m.wait(10, 201, err="DOUBLE_WAIT", name="e", attempts=[(10, 31), (200, None)])
    m.wait(20, 21, err="DOUBLE_WAIT", name="e")
    m.crash(30, 31)
    m.wait(100, 301, "x", parked=200, name="e")
    m.ready(300, 302, "x", "WOKE", name="e")


@good
def nobody_is_parked_after_a_crash(m):
    m.wait(10, 210, "x", attempts=[(10, 31), (100, None)])
    m.crash(30, 31)
    m.ready(50, 51, "x")


@bad("search")
def woken_across_a_crash(m):
    """It cannot stand there: its client has not come again yet."""
    m.wait(10, 210, "x", attempts=[(10, 31), (100, None)])
    m.crash(30, 31)
    m.ready(50, 51, "x", "WOKE")


@good
def a_lost_wait_may_have_used_it(m):
    m.lost(10, 31)
    m.ready(20, 21, "x", "WOKE")
    m.crash(30, 31)
    m.timed_out(100, 101)
    m.quiesce(5000)


@bad("search")
def a_lost_wait_used_it_and_it_is_there(m):
    m.lost(10, 31)
    m.ready(20, 21, "x", "WOKE")
    m.crash(30, 31)
    m.wait(100, 101, "x")


@bad("search")
def a_lost_wait_cannot_use_two(m):
    m.lost(10, 31)
    m.ready(20, 21, "x", "WOKE")
    m.ready(22, 23, "y")
    m.crash(30, 31)
    m.timed_out(100, 101)


@good
def a_stale_wait_had_its_ready(m):
    """Its answer was lost in the crash, and when it came again its time was over."""
    m.ready(10, 11, "x")
    m.wait(20, 400, err="STALE_DELIVERY", ack_timeout=100, attempts=[(20, 31), (390, None)])
    m.crash(30, 31)
    m.wait(300, 410, "x", attempt=2, delivery=2)
    m.quiesce(5000)


@pytest.mark.parametrize("name", GOOD)
def test_a_right_history_passes(name):
    maker = Maker()
    GOOD[name](maker)
    assert not checker.check(maker.history)


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_history_is_found(name):
    maker = Maker()
    make, finders = BAD[name]
    make(maker)
    ops = maker.history.ops
    by_checks = global_checks.check(ops)
    by_search = checker.check(maker.history)[len(by_checks):]
    assert bool(by_checks) == ("checks" in finders), by_checks or "not found by the checks"
    assert bool(by_search) == ("search" in finders), by_search or "not found by the search"
    assert not any("out of its bound" in why for why in by_search)


def test_a_history_survives_its_file(tmp_path):
    maker = Maker()
    for make in (acknowledged, poll_takes_both, a_wait_parks_again, a_lost_wait_may_have_used_it):
        make(maker)
    path = tmp_path / "history"
    maker.history.save(path)
    assert History.load(path).ops == maker.history.ops


def test_a_search_without_an_end_has_failed(monkeypatch):
    """Many lost waits, any of which may have used each of many READYs."""
    monkeypatch.setattr(checker, "STEPS_MIN", 100)
    maker = Maker()
    for number in range(12):
        maker.lost(10 + number, 900)
    for number in range(12):
        maker.ready(500, 800, f"{number}", "WOKE")
    maker.crash(890, 891)
    maker.ready(1000, 1001, "x")
    maker.timed_out(1010, 1011)
    why = checker.check(maker.history, steps_per_op=1)
    assert any("out of its bound" in each for each in why), why


def busy_history(seed, names, count, clients=8):
    """A history of a server that does everything at once, in the order of a random schedule."""
    randomness = random.Random(seed)
    maker = Maker()
    for each in range(names):
        name, now, waiting, kept, delivery = f"n{each}", 10.0, [], None, 0
        maker.open(2, 3, name=name, gen=100 + each)
        for number in range(count):
            now += randomness.random()
            # So many others are under way at the same time.
            call, ret = (now + sign * randomness.random() * clients / 4 for sign in (-1, 1))
            if randomness.random() < 0.5:
                data = f"{each}/{number}"
                if waiting:
                    begun = waiting.pop(0)
                    delivery += 1
                    maker.wait(begun, now + randomness.random(), data, delivery=delivery,
                               parked=now - begun, name=name)
                    maker.ready(call, ret, data, "WOKE", name=name)
                elif kept:
                    kept = (data, kept[1] + 1)
                    maker.ready(call, ret, data, "COALESCED", name=name)
                else:
                    kept = (data, 0)
                    maker.ready(call, ret, data, name=name)
            elif kept:
                delivery += 1
                maker.wait(call, ret, kept[0], delivery=delivery, coalesced=kept[1], name=name)
                kept = None
            elif randomness.random() < 0.3 or len(waiting) == clients:
                maker.timed_out(call, ret, name=name) if not waiting else None
            else:
                waiting.append(now)
    return maker.history


def test_it_is_fast_enough_to_be_used():
    """The rate is printed, not judged: the bound on its steps is what keeps it from going on."""
    history = busy_history(1, names=4, count=1500)
    begin = time.process_time()
    assert not checker.check(history)
    rate = len(history.ops) / (time.process_time() - begin)
    print(f"{len(history.ops)} operations, {rate:.0f} a second")
    assert history.ops[-1].call < 10_000 * S
