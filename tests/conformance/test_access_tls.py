"""Who gets in by a certificate: TLS, client certificates, and their files while they change."""

import contextlib
import os
import shutil
import socket
import ssl

import grpc
import pytest
from access import (
    DENIED, MISSING, UNKNOWN, Scene, Working, answer, every_call, hands_over, in_a_hello,
    in_sessions, kind_of, ready, replace, token_of, tokens, wait)
from credentials import HERE, Authority
from harness import (
    CALL_LIMIT_S, FIFO, READY, SOMEWHERE, WOKE, Client, Server, assert_refused_at_start,
    eventually)
from session import SessionClient
from waitd.v1 import waitd_pb2 as pb

UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, None)
ALL_NAMES = "wait,ready,deadline,open,list"
BOSS = "spiffe://test/boss"
# The identity that each certificate gives, by its subject alternative names.
IDENTITIES = {
    "spiffe://test/a": ["URI:spiffe://test/a"],
    "spiffe://test/first": ["DNS:before.test", "URI:spiffe://test/first", "URI:spiffe://test/b"],
    "one.test": ["DNS:one.test", "DNS:two.test"],
    "three.test": ["email:spiffe://test/boss", "IP:10.1.2.3", "DNS:three.test"],
    "spiffe://test/c": ["DNS:spiffe://test/boss", "email:spiffe://test/boss", "URI:spiffe://test/c"],
}
# Those that give none: what looks like an identity is of another kind, or is none.
OF_NOBODY = {
    "a DNS name like a URI": ["DNS:spiffe://test/boss"],
    "an address of mail like a URI": ["email:spiffe://test/boss"],
    "both": ["DNS:spiffe://test/boss", "email:spiffe://test/boss"],
    "the first DNS name is none": ["DNS:spiffe://test/boss", "DNS:one.test"],
    "a URI like a DNS name": ["URI:one.test"],
    "a URI with a space": ["URI:spiffe://test/boss one"],
    "an address of mail": ["email:me@mail.test"],
    "an address": ["IP:10.1.2.3"],
}
RULES = f"{BOSS} * {ALL_NAMES},admin\n" + "".join(
    f"{identity} team/ {ALL_NAMES}\n" for identity in [*IDENTITIES, "t"])


class Tls:
    """A server that is reached by TLS alone, files of its own, and clients of it."""

    def __init__(self, waitd, directory, *flags, auth="mtls", listen="127.0.0.1:0",
                 ask_clients=True):
        self.authority = Authority(directory)
        self.file, self.key, self.clients, self.rules = (
            directory / f"server.{word}" for word in ("pem", "key", "clients", "rules"))
        self.certificate = self.renew()
        shutil.copy(self.authority.file, self.clients)
        replace(self.rules, RULES)
        self.boss = self.authority.issue(f"URI:{BOSS}")
        self.server = Server(
            waitd, f"--tls-cert-file={self.file}", f"--tls-key-file={self.key}",
            *([f"--tls-client-ca-file={self.clients}"] if ask_clients else []), f"--auth={auth}",
            *([f"--acl-file={self.rules}"] if auth != "none" else []), *flags, listen=listen,
            credentials=self.authority.credentials(self.boss))

    def renew(self):
        """Puts another certificate and its key in the place of the former ones."""
        one = self.authority.issue(*HERE)
        for new, place in ((one.key, self.key), (one.file, self.file)):
            shutil.copy(new, f"{place}.new")
            os.replace(f"{place}.new", place)
        self.certificate = one
        return one

    def client(self, certificate=None, authority=None, **who):
        credentials = (authority or self.authority).credentials(certificate or self.boss)
        return self.server.client(credentials=credentials, **who)

    def presented(self):
        """The certificate that a new connection sees."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.boss.file, self.boss.key)
        context.set_alpn_protocols(["h2"])
        host, port = self.server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), CALL_LIMIT_S) as plain:
            with context.wrap_socket(plain) as connection:
                return connection.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def shared(waitd, tmp_path_factory):
    one = Tls(waitd, tmp_path_factory.mktemp("tls"))
    with one.server:
        yield one


@pytest.fixture
def tls(shared):
    """The server of this file. At the end nobody may be left parked there."""
    yield shared
    shared.server.await_at_rest()


@pytest.fixture
def own(waitd, tmp_path):
    """Starts a server of a test's own: own(flag, ..., auth=...)."""
    with contextlib.ExitStack() as servers:
        def start(*flags, **options):
            one = Tls(waitd, tmp_path, *flags, **options)
            servers.enter_context(one.server)
            return one
        yield start


