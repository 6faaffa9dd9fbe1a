"""The process around the service: health, reflection, limits, drain, flags and their precedence."""

import contextlib
import datetime
import json
import os
import re
import resource
import signal as signals
import socket
import stat
import subprocess
import threading
import time

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import decoder, encoder
from grpc.health.v1 import health_pb2
from harness import (
    CALL_LIMIT_S, CLOSED, EXCLUSIVE, FIFO, READ, READY, REMEMBERED, SOMEWHERE, WOKE, WRITE,
    assert_refused_at_start, clean_environment, eventually, options, refusal_of, refused)
from waitd.v1 import waitd_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ["", "waitd.v1.WaitService", "waitd.v1.AdminService", "waitd-liveness",
            "waitd-readiness"]


@pytest.mark.parametrize("service", SERVICES)
def test_health_of_each_service(c, service):
    assert c.health(service) == SERVING


def test_health_of_an_unknown_service(c):
    with pytest.raises(grpc.RpcError) as caught:
        c.health("nobody")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def length_delimited(number, value):
    """One field of a message, for a protocol whose proto nobody installs."""
    return encoder.TagBytes(number, 2) + encoder._VarintBytes(len(value)) + value


def fields_of(message):
    """(number, bytes) of each length-delimited field."""
    position = 0
    while position < len(message):
        tag, position = decoder._DecodeVarint(message, position)
        value, position = decoder._DecodeVarint(message, position)
        if tag & 7 == 2:
            yield tag >> 3, message[position:position + value]
            position += value


def reflect(c, field, value):
    """What v1alpha reflection answers to one request."""
    call = c.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    return next(call(iter([length_delimited(field, value)]), timeout=CALL_LIMIT_S))


def test_reflection_takes_no_thread_for_each_who_asks(start, name):
    """A stream that asks nothing holds a thread, for nobody has to say who he is."""
    server = start("--store=memory")
    with server.client() as c:
        call = c.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        silent = threading.Event()
        asking = [call(iter(silent.wait, True), timeout=CALL_LIMIT_S) for _ in range(200)]
        time.sleep(1)
        threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
        assert c.open(name).created and c.health() == SERVING
        for one in asking:
            one.cancel()
        silent.set()
        assert threads < 100
        eventually(lambda: reflect(c, 7, b"*"), "an answer to who asks")


def test_reflection_lists_the_services(c):
    listing = dict(fields_of(reflect(c, 7, b"*")))[6]
    services = [dict(fields_of(service))[1].decode() for _, service in fields_of(listing)]
    assert {"waitd.v1.WaitService", "waitd.v1.AdminService",
            "grpc.health.v1.Health"} <= set(services)


def test_reflection_gives_what_a_client_needs_for_a_call(c, name):
    """A client without the contract gets it, and waits by it."""
    answer = dict(fields_of(reflect(c, 4, b"waitd.v1.WaitService")))[4]
    pool = descriptor_pool.DescriptorPool()
    waiting = [descriptor_pb2.FileDescriptorProto.FromString(file)
               for _, file in fields_of(answer)]
    seen = {file.name for file in waiting}
    for file in waiting:
        for needed in file.dependency:
            if needed not in seen:
                seen.add(needed)
                more = dict(fields_of(reflect(c, 3, needed.encode())))[4]
                waiting += [descriptor_pb2.FileDescriptorProto.FromString(one)
                            for _, one in fields_of(more)]
    for file in sorted(waiting, key=lambda one: len(one.dependency)):
        pool.Add(file)
    method = pool.FindServiceByName("waitd.v1.WaitService").methods_by_name["Ready"]
    factory = message_factory.MessageFactory(pool)
    request, response = (factory.GetPrototype(one)
                         for one in (method.input_type, method.output_type))
    c.open(name)
    ready = c.channel.unary_unary("/waitd.v1.WaitService/Ready",
                                  request_serializer=request.SerializeToString,
                                  response_deserializer=response.FromString)
    assert ready(request(name=name), timeout=CALL_LIMIT_S).effect == REMEMBERED


