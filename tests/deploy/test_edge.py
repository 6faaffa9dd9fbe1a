"""waitd behind the edge, as deploy/edge/nginx.conf has it, for clients that come by TLS.

Each bound that a wait could be cut by is shown to cut one, when it is made short.
"""

import contextlib
import queue
import re
import signal
import socket
import ssl
import struct
import subprocess

import grpc
import pytest
from edge_live import CONF, WAITD, Edge, seconds, setting
from credentials import Authority, token_line
from harness import (
    BY_WAIT, CALL_LIMIT_S, FIFO, LATCH, READY, REMEMBERED, TIMED_OUT, WOKE,
    check_refusal, duration, eventually, options, refusal_of, refused, timed_out)
from session import Stream, hello
from waitd.v1 import admin_pb2, admin_pb2_grpc
from waitd.v1 import waitd_pb2 as pb

OPENED = options(kind=FIFO)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture
def edge(authority, tmp_path):
    """Starts edges with a waitd behind each: a pair of them."""
    with contextlib.ExitStack() as stack:

        def start(*flags, changes=None):
            one = Edge(tmp_path / str(len(list(tmp_path.iterdir()))), authority, changes)
            stack.callback(one.stop)
            server = stack.enter_context(one.waitd(*flags))
            return one.start(), server

        yield start


@pytest.fixture(scope="module")
def pair(authority, tmp_path_factory):
    """One that tests share, with the shipped file."""
    one = Edge(tmp_path_factory.mktemp("edge"), authority)
    with one.waitd() as server:
        yield one.start(), server
        one.stop()


@pytest.fixture
def client(pair):
    with pair[0].client() as one:
        yield one


@pytest.fixture
def direct(pair):
    """Past the edge."""
    with pair[1].client() as one:
        yield one


@pytest.fixture
def name(request):
    return request.node.name


