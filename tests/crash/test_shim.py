"""The shim does what it says, to a little program and to RocksDB.

Goal: a power cut that loses nothing, or loses what was synced, would make every test above it say
nothing. Method: a child under LD_PRELOAD writes, is killed, and its files are looked at.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys

import power
import pytest

# In the child: f opens a file for appending, d syncs the directory, say tells how far it came.
PRELUDE = """
import errno, os, sys, time
os.chdir(sys.argv[1])
def f(name, flags=os.O_CREAT):
    return os.open(name, os.O_WRONLY | os.O_APPEND | flags, 0o600)
def d(name="."):
    one = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(one)
    os.close(one)
def say(text):
    print(text, flush=True)
def tries(call, *arguments):
    try:
        call(*arguments)
        say("ok")
    except OSError as error:
        say(errno.errorcode[error.errno])
"""


class Child:
    """A Python program in the directory that the shim watches. It is killed at the end."""

    def __init__(self, directory, program, **plan):
        self.directory, self.data = directory, directory / "data"
        env = {**os.environ, **power.environment(directory, **plan)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{PRELUDE}\n{program}\nsay('end')\ntime.sleep(60)",
             str(self.data)], env=env, stdout=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if self.said[-1] == "end":
                break
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        assert self.said and self.said.pop() == "end", "it did not come to its end"

    def lose(self, randomness=None):
        return power.lose_unsynced(self.directory, randomness)

    def read(self, name):
        path = self.data / name
        return path.read_text() if path.exists() else None


@pytest.fixture
def run(tmp_path):
    return lambda program, **plan: Child(tmp_path, program, **plan)


def test_what_is_synced_stays_and_what_is_not_goes(run):
    child = run("""
a = f("a"); os.write(a, b"one"); os.fsync(a); d(); os.write(a, b"two")
b = f("b"); os.write(b, b"one"); os.fdatasync(b); d(); os.pwrite(b, b"two", 3)
""")
    assert child.read("a") == child.read("b") == "onetwo", "a kill alone loses nothing"
    assert child.lose() == (6, 0)
    assert child.read("a") == child.read("b") == "one"


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("old")
    child = Child(tmp_path, 'a = f("a"); os.write(a, b"new")')
    assert child.lose() == (3, 0)
    assert child.read("a") == "old"


def test_a_second_process_goes_on_where_a_power_cut_left(run):
    run('a = f("a"); os.write(a, b"one"); os.fsync(a); d(); os.write(a, b"x")').lose()
    child = run('a = f("a"); os.write(a, b"two")')
    child.lose()
    assert child.read("a") == "one"


def test_a_second_process_keeps_the_state_after_a_kill(run):
    """Killed only, the file is whole, and what was not synced is not synced now either."""
    run('a = f("a"); os.write(a, b"one"); os.fsync(a); d(); os.write(a, b"two")')
    child = run('a = f("a"); os.write(a, b"three")')
    assert child.read("a") == "onetwothree"
    child.lose()
    assert child.read("a") == "one"


def test_sync_file_range_makes_nothing_durable(run):
    child = run("""
import ctypes
a = f("a"); d(); os.write(a, b"one")
assert ctypes.CDLL(None).sync_file_range(a, ctypes.c_long(0), ctypes.c_long(3), 7) == 0
""")
    child.lose()
    assert child.read("a") == ""


@pytest.mark.parametrize("synced", [False, True])
def test_a_new_file_is_there_when_its_directory_was_synced(run, synced):
    child = run(f"""
a = f("a"); os.write(a, b"one"); os.fsync(a)
if {synced}: d()
""")
    child.lose()
    assert child.read("a") == ("one" if synced else None)


@pytest.mark.parametrize("synced", [False, True])
def test_a_rename_is_there_when_its_directory_was_synced(run, synced):
    child = run(f"""
