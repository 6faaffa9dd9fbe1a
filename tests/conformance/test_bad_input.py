"""Bad input: each is refused with its status, reason and field, and nothing changes."""

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from harness import (
    CALL_LIMIT_S, CLEAR, EXCLUSIVE, FIFO, HELD, READ_WRITE, READY, REMEMBERED, options, refused,
    timestamp)
from waitd.v1 import waitd_pb2 as pb

INVALID = "INVALID_ARGUMENT"
NAMED_CALLS = ["open", "close", "reset", "wait", "ready", "deadline", "poll", "get"]
OPENING_CALLS = ["open", "wait", "ready", "deadline", "poll"]
TIMES = {
    "nanos of the wrong sign": (1, -1),
    "negative with positive nanos": (-1, 1),
    "nanos over the range": (0, 1_000_000_000),
    "nanos under the range": (0, -1_000_000_000),
    "over 10 000 years": (315_576_000_001, 0),
    "the largest": (2**63 - 1, 999_999_999),
    "the smallest": (-(2**63), 0),
}


def call(c, kind, name, opening=None):
    """One call of a kind on a name."""
    return {
        "open": lambda: c.open(name),
        "close": lambda: c.close(name),
        "reset": lambda: c.reset(name),
        "wait": lambda: c.wait(name, 0, open_if_missing=opening),
        "ready": lambda: c.ready(name, open_if_missing=opening),
        "deadline": lambda: c.deadline(name, 10, open_if_missing=opening),
        "poll": lambda: c.poll([name], timeout=0, open_if_missing=opening),
        "get": lambda: c.get(name),
    }[kind]()


def call_opening(c, call_kind, name, **fields):
    """A call that opens a missing name with these options; the path of its options is its field."""
    if call_kind == "open":
        c.open(name, **fields)
    else:
        call(c, call_kind, name, options(**fields))


def options_field(kind):
    return "options" if kind == "open" else "open_if_missing"


@pytest.fixture
def unchanged(c, name):
    """An open descriptor with a READY and deadlines, which must be the same afterwards."""
    c.open(name, kind=FIFO, labels={"a": "b"})
    c.ready(name, b"kept")
    c.deadline(name, 1000)
    c.deadline(name, 0, pb.MODE_WRITE)
    before = standing(c.get(name))
    yield name
    assert standing(c.get(name)) == before


def standing(descriptor):
    """A descriptor without what moves by itself."""
    for side in (descriptor.read, descriptor.write):
        side.deadline.ClearField("remaining")
    return descriptor


BAD_NAMES = {
    "empty": "",
    "513 bytes": "n" * 513,
    "513 bytes in 257 characters": "é" * 256 + "n",
    "nul": "a\0b",
    "newline": "a\nb",
    "tab": "\tb",
    "unit separator": "b\x1f",
    "delete": "a\x7f",
    "next line, of the second set of controls": "a\u0085b",
}


@pytest.mark.parametrize("bad", BAD_NAMES.values(), ids=BAD_NAMES.keys())
@pytest.mark.parametrize("kind", NAMED_CALLS)
def test_bad_names(c, kind, bad):
    field = "targets[0].name" if kind == "poll" else "name"
    with refused(INVALID, "BAD_NAME", field):
        call(c, kind, bad, options())
    if bad:
        with refused(INVALID, "BAD_NAME", "prefix"):
            c.list(prefix=bad)


def test_a_prefix_is_as_long_as_a_name(c, name):
    """And may be empty. A long one is refused by waitd, with its reason."""
    c.open(name)
    assert c.list(prefix="").poll_descriptors
    assert not c.list(prefix="n" * 512 if name[0] != "n" else "m" * 512).poll_descriptors
    for size in (513, 2000, 1 << 20):
        with refused(INVALID, "BAD_NAME", "prefix"):
            c.list(prefix="n" * size)


@pytest.mark.parametrize("good", [
    "n", "n" * 512, "é" * 256, "/", "a/b/{42}/c d", "\u00a0", "{", "}{", "日本語", "😀"],
    ids=["1 byte", "512 bytes", "512 bytes in 256 characters", "slash", "braces", "space",
         "open brace", "braces the wrong way", "letters", "outside the basic plane"])