@pytest.fixture
def boss(tls):
    with tls.client() as client:
        yield client


@pytest.fixture
def scene(boss, name):
    """A name on which something of each sort stands, as the owner sees it."""
    one = Scene(boss, f"team/{name}")
    yield one
    boss.close(one.name)


# How somebody comes who is not let in: its credentials; None: in plain text.
STRANGERS = {
    "no certificate": lambda tls, other: tls.authority.credentials(),
    "an expired certificate": lambda tls, other: tls.authority.credentials(
        tls.authority.issue(f"URI:{BOSS}", days=-1)),
    "a certificate of another authority": lambda tls, other: tls.authority.credentials(
        other.issue(f"URI:{BOSS}")),
    "another authority's server wanted": lambda tls, other: other.credentials(tls.boss),
    "plain text": lambda tls, other: None,
}


@pytest.mark.parametrize("how", STRANGERS)
def test_who_is_not_let_in_reaches_nothing(tls, boss, scene, tmp_path, how):
    """Each call comes by a connection of its own."""
    credentials, before = STRANGERS[how](tls, Authority(tmp_path)), scene.look()
    for word, request in every_call(scene).items():
        with Client(tls.server.address, credentials) as stranger:
            assert kind_of(answer(stranger, request)) == UNREACHABLE, word
        if in_sessions(request):
            with Client(tls.server.address, credentials) as stranger:
                assert kind_of(in_a_hello(stranger, request)) == UNREACHABLE, word
    assert scene.look() == before
    assert tls.server.metrics()("waitd_sessions") == 0
    scene.end()


def test_tls_to_a_plain_port_reaches_nothing(start, name, tmp_path):
    server = start(listen="127.0.0.1:0")
    with server.client() as c:
        scene = Scene(c, name)
        before, authority = scene.look(), Authority(tmp_path)
        for certificate in (None, authority.issue(f"URI:{BOSS}")):
            with Client(server.address, authority.credentials(certificate)) as stranger:
                for request in every_call(scene).values():
                    assert kind_of(answer(stranger, request)) == UNREACHABLE
                    if in_sessions(request):
                        assert kind_of(in_a_hello(stranger, request)) == UNREACHABLE
        assert scene.look() == before
        scene.end()


def test_a_certificate_without_a_name_is_of_nobody(tls, scene):
    """What the authority vouches for is the alternative names: the common name is none of them."""
    before = scene.look()
    with tls.client(tls.authority.issue(common_name="one.test")) as nobody:
        for word, request in every_call(scene).items():
            assert kind_of(answer(nobody, request)) == UNKNOWN, word
            if in_sessions(request):
                assert kind_of(in_a_hello(nobody, request)) == UNKNOWN, word
    assert scene.look() == before
    scene.end()


def test_a_certificate_that_no_rule_speaks_of_may_nothing(tls, scene):
    before = scene.look()
    with tls.client(tls.authority.issue("URI:spiffe://test/stranger")) as stranger:
        for word, request in every_call(scene).items():
            assert kind_of(answer(stranger, request)) in (MISSING, DENIED), word
    assert scene.look() == before
    scene.end()


@pytest.mark.parametrize("names", OF_NOBODY)
def test_a_certificate_whose_names_are_no_identity_is_of_nobody(tls, scene, names):
    """An authority that is careful with URIs only gives nobody another one's identity."""
    before = scene.look()
    with tls.client(tls.authority.issue(*OF_NOBODY[names])) as nobody:
        for request in (wait(scene.name, 0), ready(scene.name)):
            said = answer(nobody, request)
            assert kind_of(said) == UNKNOWN and "certificate" in said.message
            assert kind_of(in_a_hello(nobody, request)) == UNKNOWN
    assert scene.look() == before
    scene.end()