a = f("a"); os.write(a, b"old"); os.fsync(a)
b = f("b"); os.write(b, b"new"); os.fsync(b); d()
os.rename("b", "a")
if {synced}: d()
""")
    assert child.read("a") == "new"
    child.lose()
    assert (child.read("a"), child.read("b")) == (("new", None) if synced else ("old", "new"))


@pytest.mark.parametrize("synced", [False, True])
def test_an_unlinked_file_is_gone_when_its_directory_was_synced(run, synced):
    child = run(f"""
a = f("a"); os.write(a, b"one"); os.fsync(a); d()
os.unlink("a")
if {synced}: d()
""")
    child.lose()
    assert child.read("a") == (None if synced else "one")


def test_a_sync_of_another_directory_is_none_of_this_one(run):
    child = run('os.mkdir("sub"); a = f("sub/a"); os.write(a, b"x"); os.fsync(a); d()')
    child.lose()
    assert child.read("sub/a") is None
    child = run('a = f("sub/a"); os.write(a, b"x"); os.fsync(a); d("sub")')
    child.lose()
    assert child.read("sub/a") == "x"


def test_created_written_and_replaced_in_one_go(run):
    """As CURRENT is replaced: none of it stays without a sync of the directory."""
    child = run("""
a = f("CURRENT"); os.write(a, b"1"); os.fsync(a); d()
for name in (b"2", b"3"):
    b = f("tmp"); os.write(b, name); os.fsync(b); os.close(b)
    os.rename("tmp", "CURRENT")
""")
    assert child.read("CURRENT") == "3"
    child.lose()
    assert (child.read("CURRENT"), child.read("tmp")) == ("1", None)


def test_a_truncated_file_does_not_grow_again(run):
    child = run("""
a = f("a"); os.write(a, b"onetwo"); os.fsync(a); d()
os.ftruncate(a, 3); os.write(a, b"new")
""")
    child.lose()
    assert child.read("a") == "one"


def test_some_of_what_was_not_synced_may_stay(tmp_path):
    seen = set()
    for seed in range(30):
        directory = tmp_path / str(seed)
        directory.mkdir()
        child = Child(directory, 'a = f("a"); os.write(a, b"1"); os.fsync(a); d(); '
                                 'os.write(a, b"23456")')
        child.lose(random.Random(seed))
        seen.add(child.read("a"))
    assert {"1", "123456"} <= seen and len(seen) > 2
    assert all("123456".startswith(each) and each for each in seen)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["os.write(a, b'x')", "os.pwrite(a, b'x', 0)",
                                  "os.writev(a, [b'x'])", "os.pwritev(a, [b'x'], 0)",
                                  "os.ftruncate(a, 0)", "os.posix_fallocate(a, 0, 1)"])
def test_the_nth_write_fails_once(run, call, error):
    child = run(f'a = f("a")\nfor i in range(4): tries(lambda: {call})', write=f"2:{error}")
    assert child.said == ["ok", error, "ok", "ok"]
    state = power.read_state(child.directory)
    assert (state.writes, state.failed) == (4, 1)


@pytest.mark.parametrize("call", ["os.fsync", "os.fdatasync"])
def test_the_nth_sync_fails_for_ever(run, call):
    child = run(f"""
a = f("a"); d(); os.write(a, b"one")
for i in range(4):
    tries({call}, a)
    if i == 0: os.write(a, b"two")
""", sync="3:EIO:forever")
    assert child.said == ["ok", "EIO", "EIO", "EIO"], "the directory's was the first"
    child.lose()
    assert child.read("a") == "one", "a sync that failed makes nothing durable"


def test_other_files_are_left_alone(run, tmp_path):
    child = run(f"""
tries(lambda: os.write(f("{tmp_path}/outside"), b"x"))
tries(lambda: os.write(f("LOG"), b"x"))
tries(lambda: os.write(f("a"), b"x"))
""", write="1:EIO:forever")
    assert child.said == ["ok", "ok", "EIO"]


def test_a_sync_can_be_slow(run):
    child = run("""
