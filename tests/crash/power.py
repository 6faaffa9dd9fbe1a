"""What the shim remembers of a directory, and what a power cut leaves of it."""

import dataclasses
import os
import pathlib
import shutil
import struct

_MAGIC = 0x3154554C54434157
_FILES_MAX = _ENTRIES_MAX = 16384
_HEADER = struct.Struct("<QQQQQIIII")
_FILE = struct.Struct("<QQq")
_ENTRY = struct.Struct("<II256s256s")
CREATED, RENAMED, UNLINKED = 1, 2, 3


def library():
    """The shim, where CMake puts it."""
    build = pathlib.Path(os.environ["WAITD_BIN_DIR"]).parent
    path = build / "tests" / "crash" / "libfault_shim.so"
    assert path.exists(), f"{path} is not built"
    return str(path.resolve())


def environment(directory, write=None, sync=None, sync_us=0):
    """What a process needs to have the shim over directory/data. write and sync: plans."""
    directory = pathlib.Path(directory).resolve()
    (directory / "data").mkdir(exist_ok=True)
    env = {"LD_PRELOAD": library(), "FAULT_DIR": str(directory / "data"),
           # RocksDB's own log tells what it does; nothing depends on it.
           "FAULT_EXCEPT": "LOG", "FAULT_STATE": str(directory / "fault-state"),
           "FAULT_FREE": str(directory / "fault-free")}
    if write:
        env["FAULT_WRITE"] = write
    if sync:
        env["FAULT_SYNC"] = sync
    if sync_us:
        env["FAULT_SYNC_US"] = str(sync_us)
    return env


@dataclasses.dataclass
class State:
    """What the shim's side file says."""

    writes: int
    syncs: int
    failed: int
    files: dict  # (device, inode): the length that is durable
    entries: list  # (kind, path, from, number of what was kept), in order


def read_state(directory):
    data = (pathlib.Path(directory) / "fault-state").read_bytes()
    magic, writes, syncs, failed, overflows, files, entries, _, _ = _HEADER.unpack_from(data)
    assert magic == _MAGIC, "not the state of this shim"
    assert overflows == 0, "a table of the shim was full: nothing can be said"
    at, lengths = _HEADER.size, {}
    for _ in range(files):
        device, inode, synced = _FILE.unpack_from(data, at)
        lengths[device, inode] = synced
        at += _FILE.size
    at, changes = _HEADER.size + _FILES_MAX * _FILE.size, []
    for _ in range(entries):
        kind, kept, path, source = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if kind:
            changes.append((kind, *(text.split(b"\0")[0].decode() for text in (path, source)),
            kept))
    return State(writes, syncs, failed, lengths, changes)


def lose_unsynced(directory, randomness=None):
    """Makes directory/data what a power cut leaves of it, after the process was killed.

    Of what was written and not synced nothing stays, and entries of directories that were not
    synced are as they were before. With a source of randomness some may stay: of a file from its
    front, of the entries the earlier ones. Returns how many bytes and how many entries went.
    """
    directory = pathlib.Path(directory)
    if not _begun(directory):
        return 0, 0
    state, kept = read_state(directory), directory / "fault-state.kept"
    lost = entries = 0
    durable = _some(randomness, 0, len(state.entries))
    for kind, path, source, number in reversed(state.entries[durable:]):
        entries += _undo(kind, path, source, kept / str(number) if number else None)
    for path in (directory / "data").rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        now = path.stat()
        synced = state.files.get((now.st_dev, now.st_ino), now.st_size)
        if now.st_size > synced:
            stays = _some(randomness, synced, now.st_size)
            lost += now.st_size - stays
            os.truncate(path, stays)
    # What is there now is durable, and the next process begins with that.
    os.unlink(directory / "fault-state")
    shutil.rmtree(kept, ignore_errors=True)
    return lost, entries


def _begun(directory):
    """Whether the shim had begun before the process was killed: not a byte was written before."""
    state = directory / "fault-state"
    return state.exists() and any(state.read_bytes()[:8])


def _some(randomness, least, most):
    """How much stays: without randomness the least, else none, all, or some of what may go."""
    if not randomness:
        return least
    return randomness.choice([least, most, randomness.randint(least, most)])


def _undo(kind, path, source, kept):
    """Whether there was anything to undo."""
    there = os.path.exists(path)
    if kind == CREATED:
        if there:
            os.unlink(path)
        return there
    if kind == RENAMED:
        if there and not os.path.exists(source):
            os.rename(path, source)
            if kept and kept.exists():
                os.rename(kept, path)
            return True
        return False
    if kept and kept.exists() and not there:
        os.rename(kept, path)
        return True
    return False
