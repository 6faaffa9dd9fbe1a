"""waitctl with outputs that fail, inputs that block, and answers that would paint the terminal."""

import fcntl
import json
import os
import signal
import subprocess
import time
import urllib.request
from concurrent import futures

import pytest

from conftest import BIN, Server, grpc, pb, rpc, until


def to_full(server, *words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BIN / "waitctl", "--server", server.address, *words], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [
    ["wait", "NAME"], ["wait", "NAME", "-o", "jsonl"], ["wait", "NAME", "-o", "name"],
    ["poll", "NAME"], ["poll", "NAME", "-o", "jsonl"], ["open", "NAME"], ["get", "NAME"],
    ["get", "NAME", "-o", "json"], ["ls", "NAME"], ["ls", "NAME", "-o", "json"],
    ["ls", "NAME", "-o", "name"], ["watch", "NAME"], ["watch", "-o", "jsonl"], ["close", "NAME"],
    ["reset", "NAME"], ["ready", "NAME"], ["deadline", "NAME", "10s"], ["health"], ["version"],
    ["completion", "bash"], ["--help"], ["wait", "--help"],
])
def test_what_cannot_be_written_is_an_error(ctl, server, name, words):
    ctl("ready", name, "--data", "precious")
    code, err = to_full(server, *(name if word == "NAME" else word for word in words))
    assert code == 1
    if "-o" in words and words[-1] != "name":
        assert "No space left" in json.loads(err)["error"]["message"]
    else:
        assert err.startswith("waitctl: ") and "No space left" in err


def test_a_failure_that_cannot_be_written_is_an_error(ctl, server, name):
    ctl("ready", name, "--fail", "--data", "precious")
    assert to_full(server, "wait", name)[0] == 1


def test_a_closed_output_is_an_error(ctl, server, name):
    """And no connection gets its number, into which the data would go."""
    ctl("ready", name, "--data", "precious")
    done = subprocess.run(["sh", "-c", 'exec "$0" --server "$1" wait "$2" >&-', BIN / "waitctl",
                           server.address, name], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"cannot write" in done.stderr


def test_a_closed_input_is_an_error(ctl, server, name):
    """And nothing of gRPC's has its number, from which there is never anything to read."""
    done = subprocess.run(["sh", "-c", 'exec "$0" --server "$1" ready "$2" --file - <&-',
                           BIN / "waitctl", server.address, name], stderr=subprocess.PIPE,
                          timeout=60)
    assert done.returncode == 2 and b"cannot read" in done.stderr
    ctl("get", name, code=4)


def test_streams_that_do_not_block_are_waited_for(ctl, server, name):
    """As who shares the stream may make it so."""
    data = bytes(range(256)) * 200
    inner, feed = os.pipe()
    os.set_blocking(inner, False)
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "ready", name, "--file",
                             "-"], stdin=inner)
    until(lambda: awaits_signals(call))
    os.write(feed, data)
    os.close(feed)
    assert call.wait(10) == 0
    drain, out = os.pipe()
    fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(out, False)
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "wait", name],
                            stdout=out)
    os.close(out)
    until(lambda: server.get(name).read.state != pb.SEMAPHORE_STATE_READY)
    with os.fdopen(drain, "rb") as file:
        assert file.read() == data
    assert call.wait(10) == 0


@pytest.mark.parametrize("words,hint", [
    (["/"], "directory"), (["/nowhere"], "No such file"), (["/dev/zero"], "64 MiB"),
    (["/proc/self/mem"], "cannot read"),
])
def test_what_cannot_be_read_is_an_error(ctl, name, words, hint):
    assert hint in ctl("ready", name, "--file", *words, code=2).err
    ctl("get", name, code=4)


def test_a_directory_as_standard_input_is_an_error(ctl, server, name):
    folder = os.open("/", os.O_RDONLY)
    done = subprocess.run([BIN / "waitctl", "--server", server.address, "ready", name, "--file",
                           "-"], stdin=folder, capture_output=True, timeout=60)
    os.close(folder)
    assert done.returncode == 2 and b"directory" in done.stderr
    ctl("get", name, code=4)


