"""A waitd that is killed and started again on the same data directory."""

import os
import pathlib
import signal
import subprocess
import time

import grpc
from harness import clean_environment
from history import S

START_LIMIT_S = 30


def binary():
    path = pathlib.Path(os.environ["WAITD_BIN_DIR"]) / "waitd"
    assert os.access(path, os.X_OK), f"{path} is no program"
    return str(path)


def channel_to(address):
    """A channel of its own that tries again at once."""
    return grpc.insecure_channel(address, options=[
        ("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 10),
        ("grpc.min_reconnect_backoff_ms", 10), ("grpc.max_reconnect_backoff_ms", 50)])


class Waitd:
    """One server after the other, on one socket and one directory.

    flags: what it is started with beside the addresses and the directory; env: what its environment
    has beside this process's own; prefix: a program that starts it.
    """

    def __init__(self, directory, flags, env=None, prefix=()):
        self.directory = pathlib.Path(directory).resolve()
        self.data = self.directory / "data"
        self.address = f"unix:{self.directory}/s"
        self.log = self.directory / "log"
        self._arguments = [*prefix, binary(), f"--listen-address={self.address}",
                           "--metrics-address=127.0.0.1:0", *flags]
        if any(flag.startswith("--store=rocksdb") for flag in flags):
            self._arguments.append(f"--data-dir={self.data}")
        self.env = env or {}
        self.process = None
        self.starts = 0

    def spawn(self):
        """Starts it, and does not wait until it serves."""
        self.starts += 1
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"== start {self.starts}\n")
            log.flush()
            self.process = subprocess.Popen(
                self._arguments, stdout=subprocess.DEVNULL, stderr=log,
                env=clean_environment(self.env))

    def await_serving(self):
        """Whether it serves within the limit; false: it has ended."""
        end = time.monotonic() + START_LIMIT_S
        with channel_to(self.address) as channel:
            ready = grpc.channel_ready_future(channel)
            while self.process.poll() is None:
                try:
                    ready.result(timeout=0.02)
                    return True
                except grpc.FutureTimeoutError:
                    assert time.monotonic() < end, f"it does not serve: {self.said()}"
        return False

    def start(self):
        self.spawn()
        assert self.await_serving(), f"it ended at its start: {self.said()}"

    def kill(self):
        """SIGKILL, and returns when nothing of it is left."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ends it as a supervisor does. Returns its exit code."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=START_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process and self.process.returncode

    def said(self):
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]


def wall_offset_ns():
    """What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC: the reading that took the least time."""
    best = None
    for _ in range(50):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, wall - (before + after) // 2
    assert best[0] < S, "the clock cannot be read"
    return best[1]
