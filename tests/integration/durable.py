"""In which words the tests of the store speak of waitds that have one, and of their ends."""

import signal
import subprocess

import grpc
from google.protobuf import duration_pb2

from conftest import BIN, pb, refusal, until

LATCH = pb.OpenOptions(kind=pb.KIND_LATCH)
WRONG_USE, STORE_FAILED = 2, 74  # what waitd exits with


def on(data, *flags):
    """The flags of a waitd on a data directory."""
    return ("--store=rocksdb", f"--data-dir={data}", *flags)


def end(server, code=0, number=signal.SIGTERM):
    """Ends a waitd as a supervisor does, or waits until it has ended by itself (number None)."""
    if number is not None:
        server.process.send_signal(number)
    assert server.process.wait(30) == code, server.log.read_text()
    server.channel.close()


def seconds(number):
    return duration_pb2.Duration(seconds=int(number), nanos=round(number % 1 * 1e9))


def ready(server, name, data=b"", **fields):
    """Remembered on the disk when it returns."""
    return server.stub.Ready(pb.ReadyRequest(
        name=name, signal=pb.Signal(data=data), open_if_missing=LATCH, **fields), timeout=30)


def start_wait(server, name, opened=LATCH, **fields):
    return server.stub.Wait.future(
        pb.WaitRequest(name=name, open_if_missing=opened, **fields), timeout=60)


def reason_of(call):
    """The status code and reason with which a call that was started is refused."""
    return refusal(call.result)[:2]


def names(server):
    """All that is open, by its name."""
    found, token = {}, ""
    while True:
        page = server.stub.ListPollDescriptors(
            pb.ListPollDescriptorsRequest(page_size=1000, page_token=token), timeout=30)
        found.update((each.name, each) for each in page.poll_descriptors)
        token = page.next_page_token
        if not token:
            return found


def check(data):
    """What --check-store says of a directory: its exit code, and all that it printed."""
    done = subprocess.run([BIN / "waitd", "--check-store", f"--data-dir={data}"],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def health(server, service=""):
    """SERVING or not, as grpc.health.v1 has it, or None when nobody is there any more."""
    call = server.channel.unary_unary("/grpc.health.v1.Health/Check")
    name = service.encode()
    try:
        answer = call(b"\x0a" + bytes([len(name)]) + name, timeout=30)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        return None
    return answer == b"\x08\x01"


def fill_until(server, what, refused):
    """Signals with large data, until a signal is refused; the names whose signals were taken."""
    taken = []

    def one():
        name = f"{what}/{len(taken)}"
        try:
            ready(server, name, b"x" * 30_000)
        except grpc.RpcError as error:
            assert refusal(lambda: (_ for _ in ()).throw(error))[:2] == refused, error
            return True
        taken.append(name)
        return False

    until(one, 60)
    return taken
