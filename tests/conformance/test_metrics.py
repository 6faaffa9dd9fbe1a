"""The metrics: names and labels from the start, what counts as what, and a real Prometheus."""

import json
import socket
import subprocess
import urllib.error
import urllib.request

import grpc
import pytest
from harness import (
    BY_DEADLINE, BY_WAIT, CALL_LIMIT_S, CLEAR, FIFO, IF_WAITING, LATCH, ONLY_LATER, READ_WRITE,
    READY, WRITE, eventually, options, refusal_of, refused, timed_out)

SIDES = ["read", "write"]
MODES = ["read", "write", "poll"]
OUTCOMES = ["ready", "timed_out", "closed", "cancelled", "refused"]
EFFECTS = ["woke", "remembered", "coalesced", "refused"]
CAUSES = ["deadline", "wait", "max_wait"]
DEADLINE_EFFECTS = ["armed", "extended", "shortened", "unchanged", "cleared", "expired", "refused"]
REASONS = ["BAD_NAME", "BAD_MODE", "BAD_TIME", "BAD_KIND", "BAD_LABELS", "BAD_PAGE_TOKEN",
           "BAD_OPTIONS", "BAD_POLL", "PAYLOAD_TOO_LARGE", "NO_DESCRIPTOR", "EXISTS",
           "KIND_MISMATCH", "DOUBLE_WAIT", "STALE_GENERATION", "LIMIT_DESCRIPTORS", "LIMIT_WAITERS",
           "LIMIT_DELIVERIES", "LIMIT_SESSIONS", "LIMIT_UNACKED", "DRAINING", "BAD_ID",
           "BAD_SESSION", "ID_REUSED", "OUTCOME_UNKNOWN", "TAKEN_OVER", "STALE_DELIVERY",
           "LIMIT_DISK", "STORE_FAILED", "NO_STORE", "NO_BACKUP_DIR", "BACKUP_FAILED",
           "LIMIT_BACKUPS", "LIMIT_MEMORY", "LIMIT_RATE", "NO_CREDENTIALS", "FORBIDDEN"]
METHODS = ["OpenPollDescriptor", "ClosePollDescriptor", "Reset", "Wait", "Ready", "SetDeadline",
           "Poll", "Ack", "GetPollDescriptor", "ListPollDescriptors"]
CODES = ["OK", "Canceled", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
         "ResourceExhausted", "FailedPrecondition", "Aborted", "Unimplemented", "Internal",
         "Unavailable", "Unauthenticated", "PermissionDenied"]


def product(**labels):
    """Each label set of these values."""
    sets = [{}]
    for label, values in labels.items():
        sets = [{**one, label: value} for one in sets for value in values]
    return sets


HELD = ["descriptors", "waits", "outcomes", "deliveries", "payloads", "results", "sessions",
        "calls"]
ZERO_AT_START = {
    "waitd_descriptors": product(kind=["exclusive", "fifo", "latch"]),
    "waitd_waiters": product(mode=MODES),
    "waitd_oldest_waiter_seconds": [{}],
    "waitd_held_bytes": product(what=HELD),
    "waitd_timers": [{}],
    "waitd_waits_total": product(mode=MODES, outcome=OUTCOMES),
    "waitd_ready_total": product(mode=SIDES, effect=EFFECTS),
    "waitd_timeouts_total": product(mode=MODES, cause=CAUSES),
    "waitd_deadlines_set_total": product(mode=SIDES, effect=DEADLINE_EFFECTS),
    "waitd_stale_timers_total": [{}],
    "waitd_double_waits_total": [{}],
    "waitd_idle_closed_total": [{}],
    **dict.fromkeys(["waitd_sessions", "waitd_deliveries", "waitd_unacked", "waitd_returned",
                     "waitd_outcomes", "waitd_outcomes_dropped_total",
                     "waitd_redeliveries_total"], [{}]),
    "waitd_refusals_total": product(reason=REASONS),
    "waitd_draining": [{}],
    "waitd_store_errors_total": [{}],
    "waitd_wait_duration_seconds_count": product(outcome=["ready", "timed_out", "closed"]),
    "waitd_wake_latency_seconds_count": [{}],
    "waitd_timeout_lateness_seconds_count": [{}],
}
NOT_ZERO = {
    "waitd_limit": product(resource=["descriptors", "waiters", "payload_bytes", "outcomes",
                                     "deliveries", "sessions"]),
    "waitd_held_bytes_limit": product(what=HELD),
    "process_start_time_seconds": [{}],
    "process_virtual_memory_bytes": [{}],
    "process_resident_memory_bytes": [{}],
    "process_open_fds": [{}],
    "process_max_fds": [{}],
}
STORE = ["waitd_store_bytes", "waitd_recovery_duration_seconds",
         "waitd_commit_duration_seconds_count", "waitd_commit_records_count"]
