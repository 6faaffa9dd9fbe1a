"""The data directory: its backups, what is wrong with it, and who is told so in which words."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request

import grpc
import pytest

from conftest import BIN, admin_pb2, pb, refusal, until
from durable import (
    LATCH, WRONG_USE, check, end, health, names, on, ready, reason_of, seconds)

INVALID, EXISTS, PRECONDITION, EXHAUSTED = (
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED)


def backup(server, name=""):
    return server.admin.Backup(admin_pb2.BackupRequest(name=name), timeout=60)


def waitctl(server, *words, code=0):
    done = subprocess.run([BIN / "waitctl", "--server", server.address, *words],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done
    return done


@pytest.fixture
def store(waitd, tmp_path):
    """A waitd with a store and a place for backups."""
    return waitd(*on(tmp_path / "data", f"--backup-dir={tmp_path}/backups/here"))


def fill(server):
    """Something of everything that a store keeps."""
    stub = server.stub
    ready(server, "ready", b"data")
    stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name="open", options=pb.OpenOptions(
        kind=pb.KIND_FIFO, labels={"team": "web"}, idle_ttl=seconds(3600))))
    stub.SetDeadline(pb.SetDeadlineRequest(name="armed", timeout=seconds(3600), mode=pb.MODE_WRITE,
                                           open_if_missing=LATCH))
    stub.SetDeadline(pb.SetDeadlineRequest(name="expired", timeout=seconds(0),
                                           open_if_missing=LATCH))
    exclusive = pb.OpenOptions(kind=pb.KIND_EXCLUSIVE)
    stub.Ready(pb.ReadyRequest(name="taken", signal=pb.Signal(data=b"once"),
                               open_if_missing=exclusive))
    assert stub.Wait(pb.WaitRequest(name="taken", wait_id="mine")).signal.data == b"once"
    stub.Ready(pb.ReadyRequest(name="closed", open_if_missing=exclusive))
    assert stub.Wait(pb.WaitRequest(name="closed", wait_id="last")).outcome == pb.OUTCOME_READY
    stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="closed"))
    return shown(server)


def shown(server):
    """All descriptors, without what goes with the time of looking; and their deadlines, in ns."""
    found, deadlines = names(server), {}
    for name, each in found.items():
        for side in (each.read, each.write):
            deadlines.setdefault(name, []).append(side.deadline.at.ToNanoseconds())
            side.deadline.ClearField("at")
            side.deadline.ClearField("remaining")
    return found, deadlines


def assert_same(server, before):
    found, deadlines = shown(server)
    assert found == before[0] and deadlines.keys() == before[1].keys()
    # A restart brings the clocks together anew, as well as they can be read.
    for name, each in deadlines.items():
        assert each == pytest.approx(before[1][name], rel=0, abs=1_000_000), name
    answers = [server.stub.Wait(pb.WaitRequest(
        name=name, wait_id=wait_id, first_sent_ago=seconds(0.01)))
        for name, wait_id in (("taken", "mine"), ("closed", "last"))]
    assert [each.outcome for each in answers] == [pb.OUTCOME_READY] * 2
    assert answers[0].signal.data == b"once"
    taken = server.stub.Wait(pb.WaitRequest(name="ready", timeout=seconds(0)))
    assert (taken.outcome, taken.signal.data) == (pb.OUTCOME_READY, b"data")
    assert server.stub.Wait(pb.WaitRequest(name="expired")).outcome == pb.OUTCOME_TIMED_OUT


def test_a_backup_is_served_like_the_store(waitd, store, tmp_path):
    before = fill(store)
    made = backup(store, "copy")
    assert (made.name, made.path) == ("copy", f"{tmp_path}/backups/here/copy")
    on_disk = sum(each.stat().st_size for each in pathlib.Path(made.path).rglob("*")
                  if each.is_file())
    assert made.bytes == on_disk > 0 and made.took.ToNanoseconds() > 0
    assert pathlib.Path(made.path).stat().st_mode & 0o777 == 0o700
    ready(store, "later")
    # Beside the store that it was made of, and after it.
    copy = waitd(*on(made.path))
    assert_same(copy, before)
    end(copy)
    for of_copy, of_store in zip(before, shown(store)):
        of_copy["later"] = of_store["later"]
    assert_same(store, before)
    end(store)
    assert_same(waitd(*on(tmp_path / "data")), before)
    assert check(made.path)[0] == 0


def test_a_backup_under_load_has_all_that_was_answered_before(waitd, store):
    answered, done = [0] * 4, threading.Event()

    def signal(client):
        while not done.is_set():
            ready(store, f"{client}/{answered[client]}", b"x" * 2000)
            answered[client] += 1

    backups = []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        clients = [pool.submit(signal, client) for client in range(4)]
        try:
            for _ in range(4):
                until(lambda: min(answered) > 50 * (len(backups) + 1), 60)
                before = list(answered)
                backups.append((before, backup(store).path))
        finally:
            done.set()
        for each in clients:
            each.result()
    for before, path in backups:
        code, said = check(path)
        assert code == 0 and "good" in said
        copy = waitd(*on(path))
        found = names(copy)
        for client, count in enumerate(before):
            mine = [f"{client}/{i}" for i in range(count)]
            assert all(found[each].read.state == pb.SEMAPHORE_STATE_READY for each in mine)
            # What was answered meanwhile is there without gaps: one client waits for each answer.
            more = sum(each.startswith(f"{client}/") for each in found)
            assert all(f"{client}/{i}" in found for i in range(more))
        end(copy)
    assert len({path for _, path in backups}) == len(backups)


def test_backups_that_come_together_are_made_one_at_a_time(store, tmp_path):
    refused = []

    def some_refused():
        calls = [store.admin.Backup.future(admin_pb2.BackupRequest(), timeout=60)
                 for _ in range(8)]
        codes = [call.code() for call in calls]
        assert grpc.StatusCode.OK in codes
        refused.extend(call for call in calls if call.code() != grpc.StatusCode.OK)
        assert all(reason_of(call) == (EXHAUSTED, "LIMIT_BACKUPS") for call in refused)
        made.extend(call.result().path for call in calls if call not in refused)
        return refused

    made = []
    until(some_refused, 60)
    assert sorted(made) == sorted(map(str, (tmp_path / "backups/here").iterdir()))
    with urllib.request.urlopen(f"http://{store.metrics}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    for count, code in ((len(made), "OK"), (len(refused), "ResourceExhausted")):
        assert re.search(rf'grpc_server_handled_total{{[^}}]*grpc_method="Backup",'
                         rf'grpc_code="{code}"}} {count}\n', metrics)
    assert f'waitd_refusals_total{{reason="LIMIT_BACKUPS"}} {len(refused)}\n' in metrics


@pytest.mark.parametrize("name", [
    "/", "a/b", "/etc", "..", ".", "a\nb", "\x7f", "x" * 129, "../data"])
def test_a_backup_with_a_bad_name_is_refused(store, tmp_path, name):
    assert refusal(lambda: backup(store, name)) == (INVALID, "BAD_NAME", "name")
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("name", ["x", "x" * 128, "-", "a b", "...", "grün"])
def test_other_names_are_good(store, tmp_path, name):
    assert backup(store, name).path == f"{tmp_path}/backups/here/{name}"


def test_a_backup_goes_nowhere_where_something_is(store, tmp_path):
    place = tmp_path / "backups/here"
    place.mkdir(parents=True)
    (place / "file").write_text("mine")
    (place / "folder").mkdir()
    (place / "link").symlink_to("nowhere")
    for each in ("file", "folder", "link"):
        assert refusal(lambda each=each: backup(store, each)) == (EXISTS, "EXISTS", "name")
    assert (place / "file").read_text() == "mine" and not list((place / "folder").iterdir())


def test_backups_of_one_second_get_numbers(store):
    made = [backup(store).name for _ in range(5)]
    assert len(set(made)) == 5
    assert all(re.fullmatch(r"\d{8}T\d{6}Z(-\d+)?", each) for each in made)
    named = time.strptime(made[0], "%Y%m%dT%H%M%SZ")
    assert abs(time.mktime(time.gmtime()) - time.mktime(named)) < 60


def test_backups_that_cannot_be_are_refused(waitd, tmp_path):
    refused = [(waitd(f"--backup-dir={tmp_path}/b"), PRECONDITION, "NO_STORE"),
               (waitd(*on(tmp_path / "a")), PRECONDITION, "NO_BACKUP_DIR"),
               (waitd(*on(tmp_path / "b", f"--backup-dir={tmp_path}/b",
                          f"--min-free-disk-bytes={2**60}")), EXHAUSTED, "LIMIT_DISK")]
    for server, code, reason in refused:
        assert refusal(lambda server=server: backup(server, "x"))[:2] == (code, reason)
    assert not (tmp_path / "b/x").exists()


def test_a_backup_that_fails_says_why_and_waitd_goes_on(waitd, tmp_path):
    (tmp_path / "file").touch()
    server = waitd(*on(tmp_path / "data", f"--backup-dir={tmp_path}/file"))
    done = waitctl(server, "backup", code=7)
    assert "--backup-dir" in done.stderr and "file" in done.stderr
    assert refusal(lambda: backup(server))[:2] == (PRECONDITION, "BACKUP_FAILED")
    # Where directories can be made, but not this one.
    server = waitd(*on(tmp_path / "other", "--backup-dir=/proc/self"))
    assert refusal(lambda: backup(server))[:2] == (PRECONDITION, "BACKUP_FAILED")
    assert health(server) and ready(server, "x").effect == pb.READY_EFFECT_REMEMBERED


def test_waitctl_backup(store, tmp_path):
    place = f"{tmp_path}/backups/here"
    assert waitctl(store, "backup", "one").stdout == f"{place}/one\n"
    shown = json.loads(waitctl(store, "backup", "two", "-o", "json").stdout)
    assert (shown["name"], shown["path"]) == ("two", f"{place}/two")
    assert int(shown["bytes"]) > 0 and shown["took"].endswith("s")
    name = waitctl(store, "backup", "-o", "name").stdout.strip()
    assert (pathlib.Path(place) / name / "waitd-store").exists()
    assert f"{place}/one" in waitctl(store, "backup", "one", code=7).stderr
    error = json.loads(waitctl(store, "backup", "..", "-o", "json", code=2).stderr)["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "BAD_NAME")
    waitctl(store, "backup", "one", "two", code=2)
    waitctl(store, "backup", "--timeout", "soon", code=2)
    assert waitctl(store, "backup", "--help").stdout.startswith("Examples:")
    end(store)
    assert "is waitd running" in waitctl(store, "backup", code=5).stderr


def test_waitctl_backup_where_there_are_none(waitd, server, tmp_path):
    assert "--store memory" in waitctl(server, "backup", code=7).stderr
    without = waitd(*on(tmp_path / "data"))
    assert "--backup-dir" in waitctl(without, "backup", code=7).stderr


# What may be wrong with a directory, and what is said of it at least: how to go on. Of some a check
# and a start speak differently.


def marker(data):
    return data / "waitd-store"


def largest(data, kind):
    return max((data / "rocksdb").glob(f"*.{kind}"), key=lambda each: each.stat().st_size)


def overwrite(path, at, count=16):
    content = bytearray(path.read_bytes())
    assert len(content) > at + count
    content[at:at + count] = bytes(byte ^ 0xFF for byte in content[at:at + count])
    path.write_bytes(content)


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def a_newer_version(data):
    known = re.search(r"format ([0-9]+)", marker(data).read_text())
    rewrite(marker(data), known[0], f"format {int(known[1]) + 1}")


def a_bad_marker(data):
    marker(data).write_text("something else\n")


def an_empty_marker(data):
    os.truncate(marker(data), 0)


def a_flipped_log(data):
    path = largest(data, "log")
    overwrite(path, path.stat().st_size // 2)


def a_flipped_table(data):
    path = largest(data, "sst")
    overwrite(path, path.stat().st_size // 3)


def a_truncated_table(data):
    path = largest(data, "sst")
    os.truncate(path, path.stat().st_size // 2)


def no_manifest(data):
    (data / "rocksdb/CURRENT").unlink()


def an_empty_database(data):
    shutil.rmtree(data / "rocksdb")
    (data / "rocksdb").mkdir()


FAULTS = [(a_newer_version, "newer waitd"), (a_bad_marker, "backup"), (an_empty_marker, "backup"),
          (a_flipped_log, "backup"), (a_flipped_table, "backup"), (a_truncated_table, "backup"),
          (no_manifest, "backup"), (an_empty_database, "backup")]


@pytest.fixture
def ended(waitd, tmp_path):
    """The directory of a waitd that has ended, with both a table and a log in it."""
    data = tmp_path / "data"
    server = waitd(*on(data, f"--backup-dir={tmp_path}"))
    for i in range(50):
        ready(server, f"first/{i}", os.urandom(1000))
    backup(server, "not-needed")  # writes what the log has to a table
    for i in range(50):
        ready(server, f"second/{i}", os.urandom(1000))
    end(server, -9, 9)
    shutil.copytree(data, tmp_path / "apart")  # the backup shares its tables with the store
    return tmp_path / "apart"


def refuses(data, *flags, binary=BIN / "waitd", before=(), **options):
    """The one line with which a waitd says why it does not start on a directory."""
    done = subprocess.run(
        [*before, binary, "--listen-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0",
         *on(data), *flags], capture_output=True, text=True, timeout=60, check=False, **options)
    assert (done.returncode, done.stdout) == (WRONG_USE, ""), done
    line = done.stderr.splitlines()[-1]
    assert line.startswith("waitd: ") and "; " in line and str(data) in line, done
    assert not [each for each in done.stderr.splitlines() if "critical" in each], done
    return line


def test_a_good_store_is_said_to_be_good(ended):
    code, said = check(ended)
    assert (code, said) == (0, f"{ended}: good: 100 descriptors, 0 ids, 0 deliveries, "
                               f"{re.search(r'([0-9]+) payloads', said)[1]} payloads\n")
    assert check(ended) == (code, said)


@pytest.mark.parametrize("fault,way_out", FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_bad_store_is_refused_and_a_check_says_so(ended, fault, way_out):
    fault(ended)
    code, said = check(ended)
    assert code == WRONG_USE and way_out in said.splitlines()[-1] and str(ended) in said, said
    assert way_out in refuses(ended)
    assert check(ended) == (code, said), "the start has changed it"


def test_a_check_of_nothing(tmp_path):
    for data in (tmp_path / "missing", tmp_path):
        code, said = check(data)
        assert code == WRONG_USE and said.count("\n") == 1 and "--data-dir" in said, said
    assert not list(tmp_path.iterdir())


def foreign(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_text("theirs")
    return tmp_path / "theirs", "theirs/file"


def a_file(tmp_path):
    (tmp_path / "file").write_text("theirs")
    return tmp_path / "file", "is a file"


@pytest.mark.parametrize("make", [foreign, a_file])
def test_what_is_not_a_store_is_refused_and_left_alone(tmp_path, make):
    data, why = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, said = check(data)
    assert code == WRONG_USE and why in said and "--data-dir" in said, said
    line = refuses(data)
    assert why in line and "--data-dir" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_that_is_in_use(store, tmp_path):
    ready(store, "x")
    line = refuses(tmp_path / "data")
    assert "in use" in line and "stop the process" in line
    code, said = check(tmp_path / "data")
    assert code == WRONG_USE and "in use" in said and "stop the process" in said
    assert "x" in names(store) and ready(store, "y")


def as_somebody_else():
    """How to run waitd as one who may not use a directory that is ours with mode 0700, or with 0 if
    that is us. Its program may lie where only we look, so it is handed over open."""
    program = os.open(BIN / "waitd", os.O_RDONLY)
    before = []
    if os.geteuid() == 0:
        before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return {"before": before, "binary": f"/proc/self/fd/{program}", "pass_fds": [program]}


@pytest.mark.parametrize("holds", ["nothing", "a store"])
def test_a_directory_without_permission(ended, holds):
    place = pathlib.Path(tempfile.mkdtemp(prefix="waitd-"))
    try:
        place.chmod(0o755)
        data = place / "data"
        if holds == "a store":
            shutil.copytree(ended, data)
        else:
            data.mkdir()
        data.chmod(0o700 if os.geteuid() == 0 else 0)
        line = refuses(data, **as_somebody_else())
        assert "no permission" in line and "the user that waitd runs as" in line
        # A place where one would be made.
        data.chmod(0o755 if os.geteuid() == 0 else 0o555)
        line = refuses(data / "new/store", **as_somebody_else())
        assert "no permission" in line or "cannot use" in line
    finally:
        data.chmod(0o700)
        shutil.rmtree(place)


def test_a_store_whose_files_may_only_be_read(ended):
    place = pathlib.Path(tempfile.mkdtemp(prefix="waitd-"))
    try:
        place.chmod(0o755)
        shutil.copytree(ended, place / "data")
        for each in (place / "data").rglob("*"):
            each.chmod(0o555 if each.is_dir() else 0o444)
        (place / "data").chmod(0o555)
        line = refuses(place / "data", **as_somebody_else())
        assert "no permission" in line and "the user that waitd runs as" in line
    finally:
        for each in (place / "data", place / "data/rocksdb"):
            each.chmod(0o700)
        shutil.rmtree(place)


def test_a_check_says_that_there_is_nothing_in_memory():
    done = subprocess.run([BIN / "waitd", "--check-store", "--store=memory"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == WRONG_USE and "--store memory" in done.stderr
