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
# How many of a burst are borne: the first, and the two strikes.
BORNE = 3
Frame = collections.namedtuple("Frame", "type flags payload")


def frame(of_type, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([of_type, 0]) + bytes(4) + payload


class RawConnection:
    """HTTP/2 without a library, which would keep the rules."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(CALL_LIMIT_S)
        self._socket.connect(address.removeprefix("unix:"))
        self._stream = self._socket.makefile("rwb")
        self._send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        # What was written to a server that hung up is lost, and that is well.
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()

    def _send(self, data):
        self._stream.write(data)
        self._stream.flush()

    def _receive(self):
        head = self._stream.read(9)
        assert len(head) == 9, "the server hung up without a word"
        return Frame(head[3], head[4], self._stream.read(int.from_bytes(head[:3], "big")))

    def ping(self, payload):
        self._send(frame(PING, payload))

    def await_answer(self, of_type):
        """The first frame of a type that is not our peer's own asking."""
        while True:
            answer = self._receive()
            if answer.type == of_type and (of_type != PING or answer.flags & ACK):
                return answer


def test_a_few_pings_are_answered_and_a_flood_of_them_is_refused(shared_server, c, name):
    c.open(name)
    parked = c.park(name)
    with RawConnection(shared_server.address) as connection:
        for number in range(BORNE):
            payload = number.to_bytes(8, "big")
            connection.ping(payload)
            assert connection.await_answer(PING) == (PING, ACK, payload)
        # The one that is too many may be answered all the same, before the goodbye.
        connection.ping(bytes(8))
        goodbye = connection.await_answer(GOAWAY)
        assert struct.unpack(">I", goodbye.payload[4:8])[0] == ENHANCE_YOUR_CALM
        assert goodbye.payload[8:] == b"too_many_pings"
    assert c.ready(name, b"unharmed").effect == WOKE
    assert parked.result().signal.data == b"unharmed"
