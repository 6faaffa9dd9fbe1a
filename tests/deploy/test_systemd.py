"""The unit: what systemd says of it, and waitd under what it sets, as far as that goes without systemd.

The process runs with what the unit's settings amount to: no capabilities, a file system of which only
the state and runtime directories can be written, and the unit's system calls; any other kills it.
"""

import errno
import json
import mmap
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import urllib.request

import pytest
import seccomp
from credentials import Authority, token_line

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["WAITD_BIN_DIR"]).resolve()
UNIT = ROOT / "deploy/systemd/waitd.service"


def settings(name, unit=UNIT):
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.M)


def analyze(*words):
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60,
                          check=False)


def verify(folder, text):
    """The unit as it would be where waitd is installed; manual pages are the package's matter."""
    unit = folder / "waitd.service"
    unit.write_text(text.replace("ExecStart=/usr/bin/waitd", f"ExecStart={BIN / 'waitd'}"))
    return analyze("verify", "--recursive-errors=no", "--man=no", unit)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    done = verify(tmp_path, UNIT.read_text())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_misspelt_setting_would_be_found(tmp_path):
    assert verify(tmp_path, UNIT.read_text().replace("UMask=", "Umaks=")).returncode != 0


def test_the_exposure_is_at_most_2():
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stop_timeout_is_longer_than_the_drain():
    help_text = subprocess.run([BIN / "waitd", "--help"], capture_output=True, text=True,
                               check=True).stdout
    drain = re.search(r"--drain-timeout=.*?\[(\d+)s\]", help_text, re.S)
    stop = settings("TimeoutStopSec")[0]
    assert int(stop.removesuffix("s")) > int(drain[1])


def drop_in(unit=UNIT):
    """The example of a drop-in for waitd in a unit's first comment."""
    lines = re.findall(r"^#   (.*)$", unit.read_text(), re.M)
    assert lines[0] == "[Service]"
    return "\n".join(lines) + "\n"


def check_drop_in(unit, folder):
    """The README has the one in this unit, and waitd's unit with it is taken, and as little exposed."""
    assert f"```ini\n{drop_in(unit)}```\n" in (ROOT / "deploy/README.md").read_text()
    text = UNIT.read_text().replace("[Install]", drop_in(unit) + "\n[Install]")
    done = verify(folder, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (folder / "waitd.service").write_text(text)
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager",
                   folder / "waitd.service")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_the_same_drop_in_and_systemd_takes_it(tmp_path):
    check_drop_in(UNIT, tmp_path)


def test_waitd_serves_with_the_drop_in(start, tmp_path):
    """With the variables that it sets, and the credentials where systemd would put them."""
    credentials, configured = tmp_path / "credentials", tmp_path / "etc"
    for folder in (credentials, configured):
        folder.mkdir()
    authority = Authority(tmp_path / "ca")
    files = {**authority.issue("DNS:localhost").secret(), "tokens": token_line("ci", "t")}
    for name, text in files.items():
        (credentials / name).write_text(text)
    (configured / "acl").write_text("ci * wait,ready,open\n")
    loaded = re.findall(r"^LoadCredential=([^:]+):/etc/waitd/(\S+)$", drop_in(), re.M)
    assert {each[0] for each in loaded} == {path.name for path in credentials.iterdir()}
    env = dict(each.split("=", 1) for line in re.findall(r"^Environment=(.*)$", drop_in(), re.M)
               for each in line.split())
    env = {name: value.replace("%d", str(credentials)).replace("/etc/waitd", str(configured))
           for name, value in env.items()}
    env["WAITD_LISTEN_ADDRESS"] = env["WAITD_LISTEN_ADDRESS"].replace(":7411", ":0")
    process = start(listen=(), **env)
    log = tmp_path / "log"
    while " ready " not in log.read_text():
        assert process.poll() is None, log.read_text()
    port = re.search(r"listen=0.0.0.0:(\d+)", log.read_text())[1]
    (tmp_path / "token").write_text("t\n")
    done = subprocess.run(
        [BIN / "waitctl", "--server", f"localhost:{port}", "--ca-file", authority.file,
         "--token-file", tmp_path / "token", "ready", "a"], timeout=60, check=False)
    assert done.returncode == 0


def test_what_must_not_restart_does_not_and_the_rest_does():
    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == ["2"]


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(30)

    def hear(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())


