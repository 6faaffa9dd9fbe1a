"""Rights and tokens that are taken away while calls are parked by them."""

import contextlib
import threading
import time

import grpc
import pytest
from access import (
    DENIED, MISSING, UNKNOWN, Guarded, Operations, answer, kind_of, ready,
    replace, token_of, tokens, wait)
from credentials import hash_of
from harness import (
    FIFO, READ, READY, REMEMBERED, WOKE, Refusal, eventually, options)
from session import SessionClient
from waitd.v1 import waitd_pb2 as pb

ALL_NAMES = "wait,ready,deadline,open,list"
BOSS = f"boss * {ALL_NAMES}\n"
RULES = f"{BOSS}a team/ {ALL_NAMES}\na other/ {ALL_NAMES}\nb team/ {ALL_NAMES}\n"
WITHOUT = {
    "the line": RULES.replace(f"a team/ {ALL_NAMES}\n", ""),
    "the right": RULES.replace(f"a team/ {ALL_NAMES}", "a team/ ready,list"),
    "the longer prefix": RULES.replace(f"a team/ {ALL_NAMES}", f"a team/no/ {ALL_NAMES}"),
}
SOON_S = 5  # a second until rules are read, and what this machine takes


@pytest.fixture
def guard(waitd, tmp_path):
    with Guarded(waitd, tmp_path, RULES, ["boss", "a", "b"], "--linger=1h") as one:
        yield one
        one.server.await_at_rest()


@pytest.fixture(params=["unary", "session"])
def connect(request, guard):
    """connect(identity): a client, once of unary calls and once of a session."""
    with contextlib.ExitStack() as clients:
        def one(identity):
            who = {"token": token_of(identity)}
            kind = SessionClient if request.param == "session" else None
            return clients.enter_context(
                kind(guard.server.address, who=who) if kind else guard.server.client(**who))
        yield one


@pytest.fixture
def team(name):
    return f"team/{name}"


def forbidden(call):
    """Asserts that a parked call ends so."""
    error = call.exception()
    assert error is not None, call.result()
    assert kind_of(Refusal(error)) == DENIED


@pytest.mark.parametrize("what", WITHOUT)
def test_what_is_parked_by_a_right_ends_with_it(guard, connect, team, what):
    """And nothing else: not what others wait for, nor what the same one may still wait for."""
    boss, a, b = guard.client("boss"), connect("a"), connect("b")
    other = f"other/{team}"
    for one in (team, f"{team}/2", other):
        boss.open(one, kind=FIFO)
    hers = [a.start_wait(team), a.start_wait(team, wait_id="w", timeout=1000),
            a.start_poll([other, team]), a.start_poll([f"{team}/2", other], need=2)]
    stay = [a.start_wait(other), a.start_poll([other]), b.start_wait(team)]
    boss.await_parked(team, 4)
    boss.await_parked(other, 4)
    begin = time.monotonic()
    replace(guard.rules, WITHOUT[what])
    for call in hers:
        forbidden(call)
    assert time.monotonic() - begin < SOON_S
    boss.await_parked(team, 1)
    boss.await_parked(other, 2)
    assert not any(call.done() for call in stay)
    assert guard.server.metrics()("waitd_refusals_total", reason="FORBIDDEN") == len(hers)
    guard.server.await_log("rights were taken away: identity=a waits ended=4 .* missing rule: a "
                           "team/.* wait$")
    # Who is left gets the signal, and what nobody waits for stays.
    assert boss.ready(team, b"b's").effect == WOKE
    assert stay[2].result().signal.data == b"b's"
    assert boss.ready(f"{team}/2", b"kept").effect == REMEMBERED
    assert boss.wait(f"{team}/2").signal.data == b"kept"
    for number in range(2):
        assert boss.ready(other, b"%d" % number).effect == WOKE
    assert stay[0].result().outcome == READY
    assert stay[1].result().results[0].response.outcome == READY


def test_who_had_its_signal_keeps_it(guard, connect, team):
    boss, a = guard.client("boss"), connect("a")
    boss.open(team)
    call = a.start_wait(team)
    boss.await_parked(team)
    assert boss.ready(team, b"x").effect == WOKE
    replace(guard.rules, WITHOUT["the line"])
    eventually(lambda: kind_of(guard("a", wait(team, 0))) == MISSING, "it holds")
    assert call.result().signal.data == b"x"
    assert not boss.takes(team)