GRPC = {
    "grpc_server_started_total": {"grpc_method": METHODS},
    "grpc_server_handled_total": {"grpc_method": METHODS, "grpc_code": CODES},
    "grpc_server_handling_seconds_count": {"grpc_method": METHODS},
}


@pytest.fixture
def quiet(start):
    """A server of the test's own, and its client."""
    server = start()
    with server.client() as client:
        yield server, client


def test_every_metric_is_there_from_the_start(start):
    server = start()
    metrics = server.metrics()
    for name, label_sets in ZERO_AT_START.items():
        for labels in label_sets:
            assert metrics(name, **labels) == 0, (name, labels)
    for name, label_sets in NOT_ZERO.items():
        for labels in label_sets:
            assert metrics(name, **labels) > 0, (name, labels)
    assert metrics("process_cpu_seconds_total") >= 0
    for name in ("waitd_store_info", "waitd_build_info"):
        assert metrics.total(name) == 1
    assert metrics.label_sets("waitd_store_info")[0].keys() == {"store", "sync"}
    for name in STORE:
        assert metrics(name) >= 0
    assert metrics.label_sets("waitd_build_info")[0]["version"]
    for name, labels in GRPC.items():
        for one in product(grpc_type=["unary"], grpc_service=["waitd.v1.WaitService"], **labels):
            assert metrics(name, **one) == 0, (name, one)
        backup = {"grpc_service": "waitd.v1.AdminService", "grpc_method": "Backup"}
        for one in product(grpc_type=["unary"],
                           **{label: values for label, values in labels.items()
                              if label != "grpc_method"}):
            assert metrics(name, **backup, **one) == 0, (name, one)


def buckets(metrics, name, **labels):
    """The boundaries of a histogram, in seconds."""
    return sorted(float(one["le"]) for one in metrics.label_sets(f"{name}_bucket")
                  if all(one[label] == value for label, value in labels.items()))


def test_histograms_have_their_range(shared_server):
    metrics = shared_server.metrics()
    for name in ("waitd_wake_latency_seconds", "waitd_timeout_lateness_seconds"):
        bounds = buckets(metrics, name)
        assert (bounds[0], bounds[-2:]) == (0.0001, [1, float("inf")])
        assert 0.001 in bounds
    bounds = buckets(metrics, "waitd_wait_duration_seconds", outcome="ready")
    assert (bounds[0], bounds[-2:]) == (0.01, [3600, float("inf")])


    bounds = buckets(metrics, "waitd_commit_duration_seconds")
    assert (bounds[0], bounds[-2:]) == (0.00005, [1, float("inf")])
    bounds = buckets(metrics, "waitd_commit_records")
    assert (bounds[0], bounds[-2:]) == (1, [8192, float("inf")])


def test_nothing_is_committed_to_memory(start, name):
    server = start("--store=memory")
    with server.client() as c:
        c.open(name)
    metrics = server.metrics()
    assert [metrics(each) for each in STORE] == [0] * len(STORE)
    assert metrics.label_sets("waitd_store_info") == [{"store": "memory", "sync": "none"}]


