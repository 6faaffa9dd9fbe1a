"""waitd as a process: limits, drain, options, metrics, health, and ten thousand parked calls."""

import signal
import subprocess
import urllib.request

import grpc
import pytest

from conftest import BIN, pb, refusal, until
from grpc_stubs.health.v1 import health_pb2

CODE = grpc.StatusCode


def scrape(server, path="metrics"):
    with urllib.request.urlopen(f"http://{server.metrics}/{path}", timeout=10) as answer:
        return answer.read().decode()


def value(server, sample):
    for line in scrape(server).splitlines():
        if line.startswith(sample + " "):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no sample {sample}")


def health(server, service=""):
    check = server.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString)
    return check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def test_health_and_reflection(server):
    for service in ("", "waitd.v1.WaitService", "waitd-liveness", "waitd-readiness"):
        assert health(server, service) == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError):
        health(server, "nobody")
    reflect = server.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    answer = next(reflect(iter([b"\x3a\x01*"]), timeout=10))  # list_services
    assert b"waitd.v1.WaitService" in answer


def test_drain(waitd):
    server = waitd("--drain-timeout", "1s")
    for each in ("a", "b"):
        server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=each))
    woken, left = (server.stub.Wait.future(pb.WaitRequest(name=each)) for each in "ab")
    server.parked("a")
    server.parked("b")
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in server.log.read_text())
    until(lambda: health(server) == health_pb2.HealthCheckResponse.NOT_SERVING)
    assert refusal(lambda: server.stub.Wait(pb.WaitRequest(name="a"))) == (
        CODE.UNAVAILABLE, "DRAINING", None)
    assert server.stub.Ready(pb.ReadyRequest(name="a")).effect == pb.READY_EFFECT_WOKE
    assert woken.result(10).outcome == pb.OUTCOME_READY
    assert left.exception(10).code() == CODE.UNAVAILABLE
    assert server.process.wait(10) == 0


def test_a_second_signal_ends_at_once(waitd):
    server = waitd("--drain-timeout", "1h")
    call = server.stub.Wait.future(pb.WaitRequest(name="a", open_if_missing=pb.OpenOptions()))
    server.parked("a")
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in server.log.read_text())
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == -signal.SIGTERM
    assert call.exception(10).code() == CODE.UNAVAILABLE


@pytest.mark.parametrize("flags,word", [
    (["--lisen-address=x"], "--listen-address"),
    (["--max-waiters=many"], "max-waiters"),
    (["--max-wait=5"], "duration"),
    (["--log-format=xml"], "text, json"),
    (["--listen-address"], "needs a value"),
    (["serve"], "--help"),
    (["--config=/nowhere"], "/nowhere"),
])
def test_a_wrong_option_is_one_line_and_2(flags, word):
    done = subprocess.run([BIN / "waitd", *flags], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and word in done.stderr, done.stderr


def test_an_address_in_use_is_one_line_and_2(server, waitd):
    for flags in (["--listen-address", server.address],
                  ["--listen-address", "127.0.0.1:0", "--metrics-address", server.metrics]):
        done = subprocess.run([BIN / "waitd", *flags], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert server.get  # and the one that was there still serves
    assert health(server) == health_pb2.HealthCheckResponse.SERVING


def test_flags_go_before_the_environment_and_that_before_the_file(waitd, tmp_path):
    config = tmp_path / "waitd.conf"
    config.write_text("# limits\nmax-waiters = 11\nmax-descriptors = 12\nmax_payload_bytes = 13\n")
    server = waitd("--config", str(config), "--max-waiters", "31",
                   env={"WAITD_MAX_WAITERS": "21", "WAITD_MAX_DESCRIPTORS": "22",
                        "WAITD_PORT": "tcp://10.0.0.1:80"})
    assert value(server, 'waitd_limit{resource="waiters"}') == 31
    assert value(server, 'waitd_limit{resource="descriptors"}') == 22
    assert value(server, 'waitd_limit{resource="payload_bytes"}') == 13


def test_limits(waitd):
    server = waitd("--max-descriptors", "2", "--max-waiters", "1")
    for each in ("a", "b"):
        server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=each))
    assert refusal(lambda: server.stub.OpenPollDescriptor(
        pb.OpenPollDescriptorRequest(name="c")))[:2] == (
            CODE.RESOURCE_EXHAUSTED, "LIMIT_DESCRIPTORS")
    call = server.stub.Wait.future(pb.WaitRequest(name="a"))
    server.parked("a")
    assert refusal(lambda: server.stub.Wait(pb.WaitRequest(name="b")))[:2] == (
        CODE.RESOURCE_EXHAUSTED, "LIMIT_WAITERS")
    call.cancel()


