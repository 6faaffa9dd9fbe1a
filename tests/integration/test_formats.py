"""Stores of earlier formats: what they hold is there. And no store is opened by too old a waitd.

format1.tar.xz was made by a waitd that wrote format 1, and format1.json says what it put there; see
stores/make_format1.py.
"""

import json
import pathlib
import re
import subprocess
import tarfile
import time

import grpc
import pytest
from google.protobuf import json_format

from conftest import BIN, pb, refusal, until
from credentials import token_line
from durable import check, end, names, on, seconds
from test_store import marker, refuses

STORES = pathlib.Path(__file__).parent / "stores"
FORMAT1 = json.loads((STORES / "format1.json").read_text(encoding="utf-8"))
FORMAT = 2  # what a waitd of now writes

# What is to come lies a century ahead there.
FLAGS = ("--retention=876000h", "--linger=876000h", "--max-ack-timeout=inf", "--default-idle-ttl=0")
CLOCKS_APART_NS = 1_000_000


def generation_of(name):
    """Which life of the name is open in the store."""
    return int(FORMAT1["descriptors"][name]["generation"])


def request_of(one):
    request = json_format.ParseDict(one["request"], getattr(pb, f"{one['method']}Request")())
    if one["method"] == "Ack" and not request.generation:  # which format 1 did not need
        request.generation = generation_of(request.name)
    return request


def answer_of(one):
    return json_format.ParseDict(one["answer"], getattr(pb, f"{one['method']}Response")())


def repeat(server, one, **changed):
    """A later attempt of a call that was first sent when the store was made."""
    request = request_of(one)
    sent = changed.pop("sent", one["sent"])
    request.first_sent_ago.CopyFrom(seconds(time.time() - sent))
    for field, value in changed.items():
        setattr(request, field, value)
    metadata = (("authorization", f"Bearer {one['caller']}"),) if "caller" in one else None
    return getattr(server.stub, one["method"])(request, timeout=30, metadata=metadata)


def ack(server, one):
    """The reason why an Ack is refused, or an empty one."""
    request = request_of(one)
    try:
        server.stub.Ack(request, timeout=30)
    except grpc.RpcError as error:
        return refusal(lambda: (_ for _ in ()).throw(error))[1]
    return ""


def of(found, key="caller"):
    """Those of no caller, for most tests let in whoever comes."""
    return [one for one in FORMAT1[found] if key not in one]


def label(one):
    request = one.get("request", one)
    words = [one.get("method"), request.get("name"), request.get("mode"),
             request.get("wait_id") or request.get("request_id")]
    return " ".join(str(word) for word in words if word)[:80]


def without_remaining(message):
    """Takes what is left of deadlines out of a message; in nanoseconds, in order."""
    found = []
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.label == field.LABEL_REPEATED else [value]:
            if field.name == "remaining":
                found.append(each.ToNanoseconds())
            else:
                found += without_remaining(each)
    if "remaining" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("remaining")
    return found


def assert_same_answer(answer, wanted, one):
    left, wanted_left = without_remaining(answer), without_remaining(wanted)
    assert answer == wanted, label(one)
    assert left == pytest.approx(wanted_left, rel=0, abs=CLOCKS_APART_NS), label(one)


@pytest.fixture(name="data")
def _data(tmp_path):
    """A copy of the store as it was left."""
    data = tmp_path / "format1"
    data.mkdir(mode=0o700)
    with tarfile.open(STORES / "format1.tar.xz") as tar:
        tar.extractall(data)
    return data


def opens(waitd, data):
    """A waitd on it, after what was due when it was opened."""
    server = waitd(*on(data, *FLAGS))
    until(lambda: server.get("due/hand-off").read.returned == 1)
    return server


@pytest.fixture(name="opened", params=["once", "twice"])
def _opened(request, waitd, data):
    """A waitd on it; twice: on what another one, which was killed, has made of it."""
    if request.param == "twice":
        end(waitd(*on(data, *FLAGS)), -9, 9)
    return opens(waitd, data)