@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_identity_of_a_certificate(tls, boss, name, identity):
    """The first URI, else the first DNS name; it is what rules and ready_by speak of."""
    name = f"team/{name}"
    boss.open(name, kind=FIFO)
    certificate = tls.authority.issue(*IDENTITIES[identity])
    with tls.client(certificate) as client:
        client.ready(name)
        assert client.wait(name, wait_id="w").ready_by == identity
        assert kind_of(answer(client, ready(f"other/{name}"))) == MISSING
    boss.ready(name)
    assert boss.wait(name, wait_id="w").ready_by == BOSS, "the id is another's"
    with SessionClient(tls.server.address, who={
            "credentials": tls.authority.credentials(certificate)}) as session:
        session.ready(name)
        assert boss.wait(name).ready_by == identity


def test_a_token_does_not_count_where_certificates_do(tls, name):
    """Nor does what a client calls itself."""
    with tls.client(tls.authority.issue("URI:spiffe://test/a"), token=BOSS) as client:
        client.open(f"team/{name}")
        client.ready(f"team/{name}")
        assert client.wait(f"team/{name}").ready_by == "spiffe://test/a"
        assert kind_of(answer(client, wait(name))) == MISSING


def test_a_token_goes_with_a_certificate(own, tmp_path, name):
    """Where both are asked for, the certificate opens the door and the token says who it is."""
    name = f"team/{name}"
    replace(tmp_path / "tokens", tokens("t"))
    tls = own(f"--token-file={tmp_path}/tokens", auth="token")
    certificate = tls.authority.issue("URI:spiffe://test/a")
    with tls.client(certificate, token=token_of("t")) as client, tls.client(certificate) as nobody:
        get = pb.GetPollDescriptorRequest(name=name)
        assert kind_of(answer(nobody, get)) == UNKNOWN
        client.open(name)
        client.ready(name)
        assert client.wait(name).ready_by == "t"
    with Client(tls.server.address, tls.authority.credentials(), token_of("t")) as client:
        assert kind_of(answer(client, get)) == UNREACHABLE


def test_other_machines_are_let_in_by_tls_and_auth(own, name):
    tls = own(listen="0.0.0.0:0")
    with tls.client() as c:
        assert c.open(name).created


def test_tls_without_client_certificates(own, name):
    """The server shows its certificate, and asks nobody for theirs."""
    tls = own(auth="none", ask_clients=False)
    with Client(tls.server.address, tls.authority.credentials()) as c:
        c.open(name)
        c.ready(name, b"x")
        assert c.wait(name).signal.data == b"x"
        new = tls.renew().der()
        eventually(lambda: tls.presented() == new, "the new one is shown")
        assert not c.takes(name)
    with Client(tls.server.address) as plain:
        assert kind_of(answer(plain, wait(name, 0))) == UNREACHABLE


def test_a_token_by_tls(own, tmp_path, name):
    replace(tmp_path / "tokens", tokens("t"))
    tls = own(f"--token-file={tmp_path}/tokens", auth="token", ask_clients=False)
    credentials = tls.authority.credentials()
    with Client(tls.server.address, credentials, token_of("t")) as client, Client(
            tls.server.address, credentials) as nobody:
        assert client.open(f"team/{name}").created
        assert kind_of(answer(client, ready(name))) == MISSING
        assert kind_of(answer(nobody, ready(f"team/{name}"))) == UNKNOWN


# Files that are wrong


def refused_with_tls(waitd, tls, flags, mention):
    assert_refused_at_start(waitd, [
        *SOMEWHERE, f"--tls-cert-file={tls.file}", f"--tls-key-file={tls.key}",
        f"--tls-client-ca-file={tls.clients}", *flags], mention=str(mention))


@pytest.mark.parametrize("flag, wrong", [
    *((flag, wrong) for flag in ("cert", "key", "client-ca") for wrong in ("absent", "no PEM")),
    *((flag, "empty") for flag in ("cert", "key", "client-ca")),
    ("cert", "another's"), ("key", "another's"), ("cert", "expired")])
def test_wrong_files_are_refused_at_start(waitd, tls, tmp_path, flag, wrong):
    path, flags = tmp_path / "wrong", []
    if wrong in ("another's", "expired"):
        other = tls.authority.issue(*HERE, days=-1 if wrong == "expired" else 2)
        shutil.copy(other.key if flag == "key" else other.file, path)
        if wrong == "expired":
            flags = [f"--tls-key-file={other.key}"]
    elif wrong != "absent":
        path.write_text("" if wrong == "empty" else "-----BEGIN CERTIFICATE-----\nx\n",
                        encoding="ascii")
    refused_with_tls(waitd, tls, [*flags, f"--tls-{flag}-file={path}"], path)


