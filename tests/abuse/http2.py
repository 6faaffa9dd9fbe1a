"""As much of HTTP/2 as it takes to misuse it: frames, header blocks by hand, and a connection."""

import contextlib
import itertools
import socket
import ssl
import struct

HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 1, 3, 4, 6, 7, 9
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = 8
FRAME_MAX = 16384

_sources = itertools.count()
_CONNECTIONS_PER_SOURCE = 5000
_SEND_LIMIT_S = 2


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def integer(value, bits, first=0):
    """An HPACK integer: what does not fit into so many bits goes on in bytes of seven."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    value -= most
    rest = []
    while value >= 0x80:
        rest.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([first | most, *rest, value])


def literal(name, value, indexed=False):
    """A header with its name and value in full; indexed: the peer is to keep it in its table."""
    return (b"\x40" if indexed else b"\x00") + integer(len(name), 7) + name + integer(
        len(value), 7) + value


def request_headers():
    """The block of a Wait."""
    return b"".join(literal(name, value) for name, value in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/waitd.v1.WaitService/Wait"),
        (b":authority", b"localhost"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))


def in_frames(stream, block):
    """A header block, cut into one HEADERS and as many CONTINUATION frames as it takes."""
    parts = [block[at:at + FRAME_MAX] for at in range(0, len(block), FRAME_MAX)]
    last = len(parts) - 1
    return b"".join(frame(CONTINUATION if number else HEADERS,
                          END_HEADERS if number == last else 0, stream, part)
                    for number, part in enumerate(parts))


class Gone(Exception):
    """The peer has ended the connection."""


def connect(target, limit_s=_SEND_LIMIT_S):
    """A TCP connection from one of many loopback addresses, so that ports do not run short."""
    one = socket.socket()
    try:
        one.settimeout(limit_s)
        one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: one by destination
        one.bind((f"127.0.0.{2 + next(_sources) // _CONNECTIONS_PER_SOURCE % 200}", 0))
        one.connect((target.host, target.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one
    except OSError as error:
        one.close()
        raise Gone(str(error)) from error


class Connection:
    """One connection on which HTTP/2 has begun. Each method raises Gone when the peer has ended it."""

    def __init__(self, target):
        self._socket = connect(target)
        self._seen = b""
        try:
            if target.tls:
                self._socket = target.context().wrap_socket(
                    self._socket, server_hostname="localhost")
            self._socket.settimeout(_SEND_LIMIT_S)
            self.send(PREFACE + frame(SETTINGS, 0, 0))
        except (Gone, OSError) as error:
            self.close()
            raise Gone(str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self._socket.close()

    def send(self, data):
        """Sends all of it, and looks at what has come: a GOAWAY is an end, too."""
        try:
            self._socket.sendall(data)
            self._look()
        except OSError as error:  # a timeout and an alert of TLS are such, too
            raise Gone(str(error)) from error

    def _look(self):
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while data := self._socket.recv(1 << 16):
                self._read(data)
            raise Gone("closed")
        self._socket.settimeout(_SEND_LIMIT_S)

    def _read(self, data):
        """Goes over whole frames; what they carry is dropped."""
        self._seen += data
        while len(self._seen) >= 9:
            end = 9 + int.from_bytes(self._seen[:3], "big")
            if len(self._seen) < end:
                return
            if self._seen[3] == GOAWAY:
                raise Gone("GOAWAY")
            self._seen = self._seen[end:]