# What was there is there


def test_it_is_said_to_be_good(data):
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    code, said = check(data)
    rows = len(FORMAT1["descriptors"]) + 1  # the ephemeral one goes when a server starts
    assert code == 0 and f"good: {rows} descriptors" in said, said
    after = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {"LOCK", "LOG"}


def test_each_name_is_what_it_was(opened):
    wanted = {name: json_format.ParseDict(each, pb.PollDescriptor())
              for name, each in FORMAT1["descriptors"].items()}
    found = names(opened)
    assert found.keys() == wanted.keys()
    assert not found.keys() & set(FORMAT1["gone"])
    for name, each in wanted.items():
        without_remaining(found[name])
        assert found[name] == each, name
        assert opened.get(name).generation == each.generation
    assert found["deadline/armed"].read.HasField("deadline")
    assert found["due/deadline"].read.deadline.expired


def test_a_deadline_is_where_it_was(opened):
    for name, side in (("deadline/armed", "read"), ("deadline/armed", "write"),
                       ("id/deadline", "write")):
        shown = getattr(opened.get(name), side).deadline
        due = shown.at.ToNanoseconds()
        assert due - time.time_ns() == pytest.approx(shown.remaining.ToNanoseconds(), abs=5e9)
    for name in ("deadline/expired", "due/deadline", "id/deadline"):
        answer = opened.stub.Wait(pb.WaitRequest(name=name), timeout=30)
        assert answer.timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE


def test_an_expired_side_keeps_its_ready(opened):
    wait = pb.WaitRequest(name="deadline/expired", mode=pb.MODE_WRITE)
    assert opened.stub.Wait(wait, timeout=30).outcome == pb.OUTCOME_TIMED_OUT
    wait.ignore_deadline = True
    assert opened.stub.Wait(wait, timeout=30).signal.data == b"late"


def test_what_stands_at_a_name_comes_in_its_order(opened):
    """What came back stands first, with the number of its attempt."""
    last = {}
    for one in of("repeats"):
        if one["method"] == "Wait":
            answer, mode = answer_of(one), request_of(one).mode or pb.MODE_READ
            key = answer.generation, mode
            last[key] = max(last.get(key, 0), answer.delivery)
    for one in FORMAT1["takes"]:
        before = opened.get(one["name"])
        delivery = last.get((before.generation, one["mode"]), 0)
        latch = before.kind == pb.KIND_LATCH
        wait = pb.WaitRequest(name=one["name"], mode=one["mode"], timeout=seconds(0),
                              ignore_deadline=True)
        for wanted in one["answers"]:
            answer = opened.stub.Wait(wait, timeout=30)
            assert answer.outcome == pb.OUTCOME_READY, one["name"]
            assert answer.signal == json_format.ParseDict(wanted["signal"], pb.Signal()), one
            assert (answer.attempt, answer.coalesced) == (wanted["attempt"], wanted["coalesced"])
            assert answer.generation == before.generation
            # By it what the caller does next is fenced: it never comes twice.
            assert answer.delivery == delivery if latch else answer.delivery > delivery, one
            delivery = answer.delivery
            made = FORMAT1["made"] * 1e9
            assert made - 1e9 < answer.ready_time.ToNanoseconds() < made + 120e9
        again = opened.stub.Wait(wait, timeout=30)
        assert (again.outcome == pb.OUTCOME_READY) == latch, one["name"]


def test_a_latch_is_open_for_everybody(opened):
    answers = [opened.stub.Wait(pb.WaitRequest(name="latch/open"), timeout=30) for _ in range(2)]
    assert answers[0] == answers[1]
    wait = pb.WaitRequest(name="latch/reset", timeout=seconds(0))
    assert opened.stub.Wait(wait, timeout=30).outcome == pb.OUTCOME_TIMED_OUT