NAMES = """waitd_descriptors waitd_waiters waitd_oldest_waiter_seconds waitd_timers
waitd_waits_total waitd_ready_total waitd_timeouts_total waitd_deadlines_set_total
waitd_stale_timers_total waitd_double_waits_total waitd_idle_closed_total waitd_refusals_total
waitd_limit waitd_draining waitd_wait_duration_seconds waitd_wake_latency_seconds
waitd_timeout_lateness_seconds waitd_store_info waitd_build_info grpc_server_started_total
grpc_server_handled_total grpc_server_handling_seconds process_cpu_seconds_total
process_resident_memory_bytes process_open_fds process_start_time_seconds""".split()


def test_metrics_are_all_there_from_the_start_and_promtool_finds_nothing(waitd):
    server = waitd()
    text = scrape(server)
    for each in NAMES:
        assert f"# TYPE {each} " in text, each
    for sample in ('waitd_waits_total{mode="poll",outcome="cancelled"}',
                   'waitd_timeouts_total{mode="write",cause="max_wait"}',
                   'waitd_ready_total{mode="read",effect="coalesced"}',
                   'waitd_deadlines_set_total{mode="write",effect="refused"}',
                   'waitd_refusals_total{reason="DOUBLE_WAIT"}'):
        assert value(server, sample) == 0
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                             capture_output=True, timeout=30)
    assert checked.returncode == 0 and not checked.stdout and not checked.stderr, checked
    assert scrape(server, "healthz") == "ok\n" and scrape(server, "readyz") == "ok\n"


def test_the_readme_lists_every_metric():
    from conftest import ROOT
    readme = (ROOT / "README.md").read_text()
    for each in NAMES:
        assert each in readme or each.startswith("process_"), each


def test_a_real_prometheus_sees_the_waiters(waitd, tmp_path):
    server = waitd()
    call = server.stub.Wait.future(pb.WaitRequest(name="a", open_if_missing=pb.OpenOptions()))
    server.parked("a")
    config = tmp_path / "prometheus.yml"
    config.write_text("scrape_configs:\n- job_name: waitd\n  scrape_interval: 1s\n"
                      f"  static_configs:\n  - targets: ['{server.metrics}']\n")
    import json
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def seen():
        url = f"http://127.0.0.1:{port}/api/v1/query?query=sum(waitd_waiters)"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return False
        return result and result[0]["value"][1] == "1"

    try:
        until(seen, 60)
    finally:
        prometheus.kill()
        prometheus.wait()
    call.cancel()
    until(lambda: value(server, 'waitd_waiters{mode="read"}') == 0)


def resident(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096


def test_ten_thousand_parked_calls_are_released_and_the_memory_stays_level(waitd):
    server = waitd()
    levels = []
    for _ in range(3):
        server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(
            name="many", options=pb.OpenOptions(kind=pb.KIND_FIFO)))
        calls = [server.stub.Wait.future(pb.WaitRequest(name="many")) for _ in range(10_000)]
        until(lambda: server.get("many").read.waiters == 10_000, 60)
        closed = server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name="many"))
        assert closed.woken == 10_000
        assert all(call.result(60).outcome == pb.OUTCOME_CLOSED for call in calls)
        until(lambda: value(server, 'waitd_waiters{mode="read"}') == 0)
        levels.append(resident(server))
    assert levels[2] < levels[1] * 1.1, levels
    server.stop()
