"""waitctl that runs commands and hands over with a confirmation, against a real waitd."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
import time
import urllib.request

import pytest

from conftest import BIN, Server, grpc, pb, until


def start(server, *words, **more):
    return subprocess.Popen([BIN / "waitctl", "--server", server.address, *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def end(call, code=0):
    """What it said, on stdout and stderr."""
    out, err = call.communicate(timeout=30)
    assert call.returncode == code, (call.returncode, out, err)
    return out, err


def ready(server, name, data=b"", **more):
    return server.stub.Ready(pb.ReadyRequest(name=name, open_if_missing=pb.OpenOptions(),
                                             signal=pb.Signal(data=data, **more)))


def metric(server, name):
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def awaits_signals(pid):
    """It blocks SIGINT, to take it from there: before that it dies of it like any program."""
    with open(f"/proc/{pid}/status") as status:
        blocked = next(line.split()[1] for line in status if line.startswith("SigBlk:"))
    return int(blocked, 16) >> (signal.SIGINT - 1) & 1


# A command that says that it runs, and then does as it is told.
RUNS = ["sh", "-c", 'echo up; read -r line; exit "$line"']


def begun(server, name, *flags, command=RUNS):
    """A waitctl exec whose command runs."""
    call = start(server, "exec", name, *flags, "--", *command, stdin=subprocess.PIPE)
    assert call.stdout.readline() == "up\n"
    return call


# wait -- CMD


def test_a_command_gets_the_data_as_its_input(ctl, server, name):
    data = bytes(range(256)) * 200
    ready(server, name, data)
    assert ctl("wait", name, "--", "cat").stdout == data
    ready(server, name, b"x")
    assert ctl("wait", name, "--", "sh", "-c", "cat >&2; exit 7", code=7).err == "x"


def test_a_command_that_does_not_read_hurts_nobody(ctl, server, name):
    ready(server, name, b"x" * 60_000)
    ctl("wait", name, "--", "true")


def test_a_commands_words_are_literal(ctl, server, name):
    for words in (["[a,b]", "{}", "--", "-x", "--timeout=3", ""], ["--help"]):
        ready(server, name)
        assert ctl("wait", name, "--", "printf", r"%s\n", *words).out.split("\n")[:-1] == words


def test_a_name_that_begins_with_a_dash_has_a_command_behind_a_second_one(ctl, server):
    ready(server, "-n", b"x")
    assert ctl("wait", "--timeout=1s", "--", "-n", "--", "cat").out == "x"
    ctl("close", "--", "-n")


@pytest.mark.parametrize("code,command", [(127, "nowhere"), (127, "/no/where"), (126, "/etc/passwd"),
                                          (126, "/"), (127, "")])
def test_a_command_that_cannot_be_run_spends_no_ready(ctl, server, name, code, command):
    ready(server, name)
    assert "cannot be run" in ctl("wait", name, "--", command, code=code).err
    error = json.loads(ctl("wait", name, "-o", "json", "--", command, code=code).err)["error"]
    assert error["reason"] == "COMMAND"
    assert server.get(name).read.state == pb.SEMAPHORE_STATE_READY


def test_a_file_that_is_no_program_is_not_executable(ctl, server, name, tmp_path):
    file = tmp_path / "odd"
    file.write_bytes(b"\x7fELF, it says")
    file.chmod(0o755)
    ready(server, name)
    ctl("wait", name, "--", file, code=126)


@pytest.mark.parametrize("how,code", [("failed", 8), ("timed out", 124), ("closed", 3)])
def test_a_command_is_only_run_when_all_went_well(ctl, server, name, how, code):
    flags = ["--timeout", "10ms"] if how == "timed out" else []
    if how == "failed":
        ready(server, name, b"no", failure=pb.Signal.Failure(code=3, message="broken"))
    call = start(server, "wait", name, *flags, "--", "echo", "ran")
    if how == "closed":
        server.parked(name)
        server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name=name))
    out, err = end(call, code)
    assert out == "" and how in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_to_the_command(server, name, number):
    ready(server, name)
    trap = f'trap "echo caught; exit 9" {number.value}; echo up; while :; do sleep 0.01; done'
    call = start(server, "wait", name, "--", "sh", "-c", trap)
    assert call.stdout.readline() == "up\n"
    call.send_signal(number)
    assert end(call, 9)[0] == "caught\n"


def test_what_a_terminal_sends_reaches_the_command_once(server, name):
    """It sends it to all that is in front: to us, too, who then do not pass it on."""
    ready(server, name)
    master, slave = pty.openpty()
    script = ('trap "n=x\\$n; echo caught" INT; trap "echo \\$n; exit 0" TERM; echo up; '
              'while :; do sleep 0.01; done')
    call = start(server, "wait", name, "--", "sh", "-c", script, stdin=slave,
                 start_new_session=True,
                 preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    assert call.stdout.readline() == "up\n"
    os.write(master, b"\x03")
    assert call.stdout.readline() == "caught\n"
    call.send_signal(signal.SIGTERM)
    assert end(call)[0] == "x\n"
    os.close(master)
    os.close(slave)


def test_a_command_that_dies_of_a_signal_has_the_code_of_shells(ctl, server, name):
    ready(server, name)
    ctl("wait", name, "--", "sh", "-c", "kill -KILL $$", code=137)


def test_a_signal_before_there_is_a_command_ends_the_wait(server, name):
    call = start(server, "wait", name, "--", "echo", "ran")
    server.parked(name)
    call.send_signal(signal.SIGHUP)
    assert end(call, 129)[0] == ""
    server.parked(name, 0)


@pytest.mark.parametrize("shows", [["ls", "/proc/self/fd"],
                                   ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]])
def test_a_command_begins_as_if_from_here(ctl, server, name, shows):
    """No descriptor of ours is open in it, no signal blocked or ignored but 32 and 33, which are
    the C library's own, and may be so in whoever runs the test."""
    def without_the_librarys(shown):
        return re.sub(r"\b[0-9a-f]{16}\b", lambda mask: f"{int(mask[0], 16) & ~0x180000000:016x}",
                      shown)

    ready(server, name)
    direct = subprocess.run(shows, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            check=True).stdout
    assert (without_the_librarys(ctl("wait", name, "--", *shows).out) ==
            without_the_librarys(direct))