def test_the_limit_of_descriptors(start, name):
    server = start("--max-descriptors=3")
    with server.client() as c:
        for i in range(3):
            c.open(f"{name}/{i}")
        with refused("RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS") as said:
            c.open(f"{name}/3")
        assert said[0].quota
        for call in (lambda: c.wait(f"{name}/3", 0, open_if_missing=options()),
                     lambda: c.ready(f"{name}/3", open_if_missing=options()),
                     lambda: c.deadline(f"{name}/3", 1, open_if_missing=options()),
                     lambda: c.poll([f"{name}/0", f"{name}/3"], timeout=0,
                                    open_if_missing=options())):
            with refused("RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS"):
                call()
        assert not c.open(f"{name}/0").created
        c.close(f"{name}/1")
        assert c.open(f"{name}/3").created


def test_a_poll_that_would_pass_the_limit_opens_nothing(start, name):
    server = start("--max-descriptors=2")
    with server.client() as c:
        with refused("RESOURCE_EXHAUSTED", "LIMIT_DESCRIPTORS"):
            c.poll([f"{name}/{i}" for i in range(3)], timeout=0, open_if_missing=options())
        assert not any(c.is_open(f"{name}/{i}") for i in range(3))


def test_the_limit_of_waiters(start, name):
    server = start("--max-waiters=2")
    with server.client() as c:
        c.open(name, kind=FIFO)
        calls = [c.park(name, count=n) for n in (1, 2)]
        refusal = refusal_of(c.start_wait(name), "RESOURCE_EXHAUSTED", "LIMIT_WAITERS")
        assert refusal.quota
        c.open(f"{name}/poll")
        refusal_of(c.start_poll([f"{name}/poll"]), "RESOURCE_EXHAUSTED", "LIMIT_WAITERS")
        assert c.side(f"{name}/poll").waiters == 0
        c.ready(f"{name}/poll")
        assert c.takes(f"{name}/poll"), "a try needs no place"
        assert c.ready(name).woken == 1
        assert calls[0].result().outcome == READY
        calls.append(c.park(name, count=2))
        assert c.close(name).woken == 2
        assert [call.result().outcome for call in calls[1:]] == [CLOSED] * 2


def test_the_limit_of_payloads(start, name):
    server = start("--max-payload-bytes=100")
    with server.client() as c:
        c.open(name)
        signal = pb.Signal(data=bytes(98))
        assert signal.ByteSize() == 100
        assert c.ready(name, signal=signal).effect == REMEMBERED
        with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", "signal"):
            c.ready(name, signal=pb.Signal(data=bytes(99)))
        assert c.wait(name).signal == signal


DRAIN_S = 2


def test_a_drain_refuses_waits_and_lets_parked_ones_end(start, name):
    server = start(f"--drain-timeout={DRAIN_S}s")
    with server.client() as c, server.client() as watcher:
        c.open(name)
        c.open(f"{name}/2")
        released, left = c.park(name), c.park(f"{name}/2")
        poll = c.park_poll([(name, WRITE)])
        begin = time.monotonic()
        server.terminate()
        eventually(lambda: watcher.health() == NOT_SERVING, "it says NOT_SERVING")
        for service in ("waitd.v1.WaitService", "waitd-readiness"):
            assert watcher.health(service) == NOT_SERVING
        refusal_of(c.start_wait(name), "UNAVAILABLE", "DRAINING")
        refusal_of(c.start_poll([name]), "UNAVAILABLE", "DRAINING")
        assert server.metrics()("waitd_draining") == 1
        assert server.http("/readyz")[0] == 503
        assert server.http("/healthz")[0] == 200
        assert c.get(name).read.waiters == 1
        assert c.ready(name, b"in time").effect == WOKE
        assert released.result().signal.data == b"in time"
        for call in (left, poll):
            refusal_of(call, "UNAVAILABLE", "DRAINING")
        assert time.monotonic() - begin >= DRAIN_S
        assert server.exit_code() == 0


def test_a_drain_ends_when_nobody_is_parked(start, name):
    server = start("--drain-timeout=1h")
    with server.client() as c:
        c.open(name)
        call = c.park(name)
        server.terminate()
        eventually(lambda: c.health() == NOT_SERVING, "it says NOT_SERVING")
        assert c.ready(name).effect == WOKE
        assert call.result().outcome == READY
        assert server.exit_code() == 0


