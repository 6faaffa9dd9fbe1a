"""Who gets in by a token, what each may do, and what of it is its own."""

import contextlib
import re

import grpc
import pytest
from access import (
    DENIED, MISSING, RIGHTS, UNKNOWN, Guarded, Operations, Scene, Working, answer, every_call,
    hands_over, in_a_hello, in_sessions, kind_of, of_a_right, poll, ready, replace, that_open,
    token_of, tokens, wait)
from credentials import hash_of
from harness import (
    CALL_LIMIT_S, COALESCED, FIFO, KINDS, LATCH, READY, REMEMBERED, SOMEWHERE, WRITE, Refusal,
    assert_refused_at_start, duration, eventually, options, refusal_of, refused)
from session import SessionClient, Stream, hello
from waitd.v1 import admin_pb2
from waitd.v1 import waitd_pb2 as pb

# One for each right alone, one who may do all but look, and one with all rights elsewhere. A
# stranger has a token, and no rule.
ALONE = {f"only-{right}": right for right in RIGHTS if right != "admin"}
ALL_NAMES = "wait,ready,deadline,open,list"
ALL_CALLS = f"boss * {ALL_NAMES},admin\n"
RULES = "".join([
    "# who may do what\n\n",
    ALL_CALLS,
    *(f"{identity} team/ {right}\n" for identity, right in ALONE.items()),
    "blind team/ wait,ready\nblind team/ deadline,open\n",
    "only-admin * admin\n",
    f"a team/ {ALL_NAMES}\nb team/ {ALL_NAMES}\n",
    f"elsewhere other/ {ALL_NAMES}\nelsewhere teams/ {ALL_NAMES}\nelsewhere tea/ {ALL_NAMES}\n"])
IDENTITIES = [*ALONE, "boss", "blind", "only-admin", "a", "b", "elsewhere", "stranger"]


@pytest.fixture(scope="module")
def shared(waitd, tmp_path_factory):
    with Guarded(waitd, tmp_path_factory.mktemp("access"), RULES, IDENTITIES, "--log-level=debug") as guarded:
        yield guarded
        no_secrets(guarded.server._lines)


def no_secrets(lines):
    """Nothing in the log with which somebody gets in, nor what it could be guessed from."""
    assert lines
    for identity in IDENTITIES:
        for secret in (token_of(identity), hash_of(token_of(identity))):
            assert not any(secret in line for line in lines), identity


@pytest.fixture
def guard(shared):
    """The guarded server of this file. At the end nobody may be left parked there."""
    yield shared
    shared.server.await_at_rest()


@pytest.fixture
def guarded(waitd, tmp_path):
    """Starts guarded servers of a test's own: guarded(flag, ..., rules=..., identities=...)."""
    with contextlib.ExitStack() as servers:
        yield lambda *flags, rules=RULES, identities=IDENTITIES: servers.enter_context(
            Guarded(waitd, tmp_path, rules, identities, *flags))


@pytest.fixture
def team(name):
    """A name below the prefix that the rules speak of."""
    return f"team/{name}"


@pytest.fixture
def scene(guard, team):
    """A name on which something of each sort stands, as the owner sees it."""
    one = Scene(guard.client("boss"), team)
    yield one
    one.owner.close(team)


# Who is not known

BAD_TOKENS = {
    "none": None, "empty": "", "unknown": "nobody's", "cut": token_of("boss")[:-1],
    "longer": token_of("boss") + "x", "hash": hash_of(token_of("boss")), "identity": "boss",
    "two": f"{token_of('boss')} {token_of('boss')}", "upper case": token_of("boss").upper(),
}


@pytest.mark.parametrize("bad", BAD_TOKENS)
def test_without_a_good_token_no_call_does_anything(guard, scene, bad):
    before, nobody = scene.look(), guard.bearer(BAD_TOKENS[bad])
    sessions = guard.server.metrics()("waitd_sessions")
    for word, request in every_call(scene).items():
        assert kind_of(answer(nobody, request)) == UNKNOWN, word
        if in_sessions(request):
            assert kind_of(in_a_hello(nobody, request)) == UNKNOWN, word
        assert scene.look() == before, word
    assert guard.server.metrics()("waitd_sessions") == sessions
    scene.end()


@pytest.mark.parametrize("header", [
    "", "Bearer", "Bearer ", token_of("boss"), f"Basic {token_of('boss')}",
    f"Bearer{token_of('boss')}"])
