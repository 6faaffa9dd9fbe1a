"""waitctl, typed right and typed wrong, against a real waitd."""

import json
import os
import pty
import signal
import subprocess

import pytest

from conftest import BIN, pb, until


def test_wait_prints_the_data_and_nothing_else(ctl, name):
    ctl("ready", name, "--file", "-", stdin=b"bytes\x00\xff")
    done = ctl("wait", name)
    assert done.stdout == b"bytes\x00\xff" and not done.stderr


def test_exit_codes(ctl, name, server):
    assert "timed out" in ctl("wait", name, "--timeout", "20ms", code=124).err
    ctl("ready", name, "--fail=3", "-m", "broken")
    assert "code 3: broken" in ctl("wait", name, code=8).err
    assert "waitctl open" in ctl("get", name + "/no", code=4).err
    assert "nobody waits" in ctl("ready", name, "--if", "waiting", code=7).out
    ctl("open", name, "--must-create", code=7)
    ctl("deadline", name, "10s")
    assert "still in 9" in ctl("deadline", name, "5s", "--arm-or-extend", code=7).out
    ctl("deadline", name, "now")
    assert "deadline has passed" in ctl("ready", name, "--if", "not-expired", code=7).out
    assert "deadline has passed" in ctl("wait", name, code=124).err
    ctl("deadline", name, "clear")
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "wait", name])
    server.parked(name)
    ctl("close", name)
    assert call.wait(10) == 3
    ctl("health")
    ctl("health", "nobody", code=5)


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_wait(server, name, number, code):
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "wait", name])
    server.parked(name)
    call.send_signal(number)
    assert call.wait(10) == code
    server.parked(name, 0)


@pytest.mark.parametrize("words,hint", [
    (["wiat", "x"], "waitctl wait"),
    (["wait", "x", "--timeot", "3s"], "--timeout"),
    (["wait", "x", "--timeout", "soon"], "10s"),
    (["wait", "x", "--timeout", "inf"], "10s"),
    (["deadline", "x", "tomorrow"], "clear"),
    (["wait"], "NAME"),
    (["open", "x", "--label", "novalue"], "KEY=VALUE"),
    (["wait", "x", "--kind", "queue"], "latch"),
    (["ready", "x", "-m", "why"], "--fail"),
    (["wait", "a\nb"], "control characters"),
])
def test_typed_wrong(ctl, words, hint):
    assert hint in ctl(*words, code=2).err


def test_no_server(tmp_path):
    done = subprocess.run([BIN / "waitctl", "--server", f"unix:{tmp_path}/no", "get", "x"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "is waitd running" in done.stderr


def test_errors_and_answers_in_json(ctl, name):
    error = json.loads(ctl("get", name, "-o", "json", code=4).err)["error"]
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "NO_DESCRIPTOR")
    ctl("open", name, "--kind", "fifo", "--label", "k=v")
    shown = json.loads(ctl("get", name, "-o", "json").out)
    assert shown["kind"] == "KIND_FIFO" and shown["labels"] == {"k": "v"}
    assert ctl("ls", name, "-o", "name").out == name + "\n"
    assert json.loads(ctl("ls", name, "-o", "jsonl").out)["name"] == name


def test_poll_names_what_is_ready(ctl, name):
    a, b, c = (f"{name}/{each}" for each in "abc")
    ctl("ready", c)
    ctl("ready", b)
    assert ctl("poll", a, b, c, "--need", "2").out == f"{b}\n{c}\n"
    ctl("poll", a, b, "--all", "--timeout", "20ms", code=124)


def test_a_poll_that_fails_prints_no_name_as_ready(ctl, name):
    ctl("deadline", name, "now")
    done = ctl("poll", name, f"{name}/other", "--all", code=124)
    assert not done.out and f"the poll of {name} timed out: its deadline" in done.err


def test_a_wait_that_fails_prints_no_name(ctl, name):
    assert not ctl("wait", name, "--timeout=10ms", "-o", "name", code=124).out
    ctl("ready", name, "--data", "x")
    assert ctl("wait", name, "-o", "name").out == name + "\n"


def test_wait_parks_again_after_a_restart(waitd, tmp_path):
    first = waitd()
    call = subprocess.Popen([BIN / "waitctl", "--server", first.address, "wait", "a"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first.parked("a")
    first.process.kill()
    first.process.wait()
    again = subprocess.Popen([BIN / "waitd", "--listen-address", first.address,
                              "--metrics-address", "127.0.0.1:0", "--store", "memory"],
                             stderr=subprocess.DEVNULL)
    try:
        ready = [BIN / "waitctl", "--server", first.address, "ready", "a", "--data", "x",
                 "--if", "waiting"]
        until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, 30)
        assert call.communicate(timeout=30)[0] == b"x" and call.returncode == 0
    finally:
        again.kill()
        again.wait()


def test_a_terminal_sees_a_countdown(server, name):
    master, slave = pty.openpty()
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "wait", name,
                             "--timeout", "1m"], stderr=slave, stdout=subprocess.DEVNULL)
    os.close(slave)
    seen = b""
    while b"left" not in seen:
        seen += os.read(master, 1000)
    assert name.encode() in seen
    call.terminate()
    assert call.wait(10) == 143
    os.close(master)


def test_watch_prints_what_changes(server, name):
    server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=name))
    watch = subprocess.Popen([BIN / "waitctl", "--server", server.address, "watch", name, "-o",
                              "jsonl"], stdout=subprocess.PIPE, text=True)
    assert json.loads(watch.stdout.readline())["read"]["state"] == "SEMAPHORE_STATE_NIL"
    server.stub.Ready(pb.ReadyRequest(name=name))
    assert json.loads(watch.stdout.readline())["read"]["state"] == "SEMAPHORE_STATE_READY"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(10) == 130


def test_completion_and_manual_pages(ctl):
    bash = ctl("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=bash, check=True)
    for word in (b"deadline", b"must-exist", b"need"):
        assert word in bash and word in ctl("completion", "fish").stdout
    for page in ("waitd.8", "waitctl.1"):
        done = subprocess.run(["man", "--warnings", "-l", BIN.parent / "man" / page],
                              capture_output=True, text=True, check=True,
                              env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert not done.stderr and "--" in done.stdout


def test_help_begins_with_examples():
    done = subprocess.run([BIN / "waitctl", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Examples:")
