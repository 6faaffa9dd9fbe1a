#!/usr/bin/python3
"""One attack on a waitd of one's own on this machine, bounded in count and time; prints what came
of it as JSON.

    attacks.py NAME '{"address": "127.0.0.1:7411"}' COUNT SECONDS

A stranger has an address and knows that there is TLS; a known client has credentials, too.
"""

import json
import os
import ssl
import sys
import time

import http2
from http2 import Gone

ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


class Target:
    """Where, and what there is to show. Only loopback: this is for servers of one's own."""

    def __init__(self, address, tls=False, ca=None, cert=None, key=None, token=None):
        self.address, self.tls, self.token = address, tls, token
        self.ca, self.cert, self.key = ca, cert, key
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        assert self.host == "127.0.0.1", self.host
        self._context = None

    def context(self):
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
            self._context.set_alpn_protocols(["h2"])
        return self._context


class Bound:
    """So many times and so long, whichever is over first. The time begins when it is asked first."""

    def __init__(self, count, seconds):
        self.count, self.done = count, 0
        self._seconds, self._end = seconds, None

    def over(self):
        return self.late() or self.done >= self.count

    def late(self):
        if self._end is None:
            self._end = time.monotonic() + self._seconds
        return time.monotonic() >= self._end

    def hold(self, each=lambda: None, pause_s=0.05):
        """Does that over and over until the time is over."""
        while not self.late():
            each()
            time.sleep(pause_s)


def over_and_over(target, bound, messages):
    """Sends on one connection after the other what messages(connection's first stream) yields, as
    pairs of a number of deeds and their bytes. Returns how many connections it took."""
    connections = broken = 0
    while not bound.over():
        connections += 1
        try:
            with http2.Connection(target) as one:
                for deeds, data in messages():
                    if bound.over():
                        break
                    one.send(data)
                    bound.done += deeds
        except Gone:
            broken += 1
    return {"done": bound.done, "connections": connections, "ended by the server": broken}


def streams():
    """The numbers that a client's streams may have."""
    return range(1, 1 << 31, 2)


@attack
def silent(target, bound):
    """Connections that send nothing, and stay."""
    held, refused = [], 0
    while not bound.over():
        bound.done += 1
        try:
            held.append(http2.connect(target, limit_s=1))
        except Gone:
            refused += 1
            time.sleep(0.01)
    bound.hold()
    ended = sum(_has_ended(one) for one in held)
    for one in held:
        one.close()
    return {"connected": len(held), "refused": refused, "ended by the server": ended}


def _has_ended(one):
    """Whether the peer has closed it. What it sent before is dropped."""
    one.setblocking(False)
    try:
        while one.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@attack
def descriptors_of_files(target, bound):
    """The same, against a server that may have fewer files open than that."""
    return silent(target, bound)


@attack
def slow_headers(target, bound):
    """Connections that send their headers byte by byte, and never all of them."""
    begin = http2.frame(http2.HEADERS, http2.END_HEADERS, 1, bytes(16000))[:9]
    text = http2.literal(b"slow", bytes(15000))
    held, refused, sent = [], 0, 0
    while not bound.over():
        bound.done += 1
        try:
            held.append(http2.Connection(target))
            held[-1].send(begin)
        except Gone:
            refused += 1
    asked = len(held)

    def drip():
        nonlocal sent
        for one in list(held):
            try:
                one.send(text[sent % len(text):][:1])
            except Gone:
                held.remove(one)
        sent += 1
    bound.hold(drip)
    for one in held:
        one.close()
    return {"connected": asked, "refused": refused, "still there": len(held), "bytes each": sent}


@attack
def ping_flood(target, bound):
    """Pings without a pause, over and over when the server ends the connection."""
    pings = b"".join(http2.frame(http2.PING, 0, 0, number.to_bytes(8, "big"))
                     for number in range(100))

    def messages():
        while True:
            yield 100, pings
    return over_and_over(target, bound, messages)


@attack
def rapid_reset(target, bound):
    """Streams that are opened and reset at once."""
    block = http2.request_headers()
    reset = http2.CANCEL.to_bytes(4, "big")

    def messages():
        batch = []
        for stream in streams():
            batch.append(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
                         + http2.frame(http2.RST_STREAM, 0, stream, reset))
            if len(batch) == 1000:
                yield 1000, b"".join(batch)
                batch.clear()
    return over_and_over(target, bound, messages)