def test_commits_are_counted_with_what_is_in_them(start, name):
    server = start("--store=rocksdb")
    with server.client() as c:
        c.open(name)
        before = server.metrics()
        assert all(before(each) > 0 for each in STORE)
        c.ready(name)
        c.reset(name)
        after = server.metrics()
        for each in STORE[2:]:
            assert after(each) == before(each) + 2, "each was answered after a commit of its own"
        records = "waitd_commit_records_sum"
        assert after(records) == before(records) + 2
        seconds = "waitd_commit_duration_seconds_sum"
        assert after(seconds) > before(seconds)


def test_promtool_finds_nothing(shared_server, c, name):
    c.open(name)
    c.ready(name)
    assert c.takes(name)
    result = subprocess.run(["promtool", "check", "metrics"], input=shared_server.metrics().text,
                            text=True, capture_output=True, timeout=CALL_LIMIT_S, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_no_name_is_a_label(shared_server, c, name):
    unique = f"{name}/told-nowhere"
    c.open(unique, labels={"secret-key": "secret-value"})
    call = c.park(unique)
    refusal_of(c.start_wait(unique), "FAILED_PRECONDITION", "DOUBLE_WAIT")
    text = shared_server.metrics().text
    for word in ("told-nowhere", "secret-key", "secret-value"):
        assert word not in text
    c.close(unique)
    call.result()


class Delta:
    """What moved between two scrapes, of the waitd_ counters."""

    def __init__(self, server):
        self._server = server
        self._before = server.metrics().samples

    def moved(self):
        """{(name without waitd_, labels...): by how much}; labels by the order of their names."""
        after = self._server.metrics().samples
        return {(name.removeprefix("waitd_"), *(value for _, value in sorted(labels))):
                value - self._before.get((name, labels), 0)
                for (name, labels), value in after.items()
                if name.startswith("waitd_") and name.endswith(("_total", "_count"))
                and value != self._before.get((name, labels), 0)}


def expect(server, act, **counts):
    """Runs act, and expects that these counters of a family moved, and no other of it did."""
    delta = Delta(server)
    act()
    for family, moved in counts.items():
        def seen(family=family):
            return {key[1:]: value for key, value in delta.moved().items()
                    if key[0] == family}
        eventually(lambda moved=moved, seen=seen: seen() == moved or _stuck(seen, moved),
                   f"{family}: {seen()} is {moved}")


def _stuck(seen, moved):
    """Fails at once when something moved that should not have; it never moves back."""
    assert not {key for key, value in seen().items() if value > moved.get(key, 0)}, (
        seen(), moved)
    return False


def test_waits_are_counted_by_side_and_outcome(quiet, name):
    server, c = quiet
    c.open(name)

    def act():
        c.ready(name)
        c.wait(name)
        call = c.park(name, mode=WRITE)
        c.ready(name, mode=READ_WRITE)
        call.result()
        c.wait(name)
        c.wait(name, 0.001)
        c.deadline(name, 0)
        c.wait(name)
        c.deadline(name, CLEAR)
        call = c.park(name)
        refusal_of(c.start_wait(name), "FAILED_PRECONDITION", "DOUBLE_WAIT")
        call.cancel()
        c.await_parked(name, 0)
        call = c.park(name)
        c.close(name)
        call.result()
    expect(server, act, waits_total={
        ("read", "ready"): 2, ("write", "ready"): 1, ("read", "timed_out"): 2,
        ("read", "refused"): 1, ("read", "cancelled"): 1, ("read", "closed"): 1,
    }, ready_total={("remembered", "read"): 2, ("woke", "write"): 1},
        timeouts_total={("wait", "read"): 1, ("deadline", "read"): 1},
        deadlines_set_total={("expired", "read"): 1, ("cleared", "read"): 1},
        double_waits_total={(): 1}, refusals_total={("DOUBLE_WAIT",): 1})


def test_a_poll_counts_by_its_targets_while_it_is_parked(quiet, name):
    server, c = quiet
    names = [f"{name}/{i}" for i in range(3)]
    for one in names:
        c.open(one)

    def act():
        call = c.park_poll(names)
        metrics = server.metrics()
        assert [metrics("waitd_waiters", mode=mode) for mode in MODES] == [0, 0, 3]
        c.ready(names[1])
        call.result()
        assert timed_out(c.poll(names, timeout=0), BY_WAIT)
        c.deadline(names[0], 0)
        assert timed_out(c.poll(names, need=3), BY_DEADLINE)
    expect(server, act,
           waits_total={("poll", "ready"): 1, ("poll", "timed_out"): 2},
           timeouts_total={("wait", "poll"): 1, ("deadline", "poll"): 1},
           ready_total={("woke", "read"): 1})


def test_read_write_counts_once_a_side(quiet, name):
    server, c = quiet
    c.open(name)

    def act():
        c.ready(name, mode=READ_WRITE)
        c.ready(name, mode=READ_WRITE)
        c.ready(name, mode=READ_WRITE, condition=IF_WAITING)
        c.deadline(name, 100, READ_WRITE)
        c.deadline(name, 50, READ_WRITE, condition=ONLY_LATER)
        c.deadline(name, 50, READ_WRITE)
        c.deadline(name, 200, READ_WRITE)
    effects = [(effect, mode) for effect in ("remembered", "coalesced", "refused")
               for mode in SIDES]
    deadlines = [(effect, mode) for effect in ("armed", "refused", "shortened", "extended")
                 for mode in SIDES]
    expect(server, act, ready_total=dict.fromkeys(effects, 1),
           deadlines_set_total=dict.fromkeys(deadlines, 1))


def test_refusals_are_counted_by_reason(quiet, name):
    server, c = quiet
    c.open(name, kind=FIFO)

    def act():
        with refused("INVALID_ARGUMENT", "BAD_NAME"):
            c.open("")
        with refused("NOT_FOUND", "NO_DESCRIPTOR"):
            c.get(f"{name}/no")
        with refused("ALREADY_EXISTS", "EXISTS"):
            c.open(name, kind=FIFO, must_create=True)
        with refused("FAILED_PRECONDITION", "KIND_MISMATCH"):
            c.wait(name, 0, open_if_missing=options(kind=LATCH))
        with refused("ABORTED", "STALE_GENERATION"):
            c.ready(name, generation=1)
    expect(server, act, refusals_total={(reason,): 1 for reason in (
        "BAD_NAME", "NO_DESCRIPTOR", "EXISTS", "KIND_MISMATCH", "STALE_GENERATION")})


def test_grpc_calls_are_counted_by_method_and_code(quiet, name):
    server, c = quiet
    before = server.metrics()
    c.open(name)
    with refused("NOT_FOUND", "NO_DESCRIPTOR"):
        c.wait(f"{name}/no", 0)
    call = c.park(name)
    call.cancel()
    c.await_parked(name, 0)
    with pytest.raises(grpc.RpcError):
        c.start_wait(name, call_limit_s=0.02).result()
    c.await_parked(name, 0)

    def moved(metric, method, **labels):
        labels = {"grpc_type": "unary", "grpc_service": "waitd.v1.WaitService",
                  "grpc_method": method, **labels}
        return server.metrics()(metric, **labels) - before(metric, **labels)
    assert moved("grpc_server_started_total", "Wait") == 3
    for method, code, count in (("OpenPollDescriptor", "OK", 1), ("Wait", "NotFound", 1),
                                ("Wait", "OK", 0)):
        assert moved("grpc_server_handled_total", method, grpc_code=code) == count
    # A server cannot always tell a call's own deadline from a cancel.
    eventually(lambda: sum(moved("grpc_server_handled_total", "Wait", grpc_code=code)
                           for code in ("Canceled", "DeadlineExceeded")) == 2, "both handled")
    assert moved("grpc_server_handling_seconds_count", "Wait") == 3


def test_gauges_follow_what_stands(quiet, name):
    server, c = quiet
    for kind, one in ((FIFO, "f"), (LATCH, "l")):
        c.open(f"{name}/{one}", kind=kind)
    calls = [c.park(f"{name}/f"), c.park(f"{name}/f", count=2), c.park(f"{name}/l", mode=WRITE),
             c.park_poll([f"{name}/l"])]
    metrics = server.metrics()
    assert [metrics("waitd_waiters", mode=mode) for mode in MODES] == [2, 1, 1]
    assert [metrics("waitd_descriptors", kind=kind)
            for kind in ("exclusive", "fifo", "latch")] == [0, 1, 1]
    oldest = metrics("waitd_oldest_waiter_seconds")
    assert oldest > 0
    c.elapse(0.05)
    assert server.metrics()("waitd_oldest_waiter_seconds") >= oldest + 0.05
    for one in ("f", "l"):
        c.close(f"{name}/{one}")
    for call in calls:
        call.result()
    metrics = server.metrics()
    assert metrics.total("waitd_waiters") == 0
    assert metrics.total("waitd_descriptors") == 0
    assert metrics("waitd_oldest_waiter_seconds") == 0
    assert metrics("waitd_timers") == 0


def test_durations_and_lateness_are_observed(quiet, name):
    server, c = quiet
    c.open(name)
    call = c.park(name)
    c.elapse(0.05)
    c.ready(name)
    call.result()
    c.deadline(name, 0.02)
    assert timed_out(c.wait(name), BY_DEADLINE)

    def observed():
        metrics = server.metrics()
        return (metrics("waitd_wait_duration_seconds_count", outcome="ready") == 1
                and metrics("waitd_wake_latency_seconds_count") >= 1
                # The elapsed wait counts as well.
                and metrics("waitd_timeout_lateness_seconds_count") == 2)
    eventually(observed, "all observed")
    assert server.metrics()("waitd_wait_duration_seconds_sum", outcome="ready") >= 0.05
    assert server.metrics()("waitd_wake_latency_seconds_sum") > 0


def test_pages_beside_the_metrics(shared_server):
    assert shared_server.http("/healthz")[0] == 200
    assert shared_server.http("/readyz")[0] == 200
    assert shared_server.http("/nothing")[0] == 404
    with urllib.request.urlopen(f"http://{shared_server.metrics_address}/metrics",
                                timeout=CALL_LIMIT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


PROMETHEUS_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: waitd, static_configs: [{{targets: ["{target}"]}}]}}]
"""


def query(port, expression):
    """The one value of an expression, or None while there is none."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={expression}"
    try:
        with urllib.request.urlopen(url, timeout=CALL_LIMIT_S) as answer:
            result = json.load(answer)["data"]["result"]
    except (urllib.error.URLError, ConnectionError):
        return None
    return float(result[0]["value"][1]) if result else None


def test_a_real_prometheus_scrapes_it(quiet, tmp_path, name):
    server, c = quiet
    c.open(name, kind=FIFO)
    calls = [c.park(name, count=n) for n in (1, 2, 3)]
    config = tmp_path / "prometheus.yml"
    config.write_text(PROMETHEUS_CONFIG.format(target=server.metrics_address), encoding="ascii")
    port = free_port()
    log = (tmp_path / "log").open("w")
    with log, subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as prometheus:
        try:
            def waiters(count):
                # Paced by what it waits for all the same: that Prometheus does not fall over.
                with pytest.raises(subprocess.TimeoutExpired):
                    prometheus.wait(timeout=0.1)
                return query(port, "sum(waitd_waiters)") == count
            eventually(lambda: waiters(3), "it saw three parked")
            assert query(port, "up") == 1
            c.close(name)
            assert all(call.result().outcome != READY for call in calls)
            eventually(lambda: waiters(0), "it saw them leave")
        finally:
            prometheus.terminate()