def test_what_is_no_bearer_token_lets_nobody_in(guard, header):
    call = guard.bearer(None).channel.unary_unary("/waitd.v1.WaitService/ListPollDescriptors")
    refusal_of(call.future(b"", metadata=(("authorization", header),), timeout=CALL_LIMIT_S),
               "UNAUTHENTICATED", "NO_CREDENTIALS")


def test_a_stranger_is_refused_before_it_says_anything(guard):
    """A stream without a token ends as it arrives: its client sends no message at all."""
    for token in (None, "nobody's"):
        with Stream(guard.bearer(token).channel) as silent:
            assert kind_of(Refusal(silent.ended())) == UNKNOWN


def test_refusals_of_strangers_are_counted(guard, team):
    def counted():
        metrics = guard.server.metrics()
        return [metrics("waitd_refusals_total", reason=reason)
                for _, reason in (UNKNOWN, DENIED)]
    before = counted()
    assert kind_of(answer(guard.bearer("nobody's"), wait(team))) == UNKNOWN
    assert kind_of(in_a_hello(guard.bearer("nobody's"), wait(team))) == UNKNOWN
    assert kind_of(guard("only-list", wait(team))) == DENIED
    assert kind_of(guard("stranger", admin_pb2.BackupRequest())) == DENIED
    assert counted() == [before[0] + 2, before[1] + 2]


def test_the_log_says_which_rule_is_missing(guard, team):
    """Also where the caller is told that the name is not there."""
    for identity, request, right, rule in (
            ("only-list", wait(team), "wait", "team/TEST/ wait"),
            ("stranger", ready(team), "ready", "team/TEST/ ready"),
            ("elsewhere", wait("alone"), "wait", "* wait"),
            ("stranger", admin_pb2.BackupRequest(), "admin", "* admin"),
            ("only-open", pb.ListPollDescriptorsRequest(prefix=team), "list", "team/TEST/ list")):
        assert kind_of(guard(identity, request)) in (DENIED, MISSING)
        folder = team[:team.rindex("/") + 1]
        rule = f"{identity} {rule.replace('team/TEST/', folder)}"
        guard.server.await_log(f"denied: identity={identity} right={right} .*missing rule: "
                               f"{re.escape(rule)}$")


def test_the_log_of_denials_is_bounded(guarded, team):
    """Who is denied again and again does not fill the disk, and what is left out is counted."""
    guard = guarded()
    calls = [guard.client("stranger").start_ready(f"{team}/{number}") for number in range(2000)]
    for call in calls:
        assert call.exception().code() == grpc.StatusCode.NOT_FOUND
    eventually(lambda: kind_of(guard("stranger", ready(team))) == MISSING and any(
        "more calls" in line for line in guard.server._lines), "the next second says so")
    shown = [line for line in guard.server._lines if "denied: identity" in line]
    assert 100 <= len(shown) < 1500


def test_health_asks_for_no_token(guard):
    assert guard.bearer(None).health("waitd.v1.WaitService") == 1


# Who may what


def carriers(guard, identity):
    """How the calls of somebody go: unary, and as operations of one session."""
    client = guard.client(identity)
    yield "unary", lambda request: answer(client, request)
    operations = Operations(client)
    yield "session", operations
    operations.stream.half_close()
    assert operations.stream.ended() is None, "a session goes on after refusals"


def rights_of(identity):
    """Those to names below team/."""
    return {"blind": {"wait", "ready", "deadline", "open"}}.get(
        identity, {ALONE[identity]} if identity in ALONE else set())


@pytest.mark.parametrize("identity", ["stranger", "elsewhere", "blind", "only-admin", *ALONE])
def test_without_the_right_no_call_does_anything(guard, scene, team, identity):
    """Who has any right to the name is told that it is forbidden; to others the name is not there.
    That they may not open is told to all who could do the rest."""
    before = scene.look()
    rights = rights_of(identity)
    for carrier, call in carriers(guard, identity):
        for word, (right, request) in of_a_right(team, scene.handed).items():
            if right not in rights and (carrier == "unary" or in_sessions(request)):
                expected = DENIED if rights else MISSING
                assert kind_of(call(request)) == expected, (carrier, word)
                assert scene.look() == before, (carrier, word)
        for word, (right, request) in that_open(team, scene.missing).items():
            if "open" not in rights or right not in {None, *rights}:
                hidden = right is not None and not rights
                assert kind_of(call(request)) == (MISSING if hidden else DENIED), (carrier, word)
                assert scene.look() == before, (carrier, word)
    if "list" not in rights:
        for prefix in ("", "team/", team, f"{team}/missing"):
            said = guard(identity, pb.ListPollDescriptorsRequest(prefix=prefix))
            assert kind_of(said) == DENIED, prefix
    if identity != "only-admin":
        assert kind_of(guard(identity, admin_pb2.BackupRequest(name="no"))) == DENIED
    scene.end()


