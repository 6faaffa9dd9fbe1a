"""What the tests of the real processes share: a waitd of their own, and a generated client."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["WAITD_BIN_DIR"])
STUBS = tempfile.mkdtemp(prefix="waitd-stubs-")
subprocess.run(
    ["protoc", "-I", ROOT / "proto", "--python_out", STUBS, "--grpc_python_out", STUBS,
     "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
     "waitd/v1/waitd.proto", "waitd/v1/admin.proto", "google/rpc/error_details.proto",
     "google/rpc/status.proto", "grpc/health/v1/health.proto"],
    check=True)
# The folder grpc is grpcio's package; the stubs of health go beside it under another name.
os.rename(os.path.join(STUBS, "grpc"), os.path.join(STUBS, "grpc_stubs"))
sys.path[:0] = [STUBS, str(ROOT / "tests/tools")]

import grpc  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from waitd.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402,F401
from waitd.v1 import waitd_pb2 as pb  # noqa: E402
from waitd.v1 import waitd_pb2_grpc as rpc  # noqa: E402


def until(condition, seconds=10):
    """Waits for something to become true; what it became."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


class Server:
    """A waitd of its own on a unix socket, stopped by SIGTERM, which must end with 0. It keeps
    nothing; with "--store", "rocksdb" the next one in the same folder knows what it answered."""

    def __init__(self, folder, *flags, env=None):
        self.address = f"unix:{folder}/waitd.sock"
        self.log = pathlib.Path(folder) / "log"
        self.process = subprocess.Popen(
            [BIN / "waitd", "--listen-address", self.address, "--metrics-address", "127.0.0.1:0",
             "--store", "memory", "--data-dir", f"{folder}/data", *flags],
            stderr=self.log.open("w"), env={**os.environ, **(env or {})})
        ready = until(lambda: [line for line in self.log.read_text().splitlines()
                               if " ready " in line] or self.process.poll() is not None)
        assert ready is not True, self.log.read_text()
        self.metrics = ready[0].split("metrics=")[1].split()[0]
        # Without those of an earlier server at this address, which may pause before they connect.
        self.channel = grpc.insecure_channel(self.address,
                                             [("grpc.use_local_subchannel_pool", 1)])
        self.stub = rpc.WaitServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)

    def get(self, name):
        return self.stub.GetPollDescriptor(pb.GetPollDescriptorRequest(name=name)).poll_descriptor

    def parked(self, name, count=1, side="read"):
        """Waits until so many are parked on a name, which may not be open yet."""

        def are_parked():
            try:
                return getattr(self.get(name), side).waiters == count
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
                return False

        until(are_parked)

    def stop(self, wanted=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == wanted, self.log.read_text()
        self.channel.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("waitd"), "--drain-timeout", "0")
    yield one
    one.stop()


@pytest.fixture
def waitd(tmp_path):
    """Starts further servers with flags of their own."""
    started = []

    def start(*flags, env=None):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Server(folder, *flags, env=env))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def ctl(server):
    """Runs waitctl to its end, which must be with this exit code."""

    def run(*words, code=0, stdin=None):
        done = subprocess.run([BIN / "waitctl", "--server", server.address, *words], input=stdin,
                              capture_output=True, timeout=60)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        done.out, done.err = (text.decode(errors="replace")
                              for text in (done.stdout, done.stderr))
        return done

    return run


_count = 0


@pytest.fixture
def name(request):
    """A name that no other test uses."""
    global _count
    _count += 1
    return f"{request.node.name}/{_count}"


def refusal(call):
    """The status code, reason and field of a call that must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    reason = field = None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                assert info.domain == "waitd"
                reason = info.reason
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                field = bad.field_violations[0].field
    return error.code(), reason, field