# Hand-offs


def test_a_hand_off_comes_back_when_the_command_fails(ctl, server, name):
    ready(server, name, b"job")
    done = ctl("wait", name, "--ack-timeout", "50ms", "--", "sh", "-c", "exit 5", code=5)
    assert "ended with exit code 5" in done.err
    again = json.loads(ctl("wait", name, "--ack-timeout", "1m", "-o", "json").out)
    assert again["attempt"] == 2 and again["signal"]["data"] == "am9i"
    assert server.get(name).read.unacked == 1
    ctl("ack", name, "--wait-id", again["waitId"], "--delivery", again["delivery"], "--generation",
        again["generation"])
    assert server.get(name).read.unacked == 0


def test_a_hand_off_ends_with_a_command_that_ends_well(ctl, server, name):
    ready(server, name, b"job")
    assert ctl("wait", name, "--ack-timeout", "1m", "--", "cat").out == "job"
    assert server.get(name).read.unacked == 0


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_hand_off_of_a_failure_ends_with_its_exit_code(ctl, server, name, output):
    """It would come back for ever: no command is run that could end well."""
    ready(server, name, failure=pb.Signal.Failure(code=3))
    done = ctl("wait", name, "--ack-timeout", "1m", "-o", output, "--", "echo", "ran", code=8)
    assert "ran" not in done.out
    assert server.get(name).read.unacked == 0


def test_a_failure_without_a_command_is_acknowledged_as_all_are(ctl, server, name):
    ready(server, name, failure=pb.Signal.Failure(code=3))
    done = ctl("wait", name, "--ack-timeout", "1m", code=8)
    assert server.get(name).read.unacked == 1
    ctl("ack", *done.err.split("waitctl ack ")[1].split())
    assert server.get(name).read.unacked == 0


def test_a_command_that_takes_too_long_is_not_done(ctl, server, name):
    ready(server, name, b"job")
    waits = "until waitctl wait $1 --timeout 0 --server $0; do :; done"
    path = f"{BIN}:{os.environ['PATH']}"
    done = ctl("wait", name, "--ack-timeout", "20ms", "--", "env", f"PATH={path}", "sh", "-c",
               waits, server.address, name, code=125)
    assert done.out == "job" and "give a longer --ack-timeout" in done.err