@pytest.fixture
def start(tmp_path):
    """Starts waitd with a word before it and variables; kills what is left of it."""
    started = []

    socket_of_ours = ("--listen-address", f"unix:{tmp_path}/run/waitd.sock")

    def begin(*before, flags=(), pass_fds=(), listen=socket_of_ours, **env):
        process = subprocess.Popen(
            [*before, BIN / "waitd", *listen, "--metrics-address", "127.0.0.1:0", *flags],
            env={**os.environ, "STATE_DIRECTORY": f"{tmp_path}/state", **env},
            stderr=(tmp_path / "log").open("w"), pass_fds=pass_fds)
        started.append(process)
        return process

    for folder in ("run", "state"):
        (tmp_path / folder).mkdir(mode=0o777)
        (tmp_path / folder).chmod(0o777)
    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def ctl(folder, *words, code=0):
    done = subprocess.run([BIN / "waitctl", "--server", f"unix:{folder}/run/waitd.sock", *words],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_when_it_serves_and_stopping_when_it_drains(start, tmp_path, kind):
    address = f"{tmp_path}/notify" if kind == "path" else f"@waitd/{os.getpid()}/notify"
    manager = Manager(address)
    process = start(NOTIFY_SOCKET=address, flags=("--drain-timeout", "7s"))
    assert manager.hear()["READY"] == "1"
    ctl(tmp_path, "health", "waitd-readiness")
    ctl(tmp_path, "open", "a")
    waiter = subprocess.Popen([BIN / "waitctl", "--server", f"unix:{tmp_path}/run/waitd.sock",
                               "wait", "a", "--timeout", "1m"], stdout=subprocess.PIPE)
    while not json.loads(ctl(tmp_path, "get", "a", "-o", "json")).get("read", {}).get("waiters"):
        assert waiter.poll() is None
    process.send_signal(signal.SIGTERM)
    stopping = manager.hear()
    assert stopping["STOPPING"] == "1"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 37_000_000
    assert process.poll() is None, "it drains"
    ctl(tmp_path, "ready", "a", "--data", "late")
    assert waiter.communicate(timeout=30)[0] == b"late"
    assert process.wait(30) == 0


def test_without_a_manager_or_with_one_that_is_gone_it_serves(start, tmp_path):
    process = start(NOTIFY_SOCKET=f"{tmp_path}/nobody")
    log = tmp_path / "log"
    while "cannot tell the service manager" not in log.read_text():
        assert process.poll() is None
    ctl(tmp_path, "health")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_the_manager_is_told_nothing_when_the_start_fails(start, tmp_path):
    manager = Manager(f"{tmp_path}/notify")
    process = start(NOTIFY_SOCKET=f"{tmp_path}/notify", flags=("--data-dir", "/proc/nowhere"))
    assert process.wait(30) == 2, "which the unit does not restart"
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.hear()


def calls_of(word):
    """The system calls of a name or a group."""
    if not word.startswith("@"):
        return {word}
    listed = analyze("syscall-filter", "--no-pager", word).stdout.splitlines()
    words = [line.strip() for line in listed[1:] if line.strip() and not line.strip().startswith("#")]
    assert words, word
    return set().union(*map(calls_of, words))


def unit_filter(unit=UNIT):
    """A program for the kernel: what the unit forbids kills, but for the one thing the C library
    tries and does without, sockets of a family that is not there."""
    allowed = set()
    for line in settings("SystemCallFilter", unit):
        named = set().union(*map(calls_of, line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for call in sorted(allowed - {"socket", "mmap", "mprotect"}):
        if seccomp.resolve_syscall(seccomp.Arch(), call) >= 0:
            rules.add_rule(seccomp.ALLOW, call)
    families = settings("RestrictAddressFamilies", unit)[0].split()
    for family in families:
        rules.add_rule(seccomp.ALLOW, "socket",
                       seccomp.Arg(0, seccomp.EQ, int(getattr(socket, family))))
    rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket",
                   seccomp.Arg(0, seccomp.EQ, int(socket.AF_NETLINK)))
    write, run = mmap.PROT_WRITE, mmap.PROT_EXEC
    for call in ("mmap", "mprotect"):  # MemoryDenyWriteExecute
        for bits in (0, write, run):
            rules.add_rule(seccomp.ALLOW, call,
                           seccomp.Arg(2, seccomp.MASKED_EQ, write | run, bits))
    with tempfile.TemporaryFile() as program:
        rules.export_bpf(program)
        program.seek(0)
        return program.read()


def test_it_does_its_work_within_what_the_unit_allows(start, tmp_path):
    read, write = os.pipe()
    os.write(write, unit_filter())
    os.close(write)
    notify = tmp_path / "run/notify"
    manager = Manager(str(notify))
    process = start(
        "bwrap", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "--tmpfs", "/home", "--tmpfs", "/root", "--bind", tmp_path / "state", tmp_path / "state",
        "--bind", tmp_path / "run", tmp_path / "run", "--unshare-user", "--uid", "61184", "--gid",
        "61184", "--unshare-ipc", "--cap-drop", "ALL", "--seccomp", str(read), "--",
        pass_fds=(read,), NOTIFY_SOCKET=str(notify))
    os.close(read)
    assert manager.hear()["READY"] == "1", (tmp_path / "log").read_text()
    ctl(tmp_path, "ready", "kept", "--data", "1")
    ctl(tmp_path, "deadline", "late", "10ms")
    ctl(tmp_path, "wait", "late", code=124)
    metrics = re.search(r"metrics=(\S+)", (tmp_path / "log").read_text())[1]
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as answer:
        seen = answer.read().decode()
    assert float(re.search(r"^process_start_time_seconds (.*)$", seen, re.M)[1]) > 1e9
    assert ctl(tmp_path, "wait", "kept", "--timeout", "1s") == "1"
    assert any((tmp_path / "state").iterdir())
    inner = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(inner, signal.SIGTERM)
    assert manager.hear()["STOPPING"] == "1"
    assert process.wait(30) == 0, (tmp_path / "log").read_text()
