"""What the server bears of a connection, and what it does not."""

import collections
import contextlib
import socket
import struct

from harness import CALL_LIMIT_S, WOKE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1
ENHANCE_YOUR_CALM = 11
# Of a burst the first ping and two more are borne, and these anew when the server has something of
# its own to say, as it has when a connection begins.
BORNE, TOO_MANY = 3, 20

Frame = collections.namedtuple("Frame", "type flags payload")


def frame(of_type, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([of_type, 0]) + bytes(4) + payload


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