def test_without_a_command_the_way_to_acknowledge_is_said(ctl, server, name):
    ready(server, name, b"job")
    done = ctl("wait", name, "--ack-timeout", "1m")
    assert done.out == "job"
    words = done.err.split("waitctl ack ")[1].split()
    assert "acknowledged" in ctl("ack", *words).out
    assert server.get(name).read.unacked == 0
    error = json.loads(ctl("ack", *words[:-3], "999", *words[-2:], "-o", "json", code=7).err)["error"]
    assert error["reason"] in ("STALE_DELIVERY", "OUTCOME_UNKNOWN")


def test_a_wait_keeps_its_users_id(ctl, server, name):
    """The later one takes over."""
    first = start(server, "wait", name, "--wait-id", "mine")
    server.parked(name)
    second = start(server, "wait", name, "--wait-id", "mine", "-o", "json")
    end(first, 7)
    ready(server, name, b"x")
    assert json.loads(end(second)[0])["signal"]["data"] == "eA=="
    ready(server, f"{name}/b")
    poll = ["poll", f"{name}/a", f"{name}/b", "--wait-id", "mine too"]
    assert ctl(*poll).out == f"{name}/b\n"


# exec


def test_exec_says_that_its_command_lives_and_how_it_ended(server, name):
    waiter = start(server, "wait", name)
    server.parked(name)
    call = begun(server, name, "--ttl", "1m")
    assert 50 < server.get(name).read.deadline.remaining.seconds <= 60
    call.communicate("0\n", timeout=30)
    assert call.returncode == 0
    assert end(waiter) == ("", "")
    assert not server.get(name).read.HasField("deadline")


def test_exec_tells_of_a_failure(server, name):
    waiter = start(server, "wait", name)
    server.parked(name)
    call = begun(server, name, "--ttl", "1m")
    call.communicate("3\n", timeout=30)
    assert call.returncode == 3
    assert f"{name} failed with code 3: 'sh' ended with exit code 3" in end(waiter, 8)[1]


def test_exec_keeps_the_deadline_ahead(server, name):
    call = begun(server, name, "--ttl", "300ms")
    first = server.get(name).read.deadline
    until(lambda: server.get(name).read.deadline.at.ToNanoseconds()
          > first.at.ToNanoseconds() + 600_000_000)
    assert not server.get(name).read.deadline.expired
    call.communicate("0\n", timeout=30)
    assert call.returncode == 0


def test_exec_that_is_killed_stops_beating(server, name):
    waiter = start(server, "wait", name)
    server.parked(name)
    call = begun(server, name, "--ttl", "500ms")
    call.kill()
    call.communicate()
    assert "its deadline has passed" in end(waiter, 124)[1]


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_exec_forwards_signals(server, name, number, code):
    call = begun(server, name, "--ttl", "1m", command=["sh", "-c", "echo up; exec sleep 60"])
    call.send_signal(number)
    end(call, code)
    assert f"failed with code {code}" in end(start(server, "wait", name), 8)[1]


@pytest.mark.parametrize("code,command", [(127, "nowhere"), (126, "/etc/passwd")])
def test_exec_tells_that_its_command_cannot_be_run(ctl, server, name, code, command):
    assert "cannot be run" in ctl("exec", name, "--ttl", "1m", "--", command, code=code).err
    assert f"failed with code {code}" in ctl("wait", name, code=8).err


def test_exec_does_not_revive(ctl, server, name):
    """Neither at its begin nor at its end."""
    ctl("deadline", name, "now")
    done = ctl("exec", name, "--ttl", "1m", "--", "echo", "ran", code=125)
    assert not done.out and "deadline NAME clear" in done.err
    ctl("deadline", name, "clear")
    call = begun(server, name, "--ttl", "1m")
    ctl("deadline", name, "now")
    out, err = call.communicate("0\n", timeout=30)
    assert call.returncode == 125 and "has passed before its command ended" in err
    read = server.get(name).read
    assert read.deadline.expired and read.state == pb.SEMAPHORE_STATE_NIL


def test_exec_learns_that_it_was_closed(ctl, server, name):
    call = begun(server, name, "--ttl", "150ms")
    ctl("close", name)
    assert call.stderr.readline()
    call.communicate("0\n", timeout=30)
    assert call.returncode == 125
    ctl("get", name, code=4)


