"""A store that fails or fills up while waitd runs: what clients are told, and what is left."""

import concurrent.futures
import os
import resource
import subprocess
import urllib.request

import grpc
import pytest

from conftest import admin_pb2, pb, refusal, until
from durable import (
    LATCH, STORE_FAILED, check, end, fill_until, health, names, on, ready, reason_of, seconds,
    start_wait)

FAILED = (grpc.StatusCode.UNAVAILABLE, "STORE_FAILED")
FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_DISK")
FIFO = pb.OpenOptions(kind=pb.KIND_FIFO)


def log_bytes(data):
    return max(each.stat().st_size for each in (data / "rocksdb").glob("*.log"))


def let_no_file_grow_beyond(server, size):
    """From now on what writes beyond it gets EFBIG, and SIGXFSZ, which ends whoever minds it."""
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def let_nothing_be_written(server, data):
    """The same for the very next commit. Their log is shorter than the store's, and goes on."""
    ready(server, "first", b"x" * 30_000)
    size = log_bytes(data)
    assert server.log.stat().st_size < size - 10_000
    let_no_file_grow_beyond(server, size)


def health_changes(server):
    """Each state of the health that a client sees, to the end of its stream."""
    call = server.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
    seen = [next(call)]

    def watch():
        try:
            seen.extend(call)
        except grpc.RpcError:
            pass
        return [answer == b"\x08\x01" for answer in seen]

    return watch


def restarted(waitd, data, taken, *flags):
    """A new waitd, which has all that was answered."""
    assert check(data)[0] == 0
    server = waitd(*on(data, *flags))
    found = names(server)
    assert set(taken) <= found.keys()
    assert all(found[each].read.state == pb.SEMAPHORE_STATE_READY for each in taken)
    return server


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_a_store_that_fails_ends_all_and_loses_nothing(waitd, tmp_path, sync):
    data = tmp_path / "data"
    server = waitd(*on(data, f"--sync={sync}", f"--backup-dir={tmp_path}"))
    parked = [start_wait(server, "parked/plain"),
              start_wait(server, "parked/id", wait_id="a", timeout=seconds(3600)),
              server.stub.Poll.future(pb.PollRequest(
                  targets=[pb.PollRequest.Target(name=f"parked/{side}") for side in "xy"],
                  open_if_missing=LATCH), timeout=60)]
    for name in ("plain", "id", "x"):
        server.parked(f"parked/{name}")
    watch = health_changes(server)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        states = pool.submit(watch)
        let_no_file_grow_beyond(server, log_bytes(data) + 300_000)
        taken = fill_until(server, "taken", FAILED)
        assert 5 <= len(taken) < 15
        assert [reason_of(call) for call in parked] == [FAILED] * 3
        assert states.result(60) == [True, False]
    end(server, STORE_FAILED, None)
    assert "File too large" in server.log.read_text()
    again = restarted(waitd, data, taken)
    # Who waited comes again, with the same id.
    call = start_wait(again, "parked/id", wait_id="a", timeout=seconds(3600),
                      first_sent_ago=seconds(0.01))
    again.parked("parked/id")
    ready(again, "parked/id", b"at last")
    assert call.result().signal.data == b"at last"
    end(again)


def test_a_wake_that_cannot_be_saved_has_not_happened(waitd, tmp_path):
    data = tmp_path / "data"
    server = waitd(*on(data))
    call = start_wait(server, "name", wait_id="mine")
    server.parked("name")
    let_nothing_be_written(server, data)
    assert refusal(lambda: ready(server, "name", b"data"))[:2] == FAILED
    assert reason_of(call) == FAILED
    end(server, STORE_FAILED, None)
    # Nobody knows whether it was saved. This one was not, as nothing of it could be written.
    server = restarted(waitd, data, ["first"])
    assert server.get("name").read.state == pb.SEMAPHORE_STATE_NIL
    end(server)