def refused_by_the_edge(call, code):
    """A status that nginx gave: without details, and with a word of what it is."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == getattr(grpc.StatusCode, code), caught.value
    assert "edge" in caught.value.details()
    return caught.value


def test_nginx_finds_nothing_wrong_with_the_file_as_it_is(authority, tmp_path):
    one = Edge(tmp_path, authority)
    done = subprocess.run(one.command(CONF, "-t"), capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("nginx: ")] == []


def test_each_unary_call_passes(pair, client, name):
    edge, _ = pair
    called = set()
    real = client.stub

    class Noting:
        """Which methods were called."""

        def __getattr__(self, method):
            called.add(method)
            return getattr(real, method)

    client.stub = Noting()
    assert client.open(name, FIFO).created
    client.deadline(name, 60)
    assert client.ready(name, b"1").effect == REMEMBERED
    wait = client.wait(name, 0, wait_id="a", ack_timeout=60)
    assert (wait.outcome, wait.signal.data) == (READY, b"1")
    client.ack(name, "a", wait)
    assert client.poll([name], timeout=0).outcome == TIMED_OUT
    client.reset(name)
    assert name in [each.name for each in client.list().poll_descriptors]
    assert client.get(name).kind == FIFO
    client.close(name)
    assert not client.is_open(name)
    service = pb.DESCRIPTOR.services_by_name["WaitService"]
    assert called == {method.name for method in service.methods} - {"Session"}
    assert client.health("waitd-readiness") == 1
    with refused("FAILED_PRECONDITION", None):  # there is no --backup-dir
        admin = admin_pb2_grpc.AdminServiceStub(client.channel)
        admin.Backup(admin_pb2.BackupRequest(), timeout=CALL_LIMIT_S)
    assert edge.log.read_text() == ""


def test_a_session_goes_back_and_forth_while_both_sides_are_open(client, name):
    """Were one of them buffered, the first answer would not come."""
    with Stream(client.channel, hello()) as stream:
        assert stream.welcome().resume_token
        stream.send((1, pb.WaitRequest(name=name, open_if_missing=OPENED)),
                    (2, pb.OpenPollDescriptorRequest(name=f"{name}/2", options=OPENED)))
        assert set(stream.results(1)) == {2}
        stream.send((3, pb.ReadyRequest(name=name, signal=pb.Signal(data=b"here"))))
        found = stream.results(2)
        assert found[1].wait.signal.data == b"here" and found[3].ready.effect == WOKE
        stream.send((4, pb.ClosePollDescriptorRequest(name=name)))
        stream.results(1)
        stream.half_close()
        assert stream.ended() is None


def test_signals_of_64_KiB_pass_both_ways(client, name):
    data = bytes(range(256)) * 255
    client.ready(name, data, open_if_missing=options(kind=LATCH))
    assert client.wait(name, 0).signal.data == data
    with Stream(client.channel, hello()) as stream:
        stream.welcome()
        for number in range(1, 65):
            stream.send((number, pb.ReadyRequest(name=name, signal=pb.Signal(data=data))))
        stream.results(64)
        stream.send(*((100 + number, pb.WaitRequest(name=name)) for number in range(64)))
        assert {each.wait.signal.data for each in stream.results(64).values()} == {data}


def test_the_details_of_a_refusal_pass_with_the_longest_name(client):
    name = "é" * 256
    with refused("NOT_FOUND", "NO_DESCRIPTOR") as said:
        client.wait(name)
    assert said[0].domain == "waitd"
    client.open(name)
    parked = client.park(name)
    with refused("FAILED_PRECONDITION", "DOUBLE_WAIT") as said:
        client.wait(name)
    assert said[0].metadata["connected"] == "true"
    client.close(name)
    assert parked.result().outcome == pb.OUTCOME_CLOSED


# How long waits may last.


def assert_parks_for_two_seconds(client, name):
    answer = client.wait(name, 2, open_if_missing=OPENED)
    assert timed_out(answer, BY_WAIT)


def test_a_wait_is_cut_by_a_short_timeout_of_nginx_only(edge, pair, name):
    with pair[0].client() as client:
        assert_parks_for_two_seconds(client, name)
    short, _ = edge(changes={"grpc_read_timeout 25h": "grpc_read_timeout 1s"})
    with short.client() as client:
        refused_by_the_edge(lambda: assert_parks_for_two_seconds(client, name), "UNAVAILABLE")


def test_the_timeout_of_a_call_is_longer_than_the_longest_wait():
    help_text = subprocess.run([WAITD, "--help"], capture_output=True, text=True, check=True).stdout
    longest = seconds(re.search(r"--max-wait=.*?\[(\w+)\]", help_text, re.DOTALL)[1])
    assert longest == 24 * 3600 < seconds(setting("grpc_read_timeout"))


def silent_session(client, name, lasts_s):
    """Says nothing after the welcome until a wait in it has ended."""
    with Stream(client.channel, hello()) as stream:
        stream.welcome()
        stream.send((1, pb.WaitRequest(name=name, open_if_missing=OPENED,
                                       timeout=duration(lasts_s))))
        try:
            return stream.next().results[0].wait.outcome
        except grpc.RpcError as error:
            return error.code()


@pytest.mark.parametrize("what", ["grpc_read_timeout", "client_body_timeout"])
def test_a_silent_session_is_cut_by_a_short_timeout_of_nginx_only(edge, pair, name, what):
    with pair[0].client() as client:
        assert silent_session(client, name, 2) == TIMED_OUT
    short, server = edge(changes={f"{what} 3m": f"{what} 1s"})
    with short.client() as client:
        assert silent_session(client, name, 2) == grpc.StatusCode.INTERNAL
    server.await_at_rest()


def test_the_timeouts_of_a_session_are_longer_than_its_silence(pair, client):
    """Twice the keepalive of its welcome: a session that says nothing for longer waitd ends."""
    with Stream(client.channel, hello()) as stream:
        silence = 2 * stream.welcome().keepalive.seconds
    where = "= /waitd.v1.WaitService/Session"
    for each in ("client_body_timeout", "grpc_read_timeout", "grpc_send_timeout"):
        assert seconds(setting(each, where)) > silence > 0


def test_a_session_carries_more_than_one_message_may_have(edge, name):
    """The bound of a call's request is none of a session's."""
    small, _ = edge(changes={"client_max_body_size 5m": "client_max_body_size 100k"})
    with small.client() as client, Stream(client.channel, hello()) as stream:
        stream.welcome()
        for number in range(1, 5):
            stream.send((number, pb.ReadyRequest(name=name, signal=pb.Signal(data=bytes(60000)),
                                                 open_if_missing=OPENED)))
            stream.results(1)


# How calls end.


def test_a_cancelled_wait_leaves_waitd(client, direct, name):
    client.open(name)
    call = client.park(name)
    call.cancel()
    direct.await_parked(name, 0)
    assert client.ready(name).effect == REMEMBERED, "nothing was spent on it"


def test_a_session_that_breaks_off_leaves_waitd(pair, client, name):
    client.open(name)
    with Stream(client.channel, hello(linger=0.001)) as stream:
        stream.welcome()
        stream.send((1, pb.WaitRequest(name=name)))
        client.await_parked(name)
    pair[1].await_at_rest()


def test_a_client_that_is_gone_leaves_waitd(pair, direct, name):
    with pair[0].client() as client:
        client.open(name)
        call = client.park(name)
    assert call.done()
    direct.await_parked(name, 0)


def grpc_by_curl(edge, authority, method, message, *headers):
    """Its answer's header and trailer fields, of a client that keeps no time by itself."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    words = [word for each in headers for word in ("-H", each)]
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--max-time", str(CALL_LIMIT_S), "--cacert", authority.file,
         "-D", "-", "-o", edge.folder / "body", "-H", "content-type: application/grpc",
         "-H", "te: trailers", *words, "--data-binary", "@-", f"https://{edge.address}/{method}"],
        input=body, capture_output=True, check=True)
    return dict(re.findall(r"^([a-z-]+): (.*?)\r?$", done.stdout.decode(), re.MULTILINE))