def test_exec_passes_on_that_its_terminal_has_hung_up(server, name):
    """Which the leader of a session alone is told, as with ssh -t HOST waitctl exec ..."""
    process, terminal = pty.fork()
    if process == 0:
        words = ["exec", name, "--ttl", "1m", "--", "sh", "-c", "echo up; sleep 60"]
        os.execv(BIN / "waitctl", ["waitctl", "--server", server.address, *words])
    said = b""
    while b"up" not in said:
        said += os.read(terminal, 100)
    os.close(terminal)
    ended = until(lambda: os.waitpid(process, os.WNOHANG)[0] and server.get(name))
    assert ended.read.state == pb.SEMAPHORE_STATE_READY and not ended.read.HasField("deadline")


def test_exec_lasts_when_nobody_reads_what_it_says(waitd):
    """A beat that is missed is said, to a pipe that is closed by then."""
    one = waitd("--drain-timeout", "0")
    call = begun(one, "a", "--ttl", "300ms")
    call.stderr.close()
    one.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    one.process.send_signal(signal.SIGCONT)
    assert call.poll() is None
    call.stdin.write("3\n")
    call.stdin.close()
    assert call.wait(30) == 3


def test_exec_without_a_server_runs_nothing(tmp_path):
    done = subprocess.run([BIN / "waitctl", "--server", f"unix:{tmp_path}/no", "exec", "x", "--ttl",
                           "1s", "--", "echo", "ran"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 125 and not done.stdout and "is waitd running" in done.stderr


@pytest.mark.parametrize("words,hint", [
    (["exec", "x", "--ttl", "1s"], "behind --"), (["exec", "x", "--", "true"], "--ttl"),
    (["exec", "x", "--ttl", "0s", "--", "true"], "above zero"),
    (["exec", "x", "--ttl", "1s", "true"], "waitctl exec NAME -- CMD"),
    (["wait", "x", "--"], "give a command"), (["wait", "x", "--wait-id="], "--wait-id"),
    (["wait", "x", "--ack-timeout", "soon"], "10s"), (["ack", "x"], "--"),
    (["ack", "x", "--wait-id", "a", "--delivery", "-1"], "the wait was told"),
    (["ack", "x", "--wait-id", "a", "--delivery", "1"], "--generation"),
    (["ack", "x", "--wait-id", "a", "--delivery", "1", "--generation", "0"], "the wait was told"),
    (["wait", "x", "--kind", "latch", "--ack-timeout", "1s"], "latch"),
])
def test_typed_wrong(ctl, words, hint):
    assert hint in ctl(*words, code=2).err


# A server that is gone


def test_a_command_runs_after_a_restart(waitd):
    first = waitd()
    call = start(first, "wait", "a", "--ack-timeout", "1m", "--", "cat")
    first.parked("a")
    first.process.kill()
    first.process.wait()
    second = Server(first.log.parent)
    try:
        second.parked("a")
        ready(second, "a", b"x")
        out, err = end(call)
        assert out == "x" and err.count("trying again") <= 1
        assert second.get("a").read.unacked == 0
    finally:
        second.stop()


@pytest.mark.parametrize("ttl,flags", [("3s", []), ("1m", []), ("1m", ["--kind", "fifo"])])
def test_exec_goes_on_after_a_restart_that_forgets(waitd, ttl, flags):
    """By a beat, or where none comes in time at the end. Who waits is told, and nothing of it
    stays: no deadline that would pass later."""
    first = waitd()
    waiter = start(first, "wait", "a", *flags)
    first.parked("a")
    call = begun(first, "a", "--ttl", ttl, *flags)
    first.process.kill()
    first.process.wait()
    second = Server(first.log.parent)
    try:
        second.parked("a")
        if ttl != "1m":
            until(lambda: second.get("a").read.HasField("deadline"))
        _, err = call.communicate("0\n", timeout=30)
        assert call.returncode == 0 and "the server was restarted and had forgotten a" in err
        end(waiter)
        assert not second.get("a").read.HasField("deadline")
    finally:
        second.stop()


def test_exec_tells_even_after_a_restart_that_took_too_long(waitd):
    """Nobody was told by the server that forgets that the command is dead."""
    first = waitd()
    waiter = start(first, "wait", "a")
    first.parked("a")
    call = begun(first, "a", "--ttl", "300ms")
    first.process.kill()
    first.process.wait()
    assert "no heartbeat got through" in call.stderr.readline()
    second = Server(first.log.parent)
    try:
        second.parked("a")
        assert call.communicate("3\n", timeout=30)[1]
        assert call.returncode == 3
        assert "failed with code 3" in end(waiter, 8)[1]
    finally:
        second.stop()


def test_exec_of_a_bound_life_does_not_outlast_it(waitd):
    """Who names a generation means no other one."""
    first = waitd()
    opened = first.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name="a"))
    call = begun(first, "a", "--ttl", "1m", "--generation",
                 str(opened.poll_descriptor.generation))
    first.process.kill()
    first.process.wait()
    second = Server(first.log.parent)
    try:
        _, err = call.communicate("0\n", timeout=30)
        assert call.returncode == 125 and "no descriptor 'a' is open" in err
        with pytest.raises(grpc.RpcError):
            second.get("a")
    finally:
        second.stop()