def test_good_names(c, good):
    c.open(good)
    c.ready(good)
    assert c.get(good).name == good
    assert c.poll([good], timeout=0).outcome == READY
    c.close(good)


def test_bad_name_of_a_later_target(c, name):
    c.open(name)
    c.ready(name)
    with refused(INVALID, "BAD_NAME", "targets[1].name"):
        c.poll([name, ""], timeout=0)
    assert c.takes(name)


NOT_UTF8 = b"\x0a\x02\xff\xfe"
BROKEN_MESSAGES = {"not UTF-8": NOT_UTF8, "truncated": b"\x0a\x7fabc", "no field": b"\xff\xff\xff"}


@pytest.mark.parametrize("message", BROKEN_MESSAGES.values(), ids=BROKEN_MESSAGES.keys())
@pytest.mark.parametrize("method", [
    "OpenPollDescriptor", "ClosePollDescriptor", "Reset", "Wait", "Ready", "SetDeadline", "Poll",
    "GetPollDescriptor", "ListPollDescriptors"])
def test_what_the_parser_refuses_changes_nothing(shared_server, c, method, message):
    before = shared_server.metrics().total("waitd_descriptors")
    with pytest.raises(grpc.RpcError) as caught:
        c.channel.unary_unary(f"/waitd.v1.WaitService/{method}")(message, timeout=CALL_LIMIT_S)
    assert caught.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
    assert shared_server.metrics().total("waitd_descriptors") == before
    assert c.health() == 1


@pytest.mark.parametrize("kind, mode", [
    *[("wait", mode) for mode in (READ_WRITE, 4, 99, -1)],
    *[(kind, mode) for kind in ("reset", "ready", "deadline") for mode in (4, 99, -1)]])
def test_bad_modes(c, unchanged, kind, mode):
    with refused(INVALID, "BAD_MODE", "mode"):
        {"wait": lambda: c.wait(unchanged, 0, mode),
         "reset": lambda: c.reset(unchanged, mode),
         "ready": lambda: c.ready(unchanged, b"new", mode),
         "deadline": lambda: c.deadline(unchanged, 5, mode)}[kind]()


def test_a_mode_that_is_unset_is_read(c, name):
    c.open(name)
    limit = {"timeout": CALL_LIMIT_S}
    c.stub.Ready(pb.ReadyRequest(name=name), **limit)
    assert c.get(name).read.state == HELD != c.get(name).write.state
    assert c.stub.Reset(pb.ResetRequest(name=name), **limit).forgot
    c.stub.SetDeadline(pb.SetDeadlineRequest(name=name, timeout={"seconds": 0}), **limit)
    assert c.get(name).read.deadline.expired and not c.get(name).write.deadline.expired
    for answer in (c.stub.Wait(pb.WaitRequest(name=name), **limit),
                   c.stub.Poll(pb.PollRequest(targets=[{"name": name}]), **limit)):
        assert answer.timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE


@pytest.mark.parametrize("mode", [READ_WRITE, 4, -1])
def test_bad_modes_of_targets(c, unchanged, mode):
    with refused(INVALID, "BAD_MODE", "targets[1].mode"):
        c.poll([unchanged, (unchanged, mode)], timeout=0)


def test_bad_mode_opens_nothing(c, name):
    with refused(INVALID, "BAD_MODE", "mode"):
        c.wait(name, 0, READ_WRITE, open_if_missing=options())
    assert not c.is_open(name)


@pytest.mark.parametrize("number", [4, 99, -1])
@pytest.mark.parametrize("kind", OPENING_CALLS)
def test_bad_kinds(c, name, kind, number):
    with refused(INVALID, "BAD_KIND", f"{options_field(kind)}.kind"):
        call_opening(c, kind, name, kind=number)
    assert not c.is_open(name)


@pytest.mark.parametrize("number", [3, 99, -1])
def test_bad_ready_conditions(c, unchanged, number):
    with refused(INVALID, "BAD_OPTIONS", "condition"):
        c.ready(unchanged, b"new", condition=number)


