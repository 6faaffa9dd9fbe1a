"""A proxy between a client and a server, which harms what passes through at a message boundary."""

import contextlib
import select
import socket
import struct
import tempfile
import threading

HEAD = 9  # of an HTTP/2 frame
DATA = 0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What may become of a connection when a message is about to pass: all of it breaks before the
# message or behind it, one direction is closed, or nothing passes for a while.
HARMS = ["cut before", "cut behind", "half-close", "freeze", "delay", "nothing"]


class Frames:
    """One direction: whole HTTP/2 frames of a stream of bytes."""

    def __init__(self, preface):
        self._buffer, self._preface = b"", preface

    def take(self, data):
        self._buffer += data
        if self._preface:
            if len(self._buffer) < len(self._preface):
                return
            size, self._preface = len(self._preface), b""
            yield None, self._buffer[:size]
            self._buffer = self._buffer[size:]
        while len(self._buffer) >= HEAD:
            size = HEAD + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < size:
                return
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            yield frame[3], frame


class Proxy:
    """Listens on a unix socket of its own and passes on to another, from one thread for each
    connection. plan(number) says what becomes of a connection when so many messages have passed in
    either direction: one of HARMS."""

    def __init__(self, target, plan, pause_s=0.02):
        self._target, self._plan, self._pause_s = target.removeprefix("unix:"), plan, pause_s
        self._folder = tempfile.TemporaryDirectory(prefix="waitd-proxy-")
        self.address = f"unix:{self._folder.name}/s"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder.name}/s")
        self._listener.listen(16)
        self.harms = dict.fromkeys(HARMS, 0)
        self._stop = threading.Event()
        self._lock, self._messages = threading.Lock(), 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def _accept(self):
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass, args=[client], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass(self, client):
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(self._target)
                self._relay(client, server)
            except OSError:
                pass  # the server is gone, or one of the two hung up

    def _relay(self, client, server):
        ways = {client: (server, Frames(PREFACE)), server: (client, Frames(b""))}
        opened = set(ways)
        while opened and not self._stop.is_set():
            for source in select.select(list(opened), [], [], 0.1)[0]:
                to, frames = ways[source]
                data = source.recv(1 << 16)
                if not data:
                    opened.discard(source)
                    to.shutdown(socket.SHUT_WR)
                    continue
                for kind, frame in frames.take(data):
                    if kind != DATA or len(frame) == HEAD or not self._harm(client, server, to,
                                                                            frame):
                        to.sendall(frame)

    def _harm(self, client, server, to, frame):
        """Judges one message; true: it was passed on. Raises when the connection is over."""
        with self._lock:
            self._messages += 1
            harm = self._plan(self._messages)
            self.harms[harm] += 1
        if harm == "cut behind":
            to.sendall(frame)
        if harm.startswith("cut"):
            reset = struct.pack("ii", 1, 0)
            for one in (client, server):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            raise OSError("cut")
        if harm == "half-close":
            # What comes by this way afterwards is lost; the other way stays for what is on it.
            to.sendall(frame)
            to.shutdown(socket.SHUT_WR)
            self._stop.wait(self._pause_s)
            raise OSError("half-closed")
        if harm == "freeze":
            self._stop.wait(self._pause_s * 5)
        if harm == "delay":
            self._stop.wait(self._pause_s / 4)
        return False