@attack
def hpack_integers(target, bound):
    """One header block that never ends, of one integer that never ends. Counts frames of 16 KiB."""
    rest = http2.frame(http2.CONTINUATION, 0, 1, b"\x80" * http2.FRAME_MAX)

    def messages():
        yield 1, http2.frame(http2.HEADERS, 0, 1, b"\xff" + b"\x80" * 1000)
        while True:
            yield 1, rest
    return over_and_over(target, bound, messages)


@attack
def hpack_table(target, bound):
    """Header blocks that name one long entry of the table thousands of times: a byte becomes 4 KB."""
    keep = http2.request_headers() + http2.literal(b"x-bomb", bytes([97]) * 3900, indexed=True)
    bomb = http2.request_headers() + b"\xbe" * 12000

    def messages():
        numbers = iter(streams())
        yield 1, http2.in_frames(next(numbers), keep)
        for stream in numbers:
            yield 1, http2.in_frames(stream, bomb)
    return over_and_over(target, bound, messages)


@attack
def metadata_bomb(target, bound):
    """Calls with a quarter of a megabyte of metadata each."""
    block = http2.request_headers() + b"".join(
        http2.literal(b"x-%d" % number, b"m" * 1000) for number in range(256))

    def messages():
        for stream in streams():
            yield 1, http2.in_frames(stream, block)
    return over_and_over(target, bound, messages)


class Batches:
    """A known client's session that asks for much, a thousand operations at a time."""

    def __init__(self, target, reason):
        """reason: for which an operation may be refused, and no other."""
        import known  # only here: strangers do not need the contract's stubs
        self._known, self._reason = known, reason
        self._client = known.client(target)
        self._stream = known.Stream(self._client.channel, known.hello(linger=0.001))
        self._stream.welcome()
        self._last = self.answered = self.refused = 0

    def send(self, requests):
        """Returns when the server has looked at all of them. One at their end that is always
        refused tells when that is."""
        first = self._last + 1
        operations = list(enumerate([*requests, self._known.ready("bad/none")], first))
        self._last = marker = operations[-1][0]
        self._stream.send(*operations)
        while marker:
            response = self._stream.next()
            for result in response.results:
                if result.id == marker:
                    marker = 0
                elif result.WhichOneof("result") != "error":
                    self.answered += 1
                else:
                    assert result.error.reason == self._reason, result
                    self.refused += 1
            self._stream.send(acked=response.sequence)

    def end(self):
        self._stream.break_off()
        self._client.disconnect()


def _over_the_limit(target, bound, reason, request, sessions=1):
    """Asks for request(known, number) in so many sessions by turns, and stays."""
    import known
    batches = [Batches(target, reason) for _ in range(sessions)]
    while not bound.over():
        for one in batches:
            numbers = range(bound.done, min(bound.done + 1000, bound.count))
            one.send([request(known, number) for number in numbers])
            bound.done += len(numbers)
    bound.hold()
    said = {"asked": bound.done, "refused": sum(one.refused for one in batches),
            "answered": sum(one.answered for one in batches)}
    for one in batches:
        one.end()
    return said


def _wait(known, number):
    return known.wait(f"bad/{number % 1000}", open_if_missing=known.options(
        kind=known.FIFO, ephemeral=True))


@attack
def parks(target, bound):
    """A known client parks waits in one session, far more than a session may."""
    return _over_the_limit(target, bound, "LIMIT_WAITERS", _wait)


@attack
def waiters(target, bound):
    """The same in so many sessions that they take all waits that the server has."""
    return _over_the_limit(target, bound, "LIMIT_WAITERS", _wait, sessions=6)


@attack
def descriptors(target, bound):
    """A known client opens names, far more than the server has."""
    return _over_the_limit(target, bound, "LIMIT_DESCRIPTORS", lambda known, number: known.opening(
        f"bad/{number}", ephemeral=True))


def main(name, target, count, seconds):
    # It stands on the server's own machine, and what it computes is not what is measured.
    os.nice(10)
    begin = time.monotonic()
    said = ATTACKS[name](Target(**json.loads(target)), Bound(int(count), float(seconds)))
    print(json.dumps({**said, "seconds": round(time.monotonic() - begin, 2)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