@pytest.mark.parametrize("number", [4, 99, -1])
def test_bad_deadline_conditions(c, unchanged, number):
    with refused(INVALID, "BAD_OPTIONS", "condition"):
        c.deadline(unchanged, 5, condition=number)


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("kind", ["wait", "deadline", "poll"])
def test_bad_timeouts(c, unchanged, kind, time):
    bad = duration_pb2.Duration(seconds=time[0], nanos=time[1])
    with refused(INVALID, "BAD_TIME", "timeout"):
        {"wait": lambda: c.wait(unchanged, bad),
         "deadline": lambda: c.deadline(unchanged, bad),
         "poll": lambda: c.poll([unchanged], timeout=bad)}[kind]()


@pytest.mark.parametrize("time", [
    (0, -1), (1, 1_000_000_000), (253_402_300_800, 0), (-62_135_596_801, 0), (2**63 - 1, 0),
    (-(2**63), 0)],
    ids=["negative nanos", "nanos over the range", "year 10000", "year 0", "the largest",
         "the smallest"])
def test_bad_instants(c, unchanged, time):
    bad = timestamp_pb2.Timestamp(seconds=time[0], nanos=time[1])
    with refused(INVALID, "BAD_TIME", "at"):
        c.deadline(unchanged, at=bad)


@pytest.mark.parametrize("time", [*TIMES.values(), (-1, 0), (0, -1)],
                         ids=[*TIMES.keys(), "negative", "slightly negative"])
@pytest.mark.parametrize("kind", ["open", "close", "reset", "wait", "ready", "deadline", "poll"])
def test_bad_first_sent_ago(c, unchanged, kind, time):
    bad = duration_pb2.Duration(seconds=time[0], nanos=time[1])
    stub, name = c.stub, unchanged
    call_limit = {"timeout": CALL_LIMIT_S}
    with refused(INVALID, "BAD_TIME", "first_sent_ago"):
        {"open": lambda: stub.OpenPollDescriptor(
            pb.OpenPollDescriptorRequest(name=name, first_sent_ago=bad), **call_limit),
         "close": lambda: stub.ClosePollDescriptor(
             pb.ClosePollDescriptorRequest(name=name, first_sent_ago=bad), **call_limit),
         "reset": lambda: c.reset(name, first_sent_ago=bad),
         "wait": lambda: c.wait(name, 0, first_sent_ago=bad),
         "ready": lambda: c.ready(name, first_sent_ago=bad),
         "deadline": lambda: c.deadline(name, 5, first_sent_ago=bad),
         "poll": lambda: c.poll([name], timeout=0, first_sent_ago=bad)}[kind]()


@pytest.mark.parametrize("time", [*TIMES.values(), (-1, 0)], ids=[*TIMES.keys(), "negative"])
@pytest.mark.parametrize("kind", OPENING_CALLS)
def test_bad_idle_ttls(c, name, kind, time):
    bad = duration_pb2.Duration(seconds=time[0], nanos=time[1])
    with refused(INVALID, "BAD_TIME", f"{options_field(kind)}.idle_ttl"):
        call_opening(c, kind, name, idle_ttl=bad)
    assert not c.is_open(name)


BAD_LABELS = {
    "17 of them": {f"k{i}": "" for i in range(17)},
    "key of 64 bytes": {"k" * 64: ""},
    "key of 64 bytes in 32 characters": {"é" * 32: ""},
    "value of 257 bytes": {"k": "v" * 257},
    "empty key": {"": "v"},
    "control character in a key": {"k\n": "v"},
    "control character in a value": {"k": "v\0"},
}


@pytest.mark.parametrize("labels", BAD_LABELS.values(), ids=BAD_LABELS.keys())
@pytest.mark.parametrize("kind", OPENING_CALLS)
def test_bad_labels(c, name, kind, labels):
    with refused(INVALID, "BAD_LABELS", f"{options_field(kind)}.labels"):
        call_opening(c, kind, name, labels=labels)
    assert not c.is_open(name)


