"""The servers that are measured: each started fresh for each figure, in a process of its own."""

import contextlib
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

START_SECONDS_MAX = 10
LOCAL = "127.0.0.1"


given_out = set()
giving_out = threading.Lock()


def free_port():
    """One that was not given out before: servers that start together would meet on it."""
    with giving_out:
        while True:
            with socket.socket() as probe:
                probe.bind((LOCAL, 0))
                port = probe.getsockname()[1]
            if port not in given_out:
                given_out.add(port)
                return port


def command(kind, bin_dir, port, metrics_port, folder):
    bin_dir = pathlib.Path(bin_dir)
    waitd = [bin_dir / "waitd", "--listen-address", f"{LOCAL}:{port}",
             "--metrics-address", f"{LOCAL}:{metrics_port}", "--log-level", "error"]
    redis = ["redis-server", "--bind", LOCAL, "--port", port, "--save", "", "--dir", folder]
    return {
        "waitd": [*waitd, "--store", "memory"],
        "waitd_durable": [*waitd, "--data-dir", f"{folder}/data"],
        "echo": [bin_dir / "echo_peer", f"{LOCAL}:{port}"],
        "batch": [bin_dir / "batch_peer", f"{LOCAL}:{port}"],
        "redis": redis,
        "redis_always": [*redis, "--appendonly", "yes", "--appendfsync", "always"],
        "nats": ["nats-server", "-a", LOCAL, "-p", port],
    }[kind]


class Server:
    """A server that serves."""

    def __init__(self, process, port, metrics_port):
        self.pid = process.pid
        self.target = f"{LOCAL}:{port}"
        self._metrics = f"http://{LOCAL}:{metrics_port}/metrics"

    def metrics(self):
        """They are served a moment after the first call can be."""
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return urllib.request.urlopen(self._metrics, timeout=10).read().decode()
            except urllib.error.URLError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


@contextlib.contextmanager
def serving(kind, bin_dir, work_dir, keep=False):
    """With `keep` it works in work_dir itself, and what it left there is there for the next one."""
    port, metrics_port = free_port(), free_port()
    # Not in memory: one that syncs is to have a disk below it.
    with (contextlib.nullcontext(work_dir) if keep else
          tempfile.TemporaryDirectory(dir=work_dir)) as folder:
        words = [str(word) for word in command(kind, bin_dir, port, metrics_port, folder)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + START_SECONDS_MAX
            while True:
                try:
                    socket.create_connection((LOCAL, port)).close()
                    break
                except ConnectionRefusedError:
                    if process.poll() is not None or time.monotonic() > end:
                        raise RuntimeError(f"{words[0]} did not start") from None
                    time.sleep(0.01)
            if process.poll() is not None:  # somebody else serves there
                raise RuntimeError(f"{words[0]} did not start")
            yield Server(process, port, metrics_port)
        finally:
            process.kill()
            process.wait()
