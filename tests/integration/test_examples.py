"""The example programs of the C++ client library, each as a reader would try it."""

import subprocess

from conftest import BIN, pb

EXAMPLES = BIN.parent / "examples"


def begin(server, program, *words):
    return subprocess.Popen([EXAMPLES / program, server.address, *words], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run(server, program, *words):
    """What it printed, and its exit code."""
    done = subprocess.run([EXAMPLES / program, server.address, *words], text=True,
                          capture_output=True, timeout=60)
    return done.stdout.strip(), done.returncode


def end(process, code=0):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    return out.strip()


def test_a_request_waits_for_its_webhook(server):
    assert run(server, "webhook", "42") == ('200 {"paid": true}', 0)


def test_a_build_step_waits_for_another(server, name):
    waiting = begin(server, "build_step", "wait", name, "60")
    server.parked(name)
    assert run(server, "build_step", "done", name, "all green") == ("", 0)
    assert end(waiting) == "all green"


def test_a_build_step_learns_of_a_failure_a_timeout_and_a_close(server, name):
    assert run(server, "build_step", "failed", name, "3") == ("", 0)
    assert run(server, "build_step", "wait", name, "60") == (
        f"{name} failed: it ended with exit code 3", 8)
    assert run(server, "build_step", "wait", name, "0") == (f"{name} took too long", 124)
    waiting = begin(server, "build_step", "wait", name, "60")
    server.parked(name)
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name=name))
    assert end(waiting, 3) == f"{name} was called off"


def test_a_worker_that_is_done_says_so(server, name):
    supervisor = begin(server, "heartbeat", "supervise", name)
    server.parked(name)
    worker = begin(server, "heartbeat", "work", name, "10000")
    assert worker.stdout.readline() == f"{name} works\n"
    assert end(worker) == ""
    assert end(supervisor) == f"{name} says: all done"
    assert not server.get(name).read.HasField("deadline")


def test_a_worker_that_dies_wakes_its_supervisor(server, name):
    supervisor = begin(server, "heartbeat", "supervise", name)
    server.parked(name)
    worker = begin(server, "heartbeat", "work", name, "600")
    assert worker.stdout.readline() == f"{name} works\n"
    first = server.get(name).read.deadline.at
    while server.get(name).read.deadline.at == first:  # until it has beaten again
        assert supervisor.poll() is None
    worker.kill()
    worker.communicate()
    assert end(supervisor, 124) == f"{name} fell silent"


def test_a_hundred_agents_await_a_rollout(server, name):
    assert run(server, "rollout", name, "100") == (
        "100 agents updated, one that came late found https://example.com/v2.tar", 0)


def test_an_approval_outlives_the_program_that_asked(server, name):
    first = begin(server, "approval", "ask", name, f"ticket of {name}")
    server.parked(name)
    first.kill()
    first.communicate()
    again = begin(server, "approval", "ask", name, f"ticket of {name}")
    assert run(server, "approval", "approve", name, "Ann") == ("", 0)
    assert end(again) == f"{name} approved by Ann, attempt 1"
    assert server.get(name).read.unacked == 0
