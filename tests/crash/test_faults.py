"""Disks that fail or are full, processes that are stopped, and clocks that are stepped.

Goal: an error of a write or a sync means that nothing is known: what waited for it is not answered
as done, the server says so and ends, and the next one has all that was answered. Method: the shim
fails the n-th write or sync of a short history, for each n until there is none left; the same
clients go on with the next server, and the checker judges what they were told.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

import grpc
import harness
import power
import pytest
from checker import check
from harness import CLEAR, Client, eventually, options, refused, seconds
from grpc.health.v1 import health_pb2, health_pb2_grpc
from history import FIFO, LATCH, READ, S, Op
from process import Waitd, channel_to, wall_offset_ns
from workload import Run, UnaryClient

FLAGS = ["--store=rocksdb", "--sync=always"]
EXIT_LIMIT_S = 20
NS_MAX = 400
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture
def server(tmp_path):
    """Makes servers over one directory: server(flag, ..., env=...). They are ended."""
    made = []

    def make(*flags, env=None):
        one = Waitd(tmp_path, [*FLAGS, *flags], env)
        made.append(one)
        return one
    yield make
    for one in made:
        if one.process and one.process.poll() is None:
            one.kill()


def client_of(server):
    return Client(server.address)


# The n-th write, the n-th sync


class Script:
    """A short history that uses everything once, by clients that do not give up."""

    def __init__(self, run):
        self._run, self._client = run, UnaryClient(run)

    def _do(self, what, name, mode=READ, **req):
        names = [name] if isinstance(name, str) else name
        op = self._run.begin(what, names, mode, **req)
        self._client.carry(op, f"i{op.index}")
        return op, f"i{op.index}"

    def run(self):
        do = self._do
        for name, kind in (("a", FIFO), ("b", FIFO), ("l", LATCH)):
            do("open", name, kind=kind)
        do("ready", "a", data="1")
        do("ready", "a", data="2")
        do("deadline", "a", timeout=3600 * S)
        do("wait", "a", timeout=0)
        do("ready", "l", data="3")
        do("wait", "l", timeout=0)
        do("ready", "b", data="4")
        op, identity = do("wait", "b", timeout=0, ack_timeout=60 * S)
        do("ack", "b", of=op.index, wait_id=identity, delivery=op.ans["delivery"],
           generation=op.ans["gen"])
        do("ready", "a", data="5")
        do("ready", "b", data="6")
        do("poll", ["a", "b"], need=2, timeout=0)
        do("deadline", "b", timeout=0)
        do("wait", "b", timeout=None)
        do("reset", "l")
        do("close", "b")
        do("get", "a")
        self._client.close()


class Healths:
    """What the server said of its health while it lived: it is asked all the time."""

    def __init__(self, address):
        self.seen, self._stop = [], threading.Event()
        self._channel = channel_to(address)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self):
        stub = health_pb2_grpc.HealthStub(self._channel)
        while not self._stop.wait(0.0005):
            begin = time.monotonic_ns()
            with contextlib.suppress(grpc.RpcError):
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
                self.seen.append((begin, answer.status))

    def end(self):
        self._stop.set()
        self._thread.join()
        self._channel.close()
        return self.seen


def survive_one_fault(tmp_path, **plan):
    """Whether the fault came: the script on a server with it, and then on one without."""
    server = Waitd(tmp_path, FLAGS, power.environment(tmp_path, **plan))
    run = Run(server.address, wall_offset_ns(), 0)
    run.objects.append(type("Names", (), {"names": {"a": FIFO, "b": FIFO, "l": LATCH}}))
    script = threading.Thread(target=Script(run).run, daemon=True)
    server.spawn()
    health = Healths(server.address)
    served = server.await_serving()
    if served:
        script.start()  # on a store that was never made nothing was asked
    alive = time.monotonic_ns()
    while script.is_alive() and server.process.poll() is None:
        alive = time.monotonic_ns()
        script.join(0.005)
    ended_by_itself = server.process.poll() is not None
    code = server.stop()  # which may write, too
    failed = power.read_state(tmp_path).failed
    said = health.end()
    if ended_by_itself:
        assert failed, f"it ended without a fault: {server.said()}"
        assert code != 0, "the supervisor is told nothing"
        assert len(server.said().splitlines()) > (3 if served else 1), "the log says nothing"
        if run.store_failed_at:
            assert not any(status == health_pb2.HealthCheckResponse.SERVING
                           for begin, status in said if begin > run.store_failed_at), said
    else:
        assert failed or code == 0, server.said()
    run.history.add(Op(kind="crash", names=[], call=alive, ret=time.monotonic_ns()))
    server.env = {}
    server.start()
    if served:
        script.join(EXIT_LIMIT_S)
        assert not script.is_alive(), "the script does not come to its end"
    run.quiesce(0)
    assert server.stop() == 0, server.said()
    wrong = check(run.history)
    assert not wrong, "\n".join(wrong)
    return failed, served and run.reasons["STORE_FAILED"] > 0


@pytest.mark.parametrize("what, error", [("write", "EIO"), ("sync", "EIO"), ("write", "ENOSPC")])
def test_every_nth_fault(tmp_path, what, error):
    """Once each: a sync that fails, and the next one succeeds, is the treacherous one."""
    told = 0
    for number in range(1, NS_MAX):
        directory = tmp_path / str(number)
        directory.mkdir()
        print(f"{what} {number}")
        failed, said_so = survive_one_fault(directory, **{what: f"{number}:{error}"})
        told += said_so
        if not failed:
            assert told >= 3, "hardly any fault came while it served"
            return
    pytest.fail("the faults never came to an end")


@pytest.mark.parametrize("what", ["write", "sync"])
def test_calls_under_way_end_with_store_failed(server, tmp_path, what):
    """A parked wait too: its client must not sit there until its connection breaks."""
    one = server(env=power.environment(tmp_path))
    one.start()
    with client_of(one) as c:
        c.open("a", kind=harness.FIFO)
    assert one.stop() == 0, one.said()
    state = power.read_state(tmp_path)
    done = state.writes if what == "write" else state.syncs
    # Counted anew in each process: far behind its start, and well before the loop's end.
    one.env = power.environment(tmp_path, **{what: f"{done + 20}:EIO:forever"})
    one.start()
    with client_of(one) as c:
        parked = c.start_wait("b", open_if_missing=options(kind=harness.FIFO), wait_id="w")
        acknowledged = 0
        with pytest.raises(grpc.RpcError) as error:
            for number in range(10_000):
                c.ready("a", b"%d" % number, request_id=f"r{number}")
                acknowledged += 1
        refusals = [harness.Refusal(error.value), harness.Refusal(parked.exception())]
    assert all(each.code == grpc.StatusCode.UNAVAILABLE for each in refusals), refusals
    assert {each.reason for each in refusals} == {"STORE_FAILED"}, refusals
    assert one.process.wait(EXIT_LIMIT_S) != 0
    one.env = {}
    one.start()
    with client_of(one) as c:
        assert c.wait("a", 0).signal.data in (b"%d" % (acknowledged - 1), b"%d" % acknowledged)


# A disk without room


class Room:
    """How much room a server's disk has: a small one of its own, or else what the shim says."""

    def __init__(self, directory):
        self.data = directory / "data"
        self.data.mkdir(exist_ok=True)
        self.mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", self.data], check=False,
            stderr=subprocess.DEVNULL).returncode == 0
        self._filler = self.data.parent / "fault-free" if not self.mounted else self.data / "fill"
        self.env = {} if self.mounted else power.environment(directory)

    def leave(self, free_bytes):
        """So much is left; None: as much as there was."""
        self._filler.unlink(missing_ok=True)
        if free_bytes is None:
            return
        if self.mounted:
            now = os.statvfs(self.data)
            with open(self._filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, now.f_bavail * now.f_frsize - free_bytes)
        else:
            self._filler.write_text(str(free_bytes))

    def end(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.data], check=True)