def test_the_deadline_of_a_call_reaches_waitd(pair, client, authority, name):
    client.open(name)
    request = pb.WaitRequest(name=name).SerializeToString()
    said = grpc_by_curl(pair[0], authority, "waitd.v1.WaitService/Wait", request,
                        "grpc-timeout: 300m")
    assert said["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
    assert client.side(name).waiters == 0
    with pytest.raises(grpc.RpcError) as caught:
        client.start_wait(name, call_limit_s=0.3).result()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_without_waitd_calls_are_unavailable_and_with_it_they_go_on(edge, name):
    one, server = edge()
    with one.client() as client:
        client.open(name, LATCH)
        server.terminate()
        assert server.exit_code() == 0
        refused_by_the_edge(lambda: client.get(name), "UNAVAILABLE")
        with Stream(client.channel, hello()) as stream:
            refused_by_the_edge(stream.welcome, "UNAVAILABLE")
        with one.waitd():
            assert client.open(name, LATCH).created


def test_a_drain_answers_what_is_parked_through_the_edge(edge, name):
    one, server = edge("--drain-timeout=1s")
    with one.client() as client:
        client.open(name, FIFO)
        first, second = client.park(name), client.park(name, count=2)
        with Stream(client.channel, hello()) as stream:
            stream.welcome()
            server.terminate()
            server.await_log("draining")
            # Until its end it answers, the edge's connections that are there included.
            assert client.ready(name, b"late").effect == WOKE
            assert first.result().signal.data == b"late"
            refusal_of(second, "UNAVAILABLE", "DRAINING")
            assert stream.ended().code() == grpc.StatusCode.UNAVAILABLE
    assert server.exit_code() == 0


def test_when_waitd_is_killed_a_wait_is_unavailable(edge, name):
    one, server = edge()
    with one.client() as client:
        client.open(name)
        call = client.park(name)
        with Stream(client.channel, hello()) as stream:
            stream.welcome()
            server.kill()
            refused_by_the_edge(call.result, "UNAVAILABLE")
            # Its answer had begun, so that there is no status but HTTP/2's.
            assert stream.ended().code() == grpc.StatusCode.INTERNAL


def test_waitctl_comes_again_when_waitd_was_killed(edge, authority, name):
    one, server = edge()
    words = [WAITD.with_name("waitctl"), "--server", one.address, "--ca-file", authority.file]
    waiting = subprocess.Popen([*words, "wait", name, "--timeout", "1m"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    with one.client() as client:
        for data in (b"", b"came again"):
            eventually(lambda: client.is_open(name) and client.side(name).waiters == 1, "it waits")
            if not data:
                server.kill()
                server.start()
        client.ready(name, data)
    assert waiting.communicate(timeout=CALL_LIMIT_S)[0] == data


def test_what_a_connection_of_waitd_that_ends_by_age_carries_is_unavailable(edge, name):
    one, _ = edge("--max-connection-age=500ms", "--max-connection-age-grace=500ms")
    with one.client() as client:
        client.open(name)
        call = client.park(name)
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        for _ in range(100):
            client.get(name)


def test_a_reload_keeps_what_is_parked_for_a_while_and_serves_what_comes(edge, name):
    one, _ = edge()
    with one.client() as client:
        client.open(name)
        call = client.park(name)
        workers = one.workers()
        one.signal(signal.SIGHUP)
        eventually(lambda: len(one.workers() - workers) == 2, "new workers")
        eventually(lambda: len(one.workers()) == 3, "of the others one that has a call")
        client.ready(name, b"still here")
        assert call.result().signal.data == b"still here"
        eventually(lambda: len(one.workers()) == 2, "the others are gone")


def test_a_reload_cuts_what_stays_parked_for_longer(edge, name):
    one, _ = edge(changes={"worker_shutdown_timeout 10s": "worker_shutdown_timeout 500ms"})
    with one.client() as client:
        client.open(name, FIFO)
        call = client.park(name)
        one.signal(signal.SIGHUP)
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        client.await_parked(name, 0)


def test_told_to_quit_it_serves_what_is_parked_and_ends(edge, name):
    one, server = edge()
    with one.client() as client, server.client() as direct:
        client.open(name)
        call = client.park(name)
        one.signal(signal.SIGQUIT)
        direct.ready(name, b"last")
        assert call.result().signal.data == b"last"
    assert one.process.wait(CALL_LIMIT_S) == 0


# Who gets in.


def test_tokens_pass_and_are_not_logged(edge, tmp_path, name):
    (tmp_path / "tokens").write_text(token_line("ci", "t-of-ci"))
    (tmp_path / "acl").write_text("ci * wait,ready,open,list\n")
    one, _ = edge("--auth=token", f"--token-file={tmp_path}/tokens", f"--acl-file={tmp_path}/acl")
    with one.client() as stranger, one.client("wrong") as wrong, one.client("t-of-ci") as client:
        for each in (stranger, wrong):
            with refused("UNAUTHENTICATED", "NO_CREDENTIALS"):
                each.open(name)
            with Stream(each.channel, hello()) as stream:
                check_refusal(stream.ended(), grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS")
        assert stranger.health() == 1
        client.open(name)
        assert client.ready(name).effect == REMEMBERED
        assert client.wait(name, 0).ready_by == "ci"
        with Stream(client.channel, hello()) as stream:
            assert stream.welcome().resume_token
    one.stop()
    assert "t-of-ci" not in one.log.read_text()


def test_another_authority_s_certificate_is_not_the_edge_s(pair, tmp_path):
    other = Authority(tmp_path / "other")
    with grpc.secure_channel(pair[0].address, other.credentials()) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=CALL_LIMIT_S)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def handshake(edge):
    """The version and the certificate of a TLS connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", edge.port), timeout=CALL_LIMIT_S) as raw:
        with context.wrap_socket(raw) as connection:
            return connection.version(), connection.getpeercert(binary_form=True)


def test_tls_is_1_2_or_newer_with_authenticated_ciphers(pair):
    assert handshake(pair[0])[0] == "TLSv1.3"
    assert setting("ssl_protocols") == "TLSv1.2 TLSv1.3"  # OpenSSL refuses others as well
    for cipher, taken in (("ECDHE-ECDSA-AES128-GCM-SHA256", True),
                          ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
                          ("ECDHE-ECDSA-AES128-SHA256", False)):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", pair[0].address, "-tls1_2", "-cipher", cipher],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=CALL_LIMIT_S, check=False)
        assert (done.returncode == 0) == taken, done.stderr


def test_a_renewed_certificate_is_served_without_a_reload(edge, name):
    one, _ = edge()
    before = handshake(one)[1]
    with one.client() as client:
        client.open(name)
        call = client.park(name)
        renewed = one.renew()
        assert handshake(one)[1] == renewed.der() != before
        client.ready(name)
        assert call.result().outcome == READY


# What the edge refuses, and how.


def test_what_is_not_waitds_or_healths_is_not_passed(client):
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for path in (method, "/waitd.v2.WaitService/Wait", "/"):
        call = client.channel.unary_unary(path)
        refused_by_the_edge(lambda call=call: call(b"", timeout=CALL_LIMIT_S), "UNIMPLEMENTED")


def test_metadata_beyond_the_limit_is_refused(pair, client, name):
    client.open(name)
    request = pb.GetPollDescriptorRequest(name=name)

    def get(by, *fields):
        metadata = [(f"a{i}", value) for i, value in enumerate(fields)]
        return by.stub.GetPollDescriptor(request, metadata=metadata, timeout=CALL_LIMIT_S)

    beyond = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    get(client, "x" * 4000)
    get(client, *["x" * 1700] * 4)
    # Which waitd refuses; nginx does not always understand how gRPC does that.
    with pytest.raises(grpc.RpcError) as caught:
        get(client, *["x" * 3000] * 4)
    assert caught.value.code() in beyond
    assert client.get(name).name == name
    for fields in (["x" * 4200], ["x" * 3000] * 6):
        with pair[0].client() as other:
            parked = other.start_wait(name)
            client.await_parked(name)
            with pytest.raises(grpc.RpcError) as caught:
                get(other, *fields)
            assert caught.value.code() in beyond
            assert parked.exception().code() in beyond, "of the same connection"
            client.await_parked(name, 0)


def test_a_request_beyond_the_limit_is_refused(client, name):
    refused_by_the_edge(lambda: client.ready(name, bytes(6 << 20)), "RESOURCE_EXHAUSTED")
    with refused("INVALID_ARGUMENT", None):
        client.ready(name, bytes(1 << 20))


def test_calls_of_one_address_beyond_the_limit_are_refused(edge, name):
    one, server = edge(changes={"limit_conn calls 1000": "limit_conn calls 2"})
    with one.client() as client, one.client() as other, server.client() as direct:
        direct.open(name, FIFO)
        calls = [client.start_wait(name), other.start_wait(name)]
        direct.await_parked(name, 2)
        refused_by_the_edge(lambda: client.get(name), "RESOURCE_EXHAUSTED")
        direct.ready(name)
        eventually(lambda: any(call.done() for call in calls), "one has ended")
        assert client.get(name).name == name
        direct.close(name)


def test_calls_a_second_of_one_address_beyond_the_limit_are_refused(edge, name):
    one, _ = edge(changes={"rate=1000r/s": "rate=1r/m", "burst=2000": "burst=2"})
    with one.client() as client:
        client.open(name)
        for _ in range(2):
            client.get(name)
        refused_by_the_edge(lambda: client.get(name), "RESOURCE_EXHAUSTED")


def test_calls_of_one_connection_beyond_the_limit_wait_for_others(edge, name):
    one, server = edge(changes={"concurrent_streams 256": "concurrent_streams 2"})
    with one.client() as client, server.client() as direct:
        direct.open(name, FIFO)
        calls = [client.start_wait(name), client.start_wait(name)]
        direct.await_parked(name, 2)
        third = client.start("GetPollDescriptor", pb.GetPollDescriptorRequest(name=name))
        direct.ready(name)
        assert third.result().poll_descriptor.name == name
        assert [call.done() for call in calls].count(True) == 1
        direct.close(name)


def test_a_connection_after_its_last_call_keeps_what_is_parked(edge, name):
    one, _ = edge(changes={"keepalive_requests 10000": "keepalive_requests 5"})
    with one.client() as client:
        client.open(name)
        call = client.park(name)
        for _ in range(50):
            client.get(name)
        assert client.side(name).waiters == 1
        client.ready(name, b"1")
        assert call.result().signal.data == b"1"


def test_a_handshake_that_does_not_go_on_is_ended(edge):
    one, _ = edge(changes={"client_header_timeout 10s": "client_header_timeout 1s"})
    with socket.create_connection(("127.0.0.1", one.port), timeout=CALL_LIMIT_S) as raw:
        assert raw.recv(1) == b""


def test_a_client_that_reads_nothing_is_not_waited_for(edge, name):
    one, server = edge(changes={"send_timeout 60s": "send_timeout 1s"})
    with one.client() as client:
        client.ready(name, bytes(60000), open_if_missing=options(kind=LATCH))
        with Stream(client.channel, hello(linger=0.001)) as stream:
            stream.welcome()
            stream.send(*((number, pb.WaitRequest(name=name)) for number in range(1, 301)))
            eventually(lambda: server.metrics()("waitd_sessions") == 0, "waitd has heard of it")
            assert stream.ended().code() == grpc.StatusCode.INTERNAL


def test_a_request_that_does_not_come_is_not_waited_for(edge):
    one, _ = edge(changes={"client_body_timeout 10s": "client_body_timeout 1s"})
    with one.client() as client:
        requests = queue.SimpleQueue()
        call = client.channel.stream_unary("/waitd.v1.WaitService/Wait")
        with pytest.raises(grpc.RpcError) as caught:
            call(iter(requests.get, None), timeout=CALL_LIMIT_S)
        requests.put(None)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