@pytest.mark.parametrize("labels", BAD_LABELS.values(), ids=BAD_LABELS.keys())
def test_bad_labels_to_list_by(c, labels):
    with refused(INVALID, "BAD_LABELS", "labels"):
        c.list(labels=labels)


def test_labels_at_their_limits(c, name):
    labels = {f"{i:02}" + "k" * 61: "v" * 256 for i in range(16)}
    assert dict(c.open(name, labels=labels).poll_descriptor.labels) == labels
    assert dict(c.get(name).labels) == labels
    assert [one.name for one in c.list(labels=labels).poll_descriptors] == [name]


@pytest.mark.parametrize("kind", OPENING_CALLS)
def test_ephemeral_outside_a_session(c, name, kind):
    with refused(INVALID, "BAD_OPTIONS", f"{options_field(kind)}.ephemeral"):
        call_opening(c, kind, name, ephemeral=True)
    assert not c.is_open(name)


def signal_of(size):
    """A signal whose encoding is so long."""
    signal = pb.Signal(content_type="x/y", failure=pb.Signal.Failure(code=1),
                       attributes={"k": "v"}, data=bytes(size - 40))
    signal.data += bytes(size - signal.ByteSize())
    assert signal.ByteSize() == size
    return signal


@pytest.mark.parametrize("over", [1, 100_000])
def test_a_payload_over_the_limit(c, unchanged, over):
    with refused(INVALID, "PAYLOAD_TOO_LARGE", "signal"):
        c.ready(unchanged, signal=signal_of(65536 + over))


def test_a_payload_over_the_limit_opens_nothing(c, name):
    with refused(INVALID, "PAYLOAD_TOO_LARGE", "signal"):
        c.ready(name, signal=signal_of(65537), open_if_missing=options())
    assert not c.is_open(name)


@pytest.mark.parametrize("size", [65535, 65536])
def test_a_payload_at_the_limit(c, name, size):
    c.open(name)
    signal = signal_of(size)
    assert c.ready(name, signal=signal).effect == REMEMBERED
    assert c.side(name).payload_bytes == size
    assert c.wait(name).signal == signal


def test_a_poll_of_at_most_1000_targets(c, name):
    targets = [f"{name}/{i}" for i in range(1000)]
    answer = c.poll(targets, timeout=0, need=1000, open_if_missing=options())
    assert answer.outcome == pb.OUTCOME_TIMED_OUT
    with refused(INVALID, "BAD_POLL", "targets"):
        c.poll([*targets, f"{name}/more"], timeout=0, open_if_missing=options())
    assert not c.is_open(f"{name}/more")
    for call_ in [c.start_close(one) for one in targets]:
        call_.result()


@pytest.mark.parametrize("token", ["nowhere", "AAAA", "\u00e9", "0", "x" * 2000])
def test_page_tokens_from_nowhere(c, token):
    with refused(INVALID, "BAD_PAGE_TOKEN", "page_token"):
        c.list(page_token=token)


def test_a_page_token_that_was_changed(c, name):
    for i in range(3):
        c.open(f"{name}/{i}")
    token = c.list(prefix=name, page_size=1).next_page_token
    for wrong in (token[:-1], token + "A", token[1:]):
        with refused(INVALID, "BAD_PAGE_TOKEN", "page_token"):
            c.list(prefix=name, page_size=1, page_token=wrong)
    assert len(c.list(prefix=name, page_size=1, page_token=token).poll_descriptors) == 1


def test_a_negative_page_size(c):
    with refused(INVALID, None, "page_size"):
        c.list(page_size=-1)


def test_an_unknown_method(c):
    with pytest.raises(grpc.RpcError) as caught:
        c.channel.unary_unary("/waitd.v1.WaitService/NoSuch")(b"", timeout=CALL_LIMIT_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_refused_calls_leave_the_server_well(c, name):
    """After all of these, a plain wait and Ready do as ever."""
    c.open(name)
    c.deadline(name, at=timestamp(4_000_000_000))
    c.deadline(name, CLEAR)
    wait = c.park(name)
    c.ready(name, b"well")
    assert wait.result().signal.data == b"well"
    assert c.side(name).state != HELD
