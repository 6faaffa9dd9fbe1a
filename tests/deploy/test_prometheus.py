"""The rules and the dashboard: what they name exists, and a real Prometheus acts by them."""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import prometheus_live as live
import pytest
from harness import FIFO, Server, check_refusal

sys.path.append(str(live.ROOT / "tests" / "crash"))
import power  # noqa: E402  of tests/crash

# Whose labels and series Prometheus makes by itself.
OF_PROMETHEUS = {"up", "ALERTS"}
NAME = re.compile(r"\b(?:waitd|grpc_server|process)_\w+|\bup\b|\bALERTS\b")
RECORDED = re.compile(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b")


def promtool(*words, cwd=None):
    done = subprocess.run(["promtool", *words], text=True, capture_output=True, timeout=60,
                          check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts():
    return [rule for rule in live.all_rules() if "alert" in rule]


def panels():
    """The panels that show something; rows are headings."""
    return [each for each in json.loads(live.DASHBOARD.read_text())["panels"]
            if each["type"] != "row"]


def queries():
    """(title of the panel, target), of the whole dashboard."""
    return [(panel["title"], target) for panel in panels() for target in panel["targets"]]


def waitd(*flags, port=0, env=None):
    """A waitd on the durable store, with its metrics on that port."""
    return Server(f"{os.environ['WAITD_BIN_DIR']}/waitd", "--store=rocksdb",
                  f"--metrics-address=127.0.0.1:{port}", *flags, env=env)


@pytest.fixture(scope="module", name="ports")
def _ports(request):
    """Where the waitd of each test is scraped: by a port of its own, under the test's name."""
    return {item.name: live.free_port() for item in request.session.items
            if "watched" in item.fixturenames}


@pytest.fixture(scope="module", name="prometheus")
def _prometheus(tmp_path_factory, ports):
    one = live.Prometheus(tmp_path_factory.mktemp("prometheus"), ports)
    yield one
    one.stop()


@pytest.fixture(name="watched")
def _watched(prometheus, ports, request):
    """Starts a waitd that Prometheus scrapes as an instance of the test's name."""
    with contextlib.ExitStack() as stack:
        def start(*flags, env=None):
            server = stack.enter_context(waitd(*flags, port=ports[request.node.name], env=env))
            prometheus.await_scraped(request.node.name)
            # As it was until now.
            prometheus.await_silent("WaitdDown", instance=request.node.name)
            return server, stack.enter_context(server.client())
        yield start


@pytest.fixture(name="me")
def _me(request):
    """The labels by which the test's instance is known."""
    return {"job": "waitd", "instance": request.node.name}


# What can be said without running anything


def test_promtool_finds_nothing_in_the_rules():
    promtool("check", "rules", str(live.RULES))


def test_each_alert_fires_and_stays_silent_when_it_should():
    cases = live.RULES.with_name("waitd.rules.test.yaml")
    promtool("test", "rules", cases.name, cwd=cases.parent)
    text = cases.read_text()
    for rule in alerts():
        name = re.escape(rule["alert"])
        assert re.search(rf"name: {name} fires", text), f"{name} is not tested"


def test_rules_keep_the_conventions():
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 0
    readme = (live.DEPLOY / "README.md").read_text()
    for rule in live.all_rules():
        if "record" in rule:
            assert RECORDED.fullmatch(rule["record"]), rule
            continue
        assert re.fullmatch(r"Waitd([A-Z][a-z]+)+", rule["alert"]), rule
        assert rule["labels"].keys() == {"severity"}, rule
        assert rule["labels"]["severity"] in ("critical", "warning"), rule
        assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in readme, rule
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule


def test_each_alert_has_a_section_of_the_runbook_and_each_section_an_alert():
    named = {}
    for rule in alerts():
        path, anchor = rule["annotations"]["runbook_url"].split("#")
        named.setdefault(path, set()).add(anchor)
    assert named.keys() == {"deploy/RUNBOOK.md"}
    text = (live.ROOT / "deploy/RUNBOOK.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    titles = [section.split("\n", 1)[0] for section in sections]
    assert sorted(titles) == sorted(rule["alert"] for rule in alerts())
    assert {title.lower() for title in titles} == named["deploy/RUNBOOK.md"]
    for section in sections:
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in section, (part, section)
    links = set(re.findall(r"\]\(#(\w+)\)", text))
    assert links <= named["deploy/RUNBOOK.md"], links


def test_every_recorded_name_is_recorded():
    recorded = {rule["record"] for rule in live.all_rules() if "record" in rule}
    used = {name for rule in live.all_rules() for name in RECORDED.findall(rule["expr"])}
    assert used <= recorded, used - recorded


def test_the_dashboard_keeps_the_conventions():
    board = json.loads(live.DASHBOARD.read_text())
    assert (board["uid"], board["id"]) == ("waitd", None)
    assert "__inputs" not in board
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "job", "instance"]
    # All are those that are listed: `.+` would take in what other programs have as well, as up and process_*.
    assert not [one["name"] for one in board["templating"]["list"] if one.get("allValue")]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["title"] and panel["description"], panel["id"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    for title, target in queries():
        assert target["datasource"]["uid"] == "${datasource}", title
        windows = set(re.findall(r"\[(.+?)\]", target["expr"]))
        assert windows <= {"$__rate_interval"}, title
        if "ALERTS" not in target["expr"]:
            assert '{job=~"$job",instance=~"$instance"' in target["expr"], title


def test_the_dashboard_shows_each_limit_that_an_alert_is_of():
    """To whom WaitdNearLimit has named a resource the runbook says to look there how it came."""
    ratio, = (one["expr"] for one in live.all_rules()
              if one.get("record") == "instance_resource:waitd_limit_used:ratio")
    alerted = set(re.findall(r'"resource", "(\w+)"', ratio))
    shown = {target["legendFormat"].removeprefix("{{instance}} ").replace(" ", "_")
             for title, target in queries() if title == "Limits in use"}
    assert '"resource", "${1}_bytes", "what"' in " ".join(ratio.split()), "of each kind"
    assert shown == alerted | {"memory_of_{{what}}"}


def test_no_panel_lies_over_another():
    taken = {}
    for panel in json.loads(live.DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]


# With real processes


def test_every_metric_named_exists():
    with waitd() as server:
        known = {name for name, _ in server.metrics().samples} | OF_PROMETHEUS
    recorded = {rule["record"] for rule in live.all_rules() if "record" in rule}
    texts = [one["expr"] for one in live.all_rules()] + [one["expr"] for _, one in queries()]
    named = set()
    for text in texts:
        for name in recorded:
            text = text.replace(name, "")
        named |= set(NAME.findall(text))
    assert len(named) > 30
    assert named <= known, named - known


def test_a_query_of_every_panel_has_data(prometheus, watched, me):
    server, _ = watched()
    load = live.Load(server)
    board = json.loads(live.DASHBOARD.read_text())
    for variable in board["templating"]["list"][1:]:
        selector, label = re.fullmatch(
            r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
        assert me[label] in prometheus.get(f"label/{label}/values", **{
            "match[]": selector.replace("$job", ".+")}), variable
    for title, target in queries():
        expression = (target["expr"].replace("$__rate_interval", "5s")
                      .replace("$job", "waitd").replace("$instance", me["instance"]))
        found = prometheus.eventually(
            lambda expression=expression: [one for one in prometheus.series(expression)
                                           if math.isfinite(one[1])],
            f"data of {title}: {expression}")
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert all(labels.get(label) for labels, _ in found), (title, label)
    load.stop()


def check_text(alert, me):
    """That the annotations were made of labels and values that are there."""
    for text in alert["annotations"].values():
        assert "no value" not in text and "error" not in text and "{{" not in text, text
    assert me["instance"] in alert["annotations"]["summary"]


def test_nothing_fires_on_a_healthy_server(prometheus, watched, me):
    server, _ = watched()
    load = live.Load(server)
    # Longer than any alert's way, but for that of the ratio that rises, which has its own test.
    now = time.time()
    prometheus.eventually(lambda: time.time() > now + 4, "four seconds of load")
    wrong = [each["labels"]["alertname"] for each in prometheus.get("alerts")["alerts"]
             if each["labels"].get("instance") == me["instance"] and each["state"] == "firing"]
    # A round of the load has a refusal in it on purpose, and a small machine's disk may be slow.
    assert set(wrong) <= {"WaitdCallsRefused", "WaitdCommitSlow", "WaitdTimeoutsLate"}, wrong
    load.stop()


def test_down(prometheus, watched, me):
    server, _ = watched()
    server.kill()
    check_text(prometheus.await_firing("WaitdDown", **me), me)
    server.start()
    prometheus.await_silent("WaitdDown", **me)


def test_absent(tmp_path):
    prometheus = live.Prometheus(tmp_path, {})
    try:
        prometheus.await_firing("WaitdAbsent")
        port = live.free_port()
        with waitd(port=port):
            prometheus.retarget({"found": port})
            prometheus.await_silent("WaitdAbsent")
            prometheus.await_scraped("found")
    finally:
        prometheus.stop()


def test_limits_and_refusals(prometheus, watched, me):
    _, c = watched("--max-descriptors=10")
    for number in range(8):
        c.open(f"kept/{number}")
    near = {**me, "resource": "descriptors"}
    used = ('instance_resource:waitd_limit_used:ratio'
            f'{{instance="{me["instance"]}",resource="descriptors"}}')
    prometheus.eventually(lambda: prometheus.value(used) == 0.8, "eight of ten are seen")
    assert not prometheus.firing("WaitdNearLimit", **near)
    c.open("kept/8")
    check_text(prometheus.await_firing("WaitdNearLimit", **near), me)
    assert not prometheus.firing("WaitdLimitRefusals", **me)
    c.open("kept/9")

    def refused():
        error = c.start_open("kept/too-many").exception()
        assert check_refusal(error, error.code(), "LIMIT_DESCRIPTORS")
    refusal = {**me, "reason": "LIMIT_DESCRIPTORS"}
    check_text(prometheus.await_firing("WaitdLimitRefusals", refused, **refusal), me)

    def lost():
        assert c.start_wait("nowhere").exception()
    call = {**me, "reason": "NO_DESCRIPTOR"}
    check_text(prometheus.await_firing("WaitdCallsRefused", lost, **call), me)
    for number in range(10):
        c.close(f"kept/{number}")
    prometheus.await_silent("WaitdNearLimit", **me)
    prometheus.await_silent("WaitdLimitRefusals", **me)
    prometheus.await_silent("WaitdCallsRefused", **me)


def test_drain_stuck(prometheus, watched, me):
    server, c = watched("--drain-timeout=5m")
    c.open("a")
    call = c.park("a")
    server.terminate()
    check_text(prometheus.await_firing("WaitdDrainStuck", **me), me)
    c.ready("a")
    call.result()
    assert server.exit_code() == 0
    prometheus.await_silent("WaitdDrainStuck", **me)


def test_the_oldest_wait_is_too_old(prometheus, watched, me):
    _, c = watched()
    c.open("a")
    call = c.park("a")
    check_text(prometheus.await_firing("WaitdOldestWaiterTooOld", **me), me)
    c.close("a")
    call.result()
    prometheus.await_silent("WaitdOldestWaiterTooOld", **me)


def test_timeouts_rise(prometheus, watched, me):
    _, c = watched()
    c.open("a", kind=FIFO)
    ratio = f'instance:waitd_timeouts:ratio_rate30m{{instance="{me["instance"]}"}}'

    def woken():
        c.ready("a")
        c.wait("a")
        return prometheus.value(ratio) == 0
    prometheus.eventually(woken, "it is usual that none times out")
    for _ in range(200):
        woken()
    assert not prometheus.firing("WaitdTimeoutsRising", **me)
    check_text(prometheus.await_firing("WaitdTimeoutsRising", lambda: c.wait("a", 0.001), **me), me)

    def back():
        woken()
        return not prometheus.firing("WaitdTimeoutsRising", **me)
    prometheus.eventually(back, "silent when waits are woken again")


def test_timeouts_are_late(prometheus, watched, me):
    """The process is stopped while its timeouts come due."""
    server, c = watched()
    c.open("a", kind=FIFO)

    def stopped():
        calls = [c.start_wait("a", 0.03) for _ in range(5)]
        c.await_parked("a", 5)
        server.process.send_signal(signal.SIGSTOP)
        prometheus.pause(0.06)
        server.process.send_signal(signal.SIGCONT)
        for call in calls:
            call.result()
    check_text(prometheus.await_firing("WaitdTimeoutsLate", stopped, **me), me)
    prometheus.await_silent("WaitdTimeoutsLate", **me)


def data_of(path, **plan):
    """A data directory whose disk has a fault, and the environment that makes it so."""
    env = power.environment(path, **plan)
    return f"--data-dir={path.resolve()}/data", env


def test_commits_are_slow(prometheus, watched, me, tmp_path):
    flag, env = data_of(tmp_path, sync_us=150_000)
    _, c = watched(flag, env=env)
    c.open("a")
    check_text(prometheus.await_firing("WaitdCommitSlow", lambda: c.ready("a"), **me), me)
    # Without any commits there are no slow ones.
    prometheus.await_silent("WaitdCommitSlow", **me)


def test_the_disk_is_full(prometheus, watched, me, tmp_path):
    flag, env = data_of(tmp_path)
    _, c = watched(flag, env=env)
    (tmp_path / "fault-free").write_text("1000000")

    def refused():
        error = c.start_open("a").exception()
        if error:
            check_refusal(error, error.code(), "LIMIT_DISK")
    check_text(prometheus.await_firing("WaitdDiskFull", refused, **me), me)
    (tmp_path / "fault-free").unlink()
    prometheus.await_silent("WaitdDiskFull", **me)


def test_a_failing_disk_shows_as_restarts(prometheus, watched, me, tmp_path):
    """waitd ends so soon after an error of its store that Prometheus hardly ever sees the counter,
    as the runbook says: its supervisor's restarts are what it sees."""
    flag, env = data_of(tmp_path, sync="60:EIO")
    server, _ = watched(flag, env=env)
    start_time = f'process_start_time_seconds{{instance="{me["instance"]}"}}'

    def fail():
        began = server.metrics()("process_start_time_seconds")
        prometheus.eventually(lambda: prometheus.value(start_time) == began, "this start is seen")
        with server.client() as c:
            for _ in range(100):
                error = c.start_open("a", kind=FIFO).exception() or c.start_ready("a").exception()
                if error or c.start_reset("a").exception():
                    break
        assert server.exit_code() == 74
        server.start()
    check_text(prometheus.await_firing("WaitdRestarting", fail, **me), me)
    prometheus.await_silent("WaitdRestarting", **me)
