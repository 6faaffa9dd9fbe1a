"""waitctl over a server that is killed and remembers what it answered."""

import json
import signal
import subprocess

import pytest
from conftest import BIN, Server, pb, until

DURABLE = ("--store", "rocksdb")


def start(server, *words):
    return subprocess.Popen([BIN / "waitctl", "--server", server.address, *words], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(call, code=0):
    out, err = call.communicate(timeout=30)
    assert call.returncode == code, (call.returncode, out, err)
    return out, err


def ready(server, name, data):
    return server.stub.Ready(pb.ReadyRequest(name=name, signal=pb.Signal(data=data),
                                             open_if_missing=pb.OpenOptions()))


class Lives:
    """A server that is killed and begins again."""

    def __init__(self, folder):
        self._folder = folder
        self.now = Server(folder, *DURABLE)

    def again(self):
        self.now.stop(self.kill())
        self.now = Server(self._folder, *DURABLE)
        return self.now

    def kill(self):
        self.now.process.kill()
        self.now.process.wait()
        return -signal.SIGKILL


@pytest.fixture
def lives(tmp_path):
    one = Lives(tmp_path)
    yield one
    one.now.stop(one.kill())


@pytest.mark.parametrize("words", [[], ["--wait-id", "mine"]])
def test_a_wait_is_woken_after_the_crash(lives, words):
    call = start(lives.now, "wait", "a", *words)
    lives.now.parked("a")
    server = lives.again()
    server.parked("a")
    ready(server, "a", b"x")
    out, err = end(call)
    assert out == "x" and err.count("trying again") == 1


@pytest.mark.parametrize("words", [[], ["--wait-id", "mine"]])
def test_a_wait_gets_what_was_signalled_before_the_crash(lives, words):
    """In a life of the server of which it knows nothing."""
    call = start(lives.now, "wait", "a", *words)
    lives.now.parked("a")
    call.send_signal(signal.SIGSTOP)
    assert ready(lives.again(), "a", b"x").effect == pb.READY_EFFECT_REMEMBERED
    lives.again()
    call.send_signal(signal.SIGCONT)
    assert end(call)[0] == "x"


def test_the_users_wait_id_gets_its_outcome_again(lives):
    ready(lives.now, "a", b"x")
    words = ["wait", "a", "--wait-id", "mine"]
    assert end(start(lives.now, *words))[0] == "x"
    assert end(start(lives.again(), *words))[0] == "x"
    end(start(lives.now, "wait", "a", "--timeout", "0"), 124)


def test_a_hand_off_is_acknowledged_after_the_crash(lives):
    ready(lives.now, "a", b"x")
    out, _ = end(start(lives.now, "wait", "a", "--ack-timeout", "1m", "--wait-id", "mine", "-o",
                       "json"))
    server = lives.again()
    assert server.get("a").read.unacked == 1
    handed = json.loads(out)
    end(start(server, "ack", "a", "--wait-id", "mine", "--delivery", str(handed["delivery"]),
              "--generation", str(handed["generation"])))
    assert server.get("a").read.unacked == 0


def test_exec_goes_on_in_its_life(lives):
    """It beats on by its generation, and says nothing of it."""
    call = start(lives.now, "exec", "a", "--ttl", "3s", "--", "sh", "-c", "read -r code; exit $code")

    def deadline(server):
        return server.get("a").read.deadline.at.ToNanoseconds()
    until(lambda: lives.now.stub.ListPollDescriptors(
        pb.ListPollDescriptorsRequest()).poll_descriptors)
    life, before = lives.now.get("a").generation, deadline(lives.now)
    server = lives.again()
    until(lambda: deadline(server) > before)
    _, err = call.communicate("3\n", timeout=30)
    assert call.returncode == 3 and "forgotten" not in err
    assert server.get("a").generation == life
    assert "failed with code 3" in end(start(server, "wait", "a"), 8)[1]