a = f("a"); begin = time.monotonic(); os.fsync(a); say(time.monotonic() - begin >= 0.05)
""", sync_us=50_000)
    assert child.said == ["True"]


def test_the_room_on_the_disk_is_what_a_file_says(run, tmp_path):
    child = run(f"""
free = lambda: os.statvfs(".").f_bavail * os.statvfs(".").f_frsize
real = free()
open("{tmp_path}/fault-free", "w").write(str(1 << 20))
say(free() == 1 << 20)
os.unlink("{tmp_path}/fault-free")
say(free() > 1 << 20 or real <= 1 << 20)
""")
    assert child.said == ["True", "True"]


def test_a_boot_can_be_another_one(tmp_path):
    own = tmp_path / "id"
    own.write_text("another\n")
    said = subprocess.run(
        ["cat", "/proc/sys/kernel/random/boot_id"], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "LD_PRELOAD": power.library(), "FAULT_BOOT_ID": str(own)}).stdout
    assert said == "another\n"


# RocksDB


class Rocks:
    """The probe, under the shim."""

    def __init__(self, directory):
        self.directory = directory
        self.probe = pathlib.Path(power.library()).parent / "rocks_probe"

    def put(self, *arguments, **plan):
        """The keys that were acknowledged, and what it said when it failed."""
        env = {**os.environ, **power.environment(self.directory, **plan)}
        child = subprocess.Popen([self.probe, "put", self.directory / "data", *arguments],
                                 env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        acknowledged = []
        for line in child.stdout:
            if line == "done\n":
                break
            acknowledged.append(line.rstrip("\n"))
        child.kill()
        _, error = child.communicate()
        return acknowledged, error

    def keys(self):
        done = subprocess.run([self.probe, "get", self.directory / "data"], check=True,
                              stdout=subprocess.PIPE, text=True, timeout=60)
        return done.stdout.split()


@pytest.fixture
def rocks(tmp_path):
    return Rocks(tmp_path)


def test_rocksdb_keeps_what_it_synced_and_no_more(rocks):
    put, _ = rocks.put("0", "50")
    lost, _ = power.lose_unsynced(rocks.directory)
    assert len(put) == 50 and rocks.keys() == put
    more, _ = rocks.put("50", "100", "nosync")
    lost, _ = power.lose_unsynced(rocks.directory)
    assert len(more) == 50 and lost > 0
    assert rocks.keys() == put, "the shim does not see what RocksDB writes"


def test_rocksdb_bears_power_cuts_that_leave_some(rocks):
    """Again and again: all that was acknowledged stays, and of the rest a part from its front."""
    randomness, acknowledged, total = random.Random(5), [], 0
    for _ in range(10):
        put, _ = rocks.put(str(total), str(total + 5))
        acknowledged += put
        unsure, _ = rocks.put(str(total + 5), str(total + 10), "nosync")
        power.lose_unsynced(rocks.directory, randomness)
        keys = rocks.keys()
        kept = keys[len(acknowledged):]
        assert keys[:len(acknowledged)] == acknowledged
        assert kept == unsure[:len(kept)]
        acknowledged, total = keys, total + 10


@pytest.mark.parametrize("what", ["write", "sync"])
def test_rocksdb_acknowledges_nothing_that_failed(tmp_path, what):
    """The n-th operation fails, for each n until none does; then the store is as it was told."""
    for number in range(1, 200):
        directory = tmp_path / str(number)
        directory.mkdir()
        rocks = Rocks(directory)
        put, error = rocks.put("0", "8", **{what: f"{number}:EIO:forever"})
        failed = power.read_state(directory).failed
        keys = rocks.keys() if (directory / "data" / "CURRENT").exists() else []
        assert set(put) <= set(keys), f"at {what} {number}: {error}"
        if not failed:
            assert number > 3, "it failed nothing"
            assert len(put) == 8
            return
    pytest.fail("it never came to an end")