def test_a_drain_lets_timeouts_come(start, name):
    server = start("--drain-timeout=1h")
    with server.client() as c:
        c.open(name)
        call = c.park(name)
        server.terminate()
        eventually(lambda: c.health() == NOT_SERVING, "it says NOT_SERVING")
        c.deadline(name, 0.05)
        assert call.result().timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE
        assert server.exit_code() == 0


def test_a_second_sigterm_ends_the_drain_at_once(start, name):
    server = start("--drain-timeout=1h")
    with server.client() as c:
        c.open(name)
        call = c.park(name)
        server.terminate()
        eventually(lambda: c.health() == NOT_SERVING, "it says NOT_SERVING")
        assert not call.done()
        server.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        # Cut short, it may say so by its code, or as one that the signal ended.
        assert server.exit_code() in (0, -signals.SIGTERM, 128 + signals.SIGTERM)


def test_an_idle_server_stops_at_once(start):
    server = start("--drain-timeout=1h")
    server.terminate()
    assert server.exit_code() == 0


def test_sigint_drains_too(start):
    server = start("--drain-timeout=1h")
    server.process.send_signal(signals.SIGINT)
    assert server.exit_code() == 0


@pytest.mark.parametrize("flag", [
    "--no-such-flag=1", "--max-wait=soon", "--max-wait=-5s", "--max-waiters=many",
    "--max-waiters=-1", "--max-payload-bytes=1.5", "--log-level=loud", "--log-format=xml",
    "--drain-timeout=x", "--default-idle-ttl=-1s", "--listen-address=nowhere",
    "--listen-address=127.0.0.1:99999", "--listen-address=unix:/no/such/folder/socket",
    "--metrics-address=nowhere", "--metrics-address=127.0.0.1:x", "--max-descriptors=",
    "--config=/no/such/file", "--store=paper", "--sync=sometimes", "--min-free-disk-bytes=some"])
def test_a_wrong_flag_is_refused(waitd, flag):
    assert_refused_at_start(waitd, [*SOMEWHERE, flag], mention=flag[2:].split("=")[0])


def test_a_stray_argument_is_refused(waitd):
    assert_refused_at_start(waitd, [*SOMEWHERE, "stray"], mention="stray")


def test_a_wrong_variable_is_refused(waitd):
    assert_refused_at_start(waitd, SOMEWHERE, {"WAITD_MAX_WAIT": "soon"})


@pytest.mark.parametrize("line", ["no-such-flag = 1", "max-wait = soon", "max-wait", "= 5"])
def test_a_wrong_config_file_is_refused(waitd, tmp_path, line):
    config = tmp_path / "config"
    config.write_text(f"# waitd\n\nmax-waiters = 5\n{line}\n", encoding="utf-8")
    assert_refused_at_start(waitd, [*SOMEWHERE, f"--config={config}"])


def test_a_grpc_port_in_use_is_refused(waitd, start):
    server = start(listen="127.0.0.1:0")
    assert not server.address.endswith(":0")
    assert_refused_at_start(
        waitd, [*SOMEWHERE, f"--listen-address={server.address}"], mention=server.address)
    with server.client() as c:
        assert c.health() == SERVING


def test_a_grpc_port_of_another_program_is_refused(waitd):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert_refused_at_start(waitd, [*SOMEWHERE, f"--listen-address={address}"],
                                mention=address)


def test_a_metrics_port_in_use_is_refused(waitd, start):
    server = start()
    assert_refused_at_start(
        waitd, [*SOMEWHERE, f"--metrics-address={server.metrics_address}"],
        mention=server.metrics_address)


def test_a_unix_socket_in_use_is_not_taken_over(waitd, start):
    server = start()
    assert_refused_at_start(
        waitd, [*SOMEWHERE, f"--listen-address={server.address}"],
        mention=server.address.removeprefix("unix:"))
    with server.client() as c:
        assert c.health() == SERVING


def test_a_unix_socket_left_by_a_killed_server_is_used_again(start, waitd, name):
    first = start()
    stale = subprocess.Popen(
        [waitd, *SOMEWHERE, f"--listen-address=unix:{first.directory}/stale"],
        stderr=subprocess.PIPE, text=True, env=clean_environment())
    with stale:
        assert stale.stderr.readline()
        stale.kill()
    server = start(listen=f"unix:{first.directory}/stale")
    with server.client() as c:
        assert c.open(name).created


