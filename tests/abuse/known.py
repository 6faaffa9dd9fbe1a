"""The contract's stubs, and a client of it, for programs that are no tests: importing this generates
the stubs anew."""

import pathlib
import sys

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS / "tools"), str(_TESTS / "deploy")]
import contract  # noqa: E402,F401  makes the stubs

import grpc  # noqa: E402
from harness import FIFO, READY, Client, Server, check_refusal, eventually, options  # noqa: E402,F401
from session import SessionClient, SessionError, Stream, hello  # noqa: E402,F401
from waitd.v1 import waitd_pb2 as pb  # noqa: E402


def who(target):
    """How a Client says who it is."""
    credentials = None
    if target.tls:
        def read(path):
            return pathlib.Path(path).read_bytes() if path else None
        credentials = grpc.ssl_channel_credentials(
            read(target.ca), read(target.key), read(target.cert))
    return {"credentials": credentials, "token": target.token}


def client(target):
    return Client(target.address, **who(target))


def wait(name, **fields):
    return pb.WaitRequest(name=name, **fields)


def ready(name, data=b""):
    return pb.ReadyRequest(name=name, signal=pb.Signal(data=data))


def opening(name, **fields):
    return pb.OpenPollDescriptorRequest(name=name, options=options(**fields))