def test_other_machines_are_not_let_in_by_tls_alone(waitd, tls):
    refused_with_tls(waitd, tls, ["--listen-address=0.0.0.0:0"], "--insecure")


# Files that change


def test_certificates_change_under_load_and_no_wait_is_lost(own, name):
    """New connections see the new certificate; what is parked, and sessions, stay as they are. A
    pair that is wrong, as it is while one of its files is written, changes nothing."""
    tls = own()
    address, who = tls.server.address, {"credentials": tls.authority.credentials(tls.boss)}

    def comes_anew():
        with tls.client() as client:
            client.ready(f"{name}/anew", b"x")
            assert client.wait(f"{name}/anew").signal.data == b"x"

    with tls.client() as c, SessionClient(address, who=who) as session:
        for one in ("anew", "unary", "session"):
            c.open(f"{name}/{one}", kind=FIFO)
        parked = {"unary": c.park(f"{name}/unary"), "session": session.park(f"{name}/session")}
        with Working(hands_over(c, f"{name}/1"), hands_over(session, f"{name}/2"),
                     comes_anew) as working:
            assert tls.presented() == tls.certificate.der()
            new = tls.renew().der()
            eventually(lambda new=new: tls.presented() == new, "the new one is shown")
            working.check()
            replace(tls.file, "nothing of the kind\n")
            tls.server.await_log(f"not taken.*{tls.file}")
            assert tls.presented() == new
            shutil.copy(tls.certificate.file, tls.file)
            shutil.copy(tls.authority.issue(*HERE).key, tls.key)
            tls.server.await_log(f"not taken.*{tls.key}.*does not belong")
            assert tls.presented() == new
            working.check()
            new = tls.renew().der()
            eventually(lambda: tls.presented() == new, "then the next good one")
            working.check()
        for word, call in parked.items():
            assert c.ready(f"{name}/{word}", b"x").effect == WOKE
            assert call.result().signal.data == b"x"
        assert session.session.streams == 1


def test_the_authorities_of_clients_change(own, tmp_path, name):
    """Who has a certificate of a former one is in still, and does not come in again."""
    tls = own()
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    theirs = other.issue(f"URI:{BOSS}")

    def comes_in(certificate):
        with tls.client(certificate) as client:
            said = kind_of(answer(client, pb.GetPollDescriptorRequest(name=name)))
            assert said in (None, UNREACHABLE)
            return said is None

    with tls.client() as c:
        c.open(name)
        call = c.park(name)
        assert not comes_in(theirs)
        replace(tls.clients, "".join(one.read_text(encoding="ascii") for one in (
            tls.authority.file, other.file)))
        eventually(lambda: comes_in(theirs), "both are let in")
        assert comes_in(tls.boss)
        replace(tls.clients, other.file.read_text(encoding="ascii"))
        eventually(lambda: not comes_in(tls.boss), "the former one is not let in")
        assert comes_in(theirs)
        replace(tls.clients, "nothing of the kind\n")
        tls.server.await_log(f"not taken.*{tls.clients}")
        assert comes_in(theirs) and not comes_in(tls.boss)
        assert c.ready(name, b"x").effect == WOKE
        assert call.result().signal.data == b"x"
        # So that the server's own state can be asked for to the end.
        replace(tls.clients, tls.authority.file.read_text(encoding="ascii"))


def test_an_empty_file_of_authorities_is_not_taken(own, name):
    """As it is while somebody writes it: it is not the wish to ask nobody."""
    tls = own()
    with tls.client() as c:
        c.open(name)
        call = c.park(name)
        replace(tls.clients, "")
        said = tls.server.await_log(f"(not taken|read again).*{tls.clients}")
        with Client(tls.server.address, tls.authority.credentials()) as stranger:
            assert kind_of(answer(stranger, wait(name, 0))) == UNREACHABLE
        with tls.client() as client:
            assert client.ready(name).effect == WOKE
        assert call.result().outcome == READY
        assert "not taken" in said