def test_a_file_over_the_servers_limit_is_refused_by_the_server(ctl, name, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * (64 * 1024 + 1))
    assert "at most 65536" in ctl("ready", name, "--file", tmp_path / "big", code=2).err
    (tmp_path / "fits").write_bytes(b"x" * 60_000)
    ctl("ready", name, "--file", tmp_path / "fits")


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("fifo", [False, True])
def test_a_signal_ends_the_reading_of_the_data(server, name, tmp_path, number, code, fifo):
    path = "-"
    if fifo:
        path = tmp_path / "fifo"
        os.mkfifo(path)
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "ready", name, "--file",
                             path], stdin=subprocess.PIPE)
    until(lambda: awaits_signals(call))
    call.send_signal(number)
    assert call.wait(10) == code


def awaits_signals(call):
    """Its threads block SIGINT and SIGTERM, unless ignored, as one of them waits for those."""
    with open(f"/proc/{call.pid}/status") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return int(fields["SigBlk"], 16) & 1 << (signal.SIGTERM - 1) != 0


def test_an_ignored_signal_stays_ignored(server, name):
    """As sh does for what it starts in the background."""
    call = subprocess.Popen(["sh", "-c", "trap '' INT; exec \"$0\" \"$@\"", BIN / "waitctl",
                             "--server", server.address, "wait", name], stdout=subprocess.PIPE)
    server.parked(name)
    call.send_signal(signal.SIGINT)
    # It would be cancelled by now; and what comes later comes behind that.
    with pytest.raises(subprocess.TimeoutExpired):
        call.wait(0.3)
    server.stub.Ready(pb.ReadyRequest(name=name, signal=pb.Signal(data=b"x")))
    assert call.communicate(timeout=10)[0] == b"x" and call.returncode == 0


def test_a_second_signal_ends_what_hangs(server, name):
    """Here in the writing of its data to a pipe that nobody empties."""
    data = b"x" * 60_000
    server.stub.Ready(pb.ReadyRequest(name=name, open_if_missing=pb.OpenOptions(),
                                      signal=pb.Signal(data=data)))
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, "wait", name],
                            stdout=into)
    os.close(into)
    until(lambda: server.get(name).read.state != pb.SEMAPHORE_STATE_READY)
    call.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        call.wait(0.3)
    call.send_signal(signal.SIGINT)
    assert call.wait(10) == 130
    os.close(out)


EVIL = "a\x1b]0;pwned\x07b\x9b2Jc\rd\ne\x7f"


class Scripted(rpc.WaitServiceServicer):
    """A server of sessions that answers operations as a test says, by `answer`."""

    def Session(self, requests, context):
        next(requests)
        yield pb.SessionResponse(welcome=pb.SessionWelcome(resume_token="token"))
        sequence = 0
        for request in requests:
            for operation in request.operations:
                result = self.answer(operation)
                result.id = operation.id
                sequence += 1
                yield pb.SessionResponse(results=[result], sequence=sequence)


class Evil(Scripted):
    """A server whose every text would paint the terminal."""

    def answer(self, operation):
        failure = pb.Signal.Failure(code=1, message=EVIL)
        ready = pb.WaitResponse(outcome=pb.OUTCOME_READY,
                                signal=pb.Signal(data=EVIL.encode(), failure=failure))
        if operation.HasField("wait"):
            return pb.OperationResult(wait=ready)
        if operation.HasField("poll"):
            poll = pb.PollResponse(outcome=pb.OUTCOME_READY)
            poll.results.add(target=7, response=ready)
            poll.results.add(target=0, response=ready)
            return pb.OperationResult(poll=poll)
        return pb.OperationResult(error=pb.OperationError(
            code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=EVIL, reason=EVIL))

    def descriptor(self):
        one = pb.PollDescriptor(name=EVIL, labels={EVIL: EVIL})
        one.read.waiter_details.add(client=EVIL)
        return one

    def GetPollDescriptor(self, request, context):
        return pb.GetPollDescriptorResponse(poll_descriptor=self.descriptor())

    def ListPollDescriptors(self, request, context):
        return pb.ListPollDescriptorsResponse(poll_descriptors=[self.descriptor()])