def test_nobody_waits_any_more(opened):
    """Not those that were parked: their clients come again."""
    assert not [name for name, each in names(opened).items()
                if each.read.waiters or each.write.waiters]
    answer = opened.stub.Ready(pb.ReadyRequest(name="parked"), timeout=30)
    assert answer.effect == pb.READY_EFFECT_REMEMBERED


def test_no_generation_comes_again(opened):
    answer = opened.stub.OpenPollDescriptor(
        pb.OpenPollDescriptorRequest(name="new", options=pb.OpenOptions()), timeout=30)
    assert answer.poll_descriptor.generation > int(FORMAT1["generation"])


# Calls that are repeated


def test_a_repeated_call_gets_the_same_answer(opened):
    before = names(opened)
    for _ in range(2):
        for one in of("repeats"):
            assert_same_answer(repeat(opened, one), answer_of(one), one)
    after = names(opened)
    assert after.keys() == before.keys()
    for name, each in after.items():
        without_remaining(each)
        without_remaining(before[name])
        assert each == before[name], "a repeated call changed it"


def test_a_repeated_call_is_refused_as_it_was(opened):
    for one in of("refused"):
        assert refusal(lambda one=one: repeat(opened, one))[1] == one["reason"], label(one)
    for one in of("reused"):
        assert refusal(lambda one=one: repeat(opened, one))[1] == "ID_REUSED", label(one)


def test_callers_are_told_apart(waitd, data, tmp_path):
    callers = sorted({one["caller"] for one in FORMAT1["repeats"] if "caller" in one})
    assert len(callers) == 2
    (tmp_path / "tokens").write_text("".join(token_line(caller, caller) for caller in callers))
    (tmp_path / "acl").write_text("".join(
        f"{caller} * wait,ready,deadline,open,list\n" for caller in callers))
    server = waitd(*on(data, *FLAGS, "--auth=token", f"--token-file={tmp_path}/tokens",
                       f"--acl-file={tmp_path}/acl"))
    ours = [one for one in FORMAT1["repeats"] if "caller" in one]
    assert len(ours) > len(callers)
    for one in ours:
        assert_same_answer(repeat(server, one), answer_of(one), one)
    for one in FORMAT1["acks"]:
        if "caller" in one:
            metadata = (("authorization", f"Bearer {one['caller']}"),)
            for _ in range(2):
                server.stub.Ack(request_of(one), timeout=30, metadata=metadata)


