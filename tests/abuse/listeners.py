"""The ways in that are attacked: plain, behind mTLS, and behind the edge; each a waitd of its own."""

import json
import pathlib
import resource
import shutil
import tempfile

import known  # first: it makes the stubs, and tells where the others are
import edge_live
from credentials import HERE, Authority, token_line

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
    reached = True  # by strangers, waitd's own port

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


class Mtls(Plain):
    """TLS that asks each client for a certificate, which says who it is."""

    name = "mtls"

    def _server(self, binary):
        self._authority = Authority(self.directory)
        shown = self._authority.issue(*HERE, stem="server")
        self._clients = {who: self._authority.issue(f"DNS:{who}", stem=who)
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
    """The edge's nginx, as it is deployed, before a waitd on its socket that knows clients by token."""

    name = "edge"
    reached = False

    def _server(self, binary):
        rules, tokens = self.directory / "rules", self.directory / "tokens"
        rules.write_text(RULES, encoding="ascii")
        tokens.write_text("".join(token_line(who, self._token(who)) for who in ("good", "bad")),
                          encoding="ascii")
        self._authority = Authority(self.directory)
        self._edge = edge_live.Edge(self.directory / "edge", self._authority)
        return known.Server(binary, *FLAGS, "--auth=token", f"--token-file={tokens}",
                            f"--acl-file={rules}", listen=f"unix:{self._edge.socket}")

    @staticmethod
    def _token(who):
        return f"token-of-{who}-which-nobody-else-knows"

    def __enter__(self):
        super().__enter__()
        try:
            self._edge.start()
        except BaseException:
            super().__exit__()
            raise
        return self

    def __exit__(self, *unused):
        try:
            self._edge.stop()
        finally:
            super().__exit__()

    def pids(self):
        return {**super().pids(), "nginx": self._edge.workers()}

    def target(self, who=None):
        return json.dumps({"address": f"127.0.0.1:{self._edge.port}", "tls": True,
                           "ca": str(self._authority.file), "token": who and self._token(who)})


LISTENERS = {one.name: one for one in (Plain, Mtls, Edge)}