@pytest.fixture
def room(tmp_path):
    one = Room(tmp_path)
    yield one
    one.end()


def test_a_start_on_a_full_disk_ends_and_the_next_one_has_all(server, room):
    one = server(env=room.env)
    one.start()
    with client_of(one) as c:
        c.open("a")
        c.ready("a", b"x")
    one.kill()
    room.leave(1 << 20)
    one.spawn()
    assert one.process.wait(EXIT_LIMIT_S) == 74
    assert "make room there" in one.said()
    room.leave(None)
    one.start()
    with client_of(one) as c:
        assert c.wait("a", 0).signal.data == b"x"


def test_a_full_disk_refuses_what_is_new_and_goes_on(server, room):
    one = server(env=room.env)
    one.start()
    with client_of(one) as c:
        c.open("a", kind=harness.FIFO)
        c.open("b", kind=harness.FIFO)
        c.ready("b", b"x")
        parked = c.park("a")
        room.leave(16 << 20)  # under --min-free-disk-bytes

        def is_refused():
            try:
                c.ready("b", b"y")
            except grpc.RpcError as error:
                harness.check_refusal(error, grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_DISK")
                return True
            return False
        eventually(is_refused, "it sees that its disk is full")
        for _ in range(20):
            with refused("RESOURCE_EXHAUSTED", "LIMIT_DISK"):
                c.open("c")
        assert c.side("a").waiters == 1 and not parked.done()
        assert c.side("b").state == harness.HELD
        assert c.health() == health_pb2.HealthCheckResponse.SERVING
        room.leave(None)

        def is_taken():
            try:
                return c.ready("a", b"z")
            except grpc.RpcError as error:
                harness.check_refusal(error, grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_DISK")
                return None
        assert eventually(is_taken, "it sees that there is room again").woken == 1
        assert parked.result().signal.data == b"z"
        assert c.takes("b")
    assert one.stop() == 0, one.said()


# A process that is stopped


def test_a_stop_longer_than_every_deadline(server):
    """Everything is overdue when it goes on, and it happens in the order of the instants."""
    one = server()
    one.start()
    run = Run(one.address, wall_offset_ns(), 3)
    run.start(unary=6, sessions=1, per_session=2)
    for _ in range(2):
        run.stop.wait(0.7)
        assert not run.stop.is_set(), run.errors
        one.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        one.process.send_signal(signal.SIGCONT)
    run.stop.wait(1)
    run.finish()
    assert not run.errors, run.errors
    run.quiesce()
    assert one.stop() == 0, one.said()
    wrong = check(run.history)
    assert not wrong, "\n".join(wrong)


# Clocks


def wall(step, boot=None):
    """The environment of a server whose wall clock is so many seconds ahead. Its other clocks are
    the machine's."""
    assert FAKETIME, "libfaketime is not installed"
    env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{step:+d}s", "DONT_FAKE_MONOTONIC": "1",
           "NO_FAKE_STAT": "1"}
    if boot:
        env["LD_PRELOAD"] += f":{power.library()}"
        env["FAULT_BOOT_ID"] = str(boot)
    return env


def prepare(one):
    """Deadlines, near and far, and a hand-off."""
    one.start()
    with client_of(one) as c:
        c.open("near", kind=harness.FIFO)
        c.open("far", kind=harness.FIFO)
        c.open("acks", kind=harness.FIFO)
        c.ready("acks", b"x")
        begin = time.monotonic()
        c.wait("acks", 0, wait_id="w", ack_timeout=3)
        c.deadline("near", 4)
        c.deadline("far", 1800)
    assert one.stop() == 0, one.said()
    return begin


@pytest.mark.parametrize("step", [3600, -3600])
def test_on_the_same_boot_a_stepped_clock_moves_no_deadline(server, step):
    one = server()
    begin = prepare(one)
    one.env = wall(step)
    one.start()
    with client_of(one) as c:
        remaining = seconds(c.side("far").deadline.remaining)
        assert abs(remaining - (1800 - (time.monotonic() - begin))) < 0.5
        assert not c.side("near").deadline.expired, "too early"
        answer = c.wait("near")
        assert harness.timed_out(answer, harness.BY_DEADLINE)
        assert 4 <= time.monotonic() - begin < 6
        eventually(lambda: c.side("acks").returned == 1, "the hand-off comes back")
        assert 3 <= time.monotonic() - begin < 6
    assert one.stop() == 0, one.said()


@pytest.mark.parametrize("step", [3600, -3600])
def test_on_another_boot_the_wall_clock_counts(server, tmp_path, step):
    boot = tmp_path / "boot"
    boot.write_text("00000000-0000-4000-8000-000000000001\n")
    one = server()
    begin = prepare(one)
    one.env = wall(step, boot)
    one.start()
    with client_of(one) as c:
        deadline = c.side("far").deadline
        if step > 0:
            assert deadline.expired
            assert harness.timed_out(c.wait("far"), harness.BY_DEADLINE)
            assert c.side("near").deadline.expired
        else:
            passed = time.monotonic() - begin
            assert abs(seconds(deadline.remaining) - (1800 + 3600 - passed)) < 0.5
            assert not c.side("near").deadline.expired
        c.deadline("far", CLEAR)
    assert one.stop() == 0, one.said()