def test_calls_after_a_failure_are_refused(waitd, tmp_path):
    data = tmp_path / "data"
    server = waitd(*on(data))
    let_nothing_be_written(server, data)
    first = server.stub.Ready.future(pb.ReadyRequest(name="x", open_if_missing=LATCH), timeout=60)
    behind = [server.stub.Ready.future(pb.ReadyRequest(name=f"y/{i}", open_if_missing=LATCH),
                                       timeout=60) for i in range(100)]
    assert reason_of(first) == FAILED
    # Some come when waitd is on its way out, and hear that from gRPC.
    assert {reason_of(call) for call in behind} <= {
        FAILED, (grpc.StatusCode.UNAVAILABLE, None), (grpc.StatusCode.CANCELLED, None)}
    end(server, STORE_FAILED, None)
    restarted(waitd, data, ["first"])


def test_a_failure_while_waitd_drains_is_one_as_well(waitd, tmp_path):
    data = tmp_path / "data"
    server = waitd(*on(data, "--drain-timeout=60s"))
    call = start_wait(server, "name", timeout=seconds(3600))
    server.parked("name")
    let_nothing_be_written(server, data)
    server.process.terminate()
    until(lambda: "draining" in server.log.read_text())
    assert refusal(lambda: ready(server, "name"))[:2] == FAILED
    assert reason_of(call) == FAILED
    end(server, STORE_FAILED, None)
    restarted(waitd, data, ["first"])


def effects(server):
    """Calls of each kind that would have to be stored."""
    stub = server.stub
    return [
        lambda: ready(server, "new"),
        lambda: stub.Ready(pb.ReadyRequest(name="old")),
        lambda: stub.SetDeadline(pb.SetDeadlineRequest(name="old", timeout=seconds(60))),
        lambda: stub.SetDeadline(pb.SetDeadlineRequest(
            name="new", timeout=seconds(60), open_if_missing=LATCH)),
        lambda: stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name="new")),
        lambda: start_wait(server, "new").result(),
    ]


def refuses_effects(server):
    return [refusal(effect)[:2] for effect in effects(server)] == [FULL] * len(effects(server))


def metric(server, name):
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        return next(float(line.split()[-1]) for line in answer.read().decode().splitlines()
                    if line.startswith(name))


def test_without_room_from_the_start(waitd, tmp_path):
    data = tmp_path / "data"
    before = waitd(*on(data))
    for name in ("old", "gone"):
        before.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=name, options=FIFO))
    before.stub.Ready(pb.ReadyRequest(name="handed", open_if_missing=FIFO))
    handed = before.stub.Wait(pb.WaitRequest(name="handed", wait_id="a",
                                             ack_timeout=seconds(3600)))
    end(before)
    server = waitd(*on(data, f"--min-free-disk-bytes={2**60}"))
    assert refuses_effects(server)
    assert names(server).keys() == {"old", "gone", "handed"} and server.get("old")
    assert metric(server, 'waitd_refusals_total{reason="LIMIT_DISK"}') >= 6
    server.stub.Ack(pb.AckRequest(name="handed", wait_id="a", delivery=handed.delivery,
                                  generation=handed.generation))
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="gone"))
    assert health(server) and "nearly full" in server.log.read_text()
    end(server)
    assert names(waitd(*on(data))).keys() == {"old", "handed"}


def test_room_that_is_enough_by_a_byte_and_short_by_one(disk, waitd):
    """The limit is what is free, to the block."""
    free = os.statvfs(disk.path)
    block = free.f_frsize
    server = waitd(*on(disk.path / "a", f"--min-free-disk-bytes={free.f_bavail * block - 2**20}"))
    ready(server, "x")
    end(server)
    server = waitd(*on(disk.path / "a", f"--min-free-disk-bytes={free.f_bavail * block + 1}"))
    assert refuses_effects(server)
    end(server)


