"""A real nginx with the shipped file, before real waitds.

It runs as its unit has it: not as root, without capabilities, and with a socket, credentials and a
folder to write to where the file has them. Of the file only the port is another, and what a test
plants.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import contract
from credentials import HERE
from harness import CALL_LIMIT_S, Client, Server

ROOT = contract.ROOT
CONF = ROOT / "deploy/edge/nginx.conf"
UNIT_CREDENTIALS = "/run/credentials/waitd-edge.service"
WAITD = pathlib.Path(os.environ["WAITD_BIN_DIR"]).resolve() / "waitd"


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _children(process):
    children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text()
    return set(map(int, children.split()))


def planted(text, changes):
    """The file with other words in it; each must have been there."""
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


class Edge:
    """An nginx in a folder of its own; waitd's socket is in its folder `waitd`."""

    def __init__(self, folder, authority, changes=None, seccomp=b""):
        """changes: what to plant in the file; seccomp: a program for the kernel that bounds it."""
        self.folder, self.authority, self._changes = folder, authority, changes or {}
        for name in ("run", "waitd", "credentials"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.socket = folder / "waitd/waitd.sock"
        self.log = folder / "log"
        self._seccomp = seccomp
        self.process = None
        self.renew()

    def renew(self):
        """Puts a certificate of its own where it looks for one, and returns that."""
        one = self.authority.issue(*HERE)
        for name, text in one.secret().items():
            (self.folder / "credentials" / name).write_text(text)
        return one

    def _sandbox(self):
        # With numbers of its own for processes, none is left when the first of them is killed.
        return ["bwrap", "--die-with-parent", "--unshare-pid", "--as-pid-1", "--ro-bind", "/", "/",
                "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run",
                "--bind", self.folder / "run", "/run/waitd-edge",
                "--ro-bind", self.folder / "waitd", "/run/waitd",
                "--ro-bind", self.folder / "credentials", UNIT_CREDENTIALS,
                "--unshare-user", "--uid", "61185", "--gid", "61185", "--cap-drop", "ALL"]

    def command(self, conf, *more, sandbox=()):
        words = [*self._sandbox(), *sandbox, "--", "/usr/sbin/nginx", "-e", "stderr", "-c", conf]
        return [str(word) for word in (*words, *more)]

    def start(self):
        """On a free port; another one, should somebody have taken it meanwhile."""
        for _ in range(5):
            self.port = _free_port()
            text = planted(CONF.read_text(), {"[::]:7411": f"[::]:{self.port}", **self._changes})
            conf = self.folder / "edge.conf"
            conf.write_text(text)
            with tempfile.TemporaryFile() as program:
                program.write(self._seccomp)
                program.seek(0)
                sandbox = ["--seccomp", program.fileno()] if self._seccomp else []
                self.process = subprocess.Popen(
                    self.command(conf, sandbox=sandbox), stderr=self.log.open("w"),
                    pass_fds=[program.fileno()])
            if self._serves():
                return self
            self.process.wait()
            assert "Address already in use" in self.log.read_text(), self.log.read_text()
        raise AssertionError("no port stayed free")

    def _serves(self):
        end = time.monotonic() + CALL_LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                continue
            return True
        return False

    @property
    def address(self):
        return f"localhost:{self.port}"

    def client(self, token=None):
        return Client(self.address, self.authority.credentials(), token)

    def _master(self):
        """nginx itself, in the sandbox."""
        child, = _children(self.process.pid)
        return child

    def workers(self):
        return _children(self._master())

    def signal(self, number):
        os.kill(self._master(), number)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.process.wait(CALL_LIMIT_S)

    def waitd(self, *flags):
        """A waitd on the edge's socket."""
        return Server(WAITD, *flags, listen=f"unix:{self.socket}")


def setting(name, location=None):
    """What the file says of a directive: in a location, or where it first stands."""
    text = CONF.read_text()
    if location is not None:
        text = text.split(f"location {location} {{")[1].split("}")[0]
    return re.search(rf"^\s*{name} (.*);$", text, re.MULTILINE)[1]


def seconds(text):
    """An nginx time, in seconds."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