# Where the store is, and what it promises.


def test_a_store_in_use_is_refused(waitd, start, tmp_path):
    server = start("--store=rocksdb", f"--data-dir={tmp_path}/data")
    assert_refused_at_start(
        waitd, [*SOMEWHERE, "--store=rocksdb", f"--data-dir={tmp_path}/data"],
        mention=f"{tmp_path}/data")
    with server.client() as c:
        assert c.health() == SERVING


def test_a_place_that_cannot_be_made_is_refused(waitd):
    assert_refused_at_start(waitd, [*SOMEWHERE, "--store=rocksdb"], mention="/dev/null/none")


@pytest.mark.parametrize("end", ["", "/", "//", "/."])
def test_the_store_is_its_owners_alone(start, tmp_path, end):
    """However its place is written."""
    start("--store=rocksdb", f"--data-dir={tmp_path}/above/data{end}")
    assert stat.S_IMODE(os.stat(tmp_path / "above" / "data").st_mode) == 0o700


def test_the_store_is_where_the_service_manager_says(start, tmp_path):
    """Of two directories in the first one."""
    server = start("--store=rocksdb", "--data-dir=",
                   env={"STATE_DIRECTORY": f"{tmp_path}/here:{tmp_path}/there"})
    assert server.await_log(f"recovered data_dir={tmp_path}/here ")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("sync, risk", [
    ("always", None), ("interval", "the last second"), ("never", "the operating system")])
def test_a_store_says_what_is_at_risk(start, sync, risk):
    server = start("--store=rocksdb", f"--sync={sync}")
    warnings = [line for line in server._lines if " warning " in line]
    if risk:
        assert len(warnings) == 1, warnings
        assert f"sync={sync}: a power cut takes" in warnings[0] and risk in warnings[0]
    else:
        assert not warnings
    assert server.metrics().label_sets("waitd_store_info") == [{"store": "rocksdb", "sync": sync}]


def test_a_store_that_fails_ends_all_as_unknown_and_the_process_with_74(start, name):
    """Its files may not grow any more. What was answered is there afterwards, and what was not can
    be repeated."""
    mask = signals.pthread_sigmask(signals.SIG_BLOCK, [signals.SIGXFSZ])
    try:
        server = start("--store=rocksdb")
    finally:
        signals.pthread_sigmask(signals.SIG_SETMASK, mask)
    failed = ("UNAVAILABLE", "STORE_FAILED")
    missing = options(kind=FIFO)
    with server.client() as c:
        c.open(name)
        parked = [c.park(name), c.park(f"{name}/id", wait_id="w", open_if_missing=missing)]
        limit = 16384
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        first_sent = time.monotonic()
        answered = 0
        while answered < limit // 100:
            call = c.start_ready(f"{name}/{answered}", bytes(100), request_id="r",
                                 open_if_missing=missing)
            if call.exception():
                break
            answered += 1
        refusal_of(call, *failed)
        for one in parked:
            refusal_of(one, *failed)
        assert server.exit_code() == 74
    assert sum(" critical the store has failed" in line for line in server._lines) == 1
    server.start()
    with server.client() as c:
        assert c.is_open(name) and c.side(name).waiters == 0
        for number in range(answered + 1):
            assert c.ready(f"{name}/{number}", bytes(100), request_id="r", open_if_missing=missing,
                           first_sent_ago=time.monotonic() - first_sent).effect == REMEMBERED


def test_without_room_nothing_new_is_taken_and_the_rest_goes_on(start, name):
    server = start("--store=rocksdb", "--min-free-disk-bytes=1000000000000000")
    full = ("RESOURCE_EXHAUSTED", "LIMIT_DISK")
    with server.client() as c:
        eventually(lambda: c.start_open(name).exception(), "it has looked")
        for call in (c.start_open(name), c.start_wait(name, 0), c.start_ready(name),
                     c.start_deadline(name, 1), c.start_reset(name), c.start_poll([name])):
            refusal_of(call, *full)
        assert c.health() == SERVING
        if c.is_open(name):
            c.close(name)
        assert server.metrics()("waitd_refusals_total", reason="LIMIT_DISK") >= 6