def test_a_signal_that_was_counted_for_a_poll_is_not_lost(guard, connect, team):
    boss, a = guard.client("boss"), connect("a")
    for one in (team, f"{team}/2"):
        boss.open(one)
    call = a.start_poll([team, f"{team}/2"], need=2)
    boss.await_parked(f"{team}/2")
    assert boss.ready(team, b"kept").effect == REMEMBERED
    replace(guard.rules, WITHOUT["the right"])
    forbidden(call)
    assert boss.wait(team, 0).signal.data == b"kept"


def test_a_wait_that_a_client_left_behind_ends_too(guard, team):
    """With an id it would go on for linger, and take a signal that nobody may ask for."""
    boss = guard.client("boss")
    boss.open(team)
    with guard.server.client(token=token_of("a")) as a:
        call = a.start_wait(team, wait_id="w")
        boss.await_parked(team)
        assert not call.done()
    boss.await_detached(team)
    replace(guard.rules, WITHOUT["the line"])
    boss.await_parked(team, 0)
    assert boss.ready(team).effect == REMEMBERED and boss.takes(team)


def test_the_right_comes_back(guard, connect, team):
    """A wait that was ended so has no outcome: the same id is that of a first wait."""
    boss, a = guard.client("boss"), connect("a")
    boss.open(team)
    call = a.start_wait(team, wait_id="w")
    boss.await_parked(team)
    replace(guard.rules, WITHOUT["the line"])
    forbidden(call)
    replace(guard.rules, RULES)
    eventually(lambda: not kind_of(guard("a", pb.GetPollDescriptorRequest(name=team))), "it may")
    again = a.start_wait(team, wait_id="w")
    boss.await_parked(team)
    boss.ready(team, b"x")
    assert again.result().signal.data == b"x"


def test_a_token_that_is_taken_out_takes_all_rights_along(guard, team):
    """Unless another one of the same identity is left."""
    boss, a = guard.client("boss"), guard.client("a")
    session = Operations(a)
    for one in (team, f"{team}/2"):
        boss.open(one)
    session.stream.send((1, wait(f"{team}/2")))
    boss.await_parked(f"{team}/2")
    call = a.start_wait(team)
    boss.await_parked(team)
    replace(guard.tokens, f"{tokens('boss', 'a', 'b')}a {hash_of('new')}\n")
    eventually(lambda: kind_of(answer(guard.bearer("new"), wait(f"{team}/no", 0))) == MISSING,
               "the new one is taken")
    replace(guard.tokens, f"{tokens('boss', 'b')}a {hash_of('new')}\n")
    eventually(lambda: kind_of(guard("a", wait(team, 0))) == UNKNOWN, "the former one is gone")
    boss.await_parked(team)
    boss.await_parked(f"{team}/2")
    assert not call.done()
    replace(guard.tokens, tokens("boss", "b"))
    forbidden(call)
    error = Refusal(session.stream.ended())
    assert kind_of(error) == UNKNOWN, "nobody knows whose session it is"
    for one in (team, f"{team}/2"):
        boss.await_parked(one, 0)
        assert boss.ready(one).effect == REMEMBERED and boss.takes(one)
    eventually(lambda: guard.server.metrics()("waitd_sessions") == 0, "it has ended")


def test_a_session_ends_with_the_last_rule_of_its_owner(guard, team):
    boss, session = guard.client("boss"), Operations(guard.client("a"))
    other = Operations(guard.client("b"))
    boss.open(team)
    session.stream.send((1, wait(team)), (2, pb.OpenPollDescriptorRequest(
        name=f"{team}/mine", options=options(ephemeral=True))))
    boss.await_parked(team)
    eventually(lambda: boss.is_open(f"{team}/mine"), "it is open")
    replace(guard.rules, f"{BOSS}b team/ {ALL_NAMES}\n")
    assert kind_of(Refusal(session.stream.ended())) == DENIED
    boss.await_parked(team, 0)
    eventually(lambda: not boss.is_open(f"{team}/mine"), "its ephemeral names are closed")
    assert other(ready(team)).effect == REMEMBERED, "another one's goes on"


