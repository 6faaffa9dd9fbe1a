"""waitctl and the library before servers that ask who calls, and that are asked who they are."""

import json
import os
import subprocess

import grpc
import pytest
from conftest import BIN, until
from credentials import HERE, Authority
from guarded import Guarded

TOKEN = "s3cret-of-the-test"
# Each goes its own way: a call of its own, a session, and other services.
COMMANDS = [("get", "x"), ("ready", "x"), ("wait", "x"), ("backup",), ("health",)]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Certificates: of two authorities, two servers, two clients and somebody else's client."""
    folder = tmp_path_factory.mktemp("keys")
    ours, theirs = Authority(folder, "ca"), Authority(folder, "other-ca")
    ours.issue(*HERE, stem="server")
    ours.issue("DNS:elsewhere.example", stem="elsewhere")
    ours.issue(*HERE, days=-1, stem="expired")
    ours.issue("DNS:one", stem="one")
    ours.issue("DNS:two", stem="two")
    theirs.issue("DNS:stranger", stem="stranger")
    return folder


@pytest.fixture(scope="module")
def guarded(keys):
    """Starts servers: by the name of a certificate with TLS, else without."""
    started = []

    def start(certificate=None, clients=False, **more):
        credentials = None
        if certificate:
            pair = [(keys / f"{certificate}.{kind}").read_bytes() for kind in ("key", "pem")]
            ca = (keys / "ca.pem").read_bytes() if clients else None
            credentials = grpc.ssl_server_credentials([pair], ca, clients)
        started.append(Guarded(credentials, **more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def tls(guarded):
    return guarded("server")


@pytest.fixture(scope="module")
def plain(guarded):
    return guarded()


def environment(**more):
    """Ours without what would change what waitctl does."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("WAITCTL_", "GRPC_"))} | more


def start(server, *words, host="127.0.0.1", env=None):
    return subprocess.Popen([BIN / "waitctl", "--server", f"{host}:{server.port}",
                             *map(str, words)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(**(env or {})))


def run(server, *words, code=0, **more):
    """Its two outputs, in which there is never the token."""
    call = start(server, *words, **more)
    out, err = call.communicate(timeout=60)
    assert call.returncode == code, (call.returncode, out, err)
    assert TOKEN not in out + err
    return out, err


def client_files(keys, name):
    return "--ca-file", keys / "ca.pem", "--cert-file", keys / f"{name}.pem", "--key-file", (
        keys / f"{name}.key")


# TLS.

@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_that_proves_itself_is_spoken_to(tls, keys, words, host):
    _, err = run(tls, "--ca-file", keys / "ca.pem", *words, host=host)
    assert not err


@pytest.mark.parametrize("command", [("get", "x"), ("ready", "x"), ("wait", "x", "--timeout=1s")])
@pytest.mark.parametrize("certificate,authority,hint", [
    ("server", "other-ca", "not signed by an authority in --ca-file"),
    ("expired", "ca", "or not valid now"),
    ("elsewhere", "ca", "for another host"),
    (None, "ca", "a TLS port?"),
])
def test_a_server_that_does_not_is_not(guarded, keys, command, certificate, authority, hint):
    server = guarded(certificate)
    _, err = run(server, "--ca-file", keys / f"{authority}.pem", *command, code=5)
    lines = err.splitlines()
    assert all(line.startswith("waitctl: ") and hint in line for line in lines), err
    assert len(lines) == (2 if command[0] == "wait" else 1)
    _, err = run(server, "--ca-file", keys / f"{authority}.pem", *command, "-o", "json", code=5)
    assert hint in json.loads(err)["error"]["message"]
    assert not server.seen


@pytest.mark.parametrize("command", [("get", "x"), ("ready", "x"), ("wait", "x", "--timeout=1s")])
def test_plain_text_to_a_tls_port_says_so(tls, command):
    assert "may want TLS (--ca-file)" in run(tls, *command, code=5)[1]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_client_proves_itself_by_its_certificate(guarded, keys, words):
    server = guarded("server", clients=True)
    run(server, *client_files(keys, "one"), *words)
    assert {name for _, _, name in server.seen} == {"one"}
    short = words if words[0] != "wait" else (*words, "--timeout", "1s")
    for files in (client_files(keys, "stranger"), ("--ca-file", keys / "ca.pem")):
        assert "a client's certificate" in run(server, *files, *short, code=5)[1]
    mixed = (*client_files(keys, "one")[:-1], keys / "two.key")
    assert "belong together" in run(server, *mixed, *short, code=5)[1]


def test_the_next_connection_shows_the_certificate_that_was_replaced(guarded, keys, tmp_path):
    server = guarded("server", clients=True)

    def put(name):
        for kind in ("key", "pem"):
            (tmp_path / "new").write_bytes((keys / f"{name}.{kind}").read_bytes())
            (tmp_path / "new").rename(tmp_path / f"client.{kind}")

    put("one")
    call = start(server, "--ca-file", keys / "ca.pem", "--cert-file", tmp_path / "client.pem",
                 "--key-file", tmp_path / "client.key", "wait", "parks")
    until(lambda: server.calls("Session") == [(None, "one")])
    put("two")

    def again():
        server.cut()
        return (None, "two") in server.calls("Session")
    until(again, 30)
    call.terminate()
    _, err = call.communicate(timeout=10)
    assert call.returncode == 143 and err.count("\n") == 1


# Tokens.

@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.mark.parametrize("words", COMMANDS)
def test_each_call_carries_the_token(plain, tls, keys, token, words):
    for server, files in ((plain, ()), (tls, ("--ca-file", keys / "ca.pem"))):
        server.seen.clear()
        run(server, *files, "--token-file", token, *words)
        assert {sent for _, sent, _ in server.seen} == {f"Bearer {TOKEN}"}
        server.seen.clear()
        run(server, *files, *words, env={"WAITCTL_TOKEN_FILE": str(token)})
        assert {sent for _, sent, _ in server.seen} == {f"Bearer {TOKEN}"}
        server.seen.clear()
        run(server, *files, *words)
        assert {sent for _, sent, _ in server.seen} == {None}


def test_a_token_that_has_changed_goes_with_the_next_call(guarded, token):
    server = guarded()
    watch = start(server, "--token-file", token, "watch", "x")
    wait = start(server, "--token-file", token, "wait", "parks")
    until(lambda: server.calls("Get") and server.calls("Session"))
    token.write_text("another")
    until(lambda: ("Bearer another", "") in server.calls("Get"))
    server.cut()
    until(lambda: ("Bearer another", "") in server.calls("Session"))
    assert server.calls("Session") == [(f"Bearer {TOKEN}", ""), ("Bearer another", "")]
    for call in (watch, wait):
        call.terminate()
        assert call.wait(10) == 143
        assert TOKEN not in "".join(call.communicate())


def test_a_token_that_is_gone_ends_what_needs_it(guarded, token):
    server = guarded()
    watch = start(server, "--token-file", token, "watch", "x")
    wait = start(server, "--token-file", token, "wait", "parks")
    until(lambda: server.calls("Get") and server.calls("Session"))
    token.unlink()
    server.cut()
    for call in (watch, wait):
        _, err = call.communicate(timeout=10)
        assert call.returncode == 2 and f"the token file '{token}' cannot be read" in err


@pytest.mark.parametrize("format_words", [(), ("-o", "json")])
@pytest.mark.parametrize("words", [*COMMANDS, ("poll", "a", "b"), ("watch", "x"), ("bench",),
                                   ("wait", "x", "--", "true")])
def test_a_refused_client_ends_at_once(guarded, token, words, format_words):
    """And not at a limit: none of these has one."""
    server = guarded(tokens=["of somebody else"])
    for files, code, reason, hint in (
            ((), "UNAUTHENTICATED", "NO_CREDENTIALS", "see --token-file"),
            (("--token-file", token), "PERMISSION_DENIED", "FORBIDDEN", "who run the server")):
        server.seen.clear()
        _, err = run(server, *files, *format_words, *words, code=6)
        # A client connects when it is made. What it calls after a refusal asks once more: the call
        # that came late, or those that bench was not done with.
        assert len(server.seen) <= 2
        if format_words:
            error = json.loads(err)["error"]
            assert (error["code"], error["reason"]) == (code, reason)
            assert hint in error["message"]
        else:
            assert hint in err and err.count("\n") == 1 and "trying again" not in err


def test_a_refused_client_runs_no_command(guarded):
    _, err = run(guarded(tokens=[]), "exec", "x", "--ttl", "5s", "--", "echo", "ran", code=125)
    assert "who are you?" in err


def test_a_wait_that_is_refused_when_it_comes_back_ends(guarded, token):
    server = guarded(tokens=[TOKEN])
    call = start(server, "--token-file", token, "wait", "parks")
    until(lambda: server.calls("Session"))
    server.tokens = []
    server.cut()
    _, err = call.communicate(timeout=10)
    assert call.returncode == 6 and "not for you" in err and TOKEN not in err


@pytest.mark.parametrize("words", COMMANDS)
def test_the_log_of_grpc_has_no_token(plain, guarded, token, words):
    loud = {"GRPC_VERBOSITY": "debug"}
    _, err = run(plain, "--token-file", token, *words, env=loud)
    assert ".cc:" in err, "gRPC was to log"
    run(guarded(tokens=[]), "--token-file", token, *words, code=6, env=loud)


# Files.

@pytest.mark.parametrize("words", COMMANDS)
def test_files_that_are_no_good_are_named_before_anything_is_sent(plain, keys, tmp_path, words):
    ca, cert, key = (keys / each for each in ("ca.pem", "one.pem", "one.key"))
    plain.seen.clear()

    def wrong(*files):
        _, err = run(plain, *files, *words, code=2)
        assert err.startswith("waitctl: ") and err.count("\n") == 1 and "; " in err
        error = json.loads(run(plain, *files, *words, "-o", "json", code=2)[1])["error"]
        assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "USAGE")
        return err

    assert "--key-file" in wrong("--ca-file", ca, "--cert-file", cert)
    assert "--cert-file" in wrong("--ca-file", ca, "--key-file", key)
    assert "needs --ca-file" in wrong("--cert-file", cert, "--key-file", key)
    none = tmp_path / "none"
    assert f"the CA file '{none}' cannot be read" in wrong("--ca-file", none)
    for files in ((none, key), (cert, none)):
        assert f"'{none}' cannot be read" in wrong("--ca-file", ca, "--cert-file", files[0],
                                                   "--key-file", files[1])
    assert f"the token file '{none}' cannot be read" in wrong("--token-file", none)
    assert "no certificate" in wrong("--ca-file", key)
    assert "no private key" in wrong("--ca-file", ca, "--cert-file", cert, "--key-file", cert)
    token = tmp_path / "token"
    for content in ("", " \n", f"{TOKEN}\n{TOKEN}", f"{TOKEN}\x01", f"{TOKEN}é"):
        token.write_text(content)
        assert f"the token file '{token}'" in wrong("--token-file", token)
    assert not plain.seen


def test_what_calls_nobody_needs_no_files(plain, tmp_path):
    run(plain, "--ca-file", tmp_path / "none", "version")