class Disk:
    """A small file system of its own, seen by its mount namespace alone. Others go there by the
    link that /proc has to it, and it goes with its keeper."""

    def __init__(self, folder, size):
        mine = [] if os.geteuid() == 0 else ["--map-root-user"]
        folder.mkdir()
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", *mine, "sh", "-c",
             'mount -t tmpfs -o "size=$1,mode=0755" tmpfs "$2" && echo there && exec cat', "sh",
             str(size), folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert self.keeper.stdout.readline() == b"there\n", "no file system can be mounted"
        self.path = folder.__class__(f"/proc/{self.keeper.pid}/root{folder}")

    def free(self):
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self, leave=0):
        """Takes all room but so much, by a file of somebody else's."""
        with open(self.path / "filler", "ab", buffering=0) as file:
            while self.free() > leave:
                try:
                    file.write(b"x" * min(self.free() - leave, 2**20))
                except OSError:
                    break

    def empty(self):
        (self.path / "filler").unlink()

    def end(self):
        self.keeper.communicate()


@pytest.fixture
def disk(tmp_path):
    one = Disk(tmp_path / "disk", 64 * 2**20)
    yield one
    one.end()


def test_a_disk_that_fills_and_empties_while_waitd_runs(disk, waitd):
    data = disk.path / "data"
    server = waitd(*on(data, f"--min-free-disk-bytes={16 * 2**20}"))
    for name in ("old", "gone"):
        server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=name, options=FIFO))
    server.stub.Ready(pb.ReadyRequest(name="handed", open_if_missing=FIFO))
    handed = server.stub.Wait(pb.WaitRequest(name="handed", wait_id="a",
                                             ack_timeout=seconds(3600)))
    parked = [start_wait(server, "old", FIFO, timeout=seconds(2.5)) for _ in range(3)]
    forever = start_wait(server, "gone", FIFO)
    server.parked("old", 3)
    server.parked("gone")
    disk.fill(leave=8 * 2**20)
    until(lambda: "nearly full" in server.log.read_text())
    assert refuses_effects(server)
    assert names(server).keys() == {"old", "gone", "handed"} and health(server)
    assert [call.result().outcome for call in parked] == [pb.OUTCOME_TIMED_OUT] * 3
    server.stub.Ack(pb.AckRequest(name="handed", wait_id="a", delivery=handed.delivery,
                                  generation=handed.generation))
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="gone"))
    assert forever.result().outcome == pb.OUTCOME_CLOSED
    assert refuses_effects(server)
    disk.empty()
    until(lambda: "there is room" in server.log.read_text())
    for effect in effects(server)[:4]:
        effect()
    end(server)
    assert names(waitd(*on(data))).keys() == {"old", "new", "handed"}


def test_a_disk_that_is_full_to_the_end(disk, waitd):
    """When nobody minds how much room is left, a commit fails, and a restart has all before it."""
    data = disk.path / "data"
    server = waitd(*on(data, "--min-free-disk-bytes=0"))
    disk.fill(leave=2**20)
    taken = fill_until(server, "taken", FAILED)
    assert len(taken) > 10
    end(server, STORE_FAILED, None)
    assert "No space left" in server.log.read_text()
    disk.empty()
    server = restarted(waitd, data, taken, "--min-free-disk-bytes=0")
    ready(server, "more")
    end(server)


def test_a_backup_without_room_fails_and_leaves_nothing(disk, waitd, tmp_path):
    server = waitd(*on(tmp_path / "data", f"--backup-dir={disk.path}/backups"))
    for i in range(20):
        ready(server, f"x/{i}", os.urandom(60_000))
    disk.fill(leave=2**19)
    ask = admin_pb2.BackupRequest(name="one")
    assert refusal(lambda: server.admin.Backup(ask, timeout=60))[:2] == (
        grpc.StatusCode.FAILED_PRECONDITION, "BACKUP_FAILED")
    assert not list((disk.path / "backups").iterdir())
    ready(server, "on")
    disk.empty()
    copy = server.admin.Backup(ask, timeout=60).path
    assert names(waitd(*on(copy))).keys() == {"on", *(f"x/{i}" for i in range(20))}
