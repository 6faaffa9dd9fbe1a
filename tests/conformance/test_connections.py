"""What the server bears of a connection, and what it does not."""

import collections
import contextlib
import socket
import struct
import time

import pytest
from harness import CALL_LIMIT_S, WOKE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
CANCEL = 8
ENHANCE_YOUR_CALM = 11
# Of a burst the first ping and two more are borne, and these anew when the server has something of
# its own to say, as it has when a connection begins.
BORNE, TOO_MANY = 3, 20

Frame = collections.namedtuple("Frame", "type flags payload")


def frame(of_type, payload=b"", flags=0, stream=0):
    return (struct.pack(">I", len(payload))[1:] + bytes([of_type, flags]) +
            struct.pack(">I", stream) + payload)


def header(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def request_headers(method):
    return b"".join(header(*each) for each in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"localhost"),
        (b":path", b"/waitd.v1.WaitService/" + method.encode()),
        (b"content-type", b"application/grpc"), (b"te", b"trailers")))


class RawConnection:
    """HTTP/2 without a library, which would keep the rules."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(CALL_LIMIT_S)
        self._socket.connect(address.removeprefix("unix:"))
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._stream.close()
        self._socket.close()

    def _receive(self):
        head = self._stream.read(9)
        assert len(head) == 9, "the server hung up without a word"
        return Frame(head[3], head[4], self._stream.read(int.from_bytes(head[:3], "big")))

    def call(self, method, stream):
        """With an empty request."""
        self._socket.sendall(frame(HEADERS, request_headers(method), END_HEADERS, stream) +
                             frame(DATA, bytes(5), END_STREAM, stream))

    def cancel(self, stream):
        self._socket.sendall(frame(RST_STREAM, struct.pack(">I", CANCEL), stream=stream))

    def ping(self, payload):
        """Pings, and returns what comes of it: the same PING, or a GOAWAY."""
        # Whoever said goodbye and hung up is not there to be written to, but what it said is.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(frame(PING, payload))
        while True:
            answer = self._receive()
            if answer.type == GOAWAY or (answer.type == PING and answer.flags & ACK):
                return answer


def test_a_few_pings_are_answered_and_a_flood_of_them_is_refused(shared_server, c, name):
    c.open(name)
    parked = c.park(name)
    with RawConnection(shared_server.address) as connection:
        payloads = [number.to_bytes(8, "big") for number in range(TOO_MANY)]
        for payload in payloads[:BORNE]:
            assert connection.ping(payload) == (PING, ACK, payload)
        answers = (connection.ping(payload) for payload in payloads[BORNE:])
        goodbye = next(answer for answer in answers if answer.type == GOAWAY)
        assert struct.unpack(">I", goodbye.payload[4:8])[0] == ENHANCE_YOUR_CALM
        assert goodbye.payload[8:] == b"too_many_pings"
    assert c.ready(name, b"unharmed").effect == WOKE
    assert parked.result().signal.data == b"unharmed"


@pytest.mark.parametrize("method", ["Wait", "Poll"])
def test_a_call_is_refused_though_its_client_has_gone(shared_server, c, name, method):
    c.open(name)
    with RawConnection(shared_server.address) as raw:
        # From at once to a little later: some of these are cancelled just before the refusal is
        # written.
        for number in range(2000):
            stream = 2 * number + 1
            raw.call(method, stream)
            end = time.perf_counter() + number % 100 * 2e-6
            while time.perf_counter() < end:
                pass
            raw.cancel(stream)
        assert raw.ping(b"the last").type == PING
    c.ready(name)
    assert c.takes(name), "it is the same server, and serves"