def test_a_message_comes_before_the_rules_are_looked_through(guard, team):
    """A session whose owner is not known any more ends by whatever it says next, too."""
    session = Operations(guard.client("a"))
    replace(guard.tokens, tokens("boss", "b"))

    with pytest.raises(grpc.RpcError) as caught:
        while True:
            assert kind_of(session(wait(team, 0))) in (MISSING, DENIED)
    assert kind_of(Refusal(caught.value)) == UNKNOWN


MANY = 5000


def test_many_end_and_others_do_not_wait(guard, connect, team):
    """More than one hold of a lock ends, on one name and on many."""
    boss, a = guard.client("boss"), connect("a")
    boss.open(team, kind=FIFO)
    calls = [a.start_wait(team) for _ in range(MANY // 2)]
    calls += [a.start_wait(f"{team}/{number}", open_if_missing=options())
              for number in range(MANY // 2)]
    eventually(lambda: guard.server.metrics()("waitd_waiters", mode="read") == MANY, "all parked")
    replace(guard.rules, WITHOUT["the right"])
    for call in calls:
        forbidden(call)
    assert boss.side(team, READ).waiters == 0
    guard.server.await_log(f"waits ended={MANY} ")


def test_a_poll_that_parks_after_the_others_were_ended(guard, team):
    """While the rules change some poll is always being looked through, for that takes long: of 1,000
    names each comes under the last of 10,000 rules. It was let in, and parks when all is over."""
    others = "".join(f"a x{number}/ wait\n" for number in range(10_000))
    boss, a, stop = guard.client("boss"), guard.client("a"), threading.Event()
    request = pb.PollRequest(
        targets=[pb.PollRequest.Target(name=f"{team}/{number}") for number in range(1000)],
        open_if_missing=options(kind=FIFO))
    for version in range(3):
        replace(guard.rules, f"{BOSS}# {version}\n{others}a team/ {ALL_NAMES}\n")
        eventually(lambda: not kind_of(guard("a", ready(f"{team}/x", open_if_missing=options()))),
                   "it may")
        calls = []

        def park():
            while not stop.is_set():
                calls.append(a.start("Poll", request))
                stop.wait(0.01)
        thread = threading.Thread(target=park, daemon=True)
        thread.start()
        eventually(lambda: guard.server.metrics()("waitd_waiters", mode="poll") > 3000, "some are in")
        replace(guard.rules, f"{BOSS}# {version}\n{others}")
        eventually(lambda: kind_of(guard("a", wait(team, 0))) == MISSING, "it holds")
        stop.set()
        thread.join()
        stop.clear()
        ends = {kind_of(Refusal(call.exception())) for call in calls}
        assert DENIED in ends and ends <= {DENIED, MISSING}, ends
        assert boss.side(f"{team}/0").waiters == 0


def test_no_wait_slips_through_while_rules_change(guard, connect, team):
    """It parks without a pause while its right comes and goes. What was let in by rules that are no
    more ends, also if it parks after all others were ended."""
    boss, a = guard.client("boss"), connect("a")
    boss.open(team, kind=FIFO)
    calls, stop = [], threading.Event()

    def park():
        while not stop.is_set():
            calls.append(a.start_wait(team))
            if len(calls) % 64 == 0:
                calls[-1].exception() if stop.wait(0.001) else None

    for version in range(3):
        thread = threading.Thread(target=park, daemon=True)
        thread.start()
        eventually(lambda: boss.side(team).waiters > 100, "some are parked")
        replace(guard.rules, WITHOUT["the right"] + f"# {version}\n")
        eventually(lambda: kind_of(guard("a", wait(team, 0))) == DENIED, "it holds")
        stop.set()
        thread.join()
        for call in calls:
            forbidden(call)
        assert boss.side(team).waiters == 0
        calls.clear()
        stop.clear()
        replace(guard.rules, RULES + f"# {version}\n")
        eventually(lambda: not kind_of(guard("a", ready(f"{team}/x", open_if_missing=options()))),
                   "it may again")