def test_the_users_wait_is_not_begun_anew_where_it_is_forgotten(waitd):
    first = waitd()
    call = start(first, "wait", "a", "--wait-id", "mine", "-o", "json")
    first.parked("a")
    first.process.kill()
    first.process.wait()
    second = Server(first.log.parent)
    try:
        assert json.loads(end(call, 7)[1])["error"]["reason"] == "OUTCOME_UNKNOWN"
        with pytest.raises(grpc.RpcError):
            second.get("a")
    finally:
        second.stop()


def test_a_frozen_server_keeps_nobody(waitd):
    server = waitd()
    call = start(server, "wait", "a")
    server.parked("a")
    server.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert "no answer from the server" in end(start(server, "wait", "b", "--timeout=100ms"), 5)[1]
        call.send_signal(signal.SIGINT)
        end(call, 130)
        assert time.monotonic() - begin < 10
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("words", [["wait", "a"], ["poll", "a", "b"], ["wait", "a", "--", "true"],
                                   ["wait", "a", "--timeout", "1m"], ["ready", "a"], ["get", "a"],
                                   ["exec", "a", "--ttl", "1m", "--", "true"]])
def test_ctrl_c_ends_at_once_what_a_frozen_server_holds(waitd, words):
    """Not after the second or two for which a client waits for its farewells."""
    server = waitd()
    parks = words[0] in ("wait", "poll")
    if not parks:
        server.process.send_signal(signal.SIGSTOP)
    call = start(server, *words)
    if parks:
        server.parked("a")
        server.process.send_signal(signal.SIGSTOP)
    else:
        until(lambda: awaits_signals(call.pid))
    try:
        begin = time.monotonic()
        call.send_signal(signal.SIGINT)
        end(call, 130)
        assert time.monotonic() - begin < 0.7
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("words", [["wait", "a"], ["poll", "a", "b"]])
def test_ctrl_c_cancels_what_is_parked_and_ends_the_session(waitd, words):
    """Neither stays for the server's linger."""
    server = waitd()
    call = start(server, *words)
    server.parked("a")
    assert metric(server, "waitd_sessions") == 1
    call.send_signal(signal.SIGINT)
    assert end(call, 130)[0] == ""
    server.parked("a", 0)
    until(lambda: metric(server, "waitd_sessions") == 0)


# bench


def test_bench_measures_and_leaves_nothing(ctl, server, name):
    said = json.loads(ctl("bench", name, "--waits", "100", "--seconds", "1", "-o", "json").out)
    assert said["waits"] == 100 and said["wakes"] % 100 == 0 and said["wakesPerSecond"] > 0
    latency = said["latencySeconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 60
    assert "wakes/s" in ctl("bench", name, "--waits=1", "--seconds=1").out
    assert not ctl("ls", name).out.splitlines()[1:]


def test_a_bench_that_is_interrupted_leaves_nothing(server, name):
    call = start(server, "bench", name, "--seconds", "60")
    until(lambda: server.stub.ListPollDescriptors(
        pb.ListPollDescriptorsRequest(prefix=name)).poll_descriptors)
    call.send_signal(signal.SIGINT)
    assert end(call, 130)[0] == ""
    until(lambda: not server.stub.ListPollDescriptors(
        pb.ListPollDescriptorsRequest(prefix=name)).poll_descriptors)