@pytest.mark.parametrize("identity", ["boss", "a", *ALONE])
def test_with_the_right_each_call_is_carried_out(guard, team, identity):
    rights = {ALONE[identity]} if identity in ALONE else set(RIGHTS)
    for carrier, call in carriers(guard, identity):
        for number, (word, (right, _)) in enumerate(of_a_right(team).items()):
            name = f"{team}/{carrier}/{number}"
            boss = guard.client("boss")
            opened = boss.open(name, kind=FIFO).poll_descriptor
            boss.ready(name, mode=WRITE)
            none = pb.WaitResponse(delivery=1, generation=opened.generation)
            request = of_a_right(name, none)[word][1]
            if right in rights and (carrier == "unary" or in_sessions(request)):
                if word == "wait with an id":
                    boss.ready(name)
                said = kind_of(call(request))
                if word == "ack":
                    assert said == (grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN")
                else:
                    assert said is None, (carrier, word)
            if boss.is_open(name):
                boss.close(name)


@pytest.mark.parametrize("identity", ["a", "blind", "only-open"])
def test_with_the_right_to_open_each_call_opens(guard, team, identity):
    boss = guard.client("boss")
    rights = {"open"} if identity == "only-open" else set(RIGHTS)
    for carrier, call in carriers(guard, identity):
        for number, (word, (right, _)) in enumerate(that_open("", "").items()):
            if right in {None, *rights} and not word.startswith("open with"):
                name = f"{team}/{carrier}/{number}"
                assert kind_of(call(that_open(name, f"{name}/missing")[word][1])) is None, word
                assert boss.is_open(name) or boss.is_open(f"{name}/missing"), (carrier, word)


def test_the_right_to_list_is_that_below_its_prefix(guard, team):
    guard.client("boss").open(team)
    guard.client("boss").open(f"teams/{team}")

    def listed(identity, prefix):
        said = guard(identity, pb.ListPollDescriptorsRequest(prefix=prefix, page_size=1000))
        return kind_of(said) or [one.name for one in said.poll_descriptors]
    assert listed("only-list", team) == [team]
    assert team in listed("only-list", "team/")
    assert set(listed("boss", "")) >= {team, f"teams/{team}"}
    for prefix in ("", "t", "team", "teams/", "team\x7f", "other/"):
        assert listed("only-list", prefix) in (
            DENIED, (grpc.StatusCode.INVALID_ARGUMENT, "BAD_NAME")), prefix
    assert listed("only-list", "team") == DENIED and listed("only-list", "teams/") == DENIED
    assert listed("elsewhere", "teams/team/") and listed("elsewhere", "team/") == DENIED


def test_a_page_token_gives_no_right(guard, team):
    boss = guard.client("boss")
    for number in range(3):
        boss.open(f"other/{team}/{number}")
    token = boss.list(prefix=f"other/{team}/", page_size=1).next_page_token
    said = guard("only-list", pb.ListPollDescriptorsRequest(
        prefix=f"other/{team}/", page_size=1, page_token=token))
    assert kind_of(said) == DENIED
    said = guard("only-list", pb.ListPollDescriptorsRequest(
        prefix="team/", page_size=1, page_token=token))
    assert kind_of(said) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_PAGE_TOKEN")


def test_a_backup_needs_the_right_admin_alone(guard):
    """There is no place for one, which only those are told who may ask."""
    for identity in ("boss", "only-admin"):
        code, reason = kind_of(guard(identity, admin_pb2.BackupRequest()))
        assert code == grpc.StatusCode.FAILED_PRECONDITION and reason.startswith("NO_")


def same_answer(one, other, name, name_of_other):
    """Whether nothing tells the refusals apart but the names in them."""
    def seen(refusal, named):
        return (refusal.code, refusal.reason, refusal.domain, refusal.fields, refusal.retry_delay,
                refusal.message.replace(named, "NAME"),
                {key: value.replace(named, "NAME") for key, value in refusal.metadata.items()})
    return seen(one, name) == seen(other, name_of_other)


@pytest.mark.parametrize("identity", ["stranger", "elsewhere", "blind", *ALONE])
def test_nobody_learns_by_refusals_whether_a_name_is_open(guard, scene, team, identity):
    """What is open, what was, and what never was: all are refused alike, and to one without a right
    to the name as the third is to one who may do everything."""
    boss = guard.client("boss")
    closed, never = f"{team}/closed", f"{team}/never"
    boss.open(closed)
    boss.close(closed)
    rights = rights_of(identity)
    for carrier, call in carriers(guard, identity):
        for word, (right, request) in of_a_right(team, scene.handed).items():
            if right in rights or not in_sessions(request) and carrier == "session":
                continue
            said = call(request)
            for other in (closed, never):
                asked = of_a_right(other, scene.handed)[word][1]
                assert same_answer(said, call(asked), team, other), (carrier, word, other)
            if not rights and word != "ack":
                asked = of_a_right(never)[word][1]
                assert same_answer(said, guard("boss", asked), team, never), (carrier, word)
        if "open" not in rights:
            for word in that_open(team, never):
                said, asked = (call(that_open(one, one)[word][1]) for one in (team, never))
                assert same_answer(said, asked, team, never), (carrier, word)
    scene.end()


def test_a_generation_and_an_id_tell_nothing_either(guard, team):
    boss = guard.client("boss")
    generation = boss.open(team).poll_descriptor.generation
    boss.ready(team, request_id="r")
    never = f"{team}/never"
    for fields in ({"generation": generation}, {"generation": generation + 1},
                   {"request_id": "r"}, {"request_id": "r", "first_sent_ago": duration(1e6)},
                   {"condition": pb.READY_CONDITION_WAITING}):
        for call in (lambda name: ready(name, **fields), lambda name: ready(name, b"x", **fields)):
            said = guard("stranger", call(team))
            assert kind_of(said) == MISSING, fields
            assert same_answer(said, guard("stranger", call(never)), team, never), fields


def test_one_target_without_the_right_refuses_the_whole_poll(guard, team):
    boss, names = guard.client("boss"), (team, f"other/{team}")
    for one in names:
        boss.open(one)
        boss.ready(one, b"kept")
    for carrier, call in carriers(guard, "a"):
        for order in (names, names[::-1]):
            assert kind_of(call(poll(*order))) == MISSING, (carrier, order)
            assert kind_of(call(poll(*order, timeout=0))) == MISSING, (carrier, order)
    assert [boss.wait(one, 0).signal.data for one in names] == [b"kept"] * 2


def test_a_refused_call_leaves_no_trace_of_its_ids(guarded, team):
    """When the right comes, the same ids are those of first calls."""
    one = guarded(rules=f"boss * {ALL_NAMES}\n")
    one.client("boss").open(team)
    request = ready(team, b"x", request_id="r")
    assert kind_of(one("a", request)) == MISSING
    assert kind_of(one("a", wait(team, 0, wait_id="w"))) == MISSING
    replace(one.rules, f"a team/ {ALL_NAMES}\n")
    eventually(lambda: not kind_of(one("a", pb.GetPollDescriptorRequest(name=team))), "it may")
    assert one("a", request).effect == REMEMBERED
    assert one("a", wait(team, wait_id="w")).signal.data == b"x"


# Who signalled, and whose ids are whose


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_learns_who_signalled(guard, team, kind):
    a = guard.client("a")
    a.open(team, kind=kind)
    call = a.park(team, wait_id="w1")
    guard.client("b").ready(team)
    assert call.result().ready_by == "b"
    assert a.wait(team, wait_id="w1").ready_by == "b", "the outcome again"
    a.reset(team)
    for identity in ("a", "b", "only-ready"):
        guard.client(identity).ready(team)
    assert a.wait(team).ready_by == ("only-ready" if kind != LATCH else a.wait(team).ready_by)


def test_a_latch_tells_each_who_opened_it(guard, team):
    a, b = guard.client("a"), guard.client("b")
    a.open(team, kind=LATCH)
    calls = [a.park(team, count=1), b.park(team, count=2)]
    guard.client("only-ready").ready(team)
    assert {call.result().ready_by for call in calls} == {"only-ready"}
    assert guard.client("only-wait").wait(team).ready_by == "only-ready"


def test_a_poll_learns_of_each_target_who_signalled(guard, team):
    a, names = guard.client("a"), [f"{team}/{number}" for number in range(2)]
    for one in names:
        a.open(one)
    call = a.park_poll(names, need=2)
    guard.client("b").ready(names[0])
    guard.client("only-ready").ready(names[1])
    assert [result.response.ready_by for result in call.result().results] == ["b", "only-ready"]


def test_a_ready_that_is_handed_over_again_keeps_its_sender(guard, team):
    a = guard.client("a")
    a.open(team)
    guard.client("b").ready(team)
    assert a.wait(team, wait_id="w", ack_timeout=0.05).ready_by == "b"
    again = a.wait(team)
    assert (again.attempt, again.ready_by) == (2, "b")


def test_a_session_signals_as_who_opened_it(guard, team):
    guard.client("a").open(team)
    for carrier, call in carriers(guard, "b"):
        call(ready(team))
        for taker, take in carriers(guard, "a"):
            if taker == "unary" or carrier == "session":
                call(ready(team))
                assert take(wait(team)).ready_by == "b", (carrier, taker)


def test_nobody_is_named_where_nobody_is_asked(c, name):
    c.open(name)
    c.ready(name)
    assert c.wait(name).ready_by == ""


def test_a_wait_id_is_its_callers_own(guard, team):
    """The same one of another is another wait: neither is taken over, each gets its outcome."""
    a, b = guard.client("a"), guard.client("b")
    a.open(team, kind=FIFO)
    calls = [a.park(team, wait_id="w"), b.park(team, wait_id="w", count=2)]
    for data in (b"1", b"2"):
        a.ready(team, data)
    for client, call, data in zip((a, b), calls, (b"1", b"2")):
        assert call.result().signal.data == data
        assert client.wait(team, wait_id="w").signal.data == data, "the outcome again"
    assert not guard.client("only-wait").takes(team)
    said = guard("only-wait", wait(team, 0, wait_id="w"))
    assert said.outcome != READY, "nobody else gets it"


def test_a_polls_wait_id_is_its_callers_own(guard, team):
    a, b = guard.client("a"), guard.client("b")
    a.open(team, kind=FIFO)
    calls = [a.park_poll([team], wait_id="p"), b.start_poll([team], wait_id="p")]
    a.await_parked(team, 2)
    for data in (b"1", b"2"):
        a.ready(team, data)
    assert [call.result().results[0].response.signal.data for call in calls] == [b"1", b"2"]


def test_a_request_id_is_its_callers_own(guard, team):
    """The same one of another is another call, also with other content."""
    a, b = guard.client("a"), guard.client("b")
    a.open(team)
    assert a.ready(team, b"a", request_id="r").effect == REMEMBERED
    assert b.ready(team, b"b", request_id="r").effect == COALESCED
    assert a.ready(team, b"a", request_id="r").effect == REMEMBERED, "its own first answer"
    assert b.ready(team, b"b", request_id="r").effect == COALESCED
    answer_ = a.wait(team)
    assert (answer_.signal.data, answer_.ready_by, answer_.coalesced) == (b"b", "b", 1)
    with refused("INVALID_ARGUMENT", "ID_REUSED"):
        a.ready(team, b"other", request_id="r")


def test_a_hand_off_is_its_takers_own(guard, team):
    a = guard.client("a")
    a.open(team)
    a.ready(team)
    answer_ = a.wait(team, wait_id="w", ack_timeout=1000)
    for carrier, call in carriers(guard, "b"):
        said = call(pb.AckRequest(name=team, wait_id="w", delivery=answer_.delivery,
                                  generation=answer_.generation))
        assert kind_of(said) == (grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN"), carrier
        assert a.side(team).unacked == 1
    a.ack(team, "w", answer_)
    assert a.side(team).unacked == 0


def test_a_session_is_its_openers_own(guard, team):
    """With another's token a resume is a new session, and the former one is not disturbed."""
    a = guard.client("a")
    a.open(team)
    with Stream(a.channel, hello()) as one:
        token = one.welcome().resume_token
        one.send((1, wait(team)))
        a.await_parked(team)
        with Stream(guard.client("b").channel, hello(resume_token=token)) as other:
            welcome = other.welcome()
            assert not welcome.resumed and welcome.received_through == 0
            assert welcome.resume_token != token
            a.ready(team, b"x")
            assert one.results(1)[1].wait.signal.data == b"x", "its stream is still the first"
            one.break_off()
            other.half_close()
            assert other.ended() is None
        with Stream(a.channel, hello(resume_token=token)) as two:
            assert two.welcome().resumed
            two.half_close()
            assert two.ended() is None


def test_what_a_client_calls_itself_stands_beside_its_identity(guard, team):
    """Never in its place: whoever calls itself as another one is shown as who it is, too."""
    a = guard.client("a")
    a.open(team)
    with Stream(a.channel, hello("b (worker 7)", linger=0.001)) as one:
        one.send((1, wait(team)), (2, pb.OpenPollDescriptorRequest(
            name=f"{team}/mine", options=options(ephemeral=True))))
        a.await_parked(team)
        shown = "a (b (worker 7))"
        assert a.side(team).waiter_details[0].client == shown
        eventually(lambda: a.is_open(f"{team}/mine"), "it is open")
        assert a.get(f"{team}/mine").owner == shown
        said = refusal_of(guard.client("b").start_wait(team), "FAILED_PRECONDITION", "DOUBLE_WAIT")
        assert said.metadata["waiter"] == shown and shown in said.message
        a.ready(team)
        assert one.results(2)[1].wait.outcome == READY
    call = guard.client("b").park(team)
    assert a.side(team).waiter_details[0].client.startswith("b (unix:")
    a.ready(team)
    assert call.result().ready_by == "a"


def test_a_session_without_a_token_resumes_nothing(guard):
    with Stream(guard.client("a").channel, hello()) as one:
        token = one.welcome().resume_token
        with Stream(guard.bearer(None).channel, hello(resume_token=token)) as other:
            error = other.ended()
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        one.half_close()
        assert one.ended() is None


def test_identities_outlive_a_restart(guarded, team):
    """What stands says who sent it, and ids belong to who used them."""
    guard = guarded("--store=rocksdb")
    a, b = guard.client("a"), guard.client("b")
    for one in ("held", "taken", "handed", "latch"):
        a.open(f"{team}/{one}", kind=LATCH if one == "latch" else FIFO)
        b.ready(f"{team}/{one}", b"b's", request_id="r")
    assert a.wait(f"{team}/taken", wait_id="w").ready_by == "b"
    handed = a.wait(f"{team}/handed", wait_id="w", ack_timeout=1000)
    guard.crash()
    a, b = guard.client("a"), guard.client("b")
    assert a.wait(f"{team}/held").ready_by == "b"
    assert a.wait(f"{team}/latch").ready_by == "b"
    again = a.wait(f"{team}/taken", wait_id="w")
    assert (again.signal.data, again.ready_by) == (b"b's", "b")
    assert b.wait(f"{team}/taken", 0, wait_id="w").outcome != READY, "another's outcome"
    assert kind_of(guard("b", pb.AckRequest(
        name=f"{team}/handed", wait_id="w", delivery=handed.delivery,
        generation=handed.generation))) == (grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN")
    a.ack(f"{team}/handed", "w", handed)
    assert b.ready(f"{team}/taken", b"b's", request_id="r").effect == REMEMBERED
    assert not a.takes(f"{team}/taken"), "it was the same call"
    assert a.ready(f"{team}/taken", b"a's", request_id="r").effect == REMEMBERED
    assert a.wait(f"{team}/taken").ready_by == "a"


# Files that change


BAD_RULES = {
    "no right": "a team/\n", "an unknown right": "a team/ wait,fly\n",
    "an empty right": "a team/ wait,\n", "a prefix within a name": "a team wait\n",
    "no prefix": "a\n", "a word too many": "a team/ wait ready\n",
    "admin of a part": "a team/ admin\n", "a star behind": "a team/* wait\n",
}
BAD_TOKEN_LINES = {
    "no hash": "a\n", "a short hash": f"a {hash_of('x')[:-1]}\n",
    "a long hash": f"a {hash_of('x')}0\n", "no hexadecimal": f"a {'g' * 64}\n",
    "a word too many": f"a {hash_of('x')} b\n",
    "the token itself": f"a {token_of('a')}\n",
}


def refused_file(waitd, arguments, path, line, secrets=()):
    """A waitd that does not start says where it is wrong, and repeats nothing that is secret."""
    said = assert_refused_at_start(waitd, [*SOMEWHERE, *arguments], mention=str(path))
    assert line is None or f"{path}:{line}" in said or f"line {line}" in said, said
    assert not any(secret in said for secret in secrets), said


@pytest.mark.parametrize("bad", BAD_RULES)
def test_malformed_rules_are_refused_at_start(waitd, tmp_path, bad):
    replace(tmp_path / "tokens", tokens("a"))
    replace(tmp_path / "acl", f"# rules\n\n{ALL_CALLS}{BAD_RULES[bad]}")
    refused_file(waitd, ["--auth=token", f"--token-file={tmp_path}/tokens",
                         f"--acl-file={tmp_path}/acl"], tmp_path / "acl", 4)


@pytest.mark.parametrize("bad", BAD_TOKEN_LINES)
def test_malformed_tokens_are_refused_at_start(waitd, tmp_path, bad):
    replace(tmp_path / "tokens", f"# tokens\n{tokens('boss')}{BAD_TOKEN_LINES[bad]}")
    replace(tmp_path / "acl", ALL_CALLS)
    refused_file(waitd, ["--auth=token", f"--token-file={tmp_path}/tokens",
                         f"--acl-file={tmp_path}/acl"], tmp_path / "tokens", 3,
                 [hash_of("x")[:-1], token_of("a"), hash_of(token_of("boss"))])


@pytest.mark.parametrize("absent", ["tokens", "acl"])
def test_a_file_that_is_not_there_is_refused_at_start(waitd, tmp_path, absent):
    replace(tmp_path / "tokens", tokens("a"))
    replace(tmp_path / "acl", ALL_CALLS)
    (tmp_path / absent).unlink()
    refused_file(waitd, ["--auth=token", f"--token-file={tmp_path}/tokens",
                         f"--acl-file={tmp_path}/acl"], tmp_path / absent, None)


@pytest.mark.parametrize("folder", ["tokens", "acl"])
def test_a_folder_in_place_of_a_file_is_refused_at_start(waitd, tmp_path, folder):
    replace(tmp_path / "tokens", tokens("a"))
    replace(tmp_path / "acl", ALL_CALLS)
    (tmp_path / folder).unlink()
    (tmp_path / folder).mkdir()
    refused_file(waitd, ["--auth=token", f"--token-file={tmp_path}/tokens",
                         f"--acl-file={tmp_path}/acl"], tmp_path / folder, None)


@pytest.mark.parametrize("arguments, mention", [
    (["--auth=token", "--acl-file=ACL"], "--token-file"),
    (["--auth=token", "--token-file=TOKENS"], "--acl-file"),
    (["--auth=mtls", "--acl-file=ACL"], "--tls-client-ca-file"),
    (["--auth=password"], "auth"),
    (["--listen-address=0.0.0.0:0"], "--insecure"),
    (["--listen-address=[::]:0"], "--insecure"),
    (["--listen-address=0.0.0.0:0", "--auth=token", "--token-file=TOKENS", "--acl-file=ACL"],
     "--insecure"),
    (["--tls-cert-file=TOKENS"], "--tls-key-file"), (["--tls-key-file=TOKENS"], "--tls-cert-file"),
    (["--tls-client-ca-file=TOKENS"], "--tls-cert-file"),
    (["--reflection=perhaps"], "reflection"), (["--max-rate=-1"], "max-rate"),
    (["--max-rate=1000000001"], "max-rate"), (["--max-rate=18446744073709551615"], "max-rate"),
    (["--max-held-bytes=much"], "max-held-bytes"),
    (["--max-connection-age=old"], "max-connection-age"),
    (["--max-connection-age-grace=-1s"], "max-connection-age-grace"),
    (["--max-connection-idle=x"], "max-connection-idle")])
def test_flags_that_do_not_go_together_are_refused_at_start(waitd, tmp_path, arguments, mention):
    replace(tmp_path / "tokens", tokens("a"))
    replace(tmp_path / "acl", ALL_CALLS)
    files = {"TOKENS": f"{tmp_path}/tokens", "ACL": f"{tmp_path}/acl"}
    for word, path in files.items():
        arguments = [one.replace(word, path) for one in arguments]
    assert_refused_at_start(waitd, [*SOMEWHERE, *arguments], mention=mention)


def test_other_machines_are_let_in_with_the_word_for_it(start, name):
    server = start("--insecure", listen="0.0.0.0:0")
    with server.client() as c:
        assert c.open(name).created


def test_reflection_can_be_turned_off(start, name):
    server = start("--reflection=false")
    with server.client() as c:
        for version in ("v1alpha", "v1"):
            call = c.channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            with pytest.raises(grpc.RpcError) as caught:
                next(call(iter([b"\x3a\x01*"]), timeout=CALL_LIMIT_S))
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert c.open(name).created


def test_metrics_can_be_turned_off(start, name):
    server = start("--metrics-address=none")
    assert "metrics=none" in server.await_log("listen=")
    with server.client() as c:
        assert c.open(name).created


def get(name):
    return pb.GetPollDescriptorRequest(name=name)


def not_taken(path):
    """The pattern of the line that says that a version of a file is wrong."""
    return f"not taken.*{path}"


def test_a_good_client_is_never_refused_while_rules_change(guarded, team):
    """It works without a pause, by unary calls and in a session, while the rules are written again
    and again, now and then wrong. In each good version another name is shown to another client."""
    guard = guarded(rules=ALL_CALLS)
    boss = guard.client("boss")
    for version in range(4):
        boss.open(f"mark/{version}/x")
    with SessionClient(guard.server.address, who={"token": token_of("boss")}) as session:
        with Working(hands_over(boss, f"{team}/1"), hands_over(session, f"{team}/2")) as working:
            for version in range(0, 4, 2):
                replace(guard.rules, f"{ALL_CALLS}only-list mark/{version}/ list\n")
                shown = get(f"mark/{version}/x")
                eventually(lambda shown=shown: not kind_of(guard("only-list", shown)),
                           "a good version holds")
                for size in range(1, 20):
                    replace(guard.rules, f"{ALL_CALLS}# {'x' * size}\nonly-list mark/1/ none\n")
                working.check()
            guard.server.await_log(not_taken(guard.rules))
            assert not kind_of(guard("only-list", shown)), "what was read before goes on"
            working.check()
        assert session.session.streams == 1


def test_a_wrong_version_is_not_taken_and_told_of_once(guarded, team):
    """By the time that another version of another file was taken, it was looked at again."""
    guard = guarded(rules=ALL_CALLS, identities=["boss"])
    guard.client("boss").open(team)
    replace(guard.rules, f"{ALL_CALLS}a {token_of('a')}\n")
    replace(guard.tokens, f"{tokens('boss')}b {token_of('b')}\n")
    for path in (guard.rules, guard.tokens):
        guard.server.await_log(not_taken(path))
    assert not kind_of(guard("boss", get(team)))
    replace(guard.tokens, tokens("boss", "a"))
    eventually(lambda: kind_of(guard("a", get(team))) == MISSING,
               "a good version holds, and says who it is, if not what for")
    assert kind_of(guard("b", get(team))) == UNKNOWN
    said = [line for line in guard.server._lines if "not taken" in line]
    assert len(said) == 2, said
    no_secrets(guard.server._lines)


def test_a_folder_that_comes_in_place_of_a_file_is_not_taken(guarded, team):
    guard = guarded(rules=ALL_CALLS, identities=["boss"])
    guard.client("boss").open(team)
    guard.rules.unlink()
    guard.rules.mkdir()
    guard.server.await_log(not_taken(guard.rules))
    assert not kind_of(guard("boss", get(team))), "what was read before goes on"


def test_a_right_that_is_taken_away_is_gone_at_once(guarded, team):
    """For unary calls and for a session that is up, which goes on with what it may do still."""
    guard = guarded()
    a = guard.client("a")
    a.open(team, kind=FIFO)
    session = Operations(a)
    for call in (session, lambda request: guard("a", request)):
        assert call(ready(team)).effect == REMEMBERED
        assert not kind_of(call(wait(team)))
    replace(guard.rules, f"{ALL_CALLS}a team/ wait,list\n")
    eventually(lambda: kind_of(guard("a", ready(team))) == DENIED, "it has no right any more")
    assert kind_of(session(ready(team))) == DENIED
    assert kind_of(session(pb.ClosePollDescriptorRequest(name=team))) == DENIED
    guard.client("boss").reset(team)
    guard.client("boss").ready(team, b"x")
    assert session(wait(team)).signal.data == b"x"
    with guard.rules.open("r+", encoding="utf-8") as file:  # in place, and of the same length
        file.write(f"{ALL_CALLS}b ")
    eventually(lambda: kind_of(guard("a", get(team))) == MISSING, "nor to look")
    assert Refusal(session.stream.ended()).reason == "FORBIDDEN", "it has no right left"


def test_a_token_is_replaced(guarded, team):
    """First both are taken, then the new one alone. A session that is up stays."""
    guard = guarded()
    guard.client("a").open(team)
    session = Operations(guard.client("a"))
    both = f"{tokens('a')}a {hash_of('new')}\n"
    for version, old, new in ((both, None, None), (f"a {hash_of('new')}\n", UNKNOWN, None)):
        assert kind_of(answer(guard.bearer("new"), get(team))) == (UNKNOWN if not old else None)
        replace(guard.tokens, version)
        eventually(lambda old=old, new=new: (
            kind_of(guard("a", get(team))) == old
            and kind_of(answer(guard.bearer("new"), get(team))) == new), "the tokens hold")
    assert kind_of(in_a_hello(guard.client("a"), ready(team))) == UNKNOWN
    assert session(ready(team)).effect == REMEMBERED
    assert answer(guard.bearer("new"), wait(team)).ready_by == "a", "it is the same identity"