def payload_limit(server):
    return server.metrics()("waitd_limit", resource="payload_bytes")


def test_flags_go_before_the_environment_and_that_before_the_file(start):
    config = "# comment\n\n  max-payload-bytes = 101  \nmax-waiters=7\ndrain-timeout = 5s\n"
    env = {"WAITD_MAX_PAYLOAD_BYTES": "202", "WAITD_MAX_DESCRIPTORS": "8"}
    assert payload_limit(start(config=config)) == 101
    assert payload_limit(start(config=config, env=env)) == 202
    server = start("--max-payload-bytes=303", config=config, env=env)
    assert payload_limit(server) == 303
    metrics = server.metrics()
    assert metrics("waitd_limit", resource="waiters") == 7
    assert metrics("waitd_limit", resource="descriptors") == 8


def test_the_config_file_may_be_named_in_the_environment(start, tmp_path):
    path = tmp_path / "config"
    path.write_text("max-payload-bytes = 404\n", encoding="utf-8")
    assert payload_limit(start(env={"WAITD_CONFIG": str(path)})) == 404


def test_help_and_version(waitd):
    for flag in ("--help", "--version"):
        result = subprocess.run([waitd, flag], env=clean_environment(), text=True,
                                capture_output=True, timeout=CALL_LIMIT_S, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert "waitd" in result.stdout


@pytest.mark.parametrize("level", ["info", "debug"])
def test_json_log_lines(start, name, level):
    """Each line is an object, also those that tell what clients sent and libraries said."""
    server = start("--log-format=json", f"--log-level={level}")
    with server.client() as c:
        c.open(name)
        call = c.park(name)
        for message in (b"\x0a\x02\xff\xfe", b"\x0a\x03a\"\n"):
            with contextlib.suppress(grpc.RpcError):
                c.channel.unary_unary("/waitd.v1.WaitService/Wait")(
                    message, timeout=CALL_LIMIT_S)
        c.close(name)
        assert call.result().outcome == CLOSED
    server.terminate()
    assert server.exit_code() == 0
    lines = [json.loads(line) for line in server._lines]
    assert all(line.keys() == {"time", "level", "message"} for line in lines)
    assert all(datetime.datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
               for line in lines)
    assert any("draining" in line["message"] for line in lines)
    assert any(line["level"] == "debug" for line in lines) == (level == "debug")


def test_who_reads_the_log_may_go(waitd, tmp_path):
    """The next line, here that of the drain, is lost, and nothing else."""
    with subprocess.Popen(
            [waitd, *SOMEWHERE, f"--listen-address=unix:{tmp_path}/s", "--metrics-address=none"],
            stderr=subprocess.PIPE, env=clean_environment()) as process:
        assert b" ready " in process.stderr.readline()
        process.stderr.close()
        process.terminate()
        assert process.wait(CALL_LIMIT_S) == 0


def test_a_json_log_line_is_utf8_whatever_it_tells(waitd, tmp_path):
    address = f"unix:{tmp_path}/".encode() + b"\xff\n\x01"
    with subprocess.Popen(
            [waitd, *SOMEWHERE, b"--listen-address=" + address, "--log-format=json"],
            stderr=subprocess.PIPE, env=clean_environment()) as process:
        ready = json.loads(process.stderr.readline())
        process.terminate()
        assert all(json.loads(line) for line in process.stderr)
    assert process.returncode == 0
    assert f"unix:{tmp_path}/\ufffd\n\x01" in ready["message"]


def test_a_refusal_at_start_is_one_line_whatever_it_tells(waitd):
    assert_refused_at_start(waitd, [*SOMEWHERE, "--log-level=a\nb\rc"], mention="log-level")


def test_text_log_lines(start):
    server = start("--log-format=text")
    server.terminate()
    assert server.exit_code() == 0
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d info \S.*", line)
               for line in server._lines), server._lines


def test_tcp_serves_like_a_unix_socket(start, name):
    server = start(listen="127.0.0.1:0")
    with server.client() as c:
        c.open(name, kind=EXCLUSIVE)
        call = c.park(name, mode=READ)
        assert c.side(name).waiter_details[0].client
        assert c.ready(name, b"x").effect == WOKE
        assert call.result().signal.data == b"x"