@pytest.fixture
def evil(tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    rpc.add_WaitServiceServicer_to_server(Evil(), server)
    address = f"unix:{tmp_path}/evil"
    server.add_insecure_port(address)
    server.start()
    yield address
    server.stop(None)


@pytest.mark.parametrize("words", [
    ["wait", "x"], ["poll", "x"], ["ready", "x"], ["get", "x"], ["open", "x"], ["ls"],
    ["ls", "-o", "name"], ["ready", "x", "-o", "json"], ["get", "x", "-o", "json"],
    ["wait", "\x1b[2J\x9b", "--timeout=1s"], ["wiat\x1b[2J"], ["get", "--\x1b[2J"],
])
def test_no_control_characters_reach_a_terminal(evil, words):
    done = subprocess.run([BIN / "waitctl", "--server", evil, *words], capture_output=True,
                          timeout=60)
    shown = done.stderr.decode() + ("" if words[0] == "wait" else done.stdout.decode())
    assert shown and not [c for c in shown if c != "\n" and (c < " " or "\x7f" <= c <= "\x9f")]
    if words == ["wait", "x"]:
        assert done.stdout == EVIL.encode() and r"\x1b" in done.stderr.decode()
    if words == ["poll", "x"]:
        assert done.stdout == b"x\n"


def test_a_poll_of_many_large_signals_is_received(ctl, server, name):
    names = [f"{name}/{i}" for i in range(100)]
    for each in names:
        server.stub.Ready(pb.ReadyRequest(name=each, open_if_missing=pb.OpenOptions(),
                                          signal=pb.Signal(data=b"x" * 60_000)))
    assert ctl("poll", *names, "--all").out.split() == names


def test_a_wait_parks_again_soon_after_a_long_absence(waitd):
    """Longer than the connection's backoff takes to grow to seconds."""
    first = waitd()
    call = subprocess.Popen([BIN / "waitctl", "--server", first.address, "wait", "a"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first.parked("a")
    first.process.kill()
    first.process.wait()
    time.sleep(5)
    second = Server(first.log.parent)
    begin = time.monotonic()
    try:
        second.parked("a")
        assert time.monotonic() - begin < 2.5
        second.stub.Ready(pb.ReadyRequest(name="a", signal=pb.Signal(data=b"x")))
        out, err = call.communicate(timeout=10)
        assert out == b"x" and err.count(b"trying again") == 1
    finally:
        second.process.kill()
        second.process.wait()


class Bounded(Scripted):
    """A server that ends each attempt at once by its own limit, until a life is over between two."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.gone = set()

    def answer(self, operation):
        if operation.HasField("set_deadline"):
            return self.life(operation.set_deadline)
        self.requests.append(operation.poll if operation.HasField("poll") else operation.wait)
        return self.answers.pop(0)

    def life(self, request):
        """What there is by a name, asked without a change: from no deadline to none."""
        assert request.HasField("clear")
        assert request.condition == pb.DEADLINE_CONDITION_ONLY_EARLIER
        assert not request.HasField("open_if_missing")
        if request.name in self.gone:
            return GONE
        return pb.OperationResult(set_deadline=pb.SetDeadlineResponse(
            generation=ord(request.name), read_effect=pb.DEADLINE_EFFECT_REFUSED))


@pytest.fixture
def bounded(tmp_path):
    servers = []

    def run(service, *words):
        server = grpc.server(futures.ThreadPoolExecutor(2))
        rpc.add_WaitServiceServicer_to_server(service, server)
        address = f"unix:{tmp_path}/bounded"
        server.add_insecure_port(address)
        server.start()
        servers.append(server)
        return subprocess.run([BIN / "waitctl", "--server", address, *words],
                              capture_output=True, text=True, timeout=60)

    yield run
    for each in servers:
        each.stop(None)


MAX_WAIT = pb.OperationResult(wait=pb.WaitResponse(
    outcome=pb.OUTCOME_TIMED_OUT, timeout_cause=pb.TIMEOUT_CAUSE_MAX_WAIT, generation=7))


def refused(code, reason):
    return pb.OperationResult(error=pb.OperationError(code=code.value[0], reason=reason,
                                                      message="no"))


GONE = refused(grpc.StatusCode.NOT_FOUND, "NO_DESCRIPTOR")
STALE = refused(grpc.StatusCode.ABORTED, "STALE_GENERATION")


@pytest.mark.parametrize("gone", [GONE, STALE])
def test_a_close_between_two_attempts_is_seen(bounded, gone):
    service = Bounded(MAX_WAIT, MAX_WAIT, gone)
    done = bounded(service, "wait", "a")
    assert done.returncode == 3 and "was closed" in done.stderr
    assert [each.generation for each in service.requests] == [0, 7, 7]


def test_a_refusal_of_the_first_attempt_is_no_close(bounded):
    done = bounded(Bounded(STALE), "wait", "a", "--generation", "3")
    assert done.returncode == 7 and "waitctl get" in done.stderr


POLL_MAX_WAIT = pb.OperationResult(poll=pb.PollResponse(
    outcome=pb.OUTCOME_TIMED_OUT, timeout_cause=pb.TIMEOUT_CAUSE_MAX_WAIT))


def poll_ready(target):
    answer = pb.PollResponse(outcome=pb.OUTCOME_READY)
    answer.results.add(target=target, response=pb.WaitResponse(outcome=pb.OUTCOME_READY))
    return pb.OperationResult(poll=answer)


def test_a_poll_without_a_spare_sees_a_close_between_two_attempts(bounded):
    service = Bounded(POLL_MAX_WAIT)
    service.gone = {"b"}
    done = bounded(service, "poll", "a", "b", "--all")
    assert done.returncode == 3 and "the poll of b was closed" in done.stderr
    assert len(service.requests) == 1


def test_a_poll_goes_on_without_the_target_that_was_closed(bounded):
    service = Bounded(POLL_MAX_WAIT, poll_ready(1))
    service.gone = {"b"}
    done = bounded(service, "poll", "a", "b", "c")
    assert (done.returncode, done.stdout) == (0, "c\n")
    assert [(t.name, t.generation) for t in service.requests[1].targets] == [("a", 97), ("c", 99)]


@pytest.mark.parametrize("words,said", [(["wait", "a"], "a was closed"),
                                        (["poll", "a", "b", "--all"], "the poll of a was closed"),
                                        (["poll", "a"], "the poll of a was closed")])
def test_a_name_that_is_closed_and_opened_anew_between_two_attempts_is_another(waitd, words, said):
    """waitctl is stopped, so that its wait is over and not begun again."""
    server = waitd("--max-wait", "20ms")
    call = subprocess.Popen([BIN / "waitctl", "--server", server.address, *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    mode = "poll" if words[0] == "poll" else "read"
    until(lambda: timed_out(server, mode) > 2)
    call.send_signal(signal.SIGSTOP)
    before = None
    while before != timed_out(server, mode):
        before = timed_out(server, mode)
        server.parked("a", 0)
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="a"))
    server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name="a"))
    call.send_signal(signal.SIGCONT)
    out, err = call.communicate(timeout=10)
    assert (call.returncode, out) == (3, "") and said in err


def test_a_restart_begins_generations_anew(waitd):
    """Of a wait that its server has bound to one by ending it, unseen, for its own limit."""
    first = waitd("--max-wait", "20ms")
    call = subprocess.Popen([BIN / "waitctl", "--server", first.address, "wait", "a"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    until(lambda: timed_out(first) > 2)
    first.process.kill()
    first.process.wait()
    second = Server(first.log.parent)
    try:
        second.parked("a")
        second.stub.Ready(pb.ReadyRequest(name="a", signal=pb.Signal(data=b"x")))
        assert call.communicate(timeout=10)[0] == b"x" and call.returncode == 0
    finally:
        second.process.kill()
        second.process.wait()


def timed_out(server, mode="read"):
    """How many waits have."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f'waitd_waits_total{{mode="{mode}",outcome="timed_out"}}'):
                return float(line.split()[1])
    return 0


def test_max_wait_is_not_seen(waitd):
    """With a real server: many attempts, then the signal; and a close."""
    server = waitd("--max-wait", "20ms")
    calls = [subprocess.Popen([BIN / "waitctl", "--server", server.address, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
             for words in (["wait", "a"], ["poll", "b", "c"], ["wait", "d"])]
    time.sleep(0.5)
    for each in "abcd":
        server.parked(each)
    for each in "ac":
        server.stub.Ready(pb.ReadyRequest(name=each, signal=pb.Signal(data=b"x")))
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="d"))
    assert [call.communicate(timeout=10)[0] for call in calls] == [b"x", b"c\n", b""]
    assert [call.returncode for call in calls] == [0, 0, 3]