def test_what_was_forgotten_early_is_not_carried_out_again(opened):
    """Nor is what may have been; in the shard of another name nothing was."""
    one = FORMAT1["forgotten"]
    unknown = {"request_id": "never seen"}
    for changed in ({}, unknown):
        assert refusal(lambda changed=changed: repeat(opened, one, **changed))[:2] == (
            grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN")
    assert repeat(opened, one, sent=one["sent"] + 10, **unknown).effect == (
        pb.READY_EFFECT_COALESCED)
    elsewhere = {"name": one["unmoved"], **unknown}
    # From before there was a store.
    assert refusal(lambda: repeat(opened, one, sent=FORMAT1["made"] - 60, **elsewhere))[1] == (
        "OUTCOME_UNKNOWN")
    assert repeat(opened, one, **elsewhere).effect == pb.READY_EFFECT_REMEMBERED


# What was handed over


def test_an_ack_is_answered_as_it_was(opened):
    """A pending hand-off is acknowledged, and stays so."""
    acks = of("acks")
    wanted = {label(one): one["reason"] for one in acks}
    assert set(wanted.values()) == {"", "STALE_DELIVERY"}
    for _ in range(2):
        assert {label(one): ack(opened, one) for one in acks} == wanted
    pending = [name for name, each in names(opened).items()
               if each.read.unacked or each.write.unacked]
    assert pending == ["callers"]
    # An acknowledged READY is its wait's for good.
    for one in of("repeats"):
        if one["method"] in ("Wait", "Poll"):
            assert_same_answer(repeat(opened, one), answer_of(one), one)
    assert opened.get("hand-off/again").read.returned == 0


def test_acks_outlive_the_next_crash(waitd, data):
    acks = of("acks")
    server = opens(waitd, data)
    said = [ack(server, one) for one in acks]
    end(server, -9, 9)
    server = waitd(*on(data, *FLAGS))
    assert [ack(server, one) for one in acks] == said == [one["reason"] for one in acks]


def test_an_ack_of_what_is_not_known_is_refused(opened):
    for name, wait_id, delivery in (("hand-off/closed", "w", 1), ("hand-off/read/acked", "x", 1),
                                    ("hand-off/read/acked", "w", 2)):
        lives = FORMAT1["descriptors"]
        request = pb.AckRequest(name=name, wait_id=wait_id, delivery=delivery,
                                generation=generation_of(name) if name in lives else 1)
        assert refusal(lambda request=request: opened.stub.Ack(request))[1] == "OUTCOME_UNKNOWN"


def test_a_kept_ready_is_there_for_its_id(opened):
    assert {one["method"] for one in FORMAT1["kept"]} == {"Wait", "Poll"}
    for one in FORMAT1["kept"]:
        assert not [target for target in one["targets"]
                    if opened.get(target["name"]).read.state != pb.SEMAPHORE_STATE_NIL]
        first = repeat(opened, one)
        assert first.outcome == pb.OUTCOME_READY
        answers = [first] if one["method"] == "Wait" else [
            each.response for each in first.results]
        for answer, target in zip(answers, one["targets"], strict=True):
            assert answer.signal == json_format.ParseDict(target["signal"], pb.Signal())
            assert (answer.delivery, answer.attempt) == (1, 1)
            assert answer.generation == opened.get(target["name"]).generation
        assert repeat(opened, one) == first, "while it is remembered it is the same"


def test_a_kept_ready_that_nobody_comes_for_goes_back(waitd, data):
    server = waitd(*on(data, *FLAGS[:1], "--linger=100ms"))
    for one in FORMAT1["kept"]:
        for target in one["targets"]:
            name = target["name"]
            until(lambda name=name: server.get(name).read.state == pb.SEMAPHORE_STATE_READY)
    end(server, -9, 9)
    server = waitd(*on(data, *FLAGS))
    for one in FORMAT1["kept"]:
        for target in one["targets"]:
            wait = pb.WaitRequest(name=target["name"], timeout=seconds(0))
            answer = server.stub.Wait(wait, timeout=30)
            assert answer.signal == json_format.ParseDict(target["signal"], pb.Signal())
            assert server.stub.Wait(wait, timeout=30).outcome == pb.OUTCOME_TIMED_OUT


# What is new in format 2


@pytest.mark.parametrize("one", FORMAT1["max_wait"], ids=label)
def test_what_max_wait_ended_waits_anew(opened, one):
    """Nothing was decided then, which format 1 took for an outcome, and remembered."""
    request = request_of(one)
    waited = [request.name] if one["method"] == "Wait" else [each.name for each in request.targets]
    for name in waited:
        opened.stub.Ready(pb.ReadyRequest(name=name, signal=pb.Signal(data=b"now")), timeout=30)
    answer = getattr(opened.stub, one["method"])(request, timeout=30)
    assert (answer.outcome, answer.timeout_cause) == (
        pb.OUTCOME_READY, pb.TIMEOUT_CAUSE_UNSPECIFIED)


def format_of_the_rows(data):
    """What the database says last, as far as its logs tell."""
    logs = sorted((data / "rocksdb").glob("*.log"))
    said = re.findall(rb"\x07mformat\x09\n\x05waitd\x10(.)",
                      b"".join(log.read_bytes() for log in logs), re.DOTALL)
    return said[-1][0] if said else None


def format_of_the_marker(data):
    return int(re.match(r"waitd store, format (\d+), ready\n", marker(data).read_text())[1])


def say(data, number):
    """The marker says that number."""
    text = marker(data).read_text()
    marker(data).write_text(re.sub(r"format \d+", f"format {number}", text, count=1))


def test_an_older_store_becomes_one_of_this_format(waitd, data):
    assert format_of_the_marker(data) == 1
    server = waitd(*on(data, *FLAGS))
    assert format_of_the_marker(data) == FORMAT
    assert format_of_the_rows(data) in (FORMAT, None), "None: it is in a table by now"
    assert "an older waitd does not read it any more" in server.log.read_text()
    end(server)
    assert check(data)[0] == 0


@pytest.mark.parametrize("said", [1, FORMAT])
@pytest.mark.parametrize("rows", ["before", "after"])
def test_a_start_that_ended_between_marker_and_rows(waitd, data, said, rows):
    """The two are written one after the other, and a crash in between leaves them apart."""
    if rows == "after":
        end(waitd(*on(data, *FLAGS)), -9, 9)
    say(data, said)
    server = waitd(*on(data, *FLAGS))
    assert format_of_the_marker(data) == FORMAT
    for one in of("repeats"):
        assert_same_answer(repeat(server, one), answer_of(one), one)


def test_a_start_that_is_killed_does_no_harm(waitd, data, tmp_path):
    """At whatever moment: while the rows become new ones, too."""
    for pause_s in (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05):
        with subprocess.Popen([BIN / "waitd", f"--listen-address=unix:{tmp_path}/s",
                               "--metrics-address=127.0.0.1:0", *on(data, *FLAGS)],
                              stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(timeout=pause_s)
            except subprocess.TimeoutExpired:
                process.kill()
    server = opens(waitd, data)
    assert names(server).keys() == FORMAT1["descriptors"].keys()
    for one in of("repeats"):
        assert_same_answer(repeat(server, one), answer_of(one), one)
    for one in of("acks"):
        assert ack(server, one) == one["reason"], label(one)


# And none is opened by a waitd that is too old


def newest(waitd, tmp_path):
    """A store of the format of now, and which one that is."""
    data = tmp_path / "newest"
    end(waitd(*on(data)))
    return data, format_of_the_marker(data)


def test_a_newer_format_is_refused_with_the_reason(waitd, tmp_path):
    data, known = newest(waitd, tmp_path)
    say(data, known + 1)
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    line = refuses(data)
    assert f"format {known + 1} and this waitd knows {known} " in line and "newer waitd" in line
    code, said = check(data)
    assert code == 2 and f"format {known + 1}" in said
    assert {path: path.read_bytes() for path in before} == before
    say(data, known)
    end(waitd(*on(data)))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_newer_rows_are_refused_whatever_the_marker_says(waitd, tmp_path):
    """As a store is left by a newer waitd that was killed before it wrote the marker."""
    data, known = newest(waitd, tmp_path)
    log = next(path for path in sorted((data / "rocksdb").glob("*.log"))
               if b"mformat" in path.read_bytes())
    content = bytearray(log.read_bytes())
    said = b"\x07mformat\x09\n\x05waitd\x10"
    # A record has a checksum (4 bytes), a length (2), a type (1), and what it holds.
    begin, finish = 0, 0
    while said not in content[begin:finish]:
        begin = finish
        finish += 7 + int.from_bytes(content[begin + 4:begin + 6], "little")
    content[content.index(said, begin) + len(said)] = known + 1
    crc = crc32c(content[begin + 6:finish])
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    content[begin:begin + 4] = masked.to_bytes(4, "little")
    log.write_bytes(content)
    line = refuses(data)
    assert f"format {known + 1} and this waitd knows {known} " in line and "newer waitd" in line
    assert format_of_the_marker(data) == known


def test_a_refusal_says_that_the_way_back_is_a_backup(waitd, tmp_path):
    data, known = newest(waitd, tmp_path)
    say(data, known + 1)
    assert "backup" in refuses(data)
