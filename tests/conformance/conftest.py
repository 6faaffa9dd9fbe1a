"""Fixtures: the contract's stubs, a server, a client of it, and a name that no other test has.

The stubs are generated anew for each run, from the contract in the repository alone.
"""

import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import grpc
import pytest

_PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
_GENERATED = pathlib.Path(tempfile.mkdtemp(prefix="waitd-stubs-"))
_RUN_LIMIT_S = 580
_TEST_LIMIT_S = 90


def _generate_stubs():
    subprocess.run(
        ["/usr/bin/protoc", f"--python_out={_GENERATED}", f"--grpc_python_out={_GENERATED}",
         "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin", f"-I{_PROTO}",
         "waitd/v1/waitd.proto", "waitd/v1/admin.proto", "google/rpc/status.proto",
         "google/rpc/error_details.proto", "grpc/health/v1/health.proto"], check=True)
    sys.path.insert(0, str(_GENERATED))
    # The installed grpc package is a closed one, so its part of the stubs has to be added to it.
    grpc.__path__.append(str(_GENERATED / "grpc"))


sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
# Before the tests are imported: they import the stubs.
_generate_stubs()

import hangs  # noqa: E402  needs the path
import harness  # noqa: E402  needs the stubs
import session  # noqa: E402  needs the stubs

# Whose statements hold for whatever carries the calls.
_THROUGH_BOTH = {"test_deadlines", "test_kinds_polls", "test_open_close", "test_wait_ready"}


def pytest_configure(config):
    """Turns a run that hangs into one that fails, and says where it hung."""
    config.addinivalue_line("markers", "unary: of what only unary calls have, such as a deadline")
    hangs.limit(_RUN_LIMIT_S)


def pytest_unconfigure(config):
    del config
    hangs.no_limit()
    shutil.rmtree(_GENERATED, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A limit for each test: one that hangs shows its stacks and ends the run."""
    del item
    hangs.limit(_TEST_LIMIT_S)
    yield
    hangs.limit(_RUN_LIMIT_S)


@pytest.fixture(scope="session")
def waitd():
    """The path of the binary under test."""
    path = pathlib.Path(os.environ["WAITD_BIN_DIR"]) / "waitd"
    assert os.access(path, os.X_OK), f"{path} is no program"
    return str(path)


@pytest.fixture(scope="session")
def shared_server(waitd):
    """The server that most tests share; each keeps to names of its own."""
    with harness.Server(waitd, "--drain-timeout=1s") as server:
        yield server


def pytest_generate_tests(metafunc):
    """Runs the statements once through unary calls and once through a session."""
    if ("c" in metafunc.fixturenames and metafunc.module.__name__ in _THROUGH_BOTH
            and not metafunc.definition.get_closest_marker("unary")):
        metafunc.parametrize("c", ["unary", "session"], indirect=True)


@pytest.fixture
def c(request, shared_server):
    """A client of the shared server. At the end nobody may be left parked there."""
    through_session = getattr(request, "param", "unary") == "session"
    kind = session.SessionClient if through_session else harness.Client
    with kind(shared_server.address) as client:
        yield client
    shared_server.await_at_rest()


@pytest.fixture
def start(waitd):
    """Starts servers of a test's own: start(flag, ..., env=..., config=...)."""
    servers = []

    def _start(*flags, **options):
        server = harness.Server(waitd, *flags, **options)
        servers.append(server)
        return server.start()

    yield _start
    for server in reversed(servers):
        server.stop()


_numbers = itertools.count(1)


@pytest.fixture
def name(request):
    """A name of the test's own."""
    return f"{request.node.originalname}/{next(_numbers)}"
