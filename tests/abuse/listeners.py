"""The ways in that are attacked: plain, behind mTLS, and behind the edge; each a waitd of its own."""

import json
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import tempfile

import known

EDGE = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "edge" / "nginx.conf"
# What a known client may take is small, so that it is soon too much.
SESSION_PARKED_MAX, WAITERS_MAX, DESCRIPTORS_MAX = 1000, 5000, 3000
FLAGS = [f"--max-parked={SESSION_PARKED_MAX}", f"--max-waiters={WAITERS_MAX}",
         f"--max-descriptors={DESCRIPTORS_MAX}"]
RULES = "".join(f"{who} {who}/ wait,ready,deadline,open,list\n" for who in ("good", "bad"))


def all_files():
    """Lets this process and those that it starts have as many files open as they may at all."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class Plain:
    """A port of loopback: no TLS, and nobody is asked who they are."""

    name = "plain"

    def __init__(self, binary):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="waitd-abuse-"))
        self.server = self._server(binary)

    def _server(self, binary):
        return known.Server(binary, *FLAGS, listen="127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *unused):
        try:
            self.server.stop()
        finally:
            shutil.rmtree(self.directory)

    def pids(self):
        """Of all processes that are attacked, by what they are."""
        return {"waitd": [self.server.process.pid]}

    def target(self, who=None):
        """What that client says, as JSON. None: a stranger."""
        del who
        return json.dumps({"address": self.server.address})

    def _certify(self):
        from credentials import HERE, Authority  # a plain one needs no openssl
        self._authority = Authority(self.directory)
        return self._authority.issue(*HERE, stem="server")


class Mtls(Plain):
    """TLS that asks each client for a certificate, which says who it is."""

    name = "mtls"

    def _server(self, binary):
        shown = self._certify()
        self._clients = {who: self._authority.issue(f"URI:{who}", stem=who)
                         for who in ("good", "bad")}
        rules = self.directory / "rules"
        rules.write_text(RULES, encoding="ascii")
        return known.Server(
            binary, *FLAGS, f"--tls-cert-file={shown.file}", f"--tls-key-file={shown.key}",
            f"--tls-client-ca-file={self._authority.file}", "--auth=mtls", f"--acl-file={rules}",
            listen="127.0.0.1:0", credentials=self._authority.credentials(self._clients["good"]))

    def target(self, who=None):
        shown = self._clients[who] if who else None
        return json.dumps({"address": self.server.address, "tls": True,
                           "ca": str(self._authority.file),
                           "cert": shown and str(shown.file), "key": shown and str(shown.key)})


class Edge(Plain):
    """The edge's nginx, as it is deployed, before a waitd on a socket that knows clients by token."""

    name = "edge"

    def _server(self, binary):
        from credentials import token_line
        shown = self._certify()
        shutil.copy(shown.file, self.directory / "tls.crt")
        shutil.copy(shown.key, self.directory / "tls.key")
        rules, tokens = self.directory / "rules", self.directory / "tokens"
        rules.write_text(RULES, encoding="ascii")
        tokens.write_text("".join(token_line(who, self._token(who)) for who in ("good", "bad")),
                          encoding="ascii")
        return known.Server(binary, *FLAGS, "--auth=token", f"--token-file={tokens}",
                            f"--acl-file={rules}", listen=f"unix:{self.directory}/waitd.sock")

    @staticmethod
    def _token(who):
        return f"token-of-{who}-which-nobody-else-knows"

    def __enter__(self):
        super().__enter__()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        config = self.directory / "nginx.conf"
        config.write_text(self._as_here(EDGE.read_text(encoding="utf-8")), encoding="utf-8")
        root = ["-g", "user root;"] if os.geteuid() == 0 else []
        with open(self.directory / "nginx.log", "wb") as log:
            self._nginx = subprocess.Popen(
                ["/usr/sbin/nginx", "-e", "stderr", "-c", str(config), *root], stderr=log)
        try:
            known.eventually(self._serves, "the edge serves")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _as_here(self, text):
        """The file that is deployed, with this test's places. Each has to be in it."""
        for pattern, here in ((r"/run/waitd-edge", str(self.directory)),
                              (r"/run/credentials/waitd-edge\.service", str(self.directory)),
                              (r"/run/waitd/waitd\.sock", f"{self.directory}/waitd.sock"),
                              (r"listen \[::\]:7411 ssl http2 ipv6only=off",
                               f"listen {self._address} ssl http2")):
            text, count = re.subn(pattern, here, text)
            assert count, f"the edge's configuration has no {pattern}"
        return text

    def _serves(self):
        assert self._nginx.poll() is None, self.said()
        try:
            socket.create_connection(self._address.rsplit(":", 1)).close()
            return True
        except ConnectionRefusedError:
            return False

    def said(self):
        return (self.directory / "nginx.log").read_text(encoding="utf-8", errors="replace")

    def __exit__(self, *unused):
        try:
            self._nginx.terminate()
            self._nginx.wait()
        finally:
            super().__exit__()

    def pids(self):
        master = self._nginx.pid
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:
            workers = [int(one) for one in file.read().split()]
        return {**super().pids(), "nginx": [master, *workers]}

    def target(self, who=None):
        return json.dumps({"address": self._address, "tls": True, "ca": str(self._authority.file),
                           "token": who and self._token(who)})


LISTENERS = {one.name: one for one in (Plain, Mtls, Edge)}
